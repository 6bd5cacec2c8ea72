//! The codecs: whatever the pieces, the same items; and no byte is lost or made up.

use bytes::Bytes;
use expect_test::expect;
use mcp::framing::TooLarge;
use mcp::framing::lines::{LineDecoder, LineItem};
use mcp::framing::sse::{
    EVENT_END, SseDecoder, SseItem, encode_beginning, encode_comment, encode_event, encode_piece,
};
use proptest::prelude::*;

type Items = Vec<Result<SseItem, TooLarge>>;

/// Room that an event has beyond the limit.
const FRAMING: usize = 1024;

/// Pushes all pieces, then takes the items.
fn at_the_end(limit: usize, pieces: &[&[u8]]) -> Items {
    let mut decoder = SseDecoder::new(limit);
    pieces.iter().for_each(|piece| decoder.push(piece));
    std::iter::from_fn(|| decoder.next_item()).collect()
}

/// Takes the items after each piece.
fn at_once(limit: usize, pieces: &[&[u8]]) -> Items {
    let mut decoder = SseDecoder::new(limit);
    let mut items = Items::new();
    for piece in pieces {
        decoder.push(piece);
        items.extend(std::iter::from_fn(|| decoder.next_item()));
    }
    items
}

fn raw(item: &Result<SseItem, TooLarge>) -> &[u8] {
    match item {
        Ok(SseItem::Event(event)) => &event.raw,
        Ok(SseItem::Comment(raw)) => raw,
        Ok(SseItem::Part(_) | SseItem::Ended { .. }) | Err(TooLarge) => b"",
    }
}

/// Without the bytes, which may differ by the LF of a CRLF that comes in two pieces; what comes in pieces is joined.
fn meaning(items: &Items) -> String {
    let mut parts = Vec::new();
    let mut shown = String::new();
    for item in items {
        shown += &match item {
            Ok(SseItem::Event(event)) => shown_event(&event.id, &event.event, &event.data),
            Ok(SseItem::Comment(_)) => "comment\n".to_owned(),
            Ok(SseItem::Part(part)) => {
                assert!(!part.is_empty());
                parts.extend_from_slice(part);
                continue;
            }
            Ok(SseItem::Ended { id, event }) => shown_event(id, event, &std::mem::take(&mut parts)),
            Err(TooLarge) => {
                parts.clear();
                "too large\n".to_owned()
            }
        };
    }
    shown
}

fn shown_event(id: &Option<String>, event: &Option<String>, data: &[u8]) -> String {
    format!("event {id:?} {event:?} \"{}\"\n", data.escape_ascii())
}

