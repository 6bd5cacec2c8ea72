//! Audits of a log with exactly one thing wrong: the report names that, there, and nothing else.

use expect_test::{Expect, expect};
use ledger::record::BlobRef;
use ledger::sequence::Sequencer;
use ledger::verify::{Audit, Fault, Report, What};
use ledger::{Checkpoint, Fact, Hash, KekId, Kind, Leaf, LogKey, Seq, Status, VerifierKey};

use crate::made::{self, Scribe, call, run};

pub const ORIGIN: &str = "example.org/tollbook";

pub fn key() -> LogKey {
    LogKey::from_seed(ORIGIN, &[42; 32]).unwrap()
}

/// Two runs, a call of two rounds, a refusal, a restart amid a call, and a call still open at the end.
pub fn story(mut scribe: Scribe) -> Scribe {
    let (a, b, c) = (run(0), run(1), run(2));
    scribe.start(); // 0
    scribe.open_run(a); // 1
    scribe.open_run(b); // 2
    let first = scribe.intent(a, call(1), 0); // 3
    scribe.note(&first); // 4
    let other = scribe.intent(b, call(2), 0); // 5
    scribe.outcome(&first, Status::InputRequired); // 6
    let second = scribe.intent(a, call(1), 1); // 7
    scribe.refuse(a, call(3)); // 8
    scribe.outcome(&other, Status::Ok); // 9
    scribe.heartbeat(); // 10
    scribe.start(); // 11
    scribe.unknown(&second); // 12
    scribe.close_run(a); // 13
    scribe.close_run(b); // 14
    scribe.open_run(c); // 15
    scribe.intent(c, call(4), 0); // 16
    scribe.heartbeat(); // 17
    scribe
}

pub fn sign(leaves: &[Vec<u8>], key: &LogKey) -> String {
    let mut sequencer = Sequencer::default();
    for leaf in leaves {
        sequencer.append(leaf).unwrap();
    }
    key.sign(&Checkpoint { origin: ORIGIN.to_owned(), size: sequencer.size(), root: sequencer.root() })
}

fn audited(leaves: &[Vec<u8>]) -> Audit {
    let mut audit = Audit::new();
    for leaf in leaves {
        audit.leaf(leaf);
    }
    audit
}

/// The report on these records, signed as they are.
fn report(leaves: &[Vec<u8>]) -> Report {
    audited(leaves).finish(&sign(leaves, &key()), &key().verifier())
}

fn told(report: &Report) -> String {
    assert_eq!(report.ok, report.faults == 0);
    report.first.iter().map(|fault| format!("{}\n", serde_json::to_string(fault).unwrap())).collect()
}

fn check(seq: u64, change: fn(&mut Leaf), expected: &Expect) {
    let scribe = story(Scribe::new(ORIGIN).edit(seq, change));
    assert_ne!(scribe.leaves, story(Scribe::new(ORIGIN)).leaves, "nothing was changed");
    expected.assert_eq(&told(&report(&scribe.leaves)));
}

fn check_leaves(change: fn(&mut Vec<Vec<u8>>), expected: &Expect) {
    let mut leaves = story(Scribe::new(ORIGIN)).leaves;
    change(&mut leaves);
    expected.assert_eq(&told(&report(&leaves)));
}

fn count(leaf: &mut Leaf, counter: &str, count: i64) {
    leaf.facts.insert(counter.to_owned(), Fact::Int(count));
}

