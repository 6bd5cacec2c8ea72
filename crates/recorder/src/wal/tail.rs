//! The publisher's reading end: follows the durable part of the log, frame by frame.
//!
//! It reads nothing beyond the position it is given, so it never sees a frame that is being written.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::Position;
use super::layout::{FRAME_HEADER_BYTES, Found, Record, SEGMENT_HEADER_BYTES, read_frame};
use super::scan::Anchor;
use super::segments;
use crate::input::Input;

/// Reads leaves in order.
#[derive(Debug)]
pub(crate) struct Tail {
    folder: PathBuf,
    segment: u64,
    file: Option<File>,
    offset: u64,
    next_seq: u64,
    buffer: Vec<u8>,
}

impl Tail {
    /// Starts at the first frame of `segment`, whose first leaf is `first_seq`.
    pub(crate) fn new(folder: PathBuf, segment: u64, first_seq: u64) -> Self {
        Self { folder, segment, file: None, offset: start(), next_seq: first_seq, buffer: Vec::new() }
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
        while !self.load()? {
            if self.segment >= durable.segment {
                return Err(self.damaged("a durable frame is missing"));
            }
            self.segment += 1;
            self.file = None;
            self.offset = start();
        }
        let Found::Frame(frame) = read_frame(&self.buffer) else {
            return Err(self.damaged("a durable frame is damaged"));
        };
        if frame.place.first_seq != self.next_seq {
            return Err(self.damaged("a durable frame is out of place"));
        }
        self.offset += u64::try_from(frame.size).map_err(io::Error::other)?;
        for record in &frame.records {
            visit(self.next_seq, *record)?;
            self.next_seq += 1;
        }
        Ok(true)
    }

    /// Reads the frame at the offset into the buffer; false when none starts there.
    fn load(&mut self) -> io::Result<bool> {
        let path = segments::path_of(&self.folder, self.segment);
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(path)?,
        };
        let file = self.file.insert(file);
        let end = file.metadata()?.len();
        let header_bytes = u64::try_from(FRAME_HEADER_BYTES).unwrap_or(u64::MAX);
        if self.offset.saturating_add(header_bytes) > end {
            return Ok(false);
        }
        self.buffer.resize(FRAME_HEADER_BYTES, 0);
        file.read_exact_at(&mut self.buffer, self.offset)?;
        let mut input = Input::new(&self.buffer);
        if input.u32().is_none_or(|magic| magic == 0) {
            return Ok(false);
        }
        let size = input.length().unwrap_or_default().saturating_add(12);
        if self.offset.saturating_add(u64::try_from(size).unwrap_or(u64::MAX)) > end {
            return Err(self.damaged("a durable frame is damaged"));
        }
        self.buffer.resize(size, 0);
        file.read_exact_at(&mut self.buffer, self.offset)?;
        Ok(true)
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
