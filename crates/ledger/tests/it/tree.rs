//! The tree and its proofs against RFC 6962's recursive definitions, written down here as the RFC has them.

use expect_test::expect;
use ledger::proof::{ProofError, check_consistency, check_inclusion, consistency, inclusion};
use ledger::tile::TileId;
use ledger::tree::{Edge, empty_root, node_hash};
use ledger::{Hash, leaf_hash};
use proptest::prelude::*;

use crate::shelf::Shelf;

/// Largest power of two below `count`.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// MTH of RFC 6962 §2.1.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(b""),
        [leaf] => *leaf,
        more => {
            let (left, right) = more.split_at(split(more.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// PATH of §2.1.1.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, beside) = match index.checked_sub(left.len()) {
        None => (path(index, left), root(right)),
        Some(index) => (path(index, right), root(left)),
    };
    path.push(beside);
    path
}

/// SUBPROOF of §2.1.2, of a whole tree.
fn growth(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, beside) = match old.checked_sub(left.len()) {
        None | Some(0) => (growth(old, left, whole), root(right)),
        Some(old) => (growth(old, right, false), root(left)),
    };
    proof.push(beside);
    proof
}

fn leaf(number: usize) -> Vec<u8> {
    number.to_string().into_bytes()
}

fn grown(size: usize) -> (Shelf, Vec<Hash>) {
    (Shelf::of((0..size).map(leaf)), (0..size).map(|number| leaf_hash(&leaf(number))).collect())
}

fn edge(leaves: &[Hash]) -> Edge {
    let mut edge = Edge::default();
    leaves.iter().for_each(|leaf| edge.append(*leaf));
    edge
}

fn number(count: usize) -> u64 {
    count.try_into().unwrap()
}

fn check_every_inclusion(tiles: &Shelf, leaves: &[Hash]) {
    let (size, root) = (number(leaves.len()), root(leaves));
    for (index, leaf) in leaves.iter().enumerate() {
        let proof = inclusion(tiles, number(index), size).unwrap();
        assert_eq!(proof, path(index, leaves), "leaf {index} of {size}");
        assert_eq!(
            check_inclusion(*leaf, number(index), size, root, &proof),
            Ok(()),
            "leaf {index} of {size}"
        );
    }
}

fn check_growth(tiles: &Shelf, leaves: &[Hash], old: usize, roots: (Hash, Hash)) {
    let size = leaves.len();
    let heads = ((number(old), roots.0), (number(size), roots.1));
    let proof = consistency(tiles, heads.0.0, heads.1.0).unwrap();
    if old > 0 {
        assert_eq!(proof, growth(old, leaves, true), "{old} to {size}");
    }
    assert_eq!(check_consistency(heads.0, heads.1, &proof), Ok(()), "{old} to {size}");
}

