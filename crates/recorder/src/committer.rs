//! The committer: the one thread that gives every record its place and makes it durable.
//!
//! It takes all that waits, builds the leaves, writes them as one frame, syncs, and then tells everybody.
//! While the disk works, the next frame gathers. Nobody is told anything that is not durable. When a write
//! or sync fails, what the disk holds is unknown, and the process ends: the next start tells what is there.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ledger::record::Reference;
use ledger::{Fact, Hash, Kind, Leaf, RunId, Seq, Status, leaf_hash};
use tokio::sync::watch;

use crate::book::Book;
use crate::clock::HybridClock;
use crate::error::RecordError;
use crate::keystore::Keystore;
use crate::progress::{End, Progress};
use crate::queue::{Ack, Crowd, Entry, Item, Permit, Queue, Queued, RoundKey, Sealed, Stored};
use crate::receipt::{Closed, Opened, Passed, Receipt, Refused};
use crate::recorder::Shared;
use crate::wal::layout::Blob;
use crate::wal::scan::Anchor;
use crate::wal::writer::Writer;

/// Largest leaf that this crate makes; see `sealing`'s bound on commitments.
const LEAF_BYTES: usize = 16 << 10;

/// Who is to be told after the next sync.
#[derive(Debug)]
enum Told {
    Done(Ack<()>),
    Opened(Ack<Opened>, Opened),
    Passed(Ack<Passed>, Passed),
    Refused(Ack<Refused>, Refused),
    Closed(Ack<Closed>, Closed),
    /// Nobody, but its room in the queue and its spool file wait for the sync.
    Nobody,
}

#[derive(Debug)]
struct Waiting {
    told: Told,
    stored: Option<Stored>,
    _permit: Option<Permit>,
}

/// What a committer starts with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) keystore: Arc<Keystore>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) committed: watch::Sender<u64>,
    pub(crate) writer: Writer,
    pub(crate) book: Book,
    /// Names this start of the process in `start` and `heartbeat` leaves.
    pub(crate) boot: String,
}

/// The committer's state; everything is owned by its thread.
#[derive(Debug)]
pub(crate) struct Committer {
    parts: Parts,
    queue: Arc<Queue>,
    clock: HybridClock,
    /// Runs that end when their open calls have ended.
    ending: HashMap<RunId, &'static str>,
    waiting: Vec<Waiting>,
    /// Notes whose call had ended before they came.
    dropped: u64,
    /// Whether the last segment could not be had for want of space: said once, not per call.
    is_full: bool,
    _closing: CloseQueue,
}

/// Closes the queue when the committer is gone, however it went: nobody is left waiting.
#[derive(Debug)]
struct CloseQueue(Arc<Queue>);

impl Drop for CloseQueue {
    fn drop(&mut self) {
        drop(self.0.close());
    }
}

