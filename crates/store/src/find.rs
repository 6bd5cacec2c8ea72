//! Reading the index: search over the day files, page by page, and single calls.
//!
//! In each day file the rows that are kept by themselves are judged one by one; segments are asked by their summaries for the
//! blocks that may hold a match, and only those are expanded.

use std::fs;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use jiff::civil::Date;
use ledger::{CallId, RunId, Seq};
use serde::Serialize;

use crate::day;
use crate::error::IndexError;
use crate::file;
use crate::index::{Index, day_of};
use crate::part::Part;
use crate::query::{Exact, Expr, HexPrefix, Pattern, Piece, Query, Term};
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
        self.search_within(query, page, &query.time_bounds())
    }

    pub(crate) fn search_within(
        &self,
        query: &Query,
        page: &Page,
        bounds: &RangeInclusive<i64>,
    ) -> Result<Vec<CallRow>, IndexError> {
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
            let limit = usize::try_from(page.limit.get()).unwrap_or(usize::MAX);
            let wanted = limit.saturating_sub(found.len());
            if wanted == 0 {
                break;
            }
            let Some(db) = file::readable(&path)? else { continue };
            let after = page.after.filter(|cursor| cursor.day == day).map(|cursor| cursor.id);
            let part = Part { db: &db, day, query, order: page.order, after, wanted };
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
            let part = Part { db: &db, day, query, order: Order::Oldest, after: None, wanted: ids.len() };
            let rows = part.picked(&mut ids).map_err(|e| IndexError::of(&path, e))?;
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
        self.all(Term::Call(HexPrefix::of(&call.0)), &(i64::MIN..=i64::MAX))
    }

    /// All rows of a run, one-way messages and notes among them, in order.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub fn of_run(&self, run: RunId) -> Result<Vec<CallRow>, IndexError> {
        let known = self.run(run)?;
        let bounds = known.map_or(i64::MIN..=i64::MAX, |run| run.t_first..=run.t_last);
        self.all(Term::Run(HexPrefix::of(&run.0)), &bounds)
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
                    let rows = db.query_row(
                        "SELECT (SELECT count(*) FROM recent) + (SELECT ifnull(sum(rows), 0) FROM segments)",
                        [],
                        |r| row::unsigned(r, 0),
                    );
                    (true, rows.map_err(|e| IndexError::of(&path, e))?.unwrap_or(0))
                }
            };
            found.push(DayStatus { day: day.to_string(), present, rows, bytes });
        }
        Ok(found)
    }

    /// Every row that the term holds for, notes of a run among them.
    fn all(&self, term: Term, bounds: &RangeInclusive<i64>) -> Result<Vec<CallRow>, IndexError> {
        let mut parts = Vec::new();
        if matches!(term, Term::Run(_)) {
            parts.push(Expr::Term(Term::Exact(Exact::Kind, Pattern::new(vec![Piece::Any]))));
        }
        parts.push(Expr::Term(term));
        let query = Expr::all(parts).map(Query::from).unwrap_or_default();
        let page = Page { order: Order::Oldest, limit: NonZeroU32::MAX, after: None };
        self.search_within(&query, &page, bounds)
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
