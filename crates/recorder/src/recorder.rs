//! The recorder's face to the data path: open, pass, close, note, refuse; runs; health.
//!
//! Each of these seals its payload on the caller's task, waits for room in the queue, and returns when the
//! committer has made the record durable. There is nothing to change or remove a record.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ledger::payload::Spans;
use ledger::{CallId, Hash, RunId};
use tokio::sync::{Semaphore, oneshot, watch};

use crate::account::{Account, Cleared, Decision, Note, Outcome, Refusal, RunStart};
use crate::body::{Body, Gathering, Reserve};
use crate::clock::now_micros;
use crate::disk::Space;
use crate::error::RecordError;
use crate::meter::Meters;
use crate::queue::{Ack, Entry, Item, Permit, Queue, Queued, RoundKey, Sealed, Stored};
use crate::receipt::{Closed, Opened, Passed, Refused};
use crate::sealing::{Draft, Room, Sealing, random};
use crate::settings::Limits;

/// What a record takes in the queue beside its sealed payload.
const RECORD_BYTES: usize = 1024;

/// Records. Cheap to clone; all clones write the same log.
#[derive(Debug, Clone)]
pub struct Recorder {
    pub(crate) shared: Arc<Shared>,
}

/// What all clones of a recorder and its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) queue: Arc<Queue>,
    /// Room for records and for bytes in the queue.
    pub(crate) records: Arc<Semaphore>,
    pub(crate) bytes: Arc<Semaphore>,
    pub(crate) sealing: Arc<Sealing>,
    pub(crate) origin: Arc<str>,
    /// Written by the committer.
    pub(crate) open_calls: AtomicU64,
    pub(crate) meters: Meters,
    pub(crate) committed: watch::Receiver<u64>,
    pub(crate) published: watch::Receiver<u64>,
    /// Newest measurement of free space. Locked for the measurement only.
    pub(crate) space: Mutex<Option<Measured>>,
    /// Why publishing is stuck, if it is; written by the publisher.
    pub(crate) stuck: Mutex<Option<String>>,
}

/// Free space at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    at: Instant,
    space: Space,
}

/// How the recorder is.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether new calls are accepted.
    pub accepting: bool,
    /// Why not.
    pub why: Option<String>,
    /// Calls without an end.
    pub open_calls: u64,
    /// Things that wait for the disk.
    pub queued: usize,
    /// Free share of the disk, 0 to 1; none if it cannot be measured.
    pub free: Option<f64>,
    /// Number of durable leaves.
    pub committed: u64,
    /// Number of leaves under the newest checkpoint.
    pub published: u64,
}

impl Recorder {
    /// Records an intent. It is durable on return, and the call may be forwarded.
    ///
    /// # Errors
    /// Nothing was recorded, or the record ends in `outcome.unknown`; the call must not be forwarded.
    pub async fn open(&self, cleared: Cleared) -> Result<Opened, RecordError> {
        let begun = Instant::now();
        self.admit()?;
        let Cleared { decision, account } = cleared;
        let subject = Arc::clone(&account.subject);
        let call = match account.call {
            Some(call) => call,
            None => CallId::new(now_micros() / 1000, random()?),
        };
        let key = RoundKey { call, round: account.round };
        let mut entry = self.entry(decision, account).await?;
        entry.call = Some(call);
        let size = size_of(&entry.sealed);
        let opened = self.submit(size, |ack| Item::Open { entry, key, subject, ack }).await?;
        self.shared.meters.open.count_time(begun.elapsed());
        Ok(opened)
    }

    /// Records a message that needs no answer. It is durable on return, and the message may be forwarded.
    ///
    /// # Errors
    /// The message must not be forwarded.
    pub async fn pass(&self, cleared: Cleared) -> Result<Passed, RecordError> {
        self.admit()?;
        let Cleared { decision, account } = cleared;
        let entry = self.entry(decision, account).await?;
        self.submit(size_of(&entry.sealed), |ack| Item::Pass { entry, ack }).await
    }

