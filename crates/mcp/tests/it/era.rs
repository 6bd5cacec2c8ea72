//! `era::classify`: each request by itself, from its body and headers.

use expect_test::expect;
use mcp::era::{Era, HeaderFacts, ProtocolVersion, classify};
use mcp::message::parse;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;

fn class(body: &str, version: Option<&str>, has_session: bool) -> String {
    let frame = parse(body.as_bytes()).unwrap();
    let class = classify(&frame, &HeaderFacts { protocol_version: version, has_session });
    let version = class.version.as_ref().map_or("-", ProtocolVersion::as_str);
    let batches = if class.allows_batches() { "may be a batch" } else { "no batch" };
    format!("{} {version} {batches}", class.era.as_str())
}

#[test]
fn frames_are_classified() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#.to_owned();
    let stateless = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{META}}}}}"#);
    let discover = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{{{META}}}}}"#);
    let notification = format!(r#"{{"jsonrpc":"2.0","method":"notifications/x","params":{{{META}}}}}"#);
    let odd_meta =
        |meta: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"_meta":{meta}}}}}"#);
    let initialize =
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#
            .to_owned();
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#.to_owned();
    let named =
        |version: &str| odd_meta(&format!(r#"{{"io.modelcontextprotocol/protocolVersion":"{version}"}}"#));
    let cases: [(&str, String, Option<&str>, bool); 25] = [
        ("call", call.clone(), None, false),
        ("call", call.clone(), Some("2025-03-26"), false),
        ("call", call.clone(), Some("2025-06-18"), true),
        ("call", call.clone(), Some(" 2025-11-25 "), false),
        ("call", call.clone(), Some("2026-07-28"), false),
        ("call", call.clone(), Some("2026-07-28"), true),
        ("call", call.clone(), Some("2027-01-01"), false),
        ("call", call.clone(), Some("next"), false),
        ("call", call.clone(), Some("9999999999"), false),
        ("call", call.clone(), None, true),
        ("call with _meta", stateless.clone(), Some("2026-07-28"), false),
        ("call with _meta", stateless.clone(), None, false),
        ("call with _meta", stateless.clone(), Some("2025-06-18"), true),
        ("discover", discover, Some("2026-07-28"), false),
        ("notification with _meta", notification, None, false),
        ("_meta of an old version", named("2024-11-05"), None, false),
        ("_meta of no version", odd_meta(r#"{"progressToken":1}"#), None, false),
        (
            "_meta with a number",
            odd_meta(r#"{"io.modelcontextprotocol/protocolVersion":20260728}"#),
            None,
            false,
        ),
        ("_meta as an array", odd_meta(r#"["2026-07-28"]"#), None, false),
        ("initialize", initialize.clone(), None, false),
        ("initialize", initialize.clone(), Some("2026-07-28"), false),
        ("result with _meta", result, None, false),
        ("batch", format!("[{call},{call}]"), None, true),
        ("batch of both", format!("[{call},{stateless}]"), None, true),
        ("batch with initialize", format!("[{call},{initialize}]"), Some("2026-07-28"), false),
    ];
    let table: String = cases
        .iter()
        .map(|(name, body, version, has_session)| {
            let session = if *has_session { " session" } else { "" };
            format!("{name}, {}{session} → {}\n", version.unwrap_or("-"), class(body, *version, *has_session))
        })
        .collect();
    expect![[r#"
        call, - → session - may be a batch
        call, 2025-03-26 → session 2025-03-26 may be a batch
        call, 2025-06-18 session → session 2025-06-18 no batch
        call,  2025-11-25  → session 2025-11-25 no batch
        call, 2026-07-28 → stateless 2026-07-28 no batch
        call, 2026-07-28 session → session 2026-07-28 no batch
        call, 2027-01-01 → stateless 2027-01-01 no batch
        call, next → session next no batch
        call, 9999999999 → session 9999999999 no batch
        call, - session → session - may be a batch
        call with _meta, 2026-07-28 → stateless 2026-07-28 no batch
        call with _meta, - → stateless 2026-07-28 no batch
        call with _meta, 2025-06-18 session → stateless 2026-07-28 no batch
        discover, 2026-07-28 → stateless 2026-07-28 no batch
        notification with _meta, - → stateless 2026-07-28 no batch
        _meta of an old version, - → stateless 2024-11-05 no batch
        _meta of no version, - → session - may be a batch
        _meta with a number, - → session - may be a batch
        _meta as an array, - → session - may be a batch
        initialize, - → session - may be a batch
        initialize, 2026-07-28 → session 2026-07-28 no batch
        result with _meta, - → session - may be a batch
        batch, - session → session - may be a batch
        batch of both, - session → stateless 2026-07-28 no batch
        batch with initialize, 2026-07-28 → session 2026-07-28 no batch
    "#]]
    .assert_eq(&table);
}

/// A version that nobody knows yet falls by its date.
#[test]
fn versions_are_dates() {
    for (version, era) in [
        ("2024-11-05", Era::Session),
        ("2025-03-26", Era::Session),
        ("2025-06-18", Era::Session),
        ("2025-11-25", Era::Session),
        ("2026-07-27", Era::Session),
        ("2026-07-28", Era::Stateless),
        ("2026-11-01", Era::Stateless),
        ("3000-01-01", Era::Stateless),
        ("", Era::Session),
        ("2026", Era::Session),
        ("2026-7-28", Era::Session),
        ("2026-07-28-rc", Era::Session),
        ("2026/07/28", Era::Session),
        ("20260728--", Era::Session),
        ("9999999999", Era::Session),
        ("----------", Era::Session),
        ("２０２６-07-28", Era::Session),
        ("DRAFT-2026", Era::Session),
    ] {
        assert_eq!(ProtocolVersion::parse(version).era(), era, "{version}");
    }
    assert_eq!(ProtocolVersion::parse(" 2026-07-28\t").as_str(), "2026-07-28");
}
