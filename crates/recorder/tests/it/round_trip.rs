//! What goes in comes out: kinds, links, payloads, commitments, receipts.

use ledger::payload::Spans;
use ledger::{Kind, Leaf, Seq, Verdict, leaf_hash};
use recorder::{Reader, RecordError, StartError, start};

use crate::support::{
    account, allow, count, deny, fields, leaves, limits, new_call, new_run, noise, note, outcome, run,
    settings, usual, verified,
};

#[tokio::test]
async fn a_run_is_told_from_its_beginning_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    let call = new_call();
    let body = r#"{"method":"tools/call","params":{"arguments":{"to":"x"}}}"#;
    let mut asked = account(session, call, body);
    let at = body.find(r#"{"to""#).unwrap();
    asked.spans = Spans::from([("arguments".to_owned(), at..at + 10)]);
    let opened = gateway.recorder.open(gateway.clerk.clear(allow(), asked).unwrap()).await.unwrap();
    assert_eq!((opened.run(), opened.call(), opened.round()), (session, call, 0));
    let intent = opened.receipt().clone();
    gateway.recorder.note(&opened, note(r#"{"progress":1}"#)).await.unwrap();
    let closed = gateway.recorder.close(opened, outcome(r#"{"result":{}}"#)).await.unwrap();
    let passed = gateway.clerk.clear(allow(), account(session, new_call(), "{}")).unwrap();
    gateway.recorder.pass(passed).await.unwrap();
    let refusal = gateway.clerk.clear(deny(), account(session, new_call(), "{}")).unwrap_err();
    assert_eq!(refusal.decision().verdict, Verdict::Deny);
    gateway.recorder.refuse(refusal).await.unwrap();
    gateway.recorder.end_run(session, "closed-by-client").await.unwrap();
    gateway.shutdown.finish().unwrap();

    let told = verified(dir.path());
    let kinds: Vec<_> = told.iter().map(|(_, leaf)| leaf.kind.as_str()).collect();
    let expected = [
        "start",
        "key.created",
        "session.open",
        "intent",
        "note",
        "outcome",
        "note",
        "refused",
        "session.close",
        "heartbeat",
    ];
    assert_eq!(kinds, expected);
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(leaf_hash(&reader.leaf(intent.seq).unwrap()), intent.leaf_hash);
    assert_eq!(leaf_hash(&reader.leaf(closed.receipt().seq).unwrap()), closed.receipt().leaf_hash);
    assert_eq!(&*intent.origin, reader.origin());
    let (seq, leaf) = &told[3];
    let payload = reader.payload(*seq, leaf).unwrap().unwrap();
    assert_eq!(payload.body, body);
    assert_eq!(payload.fields, fields("tools/call"));
    assert_eq!(payload.value("arguments"), Some(r#"{"to":"x"}"#));
    assert_eq!(payload.commitments(), leaf.commitments);
    let (seq, refused) = &told[7];
    let payload = reader.payload(*seq, refused).unwrap().unwrap();
    assert_eq!(payload.value("reason"), Some(r#""not granted""#));
    assert_eq!(told[5].1.reference.as_ref().map(|r| r.hash), Some(intent.leaf_hash));
}

#[tokio::test]
async fn the_log_has_no_readable_personal_data() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    gateway.call(session, "canary-in-the-body").await;
    gateway.shutdown.finish().unwrap();
    let mut files = vec![dir.path().to_owned()];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        read += 1;
        for canary in ["canary", "anna", "tools/call"] {
            assert!(!text.contains(canary), "`{canary}` in {}", path.display());
        }
    }
    assert!(read > 5);
}

#[tokio::test]
async fn a_large_payload_goes_through_the_spool_into_a_pack() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(usual(dir.path()));
    let session = gateway.begin().await;
    let body = noise(3 << 20);
    let opened = gateway.open(session, body.clone()).await.unwrap();
    let seq = opened.receipt().seq;
    gateway.recorder.close(opened, outcome(vec![b' '; 3 << 20])).await.unwrap();
    gateway.wait_published().await;
    let spooled = dir.path().join("spool");
    gateway.shutdown.finish().unwrap();
    assert_eq!(std::fs::read_dir(spooled).unwrap().count(), 0);
    let told = verified(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    let leaf = &told[usize::try_from(seq.0).unwrap()].1;
    assert!(leaf.blobs[0].size > 3 << 20);
    assert_eq!(reader.payload(seq, leaf).unwrap().unwrap().body, body);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let recorder = &gateway.recorder;
    let session = gateway.begin().await;
    let clear = |account| gateway.clerk.clear(allow(), account).unwrap();

    let stranger = recorder.open(clear(account(new_run(), new_call(), "{}"))).await;
    assert!(matches!(stranger, Err(RecordError::RunNotOpen(_))));
    let call = new_call();
    let opened = recorder.open(clear(account(session, call, "{}"))).await.unwrap();
    let again = recorder.open(clear(account(session, call, "{}"))).await;
    assert!(matches!(again, Err(RecordError::CallAlreadyOpen(twice)) if twice == call));
    let mut unsound = account(session, new_call(), "{}");
    unsound.fields.insert("name".to_owned(), "not json".to_owned());
    assert!(matches!(recorder.open(clear(unsound)).await, Err(RecordError::Unsound(_))));
    let mut outside = account(session, new_call(), "{}");
    outside.spans.insert("arguments".to_owned(), 1..9);
    assert!(matches!(recorder.open(clear(outside)).await, Err(RecordError::Unsound(_))));
    let start = recorder::RunStart { run: session, subject: "anna".into(), fields: fields("initialize") };
    assert!(matches!(recorder.begin_run(start).await, Err(RecordError::RunAlreadyOpen(_))));

    // A run with an open call ends when the call does.
    recorder.end_run(session, "closed-by-client").await.unwrap();
    let late = recorder.open(clear(account(session, new_call(), "{}"))).await;
    assert!(matches!(late, Err(RecordError::RunNotOpen(_))));
    recorder.close(opened, outcome("{}")).await.unwrap();
    assert!(matches!(recorder.end_run(session, "again").await, Err(RecordError::RunNotOpen(_))));
    gateway.shutdown.finish().unwrap();
    let told = verified(dir.path());
    assert_eq!(count(&told, Kind::Intent), 1);
    assert_eq!(count(&told, Kind::SessionClose), 1);
}

#[tokio::test]
async fn a_call_that_nobody_closes_has_an_unknown_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    drop(gateway.open(session, "{}").await.unwrap());
    // One whose caller went away before it heard that the intent is durable.
    let cleared = gateway.clerk.clear(allow(), account(session, new_call(), "{}")).unwrap();
    let opening = gateway.recorder.open(cleared);
    let gone = tokio::select! {
        biased;
        opened = opening => Some(opened),
        () = std::future::ready(()) => None,
    };
    drop(gone);
    gateway.call(session, "{}").await;
    gateway.shutdown.finish().unwrap();
    let told = verified(dir.path());
    assert_eq!(count(&told, Kind::Intent), count(&told, Kind::Outcome) + count(&told, Kind::OutcomeUnknown));
    assert_eq!(count(&told, Kind::Outcome), 1);
}

#[tokio::test]
async fn what_is_open_at_the_shutdown_is_ended_by_it() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    let opened = gateway.open(session, "{}").await.unwrap();
    let recorder = gateway.recorder.clone();
    gateway.shutdown.finish().unwrap();
    assert!(matches!(recorder.close(opened, outcome("{}")).await, Err(RecordError::ShuttingDown)));
    assert!(!recorder.health().accepting);
    assert!(recorder.published().wait_for(|_| false).await.is_err());
    let told = verified(dir.path());
    let kinds: Vec<_> = told.iter().rev().take(3).map(|(_, leaf)| leaf.kind).collect();
    assert_eq!(kinds, [Kind::Heartbeat, Kind::SessionClose, Kind::OutcomeUnknown]);
}

#[test]
fn one_gateway_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(settings(dir.path()));
    assert!(matches!(start(settings(dir.path())), Err(StartError::InUse { .. })));
    first.shutdown.finish().unwrap();
    run(settings(dir.path())).shutdown.finish().unwrap();
    assert_eq!(count(&verified(dir.path()), Kind::Start), 2);
}

#[tokio::test]
async fn heartbeats_count_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.limits.heartbeat_every = std::time::Duration::from_millis(5);
    let gateway = run(settings);
    let session = gateway.begin().await;
    let mut published = gateway.recorder.published();
    while count(&leaves(dir.path()), Kind::Heartbeat) < 3 {
        gateway.call(session, "{}").await;
        published.changed().await.unwrap();
    }
    gateway.shutdown.finish().unwrap();
    verified(dir.path());
}

#[test]
fn segments_must_not_be_too_small() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.limits = recorder::Limits { segment_bytes: 1024, ..limits() };
    assert!(matches!(start(settings), Err(StartError::Limit(_))));
}

#[test]
fn a_reader_follows_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let mut reader = Reader::open(dir.path()).unwrap();
    let first = reader.size();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = gateway.begin().await;
        gateway.call(session, "{}").await;
        gateway.wait_published().await;
    });
    assert!(reader.poll().unwrap() >= first + 4);
    let read: Vec<Seq> = reader.leaves(Seq(first)).map(|leaf| leaf.unwrap().0).collect();
    assert_eq!(read, (first..reader.size()).map(Seq).collect::<Vec<_>>());
    for (_, leaf) in reader.leaves(Seq(0)).map(|leaf| leaf.unwrap()) {
        assert!(Leaf::decode(&leaf).is_ok());
    }
    gateway.shutdown.finish().unwrap();
}
