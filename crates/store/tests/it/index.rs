use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use expect_test::expect;
use jiff::Timestamp;
use ledger::record::RunLink;
use ledger::{Kind, Leaf, Seq, Status, Verdict};
use proptest::prelude::*;
use store::{CallRow, Index, IndexError, Mode, Order, Page, Query, RunFilter};
use tempfile::TempDir;

use crate::made::{Ask, DAY, Log, ORIGIN, SECOND, call, payload, run};

fn indexed(log: &Log) -> (TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), Mode::ReadWrite).unwrap();
    index.apply(ORIGIN, &log.entries()).unwrap();
    (dir, index)
}

fn page(limit: u32) -> Page {
    Page { order: Order::Newest, limit: NonZeroU32::new(limit).unwrap(), after: None }
}

fn query(text: &str) -> Query {
    let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
    Query::parse(text, now).unwrap()
}

fn found(index: &Index, text: &str) -> Vec<u64> {
    let rows = index.search(&query(text), &page(100)).unwrap();
    rows.iter().map(|row| row.seq.0).collect()
}

/// Every row and run, in one text.
fn dump(index: &Index) -> String {
    let page = Page { order: Order::Oldest, ..page(100_000) };
    let rows = index.search(&query("kind:*"), &page).unwrap();
    let runs = index.runs(&RunFilter::default()).unwrap();
    let lines = rows.iter().map(|r| format!("{r:?}")).chain(runs.iter().map(|r| format!("{r:?}")));
    lines.chain([format!("{:?}", index.watermark().unwrap())]).collect::<Vec<_>>().join("\n")
}

