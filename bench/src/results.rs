//! What a run found, as `results.json` has it. Times are microseconds, sizes bytes, unless the name says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latency::Quantiles;

/// Everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) calls: Vec<Calls>,
    pub(crate) index_lag: Quantiles,
    pub(crate) bulk: Vec<Bulk>,
    pub(crate) streams: Streams,
    pub(crate) memory: Memory,
    pub(crate) start: Start,
    pub(crate) ledger: Ledger,
    /// A ledger of a million calls, if it was asked for.
    pub(crate) million: Option<Ledger>,
}

/// What it ran on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) model: String,
    /// How many were running or waiting at the start, besides this run.
    pub(crate) load_average: f64,
    pub(crate) binary_bytes: u64,
    pub(crate) quick: bool,
}

/// Echoes of one number of callers, with the gateway and without.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Calls {
    pub(crate) callers: usize,
    /// The disk's own word, measured in turns with the calls.
    pub(crate) sync: Quantiles,
    pub(crate) direct: Side,
    pub(crate) gateway: Side,
    /// Gateway's processor time for a call while the load lasts.
    pub(crate) cpu_per_call: f64,
    /// Likewise, with what it does behind the calls: publication and index.
    pub(crate) cpu_per_call_settled: f64,
    /// Likewise, by thread.
    pub(crate) cpu_by_thread: BTreeMap<String, f64>,
}

/// One side of a comparison.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) latency: Quantiles,
    pub(crate) per_second: f64,
}

impl Calls {
    /// What the gateway adds to a quantile.
    pub(crate) fn added(&self, quantile: fn(&Quantiles) -> f64) -> f64 {
        quantile(&self.gateway.latency) - quantile(&self.direct.latency)
    }

    /// Calls a second that two syncs one after the other allow a single caller.
    pub(crate) fn two_commit_limit(&self) -> f64 {
        1e6 / (2.0 * self.sync.p50).max(1.0)
    }
}

/// Large results.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Bulk {
    pub(crate) bytes: u64,
    pub(crate) callers: usize,
    pub(crate) direct: Side,
    pub(crate) gateway: Side,
    /// The most that the gateway's resident memory was.
    pub(crate) peak: u64,
}

/// Event streams side by side.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Streams {
    pub(crate) streams: usize,
    /// As fast as it goes: events a second; the latency is from one end to the other.
    pub(crate) direct: Side,
    pub(crate) gateway: Side,
    /// At a given pace, which leaves the machine time to spare.
    pub(crate) paced_per_second: f64,
    pub(crate) paced_direct: Quantiles,
    pub(crate) paced_gateway: Quantiles,
    /// Gateway's processor time for an event, at full speed.
    pub(crate) cpu_per_event: f64,
}

/// Resident memory of the gateway.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// After the first call.
    pub(crate) idle: u64,
    /// The most under small calls.
    pub(crate) peak_under_load: u64,
    /// When the load was over.
    pub(crate) after_load: u64,
}

/// From exec to the first answer, in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) empty_folder: Quantiles,
    /// On the ledger of the echoes.
    pub(crate) used_folder: Quantiles,
}

/// What is done with a ledger afterwards.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) calls: u64,
    /// On the disk, for each call.
    pub(crate) bytes: BytesPerCall,
    /// Calls a second of processor time, and of time.
    pub(crate) verify_per_cpu_second: f64,
    pub(crate) verify_per_second: f64,
    pub(crate) rebuild_per_second: f64,
    /// First pages, in milliseconds by query.
    pub(crate) search_ms: BTreeMap<String, f64>,
}

/// Disk space of one call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct BytesPerCall {
    pub(crate) leaves: f64,
    pub(crate) hashes: f64,
    pub(crate) payloads: f64,
    pub(crate) checkpoints: f64,
    pub(crate) index: f64,
}

impl BytesPerCall {
    pub(crate) fn total(&self) -> f64 {
        self.leaves + self.hashes + self.payloads + self.checkpoints + self.index
    }
}
