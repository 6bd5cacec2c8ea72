use std::collections::HashMap;

use ledger::proof::TileSource;
use ledger::sequence::{Published, Sequencer};
use ledger::tile::TileId;

/// The tiles of a log, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shelf(pub HashMap<TileId, Vec<u8>>);

impl Shelf {
    /// The tiles over leaves, as one publication gives them.
    pub fn of<L: AsRef<[u8]>>(leaves: impl IntoIterator<Item = L>) -> Shelf {
        let mut sequencer = Sequencer::default();
        for leaf in leaves {
            sequencer.append(leaf.as_ref()).unwrap();
        }
        let mut shelf = Shelf::default();
        shelf.put(sequencer.publish());
        shelf
    }

    pub fn put(&mut self, published: Option<Published>) {
        let files = published.into_iter().flat_map(|published| published.files);
        self.0.extend(files.map(|file| (file.id, file.bytes)));
    }
}

impl TileSource for Shelf {
    fn tile(&self, id: TileId) -> Option<Vec<u8>> {
        self.0.get(&id).cloned()
    }
}
