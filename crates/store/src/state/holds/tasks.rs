//! Held calls whose clients do not wait in line but ask from time to time: tasks of the protocol's extension.
//!
//! `waits → runs → done`, with `asks` in between where the server asks something back, and `cancelled`. Each turn is one
//! transaction that names where it comes from, so that of many who want to begin a task one does, and what has ended stays
//! as it is. A task releases nothing: its call finds its approval by [`State::seek`], as any other.

use ledger::Hash;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::keys::{moment, time};
use super::super::{State, StateError};
use super::seek::Place;
use super::{HoldStatus, find};

/// Tasks of one hold at a time.
const OF_HOLD: u64 = 8;

/// Tasks of all holds at a time.
const ALL: u64 = 20_000;

/// Tasks of one run at a time, those that have ended too.
const OF_RUN: u64 = 256;

/// Bytes that all of them may take.
const BYTES: u64 = 256 << 20;

/// What came of a task is kept for want of room all the same if it has no more bytes: that there was none, too.
const SHORT: usize = 64 << 10;

/// Seconds for which what a task came to is kept at least.
const KEPT: u64 = 60 * 60;

const COLUMNS: &str = "hold, principal, run, server, standing, call, said, made, turned, until";

/// A call that waits as a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldTask {
    /// The hold that it waits under.
    pub hold: String,
    /// Whose it is: nobody else learns that there is one.
    pub owner: TaskOwner,
    /// How it stands.
    pub standing: TaskStanding,
    /// What is called, sealed.
    pub call: Vec<u8>,
    /// What the server asks, or what the call came to, sealed.
    pub said: Option<Vec<u8>>,
    /// When it was made. Times are seconds since the Unix epoch.
    pub made: u64,
    /// When it last turned.
    pub turned: u64,
    /// When it is forgotten.
    pub until: u64,
}

/// Whose a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOwner {
    /// As in [`HoldKey`](super::HoldKey).
    pub principal: String,
    /// As in [`HoldKey`](super::HoldKey).
    pub run: String,
    /// As in [`HoldKey`](super::HoldKey).
    pub server: String,
}

/// How it stands with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskStanding {
    /// Its hold is not looked at yet, or pending.
    Waits,
    /// Its call is being made.
    Runs,
    /// The server asks something of the client.
    Asks,
    /// It has ended, and what came of it is kept.
    Done,
    /// Its client does not want it any more.
    Cancelled,
}

/// How a task goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<'a> {
    /// Its call is to be made, by who is told that this turn was taken, if it still stands as that one has read it.
    Begins {
        /// As it was read.
        standing: TaskStanding,
        /// As it was read.
        said: Option<&'a [u8]>,
    },
    /// Its call was held again.
    Waits {
        /// Under this hold.
        hold: &'a str,
        /// When it is forgotten, in seconds since the Unix epoch.
        until: u64,
    },
    /// The server asks this.
    Asks(&'a [u8]),
    /// This came of it.
    Ends(&'a [u8]),
}

impl TaskStanding {
    fn as_str(self) -> &'static str {
        match self {
            TaskStanding::Waits => "waits",
            TaskStanding::Runs => "runs",
            TaskStanding::Asks => "asks",
            TaskStanding::Done => "done",
            TaskStanding::Cancelled => "cancelled",
        }
    }

    fn of(word: &str) -> Option<TaskStanding> {
        use TaskStanding::{Asks, Cancelled, Done, Runs, Waits};
        [Waits, Runs, Asks, Done, Cancelled].into_iter().find(|one| one.as_str() == word)
    }
}

