//! Reading the runs.

use ledger::{RunId, Seq};
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;

use crate::error::IndexError;
use crate::index::Index;
use crate::query::HexPrefix;
use crate::row::{RowId, unsigned};

/// A run as far as the index has come. Counts are of rounds: each intent, and each refusal without one.
///
/// Text is as it was sent: **hostile**, to be made safe by whoever shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// Its first record.
    pub first: Seq,
    /// Its last record so far.
    pub last: Seq,
    /// Time of the first record in microseconds since the Unix epoch.
    pub t_first: i64,
    /// Time of the last record so far, likewise.
    pub t_last: i64,
    /// When it was opened, if the record says.
    pub opened: Option<i64>,
    /// When it was closed; none while it goes on.
    pub closed: Option<i64>,
    /// Why it was closed.
    pub reason: Option<String>,
    /// Who it was done for.
    pub principal: Option<String>,
    /// Name of the client software.
    pub agent: Option<String>,
    /// Its version.
    pub agent_version: Option<String>,
    /// `session` or `stateless`.
    pub era: Option<String>,
    /// Protocol version.
    pub version: Option<String>,
    /// The rule that made these calls one run.
    pub rule: Option<String>,
    /// The servers that were called, by name.
    pub servers: Vec<String>,
    /// Records of all kinds.
    pub records: u64,
    /// Intents, and refusals without one.
    pub calls: u64,
    /// Those that have ended, in whatever way.
    pub ended: u64,
    /// Those refused.
    pub denied: u64,
    /// Those that had to wait for a human.
    pub held: u64,
    /// Those forwarded that did not end well.
    pub failed: u64,
    /// Notes and one-way messages.
    pub notes: u64,
}

impl RunRow {
    /// Calls that have not ended yet.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.calls.saturating_sub(self.ended)
    }
}

/// Which runs to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only runs of this principal.
    pub principal: Option<String>,
    /// Only runs that called this server.
    pub server: Option<String>,
    /// Only runs whose id begins so.
    pub id: Option<HexPrefix>,
    /// At most so many; `None` for all.
    pub limit: Option<u32>,
}

const COLUMNS: &str = "run, first_id, last_id, t_first, t_last, opened, closed, reason, principal, agent, agent_version, \
     era, version, rule, (SELECT json_group_array(server) FROM run_servers s WHERE s.run = runs.run), \
     records, calls, ended, denied, held, failed, notes";

impl Index {
    /// The run, if the index knows it.
    ///
    /// # Errors
    /// If the register is damaged.
    pub fn run(&self, run: RunId) -> Result<Option<RunRow>, IndexError> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE run = ?");
        self.register
            .db
            .query_row(&sql, [run.0.as_slice()], read)
            .optional()
            .map_err(|e| self.register.failed(e))
    }

    /// The runs that fit, newest first.
    ///
    /// # Errors
    /// If the register is damaged.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, IndexError> {
        let (low, high) = filter.id.as_ref().map_or(([0; 16], [0xff; 16]), HexPrefix::range);
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE (?1 IS NULL OR principal = ?1) AND (?2 IS NULL OR EXISTS \
             (SELECT 1 FROM run_servers s WHERE s.run = runs.run AND s.server = ?2)) AND run >= ?3 AND run <= ?4 \
             ORDER BY first_id DESC LIMIT ?5"
        );
        let list = || {
            let mut statement = self.register.db.prepare(&sql)?;
            let limit = filter.limit.map_or(-1, i64::from);
            let bound = params![filter.principal, filter.server, low.as_slice(), high.as_slice(), limit];
            let rows = statement.query_map(bound, read)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        list().map_err(|e| self.register.failed(e))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let count = |i| unsigned(row, i).map(|n| n.unwrap_or(0));
    let servers: String = row.get(14)?;
    Ok(RunRow {
        run: RunId(row.get(0)?),
        first: row.get::<_, RowId>(1)?.seq(),
        last: row.get::<_, RowId>(2)?.seq(),
        t_first: row.get(3)?,
        t_last: row.get(4)?,
        opened: row.get(5)?,
        closed: row.get(6)?,
        reason: row.get(7)?,
        principal: row.get(8)?,
        agent: row.get(9)?,
        agent_version: row.get(10)?,
        era: row.get(11)?,
        version: row.get(12)?,
        rule: row.get(13)?,
        servers: serde_json::from_str(&servers).unwrap_or_default(),
        records: count(15)?,
        calls: count(16)?,
        ended: count(17)?,
        denied: count(18)?,
        held: count(19)?,
        failed: count(20)?,
        notes: count(21)?,
    })
}
