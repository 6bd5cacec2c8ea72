//! Which crate may know which, as drawn in docs/ARCHITECTURE.md.

use std::collections::BTreeSet;

use super::Finding;
use crate::workspace::Crate;

/// What each crate may depend on within the workspace. `cli` wires all; `e2e` and `xtask` see the binary alone.
const ARROWS: [(&str, &[&str]); 13] = [
    ("mcp", &[]),
    ("ledger", &[]),
    ("recorder", &["ledger"]),
    ("store", &["ledger"]),
    ("policy", &["ledger"]),
    ("identity", &["ledger", "store"]),
    ("gateway", &["identity", "ledger", "mcp", "policy", "recorder", "store"]),
    ("export", &["ledger", "policy", "store"]),
    ("console", &["export", "identity", "ledger", "policy", "store"]),
    ("cli", &["console", "export", "gateway", "identity", "ledger", "mcp", "policy", "recorder", "store"]),
    ("bench", &["ledger", "recorder", "store"]),
    ("e2e", &[]),
    ("xtask", &[]),
];

/// Who alone may depend on what.
const ALONE: [(&str, &[&str]); 10] = [
    ("anyhow", &["bench", "cli", "xtask"]),
    ("cedar-policy", &["policy"]),
    ("clap", &["cli"]),
    ("form_urlencoded", &["console", "identity"]),
    ("jsonwebtoken", &["identity"]),
    ("openidconnect", &["identity"]),
    ("rmcp", &["e2e"]),
    ("rusqlite", &["store"]),
    ("syn", &["xtask"]),
    ("zstd", &["recorder", "store"]),
];

/// What makes a crate impure: clocks, randomness, I/O, runtimes.
const IMPURE: [&str; 7] = ["hyper", "jiff", "rand", "rustix", "tempfile", "tokio", "tracing"];
const PURE: [&str; 3] = ["ledger", "mcp", "policy"];

pub(super) fn check(crates: &[Crate]) -> Vec<Finding> {
    let names: BTreeSet<&str> = crates.iter().map(|each| each.name.as_str()).collect();
    crates.iter().flat_map(|each| broken(each, &names)).collect()
}

fn broken(each: &Crate, names: &BTreeSet<&str>) -> Vec<Finding> {
    let complain = |text: String| Finding::at("arrows", &format!("{}/Cargo.toml", each.folder), 0, text);
    let name = each.name.as_str();
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![complain(format!("`{name}` has no place in the table of arrows"))];
    };
    let mut findings = Vec::new();
    for dependency in each.dependencies.iter().map(String::as_str) {
        if names.contains(dependency) && !allowed.contains(&dependency) {
            findings.push(complain(format!("`{name}` must not know `{dependency}`")));
        }
        if let Some((_, owners)) =
            ALONE.iter().find(|(what, owners)| *what == dependency && !owners.contains(&name))
        {
            findings.push(complain(format!("only {} may depend on `{dependency}`", owners.join(", "))));
        }
        if PURE.contains(&name) && IMPURE.contains(&dependency) {
            findings.push(complain(format!("`{name}` is pure and must not depend on `{dependency}`")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{ARROWS, check};
    use crate::workspace::Crate;

    fn graph(arrows: &[(&str, &[&str])]) -> Vec<Crate> {
        let made = arrows.iter().map(|(name, to)| Crate {
            name: (*name).to_owned(),
            folder: format!("crates/{name}"),
            dependencies: to.iter().map(|to| (*to).to_owned()).collect(),
        });
        made.collect()
    }

    #[test]
    fn the_drawing_itself_has_no_cycle() {
        let mut known: Vec<&str> = Vec::new();
        let mut left: Vec<_> = ARROWS.to_vec();
        while !left.is_empty() {
            let ready: Vec<&str> = left
                .iter()
                .filter(|(_, to)| to.iter().all(|to| known.contains(to)))
                .map(|(name, _)| *name)
                .collect();
            assert!(!ready.is_empty(), "a cycle among {left:?}");
            left.retain(|(name, _)| !ready.contains(name));
            known.extend(ready);
        }
    }

    #[test]
    fn what_is_drawn_is_allowed() {
        assert_eq!(check(&graph(&ARROWS)), []);
        assert_eq!(check(&graph(&[("store", &["rusqlite", "serde"]), ("cli", &["clap", "anyhow"])])), []);
    }

    #[test]
    fn what_is_not_drawn_is_found() {
        for (name, to, expected) in [
            ("mcp", "ledger", "`mcp` must not know `ledger`"),
            ("ledger", "mcp", "`ledger` must not know `mcp`"),
            ("gateway", "console", "`gateway` must not know `console`"),
            ("e2e", "ledger", "`e2e` must not know `ledger`"),
            ("gateway", "rusqlite", "only store may depend on `rusqlite`"),
            ("store", "clap", "only cli may depend on `clap`"),
            ("mcp", "tokio", "`mcp` is pure and must not depend on `tokio`"),
            ("toolbox", "serde", "`toolbox` has no place in the table of arrows"),
        ] {
            let found = check(&graph(&[(name, &[to]), ("mcp", &[]), ("ledger", &[]), ("console", &[])]));
            assert_eq!(found.iter().map(|finding| finding.text.as_str()).collect::<Vec<_>>(), [expected]);
        }
    }
}
