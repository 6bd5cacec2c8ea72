//! Clients that registered themselves, and the refresh tokens of logins.

use ledger::{Hash, RunId};
use rusqlite::{OptionalExtension as _, params};

use super::keys::{list, moment, strings, time};
use super::{State, StateError, runs};

/// Clients that never logged anybody in; beyond that the oldest make way. Registering needs no credentials.
const NEWCOMERS: i64 = 1000;

/// Seconds that a client has for its first login before it may have to make way: as long as a login takes.
const FIRST_LOGIN: u64 = 600;

/// Clients that have logged somebody in; beyond that those make way whose last login is longest ago, and over.
const USED: i64 = 10_000;

/// A client that registered itself (RFC 7591).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredClient {
    /// Its id.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// Where a login may lead back to.
    pub redirects: Vec<String>,
    /// When it registered, in seconds since the Unix epoch.
    pub created: u64,
}

/// What became of a refresh token that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// It is spent now, and the next one stands in its place.
    Rotated(RunId),
    /// It had been spent before: somebody else has it too.
    Reused(RunId),
    /// It is none of this client's.
    Unknown,
}

impl State {
    /// Adds a client; its id is new. `false`: there are too many that have just registered, and this one is not added.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_client(&self, client: &RegisteredClient) -> Result<bool, StateError> {
        self.write_aside(|within| {
            let newcomers: i64 =
                within.query_row("SELECT count(*) FROM clients WHERE used IS NULL", [], |row| row.get(0))?;
            let surplus = newcomers - NEWCOMERS + 1;
            if surplus > 0 {
                let oldest = "DELETE FROM clients WHERE id IN (SELECT id FROM clients WHERE used IS NULL \
                                AND created <= ?1 ORDER BY created LIMIT ?2)";
                let until = time(client.created.saturating_sub(FIRST_LOGIN));
                if within.execute(oldest, params![until, surplus])? == 0 {
                    return Ok(false);
                }
            }
            let sql = "INSERT INTO clients (id, name, redirects, created) VALUES (?1, ?2, ?3, ?4)";
            let row = params![client.id, client.name, list(&client.redirects)?, time(client.created)];
            within.execute(sql, row).map(|_| true)
        })
    }

    /// The client of that id.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn client(&self, id: &str) -> Result<Option<RegisteredClient>, StateError> {
        let sql = "SELECT id, name, redirects, created FROM clients WHERE id = ?";
        let read = |row: &rusqlite::Row<'_>| {
            let created = moment(row, 3)?.unwrap_or_default();
            Ok(RegisteredClient { id: row.get(0)?, name: row.get(1)?, redirects: strings(row, 2)?, created })
        };
        let found = self.reader().query_row(sql, [id], read).optional();
        found.map_err(|source| self.failed(source))
    }

    /// Adds a login's first refresh token, by its digest. Those of runs that have expired are forgotten, and so are clients
    /// that have not logged anybody in for longest, where there are too many.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_refresh(&self, run: RunId, client: &str, digest: Hash, now: u64) -> Result<(), StateError> {
        self.write(|within, _| {
            let over = "DELETE FROM refreshes WHERE run IN (SELECT id FROM runs WHERE expires <= ?)";
            within.execute(over, [time(now)])?;
            let sql = "INSERT INTO refreshes (digest, run, client) VALUES (?1, ?2, ?3)";
            within.execute(sql, params![digest.0.as_slice(), run.0.as_slice(), client])?;
            within.execute("UPDATE clients SET used = ?2 WHERE id = ?1", params![client, time(now)])?;
            let sql = "SELECT count(*) FROM clients WHERE used IS NOT NULL";
            let used: i64 = within.query_row(sql, [], |row| row.get(0))?;
            if used > USED {
                let oldest = "DELETE FROM clients WHERE id IN (SELECT id FROM clients WHERE used IS NOT NULL \
                                AND id NOT IN (SELECT client FROM refreshes) ORDER BY used LIMIT ?)";
                within.execute(oldest, [used - USED])?;
            }
            Ok(())
        })
    }

    /// The run that a client's refresh token is of, spent or not, by its digest.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn refresh_of(&self, client: &str, digest: Hash) -> Result<Option<RunId>, StateError> {
        let sql = "SELECT run FROM refreshes WHERE digest = ?1 AND client = ?2";
        let row = params![digest.0.as_slice(), client];
        let found = self.reader().query_row(sql, row, |row| row.get(0).map(RunId)).optional();
        found.map_err(|source| self.failed(source))
    }

    /// Spends a client's refresh token for the next one, both by their digests. One that was spent before revokes the
    /// run, in the same transaction: whoever has it can only have stolen it, or it was stolen.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn rotate_refresh(
        &self,
        client: &str,
        digest: Hash,
        next: Hash,
        now: u64,
    ) -> Result<Refresh, StateError> {
        self.write(|within, change| {
            let sql = "SELECT run, spent FROM refreshes WHERE digest = ?1 AND client = ?2";
            let found: Option<([u8; 16], Option<i64>)> = within
                .query_row(sql, params![digest.0.as_slice(), client], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((run, spent)) = found else { return Ok(Refresh::Unknown) };
            let id = RunId(run);
            if spent.is_some() {
                runs::revoke(self, within, change, (id, "a refresh token that came twice", now))?;
                return Ok(Refresh::Reused(id));
            }
            let sql = "UPDATE refreshes SET spent = ?2 WHERE digest = ?1";
            within.execute(sql, params![digest.0.as_slice(), time(now)])?;
            let sql = "INSERT INTO refreshes (digest, run, client) VALUES (?1, ?2, ?3)";
            within.execute(sql, params![next.0.as_slice(), run.as_slice(), client])?;
            Ok(Refresh::Rotated(id))
        })
    }
}
