//! The tasks extension: what a call is made of that is made later, and what a server's account of itself is with the extension.

use expect_test::expect;
use mcp::message::{Frame, Message, parse};

const TAKES: &str = r#""io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}},"extensions":{"x/y":{},"io.modelcontextprotocol/tasks":{}}}"#;

fn kept(method: &str, params: &str) -> String {
    let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
    let Ok(Frame::Single(message)) = parse(text.as_bytes()) else { panic!("no message: {text}") };
    message.deferred().unwrap_or_else(|| "none".to_owned())
}

#[test]
fn a_call_that_is_made_later_says_what_it_said() {
    let table: String = [
        ("tools/call", format!(r#"{{"name":"t","arguments":{{"n":1.50,"z":123456789012345678901234567890.10,"a":[]}},"_meta":{{"progressToken":3,"own":{{"k" : 1}},{TAKES}}}}}"#)),
        ("tools/call", format!(r#"{{"_meta":{{{TAKES}}},"name":"\u0074"}}"#)),
        ("prompts/get", format!(r#"{{"name":"t","_meta":{{{TAKES}}}}}"#)),
        ("tools/call", r#"{"name":"t","_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":{}}}}"#.to_owned()),
        ("tools/call", r#"{"name":"t","_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":true}}}}"#.to_owned()),
        ("tools/call", r#"{"name":"t"}"#.to_owned()),
    ]
    .iter()
    .map(|(method, params)| format!("{}\n", kept(method, params)))
    .collect();
    expect![[r#"
        {"name":"t","arguments":{"n":1.50,"z":123456789012345678901234567890.10,"a":[]},"_meta":{"own":{"k" : 1},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}},"extensions":{"x/y":{}}}}}
        {"_meta":{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}},"extensions":{"x/y":{}}}},"name":"\u0074"}
        none
        none
        none
        none
    "#]]
    .assert_eq(&table);
}

#[test]
fn a_later_round_brings_what_was_asked() {
    let made = |params: &str, more: &[(&str, &str)]| {
        Message::of_deferred("tollbook-1", params, more).expect("an object")
    };
    expect![[r#"{"jsonrpc":"2.0","id":"tollbook-1","method":"tools/call","params":{"name":"t"}}"#]]
        .assert_eq(&made(r#"{"name":"t"}"#, &[]));
    expect![[r#"{"jsonrpc":"2.0","id":"tollbook-1","method":"tools/call","params":{"name":"t","requestState":"new"}}"#]]
        .assert_eq(&made(r#"{"requestState":"old","name":"t"}"#, &[("requestState", r#""new""#)]));
    assert!(Message::of_deferred("x", "[]", &[]).is_err());
}

#[test]
fn a_server_that_says_what_it_can_says_tasks_too() {
    let said = |result: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let Ok(Frame::Single(message)) = parse(text.as_bytes()) else { panic!("no message: {text}") };
        message.declaring_tasks().unwrap_or_else(|| "none".to_owned())
    };
    let table: String = [
        r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":1}"#,
        r#"{"capabilities":{"extensions":{"x/y":{"a":1.0}},"tools":{}}}"#,
        r#"{"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}"#,
        r#"{"capabilities":[]}"#,
        r#"{"capabilities":{"extensions":[]}}"#,
        r#"{}"#,
        r#"[]"#,
    ]
    .iter()
    .map(|result| format!("{}\n", said(result)))
    .collect();
    expect![[r#"
        {"jsonrpc":"2.0","id":1,"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}},"ttlMs":1}}
        {"jsonrpc":"2.0","id":1,"result":{"capabilities":{"tools":{},"extensions":{"x/y":{"a":1.0},"io.modelcontextprotocol/tasks":{}}}}}
        none
        none
        none
        none
        none
    "#]]
    .assert_eq(&table);
}
