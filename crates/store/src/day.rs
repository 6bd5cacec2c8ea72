//! The file of one UTC day while it is written: rows of the calls that began on it.
//!
//! A row is kept by itself (`recent`) while its call is open and until there are enough that have ended to make a segment.
//!
//! Each file keeps how far it has seen the log, written in the same transaction as the rows. That, and not the
//! register's watermark, decides what is applied to it: whatever the order in which a crash leaves the files,
//! applying again changes nothing.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use crate::error::IndexError;
use crate::file;
use crate::fold::{Batch, End};
use crate::row::{self, CallRow, RowId, RowKind};
use crate::segment::bytes::{In, Out};
use crate::segment::{BLOCK_ROWS, Packed, Packer, SEGMENT_ROWS, code};

const SCHEMA: &str = include_str!("calls.sql");

/// So many ended rows make a segment: fewer are quickly looked at one by one.
const ENOUGH: usize = 2_048;

/// Name of a day's file.
pub(crate) fn file_name(day: Date) -> String {
    format!("calls-{day}.sqlite")
}

/// The day that a file's name says.
pub(crate) fn day_of(name: &str) -> Option<Date> {
    name.strip_prefix("calls-")?.strip_suffix(".sqlite")?.parse().ok()
}

#[derive(Debug)]
pub(crate) struct DayFile {
    path: PathBuf,
    day: Date,
    db: Connection,
    progress: Progress,
}

/// What the file has seen of one origin.
#[derive(Debug, Clone, Copy)]
struct Progress {
    no: u32,
    size: u64,
    /// Ended rows outside of segments.
    ended: usize,
}

impl DayFile {
    pub(crate) fn open(path: &Path, day: Date, no: u32, origin: &str) -> Result<DayFile, IndexError> {
        let db = file::writable(path, SCHEMA)?;
        let failed = |e| IndexError::of(path, e);
        let known: Option<(String, Option<u64>)> = db
            .query_row("SELECT origin, size FROM progress WHERE no = ?", [no], |r| {
                Ok((r.get(0)?, row::unsigned(r, 1)?))
            })
            .optional()
            .map_err(failed)?;
        let ended = db
            .query_row("SELECT count(*) FROM recent WHERE ended = 1", [], |r| row::unsigned(r, 0))
            .map_err(failed)?
            .and_then(|ended| usize::try_from(ended).ok())
            .unwrap_or(0);
        let size = match known {
            Some((name, _)) if name != origin => return Err(IndexError::Foreign(path.to_owned())),
            Some((_, size)) => size.unwrap_or(0),
            None => 0,
        };
        Ok(DayFile { path: path.to_owned(), day, db, progress: Progress { no, size, ended } })
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

    /// Makes a segment of what has ended, however little: the day is over.
    pub(crate) fn finish(&mut self) -> Result<(), IndexError> {
        if self.progress.ended == 0 {
            return Ok(());
        }
        let day = self.day;
        let mut finish = || {
            let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            Open { tx: &tx, day }.seal(Vec::new())?;
            tx.commit()
        };
        finish().map_err(|e| IndexError::of(&self.path, e))?;
        self.progress.ended = 0;
        Ok(())
    }

    fn transact<'b>(&mut self, part: &Part<'b>, origin: &str) -> rusqlite::Result<(Progress, Part<'b>)> {
        let mut next = Progress { size: part.size, ..self.progress };
        let mut missed = Part { size: part.size, ..Part::default() };
        let from = self.progress.size;
        let tx = self.db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let open = Open { tx: &tx, day: self.day };
        for end in &part.ends {
            if end.seq.0 >= from && open.change(end.id, |row| (*end).clone().apply(row))? {
                next.ended += 1;
            } else {
                missed.ends.push(end);
            }
        }
        for (seq, id) in &part.notes {
            if seq.0 < from || !open.change(*id, |row| row.notes += 1)? {
                missed.notes.push((*seq, *id));
            }
        }
        let new = part.rows.iter().copied().filter(|row| !is_known(row, from));
        let (ended, unended): (Vec<&CallRow>, Vec<&CallRow>) = new.partition(|row| is_ended(row));
        unended.into_iter().try_for_each(|row| open.put(row))?;
        next.ended += ended.len();
        if next.ended < ENOUGH {
            ended.into_iter().try_for_each(|row| open.put(row))?;
        } else {
            open.seal(ended)?;
            next.ended = 0;
        }
        tx.prepare_cached("INSERT OR REPLACE INTO progress (no, origin, size) VALUES (?, ?, ?)")?
            .execute(params![next.no, origin, row::number(Some(next.size))])?;
        tx.commit()?;
        Ok((next, missed))
    }
}

