//! Finding payloads in packs, also while the newest pack grows.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::io;
use std::path::PathBuf;

use crate::pack::{self, Entry, PackIndex};

/// Pack indexes kept in memory.
const KEPT: usize = 16;

/// The packs of a log, listed and loaded as needed.
#[derive(Debug)]
pub(crate) struct Packs {
    folder: PathBuf,
    listed: BTreeMap<u64, PathBuf>,
    loaded: HashMap<u64, PackIndex>,
}

impl Packs {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, listed: BTreeMap::new(), loaded: HashMap::new() }
    }

    /// The pack that holds the payload of a leaf, and where; none if no pack does.
    pub(crate) fn find(&mut self, seq: u64) -> io::Result<Option<(&mut PackIndex, Entry)>> {
        let mut found = self.look(seq)?;
        if found.is_none() && self.folder.is_dir() {
            self.listed = pack::list(&self.folder)?.into_iter().collect();
            found = self.look(seq)?;
        }
        Ok(found.and_then(|(first, entry)| Some((self.loaded.get_mut(&first)?, entry))))
    }

    /// Forgets everything, e.g. because a start has cut a pack.
    pub(crate) fn forget(&mut self) {
        self.listed.clear();
        self.loaded.clear();
    }

    fn look(&mut self, seq: u64) -> io::Result<Option<(u64, Entry)>> {
        let Some((first, path)) = self.listed.range(..=seq).next_back() else { return Ok(None) };
        if self.loaded.len() >= KEPT && !self.loaded.contains_key(first) {
            self.loaded.clear();
        }
        let index = match self.loaded.entry(*first) {
            hash_map::Entry::Occupied(slot) => slot.into_mut(),
            hash_map::Entry::Vacant(slot) => slot.insert(PackIndex::load(path)?),
        };
        if index.entry(seq).is_none() && !index.is_finished() {
            index.extend()?;
        }
        Ok(index.entry(seq).map(|entry| (*first, entry)))
    }
}
