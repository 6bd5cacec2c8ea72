//! How large the parts of a data folder are.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::wal::segments;

/// Bytes that the published log and its packs take: every file of `log/`.
///
/// # Errors
/// When a folder cannot be listed. What is removed meanwhile counts for nothing.
pub fn log_bytes(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    let mut folders = vec![dir.join("log")];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => bytes = bytes.saturating_add(meta.len()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

/// Bytes that the write-ahead log takes, prepared segments included.
///
/// # Errors
/// When it cannot be listed.
pub fn wal_bytes(dir: &Path) -> io::Result<u64> {
    let wal = dir.join("wal").join("0");
    let size = |number| std::fs::metadata(segments::path_of(&wal, number)).map_or(0, |meta| meta.len());
    Ok(segments::list(&wal)?.into_iter().map(size).sum())
}
