//! Reading and replacing the files of others: whole or not at all, with the mode and owner they have.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Reads a file that may not exist.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a folder and its parents, private to the user where they are new.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether [`replace`] can work, as far as permissions tell.
pub(super) fn check_writable(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    access(path, Access::WRITE_OK)?;
    if let Some(folder) = path.parent() {
        access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    }
    Ok(())
}

/// Puts `bytes` in the place of a file, durable on return; readers see the old file or the new one. A file that is there keeps
/// its mode and owner, a new one is the user's alone. `path` is no symbolic link.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    let staged = path.with_file_name(format!(".{name}.tollbook-{}", std::process::id()));
    let outcome = stage(path, &staged, bytes).and_then(|()| std::fs::rename(&staged, path));
    if outcome.is_err() {
        // It may not have come into being.
        let _ = std::fs::remove_file(&staged);
    }
    outcome?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn stage(path: &Path, staged: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(staged)?;
    file.write_all(bytes)?;
    match std::fs::metadata(path) {
        Ok(old) => {
            let new = file.metadata()?;
            if old.uid() != new.uid() || old.gid() != new.gid() {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.sync_all()
}
