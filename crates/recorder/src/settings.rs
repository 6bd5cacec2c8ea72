//! What a caller chooses: where the data is, how the log is named, and the bounds of every queue and file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ledger::Hash;

use crate::disk::{Space, free_space};

/// What to record into.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder; created (0700) if it is not there. One gateway at a time may use it.
    pub dir: PathBuf,
    /// Human part of the log's origin, which is `<name>/<8 hex digits>` and made once per log. Letters,
    /// digits, `.`, `-`, `_` and `/` only, since it names the key in signed notes (C2SP signed-note).
    pub origin_name: String,
    /// Digest of the configuration in force, recorded at the start.
    pub config: Option<Hash>,
    /// Bounds.
    pub limits: Limits,
}

impl Settings {
    /// Records into `dir` with the default name and limits.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), origin_name: "tollbook".to_owned(), config: None, limits: Limits::default() }
    }
}

/// Asks how much room is left where the data folder is.
#[derive(Clone)]
#[expect(clippy::type_complexity, reason = "it is named once, here")]
pub struct SpaceProbe(Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>);

impl SpaceProbe {
    /// Asks by this function, e.g. for a quota that the file system does not know.
    pub fn new(ask: impl Fn(&Path) -> io::Result<Space> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    pub(crate) fn ask(&self, path: &Path) -> io::Result<Space> {
        (self.0)(path)
    }
}

impl fmt::Debug for SpaceProbe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SpaceProbe")
    }
}

/// Bounds of queues, waits and files.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Records that may wait for the disk.
    pub queue_records: u32,
    /// Bytes that may wait for the disk.
    pub queue_bytes: u32,
    /// How long a call waits for room in the queue before it is refused.
    pub queue_deadline: Duration,
    /// Size of a write-ahead segment; at least 64 KiB.
    pub segment_bytes: u64,
    /// Size at which a pack is finished.
    pub pack_bytes: u64,
    /// Sealed payloads above this go through the spool; never more than a quarter of a segment.
    pub inline_bytes: usize,
    /// Largest payload that is accepted.
    pub payload_bytes: usize,
    /// How often new leaves are published; at most a second, by the promise that the log makes.
    pub publish_every: Duration,
    /// How often a heartbeat is recorded, busy or idle.
    pub heartbeat_every: Duration,
    /// Below this share of free space, in percent, a warning is logged.
    pub warn_percent: u8,
    /// Below this share of free space, in percent, no new call is accepted.
    pub refuse_percent: u8,
    /// Below this many free bytes, no new call is accepted.
    pub refuse_bytes: u64,
    /// Bytes set aside for the outcome of each open call.
    pub outcome_reserve: u64,
    /// How old a measurement of free space may be.
    pub space_every: Duration,
    /// How free space is measured.
    pub space: SpaceProbe,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_records: 8192,
            queue_bytes: 64 << 20,
            queue_deadline: Duration::from_secs(5),
            segment_bytes: 16 << 20,
            pack_bytes: 64 << 20,
            inline_bytes: 256 << 10,
            payload_bytes: 1 << 30,
            publish_every: Duration::from_millis(500),
            heartbeat_every: Duration::from_secs(10),
            warn_percent: 15,
            refuse_percent: 5,
            refuse_bytes: 64 << 20,
            outcome_reserve: 64 << 10,
            space_every: Duration::from_secs(1),
            space: SpaceProbe::new(free_space),
        }
    }
}
