//! `fields`: the members that a gateway reads, and nothing taken for them that is none.

use expect_test::expect;
use mcp::fields::{Params, ResultView, span_of};
use mcp::message::IdBuf;
use mcp::page::Lists;
use serde_json::value::RawValue;

fn raw(text: &str) -> Box<RawValue> {
    serde_json::from_str(text).unwrap()
}

/// All that is read of some params, without what is absent.
fn shown(text: &str) -> String {
    let raw = raw(text);
    let params = Params::of(&raw);
    let id = |id: Option<IdBuf>| id.map(|id| id.raw().to_owned());
    let mut lines = vec![
        ("name", params.name()),
        ("uri", params.uri()),
        ("task", params.task_id()),
        ("cursor", params.cursor()),
        ("arguments", params.arguments().map(|arguments| arguments.get().to_owned())),
        ("version of _meta", params.meta_version()),
        ("version", params.protocol_version()),
        ("client", params.client_info().map(str::to_owned)),
        ("progress asked for", id(params.meta_progress_token())),
        ("progress of", id(params.progress_token())),
        ("subscription", id(params.subscription_id())),
        ("cancelled", id(params.request_id())),
        ("action", params.input_action("k")),
        ("to urls", params.leads_to_urls().then(|| "yes".to_owned())),
    ];
    lines.extend(params.trace().map(|(name, value)| (name, value.map(str::to_owned))));
    lines.into_iter().filter_map(|(name, value)| Some(format!("  {name}: {}\n", value?))).collect()
}

#[test]
fn params_are_read() {
    let table: String = [
        r#"{"cursor":"\u0032"}"#,
        r#"{"cursor":2}"#,
        r#"{"requestState":"s","inputResponses":{"k":{"action":"decline"}},"_meta":{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}}}}}"#,
        r#"{"capabilities":{"elicitation":{"form":{},"url":{}}}}"#,
        r#"{"requestState":7,"inputResponses":{"k":["accept"]},"capabilities":{"elicitation":{"url":true}}}"#,
        r#"{"inputResponses":{"other":{"action":"accept"}},"capabilities":{"elicitation":{}}}"#,
        r#"{"name":"e\u0063ho","arguments":{"a": 1},"_meta":{"progressToken":"t"}}"#,
        r#"{"uri":"file:///a","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c"}}}"#,
        r#"{"protocolVersion":"2025-06-18","clientInfo":{"name":"c"},"capabilities":{}}"#,
        r#"{"taskId":"t1"}"#,
        r#"{"progressToken":1.0,"progress":0.5}"#,
        r#"{"requestId":"7","reason":"r"}"#,
        r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}"#,
        r#"{"name":"a","requestState":"opaque\n","inputResponses":{}}"#,
        r#"{"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"a=b","baggage":"k=v"}}"#,
        r#"{"_meta":{"traceparent":7,"baggage":null}}"#,
        r#"{"_meta":{"_meta":{"progressToken":1}}}"#,
        r#"{"name":7,"uri":["a"],"taskId":{},"arguments":null,"_meta":"x","protocolVersion":1}"#,
        r#"{"_meta":["2026-07-28","client",7]}"#,
        r#"["a","b"]"#,
        "{}",
        "7",
    ]
    .iter()
    .map(|text| format!("{text}\n{}", shown(text)))
    .collect();
    expect![[r#"
        {"cursor":"\u0032"}
          cursor: 2
        {"cursor":2}
        {"requestState":"s","inputResponses":{"k":{"action":"decline"}},"_meta":{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}}}}}
          action: decline
          to urls: yes
        {"capabilities":{"elicitation":{"form":{},"url":{}}}}
          to urls: yes
        {"requestState":7,"inputResponses":{"k":["accept"]},"capabilities":{"elicitation":{"url":true}}}
        {"inputResponses":{"other":{"action":"accept"}},"capabilities":{"elicitation":{}}}
        {"name":"e\u0063ho","arguments":{"a": 1},"_meta":{"progressToken":"t"}}
          name: echo
          arguments: {"a": 1}
          progress asked for: "t"
        {"uri":"file:///a","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c"}}}
          uri: file:///a
          version of _meta: 2026-07-28
          client: {"name":"c"}
        {"protocolVersion":"2025-06-18","clientInfo":{"name":"c"},"capabilities":{}}
          version: 2025-06-18
          client: {"name":"c"}
        {"taskId":"t1"}
          task: t1
        {"progressToken":1.0,"progress":0.5}
          progress of: 1.0
        {"requestId":"7","reason":"r"}
          cancelled: "7"
        {"_meta":{"io.modelcontextprotocol/subscriptionId":7}}
          subscription: 7
        {"name":"a","requestState":"opaque\n","inputResponses":{}}
          name: a
        {"_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","tracestate":"a=b","baggage":"k=v"}}
          traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
          tracestate: "a=b"
          baggage: "k=v"
        {"_meta":{"traceparent":7,"baggage":null}}
          traceparent: 7
        {"_meta":{"_meta":{"progressToken":1}}}
        {"name":7,"uri":["a"],"taskId":{},"arguments":null,"_meta":"x","protocolVersion":1}
        {"_meta":["2026-07-28","client",7]}
        ["a","b"]
        {}
        7
    "#]].assert_eq(&table);
}

