//! The write-ahead log: what is durable before a call goes on, and the publisher's queue.
//!
//! One thread writes it (`writer`), the publisher reads behind that thread (`tail`), and a start reads it
//! whole (`scan`). The bytes are `layout`'s alone. Segments are files of zeros made ahead of need
//! (`segments`), so that a commit never waits for the file system to find room.

pub(crate) mod layout;
pub(crate) mod scan;
pub(crate) mod segments;
pub(crate) mod tail;
pub(crate) mod writer;

/// How far the log is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    /// Offset behind the last durable frame of that segment.
    pub(crate) offset: u64,
    /// Number of durable leaves.
    pub(crate) size: u64,
}
