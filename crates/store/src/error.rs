//! What can go wrong with the index, and what to do then. None of it touches the ledger.

use std::path::{Path, PathBuf};

/// Why the index cannot be used. The index holds nothing that the ledger does not: `tollbook index rebuild`
/// is always safe.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Another process holds the index open for writing.
    #[error("another process is writing the index in `{}`; stop it, or only read", .0.display())]
    Locked(PathBuf),
    /// There is no index to read.
    #[error("there is no index in `{}`; `tollbook index rebuild` makes one from the ledger", .0.display())]
    Missing(PathBuf),
    /// SQLite found the file's structure broken.
    #[error("index file `{}` is damaged; `tollbook index rebuild` makes the index anew from the ledger", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's finding.
        #[source]
        source: rusqlite::Error,
    },
    /// The file has another schema than this program's.
    #[error(
        "index file `{}` has schema {found}, this program uses {known}; use the program that wrote it, \
         or `tollbook index rebuild`", path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Schema of this program.
        known: i64,
    },
    /// The file was written for another ledger.
    #[error("index file `{}` belongs to another ledger; `tollbook index rebuild` makes the index anew", .0.display())]
    Foreign(PathBuf),
    /// Entries must come in order of their seq, and only once within a batch.
    #[error("entry {found} came after entry {last}")]
    Order {
        /// The seq before.
        last: u64,
        /// The seq that came.
        found: u64,
    },
    /// The index was opened for reading only.
    #[error("the index in `{}` is open for reading only", .0.display())]
    ReadOnly(PathBuf),
    /// A file or folder cannot be used.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// SQLite failed in another way (disk full, locked, no memory).
    #[error("index file `{}` failed", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
}

impl IndexError {
    /// Turns SQLite's answer about `path` into what it means for the user.
    pub(crate) fn of(path: &Path, source: rusqlite::Error) -> IndexError {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                IndexError::Damaged { path, source }
            }
            _ => IndexError::Failed { path, source },
        }
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> IndexError {
        IndexError::File { path: path.to_owned(), source }
    }
}
