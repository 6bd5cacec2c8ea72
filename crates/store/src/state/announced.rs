//! The number of the newest change, in a file beside the database: whoever has read up to it needs not ask SQLite.
//!
//! A change announces its number before it is committed, and numbers only rise, since changes are made one after the other. So
//! what is committed is never newer than what is announced, in whichever process; what is announced and was never committed
//! (a process that ended in the midst) only has readers ask SQLite until the next change.
//!
//! The file is no part of the database: to open and close another file of SQLite's would drop the locks that this process has on it
//! (POSIX), and a number is not worth a transaction. Like SQLite's own, the file must stay while anybody has the database open: who
//! removes it by hand has readers miss what other processes change until they write themselves.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// The open file.
#[derive(Debug)]
pub(super) struct Announced {
    file: File,
}

impl Announced {
    /// Opens the file (0600) beside the database, made empty if it is not there.
    pub(super) fn beside(database: &Path) -> io::Result<Announced> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path_of(database))?;
        let (whose, made) = (std::fs::metadata(database)?, file.metadata()?);
        if (whose.uid(), whose.gid()) != (made.uid(), made.gid()) {
            // Made by root for a database that is somebody else's, as SQLite does with its own. Others may not, and need not.
            let _ = fchown(&file, Some(whose.uid()), Some(whose.gid()));
        }
        Ok(Announced { file })
    }

    /// Whether no change after this one can have been committed. `false` if that is not known.
    pub(super) fn has_none_after(&self, change: i64) -> bool {
        let mut newest = [0; 8];
        self.file.read_exact_at(&mut newest, 0).is_ok() && i64::from_le_bytes(newest) <= change
    }

    /// Announces a change that is about to be committed.
    pub(super) fn announce(&self, change: i64) -> io::Result<()> {
        self.file.write_all_at(&change.to_le_bytes(), 0)
    }
}

/// Where the file is.
pub(super) fn path_of(database: &Path) -> PathBuf {
    database.with_extension("change")
}

/// Removes the file beside a database that has gone elsewhere: there it is made anew.
pub(super) fn forget_beside(database: &Path) -> io::Result<()> {
    match std::fs::remove_file(path_of(database)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Announced;

    #[test]
    fn what_was_never_announced_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("state.sqlite");
        std::fs::write(&database, b"").unwrap();
        let announced = Announced::beside(&database).unwrap();
        assert!(!announced.has_none_after(0) && !announced.has_none_after(i64::MAX));
        announced.announce(7).unwrap();
        let other = Announced::beside(&database).unwrap();
        assert!(!other.has_none_after(6) && other.has_none_after(7) && other.has_none_after(8));
    }
}
