//! The table of `docs/policy.md`: what an argument is in Cedar.

use policy::{Bundle, Catalog, Server, Verdict};

use super::made::{call, sources, tool};

/// Judges one argument `x` of a schema by one condition.
fn holds(schema: &str, condition: &str, arguments: &str) -> Result<bool, String> {
    let tools = Some(vec![tool("t", &format!(r#""x":{schema},"y":{{"type":"string"}}"#))]);
    let catalog = Catalog::of(vec![Server { name: "s".to_owned(), tools, prompts: Vec::new() }]).unwrap();
    let policies = format!(
        r#"permit (principal, action == Action::"tools/call", resource == Tool::"s/t") when {{ {condition} }};"#
    );
    let bundle =
        Bundle::compile(&sources(&policies), &catalog).map_err(|diagnostics| diagnostics.to_string())?;
    let judgement = call(&bundle, "s/t", arguments);
    match judgement.verdict {
        Verdict::Allow => Ok(true),
        Verdict::Deny if judgement.reason.as_deref() == Some("no policy permits this") => Ok(false),
        _ => Err(judgement.reason.unwrap_or_default()),
    }
}

#[test]
fn each_row_of_the_table() {
    let has = |rest: &str| format!("context.arguments has x && context.arguments.x{rest}");
    for (schema, condition, arguments) in [
        (r#"{"type":"string"}"#, has(r#" == "a""#), r#"{"x":"\u0061"}"#),
        (r#"{"type":"string","format":"date"}"#, has(r#" like "2026-*""#), r#"{"x":"2026-11-21"}"#),
        (r#"{"enum":["a","b"]}"#, has(r#" == "b""#), r#"{"x":"b"}"#),
        (r#"{"const":"a"}"#, has(r#" == "a""#), r#"{"x":"a"}"#),
        (r#"{"type":"boolean"}"#, has(""), r#"{"x":true}"#),
        (r#"{"type":"integer"}"#, has(" == 1000"), r#"{"x":1e3}"#),
        (r#"{"type":"integer"}"#, has(" == -5"), r#"{"x":-5.0}"#),
        (r#"{"type":"number"}"#, has(r#" == decimal("1.0")"#), r#"{"x":1}"#),
        (r#"{"type":"number"}"#, has(r#" == decimal("1.5")"#), r#"{"x":1.5}"#),
        (r#"{"type":"number"}"#, has(r#" == decimal("-0.0001")"#), r#"{"x":-0.0001}"#),
        (r#"{"type":"array","items":{"type":"string"}}"#, has(r#" == ["a", "b"]"#), r#"{"x":["b","a","b"]}"#),
        (r#"{"type":"array","items":{"type":["integer","null"]}}"#, has(" == [1]"), r#"{"x":[1,null]}"#),
        (r#"{"type":"array"}"#, has(r#".contains("\"a\"")"#), r#"{"x":["a",1]}"#),
        (r#"{"type":"array","prefixItems":[{"type":"string"}]}"#, has(r#" == "[1,2]""#), r#"{"x":[1, 2]}"#),
        (
            r#"{"type":"object","properties":{"z":{"type":"integer"}},"required":["z"]}"#,
            has(".z == 1"),
            r#"{"x":{"z":1}}"#,
        ),
        (
            r#"{"type":"object"}"#,
            has(r#" == "{\"y\":1.5,\"z\":1}""#),
            r#"{"x":{"z": 1.0, "\u0079" :150e-2}}"#,
        ),
        (
            r#"{"anyOf":[{"type":"string"},{"type":"integer"}]}"#,
            has(r#" like "*.env*""#),
            r#"{"x":"\u002eenv"}"#,
        ),
        (r#"{}"#, has(r#" like "*.env*""#), r#"{"x":[ "a/\u002e\u0065nv" ]}"#),
        (r#"{}"#, has(r#" == "\"C:\\\\x\"""#), r#"{"x":"C:\\\u0078"}"#),
        (r#"{"type":["string","integer"]}"#, has(r#" == "1""#), r#"{"x":1}"#),
        (r#"{}"#, has(r#" == "\"a\"""#), r#"{"x":"a"}"#),
        (r#"true"#, has(r#" == "[]""#), r#"{"x":[]}"#),
        (r#"{"type":["string","null"]}"#, has(r#" == "a""#), r#"{"x":"a"}"#),
        (r#"{"anyOf":[{"type":"integer"},{"type":"null"}]}"#, has(" == 3"), r#"{"x":3}"#),
        (r#"{"$ref":"https://example.com/x.json"}"#, has(r#" == "1""#), r#"{"x":1}"#),
        (r##"{"$ref":"#/properties/y"}"##, has(r#" == "1""#), r#"{"x":1}"#),
    ] {
        assert_eq!(holds(schema, &condition, arguments), Ok(true), "{schema} {condition} {arguments}");
    }
}

#[test]
fn null_is_absent() {
    for schema in [r#"{"type":"string"}"#, r#"{"type":["string","null"]}"#, "{}"] {
        assert_eq!(holds(schema, "!(context.arguments has x)", r#"{"x":null}"#), Ok(true), "{schema}");
        assert_eq!(holds(schema, "!(context.arguments has x)", "{}"), Ok(true), "{schema}");
    }
}

#[test]
fn what_does_not_fit_is_denied_by_name_without_its_value() {
    let record = r#"{"type":"object","properties":{"z":{"type":"integer"}},"required":["z"]}"#;
    for (schema, arguments, expected) in [
        (
            r#"{"type":"string"}"#,
            r#"{"x":424242}"#,
            "argument `x` does not fit its declared type: expected a string",
        ),
        (
            r#"{"type":"integer"}"#,
            r#"{"x":1.5}"#,
            "argument `x` does not fit its declared type: expected an integer of 64 bits",
        ),
        (
            r#"{"type":"integer"}"#,
            r#"{"x":9223372036854775808}"#,
            "argument `x` does not fit its declared type: expected an integer of 64 bits",
        ),
        (
            r#"{"type":"number"}"#,
            r#"{"x":0.00001}"#,
            "argument `x` does not fit its declared type: expected a number with at most 4 decimal places",
        ),
        (
            r#"{"type":"number"}"#,
            r#"{"x":1e300}"#,
            "argument `x` does not fit its declared type: expected a number with at most 4 decimal places",
        ),
        (
            r#"{"type":"array","items":{"type":"string"}}"#,
            r#"{"x":["a",null]}"#,
            "argument `x` does not fit its declared type: expected a string",
        ),
        (record, r#"{"x":{}}"#, "argument `x.z` is required"),
        (
            record,
            r#"{"x":{"z":"1"}}"#,
            "argument `x.z` does not fit its declared type: expected an integer of 64 bits",
        ),
        (record, r#"{"x":{"z":1,"z":2}}"#, "argument `x` does not fit its declared type: expected an object"),
    ] {
        assert_eq!(holds(schema, "true", arguments), Err(expected.to_owned()), "{schema} {arguments}");
    }
}

#[test]
fn what_is_not_listed_is_named() {
    let record = r#"{"type":"object","properties":{"z":{"type":"integer"}}}"#;
    let condition = r#"context.unlisted == ["w", "x.v"]"#;
    assert_eq!(holds(record, condition, r#"{"w":1,"x":{"z":1,"v":{"u":1}}}"#), Ok(true));
}

#[test]
fn definitions_are_followed_and_cycles_end() {
    let properties = r##""x":{"$ref":"#/$defs/node"}},"$defs":{"node":{"type":"object","properties":{
        "v":{"type":"integer"},"next":{"$ref":"#/$defs/node"}}}},"ignored":{"##;
    let catalog = Catalog::of(vec![Server {
        name: "s".to_owned(),
        tools: Some(vec![tool("t", properties)]),
        prompts: Vec::new(),
    }])
    .unwrap();
    let policies = r#"permit (principal, action == Action::"tools/call", resource == Tool::"s/t")
        when { context.arguments has x && context.arguments.x has v && context.arguments.x.v == 1
            && context.arguments.x has next && context.arguments.x.next == "{\"v\":2}" };"#;
    let bundle = Bundle::compile(&sources(policies), &catalog).unwrap();
    assert_eq!(call(&bundle, "s/t", r#"{"x":{"v":1,"next":{"v":2}}}"#).verdict, Verdict::Allow);
}

/// A server may take one spelling of a name for another, and the last of them for what was meant.
#[test]
fn a_name_in_another_case_is_denied() {
    let record = r#"{"type":"object","properties":{"strasse":{"type":"string"},"key":{"type":"string"}}}"#;
    for (arguments, name) in [
        (r#"{"x":{},"X":{}}"#, "x"),
        (r#"{"X":{}}"#, "x"),
        (r#"{"x":{"Key":"a"}}"#, "x.key"),
        (r#"{"x":{"\u212aey":"a","key":"b"}}"#, "x.key"),
        (r#"{"x":{"\u017ftrasse":"a"}}"#, "x.strasse"),
        (r#"{"x":{"STRASSE":"a"}}"#, "x.strasse"),
    ] {
        let told = format!("an argument is named as `{name}` in another case");
        assert_eq!(holds(record, "true", arguments), Err(told), "{arguments}");
    }
    let both = r#"{"type":"object","properties":{"key":{"type":"string"},"Key":{"type":"string"}}}"#;
    assert_eq!(
        holds(both, "true", r#"{"x":{"key":"a","Key":"b"},"z":1,"Z":2}"#),
        Ok(true),
        "each is listed, or none"
    );
}

#[test]
fn what_has_no_type_and_no_single_reading_is_denied() {
    let told = Err("the question cannot be put: an argument without a type is nested too deeply, or names a member twice".to_owned());
    let reads = r#"context.arguments has x && context.arguments.x == "1""#;
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
    for arguments in [deep.as_str(), r#"{"x":[{"a":1,"\u0061":2}]}"#] {
        assert_eq!(holds("{}", reads, arguments), told, "{arguments}");
        assert_eq!(holds("{}", "true", arguments), Ok(true), "nothing reads it: {arguments}");
    }
}
