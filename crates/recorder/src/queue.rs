//! The queue to the committer: what is to be recorded, and whom to tell when it is durable.
//!
//! Bounded by permits for records and bytes; who finds no room waits until a deadline and is then refused.
//! Only three small things enter without a permit, and all are bounded by what was admitted before: the
//! mark that a call was left open, the end of a run, and the order to finish.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ledger::record::BlobRef;
use ledger::{CallId, Hash, RunId, Status, Verdict};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::RecordError;
use crate::receipt::{Closed, Opened, Passed, Refused};
use crate::spool::SpoolFile;

/// Tells whoever waits.
pub(crate) type Ack<T> = oneshot::Sender<Result<T, RecordError>>;

/// A payload that is ready to be recorded.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) commitments: Vec<Hash>,
    pub(crate) blob: Option<(BlobRef, Stored)>,
    /// Whether the body was left out for want of space.
    pub(crate) omitted: bool,
}

/// Where a sealed payload is.
#[derive(Debug)]
pub(crate) enum Stored {
    Memory(Vec<u8>),
    Spool(SpoolFile),
}

/// One round of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RoundKey {
    pub(crate) call: CallId,
    pub(crate) round: u32,
}

/// What an intent, a one-way message and a refusal have in common.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) run: RunId,
    pub(crate) call: Option<CallId>,
    pub(crate) round: u32,
    pub(crate) parent: Option<CallId>,
    pub(crate) verdict: Verdict,
    pub(crate) policy: Option<Hash>,
    pub(crate) sealed: Sealed,
}

/// One thing to record.
#[derive(Debug)]
pub(crate) enum Item {
    Begin {
        run: RunId,
        sealed: Sealed,
        ack: Ack<()>,
    },
    End {
        run: RunId,
        reason: &'static str,
        ack: Ack<()>,
    },
    Open {
        entry: Entry,
        key: RoundKey,
        subject: Arc<str>,
        ack: Ack<Opened>,
    },
    Pass {
        entry: Entry,
        ack: Ack<Passed>,
    },
    Refuse {
        entry: Entry,
        ack: Ack<Refused>,
    },
    Note {
        key: RoundKey,
        sealed: Sealed,
    },
    Close {
        key: RoundKey,
        status: Status,
        sealed: Sealed,
        ack: Ack<Closed>,
    },
    /// Nobody will close this round.
    Left {
        key: RoundKey,
    },
    Config {
        config: Hash,
        ack: Ack<()>,
    },
    Finish,
}

/// Room in the queue; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    pub(crate) _records: OwnedSemaphorePermit,
    pub(crate) _bytes: OwnedSemaphorePermit,
}

/// A thing to record with its room.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) item: Item,
    pub(crate) permit: Option<Permit>,
}

/// What is worth waiting for before a sync that many share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct More {
    pub(crate) items: usize,
    pub(crate) within: Duration,
}

/// The queue itself. Its lock is held for a push or a swap only.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    items: Vec<Queued>,
    /// How many things the committer sleeps for.
    wanted: usize,
    closed: bool,
}

impl Queue {
    /// Adds something; gives it back if the queue is closed.
    pub(crate) fn push(&self, queued: Queued) -> Result<(), Box<Queued>> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Box::new(queued));
        }
        waiting.items.push(queued);
        let is_awaited = waiting.items.len() >= waiting.wanted;
        drop(waiting);
        if is_awaited {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Number of things waiting.
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Waits until something is there, or until a time, then a moment for more, and takes everything.
    pub(crate) fn take(&self, into: &mut Vec<Queued>, until: Instant, more: More) {
        let mut waiting = self.sleep(self.lock(), 1, until);
        if !waiting.items.is_empty() && waiting.items.len() < more.items {
            waiting = self.sleep(waiting, more.items, Instant::now() + more.within);
        }
        std::mem::swap(&mut waiting.items, into);
    }

    fn sleep<'a>(
        &self,
        mut waiting: MutexGuard<'a, Waiting>,
        wanted: usize,
        until: Instant,
    ) -> MutexGuard<'a, Waiting> {
        waiting.wanted = wanted;
        while waiting.items.len() < wanted && !waiting.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let (woken, _) = self.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
            waiting = woken;
        }
        waiting.wanted = 0;
        waiting
    }

    /// Lets nothing in any more and gives what is still there.
    pub(crate) fn close(&self) -> Vec<Queued> {
        let mut waiting = self.lock();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.items);
        drop(waiting);
        self.arrived.notify_one();
        left
    }

    /// Whether nothing is let in any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A push or swap cannot be left half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
