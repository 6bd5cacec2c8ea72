//! What the disk can do, and what is on it.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::latency::Latencies;

const BLOCK: usize = 4096;
const FILE_BYTES: usize = 16 << 20;

/// Appends blocks to a file of zeros and makes each durable, as the write-ahead log does.
pub(crate) fn syncs(folder: &Path, lasts: Duration) -> anyhow::Result<Latencies> {
    let path = folder.join("probe");
    let file = File::create(&path)?;
    file.write_all_at(&vec![0; FILE_BYTES], 0)?;
    file.sync_all()?;
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    let places = (0..FILE_BYTES as u64).step_by(BLOCK).cycle();
    for place in places.take_while(|_| begun.elapsed() < lasts) {
        let before = Instant::now();
        file.write_all_at(&[1; BLOCK], place)?;
        file.sync_data()?;
        latencies.add(before.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(latencies)
}

/// What a folder takes on the disk, in bytes; 0 if it is not there.
pub(crate) fn used(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            // A file of a running gateway may be gone by now.
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.blocks() * 512;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes)
}
