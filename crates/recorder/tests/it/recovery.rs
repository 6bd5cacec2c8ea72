//! Starts after a crash, a torn write, damage, and a folder that was set back.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ledger::{Fact, Kind};
use recorder::{KeystoreError, ReadError, Reader, StartError, WalError, start, verify_folder};

use crate::support::{copy, count, leaves, run, settings, verified};

fn segment(dir: &Path) -> PathBuf {
    dir.join("wal/0/0000000000000000.wal")
}

/// All segments, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("wal/0")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// End of the last frame of a segment, whose last byte may be zero.
fn written(path: &Path) -> usize {
    let bytes = std::fs::read(path).unwrap();
    let mut end = 128;
    while bytes[end..].starts_with(b"TBFR") {
        let length = u32::from_le_bytes(bytes[end + 4..end + 8].try_into().unwrap());
        end += 12 + usize::try_from(length).unwrap();
    }
    end
}

fn write_at(path: &Path, offset: usize, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset as u64).unwrap();
}

#[tokio::test]
async fn a_crash_leaves_unknown_outcomes_and_ended_runs() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    let open = gateway.open(session, "{}").await.unwrap();
    gateway.call(session, "{}").await;
    gateway.shutdown.abandon();
    let gateway = run(settings(dir.path()));
    assert_eq!((gateway.recovered.unknown, gateway.recovered.runs), (1, 1));
    gateway.shutdown.finish().unwrap();
    let told = verified(dir.path());
    assert_eq!(count(&told, Kind::Intent), 2);
    let (_, unknown) = told.iter().find(|(_, leaf)| leaf.kind == Kind::OutcomeUnknown).unwrap();
    assert_eq!(unknown.call, Some(open.call()));
    let (_, end) = told.iter().find(|(_, leaf)| leaf.kind == Kind::SessionClose).unwrap();
    assert_eq!(end.facts.get("reason"), Some(&Fact::Text("gateway-restart".to_owned())));
    assert_eq!(end.facts.get("count"), Some(&Fact::Int(6)));
}

#[tokio::test]
async fn copies_of_a_running_folder_recover() {
    let dir = tempfile::tempdir().unwrap();
    let images = tempfile::tempdir().unwrap();
    let mut settings_here = settings(dir.path());
    // No segment is retired while it is copied.
    settings_here.limits.segment_bytes = 1 << 20;
    let gateway = run(settings_here);
    let session = gateway.begin().await;
    for image in 0..8 {
        gateway.call(session, crate::support::noise(700)).await;
        gateway.wait_published().await;
        let copied = images.path().join(image.to_string());
        // First what a checkpoint covers; the leaves behind it are what a crash leaves.
        for part in ["keys", "log", "spool"] {
            copy(&dir.path().join(part), &copied.join(part));
        }
        std::fs::copy(dir.path().join("state.json"), copied.join("state.json")).unwrap();
        let open = gateway.open(session, "{}").await.unwrap();
        copy(&dir.path().join("wal"), &copied.join("wal"));
        let recovered = run(settings(&copied));
        assert_eq!(recovered.recovered.unknown, 1);
        recovered.shutdown.finish().unwrap();
        let told = verified(&copied);
        assert_eq!(count(&told, Kind::Outcome), 2 * image + 1);
        gateway.recorder.close(open, crate::support::outcome("{}")).await.unwrap();
    }
    gateway.shutdown.finish().unwrap();
    verified(dir.path());
}

#[tokio::test]
async fn a_torn_write_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    gateway.call(session, "{}").await;
    gateway.shutdown.abandon();
    let path = segment(dir.path());
    let end = written(&path);
    let bytes = std::fs::read(&path).unwrap();
    write_at(&path, end, &bytes[128..128 + 90]);
    let gateway = run(settings(dir.path()));
    assert!(gateway.recovered.torn);
    gateway.shutdown.finish().unwrap();
    let told = verified(dir.path());
    assert_eq!(count(&told, Kind::Outcome), 1);
    let (_, second) = told.iter().rfind(|(_, leaf)| leaf.kind == Kind::Start).unwrap();
    assert_eq!(second.facts.get("torn"), Some(&Fact::Int(1)));
}

#[tokio::test]
async fn damage_before_valid_records_is_refused_and_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    gateway.call(session, "{}").await;
    gateway.shutdown.abandon();
    let path = segment(dir.path());
    let whole = std::fs::read(&path).unwrap();
    for offset in [20, 128 + 4, 128 + 70] {
        let mut bent = whole.clone();
        bent[offset] ^= 1;
        std::fs::write(&path, &bent).unwrap();
        let error = start(settings(dir.path())).unwrap_err();
        assert!(matches!(error, StartError::Wal(WalError::Damaged { .. })), "{offset}: {error}");
        assert!(error.to_string().contains("tollbook verify"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bent);
    }
    std::fs::write(&path, &whole).unwrap();
    run(settings(dir.path())).shutdown.finish().unwrap();
    verified(dir.path());
}

