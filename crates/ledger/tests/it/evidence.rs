//! Documents of evidence: what a stranger can check, and that nothing in one can be changed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use expect_test::{Expect, expect, expect_file};
use ledger::evidence::{Evidence, EvidenceReport, Exhibit, Scope, VERSION};
use ledger::payload::BODY;
use ledger::proof::ProofError;
use ledger::{Checkpoint, Hash, LogKey, Payload, Seq};

use crate::made::{REQUEST, Scribe, run};
use crate::shelf::Shelf;
use crate::verify::{ORIGIN, key, sign, story};

/// The records of the first run in the story.
const RUN: [u64; 8] = [1, 3, 4, 6, 7, 8, 12, 13];

fn payload() -> Payload {
    Scribe::new(ORIGIN).payload(3, REQUEST)
}

fn document(scope: Scope, seqs: &[u64]) -> Evidence {
    let leaves = story(Scribe::new(ORIGIN)).leaves;
    let (tiles, size) = (Shelf::of(&leaves), u64::try_from(leaves.len()).unwrap());
    let exhibit = |seq: &u64| {
        let leaf = &leaves[usize::try_from(*seq).unwrap()];
        let mut exhibit = Exhibit::new(&tiles, Seq(*seq), leaf, size).unwrap();
        if *seq == 3 {
            let shown = ["principal", "method", BODY];
            exhibit.disclosures = shown.iter().map(|name| payload().disclose(name).unwrap()).collect();
            exhibit.body = Some(URL_SAFE_NO_PAD.encode(payload().body));
            exhibit.body_salt = Some(payload().body_salt());
        }
        exhibit
    };
    Evidence {
        tollbook_evidence: VERSION,
        scope,
        vkey: key().verifier().to_string(),
        checkpoint: sign(&leaves, &key()),
        records: seqs.iter().map(exhibit).collect(),
    }
}

pub fn single() -> Evidence {
    document(Scope::Records, &[3])
}

fn whole() -> Evidence {
    document(Scope::Run(run(0)), &RUN)
}

fn told(report: &EvidenceReport) -> String {
    assert_eq!(report.ok, report.faults.is_empty());
    report.faults.iter().map(|fault| format!("{fault}\n")).collect()
}

fn check(mut evidence: Evidence, change: fn(&mut Evidence), expected: &Expect) {
    assert!(evidence.verify(Some(&key().verifier())).ok);
    change(&mut evidence);
    expected.assert_eq(&told(&evidence.verify(Some(&key().verifier()))));
}

