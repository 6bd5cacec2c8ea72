//! What destinations were not told yet: a queue for each, apart from the others.
//!
//! At least once: a delivery is there until somebody says that it was made. Of one hold a destination is told in order, as long as
//! nothing of it is dead. Rows are bounded: [`State::bound_deliveries`].

use rusqlite::{Row, Transaction, params};

use super::events::{self, Event, EventKind};
use super::keys::{moment, strings, time};
use super::{Deed, State, StateError};

/// Seconds after which what was tried and failed is not tried any more.
const LASTS: u64 = 86_400;

/// The first of a hold: the ones after it wait for it.
const FIRST: &str = "dead IS NULL AND NOT EXISTS (SELECT 1 FROM deliveries AS before WHERE before.destination = here.destination \
                     AND before.hold = here.hold AND before.event < here.event AND before.dead IS NULL)";

/// What a destination is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Of what.
    pub event: Event,
    /// How often that was tried.
    pub attempts: u32,
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The event's number.
    pub event: i64,
    /// How it went.
    pub told: Told,
}

/// How a delivery went. Errors are for people, and hold no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The destination has it.
    Done,
    /// Nothing was tried: there will be more to tell then.
    Later {
        /// When to look again.
        again: u64,
    },
    /// It failed, and may not fail another time.
    Failed {
        /// Why.
        error: String,
        /// When to try again.
        again: u64,
        /// Until when the destination is to be left alone.
        pause: u64,
    },
    /// It would fail each time.
    Dead {
        /// Why.
        error: String,
    },
    /// The destination says that it is gone for good: nothing more is sent there until an operator or a start says otherwise.
    Gone {
        /// Why.
        error: String,
    },
}

/// A delivery that is not tried any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What the destination was not told.
    pub event: Event,
    /// How often that was tried.
    pub attempts: u32,
    /// Since when it is dead.
    pub dead: u64,
    /// Why.
    pub error: String,
}

/// How it stands with a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRow {
    /// Its name.
    pub name: String,
    /// Of what it is told.
    pub kinds: Vec<EventKind>,
    /// Of holds that ask one of these groups; `None`: of all.
    pub groups: Option<Vec<String>>,
    /// Deliveries that were made.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// When the last one was made.
    pub last_delivered: Option<u64>,
    /// When the last attempt failed.
    pub last_failed: Option<u64>,
    /// Why it did.
    pub error: Option<String>,
    /// Attempts that have failed since one did not.
    pub failures: u32,
    /// Since when it is gone.
    pub gone: Option<u64>,
    /// Deliveries that wait.
    pub waiting: u64,
    /// Of these, such as were tried.
    pub failing: u64,
    /// Dead ones.
    pub dead: u64,
    /// Since when the oldest that waits does.
    pub oldest: Option<u64>,
}

