//! Many rows: what segments give is what single rows give.

use std::num::NonZeroU32;

use jiff::Timestamp;
use ledger::{Status, Verdict};
use proptest::prelude::*;
use store::{CallRow, Index, Mode, Order, Page, Query};
use tempfile::TempDir;

use crate::made::{Ask, DAY, Log, ORIGIN, SECOND, call, run};

/// Few enough rows to be kept by themselves.
const FEW: usize = 2_000;

/// Calls of one day, unlike each other in every field; some never end, some end late.
fn many(calls: u64) -> Log {
    let mut log = Log::at(DAY + SECOND);
    let mut late = Vec::new();
    for n in 0..calls {
        let server = ["files", "mail", "git"][usize::try_from(n % 3).unwrap()];
        let tool = if n == 1_234 { "rare_tool".to_owned() } else { format!("tool_{}", n % 7) };
        let args = match n {
            777 => r#"{"amount":9001,"note":"only once"}"#.to_owned(),
            778 => r#"{"note":"\u0075nusual"}"#.to_owned(),
            779 => format!(r#"{{"data":"{}"}}"#, "QUJD".repeat(40)),
            _ => format!(r#"{{"n":{n},"path":"/srv/user{}/File {}.txt"}}"#, n % 11, n % 100),
        };
        let ask = Ask {
            run: u8::try_from(n % 200).unwrap(),
            call: n,
            server,
            tool: &tool,
            args: &args,
            verdict: if n % 500 == 3 { Verdict::Hold } else { Verdict::Allow },
        };
        if n % 97 == 5 {
            log.refused(ask, "not on Sundays");
            continue;
        }
        let intent = log.intent(ask);
        log.t += (n % 5) * SECOND;
        match n % 50 {
            7 => late.push(intent),
            8 if n > calls / 2 => {}
            9 => drop(log.outcome(intent, Status::Error, r#"{"code":1,"message":"Quota exceeded"}"#)),
            _ => drop(log.outcome(intent, Status::Ok, r#"{"content":[{"type":"text","text":"done"}]}"#)),
        }
    }
    for intent in late {
        log.outcome(intent, Status::ToolError, r#"{"content":[{"type":"text","text":"too late"}]}"#);
    }
    log
}

/// All rows in one index, in batches as a gateway has them; and the same rows in indexes of few rows each.
struct Both {
    whole: Index,
    parts: Vec<Index>,
    _folders: Vec<TempDir>,
}

impl Both {
    fn of(log: &Log, batch: usize) -> Both {
        let entries = log.entries();
        let mut folders = vec![tempfile::tempdir().unwrap()];
        let mut whole = Index::open(folders[0].path(), Mode::ReadWrite).unwrap();
        for entries in entries.chunks(batch) {
            whole.apply(ORIGIN, entries).unwrap();
        }
        let mut parts = Vec::new();
        let begins = entries.iter().filter(|entry| entry.leaf.reference.is_none());
        let begins: Vec<u64> = begins.map(|entry| entry.seq.0).collect();
        for begins in begins.chunks(FEW) {
            let (first, last) = (begins[0], begins[begins.len() - 1]);
            let of_part = |seq: u64| (first..=last).contains(&seq);
            let of_part = entries.iter().filter(|entry| {
                of_part(entry.leaf.reference.as_ref().map_or(entry.seq.0, |reference| reference.seq.0))
            });
            let folder = tempfile::tempdir().unwrap();
            let mut index = Index::open(folder.path(), Mode::ReadWrite).unwrap();
            index.apply(ORIGIN, &of_part.copied().collect::<Vec<_>>()).unwrap();
            parts.push(index);
            folders.push(folder);
        }
        assert!(parts.len() > 1, "there are segments");
        Both { whole, parts, _folders: folders }
    }

    fn check(&self, query: &Query, page: &Page) -> Vec<CallRow> {
        let found = self.whole.search(query, page).unwrap();
        let all = Page { limit: NonZeroU32::MAX, ..*page };
        let mut expected: Vec<CallRow> =
            self.parts.iter().flat_map(|part| part.search(query, &all).unwrap()).collect();
        expected.sort_by_key(|row| row.seq);
        if page.order == Order::Newest {
            expected.reverse();
        }
        expected.truncate(usize::try_from(page.limit.get()).unwrap());
        assert_eq!(found, expected, "{query}");
        found
    }
}

fn query(text: &str) -> Query {
    let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
    Query::parse(text, now).unwrap()
}

fn page(order: Order, limit: u32) -> Page {
    Page { order, limit: NonZeroU32::new(limit).unwrap(), after: None }
}

#[test]
fn segments_give_what_single_rows_give() {
    let both = Both::of(&many(4_500), 1_500);
    for (text, some) in [
        ("", true),
        ("server:mail", true),
        ("server:none", false),
        ("tool:rare_tool", true),
        ("tool:rare*", true),
        ("-server:files -server:mail -server:git", false),
        ("-server:files", true),
        ("status:tool_error", true),
        ("status:open", true),
        ("status:error -error:quota", false),
        ("verdict:hold", true),
        ("kind:refused reason:sunday", true),
        ("\"only once\"", true),
        ("nly onc", true),
        ("\"only twice\"", false),
        ("rarely", false),
        ("args:\"File 42.\"", true),
        ("args:\"file 42.t\"", true),
        ("args:\"file 4 \"", false),
        ("args.amount>9000", true),
        ("args.amount>9001", false),
        ("args.n:1500", true),
        ("args.note:unusual", true),
        ("args.note:un*al", true),
        ("args.note:\"only once\"", true),
        ("args.path:/srv/user3/*", true),
        ("UJDQ", true),
        ("error:quota*exceeded", true),
        ("\"too late\"", true),
        ("duration>1h", true),
        ("duration>=4s duration<5s", true),
        ("duration>9d", false),
        ("bytes>100", true),
        ("bytes>100k", false),
        ("round>0", false),
        ("run:run_05", true),
        ("run:ee", false),
        ("call:call_0101010101010101000000000000", true),
        ("trace:4bf92f3577b34da6a3ce929d0e0e4736", true),
        ("time>=2026-11-20T02:00Z", true),
        ("day:2026-11-19", false),
        ("server:git (status:ok or status:open) -args.n<5000", true),
    ] {
        for page in [page(Order::Newest, 50), page(Order::Oldest, 100_000)] {
            assert_eq!(!both.check(&query(text), &page).is_empty(), some, "{text}");
        }
    }
}

#[test]
fn pages_follow_one_another_over_segments() {
    let log = many(5_000);
    let both = Both::of(&log, 700);
    for order in [Order::Newest, Order::Oldest] {
        let mut page = page(order, 333);
        let mut seqs = Vec::new();
        while let Some(last) = {
            let rows = both.whole.search(&query("-server:mail"), &page).unwrap();
            seqs.extend(rows.iter().map(|row| row.seq));
            rows.last().map(CallRow::cursor)
        } {
            page.after = Some(last);
        }
        let all = Page { limit: NonZeroU32::MAX, after: None, ..page };
        let rows = both.check(&query("-server:mail"), &all);
        assert_eq!(seqs, rows.iter().map(|row| row.seq).collect::<Vec<_>>());
    }
    let rows = both.whole.call(call(1_234)).unwrap();
    assert_eq!(rows.iter().filter_map(|row| row.name.as_deref()).collect::<Vec<_>>(), ["rare_tool"]);
    assert_eq!(both.whole.of_run(run(3)).unwrap().len(), 25);
    assert_eq!(both.whole.days().unwrap()[0].rows, 5_000);
}

#[test]
fn a_lost_register_does_not_double_what_segments_hold() {
    let log = many(5_000);
    let folder = tempfile::tempdir().unwrap();
    let mut index = Index::open(folder.path(), Mode::ReadWrite).unwrap();
    for entries in log.entries()[..7_000].chunks(1_000) {
        index.apply(ORIGIN, entries).unwrap();
    }
    drop(index);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("index/runs.sqlite{end}")));
    }
    let mut index = Index::open(folder.path(), Mode::ReadWrite).unwrap();
    for entries in log.entries().chunks(1_300) {
        index.apply(ORIGIN, entries).unwrap();
    }
    let found = index.search(&query(""), &page(Order::Newest, 100_000)).unwrap();
    let fresh = Both::of(&log, 10_000);
    assert_eq!(found, fresh.check(&query(""), &page(Order::Newest, 100_000)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2) })]

    #[test]
    fn any_query_finds_the_same_in_segments(exprs in prop::collection::vec(crate::query::expr(), 20)) {
        let both = Both::of(&many(2_500), 5_000);
        for expr in exprs {
            both.check(&Query::from(expr), &page(Order::Newest, 100_000));
        }
    }
}
