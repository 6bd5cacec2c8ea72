//! Holds as people and the gateway read them.

use ledger::Seq;
use rusqlite::{Row, params};

use super::super::events::{self, EventKind};
use super::super::keys::{moment, time};
use super::super::{Mark, State, StateError};
use super::{COLUMNS, Hold, changed, read};

impl State {
    /// The newest holds, newest first, at most so many; `open`: those alone that wait or may be used.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn holds(&self, which: Which, most: u32) -> Result<Vec<Hold>, StateError> {
        let reader = self.reader();
        let all = || {
            let condition = which.condition();
            let sql = format!(
                "SELECT {COLUMNS} FROM holds WHERE {condition} ORDER BY created DESC, changed DESC, id LIMIT ?"
            );
            reader.prepare_cached(&sql)?.query_map([most], read)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        all().map_err(|source| self.failed(source))
    }

    /// Holds that have changed since `mark`, by whichever process; from the beginning those alone that are open. `None` if nothing
    /// has changed at all, which costs microseconds.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn changed_holds(&self, since: Mark) -> Result<Option<(Vec<Hold>, Mark)>, StateError> {
        self.since(since, |within| {
            let mut holds = changed(within, since.change)?;
            if since == Mark::default() {
                holds.retain(|hold| hold.ended.is_none());
            }
            Ok(holds)
        })
    }

    /// How many holds wait, and since when the oldest.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn pending_holds(&self) -> Result<(u64, Option<u64>), StateError> {
        // The first condition lets SQLite use the index of open holds.
        let sql = "SELECT count(*), min(created) FROM holds \
                   WHERE status IN ('pending', 'approved') AND status = 'pending'";
        let read = |row: &Row<'_>| Ok((moment(row, 0)?.unwrap_or_default(), moment(row, 1)?));
        self.reader().query_row(sql, [], read).map_err(|source| self.failed(source))
    }

    /// Notes which record tells of a hold's first try.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn hold_recorded(&self, id: &str, asked: Seq) -> Result<(), StateError> {
        self.write(|within, change| {
            let sql = "UPDATE holds SET asked = ?2, changed = ?3 WHERE id = ?1 AND asked IS NULL";
            within.execute(sql, params![id, time(asked.0), change]).map(|_| ())
        })
    }

    /// Notes how a call ended that was let through.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn hold_outcome(&self, id: &str, outcome: &str, now: u64) -> Result<(), StateError> {
        self.write(|within, change| {
            let sql = "UPDATE holds SET outcome = ?2, changed = ?3 WHERE id = ?1";
            within.execute(sql, params![id, outcome, change])?;
            events::note(within, (id, EventKind::Outcome), Some(outcome), now)
        })
    }
}

/// Which holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that wait or may be used.
    Open,
    /// All.
    All,
}

impl Which {
    pub(super) fn condition(self) -> &'static str {
        match self {
            Which::Open => "status IN ('pending', 'approved')",
            Which::All => "1",
        }
    }
}
