//! Leaves to files: names, contents, and going on after a stop.

use expect_test::expect;
use ledger::sequence::{ResumeError, Sequencer};
use ledger::tile::{self, TileId};
use ledger::{Hash, leaf_hash};
use proptest::prelude::*;

use crate::shelf::Shelf;

fn leaf(number: u64) -> Vec<u8> {
    format!("{{\"n\":{number}}}").into_bytes()
}

/// The full tiles and those of the size: what a log keeps once partial tiles are cleared away.
fn kept(shelf: &Shelf, size: u64) -> Shelf {
    let current = |id: &TileId| {
        let level = id.level.unwrap_or(0);
        id.width == tile::WIDTH || id.index * tile::WIDTH + id.width == size >> (8 * level)
    };
    Shelf(shelf.0.iter().filter(|(id, _)| current(id)).map(|(id, bytes)| (*id, bytes.clone())).collect())
}

fn paths(size: u64) -> String {
    let shelf = Shelf::of((0..size).map(leaf));
    let mut paths: Vec<String> =
        shelf.0.iter().map(|(id, bytes)| format!("{} {}\n", id.path(), bytes.len())).collect();
    paths.sort();
    paths.concat()
}

#[test]
fn files_are_those_of_tlog_tiles() {
    let at = |level, index, width| TileId { level, index, width }.path();
    expect!["tile/0/x001/x234/067"].assert_eq(&at(Some(0), 1_234_067, 256));
    expect!["tile/entries/x001/x234/067.p/8"].assert_eq(&at(None, 1_234_067, 8));
    expect!["tile/3/000.p/1"].assert_eq(&at(Some(3), 0, 1));
    expect!["tile/1/999"].assert_eq(&at(Some(1), 999, 256));
    expect!["tile/1/x001/000.p/255"].assert_eq(&at(Some(1), 1000, 255));
    expect!["tile/63/x018/x446/x744/x073/x709/x551/615"].assert_eq(&at(Some(63), u64::MAX, 256));

    expect![""].assert_eq(&paths(0));
    expect![[r#"
        tile/0/000.p/1 32
        tile/entries/000.p/1 9
    "#]]
    .assert_eq(&paths(1));
    expect![[r#"
        tile/0/000 8192
        tile/1/000.p/1 32
        tile/entries/000 2706
    "#]]
    .assert_eq(&paths(256));
    expect![[r#"
        tile/0/000 8192
        tile/0/001.p/1 32
        tile/1/000.p/1 32
        tile/entries/000 2706
        tile/entries/001.p/1 11
    "#]]
    .assert_eq(&paths(257));
}

#[test]
fn tiles_hold_the_hashes_and_entries_in_order() {
    let shelf = Shelf::of((0..700).map(leaf));
    let hashes = |index: u64, width| -> Vec<u8> {
        (index * 256..index * 256 + width).flat_map(|number| leaf_hash(&leaf(number)).0).collect()
    };
    assert_eq!(shelf.0[&TileId { level: Some(0), index: 1, width: 256 }], hashes(1, 256));
    assert_eq!(shelf.0[&TileId { level: Some(0), index: 2, width: 188 }], hashes(2, 188));
    let bundle = &shelf.0[&TileId { level: None, index: 2, width: 188 }];
    assert_eq!(tile::entries(bundle).unwrap(), (512..700).map(leaf).collect::<Vec<_>>());
    assert_eq!(&bundle[..4], b"\x00\x09{\"");
    let above = &shelf.0[&TileId { level: Some(1), index: 0, width: 2 }];
    let roots = [0, 1].map(|index| {
        ledger::tree::root_of_peaks(&ledger::tree::peaks_of(
            &tile::decode_hashes(&hashes(index, 256)).unwrap(),
        ))
    });
    assert_eq!(tile::decode_hashes(above).unwrap(), roots);
}

#[test]
fn stopping_at_any_size_changes_nothing() {
    let mut whole = Sequencer::default();
    let mut shelf = Shelf::default();
    for size in 0..=600 {
        let mut resumed = Sequencer::resume(size, &shelf).unwrap();
        assert_eq!((resumed.size(), resumed.root()), (whole.size(), whole.root()));
        assert_eq!(resumed.publish(), None);
        for number in size..size + 3 {
            resumed.append(&leaf(number)).unwrap();
        }
        let mut after = shelf.clone();
        after.put(resumed.publish());
        assert_eq!(kept(&after, size + 3), Shelf::of((0..size + 3).map(leaf)), "{size}");
        whole.append(&leaf(size)).unwrap();
        shelf.put(whole.publish());
        shelf = kept(&shelf, size + 1);
    }
}

#[test]
fn a_full_tile_serves_for_a_partial_one() {
    let mut later = Shelf::of((0..512).map(leaf));
    for level in [Some(0), None] {
        let bytes = later.0.remove(&TileId { level, index: 1, width: 256 }).unwrap();
        later.0.insert(TileId { level, index: 1, width: 44 }, bytes);
    }
    let one = TileId { level: Some(1), index: 0, width: 2 };
    let bytes = later.0.remove(&one).unwrap();
    later.0.insert(TileId { width: 1, ..one }, bytes);
    let mut resumed = Sequencer::resume(300, &later).unwrap();
    (300..310).for_each(|number| assert!(resumed.append(&leaf(number)).is_ok()));
    let published = resumed.publish().unwrap();
    let expected = Shelf::of((0..310).map(leaf));
    assert!(published.files.iter().all(|file| expected.0[&file.id] == file.bytes));
}

#[test]
fn damaged_tiles_are_named() {
    let sound = Shelf::of((0..70_000).map(leaf));
    let edge = [(Some(0), 273, 112), (Some(1), 1, 17), (Some(2), 0, 1), (None, 273, 112)];
    for (level, index, width) in edge {
        let id = TileId { level, index, width };
        let named = ResumeError::Tile(id.path());
        let mut missing = sound.clone();
        let bytes = missing.0.remove(&id).unwrap();
        assert_eq!(Sequencer::resume(70_000, &missing).unwrap_err(), named);
        let mut ragged = sound.clone();
        ragged.0.insert(id, bytes[..bytes.len() - 1].to_vec());
        assert_eq!(Sequencer::resume(70_000, &ragged).unwrap_err(), named);
        let mut empty = sound.clone();
        empty.0.insert(id, Vec::new());
        assert_eq!(Sequencer::resume(70_000, &empty).unwrap_err(), named);
    }
}

#[test]
fn what_a_tile_cannot_hold_is_not_appended() {
    let mut sequencer = Sequencer::default();
    assert!(sequencer.append(&[b'x'; 65_536]).is_err());
    assert_eq!((sequencer.size(), sequencer.publish()), (0, None));
    let hash = sequencer.append(&[b'x'; 65_535]).unwrap();
    assert_eq!(sequencer.root(), hash);
    let files = sequencer.publish().unwrap().files;
    assert_eq!(files.last().unwrap().bytes.len(), 65_537);
    assert_eq!(tile::entries(&files.last().unwrap().bytes).unwrap(), [[b'x'; 65_535]]);
}

#[test]
fn damaged_bundles_and_tiles_are_refused() {
    assert_eq!(tile::entries(b""), Some(Vec::new()));
    assert_eq!(tile::entries(b"\x00\x00\x00\x01a"), Some(vec![b"".as_slice(), b"a"]));
    assert_eq!(tile::entries(b"\x00"), None);
    assert_eq!(tile::entries(b"\x00\x02a"), None);
    assert_eq!(tile::decode_hashes(&[0; 64]), Some(vec![Hash([0; 32]); 2]));
    assert_eq!(tile::decode_hashes(&[0; 63]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn when_it_was_published_does_not_matter(steps in prop::collection::vec(0u64..400, 1..12)) {
        let mut sequencer = Sequencer::default();
        let mut shelf = Shelf::default();
        for step in &steps {
            for number in sequencer.size()..sequencer.size() + step {
                sequencer.append(&leaf(number)).unwrap();
            }
            shelf.put(sequencer.publish());
        }
        let size = steps.iter().sum();
        prop_assert_eq!(kept(&shelf, size), Shelf::of((0..size).map(leaf)));
    }
}