    /// Records a refusal. It is durable on return. Accepted even when new calls are not.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub async fn refuse(&self, refusal: Refusal) -> Result<Refused, RecordError> {
        let Refusal { decision, account } = refusal;
        let entry = self.entry(decision, *account).await?;
        self.submit(size_of(&entry.sealed), |ack| Item::Refuse { entry, ack }).await
    }

    /// Records an outcome. It is durable on return, and the answer may be released. Accepted even when the
    /// disk is nearly full; a body that no longer fits is then left out, and the record says so.
    ///
    /// # Errors
    /// The answer must be withheld. The record says, now or after the next start, that the outcome is
    /// unknown.
    pub async fn close(&self, opened: Opened, outcome: Outcome) -> Result<Closed, RecordError> {
        let begun = Instant::now();
        let Outcome { status, fields, body, spans } = outcome;
        let sealed = self.seal(opened.subject(), Draft { fields, body, spans }).await?;
        let key = opened.key();
        let permit = self.room(size_of(&sealed)).await?;
        let (ack, done) = oneshot::channel();
        self.push(Item::Close { key, status, sealed, ack }, permit)?;
        opened.settle();
        let closed = done.await.map_err(|_| RecordError::ShuttingDown)??;
        self.shared.meters.close.count_time(begun.elapsed());
        Ok(closed)
    }

    /// Records something that happened in the course of a call. It stands before the call's outcome, but is
    /// not waited for; only room in the queue is.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub async fn note(&self, opened: &Opened, note: Note) -> Result<(), RecordError> {
        let Note { fields, body, spans } = note;
        let sealed = self.seal(opened.subject(), Draft { fields, body, spans }).await?;
        let permit = self.room(size_of(&sealed)).await?;
        self.push(Item::Note { key: opened.key(), sealed }, permit)
    }

    /// Begins a run. Its first record is durable on return.
    ///
    /// # Errors
    /// The run is not open; its calls will be refused.
    pub async fn begin_run(&self, start: RunStart) -> Result<(), RecordError> {
        self.admit()?;
        let RunStart { run, subject, fields } = start;
        let draft = Draft { fields, body: Body::default(), spans: Spans::new() };
        let sealed = self.seal(&subject, draft).await?;
        self.submit(size_of(&sealed), |ack| Item::Begin { run, sealed, ack }).await
    }

    /// Ends a run: no new calls. Its last record is written when its open calls have ended, and is durable
    /// on return if there are none.
    ///
    /// # Errors
    /// The run is not open, or the recorder is ending, which ends all runs.
    pub async fn end_run(&self, run: RunId, reason: &'static str) -> Result<(), RecordError> {
        let (ack, done) = oneshot::channel();
        let queued = Queued { item: Item::End { run, reason, ack }, permit: None };
        self.shared.queue.push(queued).map_err(|_| RecordError::ShuttingDown)?;
        done.await.map_err(|_| RecordError::ShuttingDown)?
    }

    /// Takes in a body that may be large, before it is recorded: in memory up to `in_memory` bytes.
    pub fn gather(&self, in_memory: usize) -> Gathering {
        let shared = Arc::clone(&self.shared);
        // Much can come between two measurements that others make; a disk that cannot be asked is treated as full.
        let has_room = move || matches!(shared.room_as_of(Duration::ZERO), Ok(Room::Ample));
        Gathering::new(Arc::clone(&self.shared.sealing.spool), Reserve::new(has_room), in_memory)
    }

    /// How the recorder is. Measures free space if the last measurement is old.
    pub fn health(&self) -> Health {
        let shared = &self.shared;
        let refused = self.admit().err();
        let space = shared.measure().ok();
        Health {
            accepting: refused.is_none(),
            why: refused.map(|error| shared.stuck().unwrap_or_else(|| error.to_string())),
            open_calls: shared.open_calls.load(Ordering::Relaxed),
            queued: shared.queue.len(),
            free: space.map(|space| share(space.free, space.total)),
            committed: *shared.committed.borrow(),
            published: *shared.published.borrow(),
        }
    }

    /// Whether a new call would be accepted now.
    ///
    /// # Errors
    /// Why not.
    pub fn admission(&self) -> Result<(), RecordError> {
        self.admit()?;
        let is_full = |room: &Semaphore| room.available_permits() == 0;
        if is_full(&self.shared.records) || is_full(&self.shared.bytes) {
            return Err(RecordError::Overloaded);
        }
        Ok(())
    }

    /// Room on the disk. Measures it if the last measurement is old.
    ///
    /// # Errors
    /// When it cannot be measured.
    pub fn space(&self) -> Result<Space, RecordError> {
        self.shared.measure()
    }

    /// What was counted since the start.
    pub fn meters(&self) -> &Meters {
        &self.shared.meters
    }

    /// Records that another configuration is in force, by its digest. Durable on return.
    ///
    /// # Errors
    /// Nothing was recorded; the configuration must not be used.
    pub async fn reconfigure(&self, config: Hash) -> Result<(), RecordError> {
        self.admit()?;
        self.submit(RECORD_BYTES, |ack| Item::Config { config, ack }).await
    }

    /// The log's origin.
    pub fn origin(&self) -> &Arc<str> {
        &self.shared.origin
    }

    /// Follows the number of durable leaves. The sender is gone when the committer has ended.
    pub fn committed(&self) -> watch::Receiver<u64> {
        self.shared.committed.clone()
    }

    /// Follows the number of leaves under the newest checkpoint. The sender is gone when the publisher has
    /// ended.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.shared.published.clone()
    }

    /// Whether a new call may enter.
    fn admit(&self) -> Result<(), RecordError> {
        let shared = &self.shared;
        if shared.queue.is_closed() {
            return Err(RecordError::ShuttingDown);
        }
        if let Some(why) = shared.stuck() {
            return Err(RecordError::failed(std::io::Error::other(why)));
        }
        match shared.room()? {
            Room::Ample => Ok(()),
            Room::Low => Err(RecordError::NoSpace),
        }
    }

    async fn entry(&self, decision: Decision, account: Account) -> Result<Entry, RecordError> {
        let Account { run, call, round, parent, subject, fields, body, spans } = account;
        let sealed = self.seal(&subject, Draft { fields, body, spans }).await?;
        Ok(Entry { run, call, round, parent, verdict: decision.verdict, policy: decision.policy, sealed })
    }

    async fn seal(&self, subject: &Arc<str>, draft: Draft) -> Result<Sealed, RecordError> {
        // A disk that cannot be asked is treated as nearly full: the record is kept, without large bodies.
        let room = self.shared.room().unwrap_or(Room::Low);
        self.shared.sealing.seal(subject, draft, room).await
    }

    async fn submit<T>(&self, bytes: usize, item: impl FnOnce(Ack<T>) -> Item) -> Result<T, RecordError> {
        let permit = self.room(bytes).await?;
        let (ack, done) = oneshot::channel();
        self.push(item(ack), permit)?;
        done.await.map_err(|_| RecordError::ShuttingDown)?
    }

    fn push(&self, item: Item, permit: Permit) -> Result<(), RecordError> {
        let queued = Queued { item, permit: Some(permit) };
        self.shared.queue.push(queued).map_err(|_| RecordError::ShuttingDown)
    }

    /// Waits for room in the queue, until the deadline.
    async fn room(&self, bytes: usize) -> Result<Permit, RecordError> {
        let shared = &self.shared;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(shared.limits.queue_bytes);
        let both = async {
            let records = Arc::clone(&shared.records).acquire_owned().await;
            let bytes = Arc::clone(&shared.bytes).acquire_many_owned(bytes).await;
            match (records, bytes) {
                (Ok(records), Ok(bytes)) => Ok(Permit { _records: records, _bytes: bytes }),
                _ => Err(RecordError::ShuttingDown),
            }
        };
        let waited = tokio::time::timeout(shared.limits.queue_deadline, both).await;
        waited.unwrap_or(Err(RecordError::Overloaded))
    }
}

