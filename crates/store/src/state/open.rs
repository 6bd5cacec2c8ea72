//! Opening and migrating the file.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StateError;

/// One step per version; step `n` brings a file from version `n` to `n + 1`. Never edited, only added to.
const STEPS: &[&str] = &[
    include_str!("state.sql"),
    include_str!("pins.sql"),
    include_str!("logins.sql"),
    include_str!("journal.sql"),
    include_str!("budgets.sql"),
    include_str!("holds.sql"),
    include_str!("connections.sql"),
    include_str!("assertions.sql"),
    include_str!("operators.sql"),
    include_str!("hold_states.sql"),
    include_str!("events.sql"),
    include_str!("hold_prolonged.sql"),
    include_str!("hold_tasks.sql"),
    include_str!("runs_of_keys.sql"),
    include_str!("client_uses.sql"),
    include_str!("first_lists.sql"),
];

/// How long a write waits for another process.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives the writer and the reader of an up-to-date file.
pub(super) fn open(folder: &Path, path: &Path) -> Result<(Connection, Connection), StateError> {
    let file_failed = |path: &Path, source| StateError::File { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| file_failed(folder, e))?;
    // Only what is not there is opened here: to close a file of SQLite's drops the locks that this process has on it (POSIX).
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(file_failed(path, error)),
        _ => {}
    }
    let mut writer = connect(path)?;
    let failed = |source| StateError::of(path, source);
    writer
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(failed)?;
    migrate(&mut writer, path)?;
    Ok((writer, reader(path)?))
}

/// A connection that reads a file which is up to date.
pub(super) fn reader(path: &Path) -> Result<Connection, StateError> {
    let reader = connect(path)?;
    reader.execute_batch("PRAGMA query_only = ON;").map_err(|source| StateError::of(path, source))?;
    Ok(reader)
}

/// A connection to a file that is there.
pub(super) fn connect(path: &Path) -> Result<Connection, StateError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |source| StateError::of(path, source);
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(PATIENCE).map_err(failed)?;
    Ok(db)
}

fn migrate(writer: &mut Connection, path: &Path) -> Result<(), StateError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let failed = |source| StateError::of(path, source);
    // Another process may be at it: the version is read where nobody else can write.
    let within = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let done = version(&within, path)?;
    for step in STEPS.iter().skip(done) {
        within.execute_batch(step).map_err(failed)?;
    }
    within.execute_batch(&format!("PRAGMA user_version = {known};")).map_err(failed)?;
    within.commit().map_err(failed)
}

/// How many steps a file has taken; none that this program does not know.
pub(super) fn version(db: &Connection, path: &Path) -> Result<usize, StateError> {
    let failed = |source| StateError::of(path, source);
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let done = usize::try_from(found).ok().filter(|done| *done <= STEPS.len());
    done.ok_or_else(|| StateError::Newer { path: path.to_owned(), found, known })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::STEPS;

    #[test]
    fn clients_that_had_logged_somebody_in_are_known_by_it() {
        let db = Connection::open_in_memory().unwrap();
        let step = STEPS.iter().position(|step| step.contains("clients_used")).unwrap();
        for step in &STEPS[..step] {
            db.execute_batch(step).unwrap();
        }
        db.execute_batch(
            "INSERT INTO clients (id, name, redirects, created)
               VALUES ('now', '', '[]', 1), ('before', '', '[]', 2), ('never', '', '[]', 3);
             INSERT INTO runs (id, kind, principal, issuer, groups, actors, audience, created, expires, minted_by, changed)
               VALUES (x'01', 'user', 'a', 'i', '[]', '[]', '[]', 1, 2, 'user:a (i) by login with before', 1),
                      (x'02', 'user', 'a', 'i', '[]', '[]', '[]', 1, 2, 'user:a (i) with key never', 2);
             INSERT INTO refreshes (digest, run, client) VALUES (x'00', x'02', 'now');",
        )
        .unwrap();
        db.execute_batch(STEPS[step]).unwrap();
        let mut read = db.prepare("SELECT id FROM clients WHERE used IS NOT NULL ORDER BY id").unwrap();
        let used: Vec<String> = read.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(used, ["before", "now"]);
    }
}
