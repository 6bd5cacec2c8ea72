//! What makes two requests the same: method, parameters, round. Pure.
//!
//! Parameters are compared as JSON values: the order of members, white space, escapes and the way a number is written do
//! not matter. `_meta` does not count, since it says how to answer and not what is asked.

use std::collections::BTreeMap;

use mcp::fields::Params;
use mcp::message::{Kind, Message};
use mcp::method::{Method, Target};
use mcp::mrtr::{Leg, RoundKey};
use serde_json::value::RawValue;

/// Members of params that say how a request came about, not what it asks.
const ASIDE: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// What a request asks for; equal for requests that the same answer fits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) method: String,
    /// Tool, prompt or resource.
    pub(super) name: Option<String>,
    /// The parameters in one canonical form.
    params: String,
    /// For a later round of a call: which.
    round: Option<RoundKey>,
}

impl Key {
    /// The key of a request; `None` for any other message.
    pub(super) fn of(message: &Message<'_>) -> Option<Key> {
        let Kind::Request { method, params, .. } = message.kind() else { return None };
        let view = params.map(Params::of).unwrap_or_default();
        let name = match Method::of(method).map(|known| known.target) {
            Some(Target::Tool | Target::Prompt) => view.name(),
            Some(Target::Resource) => view.uri(),
            Some(Target::Task) => view.task_id(),
            Some(Target::None) | None => None,
        };
        // Who connects, with which version, differs from client to client and is no part of the question.
        let is_greeting = matches!(method.as_ref(), "initialize" | "server/discover" | "ping");
        let params = params.filter(|_| !is_greeting);
        let round = params.and_then(|params| Leg::of(method, params)?.continued(params));
        let params = params.map_or_else(|| "{}".to_owned(), canonical_params);
        Some(Key { method: method.clone().into_owned(), name, params, round })
    }

    /// The question in words, for people.
    pub(super) fn describe(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
        let round = if self.round.is_some() { " (a later round)" } else { "" };
        format!("`{}`{name}{round}", self.method)
    }
}

fn canonical_params(params: &RawValue) -> String {
    let Ok(mut members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(params.get()) else {
        return params.get().to_owned();
    };
    members.retain(|name, _| !ASIDE.contains(&name.as_str()));
    // No arguments and empty arguments ask the same of a tool.
    if members.get("arguments").is_some_and(|arguments| canonical(arguments) == "{}") {
        members.remove("arguments");
    }
    let mut out = String::new();
    push_object(&mut out, &members);
    out
}

/// One text for all ways to write a JSON value.
fn canonical(value: &RawValue) -> String {
    let mut out = String::new();
    push(&mut out, value);
    out
}

fn push(out: &mut String, value: &RawValue) {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'{') => match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
            Ok(members) => push_object(out, &members),
            Err(_) => out.push_str(text),
        },
        Some(b'[') => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(elements) => push_array(out, &elements),
            Err(_) => out.push_str(text),
        },
        Some(b'"') => match serde_json::from_str::<String>(text) {
            Ok(decoded) => ledger::json::push_string(out, &decoded),
            Err(_) => out.push_str(text),
        },
        Some(b'-' | b'0'..=b'9') => push_number(out, text),
        _ => out.push_str(text),
    }
}

fn push_object(out: &mut String, members: &BTreeMap<String, &RawValue>) {
    out.push('{');
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        ledger::json::push_string(out, name);
        out.push(':');
        push(out, value);
    }
    out.push('}');
}

fn push_array(out: &mut String, elements: &[&RawValue]) {
    out.push('[');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push(out, element);
    }
    out.push(']');
}

/// Exactly, digit by digit: doubles would make two large identifiers one.
fn push_number(out: &mut String, text: &str) {
    let (sign, unsigned) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        out.push('0');
        return;
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    let shift = i64::try_from(zeros).ok().zip(i64::try_from(fraction.len()).ok()).map(|(z, f)| z - f);
    match exponent.parse::<i64>().ok().zip(shift).and_then(|(e, shift)| e.checked_add(shift)) {
        Some(exponent) => {
            out.push_str(sign);
            out.push_str(significant);
            out.push('e');
            out.push_str(&exponent.to_string());
        }
        None => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    fn key(params: &str) -> Key {
        key_of("tools/call", params)
    }

    fn key_of(method: &str, params: &str) -> Key {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let frame = mcp::message::parse(text.as_bytes()).unwrap();
        Key::of(&frame.messages()[0]).unwrap()
    }

    #[test]
    fn the_same_in_other_words() {
        let asked = key(r#"{"name":"t","arguments":{"a":1,"b":["x",{"c":null}],"n":120}}"#);
        for same in [
            r#"{ "arguments" : {"b":["x",{"c":null}], "n":1.2e2, "a":1.0}, "name":"t" }"#,
            r#"{"name":"\u0074","arguments":{"a":1,"b":["\u0078",{"c":null}],"n":0.12E+3}}"#,
            r#"{"name":"t","arguments":{"a":1,"b":["x",{"c":null}],"n":120},"_meta":{"progressToken":7}}"#,
        ] {
            assert_eq!(key(same), asked, "{same}");
        }
        assert_eq!(key(r#"{"name":"t"}"#), key(r#"{"name":"t","arguments":{ }}"#));
        assert_eq!(key_of("tools/list", "{}"), key_of("tools/list", r#"{"_meta":{}}"#));
        let (old, new) = (r#"{"protocolVersion":"2025-06-18"}"#, r#"{"protocolVersion":"2025-11-25"}"#);
        assert_eq!(key_of("initialize", old), key_of("initialize", new));
    }

    #[test]
    fn what_differs() {
        let keys = [
            r#"{"name":"t","arguments":{"a":1}}"#,
            r#"{"name":"t","arguments":{"a":"1"}}"#,
            r#"{"name":"t","arguments":{"a":-1}}"#,
            r#"{"name":"t","arguments":{"a":10}}"#,
            r#"{"name":"t","arguments":{"a":12345678901234567890123}}"#,
            r#"{"name":"t","arguments":{"a":12345678901234567890124}}"#,
            r#"{"name":"t","arguments":{"a":null}}"#,
            r#"{"name":"t","arguments":{"a":[1,2]}}"#,
            r#"{"name":"t","arguments":{"a":[2,1]}}"#,
            r#"{"name":"u","arguments":{"a":1}}"#,
            r#"{"name":"t","arguments":{"a":1},"requestState":"s"}"#,
            r#"{"name":"t","arguments":{"a":1},"inputResponses":{"k":{}}}"#,
        ]
        .map(key);
        for (at, one) in keys.iter().enumerate() {
            assert!(keys.iter().skip(at + 1).all(|other| other != one), "{one:?}");
        }
    }

    #[test]
    fn it_says_what_was_asked() {
        assert_eq!(key(r#"{"name":"t","arguments":{}}"#).describe(), "`tools/call` `t`");
        assert_eq!(key_of("resources/read", r#"{"uri":"u:/x"}"#).describe(), "`resources/read` `u:/x`");
        assert_eq!(key_of("tools/list", "{}").describe(), "`tools/list`");
    }
}