impl State {
    /// What a destination may be told now, oldest first, at most so many: of each hold one.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn due(&self, destination: &str, now: u64, most: u32) -> Result<Vec<Delivery>, StateError> {
        // Alone, so that nobody waits for the reader while a long queue is looked through for nothing.
        let open = "SELECT name FROM destinations WHERE name = ?1 AND gone IS NULL AND pause <= ?2";
        if self.listed(open, params![destination, time(now)], |_| Ok(()))?.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT no, id, events.hold, kind, at, why, deadline, attempts FROM deliveries AS here JOIN events ON no = event \
             WHERE destination = ?1 AND due <= ?2 AND {FIRST} ORDER BY due, event LIMIT ?3"
        );
        let read = |row: &Row<'_>| Ok(Delivery { event: events::read(row)?, attempts: row.get(7)? });
        self.listed(&sql, params![destination, time(now), most], read)
    }

    /// Keeps what came of deliveries to a destination.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn settle(&self, destination: &str, all: &[Settled], now: u64) -> Result<(), StateError> {
        self.write(|within, _| {
            let mut place = Place { within, destination, now };
            all.iter().try_for_each(|one| place.settle(one))
        })
    }

    /// Keeps so many deliveries of a destination that wait, of more the oldest are dead, and so many dead ones, of more the oldest
    /// are dropped; gives how many died, and how many were dropped.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn bound_deliveries(
        &self,
        destination: &str,
        now: u64,
        (most_waiting, most_dead): (u32, u32),
    ) -> Result<(usize, usize), StateError> {
        let over = |condition: &str| {
            format!(
                "SELECT event FROM deliveries WHERE destination = ?1 AND {condition} ORDER BY event DESC LIMIT 1 OFFSET ?2"
            )
        };
        let (waiting, dead) = (over("dead IS NULL"), over("dead IS NOT NULL"));
        let any = format!("SELECT EXISTS ({waiting}) OR EXISTS ({})", dead.replace("?2", "?3"));
        let is_any = self
            .reader()
            .query_row(&any, params![destination, most_waiting, most_dead], |row| row.get::<_, bool>(0));
        if !is_any.map_err(|source| self.failed(source))? {
            return Ok((0, 0));
        }
        self.write(|within, _| {
            let sql = format!(
                "UPDATE deliveries SET dead = ?3, error = 'too many wait' WHERE destination = ?1 AND dead IS NULL \
                 AND event <= ({waiting})"
            );
            let died = within.execute(&sql, params![destination, most_waiting, time(now)])?;
            let sql = format!(
                "DELETE FROM deliveries WHERE destination = ?1 AND dead IS NOT NULL AND event <= ({dead})"
            );
            let went = within.execute(&sql, params![destination, most_dead])?;
            events::prune(within)?;
            Ok((died, went))
        })
    }

    /// Tries dead ones again, from now on and in order, and a destination that is gone; gives how many. `None`: there is no such
    /// destination.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn retry_dead(&self, destination: &str, now: u64) -> Result<Option<usize>, StateError> {
        self.write(|within, _| {
            let sql = "UPDATE destinations SET gone = NULL, pause = 0, failures = 0 WHERE name = ?1";
            if within.execute(sql, [destination])? == 0 {
                return Ok(None);
            }
            let sql = "UPDATE deliveries SET dead = NULL, error = NULL, attempts = 0, since = ?2, due = ?2 \
                       WHERE destination = ?1 AND (dead IS NOT NULL OR attempts > 0)";
            let again = within.execute(sql, params![destination, time(now)])?;
            let reason = again.to_string();
            self.enter(within, &Deed::done("export.retry", destination).because(&reason))?;
            Ok(Some(again))
        })
    }

    /// How it stands with all destinations, by name.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn destinations(&self) -> Result<Vec<DestinationRow>, StateError> {
        let counts = "SELECT destination, sum(dead IS NULL) AS waiting, sum(dead IS NULL AND attempts > 0) AS failing, \
                        sum(dead IS NOT NULL) AS dead, min(iif(dead IS NULL, since, NULL)) AS oldest \
                      FROM deliveries GROUP BY destination";
        let sql = format!(
            "SELECT name, kinds, groups, delivered, failed, last_delivered, last_failed, error, failures, gone, waiting, \
             failing, dead, oldest FROM destinations LEFT JOIN ({counts}) ON destination = name ORDER BY name"
        );
        self.listed(&sql, [], row)
    }

    /// What a destination was not told and will not be, newest first, at most so many.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn dead_letters(&self, destination: &str, most: u32) -> Result<Vec<DeadLetter>, StateError> {
        let sql = "SELECT no, id, events.hold, kind, at, why, deadline, attempts, dead, error FROM deliveries \
                   JOIN events ON no = event WHERE destination = ?1 AND dead IS NOT NULL ORDER BY event DESC LIMIT ?2";
        let read = |row: &Row<'_>| {
            Ok(DeadLetter {
                event: events::read(row)?,
                attempts: row.get(7)?,
                dead: moment(row, 8)?.unwrap_or_default(),
                error: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
            })
        };
        self.listed(sql, params![destination, most], read)
    }

    fn listed<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StateError> {
        let reader = self.reader();
        let all = || reader.prepare_cached(sql)?.query_map(params, read)?.collect::<rusqlite::Result<_>>();
        all().map_err(|source| self.failed(source))
    }
}

