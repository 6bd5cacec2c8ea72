//! The spool: where a large sealed payload waits, durable, until the publisher has copied it into a pack.
//!
//! A file is named by its digest. One that no record came to name is removed, at once or at the next start.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use ledger::Hash;

use crate::pack::finish_hash;
use crate::{disk, faults};

/// A durable spool file; removed on drop unless a durable record names it.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    path: PathBuf,
    kept: bool,
}

impl SpoolFile {
    /// A durable record names it now.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = disk::remove_if_present(&self.path)
        {
            tracing::warn!(%error, "cannot remove an unused spool file");
        }
    }
}

/// Path of the spool file with this digest.
pub(crate) fn path_of(folder: &Path, digest: &[u8; 32]) -> PathBuf {
    folder.join(Hash(*digest).to_hex())
}

/// A spool file in the making: counts and hashes what is written to it.
pub(crate) struct SpoolWriter {
    folder: PathBuf,
    staged: PathBuf,
    file: File,
    context: Context,
    size: u64,
}

impl SpoolWriter {
    /// Starts one under a random name.
    pub(crate) fn create(folder: &Path, random: [u8; 16]) -> io::Result<Self> {
        let staged = folder.join(format!(".{:032x}.tmp", u128::from_be_bytes(random)));
        faults::at("spool.create")?;
        let file = disk::create(&staged)?;
        Ok(Self { folder: folder.to_owned(), staged, file, context: Context::new(&SHA256), size: 0 })
    }

    /// Makes it durable under its digest.
    pub(crate) fn finish(self) -> io::Result<(SpoolFile, Hash, u64)> {
        faults::at("spool.sync")?;
        self.file.sync_all()?;
        let digest = finish_hash(self.context.clone());
        let path = path_of(&self.folder, &digest.0);
        faults::at("spool.name")?;
        std::fs::rename(&self.staged, &path)?;
        let spooled = SpoolFile { path, kept: false };
        disk::sync_folder(&self.folder)?;
        faults::at("spool.named")?;
        Ok((spooled, digest, self.size))
    }
}

impl Write for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.context.update(bytes.get(..count).unwrap_or_default());
        self.size += u64::try_from(count).map_err(io::Error::other)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes every file that is not in `named`.
pub(crate) fn clear(folder: &Path, named: &HashSet<[u8; 32]>) -> io::Result<()> {
    let keep: HashSet<String> = named.iter().map(|digest| Hash(*digest).to_hex()).collect();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| keep.contains(name)) {
            disk::remove_if_present(&entry.path())?;
        }
    }
    Ok(())
}
