//! `page::Page`: fewer elements, private, and every other byte as it came.

use expect_test::{Expect, expect};
use mcp::message::{Frame, parse};
use mcp::page::{List, NoPage, Page};

/// Keeps what has a name that begins with `a`, for a minute at most.
fn keep_a(list: List, raw: &str) -> Result<Option<String>, NoPage> {
    let Ok(Frame::Single(message)) = parse(raw.as_bytes()) else { panic!("no message") };
    Ok(Page::of(list, &message)?.map(|page| {
        let keep: Vec<bool> = page.named().map(|(name, _)| name.starts_with('a')).collect();
        page.keeping(&keep, 60_000)
    }))
}

fn check(raw: &str, expected: &Expect) {
    check_list(List::Tools, raw, expected);
}

fn check_list(list: List, raw: &str, expected: &Expect) {
    let told = match keep_a(list, raw) {
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
fn a_page_says_where_the_list_goes_on() {
    for (more, expected) in [
        ("", None),
        (r#","nextCursor":null"#, None),
        (r#","nextCursor":7"#, None),
        (r#","nextCursor":"""#, Some("")),
        (r#","nextCursor":"\u0032""#, Some("2")),
    ] {
        let raw = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[]{more}}}}}"#);
        let Ok(Frame::Single(message)) = parse(raw.as_bytes()) else { panic!("no message") };
        let page = Page::of(List::Tools, &message).unwrap().unwrap();
        assert_eq!(page.next_cursor().as_deref(), expected, "{more}");
    }
    let variant = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"nextcursor":"2"}}"#;
    check(variant, &expect!["it is no list of objects that each have one name"]);
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
        r#"{"tools":[],"toolſ":[{"name":"drop"}]}"#,
        r#"{"tools":[],"tool\u017f":[{"name":"drop"}]}"#,
        r#"{"tools":[],"ttlM\u017f":9}"#,
        r#"{"tools":[{"name":"add","NAME":"drop"}]}"#,
    ] {
        let raw = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        check(&raw, &expect!["it is no list of objects that each have one name"]);
    }
}

#[test]
fn every_list_has_its_own_names() {
    for (method, result, expected) in [
        (
            "prompts/list",
            r#"{"prompts":[{"name":"ask"},{"name":"beg"}],"tools":7}"#,
            expect![[r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"ask"}],"tools":7}}"#]],
        ),
        (
            "resources/list",
            r#"{"resources":[{"uri":"a:1","name":"x"},{"uri":"b:1","name":"a"}]}"#,
            expect![[r#"{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"a:1","name":"x"}]}}"#]],
        ),
        (
            "resources/templates/list",
            r#"{"resourceTemplates":[{"uriTemplate":"b:{x}"}],"nextCursor":"2"}"#,
            expect![[r#"{"jsonrpc":"2.0","id":1,"result":{"resourceTemplates":[],"nextCursor":"2"}}"#]],
        ),
        (
            "resources/list",
            r#"{"resources":[{"uri":"a:1","URI":"b:1"}]}"#,
            expect!["it is no list of objects that each have one name"],
        ),
    ] {
        let list = List::of(method).expect("a list");
        check_list(list, &format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#), &expected);
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
