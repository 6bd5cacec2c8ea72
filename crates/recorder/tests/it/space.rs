//! A disk that runs full, and a queue that does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ledger::{Fact, Kind};
use recorder::{Reader, RecordError, Space, SpaceProbe};

use crate::support::{account, allow, deny, new_call, noise, outcome, run, settings, verified};

#[tokio::test]
async fn a_full_disk_refuses_calls_and_keeps_outcomes() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let seen = Arc::clone(&free);
    let mut settings = settings(dir.path());
    settings.limits.space_every = Duration::ZERO;
    settings.limits.refuse_percent = 5;
    settings.limits.space =
        SpaceProbe::new(move |_| Ok(Space { free: seen.load(Ordering::Relaxed), total: 1 << 30 }));
    let gateway = run(settings);
    let session = gateway.begin().await;
    let opened = gateway.open(session, "{}").await.unwrap();
    assert!(gateway.recorder.health().accepting);

    free.store((1 << 30) / 100 * 4, Ordering::Relaxed);
    let health = gateway.recorder.health();
    assert!(!health.accepting);
    assert!(health.why.unwrap().contains("free some space"));
    let refused = gateway.open(session, "{}").await.unwrap_err();
    assert!(matches!(refused, RecordError::NoSpace) && !refused.is_retryable());
    let refusal = gateway.clerk.refuse(deny(), account(session, new_call(), "{}"));
    gateway.recorder.refuse(refusal).await.unwrap();
    let closed = gateway.recorder.close(opened, outcome(noise(100_000))).await.unwrap();
    let seq = closed.receipt().seq;
    free.store(1 << 30, Ordering::Relaxed);
    gateway.call(session, "{}").await;
    gateway.shutdown.finish().unwrap();

    let told = verified(dir.path());
    let leaf = &told[usize::try_from(seq.0).unwrap()].1;
    assert_eq!(
        (leaf.kind, leaf.facts.get("omitted")),
        (Kind::Outcome, Some(&Fact::Text("nospace".to_owned())))
    );
    let payload = Reader::open(dir.path()).unwrap().payload(seq, leaf).unwrap().unwrap();
    assert!(payload.body.is_empty());
    assert!(payload.value("omitted").unwrap().contains("\"size\":100000"));
}

#[tokio::test]
async fn each_open_call_keeps_room_for_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.limits.outcome_reserve = 1000;
    settings.limits.refuse_bytes = 10_000;
    settings.limits.space = SpaceProbe::new(|_| Ok(Space { free: 12_999, total: 1 << 30 }));
    let gateway = run(settings);
    let session = gateway.begin().await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(gateway.open(session, "{}").await.unwrap());
    }
    assert!(matches!(gateway.open(session, "{}").await, Err(RecordError::NoSpace)));
    gateway.recorder.close(open.remove(0), outcome("{}")).await.unwrap();
    drop(gateway.open(session, "{}").await.unwrap());
    drop(open);
    gateway.shutdown.finish().unwrap();
    verified(dir.path());
}

#[tokio::test]
async fn a_queue_without_room_refuses_at_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.limits.queue_records = 0;
    settings.limits.queue_deadline = Duration::from_millis(1);
    let gateway = run(settings);
    let start = recorder::RunStart {
        run: crate::support::new_run(),
        subject: Arc::from("anna"),
        fields: crate::support::fields("initialize"),
    };
    let refused = gateway.recorder.begin_run(start).await.unwrap_err();
    assert!(matches!(refused, RecordError::Overloaded) && refused.is_retryable());
    gateway.shutdown.finish().unwrap();
    verified(dir.path());
}

#[tokio::test]
async fn a_payload_beyond_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.limits.payload_bytes = 1000;
    let gateway = run(settings);
    let session = gateway.begin().await;
    assert!(matches!(gateway.open(session, vec![0; 1001]).await, Err(RecordError::TooLarge)));
    let cleared = gateway.clerk.clear(allow(), account(session, new_call(), vec![0; 1000])).unwrap();
    gateway.recorder.pass(cleared).await.unwrap();
    gateway.shutdown.finish().unwrap();
    verified(dir.path());
}
