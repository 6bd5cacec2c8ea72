//! Exceptions from the rules: one list, a reason each.

use anyhow::Context as _;
use serde::Deserialize;

use super::Finding;

/// The list in `tidy.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exceptions {
    #[serde(default, rename = "exception")]
    list: Vec<Exception>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    rule: String,
    /// `PATH` or `PATH::ITEM`.
    at: String,
    reason: String,
}

/// Reads the list.
pub(super) fn parse(text: &str) -> anyhow::Result<Exceptions> {
    toml::from_str(text).context("cannot understand tidy.toml")
}

impl Exceptions {
    /// Drops the findings that are excepted; adds one for each exception without reason or use.
    pub(super) fn apply(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let unused =
            self.list.iter().filter(|exception| !findings.iter().any(|finding| exception.covers(finding)));
        let unused = unused.map(|exception| complaint(exception, "is not needed any more"));
        let bare = self.list.iter().filter(|exception| exception.reason.trim().len() < SHORTEST_REASON);
        let bare = bare.map(|exception| complaint(exception, "needs a reason"));
        let complaints: Vec<Finding> = unused.chain(bare).collect();
        let excepted = |finding: &Finding| self.list.iter().any(|exception| exception.covers(finding));
        findings.into_iter().filter(|finding| !excepted(finding)).chain(complaints).collect()
    }
}

/// Bytes below which a reason says nothing.
const SHORTEST_REASON: usize = 20;

fn complaint(exception: &Exception, what: &str) -> Finding {
    let text = format!("the exception from `{}` at `{}` {what}", exception.rule, exception.at);
    Finding::at("exceptions", "xtask/tidy.toml", 0, text)
}

impl Exception {
    fn covers(&self, finding: &Finding) -> bool {
        let whole = self.at == finding.path;
        let item =
            self.at.split_once("::").is_some_and(|(path, item)| path == finding.path && item == finding.item);
        self.rule == finding.rule && (whole || item)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Finding;

    const LIST: &str = r#"
        [[exception]]
        rule = "function-size"
        at = "a.rs::long"
        reason = "a table of facts that reads best in one piece"
    "#;

    #[test]
    fn an_exception_covers_its_item_alone() {
        let found = |item: &str| vec![Finding::at("function-size", "a.rs", 1, "long").of(item)];
        let list = super::parse(LIST).unwrap();
        assert_eq!(list.apply(found("long")), []);
        let rules: Vec<_> = list.apply(found("other")).iter().map(|finding| finding.rule).collect();
        assert_eq!(
            rules,
            ["function-size", "exceptions"],
            "the other stays, and the exception is not needed"
        );
    }

    #[test]
    fn an_exception_needs_a_reason() {
        let list =
            super::parse(&LIST.replace("a table of facts that reads best in one piece", "because")).unwrap();
        let left = list.apply(vec![Finding::at("function-size", "a.rs", 1, "long").of("long")]);
        assert!(left[0].text.ends_with("needs a reason"), "{left:?}");
        assert!(super::parse("[[exception]]\nrule = \"x\"\nat = \"y\"").is_err(), "no reason at all");
    }
}
