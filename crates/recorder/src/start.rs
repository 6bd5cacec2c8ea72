//! A start: lock the folder, find what is durable, settle what the process before left open, go on.
//!
//! What is found decides between three ways. A torn last write is cut off. Damage before valid records is
//! refused, untouched. And if more leaves were ever signed than are found, somebody set the folder back: that
//! log is put aside whole, and a new one begins by saying so.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ledger::proof::TileSource as _;
use ledger::record::LeafError;
use ledger::tile::{TileId, decode_hashes};
use ledger::{Fact, Hash, Kind, Leaf, Seq, leaf_hash};
use tokio::sync::{Semaphore, watch};

use crate::account::Clerk;
use crate::book::Book;
use crate::clock::{HybridClock, now_micros};
use crate::committer::{Committer, Parts};
use crate::error::RecordError;
use crate::keystore::{Keystore, KeystoreError};
use crate::log::LogFolder;
use crate::meter::Meters;
use crate::origins::{self, Fresh, Origin, Predecessor};
use crate::progress::{End, Progress};
use crate::publisher::{Course, Place, Publisher, signed_checkpoint};
use crate::queue::{Item, Queue, Queued};
use crate::recorder::{Recorder, Shared};
use crate::sealing::{LARGE, Sealing, random};
use crate::settings::Settings;
use crate::spool;
use crate::state::Snapshot;
use crate::wal::layout::{Blob, Lineage, Record, SegmentHeader};
use crate::wal::scan::{Anchor, Scanned, WalError, scan};
use crate::wal::writer::{self, Writer};
use crate::wal::{Position, segments};
use crate::{backup, disk};

/// Smallest segment.
const SEGMENT_BYTES: u64 = 64 << 10;

/// Why recording cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another gateway uses the folder.
    #[error("`{}` is in use by another gateway: end it, or use another data folder", path.display())]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// The folder is a backup.
    #[error("`{}` is a backup and is not recorded into; make a data folder of it with `tollbook restore`", .0.display())]
    Backup(PathBuf),
    /// The file system failed.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The write-ahead log cannot be taken up.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeystoreError),
    /// The first records could not be written.
    #[error("cannot write the first record")]
    First(#[from] RecordError),
    /// A limit makes no sense.
    #[error("`{0}`")]
    Limit(&'static str),
}

/// What a start found and settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The log's origin.
    pub origin: String,
    /// Number of leaves that were there.
    pub size: u64,
    /// Calls whose outcome nobody saw; each has an `outcome.unknown` now.
    pub unknown: u64,
    /// Runs that were open; each has ended now.
    pub runs: u64,
    /// Whether an unfinished write was cut off.
    pub torn: bool,
    /// The log that had to be put aside, if this start did so or the log is its successor and still empty.
    pub predecessor: Option<Predecessor>,
}

/// A recorder at work.
#[derive(Debug)]
pub struct Started {
    /// Records.
    pub recorder: Recorder,
    /// The right to clear.
    pub clerk: Clerk,
    /// Ends it.
    pub shutdown: Shutdown,
    /// What was found.
    pub recovered: Recovered,
}

/// Ends a recorder. Without `finish` the next start treats the folder as after a crash.
#[derive(Debug)]
pub struct Shutdown {
    queue: Arc<Queue>,
    progress: Arc<Progress>,
    committer: JoinHandle<()>,
    publisher: JoinHandle<()>,
    /// Held until the threads have ended.
    lock: File,
}

/// A thread of the recorder panicked; the next start settles what it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder ended unexpectedly; see the log")]
pub struct ShutdownError;

impl Shutdown {
    /// Lets nothing in any more, ends open calls (`outcome.unknown`) and runs (`shutdown`), publishes
    /// everything under a last checkpoint, and gives the folder free. Blocks on the disk.
    ///
    /// # Errors
    /// When a thread panicked.
    pub fn finish(self) -> Result<(), ShutdownError> {
        // A closed queue means that the committer is ending already.
        drop(self.queue.push(Queued { item: Item::Finish, permit: None }));
        let committed = self.committer.join();
        self.progress.end(End::Orderly);
        let published = self.publisher.join();
        drop(self.lock);
        if committed.is_ok() && published.is_ok() { Ok(()) } else { Err(ShutdownError) }
    }

    /// Stops both threads where they are, as a crash would. For tests of recovery.
    #[doc(hidden)]
    pub fn abandon(self) {
        self.progress.end(End::Abandoned);
        drop(self.queue.close());
        let ended = (self.committer.join(), self.publisher.join());
        drop(self.lock);
        drop(ended);
    }
}

