//! A message read piece by piece is judged as one that is read at once.

use mcp::fields::{Params, ResultView};
use mcp::message::{Answer, Frame, Kind, ParseError, parse};
use mcp::outline::{Outline, Outliner};
use proptest::prelude::*;

use crate::random::{any_value, near_messages};

fn outline(bytes: &[u8], piece: usize) -> Result<Outline, ParseError> {
    let mut outliner = Outliner::default();
    for piece in bytes.chunks(piece.max(1)) {
        outliner.push(piece)?;
    }
    outliner.finish()
}

/// What is read of a frame.
fn shown(bytes: &[u8]) -> Option<String> {
    let Ok(Frame::Single(message)) = parse(bytes) else { return None };
    Some(match message.kind() {
        Kind::Request { id, method, params } => {
            format!("{} {method} {:?}", id.raw(), params.map(|params| compact(params.get())))
        }
        Kind::Notification { method, params } => {
            format!("{method} {:?}", params.map(|params| compact(params.get())))
        }
        Kind::Response { id, outcome } => {
            let (Answer::Result(value) | Answer::Error(value)) = outcome;
            format!("{:?} {}", id.map(|id| id.raw().to_owned()), compact(value.get()))
        }
    })
}

/// Without the spaces between tokens, which an outline does not keep.
fn compact(text: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for character in text.chars() {
        if inside || !character.is_ascii_whitespace() {
            out.push(character);
        }
        if !escaped && character == '"' {
            inside = !inside;
        }
        escaped = inside && !escaped && character == '\\';
    }
    out
}

/// Reads both ways, in pieces of all sizes, and compares.
fn agree(text: &[u8]) {
    let at_once = shown(text);
    for piece in [1, 2, 3, 7, 64, text.len()] {
        let in_pieces = outline(text, piece);
        let shown = in_pieces.as_ref().ok().and_then(|outline| shown(outline.text()));
        assert_eq!(shown, at_once, "in pieces of {piece}: {}", String::from_utf8_lossy(text));
        if at_once.is_some() {
            spans_agree(text, &in_pieces.unwrap());
        }
    }
}

fn spans_agree(text: &[u8], outline: &Outline) {
    let Ok(Frame::Single(message)) = parse(text) else { return };
    let (name, value) = match message.kind() {
        Kind::Request { params, .. } | Kind::Notification { params, .. } => ("params", *params),
        Kind::Response { outcome: Answer::Result(result), .. } => ("result", Some(*result)),
        Kind::Response { outcome: Answer::Error(error), .. } => ("error", Some(*error)),
    };
    let spanned = outline.span(name).and_then(|span| text.get(span));
    assert_eq!(spanned, value.map(|value| value.get().as_bytes()));
    if name == "params" {
        // `null` reads as none: nothing asks for its span.
        let Some(arguments) = value.and_then(|params| Params::of(params).arguments()) else { return };
        let spanned = outline.span("arguments").and_then(|span| text.get(span));
        assert_eq!(spanned, Some(arguments.get().as_bytes()));
    }
}

proptest! {
    #[test]
    fn what_comes_near_a_message_is_judged_alike(text in near_messages(), inside in any::<bool>()) {
        let head = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"#;
        agree(if inside { format!("{head}{text}}}}}") } else { text }.as_bytes());
    }

    #[test]
    fn any_params_and_results_are_judged_alike(value in any_value(), spaced in any::<bool>()) {
        let value = if spaced { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        for text in [
            format!(r#" {{"jsonrpc":"2.0","id":1,"method":"m","params":{value}}}"#),
            format!(r#"{{"result":{value}, "id":"a" ,"jsonrpc":"2.0","more":{value}}} "#),
            format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"data":{value}}}}}"#),
        ] {
            agree(text.as_bytes());
        }
    }

    /// A byte that is changed anywhere.
    #[test]
    fn bent_messages_are_judged_alike(value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"arguments":{value}}}}}"#).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        agree(&text);
    }
}

#[test]
fn chosen_texts_are_judged_alike() {
    let params = [
        r#"{"a":1,"a":2}"#,
        r#"{"a":{"b":1,"\u0062":2}}"#,
        r#"{"a":[{"b":1},{"b":2}]}"#,
        r#"{"Name":"x"}"#,
        r#"{"a":"\ud834\udd1e"}"#,
        r#"{"a":"\ud834"}"#,
        r#"{"a":"\udd1e"}"#,
        r#"{"a":"\ud834\u0061"}"#,
        r#"{"a":"\ud834x"}"#,
        r#"{"\ud834":1}"#,
        r#"{"a":01}"#,
        r#"{"a":-}"#,
        r#"{"a":1e400}"#,
        r#"{"a":1.}"#,
        r#"{"a":tru}"#,
        r#"{"a":truee}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":1,}"#,
        r#"{,}"#,
        "{\"a\":\"\t\"}",
        "{\"a\":\"\u{7f}\"}",
        r#"{"a" 1}"#,
        r#"{"a":1}}"#,
        r#"{"a":1]"#,
        r#"{"\u0061rguments":[1,2],"arguments":3}"#,
        r#"{"\u0061rguments":[1,2]}"#,
        r#"[]"#,
        r#""text""#,
        "7",
    ];
    for params in params {
        agree(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#).as_bytes());
    }
    for depth in [125, 126, 127, 128] {
        let nested = ["[".repeat(depth), "]".repeat(depth)].concat();
        agree(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{nested}}}"#).as_bytes());
    }
    let many = (0..40).map(|number| format!(r#""{number}":0"#)).collect::<Vec<_>>().join(",");
    agree(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{many}}}}}"#).as_bytes());
    agree(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{many},"39":1}}}}"#).as_bytes());
    agree(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xc3\x28\"}");
    agree(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xc3");
}

