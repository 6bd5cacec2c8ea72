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

/// Things in one sync from which on more are waited for.
const CROWD: usize = 3;
/// More than these are not waited for.
const LARGEST_CROWD: usize = 48;
/// Times that as many came before it is tried whether more would.
const STEADY: u32 = 8;
/// How long more are waited for: so many times a sync, and never longer than a call may notice.
const SYNCS: u32 = 4;
const LONGEST: Duration = Duration::from_millis(1);

/// How many come together. Where records came together others are about to come, and each that shares a sync saves one. Who is
/// nearly alone waits for nobody.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    size: usize,
    steady: u32,
}

impl Crowd {
    /// What to wait for, where a sync takes so long.
    pub(crate) fn more(&self, sync: Duration) -> More {
        More { items: self.size, within: sync.saturating_mul(SYNCS).min(LONGEST) }
    }

    /// So many came: as many are waited for next, and now and then half as many more.
    pub(crate) fn came(&mut self, items: usize) {
        let as_many = items >= self.size;
        self.size = if items < CROWD { 0 } else { items.min(LARGEST_CROWD) };
        self.steady = if as_many { self.steady + 1 } else { 0 };
        if self.steady >= STEADY {
            self.size = (self.size + self.size / 2).min(LARGEST_CROWD);
            self.steady = 0;
        }
    }
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
    /// How many things the committer sleeps for; 0 while it is awake.
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
        // To wake a thread that is awake costs a system call all the same.
        let is_awaited = (1..=waiting.items.len()).contains(&waiting.wanted);
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

#[cfg(test)]
mod tests {
    use super::{CROWD, Crowd, Duration, LARGEST_CROWD, LONGEST, STEADY};

    #[test]
    fn who_is_nearly_alone_waits_for_nobody() {
        let mut crowd = Crowd::default();
        for items in [0, 1, CROWD - 1, 1] {
            crowd.came(items);
            assert_eq!(crowd.more(Duration::from_micros(100)).items, 0);
        }
    }

    #[test]
    fn as_many_are_waited_for_as_come_and_sometimes_more() {
        let mut crowd = Crowd::default();
        let mut most = 0;
        // Ten callers that come together: it is tried whether there are more, and not each time.
        let tried = (0..100).filter(|_| {
            crowd.came(10);
            let wanted = crowd.more(Duration::from_micros(100)).items;
            most = most.max(wanted);
            wanted > 10
        });
        assert!((5..=100 / STEADY as usize).contains(&tried.count()) && most == 15);
        (0..1_000).for_each(|_| crowd.came(usize::MAX));
        assert_eq!(crowd.more(Duration::ZERO).items, LARGEST_CROWD);
        crowd.came(1);
        assert_eq!(crowd.more(Duration::ZERO).items, 0, "they have gone");
    }

    #[test]
    fn a_slow_disk_is_no_reason_to_wait_long() {
        let crowd = Crowd::default();
        assert_eq!(crowd.more(Duration::from_micros(20)).within, Duration::from_micros(80));
        assert_eq!(crowd.more(Duration::from_secs(1)).within, LONGEST);
    }
}
