//! A copy of what is published, made beside a running gateway and without its lock: to verify, to read, to restore from.
//!
//! It holds the log up to one checkpoint, its payloads, the logs before it, and, if wished, the keys that open payloads. It
//! never holds the key that signs: nobody can go on with the log from a copy, by mistake or otherwise. What is in the
//! copy already and cannot have changed is not copied again. The checkpoint is put in place last, so a copy that was broken
//! off is the one before.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use ledger::proof::TileSource as _;
use ledger::tile::{TileId, WIDTH};
use ledger::verify::Report;
use ledger::{Checkpoint, VerifierKey};
use serde::{Deserialize, Serialize};

use crate::clock::now_micros;
use crate::disk;
use crate::log::LogFolder;
use crate::pack::{self, PackIndex};
use crate::read::{ReadError, Reader};
use crate::verify::verify_folder;
use crate::version;

/// Says that a folder is a backup, and how far it goes.
const MARK: &str = "backup.json";

/// Keys that open payloads.
pub(crate) const PAYLOAD_KEYS: [&str; 2] = ["root.key", "keystore.json"];

/// What names the log: not secret.
const PUBLIC_KEYS: [&str; 2] = ["origins.json", "log.vkey"];

/// Which keys go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keys {
    /// Those that open payloads: whoever has the copy can read everything in it.
    Payloads,
    /// None: the copy verifies, and nobody can read its payloads without the data folder's keys.
    None,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file system failed.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What others keep in the folder was not copied.
    #[error(transparent)]
    Beside(io::Error),
    /// Nothing was published yet.
    #[error("`{}` holds no checkpoint yet; start a gateway on it first", .0.display())]
    Nothing(PathBuf),
    /// The copy would be part of what is copied.
    #[error("`{}` lies within the data folder; choose another place, best on another disk", .0.display())]
    Within(PathBuf),
    /// The folder holds something else.
    #[error("`{}` is neither empty nor a backup; choose another folder", .0.display())]
    NotABackup(PathBuf),
    /// Another backup is being made there.
    #[error("`{}` is in use by another process; try again when it has ended", .0.display())]
    InUse(PathBuf),
    /// The folder is a backup of another log.
    #[error("the backup is of log `{found}`, this is `{wanted}`; keep it, and choose another folder")]
    OtherLog {
        /// The backup's.
        found: String,
        /// The data folder's.
        wanted: String,
    },
    /// The data folder was set back.
    #[error("the backup has {backup} records, the log {log}: the data folder was set back; keep the backup")]
    Behind {
        /// Records in the backup.
        backup: u64,
        /// Records under the log's checkpoint.
        log: u64,
    },
}

/// What stands in `backup.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mark {
    v: u32,
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) taken: u64,
    pub(crate) keys: Keys,
}

/// A backup that was made, and whether it verifies.
#[derive(Debug)]
pub struct Backup {
    /// The log's origin.
    pub origin: String,
    /// Records in it.
    pub size: u64,
    /// Files that were copied now.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Files that were there already.
    pub kept: u64,
    /// What a check of the whole copy found.
    pub report: Report,
}

/// Copies the published log of the data folder `from` into `to`, or brings an earlier backup there up to date, and checks it
/// whole. Works beside a running gateway. `beside` puts there what others keep, before the backup counts.
///
/// # Errors
/// When something cannot be read or written, or the folder holds something else. A copy that does not verify is no error:
/// the report says so.
pub fn back_up(
    from: &Path,
    to: &Path,
    keys: Keys,
    beside: &mut dyn FnMut() -> io::Result<()>,
) -> Result<Backup, BackupError> {
    let reader = Reader::open(from)?;
    let note = reader.checkpoint().ok_or_else(|| BackupError::Nothing(from.to_owned()))?;
    let (origin, size) = (reader.origin().to_owned(), reader.size());
    let _lock = take(from, to)?;
    let earlier = Mark::read(to)?;
    if let Some(earlier) = &earlier {
        earlier.precedes(&origin, size)?;
    }
    let mut copy = Copying { from, to, files: 0, bytes: 0, kept: 0 };
    copy.earlier_logs()?;
    copy.tiles(size)?;
    copy.packs(size)?;
    copy.folder(Path::new("log/checkpoints"))?;
    copy.keys(keys)?;
    beside().map_err(BackupError::Beside)?;
    copy.sync()?;
    copy.finish(note, &Mark { v: 1, origin: origin.clone(), size, taken: now_micros(), keys })?;
    if let Some(earlier) = earlier {
        copy.forget_partials(earlier.size, size)?;
    }
    let report = verify_folder(to, Some(reader.vkey().clone()))?;
    let Copying { files, bytes, kept, .. } = copy;
    Ok(Backup { origin, size, files, bytes, kept, report })
}

