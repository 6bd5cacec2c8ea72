//! The state in backups, and what of it may be used again when it is restored.
//!
//! A copy is a moment of the past. Nobody knows what was revoked, spent or used up since, so a state that is restored keeps who
//! and what there is (operators, keys, runs, pins, what was decided) and nothing that lets anybody in or through: secrets do not
//! hold any more, and nothing waits or is approved.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ledger::Seq;
use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::keys::time;
use super::{Deed, FILE, State, StateError, announced, events, holds, open};

/// Name of the copy in a backup: not that of the state, so that nobody uses it as one.
const COPY: &str = "state.backup";

/// A copy of a state, in a backup.
#[derive(Debug)]
pub struct StateCopy {
    path: PathBuf,
}

/// How a state is restored.
#[derive(Debug, Clone, Copy)]
pub struct Restoring<'a> {
    /// Who does it, as in [`super::Action`].
    pub who: &'a str,
    /// When, in seconds since the Unix epoch.
    pub now: u64,
    /// When the backup was taken.
    pub taken: u64,
    /// Records in the backup's log: an action that was recorded beyond is recorded again.
    pub records: Seq,
}

/// What does not hold any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// Runs that were live.
    pub runs: usize,
    /// Service keys that were valid: each needs another secret.
    pub keys: usize,
    /// Operators who had a password: each needs a link to choose another one.
    pub operators: usize,
    /// Calls that waited for people, or were approved and not used.
    pub holds: usize,
    /// Servers that were connected: each is to be connected again.
    pub servers: Vec<String>,
}

impl StateCopy {
    /// Copies the state of the data folder `data`, if it has one, into `folder`, in the place of the copy there: as of one moment,
    /// beside whoever writes to it. Only a sound copy takes the place.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn make(data: &Path, folder: &Path) -> Result<Option<StateCopy>, StateError> {
        // A copy of a backup has what the backup has.
        let from = [FILE, COPY].into_iter().map(|name| data.join(name)).find(|path| path.exists());
        let Some(from) = from else {
            StateCopy::remove(folder)?;
            return Ok(None);
        };
        let to = folder.join(COPY);
        let fresh = folder.join(format!("{COPY}.part"));
        // SQLite reads the name as a text.
        let named = fresh.to_str().ok_or_else(|| failed(&fresh, io::ErrorKind::InvalidFilename.into()))?;
        // It fills an empty file, and would make one that others can read.
        emptied(&fresh).map_err(|source| failed(&fresh, source))?;
        let db = open::connect(&from)?;
        open::version(&db, &from)?;
        let filled = db.execute("VACUUM INTO ?", [named]);
        filled.map_err(|source| StateError::of(&from, source))?;
        check(&fresh)?;
        File::open(&fresh).and_then(|file| file.sync_all()).map_err(|source| failed(&fresh, source))?;
        fs::rename(&fresh, &to).map_err(|source| failed(&to, source))?;
        Ok(Some(StateCopy { path: to }))
    }

    /// Removes a copy from a backup, if there is one.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn remove(folder: &Path) -> Result<(), StateError> {
        let path = folder.join(COPY);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, error)),
            _ => Ok(()),
        }
    }

    /// The copy in a backup, if there is one and it is sound.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(folder: &Path) -> Result<Option<StateCopy>, StateError> {
        let path = folder.join(COPY);
        if !path.exists() {
            return Ok(None);
        }
        check(&path)?;
        Ok(Some(StateCopy { path }))
    }

    /// Makes the state of a data folder that has none of this copy, and ends what must not hold any more. The state is there when
    /// that is done, and not before.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn restore(&self, data: &Path, how: Restoring<'_>) -> Result<Ended, StateError> {
        let (fresh, path) = (data.join(format!("{FILE}.part")), data.join(FILE));
        let copied = emptied(&fresh).and_then(|mut to| io::copy(&mut File::open(&self.path)?, &mut to));
        copied.map_err(|source| failed(&fresh, source))?;
        let state = State::open_at(data, fresh.clone())?.acting(how.who, how.now);
        let ended = state.write(|within, change| end_all(&state, within, change, how))?;
        // What stayed in the write-ahead log would not go along: the copy as it was, with all that lets somebody in.
        state.take_over_log()?;
        drop(state);
        fs::rename(&fresh, &path).map_err(|source| failed(&path, source))?;
        announced::forget_beside(&fresh).map_err(|source| failed(&fresh, source))?;
        Ok(ended)
    }
}

fn end_all(
    state: &State,
    within: &Transaction<'_>,
    change: i64,
    how: Restoring<'_>,
) -> rusqlite::Result<Ended> {
    let now = time(how.now);
    let sql = "UPDATE runs SET revoked = ?1, revoked_by = 'the restore of a backup', changed = ?2 \
               WHERE revoked IS NULL AND expires > ?1";
    let runs = within.execute(sql, [now, change])?;
    let keys = "SELECT count(*) FROM keys WHERE revoked IS NULL AND expires > ?";
    let keys: i64 = within.query_row(keys, [now], |row| row.get(0))?;
    let keys = usize::try_from(keys).unwrap_or_default();
    // Nobody knows a secret with this digest; the time alone would be undone by a clock that is set back.
    let sql = "UPDATE keys SET digest = randomblob(32), previous = NULL, previous_until = NULL, expires = min(expires, ?1), \
                 changed = ?2 WHERE revoked IS NULL";
    within.execute(sql, [now, change])?;
    let operators = within.execute("UPDATE operators SET password = NULL WHERE password IS NOT NULL", [])?;
    for gone in
        ["operator_sessions", "operator_links", "refreshes", "hold_states", "hold_tasks", "deliveries"]
    {
        within.execute(&format!("DELETE FROM {gone}"), [])?;
    }
    events::prune(within)?;
    let servers = "UPDATE connections SET sealed = NULL WHERE sealed IS NOT NULL RETURNING server";
    let servers =
        within.prepare(servers)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let holds = holds::end_open(state, within, change, ("the gateway was restored from a backup", how.now))?;
    // Places in a log that is history now; the next log has other records there.
    within.execute("UPDATE holds SET asked = NULL", [])?;
    within.execute("UPDATE actions SET seq = NULL WHERE seq >= ?", params![time(how.records.0)])?;
    let taken =
        jiff::Timestamp::from_second(time(how.taken)).map_or_else(|_| String::new(), |at| at.to_string());
    state.enter(within, &Deed::done("state.restore", FILE).because(&format!("as of {taken}")))?;
    Ok(Ended { runs, keys, operators, holds, servers })
}

/// Whether a copy is whole, and of a version that this program knows.
fn check(path: &Path) -> Result<(), StateError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let damaged = |source| StateError::Copy { path: path.to_owned(), source: Some(source) };
    let db = Connection::open_with_flags(path, flags).map_err(damaged)?;
    let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(damaged)?;
    if found != "ok" || open::version(&db, path)? == 0 {
        return Err(StateError::Copy { path: path.to_owned(), source: None });
    }
    Ok(())
}

/// An empty file that is its owner's alone.
fn emptied(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn failed(path: &Path, source: io::Error) -> StateError {
    StateError::File { path: path.to_owned(), source }
}
