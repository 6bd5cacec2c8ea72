//! Checking a whole log: every leaf, every tile, every payload, the signed head. Needs no secrets.
//!
//! What the leaves say of each other is `ledger::verify`'s part. This adds what only files can show: that
//! the tiles are those that the leaves make, and that the packs hold what the leaves name.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use ledger::proof::TileSource as _;
use ledger::sequence::{Sequencer, TileFile};
use ledger::tile::{self, TileId, WIDTH};
use ledger::verify::{Audit, Report, What};
use ledger::{Checkpoint, Hash, Leaf, Seq, VerifierKey};

use crate::log::LogFolder;
use crate::origins::{self, Predecessor};
use crate::packs::Packs;
use crate::read::{ReadError, stored_key};

/// Verifies the log of a data folder. Only `log/` is needed if a key is given; without one the folder's own
/// is taken, which proves less: whoever can change the log may have changed that too.
///
/// # Errors
/// When there is no key or no log. Whatever is wrong with the log is in the report.
pub fn verify_folder(dir: impl AsRef<Path>, vkey: Option<VerifierKey>) -> Result<Report, ReadError> {
    let dir = dir.as_ref();
    let key = match vkey {
        Some(key) => key,
        None => stored_key(dir)?.ok_or_else(|| ReadError::no_key(dir))?,
    };
    let log = LogFolder { path: dir.join("log") };
    if !log.path.exists()
        && let Some((_, history)) = Predecessor::put_aside(dir).ok().and_then(|logs| logs.into_iter().next())
    {
        return Err(ReadError::Restored(history));
    }
    check(log, &key)
}

/// Verifies a log by itself: the folder that holds its `checkpoint`. Without a key, the one that the data folder around it
/// has for the log is taken.
///
/// # Errors
/// As [`verify_folder`].
pub fn verify_log(log: &Path, vkey: Option<VerifierKey>) -> Result<Report, ReadError> {
    let log = LogFolder { path: log.to_owned() };
    let key = match vkey {
        Some(key) => key,
        None => known_key(&log)?.ok_or_else(|| ReadError::NoKey { path: log.path.clone() })?,
    };
    check(log, &key)
}

/// The key of a log, from the list of the data folder that it is in.
pub(crate) fn known_key(log: &LogFolder) -> Result<Option<VerifierKey>, ReadError> {
    let io_error = |source| ReadError::Io { path: log.path.clone(), source };
    let note = log.checkpoint().map_err(io_error)?;
    let Some(checkpoint) = note.and_then(|note| Checkpoint::parse(&note).ok()) else { return Ok(None) };
    let keys = log.path.join("..").join("keys");
    match origins::key_of(&keys, &checkpoint.origin).map_err(io_error)? {
        Some(key) => Ok(Some(key)),
        None => stored_key(&log.path.join("..")),
    }
}

fn check(log: LogFolder, key: &VerifierKey) -> Result<Report, ReadError> {
    let io_error = |source| ReadError::Io { path: log.path.clone(), source };
    let note = log.checkpoint().map_err(io_error)?;
    let note = note.ok_or_else(|| ReadError::NoCheckpoint { path: log.path.join("checkpoint") })?;
    let size = Checkpoint::verify(&note, key).map_or(0, |checkpoint| checkpoint.size);
    let earlier = log.last_notes().map_err(io_error)?;
    let packs = Packs::new(log.path.join("pack"));
    let mut check = Check {
        log,
        packs,
        audit: Audit::new(),
        sequencer: Sequencer::default(),
        size,
        altered: BTreeSet::new(),
    };
    let mut earlier: Vec<Checkpoint> = earlier.iter().filter_map(|note| check.earlier(note, key)).collect();
    earlier.sort_by_key(|checkpoint| checkpoint.size);
    check.leaves(&earlier)?;
    Ok(check.audit.finish(&note, key))
}

struct Check {
    log: LogFolder,
    packs: Packs,
    audit: Audit,
    sequencer: Sequencer,
    size: u64,
    /// Leaves that are not those of the tree.
    altered: BTreeSet<u64>,
}