/// Starts recording into a folder.
///
/// # Errors
/// When the folder is in use, or what is in it cannot be continued safely; nothing is changed then, but for
/// a torn last write.
#[expect(clippy::needless_pass_by_value, reason = "settings are for one start")]
pub fn start(settings: Settings) -> Result<Started, StartError> {
    if settings.limits.segment_bytes < SEGMENT_BYTES {
        return Err(StartError::Limit("segments must have at least 64 KiB"));
    }
    if backup::is_backup(&settings.dir) {
        return Err(StartError::Backup(settings.dir.clone()));
    }
    let folders = Folders::of(&settings.dir);
    let lock = folders.lock()?;
    folders.create()?;
    let keystore = Arc::new(Keystore::open_or_create(&folders.keys)?);
    let found = folders.find(&settings)?;
    launch(&settings, &folders, keystore, found, lock)
}

/// Where everything is.
#[derive(Debug)]
struct Folders {
    dir: PathBuf,
    log: LogFolder,
    wal: PathBuf,
    spool: PathBuf,
    keys: PathBuf,
}

/// What a folder holds.
#[derive(Debug)]
struct Found {
    origin: Origin,
    scanned: Scanned,
    anchor: Anchor,
    book: Book,
    /// Books at the starts of the segments.
    books: Vec<(Anchor, Book)>,
}

impl Folders {
    fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            log: LogFolder { path: dir.join("log") },
            wal: dir.join("wal").join("0"),
            spool: dir.join("spool"),
            keys: dir.join("keys"),
        }
    }

    fn lock(&self) -> Result<File, StartError> {
        disk::create_folder(&self.dir).map_err(|source| io_error(&self.dir, source))?;
        let path = self.dir.join("lock");
        let file = disk::open_or_create(&path).map_err(|source| io_error(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(StartError::InUse { path: self.dir.clone() }),
            Err(TryLockError::Error(source)) => Err(io_error(&path, source)),
        }
    }

    fn create(&self) -> Result<(), StartError> {
        for path in [&self.wal, &self.spool, &self.keys] {
            disk::create_folder(path).map_err(|source| io_error(path, source))?;
        }
        Ok(())
    }

    /// Finds the log to continue; begins a new one if the folder was set back.
    fn find(&self, settings: &Settings) -> Result<Found, StartError> {
        let keys_error = |source| io_error(&self.keys, source);
        let log_error = |source| io_error(&self.log.path, source);
        if !self.keys.join("origins.json").exists() && self.log.newest_note().map_err(log_error)?.is_some() {
            let text = "`origins.json` is missing; restore it from a copy of the data folder";
            return Err(keys_error(io::Error::other(text)));
        }
        loop {
            let fresh = Fresh { name: &settings.origin_name, suffix: random()?, now: now_micros() };
            let origin = origins::load_or_create(&self.keys, fresh, random()?).map_err(keys_error)?;
            self.set_aside(&origin).map_err(|source| io_error(&self.dir, source))?;
            let signed = signed_checkpoint(&self.log, &origin.key).map_err(log_error)?;
            let signed = signed.map_or(0, |checkpoint| checkpoint.size);
            let found = self.read(origin, signed)?;
            if found.scanned.position.size >= signed {
                return Ok(found);
            }
            let predecessor = Predecessor {
                origin: found.origin.name,
                signed,
                found: found.scanned.position.size,
                reason: "rollback".to_owned(),
            };
            tracing::error!(?predecessor, "the folder was set back; a new log begins");
            origins::succeed(&self.keys, fresh, predecessor).map_err(keys_error)?;
        }
    }

    /// Moves what belongs to earlier origins out of the way. May be repeated after a crash.
    fn set_aside(&self, origin: &Origin) -> io::Result<()> {
        let Some(predecessor) = &origin.predecessor else { return Ok(()) };
        let suffix = origins::suffix(&predecessor.origin);
        let signed_by_other = self.log.newest_note()?.is_some_and(|note| {
            ledger::Checkpoint::parse(&note).is_ok_and(|checkpoint| checkpoint.origin != origin.name)
        });
        if signed_by_other {
            std::fs::rename(&self.log.path, self.dir.join(format!("log-{suffix}")))?;
        }
        if self.wal_is_of_other(origin)? {
            std::fs::rename(&self.wal, self.dir.join(format!("wal-{suffix}")))?;
            disk::create_folder(&self.wal)?;
        }
        if Snapshot::load(&self.dir)?.is_some_and(|snapshot| snapshot.origin != origin.name) {
            disk::remove_if_present(&self.dir.join("state.json"))?;
        }
        disk::sync_folder(&self.dir)
    }

    fn wal_is_of_other(&self, origin: &Origin) -> io::Result<bool> {
        for number in segments::list(&self.wal)? {
            let bytes = std::fs::read(segments::path_of(&self.wal, number))?;
            if let Some(header) = SegmentHeader::decode(&bytes) {
                return Ok(header.lineage.epoch != origin.epoch);
            }
        }
        Ok(false)
    }

    /// Reads the write-ahead log, and compares what is published with it.
    fn read(&self, origin: Origin, signed: u64) -> Result<Found, StartError> {
        let state =
            Snapshot::load(&self.dir).map_err(|source| io_error(&self.dir.join("state.json"), source))?;
        let anchor = state.as_ref().map_or(Anchor { segment: 0, first_seq: 0 }, Snapshot::anchor);
        let mut book = state.map_or_else(Book::default, Snapshot::into_book);
        let mut books: Vec<(Anchor, Book)> = Vec::new();
        let mut spooled = HashSet::new();
        let mut tiles = PublishedHashes { log: &self.log, size: signed, tile: None };
        let lineage = Lineage { slot: 0, epoch: origin.epoch };
        let scanned = scan(&self.wal, lineage, anchor, |segment, seq, record: Record<'_>| {
            if segment != anchor && books.last().is_none_or(|(newest, _)| *newest != segment) {
                books.push((segment, book.clone()));
            }
            let leaf = Leaf::decode(record.leaf).map_err(|error| unreadable(&error))?;
            let hash = leaf_hash(record.leaf);
            if seq >= signed
                && let Blob::Spooled { digest, .. } = record.blob
            {
                spooled.insert(digest);
            }
            tiles.check(seq, hash)?;
            book.apply(&leaf, Seq(seq), hash);
            Ok(())
        })?;
        let size = scanned.position.size;
        if size >= signed {
            spool::clear(&self.spool, &spooled).map_err(|source| io_error(&self.spool, source))?;
        }
        Ok(Found { origin, scanned, anchor, book, books })
    }
}