impl Mark {
    /// The mark of a folder, if it is a backup.
    pub(crate) fn read(folder: &Path) -> Result<Option<Mark>, BackupError> {
        let path = folder.join(MARK);
        let failed = |source| BackupError::Io { path: path.clone(), source };
        let Some(bytes) = disk::read_if_present(&path).map_err(failed)? else { return Ok(None) };
        version::check(&bytes, 1).map_err(failed)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into()))
    }

    fn precedes(&self, origin: &str, size: u64) -> Result<(), BackupError> {
        if self.origin != origin {
            return Err(BackupError::OtherLog { found: self.origin.clone(), wanted: origin.to_owned() });
        }
        if self.size > size {
            return Err(BackupError::Behind { backup: self.size, log: size });
        }
        Ok(())
    }
}

/// Whether a folder is a backup.
pub(crate) fn is_backup(folder: &Path) -> bool {
    folder.join(MARK).exists()
}

/// Takes the folder for this backup alone.
fn take(from: &Path, to: &Path) -> Result<File, BackupError> {
    let failed = |source| BackupError::Io { path: to.to_owned(), source };
    disk::create_folder(to).map_err(failed)?;
    let (inner, outer) = (to.canonicalize().map_err(failed)?, from.canonicalize().map_err(failed)?);
    if inner.starts_with(&outer) {
        // An empty folder that was made just now; one with something in it stays.
        let _ = std::fs::remove_dir(to);
        return Err(BackupError::Within(to.to_owned()));
    }
    let is_empty = std::fs::read_dir(to).map_err(failed)?.next().is_none();
    // A first backup that was broken off has the lock and no mark yet.
    if !is_empty && !is_backup(to) && !to.join("backup.lock").exists() {
        return Err(BackupError::NotABackup(to.to_owned()));
    }
    let lock = disk::open_or_create(&to.join("backup.lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(to.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// A copy that is being made.
#[derive(Debug)]
pub(crate) struct Copying<'a> {
    pub(crate) from: &'a Path,
    pub(crate) to: &'a Path,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) kept: u64,
}

impl Copying<'_> {
    /// Logs that were put aside: they do not change any more.
    pub(crate) fn earlier_logs(&mut self) -> Result<(), BackupError> {
        for entry in list(self.from)? {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("log-")) {
                self.earlier_log(Path::new(&name))?;
            }
        }
        Ok(())
    }

    /// One of them, without the index that who reads it makes.
    fn earlier_log(&mut self, below: &Path) -> Result<(), BackupError> {
        for entry in list(&self.from.join(below))?.iter().filter(|entry| entry.file_name() != "index") {
            let path = below.join(entry.file_name());
            if entry.path().is_dir() { self.folder(&path)? } else { self.file(&path)? }
        }
        Ok(())
    }

    /// Tiles and bundles of a tree of this size. Wider partial ones than that tree has are cut.
    fn tiles(&mut self, size: u64) -> Result<(), BackupError> {
        let log = LogFolder { path: self.from.join("log") };
        for id in tiles(size) {
            let path = Path::new("log").join(id.path());
            if id.width == WIDTH {
                self.file(&path)?;
                continue;
            }
            let bytes = log.tile(id).ok_or_else(|| ReadError::Tile(id.path()))?;
            self.place(&path, &bytes)?;
        }
        Ok(())
    }

    /// Packs with payloads of a tree of this size. A finished one never changes; an open one is copied anew.
    fn packs(&mut self, size: u64) -> Result<(), BackupError> {
        let folder = self.from.join("log/pack");
        let failed = |source| BackupError::Io { path: folder.clone(), source };
        let packs = if folder.is_dir() { pack::list(&folder).map_err(failed)? } else { Vec::new() };
        for (_, path) in packs.iter().filter(|(first, _)| *first < size) {
            let below = path.strip_prefix(self.from).unwrap_or(path);
            let copied = self.to.join(below);
            let is_finished = PackIndex::load(&copied).is_ok_and(|copied| copied.is_finished());
            if is_finished { self.file(below)? } else { self.copy(below)? }
        }
        Ok(())
    }

    /// A whole folder.
    pub(crate) fn folder(&mut self, below: &Path) -> Result<(), BackupError> {
        for entry in list(&self.from.join(below))? {
            let path = below.join(entry.file_name());
            let kind = entry.file_type().map_err(|source| BackupError::Io { path: entry.path(), source })?;
            if kind.is_dir() {
                self.folder(&path)?;
            } else {
                self.file(&path)?;
            }
        }
        Ok(())
    }

    fn keys(&mut self, keys: Keys) -> Result<(), BackupError> {
        for name in PUBLIC_KEYS {
            self.copy(&Path::new("keys").join(name))?;
        }
        for name in PAYLOAD_KEYS {
            let path = Path::new("keys").join(name);
            match keys {
                Keys::Payloads => self.copy(&path)?,
                // They may be there from a backup before.
                Keys::None => {
                    let path = self.to.join(path);
                    disk::remove_if_present(&path).map_err(|source| BackupError::Io { path, source })?;
                }
            }
        }
        Ok(())
    }

    /// Copies a file that never changes once it is there, unless it is there already.
    fn file(&mut self, below: &Path) -> Result<(), BackupError> {
        let path = self.from.join(below);
        let length = std::fs::metadata(&path).map_err(|source| BackupError::Io { path, source })?.len();
        if std::fs::metadata(self.to.join(below)).is_ok_and(|copied| copied.len() == length) {
            self.kept += 1;
            return Ok(());
        }
        self.copy(below)
    }

    /// Copies a file, in the place of what is there.
    pub(crate) fn copy(&mut self, below: &Path) -> Result<(), BackupError> {
        let (path, copied) = (self.from.join(below), self.to.join(below));
        let bytes = copy_file(&path, &copied).map_err(|source| BackupError::Io { path: copied, source })?;
        self.count(bytes);
        Ok(())
    }

    fn place(&mut self, below: &Path, bytes: &[u8]) -> Result<(), BackupError> {
        let path = self.to.join(below);
        let placed = disk::folder_of(&path).and_then(|()| disk::put(&path, &mut &*bytes));
        let bytes = placed.map_err(|source| BackupError::Io { path, source })?;
        self.count(bytes);
        Ok(())
    }

    fn count(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Makes everything durable at once: cheaper than file by file, for the gateway beside it too.
    pub(crate) fn sync(&self) -> Result<(), BackupError> {
        let failed = |source| BackupError::Io { path: self.to.to_owned(), source };
        let folder = File::open(self.to).map_err(failed)?;
        rustix::fs::syncfs(&folder).map_err(|error| failed(error.into()))
    }

    fn finish(&self, note: &str, mark: &Mark) -> Result<(), BackupError> {
        let failed = |source| BackupError::Io { path: self.to.to_owned(), source };
        disk::replace_durably(&self.to.join("log/checkpoint"), note.as_bytes()).map_err(failed)?;
        let text = serde_json::to_string(mark).map_err(|error| failed(error.into()))?;
        disk::replace_durably(&self.to.join(MARK), text.as_bytes()).map_err(failed)
    }

    /// Removes what only the checkpoint before needed.
    fn forget_partials(&self, before: u64, now: u64) -> Result<(), BackupError> {
        let kept: Vec<TileId> = tiles(now).filter(|id| id.width < WIDTH).collect();
        for id in tiles(before).filter(|id| id.width < WIDTH && !kept.contains(id)) {
            let path = self.to.join("log").join(id.path());
            disk::remove_if_present(&path).map_err(|source| BackupError::Io { path, source })?;
        }
        Ok(())
    }
}

/// All tiles and bundles of a tree.
fn tiles(size: u64) -> impl Iterator<Item = TileId> {
    let of = move |level: Option<u32>| {
        let shift = level.unwrap_or_default().saturating_mul(WIDTH.trailing_zeros());
        let nodes = size.checked_shr(shift).unwrap_or_default();
        let rest = nodes % WIDTH;
        let full = (0..nodes / WIDTH).map(move |index| TileId { level, index, width: WIDTH });
        full.chain((rest > 0).then_some(TileId { level, index: nodes / WIDTH, width: rest }))
    };
    [None].into_iter().chain((0..8).map(Some)).flat_map(of)
}

fn list(folder: &Path) -> Result<Vec<std::fs::DirEntry>, BackupError> {
    let failed = |source| BackupError::Io { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    entries.collect::<io::Result<Vec<_>>>().map_err(failed)
}

fn copy_file(from: &Path, to: &Path) -> io::Result<u64> {
    let mut from = File::open(from)?;
    disk::folder_of(to)?;
    disk::put(to, &mut from)
}

/// The size that a log's newest note has, whether or not the log goes so far.
pub(crate) fn signed_size(log: &LogFolder, key: &VerifierKey) -> io::Result<u64> {
    let Some(note) = log.newest_note()? else { return Ok(0) };
    let checkpoint = Checkpoint::verify(&note, key);
    checkpoint
        .map(|checkpoint| checkpoint.size)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use ledger::tile::WIDTH;

    use super::tiles;

    #[test]
    fn the_tiles_of_a_tree() {
        let paths = |size| tiles(size).map(|id| id.path()).collect::<Vec<_>>();
        assert_eq!(paths(0), [""; 0]);
        assert_eq!(paths(3), ["tile/entries/000.p/3", "tile/0/000.p/3"]);
        let two = ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"];
        assert_eq!(paths(WIDTH), two);
        assert_eq!(paths(WIDTH * WIDTH + 1).len(), 2 * 257 + 1 + 1);
    }
}
