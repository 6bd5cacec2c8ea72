//! The published log on disk: checkpoint, tiles, bundles. C2SP tlog-tiles; see `docs/formats/folder.md`.
//!
//! Every file but `checkpoint` is written once and never changes. `checkpoint` is replaced last, so that a
//! reader who has it finds everything that it covers.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use ledger::Checkpoint;
use ledger::proof::TileSource;
use ledger::sequence::TileFile;
use ledger::tile::{TileId, WIDTH};
use serde::{Deserialize, Serialize};

use crate::clock::Day;
use crate::{disk, faults};

/// What is read of a day's checkpoints to find the last one; a line has a few hundred bytes.
const DAY_TAIL: u64 = 64 << 10;

/// The folder of a published log.
#[derive(Debug, Clone)]
pub(crate) struct LogFolder {
    pub(crate) path: PathBuf,
}

/// One line of `checkpoints/<day>`.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    note: String,
    t: u64,
}

impl LogFolder {
    /// The newest checkpoint as a reader sees it.
    pub(crate) fn checkpoint(&self) -> io::Result<Option<String>> {
        let Some(bytes) = disk::read_if_present(&self.path.join("checkpoint"))? else { return Ok(None) };
        String::from_utf8(bytes).map(Some).map_err(io::Error::other)
    }

    /// The newest note that was signed, published or not, by its size. Not verified.
    pub(crate) fn newest_note(&self) -> io::Result<Option<String>> {
        let mut notes: Vec<String> = self.checkpoint()?.into_iter().collect();
        let days = self.path.join("checkpoints");
        if days.is_dir() {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(&days)? {
                files.push(entry?.path());
            }
            files.sort_unstable();
            // A clock that was set back may have put a newer note into an older file.
            for file in files.iter().rev().take(2) {
                let text = std::fs::read_to_string(file)?;
                let last =
                    text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()).next_back();
                notes.extend(last.map(|line| line.note));
            }
        }
        Ok(notes.into_iter().max_by_key(|note| Checkpoint::parse(note).map_or(0, |found| found.size)))
    }

    /// The last note of each day, oldest day first. Not verified.
    pub(crate) fn last_notes(&self) -> io::Result<Vec<String>> {
        let mut notes = Vec::new();
        for file in self.days()? {
            notes.extend(last_note(&file)?);
        }
        Ok(notes)
    }

    fn days(&self) -> io::Result<Vec<PathBuf>> {
        let days = self.path.join("checkpoints");
        let mut files = Vec::new();
        if days.is_dir() {
            for entry in std::fs::read_dir(&days)? {
                files.push(entry?.path());
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Writes tiles and bundles; durable on return.
    pub(crate) fn write_files<'a>(&self, files: impl Iterator<Item = &'a TileFile>) -> io::Result<()> {
        let mut folders = BTreeSet::new();
        for file in files {
            let path = self.path.join(file.id.path());
            if let Some(folder) = path.parent() {
                disk::create_folder(folder)?;
                folders.insert(folder.to_owned());
            }
            faults::at("tile.write")?;
            disk::replace(&path, &file.bytes)?;
        }
        faults::at("tile.sync")?;
        folders.iter().try_for_each(|folder| disk::sync_folder(folder))
    }

    /// Lists a signed checkpoint under its day and then makes it the newest; durable on return.
    pub(crate) fn write_checkpoint(&self, note: &str, time: u64) -> io::Result<()> {
        let days = self.path.join("checkpoints");
        disk::create_folder(&days)?;
        let path = days.join(Day::of(time).text());
        let is_new = !path.exists();
        let mut line = serde_json::to_string(&Line { note: note.to_owned(), t: time })?;
        line.push('\n');
        faults::at("checkpoint.list")?;
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()?;
        if is_new {
            disk::restrict(&file)?;
            disk::sync_folder(&days)?;
        }
        faults::at("checkpoint.replace")?;
        disk::replace_durably(&self.path.join("checkpoint"), note.as_bytes())?;
        faults::at("checkpoint.replaced")
    }

    /// Removes the partial tiles that `written` has replaced, but for those in `keep`.
    pub(crate) fn remove_partials(&self, written: &[TileId], keep: &BTreeSet<PathBuf>) -> io::Result<()> {
        faults::at("partial.remove")?;
        for id in written {
            let full = self.path.join(TileId { width: WIDTH, ..*id }.path());
            let partials = append(&full, ".p");
            if !partials.is_dir() {
                continue;
            }
            if id.width == WIDTH {
                std::fs::remove_dir_all(&partials)?;
                continue;
            }
            for entry in std::fs::read_dir(&partials)? {
                let path = entry?.path();
                if !keep.contains(&path) {
                    disk::remove_if_present(&path)?;
                }
            }
        }
        Ok(())
    }
}

impl TileSource for LogFolder {
    /// A partial tile that is gone is served from a wider one that replaced it, as tlog-tiles has it.
    fn tile(&self, id: TileId) -> Option<Vec<u8>> {
        // A wider one may itself be replaced between the look and the read.
        (0..3).find_map(|_| {
            let exact = std::fs::read(self.path.join(id.path())).ok();
            exact.or_else(|| self.wider(id).and_then(|bytes| truncate(bytes, id)))
        })
    }
}

impl LogFolder {
    fn wider(&self, id: TileId) -> Option<Vec<u8>> {
        let full = self.path.join(TileId { width: WIDTH, ..id }.path());
        if let Ok(bytes) = std::fs::read(&full) {
            return Some(bytes);
        }
        let names = std::fs::read_dir(append(&full, ".p")).ok()?;
        let widths = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
        let width = widths.filter(|width| *width >= id.width).max()?;
        std::fs::read(self.path.join(TileId { width, ..id }.path())).ok()
    }
}

/// The last whole line of a day; a torn one was not published.
fn last_note(day: &Path) -> io::Result<Option<String>> {
    let mut file = std::fs::File::open(day)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(DAY_TAIL)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let lines = tail.split(|byte| *byte == b'\n').rev();
    let last = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()).next();
    Ok(last.map(|line| line.note))
}

/// Cuts a full tile or bundle to the width of a partial one.
fn truncate(mut bytes: Vec<u8>, id: TileId) -> Option<Vec<u8>> {
    let width = usize::try_from(id.width).ok()?;
    let length = match id.level {
        Some(_) => width.checked_mul(32)?,
        None => ledger::tile::entries(&bytes)?.get(..width)?.iter().map(|entry| entry.len() + 2).sum(),
    };
    if length > bytes.len() {
        return None;
    }
    bytes.truncate(length);
    Some(bytes)
}

fn append(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    PathBuf::from(text)
}