impl Shared {
    /// Why publishing is stuck, if it is.
    fn stuck(&self) -> Option<String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn measure(&self) -> Result<Space, RecordError> {
        self.measure_as_of(self.limits.space_every)
    }

    fn measure_as_of(&self, age: Duration) -> Result<Space, RecordError> {
        let mut newest = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(measured) = *newest
            && now.duration_since(measured.at) < age
        {
            return Ok(measured.space);
        }
        let space = self.limits.space.ask(&self.dir).map_err(RecordError::failed)?;
        let is_low =
            |space: Space| share(space.free, space.total) * 100.0 < f64::from(self.limits.warn_percent);
        // Said when it becomes so, not at each look.
        if is_low(space) && !newest.is_some_and(|before| is_low(before.space)) {
            tracing::warn!(free = space.free, total = space.total, "disk space for the record is low");
        }
        *newest = Some(Measured { at: now, space });
        Ok(space)
    }

    /// Whether there is room for new calls, beside what the open ones may still need.
    fn room(&self) -> Result<Room, RecordError> {
        self.room_as_of(self.limits.space_every)
    }

    fn room_as_of(&self, age: Duration) -> Result<Room, RecordError> {
        let space = self.measure_as_of(age)?;
        let open = self.open_calls.load(Ordering::Relaxed);
        let reserved = open.saturating_mul(self.limits.outcome_reserve);
        let percent = space.total.saturating_mul(u64::from(self.limits.refuse_percent)) / 100;
        let floor = self.limits.refuse_bytes.max(percent);
        if space.free < floor.saturating_add(reserved) { Ok(Room::Low) } else { Ok(Room::Ample) }
    }
}

fn share(free: u64, total: u64) -> f64 {
    // Sizes of disks are far below the 52 bits that a double holds exactly.
    let (free, total) = (free as f64, total as f64);
    if total > 0.0 { free / total } else { 0.0 }
}

fn size_of(sealed: &Sealed) -> usize {
    let stored = match &sealed.blob {
        Some((_, Stored::Memory(bytes))) => bytes.len(),
        Some((_, Stored::Spool(_))) | None => 0,
    };
    RECORD_BYTES + stored
}