/// What is said of a leaf in the write-ahead log that cannot be read.
fn unreadable(error: &LeafError) -> &'static str {
    match error {
        LeafError::Version(_) => "a record is of a version that this program does not know; use a newer one",
        _ => "a record is not readable",
    }
}

/// Compares leaves with the tiles that are published.
struct PublishedHashes<'a> {
    log: &'a LogFolder,
    size: u64,
    tile: Option<(u64, Vec<Hash>)>,
}

impl PublishedHashes<'_> {
    fn check(&mut self, seq: u64, hash: Hash) -> Result<(), &'static str> {
        if seq >= self.size {
            return Ok(());
        }
        let id = TileId::holding(0, seq, self.size);
        if self.tile.as_ref().is_none_or(|(index, _)| *index != id.index) {
            let hashes = self.log.tile(id).and_then(|bytes| decode_hashes(&bytes));
            self.tile = Some((id.index, hashes.ok_or("a published tile is missing or damaged")?));
        }
        let at = usize::try_from(seq % ledger::tile::WIDTH).unwrap_or(usize::MAX);
        let published = self.tile.as_ref().and_then(|(_, hashes)| hashes.get(at));
        if published == Some(&hash) { Ok(()) } else { Err("a record differs from the one that is published") }
    }
}

/// Starts the threads over what was found.
fn launch(
    settings: &Settings,
    folders: &Folders,
    keystore: Arc<Keystore>,
    found: Found,
    lock: File,
) -> Result<Started, StartError> {
    let Found { origin, scanned, anchor, book, books } = found;
    let position = scanned.position;
    let recovered = Recovered {
        origin: origin.name.clone(),
        size: position.size,
        unknown: count(book.calls.len()),
        runs: count(book.runs.len()),
        torn: scanned.torn,
        predecessor: origin.predecessor.clone().filter(|_| position.size == 0),
    };
    let writer = open_writer(folders, settings, &origin, &scanned)?;
    let progress = Arc::new(Progress::default());
    progress.advance(position);
    for (anchor, book) in books {
        progress.keep_book(anchor, book);
    }
    let place = Arc::new(Place {
        dir: folders.dir.clone(),
        wal: folders.wal.clone(),
        log: folders.log.clone(),
        key: origin.key,
        pack_bytes: settings.limits.pack_bytes,
    });
    let mut publisher = Publisher::resume(Arc::clone(&place), anchor)
        .map_err(|source| io_error(&folders.log.path, source))?;
    let (committed, committed_size) = watch::channel(position.size);
    let (published, published_size) = watch::channel(publisher.size());
    let shared = Arc::new(share(settings, folders, &keystore, origin.name, (committed_size, published_size)));
    let boot = format!("{:016x}", u64::from_be_bytes(random()?));
    let time = HybridClock::after(book.time).now();
    let start = start_leaf(time, &boot, &recovered);
    let parts = Parts {
        shared: Arc::clone(&shared),
        keystore,
        progress: Arc::clone(&progress),
        committed,
        writer,
        book,
        boot,
    };
    let mut committer = Committer::new(parts);
    committer.begin(&start, settings.config)?;
    // A log that was started can be read: there is a checkpoint over the first record from here on.
    let size = publisher.publish(&progress).map_err(|source| io_error(&folders.log.path, source))?;
    published.send_replace(size);
    shared.meters.sign_checkpoint();
    let course =
        Course { place, anchor, progress: Arc::clone(&progress), shared: Arc::clone(&shared), published };
    let publisher = spawn("recorder-publisher", move || course.run(publisher))?;
    let committer = spawn("recorder-committer", move || committer.run())?;
    let shutdown = Shutdown { queue: Arc::clone(&shared.queue), progress, committer, publisher, lock };
    Ok(Started { recorder: Recorder { shared }, clerk: Clerk::new(), shutdown, recovered })
}

