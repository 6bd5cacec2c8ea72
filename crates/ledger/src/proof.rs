//! Inclusion and consistency proofs (RFC 6962 §2.1.1, §2.1.2): made from tiles, checked from nothing but hashes.

use crate::ids::Hash;
use crate::tile::{HEIGHT, TileId, decode_hashes};
use crate::tree::{node_hash, peaks_of, root_of_peaks};

/// Gives the bytes of a tile. A full tile may serve where a partial one is asked for.
pub trait TileSource {
    /// The tile's bytes; `None` if it cannot be read.
    fn tile(&self, id: TileId) -> Option<Vec<u8>>;
}

/// Why a proof could not be made or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A tile is missing or cut off.
    #[error("a tile is missing or damaged")]
    Tile,
    /// The numbers do not belong to one tree.
    #[error("the place lies outside the tree")]
    Range,
    /// The proof leads to another root.
    #[error("the proof does not lead to the root")]
    Mismatch,
}

/// The hashes beside the way from leaf `index` to the root of the tree of `size` leaves.
///
/// # Errors
/// See [`ProofError`].
pub fn inclusion(tiles: &impl TileSource, index: u64, size: u64) -> Result<Vec<Hash>, ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let tree = Tree { tiles, size };
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(tree.subtree(middle, end)?);
            end = middle;
        } else {
            path.push(tree.subtree(start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The hashes that show that the tree of `old` leaves is the beginning of the tree of `new` leaves.
///
/// # Errors
/// See [`ProofError`].
pub fn consistency(tiles: &impl TileSource, old: u64, new: u64) -> Result<Vec<Hash>, ProofError> {
    if old > new {
        return Err(ProofError::Range);
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let tree = Tree { tiles, size: new };
    let mut path = Vec::new();
    let (mut start, mut end) = (0, new);
    let mut complete = true;
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(tree.subtree(middle, end)?);
            end = middle;
        } else {
            path.push(tree.subtree(start, middle)?);
            start = middle;
            complete = false;
        }
    }
    if !complete {
        path.push(tree.subtree(start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks an inclusion proof (RFC 9162 §2.1.3.2).
///
/// # Errors
/// See [`ProofError`].
pub fn check_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    root: Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Range);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Mismatch);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == root { Ok(()) } else { Err(ProofError::Mismatch) }
}

/// Checks a consistency proof (RFC 9162 §2.1.4.2).
///
/// # Errors
/// See [`ProofError`].
pub fn check_consistency(old: (u64, Hash), new: (u64, Hash), path: &[Hash]) -> Result<(), ProofError> {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size {
        return Err(ProofError::Range);
    }
    if old_size == new_size {
        return if path.is_empty() && old_root == new_root { Ok(()) } else { Err(ProofError::Mismatch) };
    }
    if old_size == 0 {
        return if path.is_empty() { Ok(()) } else { Err(ProofError::Mismatch) };
    }
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, path)
    } else {
        let (first, rest) = path.split_first().ok_or(ProofError::Mismatch)?;
        (*first, rest)
    };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Mismatch);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && old_hash == old_root && new_hash == new_root { Ok(()) } else { Err(ProofError::Mismatch) }
}

struct Tree<'a, T> {
    tiles: &'a T,
    size: u64,
}

impl<T: TileSource> Tree<'_, T> {
    /// Root of the leaves `start..end`, where `start` is a multiple of the largest power of two in the range, as all ranges of
    /// RFC 6962's recursion are.
    fn subtree(&self, start: u64, end: u64) -> Result<Hash, ProofError> {
        let mut peaks = Vec::new();
        let mut at = start;
        while at < end {
            let height = (end - at).ilog2().min(if at == 0 { 63 } else { at.trailing_zeros() });
            peaks.push(self.node(height, at >> height)?);
            at += 1 << height;
        }
        Ok(root_of_peaks(&peaks))
    }

    /// The node at that height above the leaves, counted from the left: the root of some hashes of one tile.
    fn node(&self, height: u32, index: u64) -> Result<Hash, ProofError> {
        let (level, above) = (height / HEIGHT, height % HEIGHT);
        let first = index << above;
        let id = TileId::holding(level, first, self.size);
        let hashes = self.tiles.tile(id).and_then(|bytes| decode_hashes(&bytes)).ok_or(ProofError::Tile)?;
        let from = usize::try_from(first % crate::tile::WIDTH).map_err(|_| ProofError::Range)?;
        let part = hashes.get(from..from + (1 << above)).ok_or(ProofError::Tile)?;
        peaks_of(part).first().copied().ok_or(ProofError::Tile)
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}
