//! Opening the index's SQLite files: permissions, journal, schema version.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::IndexError;

/// Schema of both sorts of files; a change means that the index is made anew.
pub(crate) const SCHEMA: i64 = 2;

/// How long one statement waits for another process before it fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prepared statements kept per connection.
const STATEMENTS: usize = 16;

/// Makes the folder, readable by its owner only.
pub(crate) fn make_folder(dir: &Path) -> Result<(), IndexError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| IndexError::file(dir, e))
}

/// Opens `path` for writing, making it with `schema` if it is not there or empty.
pub(crate) fn writable(path: &Path, schema: &str) -> Result<Connection, IndexError> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(|e| IndexError::file(path, e))?;
    let failed = |e| IndexError::of(path, e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(PATIENCE).map_err(failed)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // Rows are written once and in order: with 16 MiB an index is made no faster than with two.
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -2048;")
        .map_err(failed)?;
    if version(&db, path)? == 0 && is_empty(&db).map_err(failed)? {
        db.execute_batch(&format!("BEGIN IMMEDIATE; {schema} PRAGMA user_version = {SCHEMA}; COMMIT;"))
            .map_err(failed)?;
    }
    known(&db, path)?;
    Ok(db)
}

/// Opens `path` for reading; `None` if it is not there or was made but not filled yet.
pub(crate) fn readable(path: &Path) -> Result<Option<Connection>, IndexError> {
    if !path.exists() {
        return Ok(None);
    }
    let failed = |e| IndexError::of(path, e);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(PATIENCE).map_err(failed)?;
    db.execute_batch("PRAGMA cache_size = -16384; PRAGMA mmap_size = 268435456;").map_err(failed)?;
    if version(&db, path)? == 0 && is_empty(&db).map_err(failed)? {
        return Ok(None);
    }
    known(&db, path)?;
    Ok(Some(db))
}

/// What SQLite says of a file whose structure is broken, for what is broken inside a row.
pub(crate) fn damaged() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), None)
}

fn version(db: &Connection, path: &Path) -> Result<i64, IndexError> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|e| IndexError::of(path, e))
}

fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

fn known(db: &Connection, path: &Path) -> Result<(), IndexError> {
    match version(db, path)? {
        SCHEMA => Ok(()),
        found => Err(IndexError::Schema { path: path.to_owned(), found, known: SCHEMA }),
    }
}