/// Tokens and ids are told apart by kind, as request ids are.
#[test]
fn tokens_are_equal_as_ids_are() {
    let asked = raw(r#"{"_meta":{"progressToken":7}}"#);
    let asked = Params::of(&asked).meta_progress_token();
    for (token, is_same) in [("7", true), ("7.0", true), (r#""7""#, false), ("8", false)] {
        let told = raw(&format!(r#"{{"progressToken":{token}}}"#));
        assert_eq!(Params::of(&told).progress_token() == asked, is_same, "{token}");
    }
}

#[test]
fn results_are_read() {
    let table: String = [
        r#"{"content":[],"isError":true}"#,
        r#"{"content":[],"isError":false}"#,
        r#"{"isError":"true"}"#,
        r#"{"resultType":"input_required","inputRequests":{},"requestState":"s"}"#,
        r#"{"resultType":"complete"}"#,
        r#"{"protocolVersion":"2025-06-18"}"#,
        r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}},{"name":"b"},{"title":"no name"},["c"],7,{"name":"d","inputSchema":null}]}"#,
        r#"{"tools":{"name":"a"}}"#,
        r#"[true,"input_required","s","v",[{"name":"a"}]]"#,
        "null",
    ]
    .iter()
    .map(|text| {
        let raw = raw(text);
        let result = ResultView::of(&raw);
        let tools: Vec<String> = result
            .tools()
            .iter()
            .map(|tool| format!("{} {}", tool.name, tool.input_schema.map_or("-", |schema| schema.get())))
            .collect();
        let facts = [
            result.is_error().then(|| "is an error".to_owned()),
            result.is_input_required().then(|| "asks for input".to_owned()),
            result.asks_back().then(|| "names what it asks".to_owned()),
            result.protocol_version().map(|version| format!("version {version}")),
            (!tools.is_empty()).then(|| format!("tools {tools:?}")),
        ];
        format!("{text}\n  [{}]\n", facts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    })
    .collect();
    expect![[r#"
        {"content":[],"isError":true}
          [is an error]
        {"content":[],"isError":false}
          []
        {"isError":"true"}
          []
        {"resultType":"input_required","inputRequests":{},"requestState":"s"}
          [asks for input, names what it asks]
        {"resultType":"complete"}
          []
        {"protocolVersion":"2025-06-18"}
          [version 2025-06-18]
        {"tools":[{"name":"a","inputSchema":{"type":"object"}},{"name":"b"},{"title":"no name"},["c"],7,{"name":"d","inputSchema":null}]}
          [tools ["a {\"type\":\"object\"}", "b -", "d -"]]
        {"tools":{"name":"a"}}
          []
        [true,"input_required","s","v",[{"name":"a"}]]
          []
        null
          []
    "#]].assert_eq(&table);
}

#[test]
fn a_span_is_where_the_part_stands() {
    let whole = String::from(r#"{"a":"ü","b":[1]}"#);
    let part = whole.get(9..).unwrap();
    assert_eq!(span_of(&whole, part), 9..whole.len());
    assert_eq!(span_of(&whole, &whole), 0..whole.len());
    assert_eq!(span_of(&whole, whole.get(whole.len()..).unwrap()), whole.len()..whole.len());
    assert_eq!(span_of(part, &whole), 0..0, "the whole is not in its part");
    assert_eq!(span_of(part, whole.get(..4).unwrap()), 0..0, "what stands before is not in it");
    assert_eq!(span_of(&whole, &whole.clone()), 0..0, "equal text elsewhere is not in it");
    let arguments = r#"{"name":"a","arguments": {"x":1}}"#;
    let params: &RawValue = serde_json::from_str(arguments).unwrap();
    let found = Params::of(params).arguments().unwrap();
    assert_eq!(arguments.get(span_of(arguments, found.get())), Some(r#"{"x":1}"#));
}

#[test]
fn lists_of_whose_changes_somebody_is_told() {
    let tools = Lists { tools: true, ..Lists::default() };
    for (params, expected) in [
        (
            r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourcesListChanged":1}}"#,
            tools,
        ),
        (r#"{"notifications":[true]}"#, Lists::default()),
        (r#"{}"#, Lists::default()),
    ] {
        assert_eq!(Params::of(&raw(params)).list_changes(), expected, "{params}");
    }
    for (result, expected) in [
        (
            r#"{"capabilities":{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{}}}"#,
            Lists { prompts: true, ..tools },
        ),
        (r#"{"capabilities":{"tools":true,"prompts":{"listChanged":"true"}}}"#, Lists::default()),
        (r#"{"capabilities":7}"#, Lists::default()),
    ] {
        assert_eq!(ResultView::of(&raw(result)).list_changes(), expected, "{result}");
    }
    let told: Vec<&str> = Lists { resources: true, ..tools }.methods().collect();
    assert_eq!(told, ["notifications/tools/list_changed", "notifications/resources/list_changed"]);
    assert_eq!(tools.and(Lists { resources: true, ..Lists::default() }), Lists::default());
}
