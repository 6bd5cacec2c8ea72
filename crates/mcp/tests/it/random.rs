//! Bytes that nobody chose: nothing panics, and what is read is where it stood.

use mcp::edit::set_meta;
use mcp::era::{HeaderFacts, classify};
use mcp::fields::{Params, ResultView, span_of};
use mcp::header::{self, Mirrored};
use mcp::message::{Answer, Frame, Kind, Message, id_of_refused, parse};
use proptest::prelude::*;
use serde_json::Value;

/// Does with a frame whatever the crate can.
fn use_all(bytes: &[u8]) {
    drop(id_of_refused(bytes));
    let Ok(frame) = parse(bytes) else { return };
    let text = std::str::from_utf8(bytes).unwrap();
    let class = classify(&frame, &HeaderFacts { protocol_version: Some(text), has_session: false });
    assert!(!class.era.as_str().is_empty());
    for message in frame.messages() {
        is_a_slice_of(text, message);
        drop(set_meta(message, "k", "0"));
        drop(message.without_params(&["k"]));
        drop(header::check(message, &[("mcp-name", text), ("mcp-method", "=?base64?YQ==?=")]));
        match message.kind() {
            Kind::Request { params: Some(params), .. } | Kind::Notification { params: Some(params), .. } => {
                let view = Params::of(params);
                drop((view.name(), view.uri(), view.task_id(), view.request_id(), view.progress_token()));
                drop(Mirrored::of(params).map(|mirrored| mirrored.check(view.arguments(), &[("a", text)])));
            }
            Kind::Response { outcome: Answer::Result(result), .. } => drop(ResultView::of(result).tools()),
            _ => {}
        }
    }
}

fn is_a_slice_of(text: &str, message: &Message<'_>) {
    let span = span_of(text, message.raw());
    assert_eq!(text.get(span), Some(message.raw()));
    assert!(message.raw().starts_with('{') && message.raw().ends_with('}'));
}

/// Texts that come near to messages: pieces of JSON in any order.
pub fn near_messages() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        " ",
        "\"",
        "\\",
        "\\u0061",
        "\\ud834",
        "\"jsonrpc\":\"2.0\"",
        "\"id\":1",
        "\"id\":\"a\"",
        "\"method\":\"tools/call\"",
        "\"params\":{",
        "\"_meta\":{",
        "\"result\":{}",
        "\"error\":{",
        "\"name\":\"a\"",
        "\"properties\":{",
        "\"x-mcp-header\":\"A\"",
        "\"type\":\"string\"",
        "null",
        "true",
        "-1.5e3",
        "1e999",
        "é",
        "\u{0}",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

pub fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("2026-07-28")),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "name",
            "uri",
            "arguments",
            "taskId",
            "_meta",
            "properties",
            "x-mcp-header",
            "type",
            "tools",
            "inputSchema",
            "io.modelcontextprotocol/protocolVersion",
            "progressToken",
            "traceparent",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in any::<Vec<u8>>()) {
        use_all(&bytes);
    }

    #[test]
    fn texts_near_to_messages_never_panic(text in near_messages(), inside in any::<bool>()) {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"#;
        use_all(if inside { format!("{head}{text}}}}}") } else { text }.as_bytes());
    }

    /// A message whose members are any JSON is read, and gives them back as they were written.
    #[test]
    fn any_params_and_results_are_read(value in any_value(), spaced in any::<bool>(), padding in "[ \t\r\n]{0,3}") {
        let is_object = value.is_object();
        let value = if spaced { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        for (name, text) in [
            ("params", format!(r#"{padding}{{"jsonrpc":"2.0","id":1,"method":"m","params":{value}}}{padding}"#)),
            ("result", format!(r#"{padding}{{"jsonrpc":"2.0","id":1,"result":{value}}}{padding}"#)),
            ("error", format!(r#"{padding}{{"jsonrpc":"2.0","id":1,"error":{value}}}{padding}"#)),
        ] {
            use_all(text.as_bytes());
            let Ok(Frame::Single(message)) = parse(text.as_bytes()) else {
                prop_assert!(name == "params" && !is_object || has_case_variant(&value), "{}", text);
                continue;
            };
            prop_assert_eq!(message.raw(), text.trim_matches([' ', '\t', '\r', '\n']));
            let read = match message.kind() {
                Kind::Request { params, .. } => params.map(|params| params.get()),
                Kind::Response { outcome: Answer::Result(value) | Answer::Error(value), .. } => Some(value.get()),
                Kind::Notification { .. } => None,
            };
            prop_assert_eq!(read, Some(value.as_str()));
        }
    }
}

/// Random keys may spell a name in another case.
fn has_case_variant(params: &str) -> bool {
    let names = ["name", "arguments", "uri", "_meta", "taskId"];
    serde_json::from_str::<Value>(params).unwrap().as_object().is_some_and(|members| {
        members
            .keys()
            .any(|key| names.iter().any(|name| key != name && key.to_lowercase() == name.to_lowercase()))
    })
}
