//! What a draft would change.

use ledger::Verdict;
use policy::{
    Ask,
    what_if::{Comparison, Flips},
};

use super::made::{bundle, question};

#[test]
fn flips_are_counted_and_named() {
    let draft = bundle(
        r#"permit (principal, action == Action::"tools/call", resource == Tool::"files/read_file");
@hold("oncall") permit (principal, action == Action::"tools/call", resource == Tool::"files/write_file");"#,
    );
    let mut comparison = Comparison::with(&draft);
    for (key, name, before) in [
        ("call_1", "read_file", Verdict::Allow),
        ("call_2", "read_file", Verdict::Deny),
        ("call_3", "read_file", Verdict::Hold),
        ("call_4", "write_file", Verdict::Allow),
        ("call_5", "write_file", Verdict::Hold),
        ("call_6", "gone", Verdict::Allow),
        ("call_7", "gone", Verdict::Deny),
    ] {
        let asked = question(&[], "files", Ask::CallTool { name, arguments: None });
        comparison.consider(key, &[asked], before);
    }
    let difference = comparison.finish();
    let flips = |keys: &[&str]| Flips {
        count: keys.len() as u64,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    assert_eq!(difference.calls, 7);
    assert_eq!(difference.allowed, flips(&["call_2", "call_3"]));
    assert_eq!(difference.held, flips(&["call_4"]));
    assert_eq!(difference.denied, flips(&["call_6"]));
}
