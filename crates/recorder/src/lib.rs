//! The durable side of the ledger: nothing goes on before its record is on the disk.
//!
//! [`start()`] locks a data folder, settles what an earlier process left open, and gives a [`Recorder`]. Its
//! records are sealed, placed in order by one committer thread and durable when the call returns; behind
//! it a publisher makes them a signed, verifiable log. [`Recorder`] can add to the record, never change it.
//!
//! Only this crate knows the ledger's files. Their forms are in `docs/formats/`.

mod account;
mod backup;
mod body;
mod book;
mod clock;
mod committer;
mod disk;
mod error;
pub mod faults;
mod input;
mod keystore;
mod log;
mod meter;
mod origins;
mod pack;
mod packs;
mod progress;
mod publisher;
mod queue;
mod read;
mod receipt;
mod recorder;
mod restore;
mod seal;
mod sealing;
mod settings;
mod size;
mod spool;
mod start;
mod state;
mod verify;
mod version;
mod wal;

pub use account::{Account, Cleared, Clerk, Decision, Note, Outcome, Refusal, RunStart};
pub use backup::{Backup, BackupError, Keys, back_up};
pub use body::{Body, Gathering, Pieces, Spilled};
pub use disk::{Space, free_space};
pub use error::RecordError;
pub use keystore::KeystoreError;
pub use meter::{Distribution, Histogram, Meters};
pub use origins::Predecessor;
pub use read::{Leaves, ReadError, Reader};
pub use receipt::{Closed, Opened, Passed, Receipt, Refused};
pub use recorder::{Health, Recorder};
pub use restore::{RestoreError, Restored, restore};
pub use seal::BlobError;
pub use settings::{Limits, Settings, SpaceProbe};
pub use size::{log_bytes, wal_bytes};
pub use start::{Recovered, Shutdown, ShutdownError, StartError, Started, start};
pub use verify::{verify_folder, verify_log};
pub use wal::scan::WalError;

/// Reads bytes as a disk may give them: for fuzzing alone.
#[cfg(fuzzing)]
pub fn fuzzed(bytes: &[u8]) {
    let _ = wal::layout::read_frame(bytes);
    let _ = wal::layout::SegmentHeader::decode(bytes);
    let _ = pack::parse_index(bytes);
}
