//! The index as a whole: a folder of day files and the register, one writer, any number of readers.
//!
//! The story is [`Index::apply`]: fold the entries into rows, write each day's part, then move the watermark.
//! Day files are written before the register. A crash in between is harmless, since each file knows itself how
//! far it has come.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ledger::{Leaf, Payload, Seq};
use serde::Serialize;

use crate::day::{self, DayFile, Part};
use crate::error::IndexError;
use crate::facts::Facts;
use crate::file;
use crate::fold::Batch;
use crate::register::{Register, Step};
use crate::row::RowId;

/// Day files kept open for writing: today's, and yesterday's for the calls that were open at midnight.
const OPEN_DAYS: usize = 3;

/// How the index is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As its only writer; what is missing is made.
    ReadWrite,
    /// Beside a writer or without one; nothing is changed.
    ReadOnly,
}

/// How far the index has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Watermark {
    /// Origin of the log.
    pub origin: String,
    /// Number of records applied, so the seq of the next one.
    pub size: Seq,
}

/// A record and, if it has one that can be opened, its payload.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its place in the log.
    pub seq: Seq,
    /// The record.
    pub leaf: &'a Leaf,
    /// What was sealed with it.
    pub payload: Option<&'a Payload>,
}

/// A record and what the index keeps of its payload: [`Entry`] for who has read the facts already, on other threads perhaps.
#[derive(Debug)]
pub struct Record<'a> {
    /// Its place in the log.
    pub seq: Seq,
    /// The record.
    pub leaf: &'a Leaf,
    /// What its payload tells; `None` if it has none or it cannot be opened.
    pub facts: Option<Facts>,
}

/// The index under a data folder.
#[derive(Debug)]
pub struct Index {
    pub(crate) dir: PathBuf,
    pub(crate) register: Register,
    writer: Option<Writer>,
}

/// What only the writer has; dropping it lets the next writer in.
#[derive(Debug)]
struct Writer {
    _lock: File,
    days: BTreeMap<Date, DayFile>,
}

impl Index {
    /// Opens `data/index`.
    ///
    /// # Errors
    /// [`IndexError::Locked`] if another process writes it, [`IndexError::Missing`] if there is nothing to
    /// read, [`IndexError::Damaged`] or [`IndexError::Schema`] if it has to be made anew. A writer empties an index of an
    /// older schema: its feeder begins anew.
    pub fn open(data: &Path, mode: Mode) -> Result<Index, IndexError> {
        let dir = data.join("index");
        match mode {
            Mode::ReadWrite => {
                let lock = lock(&dir)?;
                Ok(Index::writing(dir, lock)?)
            }
            Mode::ReadOnly => Ok(Index { register: Register::read(&dir)?, dir, writer: None }),
        }
    }

    /// Empties `data/index`, whatever state its files are in, and opens it for writing.
    ///
    /// # Errors
    /// [`IndexError::Locked`] if another process writes it, [`IndexError::File`] if a file cannot be removed.
    pub fn recreate(data: &Path) -> Result<Index, IndexError> {
        let dir = data.join("index");
        let lock = lock(&dir)?;
        empty(&dir)?;
        Index::writing(dir, lock)
    }

    fn writing(dir: PathBuf, lock: File) -> Result<Index, IndexError> {
        let register = match Register::open(&dir) {
            Err(IndexError::Schema { found, known, .. }) if found < known => {
                empty(&dir)?;
                Register::open(&dir)?
            }
            opened => opened?,
        };
        Ok(Index { dir, register, writer: Some(Writer { _lock: lock, days: BTreeMap::new() }) })
    }

    /// Empties the index; its writer stays the writer.
    ///
    /// # Errors
    /// As [`Index::recreate`]; [`IndexError::ReadOnly`] if this is not the writer.
    pub fn clear(self) -> Result<Index, IndexError> {
        if self.writer.is_none() {
            return Err(IndexError::ReadOnly(self.dir));
        }
        let data = self.dir.parent().map(Path::to_owned).unwrap_or_default();
        drop(self);
        Index::recreate(&data)
    }

    /// Whether this is the index's writer.
    #[must_use]
    pub fn is_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// How far the index has come; `None` before the first entry.
    ///
    /// # Errors
    /// If the register cannot be read.
    pub fn watermark(&self) -> Result<Option<Watermark>, IndexError> {
        self.register.watermark()
    }

    /// Where to go on feeding the log `origin`: the watermark's size, or 0 for a log not seen yet.
    ///
    /// # Errors
    /// If the register cannot be read.
    pub fn next(&self, origin: &str) -> Result<Seq, IndexError> {
        Ok(Seq(self.register.mark(origin)?.size))
    }

    /// Applies entries of the log `origin` in order. Entries below the watermark are left out, so applying
    /// again changes nothing. When a day's file was deleted under the writer, the watermark goes **back** to
    /// that day's beginning and a new file is begun: whoever feeds goes on from [`Index::next`], always.
    ///
    /// # Errors
    /// [`IndexError::Order`] if entries are not in order; else what SQLite or the system says. After an error
    /// the watermark has not moved.
    pub fn apply<'a>(&mut self, origin: &str, entries: &[Entry<'a>]) -> Result<(), IndexError> {
        let record = |entry: &Entry<'a>| Record {
            seq: entry.seq,
            leaf: entry.leaf,
            facts: entry.payload.and_then(|payload| Facts::of(entry.leaf, payload)),
        };
        self.apply_facts(origin, entries.iter().map(record).collect())
    }

    /// As [`Index::apply`].
    ///
    /// # Errors
    /// As [`Index::apply`].
    pub fn apply_facts(&mut self, origin: &str, records: Vec<Record<'_>>) -> Result<(), IndexError> {
        let Some(writer) = &mut self.writer else { return Err(IndexError::ReadOnly(self.dir.clone())) };
        let mut mark = self.register.mark(origin)?;
        let batch = Batch::fold(mark, records)?;
        if batch.size <= mark.size {
            return Ok(());
        }
        let days =
            Days { dir: &self.dir, register: &self.register, open: &mut writer.days, no: mark.no, origin };
        let lost = days.write(&batch)?;
        mark.size = lost.map_or(batch.size, |id| id.seq().0);
        mark.counted = mark.counted.max(batch.size);
        self.register.commit(&Step { origin, mark, runs: &batch.runs })
    }
}

