//! What cannot be made anew from the ledger: service keys, minted runs, logins, revocations, pinned tools, what runs have
//! used of limits, calls that wait for people and who is to be told of it, spent assertions, operators. One SQLite file, `state.sqlite`, beside the index.
//!
//! Every write is durable when it returns (WAL, `synchronous = FULL`). Writes block on the disk and belong off the async
//! threads; [`State::changes`] costs microseconds and may be asked before every call. Other processes may write while
//! this one reads: [`State::changes`] sees their commits from the moment they return.
//!
//! No secret is kept here, only digests of secrets, and what others have sealed. What operators do is noted in the transaction
//! that does it ([`State::acting`]), for the gateway to record: no other process can write to the ledger.

mod announced;
mod assertions;
mod backup;
mod budgets;
mod connections;
mod deliveries;
mod events;
mod first_lists;
mod holds;
mod journal;
mod keys;
mod logins;
mod open;
mod operators;
mod pins;
mod runs;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::announced::Announced;
use self::holds::TurnedAway;

pub use backup::{Ended, Restoring, StateCopy};
pub use budgets::Budget;
pub use connections::Connection as ServerConnection;
pub use deliveries::{DeadLetter, Delivery, DestinationRow, Settled, Told};
pub use events::{Destination, Event, EventKind};
pub use first_lists::Paging;
pub use holds::{
    Back, Ballot, Bounds, Cast, Choice, Full, History, Hold, HoldKey, HoldPlace, HoldStatus, HoldTask,
    MOST_PROLONGED, Need, NewHold, Release, Said, Sought, TaskOwner, TaskStanding, Turn, Which,
};
pub use journal::{Action, Deed, Outcome};
pub use keys::AccessKey;
pub use logins::{Refresh, RegisteredClient};
pub use operators::{OperatorLink, OperatorRow, OperatorSession};
pub use pins::{Definition, Newcomer, Pin};
pub use runs::{MintedRun, RunAdded};

/// Name of the file in the data folder.
const FILE: &str = "state.sqlite";

/// The open file, as its owner or an operator uses it.
#[derive(Debug)]
pub struct State {
    file: Arc<Connections>,
    /// Who changes something, and when, if that is an operator.
    operator: Option<(Arc<str>, u64)>,
}

#[derive(Debug)]
struct Connections {
    path: PathBuf,
    /// Locked for one transaction, through its `fdatasync`. One for all of a process, which take turns better than SQLite has
    /// processes do.
    writer: Arc<Mutex<Connection>>,
    /// Reads alone; apart from the writer, so that nobody who reads waits for a disk. Locked for one read.
    reader: Mutex<Connection>,
    announced: Announced,
    turned_away: Arc<TurnedAway>,
}

/// How far a reader has come; the default is the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// SQLite's number of the file's content, as this process's reader sees it.
    version: Option<i64>,
    /// The last change that was read.
    change: i64,
}

/// Rows that are new or have changed.
#[derive(Debug)]
pub struct Changes {
    /// Keys, revoked and expired ones too.
    pub keys: Vec<AccessKey>,
    /// Runs, revoked and expired ones too.
    pub runs: Vec<MintedRun>,
    /// Tools, those that wait too.
    pub pins: Vec<Pin>,
    /// Where to go on.
    pub mark: Mark,
}

/// Why the state cannot be used. Nothing goes on without it: what is revoked would not be known.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file was written by a newer program.
    #[error("`{}` has version {found}, this program knows {known}; use the newer program", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The file's structure or a row is broken.
    #[error("`{}` is damaged; remove it and make service keys and runs anew: those in it are void", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's finding.
        #[source]
        source: rusqlite::Error,
    },
    /// A copy in a backup is broken, or none.
    #[error("`{}` is damaged; use another backup", path.display())]
    Copy {
        /// The copy.
        path: PathBuf,
        /// SQLite's finding, if it could not even look.
        #[source]
        source: Option<rusqlite::Error>,
    },
    /// A file or folder cannot be used.
    #[error("cannot use `{}`", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// SQLite failed in another way (disk full, locked).
    #[error("`{}` failed", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// SQLite's answer.
        #[source]
        source: rusqlite::Error,
    },
}

impl Mark {
    /// Whether what came with `other` is newer than what came with this.
    #[must_use]
    pub fn is_behind(self, other: Mark) -> bool {
        self.version.is_none() || self.change < other.change || (self.change == other.change && self != other)
    }
}

