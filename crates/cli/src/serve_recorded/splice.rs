//! Fitting a recorded message to the request that it answers now, without writing it anew. Pure.

use std::ops::Range;

use mcp::fields::{META_VERSION, span_of};
use mcp::message::{Kind, Message};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The ids that a message carries and that belong to one exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fitting<'a> {
    /// Id of the request that is answered, JSON as it came.
    pub(super) id: &'a str,
    /// The token that the request gives for its progress, likewise.
    pub(super) progress: Option<&'a str>,
}

/// The message with another id, if it has one.
pub(super) fn with_id(message: &Message<'_>, id: &str) -> String {
    let old = match message.kind() {
        Kind::Request { id, .. } => Some(id.raw()),
        Kind::Response { id, .. } => id.as_ref().map(mcp::message::Id::raw),
        Kind::Notification { .. } => None,
    };
    match old {
        Some(old) => replace(message.raw(), &span_of(message.raw(), old), id),
        None => message.raw().to_owned(),
    }
}

/// A notification as the asker of now expects it: its progress token, its subscription. `None` for progress that was not
/// asked for.
pub(super) fn notification(message: &Message<'_>, fitting: Fitting<'_>) -> Option<String> {
    let raw = message.raw();
    let Kind::Notification { params: Some(params), .. } = message.kind() else { return Some(raw.to_owned()) };
    let Some(spoken) = object::<Spoken<'_>>(params) else { return Some(raw.to_owned()) };
    if let Some(token) = spoken.token {
        return Some(replace(raw, &span_of(raw, token.get()), fitting.progress?));
    }
    let subscription = spoken.meta.and_then(object::<Meta<'_>>).and_then(|meta| meta.subscription);
    Some(match subscription {
        Some(id) => replace(raw, &span_of(raw, id.get()), fitting.id),
        None => raw.to_owned(),
    })
}

/// The progress token of a request, JSON as it came.
pub(super) fn progress_token<'a>(message: &Message<'a>) -> Option<&'a str> {
    let Kind::Request { params: Some(params), .. } = message.kind() else { return None };
    let meta: Meta<'a> = object::<Spoken<'a>>(params)?.meta.and_then(object)?;
    meta.token.map(RawValue::get)
}

/// Whether a request is of the stateless era: it brings its version along.
pub(super) fn is_stateless(message: &Message<'_>) -> bool {
    let Kind::Request { params: Some(params), .. } = message.kind() else { return false };
    params.get().contains(META_VERSION) && mcp::fields::Params::of(params).meta_version().is_some()
}

fn replace(raw: &str, span: &Range<usize>, by: &str) -> String {
    match (raw.get(..span.start), raw.get(span.end..)) {
        (Some(before), Some(after)) => [before, by, after].concat(),
        _ => raw.to_owned(),
    }
}

#[derive(Deserialize)]
struct Spoken<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    token: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    token: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/subscriptionId")]
    subscription: Option<&'a RawValue>,
}

/// Reads an object and nothing else: derived structs would take an array for one.
fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{Fitting, is_stateless, notification, progress_token, with_id};
    use mcp::message::{Frame, parse};

    fn message(text: &str) -> mcp::message::Message<'_> {
        match parse(text.as_bytes()).unwrap() {
            Frame::Single(message) => message,
            Frame::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn only_the_id_changes() {
        let answer = r#"{ "result" : {"id":1, "n":1.0}, "id" : 1, "jsonrpc":"2.0", "x":[1] }"#;
        let expected = r#"{ "result" : {"id":1, "n":1.0}, "id" : "a\"", "jsonrpc":"2.0", "x":[1] }"#;
        assert_eq!(with_id(&message(answer), r#""a\"""#), expected);
    }

    #[test]
    fn tokens_are_those_of_now() {
        let fitting = Fitting { id: "9", progress: Some("\"new\"") };
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken": 3}}"#;
        let fitted = notification(&message(progress), fitting).unwrap();
        assert!(fitted.ends_with(r#""progressToken": "new"}}"#), "{fitted}");
        assert_eq!(notification(&message(progress), Fitting { progress: None, ..fitting }), None);
        let listened = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"old"}}}"#;
        let fitted = notification(&message(listened), fitting).unwrap();
        assert!(fitted.ends_with(r#""io.modelcontextprotocol/subscriptionId":9}}}"#), "{fitted}");
        let other = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}"#;
        assert_eq!(notification(&message(other), fitting).as_deref(), Some(other));
    }

    #[test]
    fn what_requests_say_of_themselves() {
        let asked = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"_meta":{"progressToken":0,"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
        assert_eq!(progress_token(&message(asked)), Some("0"));
        assert!(is_stateless(&message(asked)));
        let asked = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"progressToken":0}}"#;
        assert_eq!(progress_token(&message(asked)), None);
        assert!(!is_stateless(&message(asked)));
    }
}
