//! Tiles (C2SP tlog-tiles): the tree's hashes and entries in files that never change.

use crate::ids::Hash;
use crate::record::LEAF_BYTES;

/// Hashes in a full tile, entries in a full bundle.
pub const WIDTH: u64 = 256;

/// Levels of the tree in one tile.
pub const HEIGHT: u32 = 8;

/// A tile's place: `width` is 1 to 256; below 256 it is a partial tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TileId {
    /// Level of hash tiles; `None` for a bundle of entries.
    pub level: Option<u32>,
    /// Place within the level.
    pub index: u64,
    /// Hashes or entries in it.
    pub width: u64,
}

impl TileId {
    /// The path below the log's folder.
    pub fn path(&self) -> String {
        let level = self.level.map_or_else(|| "entries".to_owned(), |level| level.to_string());
        let partial = if self.width < WIDTH { format!(".p/{}", self.width) } else { String::new() };
        format!("tile/{level}/{}{partial}", index_path(self.index))
    }

    /// The tiles of a level in a tree of that size that hold node `at` of the level (in units of the tile's hashes).
    pub fn holding(level: u32, at: u64, tree_size: u64) -> TileId {
        let hashes = tree_size.checked_shr(HEIGHT * level).unwrap_or(0);
        let index = at / WIDTH;
        TileId { level: Some(level), index, width: hashes.saturating_sub(index * WIDTH).min(WIDTH) }
    }

    /// The bundle that holds an entry in a tree of that size.
    pub fn bundle(entry: u64, tree_size: u64) -> TileId {
        let index = entry / WIDTH;
        TileId { level: None, index, width: tree_size.saturating_sub(index * WIDTH).min(WIDTH) }
    }
}

/// Three digits a folder, all but the last with an `x` before them.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    path
}

/// The bytes of a hash tile.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile; `None` if the bytes are no whole number of hashes.
pub fn decode_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.iter().map(|hash| Hash(*hash)).collect())
}

/// Appends an entry to a bundle: 16-bit length, big-endian, then the entry. `false`: it is too long.
#[must_use]
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else { return false };
    debug_assert!(entry.len() <= LEAF_BYTES);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// The entries of a bundle; `None` if it is cut off.
pub fn entries(bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = after;
    }
    Some(entries)
}
