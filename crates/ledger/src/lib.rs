//! What was recorded, and the proof of it: the auditor's whole toolbox.
//!
//! * [`record`] is the leaf: the bytes that are hashed, without readable personal data; [`payload`] is what is sealed beside
//!   it and committed to by salted digests.
//! * [`sequence`] makes tiles of leaves, [`tree`], [`tile`] and [`proof`] are RFC 6962 and C2SP tlog-tiles, [`checkpoint`]
//!   the signed head.
//! * [`verify`] audits a whole log, [`evidence`] some of its records.
//! * Pure and synchronous: no clock, no randomness, no I/O. What the gateway writes and what a stranger verifies is this
//!   crate alone.

pub mod checkpoint;
pub mod evidence;
pub mod ids;
pub mod json;
pub mod payload;
pub mod proof;
pub mod record;
pub mod sequence;
pub mod tile;
pub mod tree;
pub mod verify;

pub use checkpoint::{Checkpoint, LogKey, VerifierKey};
pub use ids::{CallId, Hash, KekId, RunId, Seq};
pub use payload::Payload;
pub use record::{Fact, Kind, Leaf, Status, Verdict, leaf_hash};