#[tokio::test]
async fn a_missing_segment_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.limits.publish_every = std::time::Duration::from_secs(3600);
    let lost = loop {
        let gateway = run(settings.clone());
        let session = gateway.begin().await;
        for _ in 0..100 {
            gateway.call(session, crate::support::noise(2048)).await;
        }
        gateway.shutdown.abandon();
        // A publisher that keeps up with the calls leaves none to lose. Those of zeros were prepared and show no gap.
        let mut held = segments(dir.path());
        held.retain(|path| std::fs::read(path).unwrap().iter().any(|byte| *byte != 0));
        if let [_, second, _, ..] = held.as_slice() {
            break second.clone();
        }
    };
    std::fs::remove_file(lost).unwrap();
    assert!(matches!(start(settings), Err(StartError::Wal(WalError::Damaged { .. }))));
}

#[tokio::test]
async fn a_folder_that_was_set_back_gets_a_new_log() {
    let dir = tempfile::tempdir().unwrap();
    let old = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let first_origin = gateway.recovered.origin.clone();
    let session = gateway.begin().await;
    gateway.call(session, "{}").await;
    gateway.shutdown.finish().unwrap();
    let found = leaves(dir.path()).len();
    copy(&dir.path().join("wal"), &old.path().join("wal"));
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    gateway.call(session, "{}").await;
    gateway.shutdown.finish().unwrap();
    let signed = leaves(dir.path()).len();
    let vkey = std::fs::read_to_string(dir.path().join("keys/log.vkey")).unwrap();
    std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
    copy(&old.path().join("wal"), &dir.path().join("wal"));

    let gateway = run(settings(dir.path()));
    let predecessor = gateway.recovered.predecessor.clone().unwrap();
    assert_eq!(predecessor.origin, first_origin);
    assert_eq!((predecessor.signed, predecessor.found), (signed as u64, found as u64));
    assert_ne!(gateway.recovered.origin, first_origin);
    let session = gateway.begin().await;
    gateway.call(session, "{}").await;
    gateway.shutdown.finish().unwrap();
    let told = verified(dir.path());
    assert_eq!(told[0].1.facts.get("predecessor"), Some(&Fact::Text(first_origin.clone())));
    assert_eq!(told[0].1.facts.get("reason"), Some(&Fact::Text("rollback".to_owned())));

    // The old log stands beside it, whole.
    let suffix = first_origin.rsplit('/').next().unwrap();
    let aside = tempfile::tempdir().unwrap();
    copy(&dir.path().join(format!("log-{suffix}")), &aside.path().join("log"));
    let report = verify_folder(aside.path(), Some(vkey.trim().parse().unwrap())).unwrap();
    assert!(report.ok, "{report}");
    assert_eq!(report.records, signed as u64);

    // And the new one goes on.
    let gateway = run(settings(dir.path()));
    assert_eq!(gateway.recovered.predecessor, None);
    gateway.shutdown.finish().unwrap();
    verified(dir.path());
}

#[tokio::test]
async fn a_lost_root_key_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    gateway.call(session, "{}").await;
    gateway.shutdown.finish().unwrap();
    std::fs::remove_file(dir.path().join("keys/root.key")).unwrap();
    assert!(matches!(start(settings(dir.path())), Err(StartError::Keys(KeystoreError::Missing { .. }))));
    let reader = Reader::open(dir.path()).unwrap();
    let mut sealed = leaves(dir.path()).into_iter().filter(|(_, leaf)| !leaf.blobs.is_empty());
    let (seq, leaf) = sealed.next().unwrap();
    assert!(matches!(reader.payload(seq, &leaf), Err(ReadError::Keys(KeystoreError::Missing { .. }))));
}

#[tokio::test]
async fn a_published_log_that_says_otherwise_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = run(settings(dir.path()));
    let session = gateway.begin().await;
    gateway.call(session, "{}").await;
    gateway.wait_published().await;
    gateway.shutdown.abandon();
    let checkpoint = dir.path().join("log/checkpoint");
    let note = std::fs::read_to_string(&checkpoint).unwrap();
    let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    let tile = dir.path().join("log").join(ledger::tile::TileId::holding(0, 0, size).path());
    let whole = std::fs::read(&tile).unwrap();
    let mut bent = whole.clone();
    bent[40] ^= 1;
    std::fs::write(&tile, bent).unwrap();
    assert!(matches!(start(settings(dir.path())), Err(StartError::Wal(WalError::Damaged { .. }))));
    std::fs::write(&tile, whole).unwrap();
    std::fs::write(&checkpoint, note.replacen(&format!("\n{size}\n"), &format!("\n{}\n", size + 1), 1))
        .unwrap();
    assert!(matches!(start(settings(dir.path())), Err(StartError::Io { .. })));
    std::fs::write(&checkpoint, note).unwrap();
    run(settings(dir.path())).shutdown.finish().unwrap();
    verified(dir.path());
}
