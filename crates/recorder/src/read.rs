//! Reading a published log and its payloads. Needs no lock and works beside a running gateway.
//!
//! A reader sees the log as of one checkpoint, whose signature it has checked, and moves on by `poll`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ledger::checkpoint::NoteError;
use ledger::payload::PayloadError;
use ledger::proof::TileSource;
use ledger::tile::{self, TileId, WIDTH};
use ledger::{Checkpoint, Hash, Leaf, Payload, Seq, VerifierKey};

use crate::disk;
use crate::keystore::{Kek, Keystore, KeystoreError};
use crate::log::LogFolder;
use crate::packs::Packs;
use crate::seal::{self, BlobError};
use crate::state::Snapshot;
use crate::verify::known_key;
use crate::wal::tail;

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system failed.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no key to check the log with.
    #[error("no key for the log in `{}`; give one with `--vkey`", path.display())]
    NoKey {
        /// The data folder.
        path: PathBuf,
    },
    /// The folder holds no ledger.
    #[error("nothing is recorded in `{}` yet; use a client that goes through Tollbook, then look again", .0.display())]
    Nothing(PathBuf),
    /// The folder was restored, and no gateway has begun its new log.
    #[error("nothing is recorded yet after the restore; the history is in `{}`, and `tollbook serve` begins the new log", .0.display())]
    Restored(PathBuf),
    /// There is no checkpoint to check the log against.
    #[error("there is no `{}`; a gateway that starts on this folder puts the last one back", path.display())]
    NoCheckpoint {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key that the folder has is none.
    #[error("`{}` holds no key of a log; give one with `--vkey`", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The checkpoint is not what it should be.
    #[error("the log's checkpoint does not hold")]
    Checkpoint(#[from] NoteError),
    /// A tile is missing or cut off.
    #[error("`{0}` is missing or damaged; run `tollbook verify`")]
    Tile(String),
    /// There is no such record yet.
    #[error("there is no record {0}")]
    NoRecord(Seq),
    /// A payload is missing.
    #[error("the payload of record {0} is missing; run `tollbook verify`")]
    Missing(Seq),
    /// A payload is not the one that its record names.
    #[error("the payload of record {0} was altered; run `tollbook verify`")]
    Altered(Seq),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeystoreError),
    /// A payload does not open.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An opened payload is not one.
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl ReadError {
    /// Why a folder has no key: it holds no ledger at all, or the key is missing.
    pub(crate) fn no_key(dir: &Path) -> ReadError {
        let path = dir.to_owned();
        if dir.join("log").exists() { ReadError::NoKey { path } } else { ReadError::Nothing(path) }
    }
}

/// Reads a published log.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    log: LogFolder,
    keys: PathBuf,
    vkey: VerifierKey,
    note: Option<String>,
    size: u64,
    /// Opened at the first payload; locked for the time of a look-up.
    keystore: Mutex<Option<Keystore>>,
    /// Locked while a payload is read.
    packs: Mutex<Packs>,
}

