//! Leaves in order become tiles: the log as it is written. Pure: it says which files hold which bytes.

use crate::ids::Hash;
use crate::proof::TileSource;
use crate::record::leaf_hash;
use crate::tile::{self, TileId, WIDTH};
use crate::tree::{Edge, peaks_of, root_of_peaks};

/// A file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileFile {
    /// Which; a partial one is replaced by wider ones until it is full.
    pub id: TileId,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a publication writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Files that are new since the last publication, full ones first. Write them before the checkpoint.
    pub files: Vec<TileFile>,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// The right edge of the log in tiles.
#[derive(Debug, Clone, Default)]
pub struct Sequencer {
    edge: Edge,
    /// The hashes of each level's tile under way, from level 0.
    levels: Vec<Vec<Hash>>,
    /// The bundle under way.
    bundle: Vec<u8>,
    /// Full tiles since the last publication.
    full: Vec<TileFile>,
    published: u64,
}

/// Why a log cannot be continued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// A tile is missing or cut off.
    #[error("`{0}` is missing or damaged")]
    Tile(String),
}

/// A leaf is longer than a tile can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the leaf is longer than a tile can hold")]
pub struct TooLong;

impl Sequencer {
    /// Continues a log of that size from its right-edge tiles.
    ///
    /// # Errors
    /// [`ResumeError::Tile`] names the file.
    pub fn resume(size: u64, tiles: &impl TileSource) -> Result<Sequencer, ResumeError> {
        let mut levels = Vec::new();
        let mut peaks = Vec::new();
        let mut hashes = size;
        while hashes > 0 {
            let level = u32::try_from(levels.len()).unwrap_or(u32::MAX);
            let width = hashes % WIDTH;
            let mut edge = Vec::new();
            if width > 0 {
                let id = TileId { level: Some(level), index: hashes / WIDTH, width };
                let damaged = || ResumeError::Tile(id.path());
                edge = tiles.tile(id).and_then(|bytes| tile::decode_hashes(&bytes)).ok_or_else(damaged)?;
                edge.truncate(usize::try_from(width).unwrap_or(usize::MAX));
                if edge.len() as u64 != width {
                    return Err(damaged());
                }
            }
            peaks.push(peaks_of(&edge));
            levels.push(edge);
            hashes /= WIDTH;
        }
        let peaks: Vec<Hash> = peaks.into_iter().rev().flatten().collect();
        let edge = Edge::resume(size, peaks).ok_or_else(|| ResumeError::Tile("tile".to_owned()))?;
        let bundle = Sequencer::resume_bundle(size, tiles)?;
        Ok(Sequencer { edge, levels, bundle, full: Vec::new(), published: size })
    }

    fn resume_bundle(size: u64, tiles: &impl TileSource) -> Result<Vec<u8>, ResumeError> {
        let width = size % WIDTH;
        if width == 0 {
            return Ok(Vec::new());
        }
        let id = TileId { level: None, index: size / WIDTH, width };
        let damaged = || ResumeError::Tile(id.path());
        let bytes = tiles.tile(id).ok_or_else(damaged)?;
        let entries = tile::entries(&bytes).ok_or_else(damaged)?;
        let count = usize::try_from(width).unwrap_or(usize::MAX);
        let mut bundle = Vec::with_capacity(bytes.len());
        for entry in entries.get(..count).ok_or_else(damaged)? {
            if !tile::push_entry(&mut bundle, entry) {
                return Err(damaged());
            }
        }
        Ok(bundle)
    }

    /// Appends a leaf and gives its hash.
    ///
    /// # Errors
    /// [`TooLong`] beyond 65,535 bytes; nothing is appended.
    pub fn append(&mut self, leaf: &[u8]) -> Result<Hash, TooLong> {
        if !tile::push_entry(&mut self.bundle, leaf) {
            return Err(TooLong);
        }
        let hash = leaf_hash(leaf);
        self.edge.append(hash);
        let size = self.edge.size();
        if size.is_multiple_of(WIDTH) {
            let id = TileId { level: None, index: size / WIDTH - 1, width: WIDTH };
            self.full.push(TileFile { id, bytes: std::mem::take(&mut self.bundle) });
        }
        self.push(hash);
        Ok(hash)
    }

    /// Pushes a leaf's hash into level 0, and the root of each tile that this fills into the level above.
    fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        let mut count = self.edge.size();
        for level in 0.. {
            if self.levels.len() <= level {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(level) else { return };
            hashes.push(hash);
            if !count.is_multiple_of(WIDTH) {
                return;
            }
            count /= WIDTH;
            let level = u32::try_from(level).unwrap_or(u32::MAX);
            let id = TileId { level: Some(level), index: count - 1, width: WIDTH };
            let filled = std::mem::take(hashes);
            self.full.push(TileFile { id, bytes: tile::encode_hashes(&filled) });
            hash = root_of_peaks(&peaks_of(&filled));
        }
    }

    /// What is to be written for a checkpoint of the present size; `None` if nothing came since the last one.
    pub fn publish(&mut self) -> Option<Published> {
        let size = self.edge.size();
        if size == self.published {
            return None;
        }
        self.published = size;
        let mut files = std::mem::take(&mut self.full);
        let mut hashes = size;
        for (level, edge) in (0..).zip(&self.levels) {
            if !edge.is_empty() {
                let id = TileId { level: Some(level), index: hashes / WIDTH, width: edge.len() as u64 };
                files.push(TileFile { id, bytes: tile::encode_hashes(edge) });
            }
            hashes /= WIDTH;
        }
        if !self.bundle.is_empty() {
            let id = TileId { level: None, index: size / WIDTH, width: size % WIDTH };
            files.push(TileFile { id, bytes: self.bundle.clone() });
        }
        Some(Published { files, size, root: self.edge.root() })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        self.edge.root()
    }
}
