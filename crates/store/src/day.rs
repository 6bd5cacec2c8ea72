//! The file of one UTC day while it is written: rows of the calls that began on it.
//!
//! Each file keeps how far it has seen the log, written in the same transaction as the rows. That, and not the
//! register's watermark, decides what is applied to it: whatever the order in which a crash leaves the files,
//! applying again changes nothing.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use crate::error::IndexError;
use crate::file;
use crate::fold::{Batch, End};
use crate::query::sql::FAILED;
use crate::row::{self, CallRow, RowId};

const SCHEMA: &str = include_str!("calls.sql");

/// Name of a day's file.
pub(crate) fn file_name(day: jiff::civil::Date) -> String {
    format!("calls-{day}.sqlite")
}

/// The day that a file's name says.
pub(crate) fn day_of(name: &str) -> Option<jiff::civil::Date> {
    name.strip_prefix("calls-")?.strip_suffix(".sqlite")?.parse().ok()
}

#[derive(Debug)]
pub(crate) struct DayFile {
    path: PathBuf,
    db: Connection,
    progress: Progress,
}

/// What the file has seen of one origin.
#[derive(Debug, Clone, Copy)]
struct Progress {
    no: u32,
    size: u64,
    ordered: bool,
    last_t: i64,
}

impl DayFile {
    pub(crate) fn open(path: &Path, no: u32, origin: &str) -> Result<DayFile, IndexError> {
        let db = file::writable(path, SCHEMA)?;
        let failed = |e| IndexError::of(path, e);
        let known: Option<(String, i64, bool)> = db
            .query_row("SELECT origin, size, ordered FROM progress WHERE no = ?", [no], |r| {
                Ok((r.get(0)?, r.get(1)?, r.get(2)?))
            })
            .optional()
            .map_err(failed)?;
        let last_t = db
            .query_row("SELECT t_start FROM calls ORDER BY id DESC LIMIT 1", [], |r| r.get(0))
            .optional()
            .map_err(failed)?
            .unwrap_or(i64::MIN);
        let progress = match known {
            Some((name, _, _)) if name != origin => return Err(IndexError::Foreign(path.to_owned())),
            Some((_, size, ordered)) => {
                Progress { no, size: u64::try_from(size).unwrap_or(0), ordered, last_t }
            }
            None => Progress { no, size: 0, ordered: true, last_t },
        };
        Ok(DayFile { path: path.to_owned(), db, progress })
    }

    /// Whether the file was taken away, so that what is written to it would be lost.
    pub(crate) fn is_gone(&self) -> bool {
        !self.path.exists()
    }

    pub(crate) fn is_of(&self, no: u32) -> bool {
        self.progress.no == no
    }

    /// Writes this day's part of a batch. Returns the ends and notes that found no row here.
    pub(crate) fn write<'b>(&mut self, part: Part<'b>, origin: &str) -> Result<Part<'b>, IndexError> {
        if self.progress.size >= part.size {
            return Ok(Part { rows: Vec::new(), ..part });
        }
        let (progress, missed) = self.transact(&part, origin).map_err(|e| IndexError::of(&self.path, e))?;
        self.progress = progress;
        Ok(missed)
    }

    fn transact<'b>(&mut self, part: &Part<'b>, origin: &str) -> rusqlite::Result<(Progress, Part<'b>)> {
        let mut next = Progress { size: part.size, ..self.progress };
        let mut missed = Part { size: part.size, ..Part::default() };
        let from = self.progress.size;
        let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut insert = tx.prepare_cached(&insert_text())?;
            for row in &part.rows {
                row::insert(&mut insert, row, attention(row.verdict.as_deref(), row.status.as_deref()))?;
                next.ordered &= row.t_start >= next.last_t;
                next.last_t = next.last_t.max(row.t_start);
            }
            let mut update = tx.prepare_cached(UPDATE)?;
            for end in &part.ends {
                if end.seq.0 < from || finish(&mut update, end)? == 0 {
                    missed.ends.push(end);
                }
            }
            let mut note = tx.prepare_cached("UPDATE calls SET notes = notes + 1 WHERE id = ?")?;
            for (seq, id) in &part.notes {
                if seq.0 < from || note.execute([id])? == 0 {
                    missed.notes.push((*seq, *id));
                }
            }
            tx.prepare_cached(
                "INSERT OR REPLACE INTO progress (no, origin, size, ordered) VALUES (?, ?, ?, ?)",
            )?
            .execute(params![next.no, origin, row::number(Some(next.size)), next.ordered])?;
        }
        tx.commit()?;
        Ok((next, missed))
    }
}

/// What a batch has for one day.
#[derive(Debug, Default)]
pub(crate) struct Part<'a> {
    pub(crate) rows: Vec<&'a CallRow>,
    pub(crate) ends: Vec<&'a End>,
    pub(crate) notes: Vec<(ledger::Seq, RowId)>,
    pub(crate) size: u64,
}

impl<'a> Part<'a> {
    pub(crate) fn new(batch: &Batch) -> Part<'a> {
        Part { size: batch.size, ..Part::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.notes.is_empty()
    }

    /// Adds what another day's file did not have.
    pub(crate) fn take(&mut self, missed: Part<'a>) {
        self.ends.extend(missed.ends);
        self.notes.extend(missed.notes);
    }
}

fn insert_text() -> String {
    format!("INSERT OR REPLACE INTO calls ({}) VALUES ({})", row::COLUMNS, row::HOLES)
}

const UPDATE: &str = "UPDATE calls SET seq_end = ?1, t_end = ?2, status = ?3, answer_bytes = ?4, http_status = ?5, \
     error = ?6, result = ?7, reason = coalesce(?8, reason), verdict = coalesce(?9, verdict), \
     attention = max(attention, ?10) WHERE id = ?11";

fn finish(update: &mut Statement<'_>, end: &End) -> rusqlite::Result<usize> {
    update.execute(params![
        row::number(Some(end.seq.0)),
        end.t,
        end.status,
        row::number(end.answer_bytes),
        end.http_status,
        end.error,
        end.result,
        end.reason,
        end.verdict,
        attention(end.verdict.as_deref(), Some(&end.status)),
        end.id,
    ])
}

/// Whether somebody may want to look at it: it was not simply allowed, or it failed.
fn attention(verdict: Option<&str>, status: Option<&str>) -> i64 {
    let judged = verdict.is_some_and(|v| v != "allow");
    let failed = status.is_some_and(|s| FAILED.contains(&s));
    i64::from(judged || failed)
}