/// The day files as one batch sees them.
struct Days<'a> {
    dir: &'a Path,
    register: &'a Register,
    open: &'a mut BTreeMap<Date, DayFile>,
    no: u32,
    origin: &'a str,
}

impl Days<'_> {
    /// Writes all days, newest first; the first row of a day whose file is gone is returned, and a new file is
    /// there. What finds no row in the newest file it could be in is tried in the one before.
    fn write(mut self, batch: &Batch) -> Result<Option<RowId>, IndexError> {
        let mut known = self.register.days()?;
        let mut parts = self.parts(batch, &known);
        let mut lost: Option<RowId> = None;
        let mut carried = false;
        let mut begun = None;
        while let Some((day, part)) = parts.pop_last() {
            let path = self.dir.join(day::file_name(day));
            if self.open.get(&day).is_some_and(|f| f.is_gone() || !f.is_of(self.no)) {
                self.open.remove(&day);
            }
            let first = part.rows.first().map(|row| row.id);
            match (known.get(&day).copied(), first) {
                (None, Some(first)) => {
                    self.register.add_day(day, first)?;
                    begun = Some(begun.map_or(day, |other: Date| other.max(day)));
                    known.insert(day, first);
                }
                (Some(from), Some(_)) if !path.exists() => {
                    self.file(day, &path)?;
                    let from =
                        if from.origin() == i64::from(self.no) { from } else { RowId::new(self.no, Seq(0)) };
                    lost = Some(lost.map_or(from, |other| other.min(from)));
                    continue;
                }
                (_, None) if !path.exists() => continue,
                _ => {}
            }
            let origin = self.origin;
            let missed = self.file(day, &path)?.write(part, origin)?;
            let before = known.range(..day).next_back().filter(|_| !carried && !missed.is_empty());
            if let Some((before, _)) = before {
                carried = true;
                parts.entry(*before).or_insert_with(|| Part::new(batch)).take(missed);
            }
        }
        if let Some(begun) = begun {
            self.finish_before(begun, &known)?;
        }
        while self.open.len() > OPEN_DAYS {
            self.open.pop_first();
        }
        Ok(lost)
    }

    /// A day has begun: those before it get few rows more.
    fn finish_before(&mut self, begun: Date, known: &BTreeMap<Date, RowId>) -> Result<(), IndexError> {
        for day in known.range(..begun).rev().take(OPEN_DAYS).map(|(day, _)| *day) {
            let path = self.dir.join(day::file_name(day));
            if path.exists() {
                self.file(day, &path)?.finish()?;
            }
        }
        Ok(())
    }

    /// Sorts a batch by day. An end or a note goes to the day that was the newest when its intent came.
    fn parts<'b>(&self, batch: &'b Batch, known: &BTreeMap<Date, RowId>) -> BTreeMap<Date, Part<'b>> {
        let mut parts: BTreeMap<Date, Part<'b>> = BTreeMap::new();
        for row in &batch.rows {
            parts.entry(row.day).or_insert_with(|| Part::new(batch)).rows.push(row);
        }
        let home = |id: RowId| {
            known.iter().rev().filter(move |(_, first)| **first <= id).map(|(day, _)| *day).next()
        };
        for end in &batch.ends {
            if let Some(day) = home(end.id) {
                parts.entry(day).or_insert_with(|| Part::new(batch)).ends.push(end);
            }
        }
        for (seq, id) in &batch.notes {
            if let Some(day) = home(*id) {
                parts.entry(day).or_insert_with(|| Part::new(batch)).notes.push((*seq, *id));
            }
        }
        parts
    }

    fn file(&mut self, day: Date, path: &Path) -> Result<&mut DayFile, IndexError> {
        match self.open.entry(day) {
            std::collections::btree_map::Entry::Occupied(slot) => Ok(slot.into_mut()),
            std::collections::btree_map::Entry::Vacant(slot) => {
                Ok(slot.insert(DayFile::open(path, day, self.no, self.origin)?))
            }
        }
    }
}

/// The UTC day of a time in microseconds since the Unix epoch; the first or last day there is, if beyond.
pub(crate) fn day_of(t: i64) -> Date {
    match Timestamp::from_microsecond(t) {
        Ok(t) => t.to_zoned(TimeZone::UTC).date(),
        Err(_) if t < 0 => Date::MIN,
        Err(_) => Date::MAX,
    }
}

/// Removes the index's files.
fn empty(dir: &Path) -> Result<(), IndexError> {
    for entry in fs::read_dir(dir).map_err(|e| IndexError::file(dir, e))? {
        let path = entry.map_err(|e| IndexError::file(dir, e))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if [".sqlite", ".sqlite-wal", ".sqlite-shm"].iter().any(|end| name.ends_with(end)) {
            fs::remove_file(&path).map_err(|e| IndexError::file(&path, e))?;
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, IndexError> {
    file::make_folder(dir)?;
    let path = dir.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|e| IndexError::file(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(IndexError::Locked(dir.to_owned())),
        Err(TryLockError::Error(e)) => Err(IndexError::file(&path, e)),
    }
}
