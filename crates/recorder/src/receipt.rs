//! Proof, in the types, that something is durable: each of these is made by the committer alone.

use std::fmt;
use std::sync::Arc;

use ledger::{CallId, Hash, RunId, Seq};

use crate::queue::{Item, Queue, Queued, RoundKey};

/// Where a record stands. With the published log, anybody can check it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The log.
    pub origin: Arc<str>,
    /// The place in the log.
    pub seq: Seq,
    /// Leaf hash of the record (RFC 6962 §2.1).
    pub leaf_hash: Hash,
}

/// A call whose intent is durable: it may be forwarded.
///
/// It is to be given to `Recorder::close`. If it is dropped instead, the record says that the outcome is
/// unknown.
pub struct Opened {
    queue: Arc<Queue>,
    run: RunId,
    key: RoundKey,
    subject: Arc<str>,
    receipt: Receipt,
    armed: bool,
}

impl Opened {
    pub(crate) fn new(
        queue: Arc<Queue>,
        run: RunId,
        key: RoundKey,
        subject: Arc<str>,
        receipt: Receipt,
    ) -> Self {
        Self { queue, run, key, subject, receipt, armed: true }
    }

    /// Where the intent stands.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The run.
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// The call.
    pub const fn call(&self) -> CallId {
        self.key.call
    }

    /// The round within the call.
    pub const fn round(&self) -> u32 {
        self.key.round
    }

    pub(crate) const fn key(&self) -> RoundKey {
        self.key
    }

    pub(crate) const fn subject(&self) -> &Arc<str> {
        &self.subject
    }

    /// Its outcome is in the queue.
    pub(crate) fn settle(mut self) {
        self.armed = false;
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Opened");
        shown.field("run", &self.run).field("key", &self.key).field("receipt", &self.receipt);
        shown.finish_non_exhaustive()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.armed {
            // A closed queue means that the recorder is ending, and then ends this call itself.
            drop(self.queue.push(Queued { item: Item::Left { key: self.key }, permit: None }));
        }
    }
}

/// A one-way message whose record is durable: it may be forwarded.
#[derive(Debug)]
pub struct Passed {
    pub(crate) run: RunId,
    pub(crate) receipt: Receipt,
}

impl Passed {
    /// Where the record stands.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The run.
    pub const fn run(&self) -> RunId {
        self.run
    }
}

/// A call whose outcome is durable: the answer may be released.
#[derive(Debug)]
pub struct Closed {
    pub(crate) run: RunId,
    pub(crate) key: RoundKey,
    pub(crate) receipt: Receipt,
}

impl Closed {
    /// Where the outcome stands.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// The run.
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// The call.
    pub const fn call(&self) -> CallId {
        self.key.call
    }

    /// The round within the call.
    pub const fn round(&self) -> u32 {
        self.key.round
    }
}

/// A refusal that is durable.
#[derive(Debug)]
pub struct Refused {
    pub(crate) receipt: Receipt,
}

impl Refused {
    /// Where the record stands.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}