impl Committer {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            queue: Arc::clone(&parts.shared.queue),
            clock: HybridClock::after(parts.book.time),
            ending: HashMap::new(),
            is_full: false,
            waiting: Vec::new(),
            dropped: 0,
            _closing: CloseQueue(Arc::clone(&parts.shared.queue)),
            parts,
        }
    }

    /// Works until told to finish.
    pub(crate) fn run(mut self) {
        let every = self.parts.shared.limits.heartbeat_every;
        let mut beat = Instant::now() + every;
        let mut items = Vec::new();
        let mut finishing = false;
        let mut crowd = Crowd::default();
        while !finishing {
            self.queue.take(&mut items, beat, crowd.more(self.parts.writer.synced_in()));
            crowd.came(items.len());
            if self.parts.progress.ending() == Some(End::Abandoned) {
                // Whoever takes the folder up prepares segments of its own.
                return self.parts.writer.stop();
            }
            finishing = self.queue.is_closed();
            for queued in items.drain(..) {
                finishing |= matches!(queued.item, Item::Finish);
                self.record(queued);
            }
            if Instant::now() >= beat {
                beat = Instant::now() + every;
                self.heartbeat();
            }
            self.flush();
        }
        self.finish();
    }

    /// Records what a start has to say, before anything else: the `start` leaf, the calls and runs that the
    /// process before left open, the configuration.
    ///
    /// # Errors
    /// When no segment can be had.
    pub(crate) fn begin(&mut self, start: &Leaf, config: Option<Hash>) -> Result<(), RecordError> {
        let calls = self.parts.book.open_calls();
        let runs = self.parts.book.open_runs();
        self.append(start, &Blob::None)?;
        for key in calls {
            self.end_unknown(key)?;
        }
        for run in runs {
            self.close_run(run, "gateway-restart")?;
        }
        if let Some(config) = config {
            self.configure(config, None)?;
        }
        self.announce_keys()?;
        self.flush();
        Ok(())
    }

    fn record(&mut self, queued: Queued) {
        let Queued { item, permit } = queued;
        if let Err(error) = self.announce_keys() {
            tracing::error!(%error, "a new key cannot be recorded yet");
        }
        match item {
            Item::Begin { run, sealed, ack } => {
                let done = self.begin_run(run, &sealed).map(|_| ());
                self.tell(done, ack, (permit, sealed), |ack, ()| Told::Done(ack));
            }
            Item::End { run, reason, ack } => {
                let done = self.end_run(run, reason);
                self.tell(done, ack, (permit, Sealed::default()), |ack, ()| Told::Done(ack));
            }
            Item::Open { entry, key, subject, ack } => {
                let queue = Arc::clone(&self.queue);
                let run = entry.run;
                let done =
                    self.open(&entry, key).map(|receipt| Opened::new(queue, run, key, subject, receipt));
                self.tell(done, ack, (permit, entry.sealed), Told::Opened);
            }
            Item::Pass { entry, ack } => {
                let done = self.entry(Kind::Note, &entry).map(|receipt| Passed { run: entry.run, receipt });
                self.tell(done, ack, (permit, entry.sealed), Told::Passed);
            }
            Item::Refuse { entry, ack } => {
                let done = self.entry(Kind::Refused, &entry).map(|receipt| Refused { receipt });
                self.tell(done, ack, (permit, entry.sealed), Told::Refused);
            }
            Item::Close { key, status, sealed, ack } => {
                let done = self.close(key, status, &sealed);
                self.tell(done, ack, (permit, sealed), Told::Closed);
            }
            Item::Note { key, sealed } => self.note(key, sealed, permit),
            Item::Left { key } => {
                // It may have ended otherwise, e.g. by an outcome whose caller went away.
                if self.parts.book.calls.contains_key(&key)
                    && let Err(error) = self.end_unknown(key)
                {
                    tracing::error!(%error, "an abandoned call is left to the next start");
                }
            }
            Item::Config { config, ack } => {
                let done = self.configure(config, Some("reload"));
                self.tell(done, ack, (permit, Sealed::default()), |ack, ()| Told::Done(ack));
            }
            Item::Finish => {}
        }
    }

    /// Remembers whom to tell after the sync, or tells an error at once.
    fn tell<T>(
        &mut self,
        done: Result<T, RecordError>,
        ack: Ack<T>,
        (permit, sealed): (Option<Permit>, Sealed),
        told: impl FnOnce(Ack<T>, T) -> Told,
    ) {
        match done {
            Ok(value) => {
                let stored = sealed.blob.map(|(_, stored)| stored);
                self.waiting.push(Waiting { told: told(ack, value), stored, _permit: permit });
            }
            // Whoever asked may have gone.
            Err(error) => drop(ack.send(Err(error))),
        }
    }

    fn configure(&mut self, config: Hash, reason: Option<&str>) -> Result<(), RecordError> {
        let mut leaf = Leaf::new(Kind::Config, self.clock.now());
        leaf.config = Some(config);
        leaf.facts.extend(reason.map(|reason| ("reason".to_owned(), Fact::Text(reason.to_owned()))));
        self.append(&leaf, &Blob::None).map(|_| ())
    }

    fn begin_run(&mut self, run: RunId, sealed: &Sealed) -> Result<Receipt, RecordError> {
        if self.parts.book.runs.contains_key(&run) {
            return Err(RecordError::RunAlreadyOpen(run));
        }
        let mut leaf = Leaf::new(Kind::SessionOpen, self.clock.now());
        leaf.link = Some(ledger::record::RunLink { run, number: 0, previous: None });
        self.append_sealed(leaf, sealed)
    }

    fn end_run(&mut self, run: RunId, reason: &'static str) -> Result<(), RecordError> {
        let state = self.parts.book.runs.get(&run).ok_or(RecordError::RunNotOpen(run))?;
        if state.open > 0 {
            self.ending.entry(run).or_insert(reason);
            return Ok(());
        }
        self.close_run(run, reason)
    }

    fn close_run(&mut self, run: RunId, reason: &'static str) -> Result<(), RecordError> {
        let link = self.parts.book.link(run).ok_or(RecordError::RunNotOpen(run))?;
        let mut leaf = Leaf::new(Kind::SessionClose, self.clock.now());
        leaf.facts.insert("count".to_owned(), int(link.number + 1));
        leaf.facts.insert("reason".to_owned(), Fact::Text(reason.to_owned()));
        leaf.link = Some(link);
        self.append(&leaf, &Blob::None)?;
        self.ending.remove(&run);
        Ok(())
    }

    fn open(&mut self, entry: &Entry, key: RoundKey) -> Result<Receipt, RecordError> {
        if self.parts.book.calls.contains_key(&key) {
            return Err(RecordError::CallAlreadyOpen(key.call));
        }
        self.entry(Kind::Intent, entry)
    }

    fn entry(&mut self, kind: Kind, entry: &Entry) -> Result<Receipt, RecordError> {
        let link = self.parts.book.link(entry.run).filter(|_| !self.ending.contains_key(&entry.run));
        let mut leaf = Leaf::new(kind, self.clock.now());
        leaf.link = Some(link.ok_or(RecordError::RunNotOpen(entry.run))?);
        leaf.call = entry.call;
        leaf.round = entry.call.map(|_| entry.round);
        leaf.parent = entry.parent;
        leaf.verdict = Some(entry.verdict);
        leaf.policy = entry.policy;
        self.append_sealed(leaf, &entry.sealed)
    }

    fn close(&mut self, key: RoundKey, status: Status, sealed: &Sealed) -> Result<Closed, RecordError> {
        let mut leaf = self.about(Kind::Outcome, key).ok_or(RecordError::CallNotOpen(key.call))?;
        leaf.status = Some(status);
        let run = leaf.link.map(|link| link.run).ok_or(RecordError::CallNotOpen(key.call))?;
        let receipt = self.append_sealed(leaf, sealed)?;
        self.end_if_last(run);
        Ok(Closed { run, key, receipt })
    }

    fn end_unknown(&mut self, key: RoundKey) -> Result<(), RecordError> {
        let mut leaf = self.about(Kind::OutcomeUnknown, key).ok_or(RecordError::CallNotOpen(key.call))?;
        leaf.status = Some(Status::Unknown);
        let run = leaf.link.map(|link| link.run).ok_or(RecordError::CallNotOpen(key.call))?;
        self.append(&leaf, &Blob::None)?;
        self.end_if_last(run);
        Ok(())
    }

    fn note(&mut self, key: RoundKey, sealed: Sealed, permit: Option<Permit>) {
        let done = match self.about(Kind::Note, key) {
            Some(leaf) => self.append_sealed(leaf, &sealed),
            None => Err(RecordError::CallNotOpen(key.call)),
        };
        match done {
            Ok(_) => {
                let stored = sealed.blob.map(|(_, stored)| stored);
                self.waiting.push(Waiting { told: Told::Nobody, stored, _permit: permit });
            }
            Err(error) => {
                self.dropped += 1;
                tracing::warn!(%error, call = %key.call, "a note was dropped");
            }
        }
    }

    /// A leaf about an open call.
    fn about(&mut self, kind: Kind, key: RoundKey) -> Option<Leaf> {
        let (run, reference): (RunId, Reference) =
            self.parts.book.reference(&key, &self.parts.shared.origin)?;
        let mut leaf = Leaf::new(kind, self.clock.now());
        leaf.link = self.parts.book.link(run);
        leaf.call = Some(key.call);
        leaf.round = Some(key.round);
        leaf.reference = Some(reference);
        Some(leaf)
    }

    fn end_if_last(&mut self, run: RunId) {
        let last = self.parts.book.runs.get(&run).is_some_and(|state| state.open == 0);
        let Some(reason) = self.ending.get(&run).copied().filter(|_| last) else { return };
        if let Err(error) = self.close_run(run, reason) {
            tracing::error!(%error, %run, "the end of a run is left to the shutdown");
        }
    }

    fn announce_keys(&mut self) -> Result<(), RecordError> {
        if self.parts.keystore.made() <= self.parts.book.keys {
            return Ok(());
        }
        for kek in self.parts.keystore.made_since(self.parts.book.keys) {
            let mut leaf = Leaf::new(Kind::KeyCreated, self.clock.now());
            leaf.facts.insert("kek".to_owned(), Fact::Text(kek.to_string()));
            self.append(&leaf, &Blob::None)?;
        }
        Ok(())
    }

    fn heartbeat(&mut self) {
        let mut leaf = Leaf::new(Kind::Heartbeat, self.clock.now());
        let counts = self.parts.book.counts;
        let open = u64::try_from(self.parts.book.calls.len()).unwrap_or(u64::MAX);
        let facts = [
            ("intents", counts.intents),
            ("outcomes", counts.outcomes + counts.unknown),
            ("unknown", counts.unknown),
            ("refused", counts.refused),
            ("notes", counts.notes),
            ("open", open),
            ("dropped", self.dropped),
        ];
        leaf.facts.extend(facts.map(|(name, count)| (name.to_owned(), int(count))));
        leaf.facts.insert("boot".to_owned(), Fact::Text(self.parts.boot.clone()));
        if let Err(error) = self.append(&leaf, &Blob::None) {
            tracing::error!(%error, "a heartbeat was not recorded");
        }
    }

    fn append_sealed(&mut self, mut leaf: Leaf, sealed: &Sealed) -> Result<Receipt, RecordError> {
        leaf.commitments.clone_from(&sealed.commitments);
        if sealed.omitted {
            leaf.facts.insert("omitted".to_owned(), Fact::Text("nospace".to_owned()));
        }
        let Some((reference, stored)) = &sealed.blob else { return self.append(&leaf, &Blob::None) };
        leaf.blobs.push(reference.clone());
        match stored {
            Stored::Memory(bytes) => self.append(&leaf, &Blob::Inline(bytes)),
            Stored::Spool(_) => {
                let blob = Blob::Spooled { digest: reference.digest.0, size: reference.size };
                self.append(&leaf, &blob)
            }
        }
    }

    /// Gives a leaf its place in the frame. Nothing has changed when there is no room for it.
    fn append(&mut self, leaf: &Leaf, blob: &Blob<'_>) -> Result<Receipt, RecordError> {
        let bytes = leaf.encode();
        if bytes.len() > LEAF_BYTES {
            return Err(RecordError::TooLarge);
        }
        if !self.parts.writer.fits(bytes.len(), blob) {
            self.flush();
            if !self.parts.writer.fits(bytes.len(), blob) {
                self.rotate()?;
            }
        }
        let seq = Seq(self.parts.writer.next_seq());
        let hash = leaf_hash(&bytes);
        self.parts.writer.push(&bytes, blob);
        self.parts.book.apply(leaf, seq, hash);
        Ok(Receipt { origin: Arc::clone(&self.parts.shared.origin), seq, leaf_hash: hash })
    }

    fn rotate(&mut self) -> Result<(), RecordError> {
        let rotated = self.parts.writer.rotate();
        self.tell_full(rotated.as_ref().err());
        rotated.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => RecordError::NoSpace,
            _ => RecordError::failed(error),
        })?;
        let position = self.parts.writer.position();
        let anchor = Anchor { segment: position.segment, first_seq: position.size };
        self.parts.progress.keep_book(anchor, self.parts.book.clone());
        Ok(())
    }

    fn tell_full(&mut self, error: Option<&io::Error>) {
        match (error, self.is_full) {
            (Some(error), false) => {
                tracing::error!(%error, "calls are refused until there is space for the record");
            }
            (None, true) => tracing::info!("there is space for the record again"),
            _ => {}
        }
        self.is_full = error.is_some();
    }

    /// Makes the frame durable and tells everybody.
    fn flush(&mut self) {
        if self.parts.writer.is_empty() {
            self.deliver();
            return;
        }
        let size = self.parts.writer.position().size;
        let position = match self.parts.writer.flush() {
            Ok(position) => position,
            Err(error) => {
                tracing::error!(%error, "the record could not be made durable; ending the process");
                std::process::abort();
            }
        };
        let meters = &self.parts.shared.meters;
        meters.batch.count(position.size - size);
        meters.sync.count_time(self.parts.writer.synced_in());
        let open = u64::try_from(self.parts.book.calls.len()).unwrap_or(u64::MAX);
        self.parts.shared.open_calls.store(open, Ordering::Relaxed);
        // Before anyone hears of it: who does finds it counted.
        self.parts.committed.send_replace(position.size);
        self.deliver();
        self.parts.progress.advance(position);
    }

    fn deliver(&mut self) {
        for Waiting { told, stored, _permit } in self.waiting.drain(..) {
            if let Some(Stored::Spool(mut file)) = stored {
                file.keep();
            }
            // Whoever asked may have gone; an `Opened` then says so itself when it is dropped.
            match told {
                Told::Done(ack) => drop(ack.send(Ok(()))),
                Told::Opened(ack, opened) => drop(ack.send(Ok(opened))),
                Told::Passed(ack, passed) => drop(ack.send(Ok(passed))),
                Told::Refused(ack, refused) => drop(ack.send(Ok(refused))),
                Told::Closed(ack, closed) => drop(ack.send(Ok(closed))),
                Told::Nobody => {}
            }
        }
    }

    /// Ends what is open, lets nothing in any more, and stops.
    fn finish(mut self) {
        for queued in self.queue.close() {
            // What came too late hears that the recorder is ending, by its dropped ack.
            if matches!(queued.item, Item::Left { .. } | Item::Note { .. } | Item::Close { .. }) {
                self.record(queued);
            }
        }
        for key in self.parts.book.open_calls() {
            if let Err(error) = self.end_unknown(key) {
                tracing::error!(%error, "an open call is left to the next start");
            }
        }
        for run in self.parts.book.open_runs() {
            if let Err(error) = self.close_run(run, "shutdown") {
                tracing::error!(%error, "an open run is left to the next start");
            }
        }
        self.heartbeat();
        self.flush();
        self.parts.progress.end(End::Orderly);
        self.parts.writer.stop();
    }
}

fn int(count: u64) -> Fact {
    Fact::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