impl Check {
    /// An earlier checkpoint that the log must still agree with.
    fn earlier(&mut self, note: &str, key: &VerifierKey) -> Option<Checkpoint> {
        match Checkpoint::verify(note, key) {
            Ok(checkpoint) if checkpoint.size <= self.size => Some(checkpoint),
            // One that was signed while this runs, or just before a crash.
            Ok(_) => None,
            Err(error) => {
                self.audit.fault(None, What::Checkpoint { reason: error.to_string() });
                None
            }
        }
    }

    fn leaves(&mut self, earlier: &[Checkpoint]) -> Result<(), ReadError> {
        let mut earlier = earlier.iter().peekable();
        let mut start = 0;
        while start < self.size {
            let id = TileId::bundle(start, self.size);
            let bytes = self.log.tile(id).unwrap_or_default();
            let mut rest = bytes.as_slice();
            for seq in start..start + id.width {
                let entry = next_entry(&mut rest);
                if entry.is_none() {
                    self.audit.fault(Some(Seq(seq)), What::Missing);
                }
                self.leaf(Seq(seq), entry.unwrap_or_default())?;
                if earlier
                    .next_if(|checkpoint| checkpoint.size == seq + 1)
                    .is_some_and(|old| old.root != self.audit.root())
                {
                    self.audit.fault(Some(Seq(seq)), What::Root);
                }
            }
            start += id.width;
            self.tiles();
        }
        Ok(())
    }

    fn leaf(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), ReadError> {
        // An entry comes from a bundle, whose lengths have 16 bits.
        let leaf = match self.sequencer.append(bytes) {
            Ok(hash) => self.audit.hashed_leaf(hash, bytes),
            Err(_) => {
                self.audit.fault(Some(seq), What::Altered);
                self.audit.leaf(bytes)
            }
        };
        let Some(leaf) = leaf.filter(|leaf| !leaf.blobs.is_empty()) else { return Ok(()) };
        let found = self
            .stored_digest(seq, &leaf)
            .map_err(|source| ReadError::Io { path: self.log.path.join("pack"), source })?;
        self.audit.blob(seq, &leaf, 0, found);
        Ok(())
    }

    /// The digest of a stored payload; the wrong one stands for a damaged place in the pack.
    fn stored_digest(&mut self, seq: Seq, leaf: &Leaf) -> io::Result<Option<Hash>> {
        let Some((pack, entry)) = self.packs.find(seq.0)? else { return Ok(None) };
        let named = leaf.blobs.first().map(|blob| blob.digest);
        let (declared, found) = pack.digests(&entry)?;
        Ok(Some(if declared == named { found } else { Hash([0; 32]) }))
    }

    /// Compares the tiles that the leaves so far make with those on disk.
    fn tiles(&mut self) {
        let Some(made) = self.sequencer.publish() else { return };
        let is_last = made.size == self.size;
        for file in &made.files {
            let is_hashes = file.id.level.is_some();
            if is_hashes && (file.id.width == WIDTH || is_last) {
                self.tile(file);
            }
        }
    }

    fn tile(&mut self, made: &TileFile) {
        let level = made.id.level.unwrap_or_default();
        let leaves_each = WIDTH.saturating_pow(level);
        let below = |at: u64| at.saturating_mul(leaves_each)..(at + 1).saturating_mul(leaves_each);
        let first = made.id.index.saturating_mul(WIDTH);
        let stored = self.log.tile(made.id).and_then(|bytes| tile::decode_hashes(&bytes)).unwrap_or_default();
        let expected = tile::decode_hashes(&made.bytes).unwrap_or_default();
        for (at, hash) in (first..).zip(&expected) {
            let place = usize::try_from(at - first).unwrap_or(usize::MAX);
            // A leaf that was named already bends every hash above it.
            if stored.get(place) != Some(hash) && self.altered.range(below(at)).next().is_none() {
                let seq = below(at).start;
                self.altered.insert(seq);
                self.audit.fault(Some(Seq(seq)), What::Altered);
            }
        }
    }
}

/// Takes an entry off a bundle, as far as it is whole.
fn next_entry<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<2>()?;
    let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = after;
    Some(entry)
}
