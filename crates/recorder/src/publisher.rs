//! The publisher: reads the write-ahead log behind the committer and makes it the published log.
//!
//! Sealed payloads go into packs, leaves into tiles and bundles; when all of that is durable, a checkpoint is
//! signed and put in place. Only then are spool files, older partial tiles and old segments removed. Whatever
//! point it is stopped at, it can begin again from the newest checkpoint and writes the same bytes.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use ledger::sequence::Sequencer;
use ledger::tile::{TileId, WIDTH};
use ledger::{Checkpoint, Hash, LogKey};
use tokio::sync::watch;

use crate::clock::{Day, now_micros};
use crate::log::LogFolder;
use crate::pack::{PackWriter, Source};
use crate::progress::{End, Progress};
use crate::recorder::Shared;
use crate::spool;
use crate::state::Snapshot;
use crate::wal::layout::{Blob, Record, sha256};
use crate::wal::scan::Anchor;
use crate::wal::segments;
use crate::wal::tail::Tail;
use crate::{disk, faults};

/// Leaves under one checkpoint at most, so that a backlog is worked off in bounded memory.
const BATCH: u64 = 16_384;
/// How long a full disk is waited for before the next try.
const RETRY: Duration = Duration::from_secs(1);
/// How often a full disk is tried at the end, without a pause.
const LAST_TRIES: u32 = 4;
/// However slow the disk is, the next publication begins after this time.
const LONGEST_PAUSE: Duration = Duration::from_millis(700);

/// What a publisher is given; outlives its tries.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) log: LogFolder,
    pub(crate) key: LogKey,
    pub(crate) pack_bytes: u64,
}

/// One course of publishing, from the newest checkpoint on.
#[derive(Debug)]
pub(crate) struct Publisher {
    place: Arc<Place>,
    tail: Tail,
    sequencer: Sequencer,
    packs: PackWriter,
    /// Partial tiles of the newest checkpoint and of the one before.
    partials: BTreeSet<PathBuf>,
    partials_before: BTreeSet<PathBuf>,
    /// Spool files that are in packs now.
    spooled: Vec<PathBuf>,
}

impl Publisher {
    /// Begins behind the newest signed checkpoint, reading the log from `anchor` on.
    ///
    /// # Errors
    /// When the checkpoint is not ours, or does not agree with the tiles, or on errors of the file system.
    pub(crate) fn resume(place: Arc<Place>, anchor: Anchor) -> io::Result<Self> {
        disk::create_folder(&place.log.path)?;
        let signed = signed_checkpoint(&place.log, &place.key)?;
        let size = signed.as_ref().map_or(0, |checkpoint| checkpoint.size);
        let sequencer = Sequencer::resume(size, &place.log).map_err(io::Error::other)?;
        if let Some(checkpoint) = signed
            && checkpoint.root != sequencer.root()
        {
            return Err(io::Error::other(
                "the tiles do not agree with the newest checkpoint; run `tollbook verify`",
            ));
        }
        let packs = PackWriter::resume(place.log.path.join("pack"), place.pack_bytes)?;
        let tail = Tail::new(place.wal.clone(), anchor.segment, anchor.first_seq);
        Ok(Self {
            place,
            tail,
            sequencer,
            packs,
            partials: BTreeSet::new(),
            partials_before: BTreeSet::new(),
            spooled: Vec::new(),
        })
    }

    /// Number of leaves that are published.
    pub(crate) fn size(&self) -> u64 {
        self.sequencer.size()
    }

    /// Publishes what is durable, up to a bound; gives the new size.
    pub(crate) fn publish(&mut self, progress: &Progress) -> io::Result<u64> {
        self.read(progress)?;
        let Some(published) = self.sequencer.publish() else { return Ok(self.size()) };
        self.packs.sync()?;
        let is_new = |id: &TileId| id.width == WIDTH || !self.partials.contains(&self.path_of(id));
        self.place.log.write_files(published.files.iter().filter(|file| is_new(&file.id)))?;
        if progress.ending() == Some(End::Abandoned) {
            return Err(io::Error::other("abandoned"));
        }
        let checkpoint =
            Checkpoint { origin: self.place.key.verifier().name, size: published.size, root: published.root };
        self.place.log.write_checkpoint(&self.place.key.sign(&checkpoint), now_micros())?;
        let written: Vec<TileId> = published.files.iter().map(|file| file.id).collect();
        self.clean(&written)?;
        self.retire(progress, published.size)?;
        Ok(published.size)
    }

