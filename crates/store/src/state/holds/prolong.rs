//! More time to decide, a little at a time.

use ledger::RunId;
use rusqlite::{OptionalExtension as _, params};

use super::super::keys::time;
use super::seek::Place;
use super::{Cast, Hold};

/// Seconds that people are given at a time.
const MORE: u64 = 600;

/// How often people are given more time for one hold: an hour in all. Whoever asks is not to be kept waiting for ever.
pub const MOST_PROLONGED: u64 = 6;

impl Place<'_> {
    /// Moves the end of a hold that waits, as far as its run lives.
    pub(super) fn prolong(&mut self, hold: &Hold) -> rusqlite::Result<Cast> {
        let wanted = hold.deadline.saturating_add(MORE);
        let until = self.end_of_run(&hold.key.run)?.map_or(wanted, |end| end.min(wanted));
        if hold.prolonged >= MOST_PROLONGED || until <= hold.deadline {
            return Ok(Cast::LongEnough);
        }
        let sql = "UPDATE holds SET deadline = ?2, prolonged = prolonged + 1, changed = ?3 WHERE id = ?1";
        self.within.prepare_cached(sql)?.execute(params![hold.id, time(until), self.change])?;
        Ok(Cast::Prolonged(until))
    }

    /// When a minted run ends by itself. A login's goes on with the next token.
    fn end_of_run(&self, run: &str) -> rusqlite::Result<Option<u64>> {
        let Ok(run) = run.parse::<RunId>() else { return Ok(None) };
        let sql = "SELECT expires FROM runs WHERE id = ?";
        let end = self.within.query_row(sql, [run.0.as_slice()], |row| row.get::<_, i64>(0)).optional()?;
        // A time before 1970 is one that is long past.
        Ok(end.map(|end| u64::try_from(end).unwrap_or_default()))
    }
}
