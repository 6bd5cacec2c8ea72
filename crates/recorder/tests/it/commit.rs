//! Many callers at once, small segments, many leaves.

use std::collections::HashSet;
use std::sync::Arc;

use ledger::Kind;

use crate::support::{account, allow, count, new_call, run, settings, usual, verified};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_share_commits_and_leave_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Arc::new(run(usual(dir.path())));
    let session = gateway.begin().await;
    let tasks = (0..64).map(|_| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            for _ in 0..16 {
                gateway.call(session, "x".repeat(1024)).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    Arc::into_inner(gateway).unwrap().shutdown.finish().unwrap();
    let told = verified(dir.path());
    let numbers: Vec<_> = told.iter().filter_map(|(_, leaf)| leaf.link.map(|link| link.number)).collect();
    assert_eq!(numbers, (0..2 * 64 * 16 + 2).collect::<Vec<_>>());
    let calls: HashSet<_> = told.iter().filter_map(|(_, leaf)| leaf.call).collect();
    assert_eq!(calls.len(), 64 * 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_rotate_and_retire_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Arc::new(run(settings(dir.path())));
    let session = gateway.begin().await;
    let tasks = (0..8).map(|_| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            for _ in 0..60 {
                gateway.call(session, crate::support::noise(2048)).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    gateway.wait_published().await;
    let gateway = Arc::into_inner(gateway).unwrap();
    gateway.shutdown.finish().unwrap();
    // More than a megabyte went through segments of 64 KiB; what is left is the newest ones.
    let left = std::fs::read_dir(dir.path().join("wal/0")).unwrap().count();
    assert!(left <= 6, "{left} segments");
    let again = run(settings(dir.path()));
    assert_eq!((again.recovered.unknown, again.recovered.runs, again.recovered.torn), (0, 0, false));
    again.shutdown.finish().unwrap();
    let told = verified(dir.path());
    assert_eq!(count(&told, Kind::Outcome), 8 * 60);
    assert_eq!(count(&told, Kind::KeyCreated), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_leaves_publish_and_verify() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Arc::new(run(usual(dir.path())));
    let session = gateway.begin().await;
    let tasks = (0..128).map(|_| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            for _ in 0..782 {
                let account = account(session, new_call(), "{}");
                gateway.recorder.pass(gateway.clerk.clear(allow(), account).unwrap()).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    gateway.wait_published().await;
    Arc::into_inner(gateway).unwrap().shutdown.finish().unwrap();
    let told = verified(dir.path());
    assert_eq!(count(&told, Kind::Note), 128 * 782);
    assert!(told.len() > 100_000);
}