/// Two days of calls of every sort; the comments are the seqs.
fn sample() -> Log {
    let mut log = Log::at(DAY + 10 * 3_600 * SECOND);
    log.open_run(1); // 0
    let ok = r#"{"content":[{"type":"text","text":"Hello World"}]}"#;
    log.ended(Ask::default(), Status::Ok, ok); // 1, 2
    let args = r#"{"amount":9000,"note":"urgent 100%","to":{"iban":"DE00"},"tags":["x","y"],"draft":true,"id":null}"#;
    log.refused(
        Ask { call: 2, server: "payments", tool: "refund", args, ..Ask::default() },
        "no refunds for agents",
    ); // 3
    let held = log.intent(Ask {
        call: 3,
        server: "payments",
        tool: "refund",
        args: r#"{"amount":42.5}"#,
        verdict: Verdict::Hold,
        ..Ask::default()
    }); // 4
    log.progress(held); // 5
    log.t += 2 * SECOND;
    log.outcome(held, Status::Error, r#"{"code":-32000,"message":"Quota exceeded"}"#); // 6
    log.message(1, "notifications/initialized"); // 7
    log.t = DAY + 24 * 3_600 * SECOND - SECOND;
    let late = log.intent(Ask { run: 2, call: 4, tool: "write_file", ..Ask::default() }); // 8
    log.t += 3 * SECOND;
    log.outcome(
        late,
        Status::ToolError,
        r#"{"isError":true,"content":[{"type":"text","text":"disk full"}]}"#,
    ); // 9
    log.intent(Ask { run: 2, call: 5, tool: "résumé [1]", args: "", ..Ask::default() }); // 10
    let lost = log.intent(Ask { run: 3, call: 6, args: "not json", ..Ask::default() }); // 11
    log.unknown(lost); // 12
    log.close_run(1, "client-closed"); // 13
    log
}

#[test]
fn each_field_finds_its_calls() {
    let (_dir, index) = indexed(&sample());
    let mut out = String::new();
    for text in [
        "",
        "server:payments",
        "tool:read_file",
        "tool:*_file",
        "tool:refund -verdict:deny",
        "name:\"résumé [1]\"",
        "name:r?fund",
        "method:tools/call",
        "method:notifications/*",
        "kind:note",
        "kind:note method:*progress",
        "kind:refused",
        "verdict:deny",
        "verdict:hold",
        "verdict:deny or verdict:hold",
        "status:ok",
        "status:open",
        "status:unknown",
        "status:tool_error",
        "status:refused",
        "-status:ok",
        "status:*error",
        "run:run_0101010",
        "run:02",
        "call:call_01010101010101010000000000000003",
        "principal:dev@example",
        "principal:nobody",
        "agent:claude*",
        "era:session",
        "version:2025-11-25",
        "direction:client",
        "trace:4bf92f3577b34da6a3ce929d0e0e4736",
        "args:AMOUNT",
        "args:100%",
        "args:1_0",
        "args.amount:9000",
        "args.amount>=42.5",
        "args.amount>9000",
        "args.to.iban:DE*",
        "args.tags.1:y",
        "args.draft:true",
        "args.id:null",
        "args.none:*",
        "args.\"a\\\"b\":x",
        "error:quota",
        "error:disk",
        "reason:refunds",
        "hello",
        "\"hello world\"",
        "urgent or disk",
        "duration>=2s",
        "duration<10ms",
        "bytes>80",
        "round:0 server:payments",
        "round>0",
        "time>=2026-11-20T10:00:00.003Z time<2026-11-20T10:00:00.005Z",
        "day:2026-11-20",
        "day:2026-11-21",
        "day>2026-11-21",
        "since:1h",
        "last:1d",
        "until:2026-11-20T12:00",
    ] {
        out += &format!("{text:<50} {:?}\n", found(&index, text));
    }
    expect![[r#"
                                                           [11, 10, 8, 4, 3, 1]
        server:payments                                    [4, 3]
        tool:read_file                                     [11, 1]
        tool:*_file                                        [11, 8, 1]
        tool:refund -verdict:deny                          [4]
        name:"résumé [1]"                                  [10]
        name:r?fund                                        []
        method:tools/call                                  [11, 10, 8, 4, 3, 1]
        method:notifications/*                             []
        kind:note                                          [7, 5]
        kind:note method:*progress                         [5]
        kind:refused                                       [3]
        verdict:deny                                       [3]
        verdict:hold                                       [4]
        verdict:deny or verdict:hold                       [4, 3]
        status:ok                                          [1]
        status:open                                        [10]
        status:unknown                                     [11]
        status:tool_error                                  [8]
        status:refused                                     [3]
        -status:ok                                         [11, 10, 8, 4, 3]
        status:*error                                      [8, 4]
        run:run_0101010                                    [4, 3, 1]
        run:02                                             [10, 8]
        call:call_01010101010101010000000000000003         [4]
        principal:dev@example                              [11, 10, 8, 4, 3, 1]
        principal:nobody                                   []
        agent:claude*                                      [11, 10, 8, 4, 3, 1]
        era:session                                        [11, 10, 8, 4, 3, 1]
        version:2025-11-25                                 [11, 10, 8, 4, 3, 1]
        direction:client                                   [11, 10, 8, 4, 3, 1]
        trace:4bf92f3577b34da6a3ce929d0e0e4736             [11, 10, 8, 4, 3, 1]
        args:AMOUNT                                        [4, 3]
        args:100%                                          [3]
        args:1_0                                           []
        args.amount:9000                                   [3]
        args.amount>=42.5                                  [4, 3]
        args.amount>9000                                   []
        args.to.iban:DE*                                   [3]
        args.tags.1:y                                      [3]
        args.draft:true                                    [3]
        args.id:null                                       [3]
        args.none:*                                        []
        args."a\"b":x                                      []
        error:quota                                        [4]
        error:disk                                         [8]
        reason:refunds                                     [3]
        hello                                              [1]
        "hello world"                                      [1]
        urgent or disk                                     [8, 3]
        duration>=2s                                       [8, 4]
        duration<10ms                                      [3, 1]
        bytes>80                                           [3]
        round:0 server:payments                            [4, 3]
        round>0                                            []
        time>=2026-11-20T10:00:00.003Z time<2026-11-20T10:00:00.005Z [4, 3]
        day:2026-11-20                                     [8, 4, 3, 1]
        day:2026-11-21                                     [11, 10]
        day>2026-11-21                                     []
        since:1h                                           []
        last:1d                                            [11, 10, 8, 4, 3, 1]
        until:2026-11-20T12:00                             [4, 3, 1]
    "#]]
    .assert_eq(&out);
}

#[test]
fn a_row_tells_the_whole_call() {
    let (_dir, index) = indexed(&sample());
    let rows = index.call(call(3)).unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    expect![[r#"
        {
          "seq": 4,
          "seq_end": 6,
          "kind": "call",
          "call": "call_01010101010101010000000000000003",
          "round": 0,
          "parent": null,
          "of": null,
          "run": "run_01010101010101010101010101010101",
          "sn": 4,
          "t_start": 1795168800004000,
          "t_end": 1795168802006000,
          "verdict": "hold",
          "status": "error",
          "principal": "dev@example",
          "agent": "claude-code",
          "agent_version": "2.1",
          "server": "payments",
          "transport": "http",
          "era": "session",
          "version": "2025-11-25",
          "direction": "client",
          "method": "tools/call",
          "name": "refund",
          "request_bytes": 15,
          "answer_bytes": 42,
          "http_status": 200,
          "notes": 1,
          "reason": null,
          "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
          "args_whole": true,
          "args": "{\"amount\":42.5}",
          "error": "Quota exceeded",
          "result": null
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(row).unwrap());
    assert_eq!(row.duration(), Some(2_002_000));
    assert_eq!(index.call(call(99)).unwrap(), []);
}

#[test]
fn runs_are_counted() {
    let (_dir, index) = indexed(&sample());
    let row = index.run(run(1)).unwrap().unwrap();
    expect![[r#"
        {
          "run": "run_01010101010101010101010101010101",
          "first": 0,
          "last": 13,
          "t_first": 1795168800000000,
          "t_last": 1795219202005000,
          "opened": 1795168800000000,
          "closed": 1795219202005000,
          "reason": "client-closed",
          "principal": "dev@example",
          "agent": "claude-code",
          "agent_version": "2.1",
          "era": "session",
          "version": "2025-11-25",
          "rule": "session",
          "servers": [
            "files",
            "payments"
          ],
          "records": 9,
          "calls": 3,
          "ended": 3,
          "denied": 1,
          "held": 1,
          "failed": 1,
          "notes": 2
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&row).unwrap());
    assert_eq!(index.run(run(9)).unwrap(), None);
    let listed =
        |filter: RunFilter| -> Vec<u64> { index.runs(&filter).unwrap().iter().map(|r| r.first.0).collect() };
    assert_eq!(listed(RunFilter::default()), [11, 8, 0]);
    assert_eq!(listed(RunFilter { server: Some("payments".to_owned()), ..RunFilter::default() }), [0]);
    assert_eq!(listed(RunFilter { id: store::HexPrefix::new("0202"), ..RunFilter::default() }), [8]);
    assert_eq!(
        listed(RunFilter {
            principal: Some("dev@example".to_owned()),
            limit: Some(1),
            ..RunFilter::default()
        }),
        [11]
    );
    let seqs: Vec<u64> = index.of_run(run(2)).unwrap().iter().map(|r| r.seq.0).collect();
    assert_eq!(seqs, [8, 10], "a run over midnight is whole");
    let seqs: Vec<u64> = index.of_run(run(1)).unwrap().iter().map(|r| r.seq.0).collect();
    assert_eq!(seqs, [1, 3, 4, 5, 7], "with its notes and one-way messages");
}

#[test]
fn an_outcome_after_midnight_ends_the_call_of_the_day_before() {
    let log = sample();
    let (_dir, mut index) = indexed(&Log::default());
    for entry in log.entries() {
        index.apply(ORIGIN, &[entry]).unwrap();
    }
    let row = index.search(&query("tool:write_file"), &page(1)).unwrap().remove(0);
    assert_eq!((row.seq, row.seq_end, row.status.as_deref()), (Seq(8), Some(Seq(9)), Some("tool_error")));
    assert_eq!(index.days().unwrap().iter().map(|d| d.rows).collect::<Vec<_>>(), [6, 2]);
}

#[test]
fn pages_follow_one_another_over_days() {
    let mut log = Log::at(DAY + 23 * 3_600 * SECOND);
    for n in 0..90 {
        log.ended(Ask { call: n, ..Ask::default() }, Status::Ok, "{}");
        log.t += 1_800 * SECOND;
    }
    let (_dir, index) = indexed(&log);
    assert_eq!(index.days().unwrap().len(), 3);
    for order in [Order::Newest, Order::Oldest] {
        let mut seqs = Vec::new();
        let mut page = Page { order, ..page(7) };
        loop {
            let rows = index.search(&query("server:files"), &page).unwrap();
            let Some(last) = rows.last().map(CallRow::cursor) else { break };
            seqs.extend(rows.iter().map(|r| r.seq.0));
            page.after = Some(last);
        }
        let mut expected: Vec<u64> = (0..90).map(|n| 2 * n).collect();
        if order == Order::Newest {
            expected.reverse();
        }
        assert_eq!(seqs, expected);
    }
}

#[test]
fn applying_again_changes_nothing_and_batches_do_not_matter() {
    let log = sample();
    let (_dir, mut whole) = indexed(&log);
    let once = dump(&whole);
    whole.apply(ORIGIN, &log.entries()).unwrap();
    assert_eq!(dump(&whole), once);
    for size in [1, 2, 3, 5] {
        let (_dir, mut index) = indexed(&Log::default());
        for batch in log.entries().chunks(size) {
            index.apply(ORIGIN, batch).unwrap();
        }
        assert_eq!(dump(&index), once, "batches of {size}");
    }
    let mut whole = whole.clear().unwrap();
    assert_eq!(whole.watermark().unwrap(), None);
    whole.apply(ORIGIN, &log.entries()).unwrap();
    assert_eq!(dump(&whole), once, "after a rebuild");
}

#[test]
fn a_lost_register_is_made_again_beside_its_day_files() {
    let log = sample();
    let (dir, index) = indexed(&log);
    let once = dump(&index);
    drop(index);
    for name in ["runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm"] {
        let _ = fs::remove_file(dir.path().join("index").join(name));
    }
    let mut index = Index::open(dir.path(), Mode::ReadWrite).unwrap();
    assert_eq!(index.next(ORIGIN).unwrap(), Seq(0));
    for batch in log.entries().chunks(4) {
        index.apply(ORIGIN, batch).unwrap();
    }
    assert_eq!(dump(&index), once);
}

#[test]
fn a_day_file_deleted_under_the_writer_is_fed_again() {
    let log = sample();
    let (_other, whole) = indexed(&log);
    let (dir, mut index) = indexed(&Log::default());
    let entries = log.entries();
    index.apply(ORIGIN, &entries[..5]).unwrap();
    remove_day(dir.path(), "2026-11-20");
    index.apply(ORIGIN, &entries[5..9]).unwrap();
    assert_eq!(index.next(ORIGIN).unwrap(), Seq(1), "back to the first row of the day");
    index.apply(ORIGIN, &entries[1..]).unwrap();
    assert_eq!(dump(&index), dump(&whole));
}

#[test]
fn an_old_day_deleted_for_space_stays_deleted() {
    let log = sample();
    let (dir, mut index) = indexed(&Log::default());
    let entries = log.entries();
    index.apply(ORIGIN, &entries[..11]).unwrap();
    remove_day(dir.path(), "2026-11-20");
    index.apply(ORIGIN, &entries[11..]).unwrap();
    assert_eq!(index.next(ORIGIN).unwrap(), Seq(14));
    assert_eq!(found(&index, ""), [11, 10]);
    assert_eq!(index.days().unwrap().iter().map(|d| d.present).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_new_log_goes_on_beside_the_old_one() {
    let log = sample();
    let (_dir, mut index) = indexed(&log);
    index.apply("test/ffffffff", &log.entries()[..4]).unwrap();
    let watermark = index.watermark().unwrap().unwrap();
    assert_eq!((watermark.origin.as_str(), watermark.size), ("test/ffffffff", Seq(4)));
    assert_eq!(found(&index, "server:payments day:2026-11-20"), [3, 4, 3]);
    assert_eq!(index.matching(&query("verdict:deny"), &[Seq(1), Seq(3)]).unwrap().len(), 1);
}

#[test]
fn damage_and_newer_schemas_are_told_apart_and_mended_by_recreating() {
    let log = sample();
    let (dir, index) = indexed(&log);
    drop(index);
    let day = dir.path().join("index/calls-2026-11-20.sqlite");

    let db = rusqlite::Connection::open(&day).unwrap();
    db.execute_batch("PRAGMA user_version = 7").unwrap();
    drop(db);
    let index = Index::open(dir.path(), Mode::ReadOnly).unwrap();
    let error = index.search(&query("server:payments"), &page(10)).unwrap_err();
    assert!(matches!(error, IndexError::Schema { found: 7, known: 2, .. }), "{error}");
    assert!(error.to_string().contains("tollbook index rebuild"), "{error}");

    fs::write(&day, vec![b'x'; 8_192]).unwrap();
    let error = index.search(&query(""), &page(10)).unwrap_err();
    assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("tollbook index rebuild"), "{error}");

    fs::write(dir.path().join("index/runs.sqlite"), vec![b'x'; 8_192]).unwrap();
    assert!(matches!(Index::open(dir.path(), Mode::ReadOnly), Err(IndexError::Damaged { .. })));
    let mut index = Index::recreate(dir.path()).unwrap();
    index.apply(ORIGIN, &log.entries()).unwrap();
    assert_eq!(found(&index, "server:payments"), [4, 3]);
}

#[test]
fn one_writer_many_readers_and_owner_only() {
    let (dir, index) = indexed(&sample());
    assert!(matches!(Index::open(dir.path(), Mode::ReadWrite), Err(IndexError::Locked(_))));
    let mut reader = Index::open(dir.path(), Mode::ReadOnly).unwrap();
    assert_eq!(dump(&reader), dump(&index));
    assert!(matches!(reader.apply(ORIGIN, &[]), Err(IndexError::ReadOnly(_))));
    for entry in fs::read_dir(dir.path().join("index")).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    assert_eq!(fs::metadata(dir.path().join("index")).unwrap().permissions().mode() & 0o777, 0o700);
    drop(index);
    assert!(Index::open(dir.path(), Mode::ReadWrite).is_ok());
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Index::open(empty.path(), Mode::ReadOnly), Err(IndexError::Missing(_))));
}

/// What a server printed that is no message is recorded and is no call that was denied.
#[test]
fn stray_bytes_of_a_server_are_no_denied_call() {
    let mut log = Log::at(DAY);
    log.open_run(1);
    let link = Some(RunLink { run: run(1), number: 0, previous: None });
    for (direction, method) in [("server", None), ("server", Some("ping")), ("client", None)] {
        let mut fields =
            vec![("direction", format!("{direction:?}")), ("reason", r#""not JSON""#.to_owned())];
        fields.extend(method.map(|method| ("method", format!("{method:?}"))));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let leaf = Leaf { link, verdict: Some(Verdict::Deny), ..Leaf::new(Kind::Refused, 0) };
        log.push(leaf, Some(payload(&fields, "junk", &[])));
    }
    let (_dir, index) = indexed(&log);
    let row = index.run(run(1)).unwrap().unwrap();
    assert_eq!((row.records, row.calls, row.denied, row.notes), (4, 2, 2, 1));
    assert_eq!(found(&index, ""), [3, 2]);
    assert_eq!(found(&index, "kind:note reason:JSON"), [1]);
    assert_eq!(found(&index, "verdict:deny"), [3, 2]);
}

#[test]
fn nobody_knows_how_long_a_call_took_whose_end_nobody_saw() {
    let mut log = Log::at(DAY);
    log.open_run(1);
    let lost = log.intent(Ask::default());
    log.t += 3_600 * SECOND;
    log.unknown(lost);
    let (_dir, index) = indexed(&log);
    assert_eq!(found(&index, "status:unknown"), [1]);
    assert_eq!(found(&index, "duration>1ms"), Vec::<u64>::new());
}

#[test]
fn entries_out_of_order_are_refused() {
    let log = sample();
    let (_dir, mut index) = indexed(&Log::default());
    let entries = log.entries();
    assert!(matches!(
        index.apply(ORIGIN, &[entries[1], entries[0]]),
        Err(IndexError::Order { last: 1, found: 0 })
    ));
    assert_eq!(index.watermark().unwrap(), None);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let mut log = Log::at(DAY);
    let args = format!("\"{}\"", "ü".repeat(20_000));
    log.ended(Ask { args: &args, ..Ask::default() }, Status::Ok, &args);
    let (_dir, index) = indexed(&log);
    let row = index.search(&query(""), &page(1)).unwrap().remove(0);
    let (args, result) = (row.args.unwrap(), row.result.unwrap());
    assert_eq!((args.len(), result.len(), row.args_whole), (16_383, 4_095, false));
    assert!(!args.contains('\u{fffd}') && !result.contains('\u{fffd}'));
}

fn remove_day(data: &Path, day: &str) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(data.join(format!("index/calls-{day}.sqlite{end}")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn every_query_runs(exprs in prop::collection::vec(crate::query::expr(), 20)) {
        let (_dir, index) = indexed(&sample());
        for expr in exprs {
            let query = Query::from(expr);
            let rows = index.search(&query, &page(10));
            prop_assert!(rows.is_ok(), "{}: {:?}", query, rows);
        }
    }
}

#[test]
fn a_request_inside_a_call_names_it() {
    let mut log = Log::at(DAY);
    log.intent(Ask { call: 7, ..Ask::default() });
    log.asked_inside(7, 8);
    let (_dir, index) = indexed(&log);
    let row = index.search(&query("direction:server"), &page(1)).unwrap().remove(0);
    assert_eq!((row.call, row.parent), (Some(call(8)), Some(call(7))));
}