impl Reader {
    /// Opens the log of a data folder, which has been recorded into at least once; or a log that was put aside in one, by
    /// the folder that holds its `checkpoint`.
    ///
    /// # Errors
    /// When there is no log, or its checkpoint does not hold.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ReadError> {
        let dir = dir.as_ref();
        let (log, vkey, keys) = if dir.join("checkpoint").is_file() {
            let log = LogFolder { path: dir.to_owned() };
            let vkey = known_key(&log)?.ok_or_else(|| ReadError::NoKey { path: dir.to_owned() })?;
            (log, vkey, dir.join("..").join("keys"))
        } else {
            let vkey = stored_key(dir)?.ok_or_else(|| ReadError::no_key(dir))?;
            (LogFolder { path: dir.join("log") }, vkey, dir.join("keys"))
        };
        let packs = Mutex::new(Packs::new(log.path.join("pack")));
        let mut reader = Self {
            dir: dir.to_owned(),
            log,
            keys,
            vkey,
            note: None,
            size: 0,
            keystore: Mutex::new(None),
            packs,
        };
        reader.poll()?;
        Ok(reader)
    }

    /// Another reader of the same log as of the same checkpoint, for another thread: they wait for each other nowhere.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            dir: self.dir.clone(),
            log: self.log.clone(),
            keys: self.keys.clone(),
            vkey: self.vkey.clone(),
            note: self.note.clone(),
            size: self.size,
            keystore: Mutex::new(None),
            packs: Mutex::new(Packs::new(self.log.path.join("pack"))),
        }
    }

    /// Moves on to the newest checkpoint; gives its size.
    ///
    /// # Errors
    /// When the checkpoint cannot be read or does not hold.
    pub fn poll(&mut self) -> Result<u64, ReadError> {
        let path = self.log.path.join("checkpoint");
        let note = self.log.checkpoint().map_err(|source| ReadError::Io { path, source })?;
        if note != self.note
            && let Some(note) = note
        {
            self.size = Checkpoint::verify(&note, &self.vkey)?.size;
            self.note = Some(note);
        }
        Ok(self.size)
    }

    /// Number of leaves that are written at this moment, published or not: what a reader waits for who wants to see
    /// what happened just now. Reads the newest segments of the write-ahead log; one frame may still be on its way to the disk.
    ///
    /// # Errors
    /// When the write-ahead log cannot be read.
    pub fn written(&self) -> Result<u64, ReadError> {
        let io_error = |source| ReadError::Io { path: self.dir.clone(), source };
        let anchor = Snapshot::load(&self.dir).map_err(io_error)?.map(|snapshot| snapshot.anchor());
        tail::written(&self.dir.join("wal/0"), anchor.unwrap_or_default()).map_err(io_error)
    }

    /// Number of leaves under the checkpoint that this reader has seen; 0 before the first one.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// That checkpoint, a signed note (C2SP tlog-checkpoint); none before the first one.
    pub fn checkpoint(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The log's public key.
    pub const fn vkey(&self) -> &VerifierKey {
        &self.vkey
    }

    /// The log's origin.
    pub fn origin(&self) -> &str {
        &self.vkey.name
    }

    /// The log's tiles, for proofs.
    pub const fn tiles(&self) -> &impl TileSource {
        &self.log
    }

    /// The leaves from `from` up to the checkpoint, in order.
    pub const fn leaves(&self, from: Seq) -> Leaves<'_> {
        Leaves { log: &self.log, size: self.size, next: from.0, bundle: None }
    }

    /// One leaf.
    ///
    /// # Errors
    /// When it is not under the checkpoint, or its bundle cannot be read.
    pub fn leaf(&self, seq: Seq) -> Result<Vec<u8>, ReadError> {
        match self.leaves(seq).next() {
            Some(found) => found.map(|(_, leaf)| leaf),
            None => Err(ReadError::NoRecord(seq)),
        }
    }

    /// The sealed payload of a leaf as stored; none if no pack has one.
    ///
    /// # Errors
    /// When a pack cannot be read.
    pub fn blob(&self, seq: Seq) -> Result<Option<Vec<u8>>, ReadError> {
        let mut packs = lock(&self.packs);
        let read = match packs.find(seq.0) {
            Ok(Some((pack, entry))) => pack.read(&entry).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        read.map_err(|source| ReadError::Io { path: self.log.path.join("pack"), source })
    }

    /// The payload of a leaf, opened; none if it has none, or its key was destroyed.
    ///
    /// # Errors
    /// When it is missing, altered, or does not open.
    pub fn payload(&self, seq: Seq, leaf: &Leaf) -> Result<Option<Payload>, ReadError> {
        let Some(reference) = leaf.blobs.first() else { return Ok(None) };
        let is_meant = |bytes: &Vec<u8>| Hash::of(bytes) == reference.digest;
        let sealed = match self.blob(seq)?.filter(is_meant) {
            Some(sealed) => sealed,
            None => {
                // A start after a crash may have cut the pack since this reader looked.
                lock(&self.packs).forget();
                let sealed = self.blob(seq)?.ok_or(ReadError::Missing(seq))?;
                Some(sealed).filter(is_meant).ok_or(ReadError::Altered(seq))?
            }
        };
        let Some(kek) = self.kek(&sealed)? else { return Ok(None) };
        let opened = Bytes::from(seal::open(&kek, &sealed)?);
        Ok(Some(Payload::decode(&opened)?))
    }

    /// Like [`Reader::payload`], in memory bounded by `limit`: of a payload that is larger, the fields without spans and body.
    ///
    /// # Errors
    /// As there; but what lies beyond the limit is not looked at.
    pub fn payload_within(&self, seq: Seq, leaf: &Leaf, limit: usize) -> Result<Option<Payload>, ReadError> {
        let Some(reference) = leaf.blobs.first() else { return Ok(None) };
        let length = seal::beginning(limit);
        let found = {
            let mut packs = lock(&self.packs);
            packs.find(seq.0).and_then(|found| match found {
                Some((pack, entry)) => pack.read_beginning(&entry, length).map(Some),
                None => Ok(None),
            })
        };
        let found = found.map_err(|source| ReadError::Io { path: self.log.path.join("pack"), source })?;
        let is_meant =
            |bytes: &Vec<u8>| bytes.len() as u64 != reference.size || Hash::of(bytes) == reference.digest;
        // What is not there may be there in a moment.
        let Some(sealed) = found.filter(is_meant) else { return self.payload(seq, leaf) };
        let Some(kek) = self.kek(&sealed)? else { return Ok(None) };
        let opened = Bytes::from(seal::open_beginning(&kek, &sealed, reference.size, limit)?);
        let is_whole = opened.len() < limit && sealed.len() as u64 == reference.size;
        Ok(Some(if is_whole { Payload::decode(&opened)? } else { Payload::decode_fields(&opened)? }))
    }

    fn kek(&self, sealed: &[u8]) -> Result<Option<Arc<Kek>>, ReadError> {
        let mut keystore = lock(&self.keystore);
        let keystore = match &mut *keystore {
            Some(keystore) => keystore,
            none => none.insert(Keystore::open(&self.keys)?),
        };
        Ok(keystore.find(seal::kek_of(sealed)?)?)
    }
}

