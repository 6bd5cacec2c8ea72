//! The file that spans days: how far the index has come, which day files there should be, and the runs.
//!
//! Two positions are kept for each origin. `size` is where feeding goes on; it goes back when a day file was
//! lost. `counted` is how far the runs' counters have come; it never goes back, so nothing counts twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use ledger::{RunId, Seq};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::IndexError;
use crate::file;
use crate::fold::RunChange;
use crate::index::Watermark;
use crate::row::{self, RowId};

pub(crate) const FILE: &str = "runs.sqlite";
const SCHEMA: &str = include_str!("runs.sql");

#[derive(Debug)]
pub(crate) struct Register {
    path: PathBuf,
    pub(crate) db: Connection,
}

/// An origin's number and positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) no: u32,
    pub(crate) size: u64,
    pub(crate) counted: u64,
}

impl Register {
    pub(crate) fn open(dir: &Path) -> Result<Register, IndexError> {
        let path = dir.join(FILE);
        let db = file::writable(&path, SCHEMA)?;
        Ok(Register { path, db })
    }

    pub(crate) fn read(dir: &Path) -> Result<Register, IndexError> {
        let path = dir.join(FILE);
        match file::readable(&path)? {
            Some(db) => Ok(Register { path, db }),
            None => Err(IndexError::Missing(dir.to_owned())),
        }
    }

    pub(crate) fn failed(&self, source: rusqlite::Error) -> IndexError {
        IndexError::of(&self.path, source)
    }

    /// The newest origin and where feeding goes on.
    pub(crate) fn watermark(&self) -> Result<Option<Watermark>, IndexError> {
        self.db
            .query_row("SELECT origin, size FROM origins ORDER BY no DESC LIMIT 1", [], |r| {
                Ok(Watermark { origin: r.get(0)?, size: Seq(row::unsigned(r, 1)?.unwrap_or(0)) })
            })
            .optional()
            .map_err(|e| self.failed(e))
    }

    /// The positions of `origin`; its number is the next free one if it is new.
    pub(crate) fn mark(&self, origin: &str) -> Result<Mark, IndexError> {
        let known = self
            .db
            .prepare_cached("SELECT no, size, counted FROM origins WHERE origin = ?")
            .and_then(|mut s| {
                s.query_row([origin], |r| {
                    let at = |i| row::unsigned(r, i).map(|n| n.unwrap_or(0));
                    Ok(Mark { no: r.get(0)?, size: at(1)?, counted: at(2)? })
                })
                .optional()
            })
            .map_err(|e| self.failed(e))?;
        if let Some(mark) = known {
            return Ok(mark);
        }
        let no = self.db.query_row("SELECT ifnull(max(no), 0) + 1 FROM origins", [], |r| r.get(0));
        Ok(Mark { no: no.map_err(|e| self.failed(e))?, size: 0, counted: 0 })
    }

    /// The days that have a file, with the first row's id.
    pub(crate) fn days(&self) -> Result<BTreeMap<Date, RowId>, IndexError> {
        let read = || {
            let mut statement = self.db.prepare("SELECT day, first_id FROM days")?;
            let rows = statement.query_map([], |r| Ok((r.get::<_, String>(0)?, r.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let days = read().map_err(|e| self.failed(e))?;
        Ok(days.into_iter().filter_map(|(day, id)| Some((day.parse().ok()?, id))).collect())
    }

    /// Puts a day on the list before its file is made.
    pub(crate) fn add_day(&self, day: Date, first: RowId) -> Result<(), IndexError> {
        let sql = "INSERT OR IGNORE INTO days (day, first_id) VALUES (?, ?)";
        self.db.execute(sql, params![day.to_string(), first]).map(|_| ()).map_err(|e| self.failed(e))
    }

    /// Counts the runs and moves the positions, in one transaction.
    pub(crate) fn commit(&mut self, step: &Step<'_>) -> Result<(), IndexError> {
        self.transact(step).map_err(|e| self.failed(e))
    }

    fn transact(&mut self, step: &Step<'_>) -> rusqlite::Result<()> {
        let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for (run, change) in step.runs {
            count(&tx, run, change)?;
        }
        tx.prepare_cached("INSERT OR REPLACE INTO origins (no, origin, size, counted) VALUES (?, ?, ?, ?)")?
            .execute(params![
                step.mark.no,
                step.origin,
                row::number(Some(step.mark.size)),
                row::number(Some(step.mark.counted))
            ])?;
        tx.commit()
    }
}

/// What one batch changes in the register.
pub(crate) struct Step<'a> {
    pub(crate) origin: &'a str,
    pub(crate) mark: Mark,
    pub(crate) runs: &'a BTreeMap<RunId, RunChange>,
}

fn count(db: &Connection, run: &RunId, change: &RunChange) -> rusqlite::Result<()> {
    let run = run.0.as_slice();
    db.prepare_cached(
        "INSERT INTO runs (run, t_first, t_last, first_id, last_id, opened, closed, reason, principal, agent, \
           agent_version, era, version, rule, records, calls, ended, denied, held, failed, notes) \
         VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21) \
         ON CONFLICT (run) DO UPDATE SET t_last = max(t_last, ?3), last_id = ?5, opened = coalesce(opened, ?6), \
           closed = coalesce(?7, closed), reason = coalesce(?8, reason), principal = coalesce(principal, ?9), \
           agent = coalesce(agent, ?10), agent_version = coalesce(agent_version, ?11), era = coalesce(era, ?12), \
           version = coalesce(version, ?13), rule = coalesce(rule, ?14), records = records + ?15, \
           calls = calls + ?16, ended = ended + ?17, denied = denied + ?18, held = held + ?19, \
           failed = failed + ?20, notes = notes + ?21",
    )?
    .execute(params![
        run,
        change.t_first,
        change.t_last,
        change.first,
        change.last,
        change.opened,
        change.closed,
        change.reason,
        change.principal,
        change.agent,
        change.agent_version,
        change.era,
        change.version,
        change.rule,
        change.records,
        change.calls,
        change.ended,
        change.denied,
        change.held,
        change.failed,
        change.notes,
    ])?;
    for server in &change.servers {
        db.prepare_cached("INSERT OR IGNORE INTO run_servers (run, server) VALUES (?, ?)")?
            .execute(params![run, server])?;
    }
    Ok(())
}
