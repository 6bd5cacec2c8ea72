//! Held calls whose clients do not wait in line but ask from time to time: tasks of the protocol's extension.
//!
//! `waits → runs → done`, with `asks` in between where the server asks something back, and `cancelled`. Each turn is one
//! transaction that names where it comes from, so that of many who want to begin a task one does, and what has ended stays
//! as it is. A task releases nothing: its call finds its approval by [`State::seek`], as any other.

use ledger::Hash;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, params};

use super::super::keys::{moment, time};
use super::super::{State, StateError};
use super::seek::Place;
use super::{HoldStatus, find};

/// Tasks of one hold at a time.
const OF_HOLD: u64 = 8;

/// Tasks of all holds at a time.
const ALL: u64 = 20_000;

/// Bytes that all of them may take.
const BYTES: u64 = 256 << 20;

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
    /// Its call is to be made, by who is told that this turn was taken.
    Begins,
    /// Its call was held again, under this hold.
    Waits(&'a str),
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
            let room = "SELECT count(*) FILTER (WHERE hold = ?1), count(*), \
                          coalesce(sum(length(call) + coalesce(length(said), 0)), 0) FROM hold_tasks";
            let taken = |row: &Row<'_>| Ok((moment(row, 0)?, moment(row, 1)?, moment(row, 2)?));
            let (of_hold, all, bytes) = within.query_row(room, [&task.hold], taken)?;
            if of_hold >= Some(OF_HOLD) || all >= Some(ALL) || bytes >= Some(BYTES) {
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
        let (next, from, hold, said) = match turn {
            Turn::Begins => (TaskStanding::Runs, "standing IN ('waits', 'asks')", None, None),
            Turn::Waits(hold) => (TaskStanding::Waits, "standing = 'runs'", Some(hold), None),
            Turn::Asks(said) => (TaskStanding::Asks, "standing = 'runs'", None, Some(said)),
            Turn::Ends(said) => (TaskStanding::Done, "standing = 'runs'", None, Some(said)),
        };
        let sql = format!(
            "UPDATE hold_tasks SET standing = ?2, hold = coalesce(?3, hold), said = ?4, turned = ?5, until = max(until, ?6) \
             WHERE digest = ?1 AND {from}"
        );
        let until = time(now.saturating_add(KEPT));
        let row = params![digest.0.as_slice(), next.as_str(), hold, said, time(now), until];
        self.write(|within, _| Ok(within.execute(&sql, row)? == 1))
    }

    /// Ends a task whose client does not want it any more, and its hold with it unless that holds for a whole run; `false`: it has
    /// ended, or its call is being made.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cancel_task(&self, digest: Hash, why: &str, now: u64) -> Result<bool, StateError> {
        self.write(|within, change| {
            let sql = "UPDATE hold_tasks SET standing = 'cancelled', said = NULL, turned = ?2 \
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