    fn read(&mut self, progress: &Progress) -> io::Result<()> {
        let durable = progress.durable();
        let start = self.sequencer.size();
        let day = Day::of(now_micros());
        let Self { place, tail, sequencer, packs, spooled, .. } = self;
        while sequencer.size() < start + BATCH {
            let more = tail.next_frame(durable, |seq, record| {
                if seq < sequencer.size() {
                    return Ok(());
                }
                store(place, packs, spooled, (day, seq), &record)?;
                sequencer.append(record.leaf).map(|_| ()).map_err(io::Error::other)
            })?;
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Removes what nobody needs now that the checkpoint stands.
    fn clean(&mut self, written: &[TileId]) -> io::Result<()> {
        let partial = written.iter().filter(|id| id.width < WIDTH);
        let now: BTreeSet<PathBuf> = partial.map(|id| self.path_of(id)).collect();
        self.partials_before = std::mem::replace(&mut self.partials, now);
        let keep = self.partials.union(&self.partials_before).cloned().collect();
        self.place.log.remove_partials(written, &keep)?;
        self.spooled.drain(..).try_for_each(|path| disk::remove_if_present(&path))
    }

    /// Forgets the segments that are published whole.
    fn retire(&self, progress: &Progress, size: u64) -> io::Result<()> {
        let Some((anchor, book)) = progress.take_book(size) else { return Ok(()) };
        Snapshot::new(&self.place.key.verifier().name, anchor, &book).save(&self.place.dir)?;
        for number in segments::list(&self.place.wal)?.into_iter().filter(|number| *number < anchor.segment) {
            faults::at("segment.remove")?;
            disk::remove_if_present(&segments::path_of(&self.place.wal, number))?;
        }
        Ok(())
    }

    fn path_of(&self, id: &TileId) -> PathBuf {
        self.place.log.path.join(id.path())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.packs.finish()
    }
}

/// Puts a record's sealed payload into the pack.
fn store(
    place: &Place,
    packs: &mut PackWriter,
    spooled: &mut Vec<PathBuf>,
    (day, seq): (Day, u64),
    record: &Record<'_>,
) -> io::Result<()> {
    match record.blob {
        Blob::None => Ok(()),
        _ if packs.holds(seq) => {
            spooled.extend(spool_path(place, &record.blob));
            Ok(())
        }
        Blob::Inline(bytes) => packs.append(day, seq, Hash(sha256(bytes)), Source::Bytes(bytes)),
        Blob::Spooled { digest, .. } => {
            let path = spool::path_of(&place.dir.join("spool"), &digest);
            packs.append(day, seq, Hash(digest), Source::File(&path))?;
            spooled.push(path);
            Ok(())
        }
    }
}

fn spool_path(place: &Place, blob: &Blob<'_>) -> Option<PathBuf> {
    match blob {
        Blob::Spooled { digest, .. } => Some(spool::path_of(&place.dir.join("spool"), digest)),
        Blob::None | Blob::Inline(_) => None,
    }
}

/// The newest signed checkpoint of a log, verified.
pub(crate) fn signed_checkpoint(log: &LogFolder, key: &LogKey) -> io::Result<Option<Checkpoint>> {
    let Some(note) = log.newest_note()? else { return Ok(None) };
    Checkpoint::verify(&note, &key.verifier()).map(Some).map_err(io::Error::other)
}

/// The publisher's thread.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) place: Arc<Place>,
    pub(crate) anchor: Anchor,
    pub(crate) progress: Arc<Progress>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) published: watch::Sender<u64>,
}

impl Course {
    /// Publishes until told to end. A full disk is waited for, and no new calls are accepted meanwhile; any
    /// other error ends the process, since what the disk holds is unknown.
    pub(crate) fn run(self, first: Publisher) {
        let mut publisher = Some(first);
        let mut last_tries = LAST_TRIES;
        loop {
            let next = match publisher.take() {
                Some(publisher) => Ok(publisher),
                None => self.resume(),
            };
            match next.and_then(|publisher| self.follow(publisher)) {
                Ok(()) => return,
                Err(_) if self.progress.ending() == Some(End::Abandoned) => return,
                Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                    tracing::error!(%error, "publishing waits for space; no new calls are accepted");
                    self.set_stuck(Some("the disk that holds the record is full; free some space"));
                    if self.progress.ending().is_some() {
                        // What is left then is published at the next start.
                        last_tries -= 1;
                        if last_tries == 0 {
                            return;
                        }
                    }
                    self.progress.pause(RETRY);
                }
                Err(error) => {
                    tracing::error!(%error, "publishing failed; ending the process");
                    std::process::abort();
                }
            }
        }
    }

    fn follow(&self, mut publisher: Publisher) -> io::Result<()> {
        let every = self.shared.limits.publish_every;
        loop {
            if self.progress.ending() == Some(End::Abandoned) {
                return Ok(());
            }
            let begun = Instant::now();
            let size = publisher.publish(&self.progress)?;
            // A slow disk is left to the committer nine tenths of the time.
            let pause = begun.elapsed().saturating_mul(9).clamp(every, every.max(LONGEST_PAUSE));
            self.set_stuck(None);
            if self.published.send_replace(size) != size {
                self.shared.meters.sign_checkpoint();
            }
            if size < self.progress.durable().size {
                continue;
            }
            match self.progress.ending() {
                Some(End::Orderly) => return publisher.finish(),
                Some(End::Abandoned) => return Ok(()),
                None => {}
            }
            self.progress.pause(pause);
            self.progress.wait_beyond(size);
        }
    }

    fn resume(&self) -> io::Result<Publisher> {
        let anchor = Snapshot::load(&self.place.dir)?.map_or(self.anchor, |snapshot| snapshot.anchor());
        Publisher::resume(Arc::clone(&self.place), anchor)
    }

    fn set_stuck(&self, why: Option<&str>) {
        let mut stuck = self.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        *stuck = why.map(str::to_owned);
    }
}