impl State {
    /// Keeps a task that was made just now; `false`: there is no room for it. Durable on return.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_task(&self, digest: Hash, task: &HoldTask) -> Result<bool, StateError> {
        self.write(|within, _| {
            within.execute("DELETE FROM hold_tasks WHERE until <= ?1", [time(task.made)])?;
            let room = "SELECT count(*) FILTER (WHERE hold = ?1), count(*) FILTER (WHERE principal = ?2 AND run = ?3), count(*) \
                        FROM hold_tasks";
            let counts = |row: &Row<'_>| Ok((moment(row, 0)?, moment(row, 1)?, moment(row, 2)?));
            let (hold, TaskOwner { principal, run, .. }) = (&task.hold, &task.owner);
            let (of_hold, of_run, all) = within.query_row(room, params![hold, principal, run], counts)?;
            let is_full = of_hold >= Some(OF_HOLD) || of_run >= Some(OF_RUN) || all >= Some(ALL);
            if is_full || !has_room(within, task.call.len())? {
                return Ok(false);
            }
            let sql = "INSERT INTO hold_tasks (digest, hold, principal, run, server, standing, call, made, turned, until) \
                       VALUES (?1, ?2, ?3, ?4, ?5, 'waits', ?6, ?7, ?7, ?8)";
            let TaskOwner { principal, run, server } = &task.owner;
            let (made, until) = (time(task.made), time(task.until));
            let row = params![digest.0.as_slice(), task.hold, principal, run, server, task.call, made, until];
            within.execute(sql, row).map(|_| true)
        })
    }

    /// The task of that digest, if it is theirs and not forgotten by then.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn task(&self, digest: Hash, owner: &TaskOwner, now: u64) -> Result<Option<HoldTask>, StateError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM hold_tasks WHERE digest = ?1 AND principal = ?2 AND run = ?3 AND server = ?4 AND until > ?5"
        );
        let TaskOwner { principal, run, server } = owner;
        let row = params![digest.0.as_slice(), principal, run, server, time(now)];
        let found =
            self.reader().prepare_cached(&sql).and_then(|mut sql| sql.query_row(row, read).optional());
        found.map_err(|source| self.failed(source))
    }

    /// Has a task go on; `false`: from where it stands it cannot, or somebody else was first. Durable on return.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn turn_task(&self, digest: Hash, turn: Turn<'_>, now: u64) -> Result<bool, StateError> {
        use TaskStanding::{Asks, Done, Runs, Waits};
        let kept = now.saturating_add(KEPT);
        let (next, hold, said, until) = match turn {
            Turn::Begins { .. } => (Runs, None, None, kept),
            Turn::Waits { hold, until } => (Waits, Some(hold), None, until.max(kept)),
            Turn::Asks(said) => (Asks, None, Some(said), kept),
            Turn::Ends(said) => (Done, None, Some(said), kept),
        };
        let (from, read) = match turn {
            Turn::Begins { standing: standing @ (Waits | Asks), said } => (standing, said),
            Turn::Begins { .. } => return Ok(false),
            Turn::Waits { .. } | Turn::Asks(_) | Turn::Ends(_) => (Runs, None),
        };
        // What has ended is not called again.
        let sql = "UPDATE hold_tasks SET standing = ?2, hold = coalesce(?3, hold), said = ?4, turned = ?5, until = max(until, ?6), \
                     call = iif(?2 = 'done', x'', call) \
                   WHERE digest = ?1 AND standing = ?7 AND said IS ?8";
        self.write(|within, _| {
            let bytes = said.map_or(0, <[u8]>::len);
            if bytes > SHORT && !has_room(within, bytes)? {
                return Ok(false);
            }
            let (next, from) = (next.as_str(), from.as_str());
            let row = params![digest.0.as_slice(), next, hold, said, time(now), time(until), from, read];
            Ok(within.execute(sql, row)? == 1)
        })
    }

    /// Ends a task whose client does not want it any more, and its hold with it unless that holds for a whole run; `false`: it has
    /// ended, or its call is being made.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cancel_task(&self, digest: Hash, why: &str, now: u64) -> Result<bool, StateError> {
        self.write(|within, change| {
            let sql = "UPDATE hold_tasks SET standing = 'cancelled', said = NULL, call = x'', turned = ?2 \
                       WHERE digest = ?1 AND standing IN ('waits', 'asks') RETURNING hold";
            let row = params![digest.0.as_slice(), time(now)];
            let cancelled: Option<String> = within.query_row(sql, row, |row| row.get(0)).optional()?;
            let Some(hold) = cancelled else { return Ok(false) };
            let open = find(within, &hold)?.filter(|hold| hold.run_wide.is_none());
            if let Some(hold) = open
                && matches!(hold.status, HoldStatus::Pending | HoldStatus::Approved)
            {
                Place { state: self, within, change, now }.end(&hold, HoldStatus::Withdrawn, why)?;
            }
            Ok(true)
        })
    }

    /// Forgets tasks whose time is over; gives how many.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn forget_tasks(&self, now: u64) -> Result<usize, StateError> {
        let overdue = "SELECT EXISTS (SELECT 1 FROM hold_tasks WHERE until <= ?)";
        let is_any = self.reader().query_row(overdue, [time(now)], |row| row.get::<_, bool>(0));
        if !is_any.map_err(|source| self.failed(source))? {
            return Ok(0);
        }
        self.write(|within, _| within.execute("DELETE FROM hold_tasks WHERE until <= ?", [time(now)]))
    }
}

/// Whether so many bytes more may be kept.
fn has_room(within: &Connection, bytes: usize) -> rusqlite::Result<bool> {
    let taken = "SELECT coalesce(sum(length(call) + coalesce(length(said), 0)), 0) FROM hold_tasks";
    let taken: Option<u64> = within.query_row(taken, [], |row| moment(row, 0))?;
    Ok(taken.is_some_and(|taken| taken.saturating_add(bytes as u64) <= BYTES))
}

fn read(row: &Row<'_>) -> rusqlite::Result<HoldTask> {
    let standing: String = row.get(4)?;
    let unknown = || rusqlite::Error::FromSqlConversionFailure(4, Type::Text, "unknown".into());
    Ok(HoldTask {
        hold: row.get(0)?,
        owner: TaskOwner { principal: row.get(1)?, run: row.get(2)?, server: row.get(3)? },
        standing: TaskStanding::of(&standing).ok_or_else(unknown)?,
        call: row.get(5)?,
        said: row.get(6)?,
        made: moment(row, 7)?.unwrap_or_default(),
        turned: moment(row, 8)?.unwrap_or_default(),
        until: moment(row, 9)?.unwrap_or_default(),
    })
}
