//! What runs have used of the limits that policies set.

use rusqlite::params;
use rusqlite::types::Type;

use super::keys::{moment, time};
use super::{State, StateError};

/// What a run has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// What names the run.
    pub run: String,
    /// When nobody asks for it any more, in milliseconds since the Unix epoch.
    pub until_ms: u64,
    /// By policy and limit: moments and amounts.
    pub counters: Vec<(String, Vec<(u64, u64)>)>,
}

impl State {
    /// Keeps what runs have used, and drops those whose time is over.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn keep_budgets(&self, budgets: &[Budget], now_ms: u64) -> Result<(), StateError> {
        self.write(|within, _| {
            within.execute("DELETE FROM budgets WHERE until <= ?", [time(now_ms)])?;
            let sql = "INSERT INTO budgets (run, until, counters) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (run) DO UPDATE SET until = ?2, counters = ?3";
            for Budget { run, until_ms, counters } in budgets {
                let counters = serde_json::to_string(counters)
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
                within.execute(sql, params![run, time(*until_ms), counters])?;
            }
            Ok(())
        })
    }

    /// All that is kept.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn budgets(&self) -> Result<Vec<Budget>, StateError> {
        let reader = self.reader();
        let read = || -> rusqlite::Result<Vec<Budget>> {
            let mut statement = reader.prepare_cached("SELECT run, until, counters FROM budgets")?;
            let rows = statement.query_map([], |row| {
                let counters: String = row.get(2)?;
                let counters = serde_json::from_str(&counters).map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(2, Type::Text, error.into())
                })?;
                Ok(Budget { run: row.get(0)?, until_ms: moment(row, 1)?.unwrap_or_default(), counters })
            })?;
            rows.collect()
        };
        read().map_err(|source| self.failed(source))
    }
}
