//! `page::ToolPage`: fewer tools, private, and every other byte as it came.

use expect_test::{Expect, expect};
use mcp::message::{Frame, parse};
use mcp::page::{NoPage, ToolPage};

/// Keeps the tools whose names begin with `a`, for a minute at most.
fn keep_a(raw: &str) -> Result<Option<String>, NoPage> {
    let Ok(Frame::Single(message)) = parse(raw.as_bytes()) else { panic!("no message") };
    Ok(ToolPage::of(&message)?.map(|page| {
        let keep: Vec<bool> = page.tools().map(|(name, _)| name.starts_with('a')).collect();
        page.keeping(&keep, 60_000)
    }))
}

fn check(raw: &str, expected: &Expect) {
    let told = match keep_a(raw) {
        Ok(Some(kept)) => kept,
        Ok(None) => "no result".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&told);
}

#[test]
fn what_is_kept_keeps_its_bytes() {
    check(
        r#"{ "jsonrpc":"2.0","id":1, "result":{"tools": [ {"name":"add","x":1.0e2} , {"name":"drop"},{ "name" : "all" }], "nextCursor":""}}"#,
        &expect![[
            r#"{ "jsonrpc":"2.0","id":1, "result":{"tools": [{"name":"add","x":1.0e2},{ "name" : "all" }], "nextCursor":""}}"#
        ]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"drop"}]}}"#,
        &expect![[r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#]],
    );
}

#[test]
fn what_depends_on_who_asks_is_private_and_short_lived() {
    check(
        r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":3600000,"resultType":"complete","tools":[{"name":"add"}],"cacheScope":"public"}}"#,
        &expect![[
            r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":60000,"resultType":"complete","tools":[{"name":"add"}],"cacheScope":"private"}}"#
        ]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"ttlMs":0}}"#,
        &expect![[r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"ttlMs":0}}"#]],
    );
}

#[test]
fn what_is_no_page_is_told() {
    check(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no"}}"#, &expect!["no result"]);
    for result in [
        r"{}",
        r#"{"tools":{}}"#,
        r#"{"tools":[{"name":"a"},7]}"#,
        r#"{"tools":[["a"]]}"#,
        r#"{"tools":[{"title":"a"}]}"#,
        r#"{"tools":[],"Tools":[{"name":"drop"}]}"#,
        r#"{"tools":[{"name":"add","NAME":"drop"}]}"#,
    ] {
        let raw = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        check(&raw, &expect!["it is no list of tools, each an object with one name"]);
    }
}

#[test]
fn what_two_parsers_read_differently_is_no_message() {
    for result in [r#"{"tools":[],"tools":[{"name":"drop"}]}"#, r#"{"tools":[{"name":"add","name":"drop"}]}"#]
    {
        let raw = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        assert!(parse(raw.as_bytes()).is_err(), "{raw}");
    }
}
