//! A data folder made of a backup. Its log is history: nobody knows what was signed after the backup was taken, so the log
//! is put aside as after a rollback, and a gateway goes on under a new origin, with a key of its own, that names it.

use std::io;
use std::path::{Path, PathBuf};

use ledger::Seq;
use ledger::verify::Report;

use crate::backup::{BackupError, Copying, Keys, Mark, PAYLOAD_KEYS, signed_size};
use crate::clock::now_micros;
use crate::disk;
use crate::keystore::{Keystore, KeystoreError};
use crate::log::LogFolder;
use crate::origins::{self, Fresh, Predecessor};
use crate::read::{ReadError, stored_key};
use crate::sealing::random;
use crate::settings::Settings;
use crate::verify::verify_folder;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be read, or the folder not be written.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The same.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The folder given is no backup.
    #[error("`{}` is no backup; give a folder that `tollbook backup` made", .0.display())]
    NotABackup(PathBuf),
    /// The data folder is in use or was.
    #[error("`{}` is not empty; choose an empty data folder with `--data`", .0.display())]
    NotEmpty(PathBuf),
    /// The backup does not verify.
    #[error("the backup does not verify; nothing was restored. Use another one")]
    Damaged(Box<Report>),
    /// The keys do not open.
    #[error(transparent)]
    Keys(#[from] KeystoreError),
    /// What others keep in the folder was not restored.
    #[error(transparent)]
    Beside(io::Error),
    /// The file system failed.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A folder that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The log that a gateway will write from now on.
    pub origin: String,
    /// The log that is history now.
    pub predecessor: Predecessor,
    /// Where it is.
    pub history: PathBuf,
    /// Whether its payloads can be opened.
    pub keys: Keys,
}

/// Makes the data folder `to` of the backup `from`. `beside` puts there what others keep, told when the backup was taken, in
/// seconds since the Unix epoch, and how many records it has; until it is done a gateway finds a folder without a log.
///
/// # Errors
/// When the backup does not verify, or the folder is not empty; nothing is written then.
pub fn restore(
    from: &Path,
    to: &Path,
    beside: &mut dyn FnMut(u64, Seq) -> io::Result<()>,
) -> Result<Restored, RestoreError> {
    let mark = Mark::read(from)?.ok_or_else(|| RestoreError::NotABackup(from.to_owned()))?;
    let report = verify_folder(from, None)?;
    if !report.ok {
        return Err(RestoreError::Damaged(Box::new(report)));
    }
    let failed = |source| RestoreError::Io { path: to.to_owned(), source };
    disk::create_folder(to).map_err(failed)?;
    if std::fs::read_dir(to).map_err(failed)?.next().is_some() {
        return Err(RestoreError::NotEmpty(to.to_owned()));
    }
    let key = stored_key(from)?.ok_or_else(|| ReadError::no_key(from))?;
    let log = LogFolder { path: from.join("log") };
    let signed = signed_size(&log, &key).map_err(failed)?.max(mark.size);
    let mut copy = Copying { from, to, files: 0, bytes: 0, kept: 0 };
    copy.earlier_logs()?;
    copy.folder(Path::new("log"))?;
    // The log's key comes last: until then a gateway finds a folder without a log.
    let history = to.join(origins::folder_of(&mark.origin));
    std::fs::rename(to.join("log"), &history).map_err(failed)?;
    let keys = to.join("keys");
    disk::create_folder(&keys).map_err(failed)?;
    match mark.keys {
        Keys::Payloads => {
            PAYLOAD_KEYS.iter().try_for_each(|name| copy.copy(&Path::new("keys").join(name)))?;
            drop(Keystore::open(&keys)?);
        }
        Keys::None => drop(Keystore::open_or_create(&keys)?),
    }
    beside(mark.taken / 1_000_000, Seq(mark.size)).map_err(RestoreError::Beside)?;
    copy.sync()?;
    let predecessor =
        Predecessor { origin: mark.origin, signed, found: mark.size, reason: "restore".to_owned() };
    let random = |_| failed(io::Error::other("no randomness is available"));
    let name = Settings::at(to).origin_name;
    let fresh = Fresh { name: &name, suffix: self::random().map_err(random)?, now: now_micros() };
    let seed = self::random().map_err(random)?;
    let origin = origins::take_over(&from.join("keys"), &keys, fresh, (seed, predecessor.clone()));
    Ok(Restored { origin: origin.map_err(failed)?, predecessor, history, keys: mark.keys })
}
