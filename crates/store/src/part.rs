//! One day's share of a search.

use std::cmp::Reverse;

use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::file::damaged;
use crate::find::Order;
use crate::query::Query;
use crate::row::{self, CallRow, RowId};
use crate::segment::bytes::In;
use crate::segment::filter::{Filter, needs_words};
use crate::segment::summary::Summary;
use crate::segment::words::Words;
use crate::segment::{self, code};

/// What is asked of a day file.
pub(crate) struct Part<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) day: Date,
    pub(crate) query: &'a Query,
    pub(crate) order: Order,
    /// Only rows after this one.
    pub(crate) after: Option<RowId>,
    pub(crate) wanted: usize,
}

/// A segment as it stands in the file.
struct Segment {
    no: i64,
    summary: Summary,
}

impl Part<'_> {
    /// The first of the matching rows, in order.
    pub(crate) fn rows(&self) -> rusqlite::Result<Vec<CallRow>> {
        let mut found = self.recent()?;
        let mut segments = self.db.prepare_cached(match self.order {
            Order::Newest => {
                "SELECT no, first_id, last_id, summary FROM segments WHERE first_id < ? ORDER BY last_id DESC"
            }
            Order::Oldest => {
                "SELECT no, first_id, last_id, summary FROM segments WHERE last_id > ? ORDER BY first_id"
            }
        })?;
        let from =
            self.after.map_or(if self.order == Order::Newest { i64::MAX } else { i64::MIN }, |id| id.0);
        let mut segments = segments.query([from])?;
        while let Some(row) = segments.next()? {
            let (first, last) = (row.get(1)?, row.get(2)?);
            let full = found.len() >= self.wanted;
            if full && found.last().is_some_and(|worst| !self.is_before(first, last, worst.id)) {
                break;
            }
            let more = self.in_segment(&Segment::read(row)?)?;
            if !more.is_empty() {
                found.extend(more);
                self.sort(&mut found);
            }
        }
        Ok(found)
    }

    /// The matching rows among `ids`; those the file has are taken off the list, matching or not.
    pub(crate) fn picked(&self, ids: &mut Vec<RowId>) -> rusqlite::Result<Vec<CallRow>> {
        let mut found = Vec::new();
        let mut rest = Vec::new();
        let mut block = Vec::new();
        for id in ids.drain(..) {
            match self.row(id, &mut block)? {
                Some(row) => found.extend(Some(row).filter(|row| self.query.finds(row))),
                None => rest.push(id),
            }
        }
        *ids = rest;
        Ok(found)
    }

    /// The row of that id. `block` is the one that was expanded last: the next row is often in it.
    fn row(&self, id: RowId, block: &mut Vec<CallRow>) -> rusqlite::Result<Option<CallRow>> {
        let mut select = self.db.prepare_cached("SELECT row FROM recent WHERE id = ?")?;
        if let Some(row) = select.query_row([id], |row| self.decoded(row, 0)).optional()? {
            return Ok(Some(row));
        }
        let in_block = |block: &[CallRow]| block.iter().find(|row| row.id == id).cloned();
        if let Some(row) = in_block(block) {
            return Ok(Some(row));
        }
        let sql =
            "SELECT no, first_id, last_id, summary FROM segments WHERE first_id <= ?1 AND last_id >= ?1";
        let mut segments = self.db.prepare_cached(sql)?;
        let mut segments = segments.query([id])?;
        while let Some(row) = segments.next()? {
            let segment = Segment::read(row)?;
            for (at, known) in (0..).zip(&segment.summary.blocks) {
                if (known.first..=known.last).contains(&id.0) {
                    *block = self.block(segment.no, at)?;
                    if let Some(row) = in_block(block) {
                        return Ok(Some(row));
                    }
                }
            }
        }
        Ok(None)
    }

    /// The matching rows among those kept by themselves.
    fn recent(&self) -> rusqlite::Result<Vec<CallRow>> {
        let (sql, from) = match self.order {
            Order::Newest => ("SELECT row FROM recent WHERE id < ? ORDER BY id DESC", i64::MAX),
            Order::Oldest => ("SELECT row FROM recent WHERE id > ? ORDER BY id", i64::MIN),
        };
        let mut select = self.db.prepare_cached(sql)?;
        let mut rows = select.query([self.after.map_or(from, |id| id.0)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let row = self.decoded(row, 0)?;
            if self.query.finds(&row) {
                found.push(row);
            }
            if found.len() >= self.wanted {
                break;
            }
        }
        Ok(found)
    }

    /// The first of a segment's matching rows.
    fn in_segment(&self, segment: &Segment) -> rusqlite::Result<Vec<CallRow>> {
        let mut blocks: Vec<i64> = self.blocks(segment)?;
        if self.order == Order::Newest {
            blocks.reverse();
        }
        let mut found = Vec::new();
        for at in blocks {
            let mut rows = self.block(segment.no, at)?;
            rows.retain(|row| self.is_due(row.id) && self.query.finds(row));
            found.extend(rows);
            if found.len() >= self.wanted {
                break;
            }
        }
        Ok(found)
    }

    /// The blocks of a segment that may hold a match.
    fn blocks(&self, segment: &Segment) -> rusqlite::Result<Vec<i64>> {
        let summary = &segment.summary;
        let mut some = summary.all();
        if let Some(expr) = self.query.expr() {
            // The summary alone often tells that nothing matches.
            some = Filter { summary, words: None }.blocks(expr).some;
            if some != 0 && needs_words(expr) {
                let words = self.words(segment.no)?;
                let words = Some(Words::read(&words).ok_or_else(damaged)?);
                some = Filter { summary, words }.blocks(expr).some;
            }
        }
        let due = (0..).zip(&summary.blocks).filter(|(at, block)| {
            some >> at & 1 == 1 && (self.is_due(RowId(block.first)) || self.is_due(RowId(block.last)))
        });
        Ok(due.map(|(at, _)| at).collect())
    }

    fn words(&self, segment: i64) -> rusqlite::Result<Vec<u8>> {
        let mut select = self.db.prepare_cached("SELECT words FROM words WHERE segment = ?")?;
        select.query_row([segment], |row| segment::expand(row.get_ref(0)?.as_blob()?).ok_or_else(damaged))
    }

    fn block(&self, segment: i64, at: i64) -> rusqlite::Result<Vec<CallRow>> {
        let mut select = self.db.prepare_cached("SELECT rows FROM blocks WHERE id = ?")?;
        select.query_row(params![row::block_id(segment, at)], |row| {
            segment::rows(row.get_ref(0)?.as_blob()?, self.day).ok_or_else(damaged)
        })
    }

    fn decoded(&self, row: &Row<'_>, column: usize) -> rusqlite::Result<CallRow> {
        code::read(&mut In(row.get_ref(column)?.as_blob()?), self.day).ok_or_else(damaged)
    }

    /// Whether a row comes after the one that the page goes on from.
    fn is_due(&self, id: RowId) -> bool {
        self.after.is_none_or(|after| match self.order {
            Order::Newest => id < after,
            Order::Oldest => id > after,
        })
    }

    /// Whether a segment may have a row before `worst`.
    fn is_before(&self, first: RowId, last: RowId, worst: RowId) -> bool {
        match self.order {
            Order::Newest => last > worst,
            Order::Oldest => first < worst,
        }
    }

    /// Puts rows in order and leaves the first.
    fn sort(&self, found: &mut Vec<CallRow>) {
        match self.order {
            Order::Newest => found.sort_unstable_by_key(|row| Reverse(row.id)),
            Order::Oldest => found.sort_unstable_by_key(|row| row.id),
        }
        found.truncate(self.wanted);
    }
}

impl Segment {
    fn read(row: &Row<'_>) -> rusqlite::Result<Segment> {
        let summary = segment::summary(row.get_ref(3)?.as_blob()?).ok_or_else(damaged)?;
        Ok(Segment { no: row.get(0)?, summary })
    }
}
