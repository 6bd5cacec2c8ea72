//! The Merkle tree of RFC 6962 §2.1: what its hashes are, and its right edge, from which it grows.

use aws_lc_rs::digest::{Context, SHA256};

use crate::ids::Hash;

/// Hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[1]);
    context.update(&left.0);
    context.update(&right.0);
    Hash::from_digest(&context.finish())
}

/// Root of the tree without leaves.
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// Root of a tree or subtree from the roots of its perfect parts, largest first.
pub fn root_of_peaks(peaks: &[Hash]) -> Hash {
    peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
}

/// The roots of the perfect subtrees over some hashes of one level, largest first.
pub fn peaks_of(hashes: &[Hash]) -> Vec<Hash> {
    let mut edge = Edge::default();
    hashes.iter().for_each(|hash| edge.append(*hash));
    edge.peaks
}

/// The right edge of a tree: all that is needed to append and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// One for each set bit of `size`, largest first.
    peaks: Vec<Hash>,
}

impl Edge {
    /// The edge of a tree whose perfect parts are known. `None` if there are not as many as the size has bits.
    pub fn resume(size: u64, peaks: Vec<Hash>) -> Option<Edge> {
        (peaks.len() == size.count_ones() as usize).then_some(Edge { size, peaks })
    }

    /// Appends a leaf's hash.
    pub fn append(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut carry = self.size;
        while carry & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            carry >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    pub fn root(&self) -> Hash {
        root_of_peaks(&self.peaks)
    }
}