/// Each stream in one piece; what comes byte by byte means the same.
#[test]
fn events_are_read() {
    let streams = [
        "data: a\n\n",
        "data:a\r\rdata:b\r\n\r\ndata: c\n\r\n",
        "id: 1\nevent: message\ndata: {\"a\":1}\n\n",
        "event: x\nevent:\ndata: a\n\n",
        "data: a\ndata\ndata:\ndata:  b\n\n",
        "id: 0\ndata:\n\n",
        "id: 7\nretry: 3000\n\n",
        ": ping\n\n:\n\n\n",
        ": note\ndata: a\n\n",
        "\u{feff}data: a\n\ndata: b\n\n",
        "data: a\n\n\u{feff}data: b\n\u{feff}data: c\n\n",
        "\u{feff}\u{feff}data: a\n\n",
        "\u{feff}\ndata: a\n\n",
        "id: a\0b\nid\ndata: a\n\n",
        "data : a\nDATA: b\n data: c\njunk\n\n",
        "data: a\n\ndata: unfinished\n",
        "",
    ];
    let table: String = streams
        .iter()
        .map(|stream| {
            let single: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            let whole = meaning(&at_the_end(1_000, &[stream.as_bytes()]));
            assert_eq!(meaning(&at_once(1_000, &single)), whole);
            format!("{stream:?}\n{}", whole.lines().map(|line| format!("  {line}\n")).collect::<String>())
        })
        .collect();
    expect![[r#"
        "data: a\n\n"
          event None None "a"
        "data:a\r\rdata:b\r\n\r\ndata: c\n\r\n"
          event None None "a"
          event None None "b"
          event None None "c"
        "id: 1\nevent: message\ndata: {\"a\":1}\n\n"
          event Some("1") Some("message") "{\"a\":1}"
        "event: x\nevent:\ndata: a\n\n"
          event None None "a"
        "data: a\ndata\ndata:\ndata:  b\n\n"
          event None None "a\n\n\n b"
        "id: 0\ndata:\n\n"
          event Some("0") None ""
        "id: 7\nretry: 3000\n\n"
          event Some("7") None ""
        ": ping\n\n:\n\n\n"
          comment
          comment
          comment
        ": note\ndata: a\n\n"
          event None None "a"
        "\u{feff}data: a\n\ndata: b\n\n"
          event None None "a"
          event None None "b"
        "data: a\n\n\u{feff}data: b\n\u{feff}data: c\n\n"
          event None None "a"
          event None None "b"
        "\u{feff}\u{feff}data: a\n\n"
          event None None ""
        "\u{feff}\ndata: a\n\n"
          event None None "a"
        "id: a\0b\nid\ndata: a\n\n"
          event Some("") None "a"
        "data : a\nDATA: b\n data: c\njunk\n\n"
          event None None ""
        "data: a\n\ndata: unfinished\n"
          event None None "a"
        ""
    "#]]
    .assert_eq(&table);
}

/// The LF of a CRLF arrives after its CR has closed the event and the event was taken.
#[test]
fn a_late_line_feed_goes_with_the_next_item() {
    let items = at_once(100, &[b"data: a\r\n\r", b"\ndata: b\r\n\r", b"\n: c\n\n"]);
    let raws: Vec<&[u8]> = items.iter().map(raw).collect();
    assert_eq!(raws, [&b"data: a\r\n\r"[..], b"\ndata: b\r\n\r", b"\n: c\n\n"]);
    assert_eq!(meaning(&items), "event None None \"a\"\nevent None None \"b\"\ncomment\n");
}

/// An event of the limit passes, one byte more does not, and the next one is read; in one piece and byte by byte.
#[test]
fn the_limit_of_events_is_exact() {
    let limit = 50;
    for end in ["\n\n", "\r\r", "\r\n\r\n"] {
        // The LF after a CR that has closed the event is not counted.
        let counted = if end == "\r\n\r\n" { 3 } else { 2 };
        let fitting = limit + FRAMING - "data: ".len() - counted;
        for (length, passes) in [(fitting, true), (fitting + 1, false), (fitting + 5_000, false)] {
            let data = "x".repeat(length);
            let stream = format!("data: {data}{end}data: next{end}");
            let expected = if passes {
                format!("event None None \"{data}\"\nevent None None \"next\"\n")
            } else {
                "too large\nevent None None \"next\"\n".to_owned()
            };
            let single: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
            for pieces in [&[stream.as_bytes()][..], &single] {
                assert_eq!(meaning(&at_the_end(limit, pieces)), expected);
                assert_eq!(meaning(&at_once(limit, pieces)), expected);
            }
        }
    }
}

/// What is skipped ends at its blank line and at no line break before, wherever the pieces are cut: else the rest of a large
/// event would be taken for events of their own.
#[test]
fn nothing_within_a_skipped_event_is_an_event() {
    let large = "x".repeat(3_000);
    let stream = format!("data: {large}\ndata: a\ndata: forged\n: b\n\ndata: next\n\n");
    for size in 1..20 {
        let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
        assert_eq!(meaning(&at_once(100, &pieces)), "too large\nevent None None \"next\"\n");
    }
}

fn sse_stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        3 => Just(String::new()),
        3 => (0usize..700).prop_map(|length| format!("data: {}", "x".repeat(length))),
        4 => prop::sample::select(vec![
            "data", "data:", "data:  two", "data: é", "id: 7", "id: a\0", "id", "event: message", "retry: 1", "junk",
            ": ping", ":", "\u{feff}data: b",
        ]).prop_map(str::to_owned),
        1 => "[^\r\n]{0,12}",
    ];
    let end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    prop::collection::vec((line, end), 0..24).prop_map(|lines| {
        let text: String = lines.into_iter().map(|(line, end)| line + end).collect();
        (text + "\n\n").into_bytes()
    })
}

