//! Reading the index: search over the day files, page by page, and single calls.
//!
//! Each day file is asked for the ids first and for the rows then, so that sorting moves ids and not 16 KiB
//! texts. Where a file's times rise with its ids (always, unless a clock was moved back by hand), bounds in
//! time become bounds in ids by binary search.

use std::fs;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use jiff::civil::Date;
use ledger::{CallId, RunId, Seq};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};
use serde::Serialize;

use crate::day;
use crate::error::IndexError;
use crate::file;
use crate::index::{Index, day_of};
use crate::query::Query;
use crate::query::sql::Condition;
use crate::row::{self, CallRow, Cursor, RowId};

/// Which end a search begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Latest record first.
    Newest,
    /// Earliest record first.
    Oldest,
}

/// A part of a search's result. Pages do not shift when rows are added.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Where to begin.
    pub order: Order,
    /// How many rows at most.
    pub limit: NonZeroU32,
    /// Go on after this row ([`CallRow::cursor`]); `None` for the first page.
    pub after: Option<Cursor>,
}

/// A day file, for `tollbook index status`.
#[derive(Debug, Clone, Serialize)]
pub struct DayStatus {
    /// The UTC day.
    pub day: String,
    /// Whether its file is there; one that is not was deleted, for space or by mistake.
    pub present: bool,
    /// Rows in it.
    pub rows: u64,
    /// Size of the file and its journal in bytes.
    pub bytes: u64,
}

impl Index {
    /// The calls that match, in order of their records. One-way messages only if the query names `kind`.
    ///
    /// # Errors
    /// If a file is damaged or of another schema. A file deleted meanwhile is left out.
    pub fn search(&self, query: &Query, page: &Page) -> Result<Vec<CallRow>, IndexError> {
        let bounds = query.time_bounds();
        let mut found = Vec::new();
        let mut days = self.files()?;
        if page.order == Order::Newest {
            days.reverse();
        }
        for (day, path) in days {
            let passed = page.after.is_some_and(|after| match page.order {
                Order::Newest => day > after.day,
                Order::Oldest => day < after.day,
            });
            if passed || day < day_of(*bounds.start()) || day > day_of(*bounds.end()) {
                continue;
            }
            let wanted = page.limit.get().saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            if wanted == 0 {
                break;
            }
            let Some(db) = file::readable(&path)? else { continue };
            let part = Part { db: &db, day, query, page, bounds: &bounds, wanted };
            found.extend(part.rows().map_err(|e| IndexError::of(&path, e))?);
        }
        Ok(found)
    }

    /// Those of the given intents, refusals or messages of the newest log that match the query, in their order.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn matching(&self, query: &Query, seqs: &[Seq]) -> Result<Vec<CallRow>, IndexError> {
        let Some(watermark) = self.watermark()? else { return Ok(Vec::new()) };
        let no = self.register.mark(&watermark.origin)?.no;
        let mut ids: Vec<RowId> = seqs.iter().map(|seq| RowId::new(no, *seq)).collect();
        ids.sort_unstable();
        let mut found = Vec::new();
        for (day, path) in self.files()?.into_iter().rev() {
            if ids.is_empty() {
                break;
            }
            let Some(db) = file::readable(&path)? else { continue };
            let rows = picked(&db, day, query, &mut ids).map_err(|e| IndexError::of(&path, e))?;
            found.extend(rows);
        }
        found.sort_by_key(|row| row.id);
        Ok(found)
    }

    /// All rounds of a call, in order.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn call(&self, call: CallId) -> Result<Vec<CallRow>, IndexError> {
        self.all("call = ? AND kind <> 'note'", call.0.to_vec(), i64::MIN..=i64::MAX)
    }

    /// All rows of a run, one-way messages and notes among them, in order.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn of_run(&self, run: RunId) -> Result<Vec<CallRow>, IndexError> {
        let known = self.run(run)?;
        let bounds = known.map_or(i64::MIN..=i64::MAX, |run| run.t_first..=run.t_last);
        self.all("run = ?", run.0.to_vec(), bounds)
    }

    /// The day files there are and those that should be there, oldest first.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn days(&self) -> Result<Vec<DayStatus>, IndexError> {
        let mut days = self.register.days()?.into_keys().collect::<Vec<_>>();
        let files = self.files()?;
        days.extend(files.iter().map(|(day, _)| *day));
        days.sort_unstable();
        days.dedup();
        let mut found = Vec::new();
        for day in days {
            let path = self.dir.join(day::file_name(day));
            let journal = path.with_extension("sqlite-wal");
            let bytes = [&path, &journal].iter().map(|p| fs::metadata(p).map_or(0, |m| m.len())).sum();
            let (present, rows) = match file::readable(&path)? {
                None => (false, 0),
                Some(db) => {
                    let rows = db.query_row("SELECT count(*) FROM calls", [], |r| row::unsigned(r, 0));
                    (true, rows.map_err(|e| IndexError::of(&path, e))?.unwrap_or(0))
                }
            };
            found.push(DayStatus { day: day.to_string(), present, rows, bytes });
        }
        Ok(found)
    }

    fn all(
        &self,
        condition: &str,
        key: Vec<u8>,
        bounds: RangeInclusive<i64>,
    ) -> Result<Vec<CallRow>, IndexError> {
        let key = Value::Blob(key);
        let mut found = Vec::new();
        for (day, path) in self.files()? {
            if day < day_of(*bounds.start()) || day > day_of(*bounds.end()) {
                continue;
            }
            let Some(db) = file::readable(&path)? else { continue };
            let rows = select(&db, day, &format!("{condition} ORDER BY id"), std::slice::from_ref(&key));
            found.extend(rows.map_err(|e| IndexError::of(&path, e))?);
        }
        Ok(found)
    }

    /// The day files in the folder, oldest first.
    fn files(&self) -> Result<Vec<(Date, PathBuf)>, IndexError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|e| IndexError::file(&self.dir, e))? {
            let entry = entry.map_err(|e| IndexError::file(&self.dir, e))?;
            if let Some(day) = entry.file_name().to_str().and_then(day::day_of) {
                files.push((day, entry.path()));
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

/// One day's share of a page.
struct Part<'a> {
    db: &'a Connection,
    day: Date,
    query: &'a Query,
    page: &'a Page,
    bounds: &'a RangeInclusive<i64>,
    wanted: u32,
}

impl Part<'_> {
    fn rows(&self) -> rusqlite::Result<Vec<CallRow>> {
        let mut condition = condition(self.query);
        let (word, after) = match self.page.order {
            Order::Newest => ("DESC", "id < ?"),
            Order::Oldest => ("ASC", "id > ?"),
        };
        let mut also = |text: &str, id: RowId| {
            condition.text.push_str(" AND ");
            condition.text.push_str(text);
            condition.bound.push(Value::Integer(id.0));
        };
        if let Some(cursor) = self.page.after.filter(|cursor| cursor.day == self.day) {
            also(after, cursor.id);
        }
        if ordered(self.db)? {
            if *self.bounds.start() != i64::MIN {
                also("id >= ?", first_at(self.db, *self.bounds.start())?);
            }
            if let Some(end) = self.bounds.end().checked_add(1) {
                also("id < ?", first_at(self.db, end)?);
            }
        }
        let tail = format!(
            "id IN (SELECT id FROM calls WHERE {} ORDER BY id {word} LIMIT ?) ORDER BY id {word}",
            condition.text
        );
        condition.bound.push(Value::Integer(i64::from(self.wanted)));
        select(self.db, self.day, &tail, &condition.bound)
    }
}

