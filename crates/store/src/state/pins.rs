//! Rows of pinned tools: the definition that was accepted, and the one that waits for somebody to look at it.

use ledger::Hash;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::first_lists::{self, Paging};
use super::keys::{moment, time};
use super::{Deed, State, StateError};

const COLUMNS: &str =
    "server, tool, accepted, accepted_digest, waiting, waiting_digest, first_seen, seen, accepted_by";

/// A tool's definition as its server sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The JSON object.
    pub json: String,
    /// Its canonical digest: what tells definitions apart.
    pub digest: Hash,
}

/// A tool of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The server's name.
    pub server: String,
    /// The tool's name.
    pub tool: String,
    /// What calls are judged by; `None`: nobody has accepted the tool yet.
    pub accepted: Option<Definition>,
    /// What the server said last, if that was not accepted.
    pub waiting: Option<Definition>,
    /// When the tool was first seen. Times are seconds since the Unix epoch.
    pub first_seen: u64,
    /// When it was last seen as it is now.
    pub seen: u64,
    /// Who accepted it; `None` for what was pinned at first sight.
    pub accepted_by: Option<String>,
}

/// What becomes of a tool that a server did not have before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newcomer {
    /// It is accepted.
    Pinned,
    /// It waits.
    Waiting,
}

impl State {
    /// Enters what a server offers on a page. A server of which nothing was known is accepted as it is, with the pages that go on
    /// with this one; what is new or different later waits, new tools if `newcomer` says so. Gives the rows that changed.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn see_tools(
        &self,
        (server, paging): (&str, Paging),
        tools: &[(String, Definition)],
        newcomer: Newcomer,
        now: u64,
    ) -> Result<Vec<Pin>, StateError> {
        self.write(|within, change| {
            let known = "SELECT EXISTS (SELECT 1 FROM pins WHERE server = ?)";
            let is_known: bool = within.query_row(known, [server], |row| row.get(0))?;
            let newcomer = match newcomer {
                Newcomer::Waiting if !first_lists::take_in(within, (server, paging), is_known, now)? => {
                    Newcomer::Waiting
                }
                _ => Newcomer::Pinned,
            };
            let mut changed = Vec::new();
            for (tool, definition) in tools {
                let before = one(within, server, tool)?;
                let Some(after) = seen(before.as_ref(), (server, tool), definition, newcomer, now) else {
                    continue;
                };
                put(within, &after, change)?;
                changed.push(after);
            }
            Ok(changed)
        })
    }

    /// Accepts the definition of that digest, which waits; `false`: it does not.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn accept_tool(&self, server: &str, tool: &str, digest: Hash, by: &str) -> Result<bool, StateError> {
        self.write(|within, change| {
            let Some(pin) = one(within, server, tool)? else { return Ok(false) };
            let Some(waiting) = pin.waiting.filter(|waiting| waiting.digest == digest) else {
                return Ok(false);
            };
            let accepted_by = Some(by.to_owned());
            put(within, &Pin { accepted: Some(waiting), waiting: None, accepted_by, ..pin }, change)?;
            let digest = digest.to_string();
            self.enter(within, &Deed::done("policy.accept", &format!("{server}/{tool}")).because(&digest))?;
            Ok(true)
        })
    }

    /// All pins, by server and tool.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn pins(&self) -> Result<Vec<Pin>, StateError> {
        let reader = self.reader();
        changed(&reader, -1).map_err(|source| self.failed(source))
    }
}

/// The row as it is once the tool was seen; `None` if it is that already.
fn seen(
    before: Option<&Pin>,
    (server, tool): (&str, &str),
    definition: &Definition,
    newcomer: Newcomer,
    now: u64,
) -> Option<Pin> {
    let accepted = before.and_then(|pin| pin.accepted.clone());
    let is_accepted = match &accepted {
        Some(accepted) => accepted.digest == definition.digest,
        None => before.is_none() && newcomer == Newcomer::Pinned,
    };
    let after = Pin {
        server: server.to_owned(),
        tool: tool.to_owned(),
        waiting: (!is_accepted).then(|| definition.clone()),
        accepted: accepted.or_else(|| is_accepted.then(|| definition.clone())),
        first_seen: before.map_or(now, |pin| pin.first_seen),
        seen: now,
        accepted_by: before.and_then(|pin| pin.accepted_by.clone()),
    };
    let digests = |pin: &Pin| [&pin.accepted, &pin.waiting].map(|side| side.as_ref().map(|side| side.digest));
    (before.map(digests) != Some(digests(&after))).then_some(after)
}

fn put(within: &Transaction<'_>, pin: &Pin, change: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO pins (server, tool, accepted, accepted_digest, waiting, waiting_digest, first_seen, seen, \
                 accepted_by, changed) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
               ON CONFLICT (server, tool) DO UPDATE SET accepted = ?3, accepted_digest = ?4, waiting = ?5, \
                 waiting_digest = ?6, seen = ?8, accepted_by = ?9, changed = ?10";
    let json = |side: &Option<Definition>| side.as_ref().map(|side| side.json.clone());
    let digest = |side: &Option<Definition>| side.as_ref().map(|side| side.digest.0.to_vec());
    let row = params![
        pin.server,
        pin.tool,
        json(&pin.accepted),
        digest(&pin.accepted),
        json(&pin.waiting),
        digest(&pin.waiting),
        time(pin.first_seen),
        time(pin.seen),
        pin.accepted_by,
        change,
    ];
    within.execute(sql, row).map(|_| ())
}

pub(super) fn one(db: &Connection, server: &str, tool: &str) -> rusqlite::Result<Option<Pin>> {
    let sql = format!("SELECT {COLUMNS} FROM pins WHERE server = ? AND tool = ?");
    db.query_row(&sql, [server, tool], read).optional()
}

pub(super) fn changed(db: &Connection, since: i64) -> rusqlite::Result<Vec<Pin>> {
    let sql = format!("SELECT {COLUMNS} FROM pins WHERE changed > ? ORDER BY server, tool");
    db.prepare_cached(&sql)?.query_map([since], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Pin> {
    let side = |json: usize| -> rusqlite::Result<Option<Definition>> {
        let digest: Option<[u8; 32]> = row.get(json + 1)?;
        let json: Option<String> = row.get(json)?;
        Ok(json.zip(digest).map(|(json, digest)| Definition { json, digest: Hash(digest) }))
    };
    Ok(Pin {
        server: row.get(0)?,
        tool: row.get(1)?,
        accepted: side(2)?,
        waiting: side(4)?,
        first_seen: moment(row, 6)?.unwrap_or_default(),
        seen: moment(row, 7)?.unwrap_or_default(),
        accepted_by: row.get(8)?,
    })
}