/// What is large is empty in the outline, what is read of a message is there.
#[test]
fn outlines_are_small() {
    let large = "x".repeat(1 << 20);
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"text","text":"{large}"}}],"structuredContent":{{"a":"{large}"}},"isError":true}}}}"#
    );
    let outline = outline(text.as_bytes(), 4096).unwrap();
    assert_eq!(
        std::str::from_utf8(outline.text()).unwrap(),
        r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"structuredContent":{},"isError":true}}"#
    );
    let Ok(Frame::Single(message)) = parse(outline.text()) else { panic!("no message") };
    let Kind::Response { outcome: Answer::Result(result), .. } = message.kind() else { panic!("no result") };
    assert!(ResultView::of(result).is_error());
}

/// Whether what a server asks is there can be told though the outline does not have it.
#[test]
fn what_is_asked_has_a_span() {
    let large = "x".repeat(1 << 20);
    for asked in [format!(r#"{{"a":{{"b":"{large}"}}}}"#), "{}".to_owned()] {
        for text in [
            format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"inputRequests":{asked},"isError":true}}}}"#),
            format!(r#"{{"jsonrpc":"2.0","method":"m","params":{{"x":[],"inputRequests":{asked}}}}}"#),
        ] {
            let outline = outline(text.as_bytes(), 4096).unwrap();
            let in_little = text.replace(&asked, "{}");
            assert_eq!(std::str::from_utf8(outline.text()).unwrap(), in_little);
            let span = outline.span("inputRequests").unwrap();
            assert_eq!(text.get(span), Some(asked.as_str()));
        }
    }
    let text = r#"{"jsonrpc":"2.0","id":7,"error":{"inputRequests":{}},"more":{"inputRequests":{}}}"#;
    assert_eq!(outline(text.as_bytes(), 4096).unwrap().span("inputRequests"), None, "nobody reads it there");
}

#[test]
fn sprawling_messages_are_refused() {
    let members =
        |count: usize| (0..count).map(|number| format!(r#""{number}":0"#)).collect::<Vec<_>>().join(",");
    let head = r#"{"jsonrpc":"2.0","id":7,"result":"#;
    for text in [
        format!(r#"{head}{{"a":{{{}}}}}}}"#, members(300_000)),
        format!(r#"{head}{{{}}}}}"#, members(200_000)),
        format!(r#"{head}{{"{}":1}}}}"#, "k".repeat(5000)),
        format!(r#"{head}[{}0]}}"#, "0,".repeat(1 << 20)),
    ] {
        assert_eq!(outline(text.as_bytes(), 1 << 16).unwrap_err(), ParseError::TooManyMembers);
    }
}

/// What can be told of a message that breaks off.
#[test]
fn the_beginning_of_a_message_tells_its_id() {
    let large = "x".repeat(200_000);
    let told = |text: &str| {
        let mut outliner = Outliner::default();
        // What is refused tells what stood before.
        let _ = text.as_bytes().chunks(1000).try_for_each(|piece| outliner.push(piece));
        let glimpse = outliner.glimpse();
        let raw = |id: Option<&mcp::message::IdBuf>| id.map_or("-".to_owned(), |id| id.raw().to_owned());
        format!("{} {} {}", raw(glimpse.asked()), raw(glimpse.answered()), glimpse.may_answer())
    };
    for (text, expected) in [
        (format!(r#"{{"id":7,"result":{{"a":"{large}"#), "- 7 true"),
        (format!(r#"{{"id":"a","error":{{"a":"{large}"}},"id":8"#), "- - true"),
        (format!(r#"{{"result":{{"a":"{large}"#), "- - true"),
        (format!(r#"{{"result":{{"a":"{large}"}},"jsonrpc":"2.0","id":7}}"#), "- 7 true"),
        (format!(r#"{{"result":{{"a":"{large}"}},"id":7,"a":{{"b":1,"b":2}}}}"#), "- 7 true"),
        (format!(r#"{{"id":7,"method":"m","params":{{"a":"{large}"#), "7 - false"),
        (format!(r#"{{"id":7,"params":{{"a":"{large}"#), "- - true"),
        (format!(r#"{{"method":"m","params":{{"a":"{large}"#), "- - false"),
        (r#"{"id":{},"result":{}}"#.to_owned(), "- - true"),
        (large.clone(), "- - true"),
        ("[".to_owned(), "- - true"),
        (String::new(), "- - true"),
    ] {
        assert_eq!(told(&text), expected, "{}", text.chars().take(60).collect::<String>());
    }
}
