//! `mrtr`: which request continues which answer.

use expect_test::expect;
use mcp::mrtr::{InputRequired, Leg};
use serde_json::value::RawValue;

fn raw(text: &str) -> Box<RawValue> {
    serde_json::from_str(text).expect("a test's own JSON")
}

const ASKING: &str = r#"{"resultType":"input_required","requestState":"s1","inputRequests":{
    "b":{"method":"sampling/createMessage","params":{}},"a":{"method":"elicitation/create"},"c":{},"d":[]}}"#;

#[test]
fn what_a_server_asks_is_read() {
    let results = [
        ASKING,
        r#"{"resultType":"input_required","requestState":"only"}"#,
        r#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}}}"#,
        r#"{"resultType":"input_required","inputRequests":[["a"]]}"#,
        r#"{"resultType":"complete","requestState":"s1"}"#,
        r#"{"requestState":"s1"}"#,
        r#"["input_required","s1"]"#,
        "null",
    ];
    let shown: String = results
        .iter()
        .map(|result| match InputRequired::of(&raw(result)) {
            None => "nothing\n".to_owned(),
            Some(asked) => {
                let requests =
                    asked.requests.iter().map(|asked| format!(" {}={:?}", asked.key, asked.method));
                format!("state {:?}{}\n", asked.state, requests.collect::<String>())
            }
        })
        .collect();
    expect![[r#"
        state Some("s1") a="elicitation/create" b="sampling/createMessage" c="" d=""
        state Some("only")
        state None a="roots/list"
        state None
        nothing
        nothing
        nothing
        nothing
    "#]]
    .assert_eq(&shown);
}

/// A first request, the answer to it, a request that follows, and whether that is the next round.
#[test]
fn rounds_are_linked_by_state_or_else_by_what_was_asked() {
    let first = r#"{"name":"deploy","arguments":{}}"#;
    let asking = r#"{"resultType":"input_required","inputRequests":{"b":{"method":"roots/list"},"a":{}}}"#;
    let escaped = r#"{"resultType":"input_required","requestState":"a\/b\u00e9="}"#;
    let cases = [
        ("tools/call", first, ASKING, "tools/call", r#"{"name":"deploy","requestState":"s1"}"#),
        (
            "tools/call",
            first,
            ASKING,
            "tools/call",
            r#"{"name":"deploy","requestState":"s1","inputResponses":{"a":{}}}"#,
        ),
        ("tools/call", first, ASKING, "tools/call", r#"{"name":"deploy","requestState":"s2"}"#),
        (
            "tools/call",
            first,
            ASKING,
            "tools/call",
            r#"{"name":"deploy","inputResponses":{"a":{},"b":{},"c":{},"d":{}}}"#,
        ),
        ("tools/call", first, escaped, "tools/call", r#"{"name":"deploy","requestState":"a/bé="}"#),
        ("tools/call", first, asking, "tools/call", r#"{"name":"deploy","inputResponses":{"a":{},"b":{}}}"#),
        ("tools/call", first, asking, "tools/call", r#"{"name":"other","inputResponses":{"a":{},"b":{}}}"#),
        ("tools/call", first, asking, "prompts/get", r#"{"name":"deploy","inputResponses":{"a":{},"b":{}}}"#),
        ("tools/call", first, asking, "tools/call", r#"{"name":"deploy","inputResponses":{"a":{}}}"#),
        ("tools/call", first, asking, "tools/call", first),
        (
            "resources/read",
            r#"{"uri":"u"}"#,
            asking,
            "resources/read",
            r#"{"uri":"u","inputResponses":{"a":1,"b":2}}"#,
        ),
        ("tools/list", "{}", ASKING, "tools/list", r#"{"requestState":"s1"}"#),
        ("tools/call", first, r#"{"resultType":"complete"}"#, "tools/call", r#"{"requestState":"s1"}"#),
    ];
    let shown: String = cases
        .iter()
        .map(|(method, params, result, next_method, next)| {
            let awaited = Leg::of(method, &raw(params)).and_then(|leg| leg.awaited(&raw(result)));
            let continued = Leg::of(next_method, &raw(next)).and_then(|leg| leg.continued(&raw(next)));
            let is_next = awaited.is_some() && awaited == continued;
            format!(
                "{next_method} {next} → {}\n",
                if is_next { "the next round" } else { "a call of its own" }
            )
        })
        .collect();
    expect![[r#"
        tools/call {"name":"deploy","requestState":"s1"} → the next round
        tools/call {"name":"deploy","requestState":"s1","inputResponses":{"a":{}}} → the next round
        tools/call {"name":"deploy","requestState":"s2"} → a call of its own
        tools/call {"name":"deploy","inputResponses":{"a":{},"b":{},"c":{},"d":{}}} → a call of its own
        tools/call {"name":"deploy","requestState":"a/bé="} → the next round
        tools/call {"name":"deploy","inputResponses":{"a":{},"b":{}}} → the next round
        tools/call {"name":"other","inputResponses":{"a":{},"b":{}}} → a call of its own
        prompts/get {"name":"deploy","inputResponses":{"a":{},"b":{}}} → a call of its own
        tools/call {"name":"deploy","inputResponses":{"a":{}}} → a call of its own
        tools/call {"name":"deploy","arguments":{}} → a call of its own
        resources/read {"uri":"u","inputResponses":{"a":1,"b":2}} → the next round
        tools/list {"requestState":"s1"} → a call of its own
        tools/call {"requestState":"s1"} → a call of its own
    "#]]
    .assert_eq(&shown);
}