/// Cuts bytes at places given as fractions.
fn cut<'a>(bytes: &'a [u8], cuts: &[f64]) -> Vec<&'a [u8]> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of a length")]
    let mut places: Vec<usize> = cuts.iter().map(|cut| (bytes.len() as f64 * cut) as usize).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut rest = bytes;
    let mut taken = 0;
    let mut pieces = Vec::new();
    for place in places {
        let (piece, tail) = rest.split_at(place - taken);
        pieces.push(piece);
        (rest, taken) = (tail, place);
    }
    pieces
}

fn cuts() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(0.0..1.0, 0..12)
}

proptest! {
    #[test]
    fn events_do_not_depend_on_the_pieces(stream in sse_stream(), cuts in cuts(), limit in 0usize..600) {
        let whole = at_the_end(limit, &[&stream]);
        let pieces = cut(&stream, &cuts);
        prop_assert_eq!(&at_the_end(limit, &pieces), &whole);
        prop_assert_eq!(meaning(&at_once(limit, &pieces)), meaning(&whole));
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(meaning(&at_once(limit, &single)), meaning(&whole));
    }

    /// Whatever is given in pieces: joined, it is what it is when it is whole. Comments alone are not given then.
    #[test]
    fn events_in_pieces_are_the_events(
        stream in sse_stream(),
        cuts in cuts(),
        limit in 0usize..3_000,
        threshold in 0usize..1_500,
    ) {
        let without_comments = |items: &Items| meaning(items).replace("comment\n", "");
        let whole = without_comments(&at_the_end(limit, &[&stream]));
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        for pieces in [cut(&stream, &cuts), single] {
            let mut decoder = SseDecoder::new(limit).in_pieces(threshold);
            let mut items = Items::new();
            for piece in pieces {
                decoder.push(piece);
                items.extend(std::iter::from_fn(|| decoder.next_item()));
            }
            for item in items.iter().flatten() {
                if let SseItem::Event(event) = item {
                    // The LF of a CRLF before or after it is not counted.
                    prop_assert!(event.raw.len() <= threshold + 2);
                }
            }
            prop_assert_eq!(without_comments(&items), whole.clone());
        }
    }

    #[test]
    fn an_event_encoded_in_pieces_is_the_event(
        id in prop::option::of(any::<String>()),
        data in "[a\r\n: id]{0,40}",
        cuts in cuts(),
    ) {
        let mut joined = encode_beginning(id.as_deref(), Some("message")).to_vec();
        for piece in cut(data.as_bytes(), &cuts) {
            joined.extend_from_slice(&encode_piece(&Bytes::copy_from_slice(piece)));
        }
        joined.extend_from_slice(EVENT_END);
        prop_assert_eq!(joined, encode_event(id.as_deref(), Some("message"), data.as_bytes()));
    }

    #[test]
    fn the_items_are_the_stream(stream in sse_stream(), cuts in cuts()) {
        let limit = stream.len();
        let whole: Vec<u8> = at_the_end(limit, &[&stream]).iter().flat_map(raw).copied().collect();
        prop_assert_eq!(&whole, &stream);
        let pieces = cut(&stream, &cuts);
        let taken: Vec<u8> = at_once(limit, &pieces).iter().flat_map(raw).copied().collect();
        // A last LF that belongs to a CR before it may be still with the decoder.
        let rest = stream.strip_prefix(taken.as_slice());
        prop_assert!(matches!(rest, Some(b"" | b"\n")), "{:?}", rest);
    }

    /// Each event alone means what it means in the stream, so that passing on its bytes passes on the event.
    #[test]
    fn the_bytes_of_an_event_are_the_event(stream in sse_stream()) {
        let limit = stream.len();
        for item in at_the_end(limit, &[&stream]) {
            let again = at_the_end(limit, &[raw(&item)]);
            prop_assert_eq!(again, vec![item]);
        }
    }

    #[test]
    fn an_encoded_event_is_one_event(
        id in prop::option::of(any::<String>()),
        event in prop::option::of("[a-z\r\n\0: ]{0,12}"),
        data in prop_oneof![any::<Vec<u8>>(), "[a\r\n: id]{0,40}".prop_map(String::into_bytes)],
    ) {
        let bytes = encode_event(id.as_deref(), event.as_deref(), &data);
        let first_line = |text: &str| text.split(['\r', '\n', '\0']).next().unwrap_or_default().to_owned();
        let items = at_the_end(bytes.len(), &[&bytes]);
        prop_assert_eq!(items.len(), 1);
        let Ok(SseItem::Event(read)) = &items[0] else { panic!("an event") };
        prop_assert_eq!(&read.id, &id.as_deref().map(first_line));
        prop_assert_eq!(&read.event, &event.as_deref().map(first_line).filter(|event| !event.is_empty()));
        let expected: Vec<u8> = data.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect();
        prop_assert_eq!(read.data.as_ref(), expected.as_slice());
        prop_assert_eq!(&read.raw, &bytes);
    }

    #[test]
    fn an_encoded_comment_is_one_comment(text in any::<String>()) {
        let bytes = encode_comment(&text);
        prop_assert_eq!(at_the_end(bytes.len(), &[&bytes]), vec![Ok(SseItem::Comment(bytes))]);
    }

    #[test]
    fn lines_do_not_depend_on_the_pieces(
        lines in prop::collection::vec("[ab\r]{0,12}", 0..12),
        cuts in cuts(),
        limit in 0usize..12,
        threshold in 0usize..12,
    ) {
        let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let expected: Vec<Result<Bytes, TooLarge>> = lines
            .iter()
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .filter(|line| !line.is_empty())
            .map(|line| if line.len() > limit { Err(TooLarge) } else { Ok(Bytes::copy_from_slice(line.as_bytes())) })
            .collect();
        let mut decoder = LineDecoder::new(limit);
        let mut read = Vec::new();
        for piece in cut(stream.as_bytes(), &cuts) {
            decoder.push(piece);
            read.extend(std::iter::from_fn(|| decoder.next_line()));
        }
        prop_assert_eq!(&read, &expected);

        let mut decoder = LineDecoder::new(limit).in_pieces(threshold);
        let (mut joined, mut parts) = (Vec::new(), Vec::new());
        for piece in cut(stream.as_bytes(), &cuts) {
            decoder.push(piece);
            while let Some(item) = decoder.next_item() {
                match item {
                    Ok(LineItem::Whole(line)) => {
                        prop_assert!(line.len() <= threshold);
                        joined.push(Ok(line));
                    }
                    Ok(LineItem::Part(part)) => parts.extend_from_slice(&part),
                    Ok(LineItem::Ended) => joined.push(Ok(std::mem::take(&mut parts).into())),
                    Err(TooLarge) => {
                        parts.clear();
                        joined.push(Err(TooLarge));
                    }
                }
            }
        }
        prop_assert_eq!(&joined, &expected);
    }
}

#[test]
fn a_line_that_has_not_ended_is_not_given() {
    let mut decoder = LineDecoder::new(4);
    decoder.push(b"{}");
    assert_eq!(decoder.next_line(), None);
    decoder.push(b"\r");
    assert_eq!(decoder.next_line(), None);
    decoder.push(b"\n\n\r\n12345\n1234\r\n\xff\n");
    let lines: Vec<_> = std::iter::from_fn(|| decoder.next_line()).collect();
    assert_eq!(
        lines,
        [Ok(Bytes::from("{}")), Err(TooLarge), Ok("1234".into()), Ok(Bytes::from(&b"\xff"[..]))]
    );
}
