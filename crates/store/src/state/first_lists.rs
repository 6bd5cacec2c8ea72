//! The first list of a server's tools, which pins them, where it comes in pages.
//!
//! It goes on with each page that was asked for by a cursor which one of its pages gave, and is at its end with a page that gives
//! none. A server that never ends it is trusted for ten minutes and so many cursors, no longer.

use ledger::Hash;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::keys::{moment, time};
use super::{State, StateError};

/// Seconds after the first page in which the others must come.
const LASTS: u64 = 600;

/// Cursors that are kept of a server.
const CURSORS: u32 = 1_000;

/// How a page of a list hangs together with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paging {
    /// Digest of the cursor that it was asked for by; `None`: it is where the list begins.
    pub cursor: Option<Hash>,
    /// Digest of the cursor by which the list goes on; `None`: it ends here.
    pub next: Option<Hash>,
}

impl Paging {
    /// Of a list that comes in one piece.
    pub const WHOLE: Paging = Paging { cursor: None, next: None };
}

impl State {
    /// Whether the first list of a server is not at its end yet, so that a page matters on which nothing is new.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn is_first_list_open(&self, server: &str, now: u64) -> Result<bool, StateError> {
        open_until(&self.reader(), server, now)
            .map(|until| until.is_some())
            .map_err(|source| self.failed(source))
    }
}

/// Takes in a page; `true`: it goes on with the server's first list, whose tools are accepted as they are.
pub(super) fn take_in(
    within: &Transaction<'_>,
    (server, paging): (&str, Paging),
    is_known: bool,
    now: u64,
) -> rusqlite::Result<bool> {
    within.execute("DELETE FROM first_lists WHERE until <= ?", [time(now)])?;
    let until = open_until(within, server, now)?;
    if is_known && until.is_none() {
        return Ok(false);
    }
    let goes_on = match paging.cursor {
        Some(cursor) => is_awaited(within, server, cursor)?,
        None => false,
    };
    let is_first = !is_known || goes_on;
    match paging.next {
        Some(next) if is_first || paging.cursor.is_none() => {
            await_next(within, (server, next), until.unwrap_or(now.saturating_add(LASTS)))?;
        }
        None if is_first || paging.cursor.is_none() => {
            within.execute("DELETE FROM first_lists WHERE server = ?", [server])?;
        }
        // It hangs together with no page of this list.
        _ => {}
    }
    Ok(is_first)
}

fn open_until(db: &Connection, server: &str, now: u64) -> rusqlite::Result<Option<u64>> {
    let sql = "SELECT until FROM first_lists WHERE server = ? AND until > ? LIMIT 1";
    let until =
        db.prepare_cached(sql)?.query_row(params![server, time(now)], |row| moment(row, 0)).optional()?;
    Ok(until.flatten())
}

fn is_awaited(db: &Connection, server: &str, cursor: Hash) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM first_lists WHERE server = ? AND cursor = ?)";
    db.query_row(sql, params![server, cursor.0.as_slice()], |row| row.get(0))
}

fn await_next(within: &Transaction<'_>, (server, next): (&str, Hash), until: u64) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO first_lists (server, cursor, until) SELECT ?1, ?2, ?3 \
               WHERE (SELECT count(*) FROM first_lists WHERE server = ?1) < ?4";
    within.execute(sql, params![server, next.0.as_slice(), time(until), CURSORS]).map(|_| ())
}
