//! Which attributes policies read. To put all circumstances in Cedar's terms takes longer than to judge them, so only
//! what a candidate names is put. Cedar reads attributes by names that are written out: what no policy names, none reads.

use crate::scan::{Kind, Statement};

/// Attributes that are left out if nothing names them.
const NAMES: [&str; 27] = [
    "arguments",
    "unlisted",
    "method",
    "run",
    "time",
    "hour",
    "weekday",
    "client",
    "network",
    "id",
    "age",
    "calls",
    "depth",
    "scope",
    "purpose",
    "verified",
    "agents",
    "agent",
    "name",
    "server",
    "read_only",
    "destructive",
    "idempotent",
    "open_world",
    "uri",
    "scheme",
    "version",
];

/// A set of attributes; may hold more than are read, never fewer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needs(u32);

impl Needs {
    /// Every attribute.
    pub(crate) const ALL: Needs = Needs(u32::MAX);

    /// What a policy names.
    pub(crate) fn of(statement: &Statement<'_>) -> Needs {
        let mut needs = Needs::default();
        for (number, token) in statement.tokens.iter().enumerate() {
            let Some(name) = token.name() else { continue };
            let next = statement.tokens.get(number + 1).map_or("", |token| token.text);
            // A record that is taken whole has all its members.
            if ["context", "run"].contains(&name)
                && ![".", "has", "["].contains(&next)
                && token.kind == Kind::Word
            {
                return Needs::ALL;
            }
            if name == "run" && token.kind != Kind::Word {
                return Needs::ALL;
            }
            needs = needs.and(Needs(bit(name)));
        }
        needs
    }

    pub(crate) fn and(self, other: Needs) -> Needs {
        Needs(self.0 | other.0)
    }

    /// Whether an attribute is to be put.
    pub(crate) fn has(self, name: &str) -> bool {
        self.0 & bit(name) != 0
    }
}

/// The bit of a name; none if it is not one of those.
fn bit(name: &str) -> u32 {
    let place = NAMES.iter().position(|known| *known == name).and_then(|place| u32::try_from(place).ok());
    place.map_or(0, |place| 1 << place)
}

#[cfg(test)]
mod tests {
    use super::{NAMES, Needs};
    use crate::scan::statements;

    #[test]
    fn what_is_named_is_needed() {
        let needs = |condition: &str| {
            let text = format!("permit (principal, action, resource) when {{ {condition} }};");
            let needs = Needs::of(&statements(&text)[0]);
            if needs == Needs::ALL {
                return vec!["all"];
            }
            NAMES.into_iter().filter(|name| needs.has(name)).collect()
        };
        for (condition, expected) in [
            ("true", vec![]),
            ("context.hour > 3 && resource.read_only", vec!["hour", "read_only"]),
            (r#"context["ho\u{75}r"] > 3"#, vec!["hour"]),
            ("context has run.purpose", vec!["run", "purpose"]),
            ("context.run.purpose == \"x\"", vec!["run", "purpose"]),
            ("context == {}", vec!["all"]),
            ("[context].contains(context)", vec!["all"]),
            ("context.run == {}", vec!["all"]),
            (r#"context["run"]["id"] == "x""#, vec!["all"]),
        ] {
            assert_eq!(needs(condition), expected, "{condition}");
        }
    }
}