#[test]
fn a_document_is_as_documented() {
    let json = serde_json::to_string_pretty(&single()).unwrap();
    expect_file!["../golden/evidence.json"].assert_eq(&format!("{json}\n"));
    assert_eq!(serde_json::from_str::<Evidence>(&json).unwrap(), single());
    let scope = serde_json::to_string(&whole().scope).unwrap();
    expect![[r#"{"run":"run_0000000000005eed0000000000000000"}"#]].assert_eq(&scope);
}

#[test]
fn sound_documents_verify() {
    let report = whole().verify(Some(&key().verifier()));
    expect![[
        r#"{"ok":true,"origin":"example.org/tollbook","size":18,"records":8,"complete":true,"faults":[]}"#
    ]]
    .assert_eq(&serde_json::to_string(&report).unwrap());
    // The key inside serves where there is no other.
    assert_eq!(whole().verify(None), report);
    let report = single().verify(Some(&key().verifier()));
    assert!(report.ok && !report.complete);
    // A run up to somewhere is not complete; the run of another name is.
    let begun = document(Scope::Run(run(0)), &RUN[..5]).verify(None);
    assert!(begun.ok && !begun.complete);
    let other = document(Scope::Run(run(1)), &[2, 5, 9, 14]).verify(None);
    assert!(other.ok && other.complete);
}

#[test]
fn a_run_that_is_not_whole_shows() {
    check(
        whole(),
        |run| drop(run.records.remove(3)),
        &expect![[r#"
        record 7: it does not follow the record before it: records are missing
    "#]],
    );
    check(
        whole(),
        |run| drop(run.records.remove(0)),
        &expect![[r#"
        record 3: it does not follow the record before it: records are missing
    "#]],
    );
    check(
        whole(),
        |run| run.records.swap(2, 3),
        &expect![[r#"
        record 6: it does not follow the record before it: records are missing
        record 4: it does not follow the record before it: records are missing
        record 7: it does not follow the record before it: records are missing
    "#]],
    );
    check(
        whole(),
        |run| run.records.insert(3, run.records[2].clone()),
        &expect![[r#"
        record 4: it does not follow the record before it: records are missing
    "#]],
    );
    check(
        whole(),
        |run| run.records.push(run.records[7].clone()),
        &expect![[r#"
        record 13: it comes after the run's end
        record 13: it does not follow the record before it: records are missing
    "#]],
    );
    check(
        whole(),
        |evidence| evidence.scope = Scope::Run(run(1)),
        &expect![[r#"
        record 1: it is not of this run
        record 3: it is not of this run
        record 4: it is not of this run
        record 6: it is not of this run
        record 7: it is not of this run
        record 8: it is not of this run
        record 12: it is not of this run
        record 13: it is not of this run
    "#]],
    );
    check(
        whole(),
        |run| run.records[4] = document(Scope::Records, &[5]).records.remove(0),
        &expect![[r#"
        record 5: it is not of this run
        record 8: it does not follow the record before it: records are missing
    "#]],
    );
}

#[test]
fn a_changed_record_shows() {
    check(
        single(),
        |one| one.records[0].seq = Seq(4),
        &expect![[r#"
        record 4: the proof does not lead to the root
    "#]],
    );
    check(
        single(),
        |one| one.records[0].seq = Seq(99),
        &expect![[r#"
        record 99: the place lies outside the tree
    "#]],
    );
    check(
        single(),
        |one| one.records[0].leaf = one.records[0].leaf.replace("allow", "deny"),
        &expect![[r#"
            record 3: the proof does not lead to the root
        "#]],
    );
    check(
        single(),
        |one| one.records[0].leaf.push(' '),
        &expect![[r#"
        record 3: the proof does not lead to the root
    "#]],
    );
    check(
        single(),
        |one| one.records[0].leaf = "{}".to_owned(),
        &expect![[r#"
        record 3: the proof does not lead to the root
        record 3: not a leaf: missing field `k` at line 1 column 2
    "#]],
    );
    check(
        single(),
        |one| one.records[0].proof[1].0[7] ^= 1,
        &expect![[r#"
        record 3: the proof does not lead to the root
    "#]],
    );
    check(
        single(),
        |one| one.records[0].proof.truncate(4),
        &expect![[r#"
        record 3: the proof does not lead to the root
    "#]],
    );
    check(
        single(),
        |one| one.records[0].proof.push(Hash([0; 32])),
        &expect![[r#"
        record 3: the proof does not lead to the root
    "#]],
    );
    check(
        single(),
        |one| one.records.clear(),
        &expect![[r#"
        document: it holds no records
    "#]],
    );
    check(
        single(),
        |one| one.tollbook_evidence = 2,
        &expect![[r#"
        document: of a version that this program does not know
    "#]],
    );
}

/// A disclosure of that text.
fn disclosure(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

#[test]
fn a_changed_disclosure_shows() {
    fn show(exhibit: &mut Exhibit, text: &str) {
        exhibit.disclosures[0] = disclosure(text);
    }
    check(
        single(),
        |one| show(&mut one.records[0], r#"["AAAA","principal","otto@example.org"]"#),
        &expect![[r#"
            record 3: a disclosure is not what the record commits to
        "#]],
    );
    check(
        single(),
        |one| show(&mut one.records[0], "no disclosure"),
        &expect![[r#"
        record 3: a disclosure is not what the record commits to
    "#]],
    );
    check(
        single(),
        |one| one.records[0].disclosures[1].push('='),
        &expect![[r#"
        record 3: a disclosure is not what the record commits to
    "#]],
    );
    // Of another record of the same log.
    let other = |one: &mut Evidence| {
        one.records[0].disclosures[0] =
            Scribe::new(ORIGIN).payload(5, REQUEST).disclose("principal").unwrap();
    };
    check(
        single(),
        other,
        &expect![[r#"
        record 3: a disclosure is not what the record commits to
    "#]],
    );
}

#[test]
fn a_changed_message_shows() {
    let body = |text: &str| Some(URL_SAFE_NO_PAD.encode(text));
    let mut longer = single();
    longer.records[0].body = body(&format!("{REQUEST} "));
    expect![[r#"
        record 3: the message is not what the record commits to
    "#]]
    .assert_eq(&told(&longer.verify(None)));
    // A part of the body taken into the salt leaves the digest as it was.
    let mut moved = single();
    let salt = URL_SAFE_NO_PAD.decode(payload().body_salt()).unwrap();
    moved.records[0].body_salt = Some(URL_SAFE_NO_PAD.encode([&salt, &REQUEST.as_bytes()[..1]].concat()));
    moved.records[0].body = body(REQUEST.split_at(1).1);
    expect![[r#"
        record 3: the message is not what the record commits to
    "#]]
    .assert_eq(&told(&moved.verify(None)));
    check(
        single(),
        |one| one.records[0].body = Some("?".to_owned()),
        &expect![[r#"
        record 3: the message is not what the record commits to
    "#]],
    );
    check(
        single(),
        |one| one.records[0].body_salt = None,
        &expect![[r#"
        record 3: the message is not what the record commits to
    "#]],
    );
    // Without its disclosure a message cannot be checked.
    check(
        single(),
        |one| drop(one.records[0].disclosures.pop()),
        &expect![[r#"
        record 3: the message is not what the record commits to
    "#]],
    );
    let mut hidden = single();
    (hidden.records[0].body, hidden.records[0].body_salt) = (None, None);
    assert!(hidden.verify(None).ok);
}

#[test]
fn a_changed_head_shows() {
    check(
        single(),
        |one| one.checkpoint = one.checkpoint.replace("\n18\n", "\n19\n"),
        &expect![[r#"
        document: the signature does not hold
    "#]],
    );
    check(
        single(),
        |one| one.checkpoint.clear(),
        &expect![[r#"
        document: not a signed note
    "#]],
    );
    let other = |one: &mut Evidence| {
        let root = Hash::of(b"another history");
        one.checkpoint = key().sign(&Checkpoint { origin: ORIGIN.to_owned(), size: 18, root });
    };
    check(
        single(),
        other,
        &expect![[r#"
        record 3: the proof does not lead to the root
    "#]],
    );
    check(single(), |one| one.vkey = "none".to_owned(), &expect![[r#""#]]);
    // A forger's own key vouches for the forger's document alone.
    let forger = |one: &mut Evidence| {
        let forger = LogKey::from_seed(ORIGIN, &[43; 32]).unwrap();
        one.vkey = forger.verifier().to_string();
        one.checkpoint = sign(&story(Scribe::new(ORIGIN)).leaves, &forger);
    };
    check(
        single(),
        forger,
        &expect![[r#"
        document: it was made by a log of another key
        document: the note carries no signature by the key
    "#]],
    );
    let mut unkeyed = single();
    unkeyed.vkey = "none".to_owned();
    expect![[r#"
        document: its key cannot be read
    "#]]
    .assert_eq(&told(&unkeyed.verify(None)));
}

#[test]
fn hostile_documents_are_refused() {
    // Numbers at the end of their range.
    let mut evidence = whole();
    let last = u64::MAX;
    for record in &mut evidence.records {
        record.leaf = record.leaf.replace("\"sn\":7", &format!("\"sn\":{last}"));
    }
    evidence.records.push(evidence.records[7].clone());
    expect![[r#"
        record 13: the proof does not lead to the root
        record 13: it does not follow the record before it: records are missing
        record 13: the run's end counts other records
        record 13: the proof does not lead to the root
        record 13: it comes after the run's end
        record 13: it does not follow the record before it: records are missing
        record 13: the run's end counts other records
    "#]]
    .assert_eq(&told(&evidence.verify(None)));

    let json = serde_json::to_string(&single()).unwrap();
    for (from, to) in [
        ("{\"tollbook_evidence\":1", "{\"more\":0,\"tollbook_evidence\":1"),
        ("\"seq\":3", "\"seq\":-3"),
        ("\"seq\":3", "\"seq\":3,\"more\":0"),
        ("\"scope\":\"records\"", "\"scope\":\"everything\""),
        ("\"scope\":\"records\"", "\"scope\":{\"run\":\"run_1\"}"),
        ("\"proof\":[\"", "\"proof\":[\"A"),
    ] {
        assert!(json.contains(from), "{from}");
        assert!(serde_json::from_str::<Evidence>(&json.replacen(from, to, 1)).is_err(), "{to}");
    }
}

#[test]
fn exhibits_need_their_tiles() {
    let leaves = story(Scribe::new(ORIGIN)).leaves;
    let tiles = Shelf::of(&leaves);
    assert_eq!(Exhibit::new(&tiles, Seq(18), &leaves[3], 18), Err(ProofError::Range));
    assert_eq!(Exhibit::new(&tiles, Seq(3), b"\xff", 18), Err(ProofError::Range));
    assert_eq!(Exhibit::new(&Shelf::default(), Seq(3), &leaves[3], 18), Err(ProofError::Tile));
}
