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
    /// These attributes of the model, a bit each, and these arguments.
    Named(u32, BTreeSet<String>),
}

impl Default for Needs {
    fn default() -> Needs {
        Needs::Named(0, BTreeSet::new())
    }
}

impl Needs {
    /// What a policy names.
    pub(crate) fn of(statement: &Statement<'_>) -> Needs {
        let mut bits = 0;
        let mut arguments = BTreeSet::new();
        for (number, token) in statement.tokens.iter().enumerate() {
            let Some(name) = token.name() else { continue };
            bits |= bit(name);
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
                arguments.extend(
                    statement.tokens.get(number + 2).and_then(|token| token.name()).map(str::to_owned),
                );
            }
        }
        Needs::Named(bits, arguments)
    }

    /// These and those.
    pub(crate) fn extend(&mut self, others: &Needs) {
        match (&mut *self, others) {
            (Needs::All, _) => {}
            (_, Needs::All) => *self = Needs::All,
            (Needs::Named(bits, arguments), Needs::Named(more, others)) => {
                *bits |= more;
                arguments.extend(others.iter().cloned());
            }
        }
    }

    /// Whether an attribute is to be put.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Needs::All => true,
            Needs::Named(bits, _) => bits & bit(name) != 0,
        }
    }

    /// Whether an argument is to be put.
    pub(crate) fn has_argument(&self, name: &str) -> bool {
        match self {
            Needs::All => true,
            Needs::Named(_, arguments) => arguments.contains(name),
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
            match Needs::of(&statements(&text)[0]) {
                Needs::All => vec!["all".to_owned()],
                Needs::Named(bits, arguments) => {
                    let named = Needs::Named(bits, arguments.clone());
                    let known = NAMES.into_iter().filter(|name| named.has(name)).map(str::to_owned);
                    known.chain(arguments.into_iter().map(|name| format!("arguments.{name}"))).collect()
                }
            }
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