impl State {
    /// Opens `state.sqlite` in the data folder, made (0600, in a 0700 folder) if it is not there.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(data: &Path) -> Result<State, StateError> {
        State::open_at(data, data.join(FILE))
    }

    fn open_at(data: &Path, path: PathBuf) -> Result<State, StateError> {
        let (writer, reader) = open::open(data, &path)?;
        let (writer, reader) = (Arc::new(Mutex::new(writer)), Mutex::new(reader));
        let announced = announced_beside(&path)?;
        let file = Connections { path, writer, reader, announced, turned_away: Arc::default() };
        Ok(State { file: Arc::new(file), operator: None })
    }

    /// Whether a data folder has a state: a copy of a ledger has none, and is not to be given one.
    pub fn is_in(data: &Path) -> bool {
        data.join(FILE).exists()
    }

    /// The same file, read by a connection of its own: nobody else waits while who has it reads much.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn apart(&self) -> Result<State, StateError> {
        let Connections { path, writer, turned_away, .. } = &*self.file;
        let (reader, announced) = (Mutex::new(open::reader(path)?), announced_beside(path)?);
        let (path, writer, turned_away) = (path.clone(), Arc::clone(writer), Arc::clone(turned_away));
        let file = Connections { path, writer, reader, announced, turned_away };
        Ok(State { file: Arc::new(file), operator: self.operator.clone() })
    }

    /// The same file in the hands of an operator: what is changed through it is noted as theirs, at that time.
    #[must_use]
    pub fn acting(&self, who: &str, now: u64) -> State {
        State { file: Arc::clone(&self.file), operator: Some((who.into(), now)) }
    }

    /// What has changed since `mark`, by whichever process; `None` if nothing has. Costs a microsecond if nothing has.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn changes(&self, since: Mark) -> Result<Option<Changes>, StateError> {
        let changed = self.since(since, |within| {
            let keys = keys::changed(within, since.change)?;
            let runs = runs::changed(within, since.change)?;
            Ok((keys, runs, pins::changed(within, since.change)?))
        })?;
        Ok(changed.map(|((keys, runs, pins), mark)| Changes { keys, runs, pins, mark }))
    }

    /// The mark of what there is now.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn mark(&self) -> Result<Mark, StateError> {
        Ok(self.since(Mark::default(), |_| Ok(()))?.map(|((), mark)| mark).unwrap_or_default())
    }

    /// Reads in one transaction, and gives the mark of what was read; `None`, and reads nothing, if nothing has changed since.
    fn since<T>(
        &self,
        since: Mark,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<(T, Mark)>, StateError> {
        if since.version.is_some() && self.file.announced.has_none_after(since.change) {
            return Ok(None);
        }
        let reader = self.reader();
        let read = || -> rusqlite::Result<Option<(T, Mark)>> {
            let version: i64 =
                reader.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
            if since.version == Some(version) {
                return Ok(None);
            }
            let within = reader.unchecked_transaction()?;
            let change = within.query_row("SELECT changed FROM counter", [], |row| row.get(0))?;
            Ok(Some((work(&within)?, Mark { version: Some(version), change })))
        };
        read().map_err(|source| self.failed(source))
    }

    /// Does `work` in a transaction that is durable on return; it is given the number of its change.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, i64) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        self.write_as("UPDATE counter SET changed = changed + 1 RETURNING changed", work)
    }

    /// The same for rows that [`State::changes`] does not tell of: nobody looks again for what strangers can write.
    fn write_aside<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        // What is committed already is announced once more: in a new file nothing is.
        self.write_as("SELECT changed FROM counter", |within, _| work(within))
    }

    fn write_as<T>(
        &self,
        number: &str,
        work: impl FnOnce(&Transaction<'_>, i64) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let mut writer = self.file.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let write = || -> rusqlite::Result<io::Result<T>> {
            let within = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let change = within.query_row(number, [], |row| row.get(0))?;
            let made = work(&within, change)?;
            if let Err(error) = self.file.announced.announce(change) {
                return Ok(Err(error));
            }
            within.commit()?;
            Ok(Ok(made))
        };
        let made = write().map_err(|source| self.failed(source))?;
        made.map_err(|source| StateError::File { path: announced::path_of(&self.file.path), source })
    }

    /// Takes all of the write-ahead log over into the file. Nobody else may have it open.
    fn take_over_log(&self) -> Result<(), StateError> {
        let writer = self.file.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let busy: i64 = writer
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|source| self.failed(source))?;
        let is_busy = || io::Error::other("another process has it open");
        if busy == 0 {
            Ok(())
        } else {
            Err(StateError::File { path: self.file.path.clone(), source: is_busy() })
        }
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        // A read that panicked has changed nothing.
        self.file.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: rusqlite::Error) -> StateError {
        StateError::of(&self.file.path, source)
    }
}

fn announced_beside(path: &Path) -> Result<Announced, StateError> {
    Announced::beside(path).map_err(|source| StateError::File { path: announced::path_of(path), source })
}

impl StateError {
    fn of(path: &Path, source: rusqlite::Error) -> StateError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let path = path.to_owned();
        let broken = matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            || matches!(source, rusqlite::Error::FromSqlConversionFailure(..));
        if broken { StateError::Damaged { path, source } } else { StateError::Failed { path, source } }
    }
}
