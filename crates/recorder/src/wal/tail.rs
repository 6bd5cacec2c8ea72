//! The publisher's reading end: follows the durable part of the log, frame by frame.
//!
//! It reads nothing beyond the position it is given, so it never sees a frame that is being written.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::Position;
use super::layout::{FRAME_HEADER_BYTES, Found, Record, SEGMENT_HEADER_BYTES, read_frame};
use super::scan::Anchor;
use super::segments;
use crate::input::Input;

/// Bytes that are read at a time: many frames are small.
const AHEAD_BYTES: usize = 256 * 1024;

/// Reads leaves in order.
#[derive(Debug)]
pub(crate) struct Tail {
    folder: PathBuf,
    segment: u64,
    file: Option<File>,
    offset: u64,
    next_seq: u64,
    /// Durable bytes of the segment, from `at` on.
    buffer: Vec<u8>,
    at: u64,
}

impl Tail {
    /// Starts at the first frame of `segment`, whose first leaf is `first_seq`.
    pub(crate) fn new(folder: PathBuf, segment: u64, first_seq: u64) -> Self {
        Self { folder, segment, file: None, offset: start(), next_seq: first_seq, buffer: Vec::new(), at: 0 }
    }

    /// Gives the records of one durable frame to `visit`, in order, with their seq.
    /// False when everything up to `durable` has been read.
    ///
    /// # Errors
    /// When a segment cannot be read, or what was durable is no longer there.
    pub(crate) fn next_frame(
        &mut self,
        durable: Position,
        mut visit: impl FnMut(u64, Record<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        if self.next_seq >= durable.size {
            return Ok(false);
        }
        let size = loop {
            if let Some(size) = self.load(durable)? {
                break size;
            }
            if self.segment >= durable.segment {
                return Err(self.damaged("a durable frame is missing"));
            }
            self.segment += 1;
            self.file = None;
            self.buffer.clear();
            self.offset = start();
        };
        let Found::Frame(frame) = read_frame(self.ahead(size)) else {
            return Err(self.damaged("a durable frame is damaged"));
        };
        if frame.place.first_seq != self.next_seq {
            return Err(self.damaged("a durable frame is out of place"));
        }
        let mut next_seq = self.next_seq;
        for record in &frame.records {
            visit(next_seq, *record)?;
            next_seq += 1;
        }
        self.next_seq = next_seq;
        self.offset += u64::try_from(size).map_err(io::Error::other)?;
        Ok(true)
    }

    /// Has the frame at the offset in the buffer and gives its size; none when no frame starts there.
    fn load(&mut self, durable: Position) -> io::Result<Option<usize>> {
        self.fill(FRAME_HEADER_BYTES, durable)?;
        let header = self.ahead(FRAME_HEADER_BYTES);
        let mut input = Input::new(header);
        if header.len() < FRAME_HEADER_BYTES || input.u32().is_none_or(|magic| magic == 0) {
            return Ok(None);
        }
        let size = input.length().unwrap_or_default().saturating_add(12);
        self.fill(size, durable)?;
        if self.ahead(size).len() < size {
            return Err(self.damaged("a durable frame is damaged"));
        }
        Ok(Some(size))
    }

    /// At most so many bytes at the offset, as far as they are in the buffer.
    fn ahead(&self, size: usize) -> &[u8] {
        let start = self.offset.checked_sub(self.at).and_then(|start| usize::try_from(start).ok());
        let ahead = start.and_then(|start| self.buffer.get(start..)).unwrap_or_default();
        ahead.get(..size).unwrap_or(ahead)
    }

    /// Reads on where fewer bytes are in the buffer. Nothing beyond the durable position is kept: it may be written just now.
    fn fill(&mut self, size: usize, durable: Position) -> io::Result<()> {
        if self.ahead(size).len() == size {
            return Ok(());
        }
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(segments::path_of(&self.folder, self.segment))?,
        };
        let file = self.file.insert(file);
        let end = if self.segment == durable.segment { durable.offset } else { u64::MAX };
        let durable_bytes = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.buffer.clear();
        self.at = self.offset;
        let wanted = durable_bytes.min(size.max(AHEAD_BYTES)) as u64;
        file.seek(SeekFrom::Start(self.offset))?;
        file.take(wanted).read_to_end(&mut self.buffer)?;
        Ok(())
    }

    fn damaged(&self, what: &str) -> io::Error {
        io::Error::other(format!("{what} in segment {} at offset {}", self.segment, self.offset))
    }
}

/// Number of leaves that the log has now, beside a process that writes it.
///
/// # Errors
/// When a segment cannot be read.
pub(crate) fn written(folder: &Path, anchor: Anchor) -> io::Result<u64> {
    let last = segments::list(folder)?.into_iter().next_back().unwrap_or_default();
    let mut tail = Tail::new(folder.to_owned(), anchor.segment, anchor.first_seq);
    let end = Position { segment: last, offset: u64::MAX, size: u64::MAX };
    loop {
        match tail.next_frame(end, |_, _| Ok(())) {
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            // Where no whole frame is yet, the log ends.
            Ok(false) | Err(_) => return Ok(tail.next_seq),
        }
    }
}

fn start() -> u64 {
    u64::try_from(SEGMENT_HEADER_BYTES).unwrap_or(u64::MAX)
}