/// The key in a data folder, if there is one.
pub(crate) fn stored_key(dir: &Path) -> Result<Option<VerifierKey>, ReadError> {
    let path = dir.join("keys").join("log.vkey");
    let read = disk::read_if_present(&path);
    let bytes = read.map_err(|source| ReadError::Io { path: path.clone(), source })?;
    let key = bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().parse());
    key.transpose().map_err(|_| ReadError::Key { path })
}

/// Leaves in order. After an error it ends.
#[derive(Debug)]
pub struct Leaves<'a> {
    log: &'a LogFolder,
    size: u64,
    next: u64,
    bundle: Option<(u64, Vec<Vec<u8>>)>,
}

impl Leaves<'_> {
    fn read(&mut self) -> Result<Vec<u8>, ReadError> {
        let id = TileId::bundle(self.next, self.size);
        let damaged = || ReadError::Tile(id.path());
        if self.bundle.as_ref().is_none_or(|(index, _)| *index != id.index) {
            let bytes = self.log.tile(id).ok_or_else(damaged)?;
            let entries = tile::entries(&bytes).ok_or_else(damaged)?;
            self.bundle = Some((id.index, entries.into_iter().map(<[u8]>::to_vec).collect()));
        }
        let at = usize::try_from(self.next % WIDTH).unwrap_or(usize::MAX);
        let entry = self.bundle.as_mut().and_then(|(_, entries)| entries.get_mut(at));
        entry.map(std::mem::take).ok_or_else(damaged)
    }
}

impl Iterator for Leaves<'_> {
    type Item = Result<(Seq, Vec<u8>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.size {
            return None;
        }
        let seq = Seq(self.next);
        let read = self.read();
        self.next = if read.is_ok() { self.next + 1 } else { self.size };
        Some(read.map(|leaf| (seq, leaf)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is cached is only ever replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
