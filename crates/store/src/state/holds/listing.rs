//! Holds as people and the gateway read them.

use ledger::Seq;
use rusqlite::{Row, params};

use super::super::keys::{moment, time};
use super::super::{Mark, State, StateError};
use super::{COLUMNS, Hold, HoldKey, changed, read};

/// What was decided on the same tool for the same principal before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Calls that were approved.
    pub approved: u64,
    /// Calls that were refused.
    pub refused: u64,
}

impl State {
    /// The newest holds, newest first, at most so many; `open`: those alone that wait or may be used.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn holds(&self, which: Which, most: u32) -> Result<Vec<Hold>, StateError> {
        let reader = self.reader();
        let all = || {
            let condition = match which {
                Which::Open => "status IN ('pending', 'approved')",
                Which::All => "1",
            };
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

    /// What was decided on the same tool for the same principal before.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn hold_history(&self, key: &HoldKey) -> Result<History, StateError> {
        let HoldKey { principal, server, method, name, .. } = key;
        let sql = "SELECT coalesce(sum(uses > 0 OR status = 'approved'), 0), coalesce(sum(status = 'refused'), 0) \
                   FROM holds WHERE principal = ?1 AND server = ?2 AND method = ?3 AND name = ?4";
        let counts = self.reader().query_row(sql, params![principal, server, method, name], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        let (approved, refused) = counts.map_err(|source| self.failed(source))?;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(History { approved: count(approved), refused: count(refused) })
    }

    /// How many holds wait, and since when the oldest.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn pending_holds(&self) -> Result<(u64, Option<u64>), StateError> {
        let sql = "SELECT count(*), min(created) FROM holds WHERE status = 'pending'";
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
    pub fn hold_outcome(&self, id: &str, outcome: &str) -> Result<(), StateError> {
        self.write(|within, change| {
            let sql = "UPDATE holds SET outcome = ?2, changed = ?3 WHERE id = ?1";
            within.execute(sql, params![id, outcome, change]).map(|_| ())
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
