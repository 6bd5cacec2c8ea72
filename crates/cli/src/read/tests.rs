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
pub(crate) mod made;

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
    log.records
        .last_mut()
        .unwrap()
        .1
        .as_mut()
        .unwrap()
        .fields
        .insert("reason".to_owned(), serde_json::to_string(EVIL).unwrap());
    let last = log.records.len() - 1;
    for at in [0, last] {
        for field in ["name", "server", "agent", "principal"] {
            log.records[at]
                .1
                .as_mut()
                .unwrap()
                .fields
                .insert(field.to_owned(), serde_json::to_string(EVIL).unwrap());
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
        let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{e0000}'..);
        assert!(!c.is_control() && !hides, "{c:?} in {text}");
    }
    expected.assert_eq(&text);
}

#[test]
fn calls_are_a_table() {
    check(
        table(&log()),
        expect![[r#"
            TIME (UTC)               RUN       PRINCIPAL    SERVER    TOOL/NAME           RESULT                DURATION      IN     OUT
            2026-11-20 10:00:00.001  01010101  dev@example  files     read_file           ✓ ok                    1.0 ms    16 B    44 B
            2026-11-20 10:00:00.003  01010101  dev@example  payments  refund              ▲ denied                         122 B          no refunds for agents
            2026-11-20 10:04:12.004  01010101  dev@example  files     search              ✕ error             1 min 30 s     2 B    42 B  Quota exceeded
            2026-11-20 10:04:12.006  01010101  -            files     elicitation/create  ✓ ok                    1.0 ms    21 B    19 B
            2026-11-20 10:05:42.010  01010101  dev@example  files     write_file          … open                            16 B
            2026-11-20 10:05:42.011  01010101  dev@example  files     read_file           ? unknown                         16 B"#]],
    );
}

#[test]
fn hostile_calls_stay_in_their_cells() {
    check(
        table(&evil()),
        expect![[r#"
            TIME (UTC)               RUN       PRINCIPAL             SERVER                TOOL/NAME                             RESULT                DURATION      IN     OUT
            2026-11-20 00:00:00.000  01010101  rm‹U+001B›[2J‹U+001…  rm‹U+001B›[2J‹U+001…  rm‹U+001B›[2J‹U+001B›]0;owned‹U+000…  ✕ error                 1.0 ms    74 B  200 kB  {"code":1,"message":rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B…
            2026-11-20 00:00:00.002  01010101  rm‹U+001B›[2J‹U+001…  rm‹U+001B›[2J‹U+001…  rm‹U+001B›[2J‹U+001B›]0;owned‹U+000…  ▲ denied                          74 B          rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›‹U+000D›‹U…"#]],
    );
}

#[test]
fn a_replay_tells_the_run_in_order() {
    check(
        story(&log()),
        expect![[r#"
            run_01010101010101010101010101010101
              principal  dev@example
              agent      claude-code 2.1
              servers    files, payments
              protocol   session 2025-11-25
              rule       session
              opened     2026-11-20 10:00:00.000 UTC
              closed     still open, last record 2026-11-20 10:05:42.012 UTC
              calls      6  ▲ 1 denied  ✕ 2 failed  … 1 open
              records    13, #0 to #12, 2 of them notes

            +00:00.001  → files tools/call read_file  #1
                          {"path": "a.txt"}
            +00:00.002  ✓ ok  1.0 ms  44 B  #2
                          {"content": [{"type": "text", "text": "Hello"}]}
            +00:00.003  ▲ denied → payments tools/call refund  #3
                          no refunds for agents
                          {
                            "amount": 9000.0,
                            "amount": 1E3,
                            "to": {
                              "iban": "DE00",
                              "name": "a rather long name of somebody"
                            },
                            "tags": [],
                            "note": "line\nline"
                          }
            ⋯ 4 min 12 s ⋯
            +04:12.004  → files tools/call search  #4
                          {}
            +04:12.005    · → notifications/progress  #5
                            {"progress": 1}
            +04:12.006    ← files elicitation/create  #6
                            {"message": "Really?"}
            +04:12.007    ✓ ok  1.0 ms  19 B  #7
                            {"action": "accept"}
            ⋯ 1 min 30 s ⋯
            +05:42.008  ✕ error  1 min 30 s  42 B  to #4  #8
                          {"code": -32000, "message": "Quota exceeded"}
            +05:42.009  · → files notifications/cancelled  #9
            +05:42.010  → files tools/call write_file  #10
                          {"path": "a.txt"}
            +05:42.011  → files tools/call read_file  #11
                          {"path": "a.txt"}
            +05:42.012  ? unknown  #12
        "#]],
    );
}

#[test]
fn a_hostile_replay_moves_no_cursor() {
    check(
        story(&evil()),
        expect![[r#"
            run_01010101010101010101010101010101
              principal  rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›‹U+000D›‹U+000A›fake line
              agent      rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›‹U+000D›‹U+000A›fake line
              servers    rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›‹U+000D›‹U+000A›fake line
              protocol   session 2025-11-25
              opened     2026-11-20 00:00:00.000 UTC
              closed     2026-11-20 00:00:00.003 UTC (rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›‹U+000D›‹U+000A›fake line)
              calls      2  ▲ 1 denied  ✕ 1 failed
              records    4, #0 to #3, 0 of them notes

            +00:00.000  → rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B… tools/call rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B…  #0
                          {"path":"rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›
                          fake line","wide":"日本語"}
            +00:00.001  ✕ error  1.0 ms  200 kB  #1
                          {
                            "code": 1,
                            "message": rm‹U+001B›[
                              2J‹U+001B›
                            ]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›fakelineAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA…
                          … 200 kB, sha256 6603027334ba56594f164a49469cee83f5b41300b5d8297c51a8f71e8a9efede
            +00:00.002  ▲ denied → rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B… tools/call rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B…  #2
                          rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›‹U+000D›‹U+000A›fake line
                          {"path":"rm‹U+001B›[2J‹U+001B›]0;owned‹U+0007›‹U+202E›txt.exe‹U+200B›‹U+E0041›
                          fake line","wide":"日本語"}
        "#]],
    );
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
    check(
        shown,
        expect![[r#"
        "run" - - - - - -
        "step" 1 1000 0 null null "the key to this payload was destroyed"
        "answer" 2 2000 0 44 "{\"content\":[{\"type\":\"text\",\"text\":\"Hello\"}]}" null
        "step" 3 3000 0 122 "{ \"amount\":9000.0,\"amount\":1E3,\"to\":{\"iban\":\"DE00\",\"name\":\"a rather long name of somebody\"},\"tags\":[],\"note\":\"line\\nline\"}" null
        "step" 4 252004000 0 2 "{}" null
        "note" 5 252005000 1 14 "{\"progress\":1}" null
        "step" 6 252006000 1 21 "{\"message\":\"Really?\"}" null
        "answer" 7 252007000 1 19 "{\"action\":\"accept\"}" null
        "answer" 8 342008000 0 42 "{\"code\":-32000,\"message\":\"Quota exceeded\"}" null
        "note" 9 342009000 0 null null null
        "step" 10 342010000 0 16 "{\"path\":\"a.txt\"}" null
        "step" 11 342011000 0 16 "{\"path\":\"a.txt\"}" null
        "answer" 12 342012000 0 null null null
    "#]],
    );
}

#[test]
fn a_call_for_programs_has_all_fields() {
    let rows = made(&log()).rows();
    let line = serde_json::to_string(&JsonLine::of(&rows[0])).unwrap();
    check(
        line,
        expect![[
            r#"{"time":"2026-11-20T10:00:00.001Z","duration_us":1000,"seq":1,"seq_end":2,"kind":"call","call":"call_01010101010101010000000000000001","round":0,"parent":null,"of":null,"run":"run_01010101010101010101010101010101","sn":1,"t_start":1795168800001000,"t_end":1795168800002000,"verdict":"allow","status":"ok","principal":"dev@example","agent":"claude-code","agent_version":"2.1","server":"files","transport":"http","era":"session","version":"2025-11-25","direction":"client","method":"tools/call","name":"read_file","request_bytes":16,"answer_bytes":44,"http_status":200,"notes":0,"reason":null,"trace":"4bf92f3577b34da6a3ce929d0e0e4736","args_whole":true,"args":"{\"path\":\"a.txt\"}","error":null,"result":"Hello"}"#
        ]],
    );
}

#[test]
fn hostile_text_for_programs_is_escaped_and_unchanged() {
    let text = format!("{EVIL}\u{9b}2J\u{7f}");
    let line = text::json_line(&text).unwrap();
    assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    check(
        line,
        expect![[
            r#""rm\u001b[2J\u001b]0;owned\u0007\u202etxt.exe\u200b\udb40\udc41\r\nfake line\u009b2J\u007f""#
        ]],
    );
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
    check(
        out,
        expect![[r#"
        0 µs = +00:00.000
        850 µs = +00:00.000
        12.3 ms = +00:00.012
        1.25 s = +00:01.250
        4 min 3 s = +04:03.000
        2 h 5 min = +2:05:00.000
        1 d 1 h = +25:00:00.000
        0 B
        999 B
        1.0 kB
        12 kB
        1.2 MB
        5.0 GB
    "#]],
    );
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