#[test]
fn roots_are_those_of_the_reference_tree() {
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let leaves = inputs.map(leaf_hash);
    let roots: Vec<String> = (0..=8).map(|size| edge(&leaves[..size]).root().to_hex()).collect();
    // As in the test data of Certificate Transparency's reference implementation.
    expect![[r#"
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
        fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
        aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
        d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
        4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
        76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
        ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
        5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"#]]
    .assert_eq(&roots.join("\n"));
    assert_eq!(empty_root().to_hex(), roots[0]);
}

#[test]
fn every_proof_of_small_trees_is_the_rfcs() {
    let mut roots = Vec::new();
    for size in 0..=130 {
        let (tiles, leaves) = grown(size);
        roots.push(root(&leaves));
        assert_eq!(edge(&leaves).root(), roots[size], "{size}");
        check_every_inclusion(&tiles, &leaves);
        (0..=size).for_each(|old| check_growth(&tiles, &leaves, old, (roots[old], roots[size])));
    }
}

#[test]
fn every_changed_bit_of_a_proof_shows() {
    for size in 1..=13 {
        let (tiles, leaves) = grown(size);
        let head = (number(size), root(&leaves));
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = inclusion(&tiles, number(index), head.0).unwrap();
            for (at, bit) in bits(&proof) {
                let checked =
                    check_inclusion(*leaf, number(index), head.0, head.1, &flipped(&proof, at, bit));
                assert_eq!(
                    checked,
                    Err(ProofError::Mismatch),
                    "leaf {index} of {size}, hash {at}, bit {bit}"
                );
            }
        }
        for old in 1..size {
            let before = (number(old), root(&leaves[..old]));
            let proof = consistency(&tiles, before.0, head.0).unwrap();
            for (at, bit) in bits(&proof) {
                let checked = check_consistency(before, head, &flipped(&proof, at, bit));
                assert_eq!(checked, Err(ProofError::Mismatch), "{old} to {size}, hash {at}, bit {bit}");
            }
        }
    }
}

fn bits(proof: &[Hash]) -> impl Iterator<Item = (usize, usize)> {
    (0..proof.len()).flat_map(|at| (0..256).map(move |bit| (at, bit)))
}

fn flipped(proof: &[Hash], at: usize, bit: usize) -> Vec<Hash> {
    let mut proof = proof.to_vec();
    proof[at].0[bit / 8] ^= 1 << (bit % 8);
    proof
}

#[test]
fn proofs_of_another_shape_do_not_hold() {
    let (tiles, leaves) = grown(13);
    let (size, root) = (13, root(&leaves));
    let proof = inclusion(&tiles, 5, size).unwrap();
    let longer: Vec<Hash> = proof.iter().copied().chain([root]).collect();
    let mismatch = Err(ProofError::Mismatch);
    assert_eq!(check_inclusion(leaves[5], 5, size, root, &longer), mismatch);
    assert_eq!(check_inclusion(leaves[5], 5, size, root, &proof[1..]), mismatch);
    assert_eq!(check_inclusion(leaves[5], 5, size, root, &[]), mismatch);
    assert_eq!(check_inclusion(leaves[5], 4, size, root, &proof), mismatch);
    assert_eq!(check_inclusion(leaves[4], 5, size, root, &proof), mismatch);
    assert_eq!(check_inclusion(leaves[5], 13, size, root, &proof), Err(ProofError::Range));
    assert_eq!(check_inclusion(leaves[0], 0, 0, root, &[]), Err(ProofError::Range));
    // An inner node is no leaf: the prefixes of §2.1 keep them apart.
    let joined = [leaves[0].0, leaves[1].0].concat();
    assert_ne!(leaf_hash(&joined), node_hash(&leaves[0], &leaves[1]));

    let before = (6, self::root(&leaves[..6]));
    let proof = consistency(&tiles, 6, size).unwrap();
    let longer: Vec<Hash> = proof.iter().copied().chain([root]).collect();
    assert_eq!(check_consistency(before, (size, root), &longer), mismatch);
    assert_eq!(check_consistency(before, (size, root), &proof[1..]), mismatch);
    assert_eq!(check_consistency(before, (size, root), &[]), mismatch);
    assert_eq!(check_consistency((8, self::root(&leaves[..8])), (size, root), &[]), mismatch);
    assert_eq!(check_consistency((7, before.1), (size, root), &proof), mismatch);
    assert_eq!(check_consistency((6, leaves[0]), (size, root), &proof), mismatch);
    assert_eq!(check_consistency((size, leaves[0]), (size, root), &[]), mismatch);
    assert_eq!(check_consistency((0, empty_root()), (size, root), &proof), mismatch);
    assert_eq!(check_consistency((14, root), (size, root), &[]), Err(ProofError::Range));
}

#[test]
fn proofs_need_sound_tiles() {
    let (tiles, _) = grown(600);
    assert_eq!(inclusion(&tiles, 600, 600), Err(ProofError::Range));
    assert_eq!(consistency(&tiles, 601, 600), Err(ProofError::Range));
    let id = TileId { level: Some(0), index: 1, width: 256 };
    let mut missing = tiles.clone();
    missing.0.remove(&id);
    let mut short = tiles.clone();
    short.0.get_mut(&id).unwrap().truncate(100 * 32);
    let mut ragged = tiles;
    ragged.0.get_mut(&id).unwrap().pop();
    for damaged in [missing, short, ragged] {
        assert_eq!(inclusion(&damaged, 500, 600), Err(ProofError::Tile));
        assert_eq!(consistency(&damaged, 500, 600), Err(ProofError::Tile));
    }
}

#[test]
fn an_edge_goes_on_from_its_peaks() {
    let (_, leaves) = grown(7);
    let peaks = [root(&leaves[..4]), root(&leaves[4..6]), leaves[6]];
    assert_eq!(Edge::resume(7, peaks.to_vec()), Some(edge(&leaves)));
    assert_eq!(Edge::resume(6, peaks.to_vec()), None);
    assert_eq!(Edge::resume(7, Vec::new()), None);
}

fn check_places(size: usize, places: &[usize]) {
    let (tiles, leaves) = grown(size);
    let root = root(&leaves);
    assert_eq!(edge(&leaves).root(), root, "{size}");
    for index in places.iter().map(|place| place % size) {
        let proof = inclusion(&tiles, number(index), number(size)).unwrap();
        assert_eq!(proof, path(index, &leaves), "leaf {index} of {size}");
        assert_eq!(check_inclusion(leaves[index], number(index), number(size), root, &proof), Ok(()));
        check_growth(&tiles, &leaves, index, (self::root(&leaves[..index]), root));
    }
}

#[test]
fn proofs_climb_to_the_third_level_of_tiles() {
    check_places(65_536 + 300, &[257, 65_536]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn proofs_of_larger_trees_are_the_rfcs(size in 131usize..3_000, places in prop::array::uniform4(any::<usize>())) {
        check_places(size, &places);
    }
}
