//! `header`: what the headers of a stateless request may say besides its body (MCP 2026-07-28, Streamable HTTP).

use expect_test::{Expect, expect};
use mcp::header::{self, Mirrored};
use mcp::message::{Frame, parse};
use serde_json::value::RawValue;

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");

fn body(method: &str, params: &str) -> String {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    let comma = if params.is_empty() { "" } else { "," };
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{comma}{meta}}}}}"#)
}

fn verdict(body: &str, headers: &[(&str, &str)]) -> String {
    let Ok(Frame::Single(message)) = parse(body.as_bytes()) else { panic!("`{body}` is no message") };
    header::check(&message, headers).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
}

fn check(body: &str, cases: &[&[(&str, &str)]], expected: &Expect) {
    let shown: String =
        cases.iter().map(|headers| format!("{headers:?}\n  → {}\n", verdict(body, headers))).collect();
    expected.assert_eq(&shown);
}

#[test]
fn standard_headers_repeat_the_body() {
    let method = ("Mcp-Method", "tools/call");
    check(
        &body("tools/call", r#""name":"echo""#),
        &[
            &[VERSION, method, ("Mcp-Name", "echo")],
            &[
                ("mcp-protocol-version", "\t2026-07-28 "),
                ("MCP-METHOD", " tools/call"),
                ("mcp-name", "echo\t"),
            ],
            &[VERSION, method, ("mcp-name", "=?base64?ZWNobw==?=")],
            &[],
            &[VERSION],
            &[VERSION, method],
            &[method, ("Mcp-Name", "echo")],
            &[("MCP-Protocol-Version", "2025-11-25"), method, ("Mcp-Name", "echo")],
            &[VERSION, ("Mcp-Method", "Tools/Call"), ("Mcp-Name", "echo")],
            &[VERSION, ("Mcp-Method", ""), ("Mcp-Name", "echo")],
            &[VERSION, method, ("Mcp-Name", "Echo")],
            &[VERSION, method, ("Mcp-Name", "echo"), ("mcp-name", "echo")],
            &[VERSION, method, ("Mcp-Name", "=?base64?ZWNobw?=")],
            &[VERSION, method, ("Mcp-Name", "=?base64?/w==?=")],
            &[VERSION, method, ("Mcp-Name", "=?BASE64?ZWNobw==?=")],
            &[VERSION, method, ("Mcp-Name", "ec\u{0}ho")],
        ],
        &expect![[r#"
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")]
              → ok
            [("mcp-protocol-version", "\t2026-07-28 "), ("MCP-METHOD", " tools/call"), ("mcp-name", "echo\t")]
              → ok
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("mcp-name", "=?base64?ZWNobw==?=")]
              → ok
            []
              → Header mismatch: the `MCP-Protocol-Version` header is missing
            [("MCP-Protocol-Version", "2026-07-28")]
              → Header mismatch: the `Mcp-Method` header is missing
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call")]
              → Header mismatch: the `Mcp-Name` header is missing
            [("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")]
              → Header mismatch: the `MCP-Protocol-Version` header is missing
            [("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")]
              → Header mismatch: the `MCP-Protocol-Version` header does not match the body
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "Tools/Call"), ("Mcp-Name", "echo")]
              → Header mismatch: the `Mcp-Method` header does not match the body
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", ""), ("Mcp-Name", "echo")]
              → Header mismatch: the `Mcp-Method` header does not match the body
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "Echo")]
              → Header mismatch: the `Mcp-Name` header does not match the body
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo"), ("mcp-name", "echo")]
              → Header mismatch: the `Mcp-Name` header is malformed
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "=?base64?ZWNobw?=")]
              → Header mismatch: the `Mcp-Name` header is malformed
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "=?base64?/w==?=")]
              → Header mismatch: the `Mcp-Name` header is malformed
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "=?BASE64?ZWNobw==?=")]
              → Header mismatch: the `Mcp-Name` header does not match the body
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "ec\0ho")]
              → Header mismatch: the `Mcp-Name` header is malformed
        "#]],
    );
}

/// Only names and parameters may be encoded: what routes by the method would read the sentinel itself.
#[test]
fn version_and_method_are_never_encoded() {
    check(
        &body("tools/list", ""),
        &[
            &[VERSION, ("Mcp-Method", "tools/list")],
            &[VERSION, ("Mcp-Method", "=?base64?dG9vbHMvbGlzdA==?=")],
            &[("MCP-Protocol-Version", "=?base64?MjAyNi0wNy0yOA==?="), ("Mcp-Method", "tools/list")],
        ],
        &expect![[r#"
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/list")]
              → ok
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "=?base64?dG9vbHMvbGlzdA==?=")]
              → Header mismatch: the `Mcp-Method` header does not match the body
            [("MCP-Protocol-Version", "=?base64?MjAyNi0wNy0yOA==?="), ("Mcp-Method", "tools/list")]
              → Header mismatch: the `MCP-Protocol-Version` header does not match the body
        "#]],
    );
}

