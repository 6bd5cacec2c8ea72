//! Segment files: their names, and a thread that prepares the next ones by writing zeros.
//!
//! Zeros written and synced beforehand leave a later `fdatasync` with nothing but the frame itself to
//! write. The thread ends when its receiver is dropped.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::{disk, faults};

/// Segments kept ready beside the one that the thread has in its hands.
const READY: usize = 1;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Path of segment `number`.
pub(crate) fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:016}.wal"))
}

/// Numbers of all segments in `folder`, ascending. Other files are left alone.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".wal")).filter(|no| no.len() == 16);
        if let Some(number) = number.and_then(|digits| digits.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}

/// A segment that is all zeros and durable.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) file: File,
}

/// The thread that prepares segments.
#[derive(Debug)]
pub(crate) struct Preparer {
    ready: Receiver<io::Result<Prepared>>,
    thread: JoinHandle<()>,
}

impl Preparer {
    /// Starts preparing segments from number `first` on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn start(folder: PathBuf, bytes: u64, first: u64) -> io::Result<Self> {
        let (made, ready) = sync_channel(READY);
        let thread = std::thread::Builder::new()
            .name("recorder-segments".into())
            .spawn(move || prepare_all(&folder, bytes, first, &made))?;
        Ok(Self { ready, thread })
    }

    /// Waits for the next segment. After an error the thread tries the same segment again.
    pub(crate) fn next(&self) -> io::Result<Prepared> {
        self.ready.recv().map_err(|_| io::Error::other("the thread that prepares segments has ended"))?
    }

    /// Ends the thread and waits for it.
    pub(crate) fn stop(self) {
        drop(self.ready);
        if self.thread.join().is_err() {
            tracing::error!("segment preparation panicked");
        }
    }
}

fn prepare_all(folder: &Path, bytes: u64, first: u64, made: &SyncSender<io::Result<Prepared>>) {
    let mut number = first;
    loop {
        let prepared = prepare(folder, bytes, number);
        if prepared.is_ok() {
            number += 1;
        }
        if made.send(prepared).is_err() {
            return;
        }
    }
}

fn prepare(folder: &Path, bytes: u64, number: u64) -> io::Result<Prepared> {
    faults::at("wal.prepare")?;
    let mut file = disk::create(&path_of(folder, number))?;
    let mut left = bytes;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len());
        file.write_all(ZEROS.get(..step).unwrap_or(&ZEROS))?;
        left = left.saturating_sub(u64::try_from(step).unwrap_or(left));
    }
    file.sync_all()?;
    disk::sync_folder(folder)?;
    faults::at("wal.prepared")?;
    Ok(Prepared { number, file })
}
