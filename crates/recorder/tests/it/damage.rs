//! One flipped byte anywhere in the published log is found, and the record is named.

use std::path::{Path, PathBuf};

use ledger::tile::TileId;
use ledger::verify::What;
use ledger::{Kind, Seq};
use recorder::{Reader, verify_folder};

use crate::support::{noise, run, settings, verified};

/// A verified log of more than one full tile; gives the seq of some outcome with a payload.
async fn log(dir: &Path) -> Seq {
    let gateway = run(settings(dir));
    let session = gateway.begin().await;
    for _ in 0..200 {
        let opened = gateway.open(session, "{}").await.unwrap();
        gateway.recorder.close(opened, crate::support::outcome(noise(40))).await.unwrap();
    }
    gateway.shutdown.finish().unwrap();
    let told = verified(dir);
    told.iter().filter(|(_, leaf)| leaf.kind == Kind::Outcome).nth(150).unwrap().0
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|window| window == part).unwrap()
}

fn only_pack(dir: &Path) -> PathBuf {
    let mut path = dir.join("log/pack");
    while path.is_dir() {
        path = std::fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
    }
    path
}

/// Checks that the first fault is at `seq`, and gives it.
fn first_fault(dir: &Path, seq: Seq) -> What {
    let report = verify_folder(dir, None).unwrap();
    assert!(!report.ok);
    assert_eq!(report.first[0].seq, Some(seq), "{report}");
    report.first[0].what.clone()
}

#[tokio::test]
async fn a_flipped_byte_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let seq = log(dir).await;
    let reader = Reader::open(dir).unwrap();
    let size = reader.size();

    let pack = only_pack(dir);
    let blob = reader.blob(seq).unwrap().unwrap();
    let at = find(&std::fs::read(&pack).unwrap(), &blob);
    for offset in [at + 90, at - 10, at - 50] {
        flip(&pack, offset);
        assert_eq!(first_fault(dir, seq), What::PayloadAltered);
        flip(&pack, offset);
    }

    // One in the partial bundle, one in the full one, whose hash is in the tile above.
    for seq in [seq, Seq(100)] {
        let bundle = dir.join("log").join(TileId::bundle(seq.0, size).path());
        let leaf = reader.leaf(seq).unwrap();
        let at = find(&std::fs::read(&bundle).unwrap(), &leaf);
        // In a digest, in the structure, in the length.
        for offset in [at + 20, at, at - 1] {
            flip(&bundle, offset);
            first_fault(dir, seq);
            flip(&bundle, offset);
        }
    }

    let hashes = dir.join("log").join(TileId::holding(0, seq.0, size).path());
    flip(&hashes, usize::try_from(seq.0 % 256).unwrap() * 32 + 7);
    assert_eq!(first_fault(dir, seq), What::Altered);
    flip(&hashes, usize::try_from(seq.0 % 256).unwrap() * 32 + 7);

    flip(&dir.join("log").join(TileId::holding(1, 0, size).path()), 3);
    assert_eq!(first_fault(dir, Seq(0)), What::Altered);
    flip(&dir.join("log").join(TileId::holding(1, 0, size).path()), 3);
    verified(dir);
}

#[tokio::test]
async fn missing_files_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let seq = log(dir).await;
    let pack = only_pack(dir);
    let kept = std::fs::read(&pack).unwrap();
    std::fs::remove_file(&pack).unwrap();
    let report = verify_folder(dir, None).unwrap();
    assert!(report.first.iter().all(|fault| fault.what == What::PayloadMissing), "{report}");
    std::fs::write(&pack, kept).unwrap();
    verified(dir);
    let bundle = dir.join("log").join(TileId::bundle(seq.0, Reader::open(dir).unwrap().size()).path());
    std::fs::remove_file(bundle).unwrap();
    let report = verify_folder(dir, None).unwrap();
    assert_eq!(report.first[0].seq, Some(Seq(seq.0 / 256 * 256)));
    assert_eq!(report.first[0].what, What::Missing);
}

#[tokio::test]
async fn a_log_that_was_cut_back_contradicts_its_own_past() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    log(dir).await;
    let days = std::fs::read_dir(dir.join("log/checkpoints")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&days).unwrap();
    // An earlier checkpoint of the same size that says otherwise: forged, so its signature does not hold.
    let line = text.lines().next_back().unwrap().replacen("\\n", "\\n1", 1);
    std::fs::write(&days, format!("{text}{line}\n")).unwrap();
    let report = verify_folder(dir, None).unwrap();
    assert!(matches!(report.first[0].what, What::Checkpoint { .. }), "{report}");
}