/// Whether nothing changes the row any more.
fn is_ended(row: &CallRow) -> bool {
    row.kind != RowKind::Call || row.seq_end.is_some()
}

/// Whether a file that has seen the log up to `from` has the row as it is here.
fn is_known(row: &CallRow, from: u64) -> bool {
    row.seq.0 < from && is_ended(row) && row.seq_end.is_none_or(|end| end.0 < from)
}

/// A file within a transaction.
struct Open<'t> {
    tx: &'t Transaction<'t>,
    day: Date,
}

impl Open<'_> {
    fn put(&self, row: &CallRow) -> rusqlite::Result<()> {
        let mut out = Out::default();
        code::write(&mut out, row);
        let sql = "INSERT OR REPLACE INTO recent (id, ended, row) VALUES (?, ?, ?)";
        self.tx.prepare_cached(sql)?.execute(params![row.id, is_ended(row), out.0])?;
        Ok(())
    }

    /// Changes a row that is kept by itself; `false` if there is none.
    fn change(&self, id: RowId, change: impl FnOnce(&mut CallRow)) -> rusqlite::Result<bool> {
        let mut select = self.tx.prepare_cached("SELECT row FROM recent WHERE id = ?")?;
        let Some(bytes) = select.query_row([id], |r| r.get::<_, Vec<u8>>(0)).optional()? else {
            return Ok(false);
        };
        let mut row = code::read(&mut In(&bytes), self.day).ok_or_else(file::damaged)?;
        change(&mut row);
        self.put(&row)?;
        Ok(true)
    }

    /// Makes segments of these rows and of all that have ended before.
    fn seal(&self, rows: Vec<&CallRow>) -> rusqlite::Result<()> {
        let mut all = self.ended()?;
        all.extend(rows.into_iter().map(Cow::Borrowed));
        all.sort_unstable_by_key(|row| row.id);
        let parts = all.len().div_ceil(SEGMENT_ROWS).max(1);
        // Blocks are full but for the last one.
        let each = all.len().div_ceil(parts).next_multiple_of(BLOCK_ROWS);
        let parts: Vec<&[Cow<'_, CallRow>]> = all.chunks(each).collect();
        for packed in pack(&parts)? {
            self.write(&packed)?;
        }
        self.tx.execute("DELETE FROM recent WHERE ended = 1", [])?;
        Ok(())
    }

    fn ended(&self) -> rusqlite::Result<Vec<Cow<'static, CallRow>>> {
        let mut select = self.tx.prepare_cached("SELECT row FROM recent WHERE ended = 1 ORDER BY id")?;
        let rows = select.query_map([], |r| {
            let row = code::read(&mut In(r.get_ref(0)?.as_blob()?), self.day);
            Ok(Cow::Owned(row.ok_or_else(file::damaged)?))
        })?;
        rows.collect()
    }

    fn write(&self, packed: &Packed) -> rusqlite::Result<()> {
        let rows = i64::try_from(packed.rows).unwrap_or(i64::MAX);
        self.tx
            .prepare_cached("INSERT INTO segments (first_id, last_id, rows, summary) VALUES (?, ?, ?, ?)")?
            .execute(params![packed.first, packed.last, rows, packed.summary])?;
        let no = self.tx.last_insert_rowid();
        self.tx
            .prepare_cached("INSERT INTO words (segment, words) VALUES (?, ?)")?
            .execute(params![no, packed.words])?;
        let mut insert = self.tx.prepare_cached("INSERT INTO blocks (id, rows) VALUES (?, ?)")?;
        for (at, block) in (0..).zip(&packed.blocks) {
            insert.execute(params![row::block_id(no, at), block])?;
        }
        Ok(())
    }
}

/// Packs each part; several at once on a thread each.
fn pack(parts: &[&[Cow<'_, CallRow>]]) -> rusqlite::Result<Vec<Packed>> {
    let pack = |rows: &[Cow<'_, CallRow>]| -> std::io::Result<Packed> {
        let mut packer = Packer::default();
        rows.iter().try_for_each(|row| packer.add(row))?;
        packer.finish()
    };
    let failed = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut packed = Vec::new();
    for some in parts.chunks(threads) {
        let [first, others @ ..] = some else { continue };
        let done = std::thread::scope(|scope| {
            let others: Vec<_> = others.iter().map(|rows| scope.spawn(|| pack(rows))).collect();
            let first = pack(first);
            let joined = others.into_iter().map(|other| {
                other.join().unwrap_or_else(|_| Err(std::io::Error::other("a thread that packs rows failed")))
            });
            std::iter::once(first).chain(joined).collect::<std::io::Result<Vec<_>>>()
        });
        packed.extend(done.map_err(failed)?);
    }
    Ok(packed)
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