#[test]
fn a_sound_log_verifies() {
    let report = report(&story(Scribe::new(ORIGIN)).leaves);
    expect![[r#"
        verified: example.org/tollbook
        18 records, 3 runs, 3 calls (1 open, 1 of unknown outcome), 1 refused, 0 payloads
        root 87e9953e6156a4f2d797671be69e8f8ca3089d58c565c5dc079f447e83e531d2
    "#]]
    .assert_eq(&report.to_string());
    expect![[r#"{"ok":true,"origin":"example.org/tollbook","records":18,"root":"h-mVPmFWpPLXl2cb5p6PjKMInVjFZcXcB59EfoPlMdI","runs":3,"calls":3,"unknown":1,"open":1,"refused":1,"payloads":0,"faults":0,"first":[]}"#]].assert_eq(&serde_json::to_string(&report).unwrap());
    let busy = made::busy(ORIGIN, 3_000);
    for size in [0, 1, 2, 17, 255, 256, 257, 3_000] {
        let report = self::report(&busy[..size]);
        assert!(report.ok, "{size}: {report}");
        assert_eq!(report.records, u64::try_from(size).unwrap());
    }
}

#[test]
fn a_refusal_may_end_a_call() {
    let scribe = story(Scribe::new(ORIGIN).edit(12, |leaf| leaf.kind = Kind::Refused));
    let report = report(&scribe.leaves[..17]);
    expect![""].assert_eq(&told(&report));
    assert_eq!((report.refused, report.unknown, report.open), (2, 0, 1));
}

#[test]
fn faults_of_runs_are_named() {
    check(
        6,
        |leaf| leaf.link.as_mut().unwrap().number += 1,
        &expect![[r#"
        {"seq":6,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":3,"found":4}
    "#]],
    );
    check(
        6,
        |leaf| leaf.link.as_mut().unwrap().number -= 1,
        &expect![[r#"
        {"seq":6,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":3,"found":2}
    "#]],
    );
    check(
        1,
        |leaf| leaf.link.as_mut().unwrap().number = u64::MAX - 1,
        &expect![[r#"
        {"seq":1,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":0,"found":18446744073709551614}
        {"seq":13,"fault":"run-count","run":"run_0000000000005eed0000000000000000","counted":9223372036854775807,"found":18446744073709551615}
    "#]],
    );
    check(
        6,
        |leaf| leaf.link.as_mut().unwrap().previous = Some(Hash([0; 32])),
        &expect![[r#"
        {"seq":6,"fault":"run-link","run":"run_0000000000005eed0000000000000000"}
    "#]],
    );
    check(
        6,
        |leaf| leaf.link.as_mut().unwrap().previous = None,
        &expect![[r#"
        {"seq":6,"fault":"run-link","run":"run_0000000000005eed0000000000000000"}
    "#]],
    );
    check(
        1,
        |leaf| leaf.link.as_mut().unwrap().previous = Some(Hash([0; 32])),
        &expect![[r#"
        {"seq":1,"fault":"run-link","run":"run_0000000000005eed0000000000000000"}
    "#]],
    );
    check(
        13,
        |leaf| count(leaf, "count", 6),
        &expect![[r#"
        {"seq":13,"fault":"run-count","run":"run_0000000000005eed0000000000000000","counted":6,"found":8}
    "#]],
    );
    check(
        13,
        |leaf| count(leaf, "count", -1),
        &expect![[r#"
        {"seq":13,"fault":"run-count","run":"run_0000000000005eed0000000000000000","counted":-1,"found":8}
    "#]],
    );
    // An end in the middle of a run: everything after it is too much.
    check(
        8,
        |leaf| leaf.kind = Kind::SessionClose,
        &expect![[r#"
        {"seq":10,"fault":"counter","counter":"refused","counted":1,"found":0}
        {"seq":12,"fault":"after-end","run":"run_0000000000005eed0000000000000000"}
        {"seq":13,"fault":"after-end","run":"run_0000000000005eed0000000000000000"}
    "#]],
    );
}

#[test]
fn faults_of_calls_are_named() {
    check(
        9,
        |leaf| leaf.reference.as_mut().unwrap().hash = Hash([0; 32]),
        &expect![[r#"
        {"seq":9,"fault":"reference","to":5}
    "#]],
    );
    check(
        9,
        |leaf| leaf.call = Some(call(77)),
        &expect![[r#"
        {"seq":9,"fault":"reference","to":5}
    "#]],
    );
    check(
        9,
        |leaf| leaf.round = Some(1),
        &expect![[r#"
        {"seq":9,"fault":"reference","to":5}
    "#]],
    );
    check(
        9,
        |leaf| leaf.reference.as_mut().unwrap().origin = "example.org/other".to_owned(),
        &expect![[r#"
            {"seq":9,"fault":"reference","to":5}
        "#]],
    );
    check(
        4,
        |leaf| leaf.reference.as_mut().unwrap().hash = Hash([0; 32]),
        &expect![[r#"
        {"seq":4,"fault":"reference","to":3}
    "#]],
    );
    check(
        4,
        |leaf| leaf.reference.as_mut().unwrap().seq = Seq(2),
        &expect![[r#"
        {"seq":4,"fault":"reference","to":2}
    "#]],
    );
    check(
        4,
        |leaf| leaf.call = Some(call(77)),
        &expect![[r#"
        {"seq":4,"fault":"reference","to":3}
    "#]],
    );
    check(
        4,
        |leaf| leaf.round = Some(1),
        &expect![[r#"
        {"seq":4,"fault":"reference","to":3}
    "#]],
    );
    check(
        9,
        |leaf| leaf.reference = None,
        &expect![[r#"
        {"seq":5,"fault":"no-end"}
        {"seq":9,"fault":"not-open"}
        {"seq":10,"fault":"counter","counter":"open","counted":1,"found":2}
        {"seq":17,"fault":"counter","counter":"open","counted":1,"found":2}
    "#]],
    );
    // The end of a call that has one already, so that another call has none.
    check(
        12,
        |leaf| leaf.reference.as_mut().unwrap().seq = Seq(5),
        &expect![[r#"
        {"seq":7,"fault":"no-end"}
        {"seq":12,"fault":"not-open"}
        {"seq":17,"fault":"counter","counter":"open","counted":1,"found":2}
    "#]],
    );
    check(
        12,
        |leaf| leaf.reference.as_mut().unwrap().seq = Seq(99),
        &expect![[r#"
        {"seq":7,"fault":"no-end"}
        {"seq":12,"fault":"not-open"}
        {"seq":17,"fault":"counter","counter":"open","counted":1,"found":2}
    "#]],
    );
    check(
        12,
        |leaf| leaf.kind = Kind::Note,
        &expect![[r#"
        {"seq":7,"fault":"no-end"}
        {"seq":17,"fault":"counter","counter":"outcomes","counted":1,"found":0}
        {"seq":17,"fault":"counter","counter":"notes","counted":0,"found":1}
        {"seq":17,"fault":"counter","counter":"open","counted":1,"found":2}
    "#]],
    );
}

#[test]
fn faults_of_counters_are_named() {
    check(
        10,
        |leaf| count(leaf, "intents", 4),
        &expect![[r#"
        {"seq":10,"fault":"counter","counter":"intents","counted":4,"found":3}
    "#]],
    );
    check(
        10,
        |leaf| count(leaf, "outcomes", 1),
        &expect![[r#"
        {"seq":10,"fault":"counter","counter":"outcomes","counted":1,"found":2}
    "#]],
    );
    check(
        10,
        |leaf| count(leaf, "refused", 0),
        &expect![[r#"
        {"seq":10,"fault":"counter","counter":"refused","counted":0,"found":1}
    "#]],
    );
    check(
        10,
        |leaf| count(leaf, "notes", 2),
        &expect![[r#"
        {"seq":10,"fault":"counter","counter":"notes","counted":2,"found":1}
    "#]],
    );
    check(
        10,
        |leaf| count(leaf, "open", 0),
        &expect![[r#"
        {"seq":10,"fault":"counter","counter":"open","counted":0,"found":1}
    "#]],
    );
    check(
        10,
        |leaf| count(leaf, "dropped", 1),
        &expect![[r#"
        {"seq":10,"fault":"counter","counter":"dropped","counted":1,"found":0}
    "#]],
    );
    // Counters begin anew with a start.
    check(
        17,
        |leaf| count(leaf, "intents", 4),
        &expect![[r#"
        {"seq":17,"fault":"counter","counter":"intents","counted":4,"found":1}
    "#]],
    );
}

#[test]
fn records_that_are_gone_doubled_or_swapped_show() {
    check_leaves(
        |leaves| drop(leaves.remove(8)),
        &expect![[r#"
        {"seq":9,"fault":"counter","counter":"refused","counted":1,"found":0}
        {"seq":11,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":5,"found":6}
    "#]],
    );
    check_leaves(
        |leaves| drop(leaves.remove(9)),
        &expect![[r#"
        {"seq":5,"fault":"no-end"}
        {"seq":9,"fault":"counter","counter":"outcomes","counted":2,"found":1}
        {"seq":9,"fault":"counter","counter":"open","counted":1,"found":2}
        {"seq":13,"fault":"run-number","run":"run_0000000000005eed0000000000000001","expected":2,"found":3}
        {"seq":16,"fault":"counter","counter":"open","counted":1,"found":2}
    "#]],
    );
    check_leaves(
        |leaves| leaves.insert(9, leaves[8].clone()),
        &expect![[r#"
        {"seq":9,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":6,"found":5}
        {"seq":11,"fault":"counter","counter":"refused","counted":1,"found":2}
    "#]],
    );
    check_leaves(|leaves| leaves.swap(8, 9), &expect![[""]]);
    check_leaves(
        |leaves| leaves.swap(7, 8),
        &expect![[r#"
        {"seq":7,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":4,"found":5}
        {"seq":8,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":6,"found":4}
        {"seq":8,"fault":"no-end"}
        {"seq":12,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":5,"found":6}
        {"seq":12,"fault":"not-open"}
        {"seq":17,"fault":"counter","counter":"open","counted":1,"found":2}
    "#]],
    );
    check_leaves(
        |leaves| leaves[4] = b"{}".to_vec(),
        &expect![[r#"
        {"seq":4,"fault":"unreadable","reason":"not a leaf: missing field `k` at line 1 column 2"}
        {"seq":6,"fault":"run-number","run":"run_0000000000005eed0000000000000000","expected":2,"found":3}
        {"seq":10,"fault":"counter","counter":"notes","counted":1,"found":0}
    "#]],
    );
}

#[test]
fn an_open_call_is_due_once_however_often_the_gateway_starts() {
    let mut scribe = story(Scribe::new(ORIGIN));
    scribe.start();
    scribe.start();
    expect![[r#"
        {"seq":16,"fault":"no-end"}
    "#]]
    .assert_eq(&told(&report(&scribe.leaves)));
}

#[test]
fn payloads_missing_and_altered_are_told_apart() {
    let blob = |digest| BlobRef { digest, kek: KekId([1; 16]), size: 3 };
    let mut leaf = Leaf::new(Kind::Note, 1);
    leaf.blobs = vec![blob(Hash::of(b"one")), blob(Hash::of(b"two")), blob(Hash::of(b"three"))];
    let mut audit = Audit::new();
    let read = audit.leaf(&leaf.encode()).unwrap();
    audit.blob(Seq(0), &read, 0, Some(Hash::of(b"one")));
    audit.blob(Seq(0), &read, 1, Some(Hash::of(b"one")));
    audit.blob(Seq(0), &read, 2, None);
    audit.blob(Seq(0), &read, 3, None);
    let report = audit.finish(&sign(&[leaf.encode()], &key()), &key().verifier());
    expect![[r#"
        {"seq":0,"fault":"payload-altered"}
        {"seq":0,"fault":"payload-missing"}
    "#]]
    .assert_eq(&told(&report));
    assert_eq!((report.payloads, report.faults, report.ok), (3, 2, false));
}

#[test]
fn what_the_reader_of_files_finds_is_told_in_order() {
    let leaves = story(Scribe::new(ORIGIN)).leaves;
    let mut audit = audited(&leaves);
    audit.fault(Some(Seq(12)), What::Missing);
    audit.fault(None, What::Root);
    audit.fault(Some(Seq(3)), What::Altered);
    let report = audit.finish(&sign(&leaves, &key()), &key().verifier());
    expect![[r#"
        {"seq":3,"fault":"altered"}
        {"seq":12,"fault":"missing"}
        {"seq":null,"fault":"root"}
    "#]]
    .assert_eq(&told(&report));
    expect![[r#"
        record 3: the record's bytes are not those that the tree has
        record 12: the record is missing
        log: the records do not make the tree that was signed
    "#]]
    .assert_eq(&report.first.iter().map(|fault| format!("{fault}\n")).collect::<String>());
}

fn check_head(note: &str, key: &VerifierKey, expected: &Expect) {
    let leaves = story(Scribe::new(ORIGIN)).leaves;
    expected.assert_eq(&told(&audited(&leaves).finish(note, key)));
}

#[test]
fn heads_of_other_logs_do_not_count() {
    let leaves = story(Scribe::new(ORIGIN)).leaves;
    let (verifier, size) = (key().verifier(), u64::try_from(leaves.len()).unwrap());
    let foreign = LogKey::from_seed(ORIGIN, &[43; 32]).unwrap();
    let other = Checkpoint { origin: ORIGIN.to_owned(), size, root: Hash::of(b"other") };
    check_head(
        &key().sign(&other),
        &verifier,
        &expect![[r#"
        {"seq":null,"fault":"root"}
    "#]],
    );
    check_head(
        &sign(&leaves[..17], &key()),
        &verifier,
        &expect![[r#"
        {"seq":null,"fault":"size","found":18,"signed":17}
    "#]],
    );
    check_head(
        &sign(&leaves, &foreign),
        &verifier,
        &expect![[r#"
        {"seq":null,"fault":"checkpoint","reason":"the note carries no signature by the key"}
    "#]],
    );
    check_head(
        &sign(&leaves, &key()).replace("\n18\n", "\n17\n"),
        &verifier,
        &expect![[r#"
        {"seq":null,"fault":"checkpoint","reason":"the signature does not hold"}
    "#]],
    );
    check_head(
        "",
        &verifier,
        &expect![[r#"
        {"seq":null,"fault":"checkpoint","reason":"not a signed note"}
    "#]],
    );
    let renamed = LogKey::from_seed("example.org/other", &[42; 32]).unwrap();
    check_head(
        &sign(&leaves, &renamed),
        &renamed.verifier(),
        &expect![[r#"
        {"seq":null,"fault":"checkpoint","reason":"the checkpoint is of another log than the key"}
    "#]],
    );
}

#[test]
fn long_lists_of_faults_are_cut() {
    let leaves = vec![b"{}".to_vec(); 120];
    let report = report(&leaves);
    assert_eq!((report.faults, report.first.len()), (120, 100));
    assert_eq!(report.first[0].seq, Some(Seq(0)));
    assert!(matches!(report.first[99], Fault { seq: Some(Seq(99)), what: What::Unreadable { .. } }));
    assert!(report.to_string().ends_with("and 20 more\n"));
}
