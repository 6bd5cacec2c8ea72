//! Files as a ledger needs them: private modes, atomic replacement, folders synced.
//!
//! Nothing here retries a failed sync: the kernel may have dropped the pages and reports the loss once.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Room on the file system that holds the data folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Size of the file system.
    pub total: u64,
}

/// Asks the file system of `path` how much room is left.
///
/// # Errors
/// Gives the error of `statvfs`.
pub fn free_space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    let block = stat.f_frsize;
    Ok(Space { free: stat.f_bavail.saturating_mul(block), total: stat.f_blocks.saturating_mul(block) })
}

/// Creates a folder (0700) with its parents; every new name is durable on return.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_folder(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => return Err(error),
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Opens a file (0600) for reading and writing, created if it is not there.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Creates or empties a file (0600) for writing.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Replaces `path` with `bytes`: written beside it, synced, renamed. The caller syncs the folder.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let staged = staged_name(path);
    let mut file = create(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&staged, path)
}

/// Replaces `path` with `bytes`, durable on return; readers see the old or the new file, never a part.
pub(crate) fn replace_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes)?;
    match path.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Makes the folder that a file is to stand in.
pub(crate) fn folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), create_folder)
}

/// Puts what is read in the place of `path` (0600) and gives its length. Not durable: the caller syncs.
pub(crate) fn put(path: &Path, from: &mut impl io::Read) -> io::Result<u64> {
    let staged = staged_name(path);
    let mut file = create(&staged)?;
    let bytes = io::copy(from, &mut file)?;
    drop(file);
    std::fs::rename(&staged, path)?;
    Ok(bytes)
}

fn staged_name(path: &Path) -> PathBuf {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    path.with_file_name(format!(".{name}.tmp"))
}

/// Reads a file that may not exist.
pub(crate) fn read_if_present(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file that may not exist.
pub(crate) fn remove_if_present(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes all rights but the owner's from a file.
pub(crate) fn restrict(file: &File) -> io::Result<()> {
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}
