//! `state.json`: the book at the start of a segment, so that segments before it are not needed any more.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::book::{Book, StoredBook};
use crate::wal::scan::Anchor;
use crate::{disk, faults, version};

/// A snapshot that a start begins from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    v: u32,
    pub(crate) origin: String,
    segment: u64,
    first_seq: u64,
    book: StoredBook,
}

impl Snapshot {
    pub(crate) fn new(origin: &str, anchor: Anchor, book: &Book) -> Self {
        let Anchor { segment, first_seq } = anchor;
        Self { v: 1, origin: origin.to_owned(), segment, first_seq, book: book.into() }
    }

    /// Reads the snapshot of a data folder, if it has one.
    pub(crate) fn load(dir: &Path) -> io::Result<Option<Self>> {
        let Some(bytes) = disk::read_if_present(&dir.join("state.json"))? else { return Ok(None) };
        let damaged =
            |error| io::Error::other(format!("it is damaged ({error}); restore the data folder from a copy"));
        version::check(&bytes, 1)?;
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Replaces the snapshot of a data folder; durable on return.
    pub(crate) fn save(&self, dir: &Path) -> io::Result<()> {
        faults::at("state.save")?;
        let text = serde_json::to_string(self)?;
        disk::replace_durably(&dir.join("state.json"), text.as_bytes())
    }

    pub(crate) const fn anchor(&self) -> Anchor {
        Anchor { segment: self.segment, first_seq: self.first_seq }
    }

    pub(crate) fn into_book(self) -> Book {
        self.book.into()
    }
}
