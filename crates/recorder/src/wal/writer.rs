//! The writing end: one frame per commit, one `pwrite` and one `fdatasync` per frame.
//!
//! Owned by the committer thread. An error of `flush` leaves the file in an unknown state; the caller must
//! not go on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Position;
use super::layout::{Blob, FrameBuilder, FramePlace, Lineage, SegmentHeader, record_bytes};
use super::segments::Preparer;
use crate::faults;

/// A frame that has grown this big is written even if more is waiting, to bound its latency.
const FRAME_BYTES: usize = 4 << 20;

/// Where writing starts: behind what a scan found, or nowhere yet.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) folder: PathBuf,
    pub(crate) lineage: Lineage,
    pub(crate) segment_bytes: u64,
    pub(crate) position: Position,
    pub(crate) previous_frame: [u8; 32],
    /// The open segment; without one the next prepared segment is taken.
    pub(crate) current: Option<File>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    bytes: u64,
}

/// Appends frames to the newest segment.
#[derive(Debug)]
pub(crate) struct Writer {
    lineage: Lineage,
    current: Option<Segment>,
    position: Position,
    previous_frame: [u8; 32],
    frame: FrameBuilder,
    preparer: Preparer,
    /// What the newest sync took.
    synced_in: Duration,
}

impl Writer {
    /// Takes up writing.
    ///
    /// # Errors
    /// When the segment's size cannot be read or no thread can be started.
    pub(crate) fn open(start: Start) -> io::Result<Self> {
        let next = if start.current.is_some() { start.position.segment + 1 } else { start.position.segment };
        let preparer = Preparer::start(start.folder, start.segment_bytes, next)?;
        let current = match start.current {
            Some(file) => Some(Segment { bytes: file.metadata()?.len(), file }),
            None => None,
        };
        let mut writer = Self {
            lineage: start.lineage,
            current,
            position: start.position,
            previous_frame: start.previous_frame,
            frame: FrameBuilder::default(),
            preparer,
            synced_in: Duration::ZERO,
        };
        writer.begin();
        Ok(writer)
    }

    /// Number of the next leaf.
    pub(crate) fn next_seq(&self) -> u64 {
        self.position.size + u64::from(self.frame.count())
    }

    /// How far the log is durable.
    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// What the newest sync took.
    pub(crate) const fn synced_in(&self) -> Duration {
        self.synced_in
    }

    /// Whether nothing waits for `flush`.
    pub(crate) const fn is_empty(&self) -> bool {
        self.frame.count() == 0
    }

    /// Whether a record of this size may join the frame; if not, flush and, if it still does not, rotate.
    pub(crate) fn fits(&self, leaf: usize, blob: &Blob<'_>) -> bool {
        let frame = self.frame.len().saturating_add(record_bytes(leaf, blob));
        let Some(segment) = &self.current else { return false };
        let end = self.position.offset.saturating_add(u64::try_from(frame).unwrap_or(u64::MAX));
        end <= segment.bytes && (self.is_empty() || frame <= FRAME_BYTES)
    }

    /// Adds a record to the frame. The caller has asked `fits`.
    pub(crate) fn push(&mut self, leaf: &[u8], blob: &Blob<'_>) {
        self.frame.push(leaf, blob);
    }

    /// Takes the next prepared segment; its first frame will carry the header. Call with an empty frame.
    ///
    /// # Errors
    /// When no segment could be prepared, e.g. for want of space; nothing has changed then.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        let prepared = self.preparer.next()?;
        faults::at("wal.rotate")?;
        let bytes = prepared.file.metadata()?.len();
        self.position.segment = prepared.number;
        self.position.offset = 0;
        self.current = Some(Segment { file: prepared.file, bytes });
        self.begin();
        Ok(())
    }

    /// Writes the frame and makes it durable.
    ///
    /// # Errors
    /// Any error is final: what the disk holds is unknown.
    pub(crate) fn flush(&mut self) -> io::Result<Position> {
        if self.is_empty() {
            return Ok(self.position);
        }
        let Some(segment) = &self.current else { return Err(io::Error::other("no open segment")) };
        let place = FramePlace {
            lineage: self.lineage,
            first_seq: self.position.size,
            previous_frame: self.previous_frame,
        };
        let count = self.frame.count();
        let (bytes, hash) = self.frame.finish(&place);
        faults::at("wal.write")?;
        segment.file.write_all_at(bytes, self.position.offset)?;
        faults::at("wal.sync")?;
        let begun = Instant::now();
        segment.file.sync_data()?;
        self.synced_in = begun.elapsed();
        faults::at("wal.synced")?;
        self.position.offset += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        self.position.size += u64::from(count);
        self.previous_frame = hash;
        self.begin();
        Ok(self.position)
    }

    /// Ends the preparing thread.
    pub(crate) fn stop(self) {
        self.preparer.stop();
    }

    fn begin(&mut self) {
        let header = (self.position.offset == 0).then_some(SegmentHeader {
            lineage: self.lineage,
            segment: self.position.segment,
            first_seq: self.position.size,
            previous_frame: self.previous_frame,
        });
        self.frame.begin(header.as_ref());
    }
}
