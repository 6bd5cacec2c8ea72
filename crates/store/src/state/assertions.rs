//! Assertions that were accepted: each logs somebody in once, also after a restart.

use ledger::Hash;
use rusqlite::params;

use super::keys::time;
use super::{State, StateError};

impl State {
    /// Spends an assertion, by its digest; `false`: it was spent before. It is remembered until `until`, and what has
    /// ended by `now` is forgotten.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn spend_assertion(&self, digest: Hash, until: u64, now: u64) -> Result<bool, StateError> {
        self.write(|within, _| {
            within.execute("DELETE FROM assertions WHERE until <= ?", [time(now)])?;
            let sql = "INSERT INTO assertions (digest, until) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            Ok(within.execute(sql, params![digest.0.as_slice(), time(until)])? == 1)
        })
    }
}
