//! Servers that an operator has connected: what the gateway shows them, sealed by who keeps it here.

use rusqlite::{OptionalExtension as _, params};

use super::keys::time;
use super::{Deed, State, StateError};

/// A server's connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// What opens the server, sealed; `None`: it was not connected, or no longer is.
    pub sealed: Option<Vec<u8>>,
    /// Scopes that the server has asked for since, parted by spaces.
    pub wanted: String,
}

impl State {
    /// The connection of a server, if there ever was one or it has asked for scopes.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn connection(&self, server: &str) -> Result<Option<Connection>, StateError> {
        let sql = "SELECT sealed, wanted FROM connections WHERE server = ?";
        let read = |row: &rusqlite::Row<'_>| Ok(Connection { sealed: row.get(0)?, wanted: row.get(1)? });
        let found = self.reader().query_row(sql, [server], read).optional();
        found.map_err(|source| self.failed(source))
    }

    /// Keeps what opens a server, in the place of what did.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn connect(&self, server: &str, sealed: &[u8], now: u64) -> Result<(), StateError> {
        self.write(|within, _| {
            let sql = "INSERT INTO connections (server, sealed, changed) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (server) DO UPDATE SET sealed = ?2, changed = ?3";
            within.execute(sql, params![server, sealed, time(now)])?;
            self.enter(within, &Deed::done("servers.connect", server))
        })
    }

    /// Keeps which scopes a server has asked for: the next connection is to have them.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn want_scopes(&self, server: &str, wanted: &str, now: u64) -> Result<(), StateError> {
        self.write(|within, _| {
            let sql = "INSERT INTO connections (server, wanted, changed) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (server) DO UPDATE SET wanted = ?2, changed = ?3";
            within.execute(sql, params![server, wanted, time(now)]).map(|_| ())
        })
    }
}
