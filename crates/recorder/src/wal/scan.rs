//! Reading the whole log at a start, and telling a torn write from damage.
//!
//! A crash can leave the last frame unfinished: nothing valid stands behind it, nobody was told that it is
//! durable, and it is cut off. Anything valid behind something bad means that durable records were lost or
//! changed; then nothing is repaired and the start is refused.

use std::io;
use std::path::{Path, PathBuf};

use super::layout::{
    FRAME_MAGIC, Found, FramePlace, Lineage, Record, SEGMENT_HEADER_BYTES, SegmentHeader, read_frame,
};
use super::{Position, segments};
use crate::disk;
use crate::version;

/// Why the log cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// A segment could not be read or repaired.
    #[error("cannot read the write-ahead log `{}`", path.display())]
    Io {
        /// The segment or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Durable records are lost or changed. Nothing was touched.
    #[error(
        "the write-ahead log is damaged in `{}` at offset {offset}: {what}; do not delete it: \
         run `tollbook verify` to see what is published, then restore the data folder from a copy",
        path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in the segment.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// Where the records begin that a start must read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) segment: u64,
    pub(crate) first_seq: u64,
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// End of the valid frames.
    pub(crate) position: Position,
    pub(crate) previous_frame: [u8; 32],
    /// Whether a segment with frames exists; if not, `position.segment` is the one to create.
    pub(crate) has_segment: bool,
    /// Whether an unfinished frame was cut off.
    pub(crate) torn: bool,
    /// For each segment read, its number and first leaf.
    pub(crate) segments: Vec<Anchor>,
}

/// Reads all segments from `anchor` on and gives each record with its seq to `visit`; then cuts off a torn
/// tail and removes segments that hold nothing.
///
/// # Errors
/// When the log is damaged, or on any error of the file system or of `visit`.
pub(crate) fn scan(
    folder: &Path,
    lineage: Lineage,
    anchor: Anchor,
    visit: impl FnMut(Anchor, u64, Record<'_>) -> Result<(), &'static str>,
) -> Result<Scanned, WalError> {
    let numbers = segments::list(folder).map_err(|source| io_error(folder, source))?;
    let mut scanner = Scanner {
        folder,
        lineage,
        visit,
        found: Scanned {
            position: Position { segment: anchor.segment, offset: 0, size: anchor.first_seq },
            previous_frame: [0; 32],
            has_segment: false,
            torn: false,
            segments: Vec::new(),
        },
        tail: None,
    };
    let mut unused = Vec::new();
    for number in numbers.into_iter().filter(|number| *number >= anchor.segment) {
        if !scanner.segment(number)? {
            unused.push(number);
        }
    }
    scanner.finish(&unused)
}

struct Scanner<'a, V> {
    folder: &'a Path,
    lineage: Lineage,
    visit: V,
    found: Scanned,
    /// Segment and offset of bytes that are not a frame.
    tail: Option<(u64, usize)>,
}