struct Place<'a> {
    within: &'a Transaction<'a>,
    destination: &'a str,
    now: u64,
}

impl Place<'_> {
    fn settle(&mut self, settled: &Settled) -> rusqlite::Result<()> {
        let Settled { event, told } = settled;
        match told {
            Told::Done => self.done(*event),
            Told::Later { again } => {
                let sql = "UPDATE deliveries SET due = ?3 WHERE destination = ?1 AND event = ?2";
                self.run(sql, params![self.destination, event, time(*again)])
            }
            Told::Failed { error, again, pause } => {
                self.failed(error)?;
                let sql = "UPDATE destinations SET pause = ?2 WHERE name = ?1";
                self.run(sql, params![self.destination, time(*pause)])?;
                let sql = "UPDATE deliveries SET attempts = attempts + 1, due = ?3, error = ?4 WHERE destination = ?1 AND event = ?2";
                self.run(sql, params![self.destination, event, time(*again), error])?;
                let sql = "UPDATE deliveries SET dead = ?2 WHERE destination = ?1 AND dead IS NULL AND attempts > 0 AND since <= ?3";
                let old = time(self.now.saturating_sub(LASTS));
                self.run(sql, params![self.destination, time(self.now), old])
            }
            Told::Dead { error } => {
                self.failed(error)?;
                let sql = "UPDATE deliveries SET attempts = attempts + 1, dead = ?3, error = ?4 WHERE destination = ?1 AND event = ?2";
                self.run(sql, params![self.destination, event, time(self.now), error])
            }
            Told::Gone { error } => {
                self.failed(error)?;
                let sql = "UPDATE destinations SET gone = ?2 WHERE name = ?1";
                self.run(sql, params![self.destination, time(self.now)])?;
                let sql = "UPDATE deliveries SET attempts = attempts + (event = ?2), dead = ?3, error = ?4 \
                           WHERE destination = ?1 AND dead IS NULL";
                self.run(sql, params![self.destination, event, time(self.now), error])
            }
        }
    }

    fn done(&self, event: i64) -> rusqlite::Result<()> {
        let sql = "DELETE FROM deliveries WHERE destination = ?1 AND event = ?2";
        self.run(sql, params![self.destination, event])?;
        let sql =
            "DELETE FROM events WHERE no = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = ?1)";
        self.run(sql, params![event])?;
        let sql = "UPDATE destinations SET delivered = delivered + 1, last_delivered = ?2, failures = 0, pause = 0 WHERE name = ?1";
        self.run(sql, params![self.destination, time(self.now)])
    }

    fn failed(&self, error: &str) -> rusqlite::Result<()> {
        let sql = "UPDATE destinations SET failed = failed + 1, last_failed = ?2, error = ?3, failures = failures + 1 \
                   WHERE name = ?1";
        self.run(sql, params![self.destination, time(self.now), error])
    }

    fn run(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<()> {
        self.within.prepare_cached(sql)?.execute(params).map(|_| ())
    }
}

fn row(row: &Row<'_>) -> rusqlite::Result<DestinationRow> {
    let kinds = strings(row, 1)?;
    let groups: Option<String> = row.get(2)?;
    let count = |column| Ok::<u64, rusqlite::Error>(moment(row, column)?.unwrap_or_default());
    Ok(DestinationRow {
        name: row.get(0)?,
        kinds: kinds.iter().filter_map(|kind| EventKind::of(kind)).collect(),
        groups: groups.map(|_| strings(row, 2)).transpose()?,
        delivered: count(3)?,
        failed: count(4)?,
        last_delivered: moment(row, 5)?,
        last_failed: moment(row, 6)?,
        error: row.get(7)?,
        failures: row.get(8)?,
        gone: moment(row, 9)?,
        waiting: count(10)?,
        failing: count(11)?,
        dead: count(12)?,
        oldest: moment(row, 13)?,
    })
}