/// The query's condition, with one-way messages left out unless asked for.
fn condition(query: &Query) -> Condition {
    let mut condition = query.expr().map(Condition::of).unwrap_or_default();
    if condition.text.is_empty() {
        condition.text.push('1');
    }
    if !query.names_kind() {
        condition.text.push_str(" AND kind <> 'note'");
    }
    condition
}

fn select(db: &Connection, day: Date, tail: &str, bound: &[Value]) -> rusqlite::Result<Vec<CallRow>> {
    let mut statement = db.prepare_cached(&format!("SELECT {} FROM calls WHERE {tail}", row::COLUMNS))?;
    let rows = statement.query_map(params_from_iter(bound), |r| row::read(day, r))?;
    rows.collect()
}

/// The matching rows among `ids`; those the file has are taken off the list, matching or not.
fn picked(db: &Connection, day: Date, query: &Query, ids: &mut Vec<RowId>) -> rusqlite::Result<Vec<CallRow>> {
    let condition = condition(query);
    let tail = format!("id = ? AND ({})", condition.text);
    let mut found = Vec::new();
    let mut rest = Vec::new();
    for id in ids.drain(..) {
        let here = db.prepare_cached("SELECT 1 FROM calls WHERE id = ?")?.exists([id])?;
        if !here {
            rest.push(id);
            continue;
        }
        let bound: Vec<Value> =
            std::iter::once(Value::Integer(id.0)).chain(condition.bound.iter().cloned()).collect();
        found.extend(select(db, day, &tail, &bound)?);
    }
    *ids = rest;
    Ok(found)
}

/// Whether times rise with ids throughout the file.
fn ordered(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) = 1 AND min(ordered) = 1 FROM progress", [], |r| r.get(0))
}

/// The first id with a time of at least `t`, or one past the last.
fn first_at(db: &Connection, t: i64) -> rusqlite::Result<RowId> {
    let mut next = db.prepare_cached("SELECT id, t_start FROM calls WHERE id >= ? ORDER BY id LIMIT 1")?;
    let mut at =
        |id: i64| next.query_row([id], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?))).optional();
    let ends =
        db.query_row("SELECT (SELECT min(id) FROM calls), (SELECT max(id) + 1 FROM calls)", [], |r| {
            Ok((r.get(0)?, r.get(1)?))
        })?;
    let (Some(mut low), Some(mut high)): (Option<i64>, Option<i64>) = ends else { return Ok(RowId(0)) };
    while low < high {
        let middle = low + (high - low) / 2;
        match at(middle)? {
            Some((id, found)) if found < t => low = id + 1,
            _ => high = middle,
        }
    }
    Ok(RowId(low))
}
