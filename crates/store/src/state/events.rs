//! What became of holds, for those who are to be told.
//!
//! An event is written in the transaction that changes the hold, along with one delivery for each destination that wants it: no
//! change without its event, no event of a change that was not made. A destination that comes later is not told of the past.

use rusqlite::types::Type;
use rusqlite::{Row, Transaction, params};

use super::keys::{list, moment, time};
use super::{State, StateError};

/// What became of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// A call waits for people. The same call, tried again, asks nobody again.
    Asked,
    /// Enough people have approved.
    Approved,
    /// Somebody has refused.
    Refused,
    /// Nobody decided in time, or nobody used it in time.
    Expired,
    /// What it was bound to has changed or ended, or somebody took it back.
    Withdrawn,
    /// The call was let through.
    Used,
    /// The call that was let through has ended.
    Outcome,
}

/// Something that became of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number in this file.
    pub no: i64,
    /// Its id, unique over all files.
    pub id: String,
    /// The hold.
    pub hold: String,
    /// What.
    pub kind: EventKind,
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// Why it ended, or how the call did.
    pub why: Option<String>,
    /// When the hold ended if nothing happened, as of then.
    pub deadline: u64,
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Of what it is told.
    pub kinds: Vec<EventKind>,
    /// Of holds that ask one of these groups; `None`: of all.
    pub groups: Option<Vec<String>>,
}

impl EventKind {
    /// All.
    pub const ALL: [EventKind; 7] = {
        use EventKind::{Approved, Asked, Expired, Outcome, Refused, Used, Withdrawn};
        [Asked, Approved, Refused, Expired, Withdrawn, Used, Outcome]
    };

    /// The word in configuration and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Asked => "asked",
            EventKind::Approved => "approved",
            EventKind::Refused => "refused",
            EventKind::Expired => "expired",
            EventKind::Withdrawn => "withdrawn",
            EventKind::Used => "used",
            EventKind::Outcome => "outcome",
        }
    }

    /// What a word stands for.
    #[must_use]
    pub fn of(word: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl State {
    /// Tells from now on these destinations, and no others: what another one was not told yet is dropped. Gives the names of those
    /// with how much was. A destination that said that it is gone is tried again.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn tell(&self, destinations: &[Destination]) -> Result<Vec<(String, u64)>, StateError> {
        self.write(|within, _| {
            let names: Vec<String> = destinations.iter().map(|one| one.name.clone()).collect();
            let others = "name NOT IN (SELECT value FROM json_each(?1))";
            let count = "(SELECT count(*) FROM deliveries WHERE destination = name AND dead IS NULL)";
            let sql = format!("SELECT name, {count} FROM destinations WHERE {others}");
            let named = list(&names)?;
            let read = |row: &Row<'_>| Ok((row.get(0)?, moment(row, 1)?.unwrap_or_default()));
            let dropped = within.prepare(&sql)?.query_map([&named], read)?.collect::<rusqlite::Result<_>>()?;
            let deliveries =
                "DELETE FROM deliveries WHERE destination NOT IN (SELECT value FROM json_each(?1))";
            within.execute(deliveries, [&named])?;
            within.execute(&format!("DELETE FROM destinations WHERE {others}"), [&named])?;
            let sql = "INSERT INTO destinations (name, kinds, groups) VALUES (?1, ?2, ?3) \
                       ON CONFLICT DO UPDATE SET kinds = ?2, groups = ?3, failures = 0, pause = 0, gone = NULL";
            for Destination { name, kinds, groups } in destinations {
                let kinds: Vec<String> = kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
                let groups = groups.as_deref().map(list).transpose()?;
                within.execute(sql, params![name, list(&kinds)?, groups])?;
            }
            prune(within)?;
            Ok(dropped)
        })
    }
}

/// Enters what became of a hold, after the change, in the transaction that makes it.
pub(super) fn note(
    within: &Transaction<'_>,
    (hold, kind): (&str, EventKind),
    why: Option<&str>,
    now: u64,
) -> rusqlite::Result<()> {
    // A hold's needs are `[{"group": …, "count": …}]`.
    let wants = "EXISTS (SELECT 1 FROM json_each(kinds) WHERE value = ?2) AND (groups IS NULL OR EXISTS ( \
                   SELECT 1 FROM json_each(groups) AS one, json_each((SELECT needs FROM holds WHERE id = ?1)) AS need \
                   WHERE one.value = json_extract(need.value, '$.group')))";
    let sql = format!(
        "INSERT INTO events (hold, kind, at, why, deadline) SELECT id, ?2, ?3, ?4, deadline \
         FROM holds WHERE id = ?1 AND EXISTS (SELECT 1 FROM destinations WHERE {wants})"
    );
    let row = params![hold, kind.as_str(), time(now), why];
    if within.prepare_cached(&sql)?.execute(row)? == 0 {
        return Ok(());
    }
    let sql = format!(
        "INSERT INTO deliveries (destination, event, hold, since, due, dead, error) \
         SELECT name, no, hold, at, at, iif(gone IS NULL, NULL, at), iif(gone IS NULL, NULL, error) FROM destinations, events WHERE no = last_insert_rowid() AND {wants}"
    );
    within.prepare_cached(&sql)?.execute(params![hold, kind.as_str()]).map(|_| ())
}

/// Removes events that nobody is to be told of any more.
pub(super) fn prune(within: &Transaction<'_>) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM events WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE event = no)";
    within.prepare_cached(sql)?.execute([])
}

/// An event from the columns `no, id, hold, kind, at, why, deadline` that begin a row.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Event> {
    let kind: String = row.get(3)?;
    let broken = || rusqlite::Error::FromSqlConversionFailure(3, Type::Text, "unknown".into());
    Ok(Event {
        no: row.get(0)?,
        id: row.get(1)?,
        hold: row.get(2)?,
        kind: EventKind::of(&kind).ok_or_else(broken)?,
        at: moment(row, 4)?.unwrap_or_default(),
        why: row.get(5)?,
        deadline: moment(row, 6)?.unwrap_or_default(),
    })
}