fn open_writer(
    folders: &Folders,
    settings: &Settings,
    origin: &Origin,
    scanned: &Scanned,
) -> Result<Writer, StartError> {
    let Position { segment, .. } = scanned.position;
    let path = segments::path_of(&folders.wal, segment);
    let current = if scanned.has_segment {
        Some(disk::open_or_create(&path).map_err(|source| io_error(&path, source))?)
    } else {
        None
    };
    let start = writer::Start {
        folder: folders.wal.clone(),
        lineage: Lineage { slot: 0, epoch: origin.epoch },
        segment_bytes: settings.limits.segment_bytes,
        position: scanned.position,
        previous_frame: scanned.previous_frame,
        current,
    };
    Writer::open(start).map_err(|source| io_error(&folders.wal, source))
}

fn share(
    settings: &Settings,
    folders: &Folders,
    keystore: &Arc<Keystore>,
    origin: String,
    (committed, published): (watch::Receiver<u64>, watch::Receiver<u64>),
) -> Shared {
    let limits = settings.limits.clone();
    let quarter = usize::try_from(limits.segment_bytes / 4).unwrap_or(usize::MAX);
    let sealing = Sealing {
        keystore: Arc::clone(keystore),
        spool: folders.spool.as_path().into(),
        inline_bytes: limits.inline_bytes.min(quarter),
        payload_bytes: limits.payload_bytes,
        large: Semaphore::new(LARGE),
    };
    let permits =
        |limit: u32| Arc::new(Semaphore::new(usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS)));
    Shared {
        dir: folders.dir.clone(),
        queue: Arc::new(Queue::default()),
        records: permits(limits.queue_records),
        bytes: permits(limits.queue_bytes),
        sealing: Arc::new(sealing),
        origin: Arc::from(origin),
        open_calls: AtomicU64::new(0),
        meters: Meters::new(),
        committed,
        published,
        space: Mutex::new(None),
        stuck: Mutex::new(None),
        limits,
    }
}

fn start_leaf(time: u64, boot: &str, recovered: &Recovered) -> Leaf {
    let int = |count: u64| Fact::Int(i64::try_from(count).unwrap_or(i64::MAX));
    let mut facts = BTreeMap::from([
        ("boot".to_owned(), Fact::Text(boot.to_owned())),
        ("size".to_owned(), int(recovered.size)),
        ("torn".to_owned(), int(u64::from(recovered.torn))),
        ("unknown".to_owned(), int(recovered.unknown)),
        ("runs".to_owned(), int(recovered.runs)),
    ]);
    if let Some(predecessor) = &recovered.predecessor {
        facts.insert("predecessor".to_owned(), Fact::Text(predecessor.origin.clone()));
        facts.insert("predecessor_signed".to_owned(), int(predecessor.signed));
        facts.insert("predecessor_found".to_owned(), int(predecessor.found));
        facts.insert("reason".to_owned(), Fact::Text(predecessor.reason.clone()));
    }
    let mut leaf = Leaf::new(Kind::Start, time);
    leaf.facts = facts;
    leaf
}

fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map_err(|source| io_error(Path::new(name), source))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn io_error(path: &Path, source: io::Error) -> StartError {
    StartError::Io { path: path.to_owned(), source }
}
