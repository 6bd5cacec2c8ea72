//! Holds as the console asks for them: page by page, by what has changed, and with what was decided before.

use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::params;

use super::super::keys::{moment, time};
use super::super::{Pin, State, StateError, pins};
use super::{COLUMNS, Full, Hold, Sought, Which, read};

/// A place in the list of holds, newest first; it does not shift when holds are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// When the hold of that place was made.
    pub created: u64,
    /// Its id.
    pub id: String,
}

/// What was decided on the same tool for the same principal before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Holds that were approved.
    pub approved: u64,
    /// Holds that were refused.
    pub refused: u64,
    /// The last of them, newest first.
    pub last: Vec<Hold>,
}

/// Why a call is not held, in the order in which it is counted.
const REASONS: [&str; 4] = ["run", "all", "refusals", "refused"];

/// Calls that were not even held, by [`REASONS`].
#[derive(Debug, Default)]
pub(crate) struct TurnedAway([AtomicU64; REASONS.len()]);

impl TurnedAway {
    /// Counts what a call found, if that is nothing.
    pub(super) fn count(&self, sought: &Sought) {
        let reason = match sought {
            Sought::Full(Full::Run) => 0,
            Sought::Full(Full::All) => 1,
            Sought::Full(Full::Refusals) => 2,
            Sought::Refused { .. } => 3,
            _ => return,
        };
        self.0.get(reason).into_iter().for_each(|count| _ = count.fetch_add(1, Ordering::Relaxed));
    }
}

impl State {
    /// Holds after a place, newest first, at most so many.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn hold_page(&self, which: Which, after: Option<&Place>, most: u32) -> Result<Vec<Hold>, StateError> {
        let reader = self.reader();
        let condition = which.condition();
        let (created, id) = after.map_or((i64::MAX, ""), |place| (time(place.created), place.id.as_str()));
        let page = || {
            let sql = format!(
                "SELECT {COLUMNS} FROM holds WHERE {condition} AND (created, id) < (?1, ?2) \
                 ORDER BY created DESC, id DESC LIMIT ?3"
            );
            let rows = params![created, id, most];
            reader.prepare_cached(&sql)?.query_map(rows, read)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        page().map_err(|source| self.failed(source))
    }

    /// Holds that have changed after a change of that number, in the order of their changes, and the number to go on from. About
    /// `most` at a time: those of one change stay together.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn holds_since(&self, change: u64, most: u32) -> Result<(Vec<Hold>, u64), StateError> {
        let reader = self.reader();
        let since = || {
            let within = reader.unchecked_transaction()?;
            let all: i64 = within.query_row("SELECT changed FROM counter", [], |row| row.get(0))?;
            let cut = "SELECT min(?3, ifnull((SELECT changed FROM holds WHERE changed > ?1 \
                         ORDER BY changed LIMIT 1 OFFSET max(?2 - 1, 0)), ?3))";
            let upto: i64 =
                within.prepare_cached(cut)?.query_row(params![time(change), most, all], |row| row.get(0))?;
            let sql = format!(
                "SELECT {COLUMNS} FROM holds WHERE changed > ? AND changed <= ? ORDER BY changed, created, id"
            );
            let rows: Vec<Hold> = within
                .prepare_cached(&sql)?
                .query_map([time(change), upto], read)?
                .collect::<rusqlite::Result<_>>()?;
            Ok((rows, u64::try_from(upto).unwrap_or_default()))
        };
        since().map_err(|source| self.failed(source))
    }

    /// What was decided on the same tool for the same principal before a hold was, or until now; the last `most` in full.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn hold_history(&self, hold: &Hold, most: u32) -> Result<History, StateError> {
        let reader = self.reader();
        let key = &hold.key;
        let same =
            "principal = ?1 AND server = ?2 AND method = ?3 AND name = ?4 AND id <> ?5 AND ended <= ?6";
        let until = hold.ended.map_or(i64::MAX, time);
        let read_history = || {
            let sql = format!(
                "SELECT coalesce(sum(uses > 0 OR status = 'approved'), 0), coalesce(sum(status = 'refused'), 0) \
                 FROM holds WHERE {same}"
            );
            let of = params![key.principal, key.server, key.method, key.name, hold.id, until];
            let (approved, refused) =
                reader.prepare_cached(&sql)?.query_row(of, |row| Ok((moment(row, 0)?, moment(row, 1)?)))?;
            let sql = format!(
                "SELECT {COLUMNS} FROM holds WHERE {same} AND (uses > 0 OR status IN ('approved', 'refused')) \
                 ORDER BY ended DESC, id LIMIT ?7"
            );
            let of = params![key.principal, key.server, key.method, key.name, hold.id, until, most];
            let last = reader.prepare_cached(&sql)?.query_map(of, read)?.collect::<rusqlite::Result<_>>()?;
            let (approved, refused) = (approved.unwrap_or_default(), refused.unwrap_or_default());
            Ok(History { approved, refused, last })
        };
        read_history().map_err(|source| self.failed(source))
    }

    /// A tool as it is pinned, and when what calls are judged by was accepted; no time where nobody knows it any more.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn pinned(&self, server: &str, tool: &str) -> Result<Option<(Pin, Option<u64>)>, StateError> {
        let reader = self.reader();
        let found = || {
            let Some(pin) = pins::one(&reader, server, tool)? else { return Ok(None) };
            let Some(accepted) = pin.accepted.as_ref().filter(|_| pin.accepted_by.is_some()) else {
                let first = pin.accepted.is_some().then_some(pin.first_seen);
                return Ok(Some((pin, first)));
            };
            let sql =
                "SELECT max(at) FROM actions WHERE what = 'policy.accept' AND subject = ?1 AND reason = ?2";
            let subject = format!("{server}/{tool}");
            let at = reader
                .prepare_cached(sql)?
                .query_row(params![subject, accepted.digest.to_string()], |row| moment(row, 0))?;
            Ok(Some((pin, at)))
        };
        found().map_err(|source| self.failed(source))
    }

    /// Calls that were not even held, since the start, by why: the run or all have too many, it was refused lately, the run was
    /// refused too often. Of this process alone.
    #[must_use]
    pub fn turned_away(&self) -> [(&'static str, u64); REASONS.len()] {
        let counts = &self.file.turned_away.0;
        std::array::from_fn(|reason| {
            let count = counts.get(reason).map_or(0, |count| count.load(Ordering::Relaxed));
            (REASONS.get(reason).copied().unwrap_or_default(), count)
        })
    }

    /// Actions that have no record yet.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn unrecorded_count(&self) -> Result<u64, StateError> {
        let sql = "SELECT count(*) FROM actions WHERE seq IS NULL";
        let count = self.reader().query_row(sql, [], |row| moment(row, 0));
        count.map(Option::unwrap_or_default).map_err(|source| self.failed(source))
    }
}
