//! What an approval is bound to: what is asked, but for what differs from one try to the next.

use ledger::Hash;
use ledger::json::Object;

use crate::pin::canonical;
use crate::raw::{Raw, read};

/// Members of a request's parameters that another try of the same call need not repeat.
const PASSING: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// The digest of a request's parameters in canonical form, without what differs from one try to the next and without these
/// arguments; `None` for what parsers read differently, which nobody can approve.
pub fn digest(params: Option<&str>, but: &[String]) -> Option<Hash> {
    let Raw::Members(mut members) = read(params.unwrap_or("{}"))? else { return None };
    members.retain(|(name, _)| !PASSING.contains(&name.as_str()));
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut text = "tollbook hold v1\n".to_owned();
    let mut object = Object::begin(&mut text);
    for (name, raw) in &members {
        let value = if name == "arguments" { without(raw.get(), but)? } else { canonical(raw.get()).ok()? };
        object.raw(name, &value);
    }
    object.end();
    Some(Hash::of(text.as_bytes()))
}

/// Arguments as people decide on them: in canonical form.
pub fn shown(arguments: &str) -> Option<String> {
    canonical(arguments).ok()
}

fn without(arguments: &str, but: &[String]) -> Option<String> {
    let Raw::Members(mut members) = read(arguments)? else {
        return if but.is_empty() { canonical(arguments).ok() } else { None };
    };
    members.retain(|(name, _)| !but.contains(name));
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut text = String::new();
    let mut object = Object::begin(&mut text);
    for (name, raw) in &members {
        object.raw(name, &canonical(raw.get()).ok()?);
    }
    object.end();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::digest;

    fn of(params: &str) -> Option<ledger::Hash> {
        digest(Some(params), &[])
    }

    #[test]
    fn what_passes_is_left_out_and_all_else_counts() {
        let call = of(r#"{"name":"pay","arguments":{"to":"a","amount":1}}"#);
        assert!(call.is_some());
        for same in [
            r#"{ "arguments": {"amount": 1.0, "to":"\u0061"}, "name":"pay" }"#,
            r#"{"name":"pay","arguments":{"to":"a","amount":1},"_meta":{"progressToken":7}}"#,
            r#"{"name":"pay","arguments":{"to":"a","amount":1},"requestState":"x","inputResponses":{}}"#,
        ] {
            assert_eq!(of(same), call, "{same}");
        }
        for other in [
            r#"{"name":"pay","arguments":{"to":"a","amount":2}}"#,
            r#"{"name":"pay","arguments":{"to":"a","amount":"1"}}"#,
            r#"{"name":"pay","arguments":{"to":"a","amount":1,"x":null}}"#,
            r#"{"name":"pay","arguments":{"to":"a","amount":1},"task":{}}"#,
            r#"{"name":"Pay","arguments":{"to":"a","amount":1}}"#,
        ] {
            assert_ne!(of(other), call, "{other}");
        }
        assert_eq!(
            of(r#"{"name":"pay","arguments":{"to":"a","to":"b"}}"#),
            None,
            "parsers read it differently"
        );
        assert_eq!(of("[]"), None);
        assert_ne!(digest(None, &[]), None);
    }

    #[test]
    fn arguments_that_may_differ_are_left_out() {
        let but = ["amount".to_owned()];
        let [one, two, other] = [
            r#"{"name":"pay","arguments":{"to":"a","amount":1}}"#,
            r#"{"name":"pay","arguments":{"to":"a","amount":2}}"#,
            r#"{"name":"pay","arguments":{"to":"b","amount":1}}"#,
        ]
        .map(|params| digest(Some(params), &but));
        assert_eq!(one, two);
        assert_ne!(one, other);
    }
}