impl<V: FnMut(Anchor, u64, Record<'_>) -> Result<(), &'static str>> Scanner<'_, V> {
    /// Reads one segment; false when it holds no frame.
    fn segment(&mut self, number: u64) -> Result<bool, WalError> {
        let path = segments::path_of(self.folder, number);
        let bytes = std::fs::read(&path).map_err(|source| io_error(&path, source))?;
        if let Some(found) = SegmentHeader::other_version(&bytes) {
            return Err(io_error(&path, version::unknown(found)));
        }
        let Some(header) = SegmentHeader::decode(&bytes) else {
            if holds_frame(&bytes) {
                return Err(damaged(&path, 0, "its header is unreadable, but records follow"));
            }
            return Ok(false);
        };
        let anchor = Anchor { segment: number, first_seq: header.first_seq };
        self.check_header(&path, &header, number)?;
        let mut offset = SEGMENT_HEADER_BYTES;
        while let Found::Frame(frame) = read_frame(bytes.get(offset..).unwrap_or_default()) {
            self.check_place(&path, offset, &frame.place)?;
            for record in &frame.records {
                let seq = self.found.position.size;
                (self.visit)(anchor, seq, *record).map_err(|what| damaged(&path, offset, what))?;
                self.found.position.size += 1;
            }
            offset += frame.size;
            self.found.previous_frame = frame.hash;
        }
        let rest = bytes.get(offset..).unwrap_or_default();
        if !segments::is_zero(rest) {
            if holds_frame(rest) {
                return Err(damaged(&path, offset, "a bad frame stands before valid ones"));
            }
            self.tail = Some((number, offset));
        }
        if offset == SEGMENT_HEADER_BYTES {
            return Ok(false);
        }
        self.found.has_segment = true;
        self.found.position.segment = number;
        self.found.position.offset = u64::try_from(offset).unwrap_or(u64::MAX);
        self.found.segments.push(anchor);
        Ok(true)
    }

    fn check_header(&self, path: &Path, header: &SegmentHeader, number: u64) -> Result<(), WalError> {
        let found = &self.found;
        if header.lineage != self.lineage || header.segment != number {
            return Err(damaged(path, 0, "it belongs to another log"));
        }
        if self.tail.is_some() {
            return Err(damaged(path, 0, "the segment before it ends in a bad frame"));
        }
        let starts = header.first_seq == found.position.size;
        let follows = !found.has_segment || header.previous_frame == found.previous_frame;
        if starts && follows { Ok(()) } else { Err(damaged(path, 0, "records before it are missing")) }
    }

    fn check_place(&mut self, path: &Path, offset: usize, place: &FramePlace) -> Result<(), WalError> {
        if offset == SEGMENT_HEADER_BYTES && !self.found.has_segment {
            self.found.previous_frame = place.previous_frame;
        }
        let follows = place.lineage == self.lineage
            && place.first_seq == self.found.position.size
            && place.previous_frame == self.found.previous_frame;
        if follows { Ok(()) } else { Err(damaged(path, offset, "a frame does not follow the one before")) }
    }

    fn finish(mut self, unused: &[u64]) -> Result<Scanned, WalError> {
        if let Some((segment, offset)) = self.tail.filter(|(segment, _)| !unused.contains(segment)) {
            let path = segments::path_of(self.folder, segment);
            cut(&path, offset).map_err(|source| io_error(&path, source))?;
            self.found.torn = true;
        }
        for number in unused {
            let path = segments::path_of(self.folder, *number);
            self.found.torn |= std::fs::read(&path).is_ok_and(|bytes| !segments::is_zero(&bytes));
            disk::remove_if_present(&path).map_err(|source| io_error(&path, source))?;
        }
        disk::sync_folder(self.folder).map_err(|source| io_error(self.folder, source))?;
        if !self.found.has_segment {
            self.found.position.offset = 0;
        }
        Ok(self.found)
    }
}

/// Whether a whole frame stands anywhere in `bytes`.
fn holds_frame(bytes: &[u8]) -> bool {
    let magic = FRAME_MAGIC.to_le_bytes();
    let mut rest = bytes;
    while let Some(at) = rest.windows(magic.len()).position(|window| window == magic) {
        rest = rest.get(at..).unwrap_or_default();
        if matches!(read_frame(rest), Found::Frame(_)) {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

/// Writes zeros from `offset` to the end of the segment.
fn cut(path: &Path, offset: usize) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let file = disk::open_or_create(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let zeros = vec![0; length.saturating_sub(offset)];
    file.write_all_at(&zeros, u64::try_from(offset).map_err(io::Error::other)?)?;
    file.sync_data()
}

fn io_error(path: &Path, source: io::Error) -> WalError {
    WalError::Io { path: path.to_owned(), source }
}

fn damaged(path: &Path, offset: usize, what: &'static str) -> WalError {
    WalError::Damaged { path: path.to_owned(), offset: u64::try_from(offset).unwrap_or(u64::MAX), what }
}
