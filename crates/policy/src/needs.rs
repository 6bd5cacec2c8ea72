//! Which attributes policies read. To put all circumstances in Cedar's terms takes longer than to judge them, so only
//! what a candidate names is put. Cedar reads attributes by names that are written out: what no policy names, none reads.

use std::collections::BTreeSet;

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

/// Attributes that are read; may hold more, never fewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needs {
    /// All that there are.
    All,
    These(Names),
}

/// What is read by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Attributes of the model, a bit each.
    known: u32,
    arguments: BTreeSet<String>,
    /// Ids of entities.
    ids: BTreeSet<String>,
}

/// What several policies read together.
pub(crate) struct Wanted<'a>(pub(crate) Vec<&'a Needs>);

impl Wanted<'_> {
    /// Whether an attribute is to be put.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|needs| needs.has(name))
    }

    /// Whether an argument is to be put.
    pub(crate) fn has_argument(&self, name: &str) -> bool {
        self.0.iter().any(|needs| needs.names().is_none_or(|names| names.arguments.contains(name)))
    }

    /// Whether an entity may be named.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        self.0.iter().any(|needs| needs.names().is_none_or(|names| names.ids.contains(id)))
    }
}

impl Default for Needs {
    fn default() -> Needs {
        Needs::These(Names::default())
    }
}

impl Needs {
    /// What a policy names.
    pub(crate) fn of(statement: &Statement<'_>) -> Needs {
        let ids = statement.entities().map(|(_, id, _)| id.to_owned()).collect();
        let mut names = Names { ids, ..Names::default() };
        for (number, token) in statement.tokens.iter().enumerate() {
            let Some(name) = token.name() else { continue };
            names.known |= bit(name);
            if !["context", "run", "arguments"].contains(&name) {
                continue;
            }
            // A record that is taken whole has all its members.
            let next = statement.tokens.get(number + 1).map_or("", |token| token.text);
            let accessed = token.kind == Kind::Word && [".", "has", "["].contains(&next);
            let before = number.checked_sub(1).and_then(|before| statement.tokens.get(before));
            if !accessed && before.is_none_or(|token| token.text != "has") {
                return Needs::All;
            }
            if accessed && name == "arguments" {
                names.arguments.extend(
                    statement.tokens.get(number + 2).and_then(|token| token.name()).map(str::to_owned),
                );
            }
        }
        Needs::These(names)
    }

    /// These and those.
    pub(crate) fn extend(&mut self, others: &Needs) {
        match (&mut *self, others) {
            (Needs::All, _) => {}
            (_, Needs::All) => *self = Needs::All,
            (Needs::These(names), Needs::These(others)) => {
                names.known |= others.known;
                names.arguments.extend(others.arguments.iter().cloned());
                names.ids.extend(others.ids.iter().cloned());
            }
        }
    }

    /// Whether an attribute is to be put.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().is_none_or(|names| names.known & bit(name) != 0)
    }

    /// `None` if all are needed.
    fn names(&self) -> Option<&Names> {
        match self {
            Needs::All => None,
            Needs::These(names) => Some(names),
        }
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
            let Some(names) = needs.names() else { return vec!["all".to_owned()] };
            let known = NAMES.into_iter().filter(|name| needs.has(name)).map(str::to_owned);
            let arguments = names.arguments.iter().map(|name| format!("arguments.{name}"));
            known.chain(arguments).chain(names.ids.iter().cloned()).collect()
        };
        for (condition, expected) in [
            ("true", vec![]),
            (r#"principal in Group::"a\"b" || resource == Tool::"c/d""#, vec!["a\"b", "c/d"]),
            ("context.hour > 3 && resource.read_only", vec!["hour", "read_only"]),
            (r#"context["ho\u{75}r"] > 3"#, vec!["hour"]),
            ("context has run.purpose", vec!["run", "purpose"]),
            ("context.run.purpose == \"x\"", vec!["run", "purpose"]),
            ("context == {}", vec!["all"]),
            ("[context].contains(context)", vec!["all"]),
            ("context.run == {}", vec!["all"]),
            (r#"context["run"]["id"] == "x""#, vec!["all"]),
            (
                r#"context.arguments has a && context.arguments["b"].c == context.arguments.d"#,
                vec!["arguments", "arguments.a", "arguments.b", "arguments.d"],
            ),
            ("context has arguments.a", vec!["arguments", "arguments.a"]),
            ("context has arguments && context has \"run\"", vec!["arguments", "run"]),
            ("context has arguments && context.arguments == {}", vec!["all"]),
            (r#"context["arguments"].a"#, vec!["all"]),
        ] {
            assert_eq!(needs(condition), expected, "{condition}");
        }
    }
}
