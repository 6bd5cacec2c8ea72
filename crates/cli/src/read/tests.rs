//! What the reading commands print, hostile text included.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use expect_test::{Expect, expect};
use ledger::{Payload, Seq, Status};
use store::{CallRow, Index, Mode, Order, Page, Query};

use super::render::{JsonLine, Widths};
use super::replay::{Sealed, Story};
use super::text;

#[path = "../../../store/tests/it/made.rs"]
#[expect(dead_code, reason = "the store's own tests use more of it")]
mod made;

use made::{Ask, DAY, Log, ORIGIN, SECOND, payload, run};

const EVIL: &str = "rm\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}txt.exe\u{200b}\u{e0041}\r\nfake line";

struct Made {
    _dir: tempfile::TempDir,
    index: Index,
    payloads: BTreeMap<Seq, Payload>,
}

fn made(log: &Log) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), Mode::ReadWrite).unwrap();
    let entries = log.entries();
    index.apply(ORIGIN, &entries).unwrap();
    let payloads = entries.iter().filter_map(|e| Some((e.seq, e.payload?.clone()))).collect();
    Made { _dir: dir, index, payloads }
}

impl Made {
    fn rows(&self) -> Vec<CallRow> {
        let page = Page { order: Order::Oldest, limit: NonZeroU32::new(100).unwrap(), after: None };
        self.index.search(&Query::default(), &page).unwrap()
    }

    fn sealed(&self, seq: Seq) -> Sealed {
        self.payloads.get(&seq).map_or(Sealed::Nothing, |p| Sealed::Open(Box::new(p.clone())))
    }
}

fn log() -> Log {
    let mut log = Log::at(DAY + 10 * 3_600 * SECOND);
    log.open_run(1);
    log.ended(Ask::default(), Status::Ok, r#"{"content":[{"type":"text","text":"Hello"}]}"#);
    let args = r#"{ "amount":9000.0,"amount":1E3,"to":{"iban":"DE00","name":"a rather long name of somebody"},"tags":[],"note":"line\nline"}"#;
    let ask = Ask { call: 2, server: "payments", tool: "refund", args, ..Ask::default() };
    log.refused(ask, "no refunds for agents");
    log.t += 252 * SECOND;
    let slow = log.intent(Ask { call: 3, tool: "search", args: "{}", ..Ask::default() });
    log.progress(slow);
    log.asked_inside(3, 30);
    log.t += 90 * SECOND;
    log.outcome(slow, Status::Error, r#"{"code":-32000,"message":"Quota exceeded"}"#);
    log.message(1, "notifications/cancelled");
    log.intent(Ask { call: 4, tool: "write_file", ..Ask::default() });
    let lost = log.intent(Ask { call: 5, ..Ask::default() });
    log.unknown(lost);
    log
}

fn evil() -> Log {
    let mut log = Log::at(DAY);
    let args = format!("{{\"path\":\"{EVIL}\",\"wide\":\"日本語\"}}");
    let evil = Ask { server: EVIL, tool: EVIL, args: &args, ..Ask::default() };
    let seq = log.intent(evil);
    let text = format!("{EVIL}{}", "A".repeat(200_000));
    log.outcome(seq, Status::Error, &format!(r#"{{"code":1,"message":{text}"#));
    log.refused(Ask { call: 2, ..evil }, "plain");
    log.records.last_mut().unwrap().1.as_mut().unwrap().fields.insert("reason".to_owned(), serde_json::to_string(EVIL).unwrap());
    let last = log.records.len() - 1;
    for at in [0, last] {
        for field in ["name", "server", "agent", "principal"] {
            log.records[at].1.as_mut().unwrap().fields.insert(field.to_owned(), serde_json::to_string(EVIL).unwrap());
        }
    }
    log.close_run(1, EVIL);
    log
}

fn table(log: &Log) -> String {
    let rows = made(log).rows();
    let widths = Widths::of(&rows);
    let lines = rows.iter().map(|row| widths.line(row));
    std::iter::once(widths.heading()).chain(lines).collect::<Vec<_>>().join("\n")
}

fn story(log: &Log) -> String {
    let made = made(log);
    let run = made.index.run(run(1)).unwrap().unwrap();
    let rows = made.index.of_run(run.run).unwrap();
    let mut out = Vec::new();
    Story::of(&run, &rows).write(&|seq| made.sealed(seq), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "expect! is written in the call")]
fn check(text: String, expected: Expect) {
    for c in text.chars().filter(|c| *c != '\n') {
        assert!(!c.is_control() && !('\u{200b}'..='\u{202e}').contains(&c) && c < '\u{e0000}', "{c:?} in {text}");
    }
    expected.assert_eq(&text);
}

#[test]
fn calls_are_a_table() {
    check(table(&log()), expect![[r#""#]]);
}

#[test]
fn hostile_calls_stay_in_their_cells() {
    check(table(&evil()), expect![[r#""#]]);
}

#[test]
fn a_replay_tells_the_run_in_order() {
    check(story(&log()), expect![[r#""#]]);
}

#[test]
fn a_hostile_replay_moves_no_cursor() {
    check(story(&evil()), expect![[r#""#]]);
}

#[test]
fn a_replay_for_programs_is_one_object_a_line() {
    let made = made(&log());
    let run = made.index.run(run(1)).unwrap().unwrap();
    let rows = made.index.of_run(run.run).unwrap();
    let mut out = Vec::new();
    let erased = |seq: Seq| if seq == Seq(1) { Sealed::Erased } else { made.sealed(seq) };
    Story::of(&run, &rows).write_json(&erased, &mut out).unwrap();
    let mut shown = String::new();
    for line in String::from_utf8(out).unwrap().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let names = ["part", "record", "offset_us", "depth", "text_bytes", "text", "missing"];
        let kept = names.iter().map(|name| value.get(name).map_or("-".to_owned(), ToString::to_string));
        shown += &format!("{}\n", kept.collect::<Vec<_>>().join(" "));
    }
    check(shown, expect![[r#""#]]);
}

#[test]
fn a_call_for_programs_has_all_fields() {
    let rows = made(&log()).rows();
    let line = serde_json::to_string(&JsonLine::of(&rows[0])).unwrap();
    check(line, expect![[r#""#]]);
}

#[test]
fn amounts_are_short() {
    let mut out = String::new();
    for us in [0, 850, 12_345, 1_250_000, 243_000_000, 7_500_000_000, 90_000_000_000] {
        out += &format!("{} = {}\n", text::duration(us), text::offset(us));
    }
    for bytes in [0, 999, 1_000, 12_345, 1_234_567, 5_000_000_000] {
        out += &format!("{}\n", text::size(bytes));
    }
    check(out, expect![[r#""#]]);
}

#[test]
fn payload_text_is_bounded() {
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let (lines, whole) = text::block(deep.as_bytes());
    assert!(lines.len() <= 24 && !whole);
    let long = payload(&[], &"x".repeat(1_000_000), &[]);
    let (lines, whole) = text::block(&long.body);
    assert!(lines.len() == 1 && text::width(&lines[0]) <= 160 && !whole);
    assert_eq!(text::block(b"{\"a\":1}"), (vec!["{\"a\": 1}".to_owned()], true));
    assert_eq!(text::block(&[0xff, 0x1b]), (vec!["\u{fffd}‹U+001B›".to_owned()], true));
}