#[test]
fn what_is_not_ascii_comes_encoded() {
    let method = ("Mcp-Method", "prompts/get");
    check(
        &body("prompts/get", r#""name":"Hello, 世界""#),
        &[
            &[VERSION, method, ("Mcp-Name", "=?base64?SGVsbG8sIOS4lueVjA==?=")],
            &[VERSION, method, ("Mcp-Name", "Hello, 世界")],
        ],
        &expect![[r#"
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "prompts/get"), ("Mcp-Name", "=?base64?SGVsbG8sIOS4lueVjA==?=")]
              → ok
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "prompts/get"), ("Mcp-Name", "Hello, 世界")]
              → Header mismatch: the `Mcp-Name` header is malformed
        "#]],
    );
    check(
        &body("prompts/get", r#""name":"=?base64?literal?=""#),
        &[
            &[VERSION, method, ("Mcp-Name", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=")],
            &[VERSION, method, ("Mcp-Name", "=?base64?literal?=")],
        ],
        &expect![[r#"
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "prompts/get"), ("Mcp-Name", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=")]
              → ok
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "prompts/get"), ("Mcp-Name", "=?base64?literal?=")]
              → Header mismatch: the `Mcp-Name` header is malformed
        "#]],
    );
}

#[test]
fn the_name_is_what_the_method_names() {
    let cases = [
        ("resources/read", r#""uri":"file:///a""#, "file:///a"),
        ("resources/read", r#""uri":"file:///a","name":"b""#, "b"),
        ("tasks/get", r#""taskId":"t1""#, "t1"),
        ("tasks/get", r#""taskId":"t1""#, "t2"),
        ("tools/list", r#""name":"a""#, "b"),
        ("vendor/method", r#""name":"a""#, "b"),
    ];
    let shown: String = cases
        .iter()
        .map(|(method, params, name)| {
            let headers = [VERSION, ("Mcp-Method", *method), ("Mcp-Name", *name)];
            format!("{method} {params} {name:?} → {}\n", verdict(&body(method, params), &headers))
        })
        .collect();
    expect![[r#"
        resources/read "uri":"file:///a" "file:///a" → ok
        resources/read "uri":"file:///a","name":"b" "b" → Header mismatch: the `Mcp-Name` header does not match the body
        tasks/get "taskId":"t1" "t1" → ok
        tasks/get "taskId":"t1" "t2" → Header mismatch: the `Mcp-Name` header does not match the body
        tools/list "name":"a" "b" → ok
        vendor/method "name":"a" "b" → ok
    "#]].assert_eq(&shown);
}

fn raw(text: &str) -> Box<RawValue> {
    serde_json::from_str(text).expect("a test's own JSON")
}

#[test]
fn declarations_are_reached_by_properties_alone() {
    let declared = r#"{"type":"string","x-mcp-header":"Region"}"#;
    let schemas = [
        format!(r#"{{"properties":{{"a":{declared}}}}}"#),
        format!(r#"{{"properties":{{"a":{{"type":"object","properties":{{"b":{declared}}}}}}}}}"#),
        r#"{"properties":{"x-mcp-header":{"type":"string"}}}"#.to_owned(),
        r#"{"properties":{"a":{"type":"object","default":{"x-mcp-header":"A"}}}}"#.to_owned(),
        r#"{"$defs":{"x-mcp-header":{"type":"string"}}}"#.to_owned(),
        "true".to_owned(),
        format!(r#"{{"properties":{{"a":{{"type":"array","items":{declared}}}}}}}"#),
        format!(r#"{{"properties":{{"a":{{"type":"array","prefixItems":[{declared}]}}}}}}"#),
        format!(r#"{{"oneOf":[{{"properties":{{"a":{declared}}}}}]}}"#),
        format!(r#"{{"if":{{"properties":{{"a":{declared}}}}}}}"#),
        format!(r#"{{"properties":{{"a":{{"$ref":"\#/$defs/r"}}}},"$defs":{{"r":{declared}}}}}"#)
            .replace("\\#", "#"),
        format!(r#"{{"patternProperties":{{".":{declared}}}}}"#),
        declared.to_owned(),
        format!(r#"{{"properties":{{"a":{declared},"b":{{"type":"string","x-mcp-header":"REGION"}}}}}}"#),
        r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#.to_owned(),
        r#"{"properties":{"a":{"type":["string","null"],"x-mcp-header":"A"}}}"#.to_owned(),
        r#"{"properties":{"a":{"x-mcp-header":"A"}}}"#.to_owned(),
        r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#.to_owned(),
        r#"{"properties":{"a":{"type":"string","x-mcp-header":"A B"}}}"#.to_owned(),
        r#"{"properties":{"a":{"type":"string","x-mcp-header":"A\r\nB"}}}"#.to_owned(),
        r#"{"properties":{"a":{"type":"string","x-mcp-header":1}}}"#.to_owned(),
    ];
    let shown: String = schemas
        .iter()
        .map(|schema| {
            let verdict = match Mirrored::of(&raw(schema)) {
                Ok(mirrored) if mirrored.is_empty() => "nothing mirrored",
                Ok(_) => "mirrored",
                Err(_) => "not valid",
            };
            format!("{schema} → {verdict}\n")
        })
        .collect();
    expect![[r##"
        {"properties":{"a":{"type":"string","x-mcp-header":"Region"}}} → mirrored
        {"properties":{"a":{"type":"object","properties":{"b":{"type":"string","x-mcp-header":"Region"}}}}} → mirrored
        {"properties":{"x-mcp-header":{"type":"string"}}} → nothing mirrored
        {"properties":{"a":{"type":"object","default":{"x-mcp-header":"A"}}}} → nothing mirrored
        {"$defs":{"x-mcp-header":{"type":"string"}}} → nothing mirrored
        true → nothing mirrored
        {"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"Region"}}}} → not valid
        {"properties":{"a":{"type":"array","prefixItems":[{"type":"string","x-mcp-header":"Region"}]}}} → not valid
        {"oneOf":[{"properties":{"a":{"type":"string","x-mcp-header":"Region"}}}]} → not valid
        {"if":{"properties":{"a":{"type":"string","x-mcp-header":"Region"}}}} → not valid
        {"properties":{"a":{"$ref":"#/$defs/r"}},"$defs":{"r":{"type":"string","x-mcp-header":"Region"}}} → not valid
        {"patternProperties":{".":{"type":"string","x-mcp-header":"Region"}}} → not valid
        {"type":"string","x-mcp-header":"Region"} → not valid
        {"properties":{"a":{"type":"string","x-mcp-header":"Region"},"b":{"type":"string","x-mcp-header":"REGION"}}} → not valid
        {"properties":{"a":{"type":"number","x-mcp-header":"A"}}} → not valid
        {"properties":{"a":{"type":["string","null"],"x-mcp-header":"A"}}} → not valid
        {"properties":{"a":{"x-mcp-header":"A"}}} → not valid
        {"properties":{"a":{"type":"string","x-mcp-header":""}}} → not valid
        {"properties":{"a":{"type":"string","x-mcp-header":"A B"}}} → not valid
        {"properties":{"a":{"type":"string","x-mcp-header":"A\r\nB"}}} → not valid
        {"properties":{"a":{"type":"string","x-mcp-header":1}}} → not valid
    "##]].assert_eq(&shown);
}

#[test]
fn mirrored_arguments_are_compared_by_value() {
    let schema = r#"{"properties":{
        "s":{"type":"string","x-mcp-header":"S"},
        "o":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
        "b":{"type":"boolean","x-mcp-header":"B"}}}"#;
    let mirrored = Mirrored::of(&raw(schema)).expect("valid declarations");
    let cases: [(&str, &[(&str, &str)]); 24] = [
        (
            r#"{"s":"a","o":{"n":42},"b":true}"#,
            &[("mcp-param-s", "a"), ("Mcp-Param-N", "42"), ("MCP-PARAM-B", "true")],
        ),
        (r#"{"s":"a"}"#, &[("mcp-param-s", "a"), ("mcp-param-other", "x")]),
        (r#"{"s":" a"}"#, &[("mcp-param-s", "=?base64?IGE=?=")]),
        (r#"{"s":""}"#, &[("mcp-param-s", "")]),
        (r#"{"s":null,"o":{},"b":null}"#, &[]),
        ("{}", &[]),
        (r#"{"s":"a"}"#, &[]),
        (r#"{"s":null}"#, &[("mcp-param-s", "null")]),
        ("{}", &[("mcp-param-s", "")]),
        (r#"{"s":"a"}"#, &[("mcp-param-s", "A")]),
        (r#"{"s":"é"}"#, &[("mcp-param-s", "é")]),
        (r#"{"s":"a"}"#, &[("mcp-param-s", "a"), ("Mcp-Param-S", "b")]),
        (r#"{"o":{"n":42}}"#, &[("mcp-param-n", "42.0")]),
        (r#"{"o":{"n":42.0}}"#, &[("mcp-param-n", "42")]),
        (r#"{"o":{"n":-7}}"#, &[("mcp-param-n", "-7")]),
        (r#"{"o":{"n":42}}"#, &[("mcp-param-n", "43")]),
        (r#"{"o":{"n":42}}"#, &[("mcp-param-n", "forty-two")]),
        (r#"{"o":{"n":9007199254740993}}"#, &[("mcp-param-n", "9007199254740992")]),
        (r#"{"o":{"n":9007199254740993}}"#, &[("mcp-param-n", "9007199254740993")]),
        (r#"{"o":{"n":18446744073709551615}}"#, &[("mcp-param-n", "18446744073709551614")]),
        (r#"{"o":{"n":1e300}}"#, &[("mcp-param-n", "1e300")]),
        (r#"{"b":true}"#, &[("mcp-param-b", "TRUE")]),
        (r#"{"b":false}"#, &[("mcp-param-b", "false")]),
        (r#"{"s":["a"]}"#, &[("mcp-param-s", "a")]),
    ];
    let shown: String = cases
        .iter()
        .map(|(arguments, headers)| {
            let verdict = mirrored.check(Some(&raw(arguments)), headers);
            let verdict = verdict.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
            format!("{arguments} {headers:?}\n  → {verdict}\n")
        })
        .collect();
    expect![[r#"
        {"s":"a","o":{"n":42},"b":true} [("mcp-param-s", "a"), ("Mcp-Param-N", "42"), ("MCP-PARAM-B", "true")]
          → ok
        {"s":"a"} [("mcp-param-s", "a"), ("mcp-param-other", "x")]
          → ok
        {"s":" a"} [("mcp-param-s", "=?base64?IGE=?=")]
          → ok
        {"s":""} [("mcp-param-s", "")]
          → ok
        {"s":null,"o":{},"b":null} []
          → ok
        {} []
          → ok
        {"s":"a"} []
          → Header mismatch: the `mcp-param-s` header does not match the body
        {"s":null} [("mcp-param-s", "null")]
          → Header mismatch: the `mcp-param-s` header does not match the body
        {} [("mcp-param-s", "")]
          → Header mismatch: the `mcp-param-s` header does not match the body
        {"s":"a"} [("mcp-param-s", "A")]
          → Header mismatch: the `mcp-param-s` header does not match the body
        {"s":"é"} [("mcp-param-s", "é")]
          → Header mismatch: the `mcp-param-s` header is malformed
        {"s":"a"} [("mcp-param-s", "a"), ("Mcp-Param-S", "b")]
          → Header mismatch: the `mcp-param-s` header is malformed
        {"o":{"n":42}} [("mcp-param-n", "42.0")]
          → ok
        {"o":{"n":42.0}} [("mcp-param-n", "42")]
          → ok
        {"o":{"n":-7}} [("mcp-param-n", "-7")]
          → ok
        {"o":{"n":42}} [("mcp-param-n", "43")]
          → Header mismatch: the `mcp-param-n` header does not match the body
        {"o":{"n":42}} [("mcp-param-n", "forty-two")]
          → Header mismatch: the `mcp-param-n` header does not match the body
        {"o":{"n":9007199254740993}} [("mcp-param-n", "9007199254740992")]
          → Header mismatch: the `mcp-param-n` header does not match the body
        {"o":{"n":9007199254740993}} [("mcp-param-n", "9007199254740993")]
          → ok
        {"o":{"n":18446744073709551615}} [("mcp-param-n", "18446744073709551614")]
          → Header mismatch: the `mcp-param-n` header does not match the body
        {"o":{"n":1e300}} [("mcp-param-n", "1e300")]
          → Header mismatch: the `mcp-param-n` header does not match the body
        {"b":true} [("mcp-param-b", "TRUE")]
          → Header mismatch: the `mcp-param-b` header does not match the body
        {"b":false} [("mcp-param-b", "false")]
          → ok
        {"s":["a"]} [("mcp-param-s", "a")]
          → Header mismatch: the `mcp-param-s` header does not match the body
    "#]]
    .assert_eq(&shown);
}

/// The names that only one era asks for, messages without requirements, and values at the edge of the encoding.
#[test]
fn what_is_not_required_may_be_left_out_but_not_differ() {
    let resource = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///ä"}}"#;
    let prompt = r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":""}}"#;
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let cases: [(&str, &[(&str, &str)]); 14] = [
        (resource, &[("mcp-method", "resources/read"), ("mcp-name", "=?base64?ZmlsZTovLy/DpA==?=")]),
        (resource, &[("mcp-method", "resources/read"), ("mcp-name", "file:///%C3%A4")]),
        (prompt, &[("mcp-method", "prompts/get"), ("mcp-name", "")]),
        (prompt, &[("mcp-method", "prompts/get"), ("mcp-name", "=?base64??=")]),
        (prompt, &[("mcp-method", "prompts/get"), ("mcp-name", "=?base64?=")]),
        (prompt, &[("mcp-method", "prompts/get")]),
        (&body("tasks/get", r#""taskId":"t""#), &[VERSION, ("mcp-method", "tasks/get")]),
        (&body("tasks/result", r#""taskId":"t""#), &[VERSION, ("mcp-method", "tasks/result")]),
        (&body("resources/subscribe", r#""uri":"a:b""#), &[VERSION, ("mcp-method", "resources/subscribe")]),
        (&body("tools/call", r#""name":7"#), &[VERSION, ("mcp-method", "tools/call")]),
        (cancelled, &[]),
        (cancelled, &[("mcp-method", "notifications/cancelled")]),
        (cancelled, &[("mcp-method", "notifications/progress")]),
        (result, &[("mcp-method", "tools/call")]),
    ];
    let shown: String = cases
        .iter()
        .map(|(body, headers)| format!("{body} {headers:?}\n  → {}\n", verdict(body, headers)))
        .collect();
    expect![[r#"
        {"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///ä"}} [("mcp-method", "resources/read"), ("mcp-name", "=?base64?ZmlsZTovLy/DpA==?=")]
          → ok
        {"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///ä"}} [("mcp-method", "resources/read"), ("mcp-name", "file:///%C3%A4")]
          → Header mismatch: the `Mcp-Name` header does not match the body
        {"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":""}} [("mcp-method", "prompts/get"), ("mcp-name", "")]
          → ok
        {"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":""}} [("mcp-method", "prompts/get"), ("mcp-name", "=?base64??=")]
          → ok
        {"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":""}} [("mcp-method", "prompts/get"), ("mcp-name", "=?base64?=")]
          → Header mismatch: the `Mcp-Name` header is malformed
        {"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":""}} [("mcp-method", "prompts/get")]
          → Header mismatch: the `Mcp-Name` header is missing
        {"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}} [("MCP-Protocol-Version", "2026-07-28"), ("mcp-method", "tasks/get")]
          → Header mismatch: the `Mcp-Name` header is missing
        {"jsonrpc":"2.0","id":1,"method":"tasks/result","params":{"taskId":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}} [("MCP-Protocol-Version", "2026-07-28"), ("mcp-method", "tasks/result")]
          → ok
        {"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a:b","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}} [("MCP-Protocol-Version", "2026-07-28"), ("mcp-method", "resources/subscribe")]
          → ok
        {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}} [("MCP-Protocol-Version", "2026-07-28"), ("mcp-method", "tools/call")]
          → ok
        {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}} []
          → ok
        {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}} [("mcp-method", "notifications/cancelled")]
          → ok
        {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}} [("mcp-method", "notifications/progress")]
          → Header mismatch: the `Mcp-Method` header does not match the body
        {"jsonrpc":"2.0","id":1,"result":{}} [("mcp-method", "tools/call")]
          → ok
    "#]].assert_eq(&shown);
}

/// Both zeros are written `0`; nothing is below what is no object.
#[test]
fn arguments_are_looked_up_in_objects_alone() {
    let schema =
        r#"{"properties":{"o":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}}"#;
    let mirrored = Mirrored::of(&raw(schema)).expect("valid declarations");
    let zero = raw(r#"{"o":{"n":-0.0}}"#);
    assert_eq!(mirrored.check(Some(&zero), &[("mcp-param-n", "0")]), Ok(()));
    for arguments in [r#"{"o":"n"}"#, r#"{"o":["n"]}"#, r#"{"n":1}"#, "[]", "null"] {
        assert_eq!(mirrored.check(Some(&raw(arguments)), &[]), Ok(()), "{arguments}");
        assert!(mirrored.check(Some(&raw(arguments)), &[("mcp-param-n", "1")]).is_err(), "{arguments}");
    }
    assert_eq!(mirrored.check(None, &[]), Ok(()));
}
