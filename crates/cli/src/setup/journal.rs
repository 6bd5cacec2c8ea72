//! What `init` changed, so that it can be taken back: one folder per change, written before the change is made.
//!
//! A folder `0001-client` holds `path`, `before` (absent if the file was made) and `after`. It has everything the file had,
//! credentials included, and so it is the user's alone.

use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::files;

/// Whose file a change is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A client's configuration.
    Client,
    /// `tollbook.toml`, or a credential beside it: clients that point at the gateway need it.
    Gateway,
}

/// One file's content before and after.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) owner: Owner,
    pub(super) path: PathBuf,
    pub(super) before: Option<Vec<u8>>,
    pub(super) after: Vec<u8>,
}

/// A step that is written down.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) step: Step,
    folder: PathBuf,
}

/// The folder of all steps.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// The journal in this folder, which need not be there.
    pub(super) fn at(folder: PathBuf) -> Journal {
        Journal { folder }
    }

    /// Writes a step down, durable on return.
    pub(super) fn write(&self, step: &Step) -> io::Result<()> {
        files::make_folder(&self.folder)?;
        let last = self.numbers()?.last().map_or(0, |(number, _)| *number);
        let owner = match step.owner {
            Owner::Client => "client",
            Owner::Gateway => "gateway",
        };
        let folder = self.folder.join(format!("{:04}-{owner}", last + 1));
        files::make_folder(&folder)?;
        if let Some(before) = &step.before {
            files::replace(&folder.join("before"), before)?;
        }
        files::replace(&folder.join("after"), &step.after)?;
        // Last: without it the folder is no step.
        files::replace(&folder.join("path"), step.path.as_os_str().as_bytes())?;
        std::fs::File::open(&self.folder)?.sync_all()
    }

    /// All steps, the newest first.
    pub(super) fn steps(&self) -> io::Result<Vec<Written>> {
        let mut steps = Vec::new();
        for (_, folder) in self.numbers()?.into_iter().rev() {
            let Some(path) = files::read(&folder.join("path"))? else { continue };
            let owner = if folder.as_os_str().as_bytes().ends_with(b"-client") {
                Owner::Client
            } else {
                Owner::Gateway
            };
            let step = Step {
                owner,
                path: PathBuf::from(std::ffi::OsString::from_vec(path)),
                before: files::read(&folder.join("before"))?,
                after: std::fs::read(folder.join("after"))?,
            };
            steps.push(Written { step, folder });
        }
        Ok(steps)
    }

    fn numbers(&self) -> io::Result<Vec<(u32, PathBuf)>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(number) = name.split('-').next().and_then(|number| number.parse().ok()) {
                numbers.push((number, path));
            }
        }
        numbers.sort();
        Ok(numbers)
    }
}

impl Written {
    /// Removes a step that was taken back: what it held is in the file again.
    pub(super) fn forget(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.folder)
    }

    /// Sets a step aside that was taken back over other changes, with what the file held until now; gives the folder.
    pub(super) fn set_aside(&self, current: Option<&[u8]>) -> io::Result<PathBuf> {
        if let Some(current) = current {
            files::replace(&self.folder.join("until-undo"), current)?;
        }
        let kept = self.folder.with_file_name("kept");
        files::make_folder(&kept)?;
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        let free = (0u32..).map(|n| kept.join(format!("{name}-{n}"))).find(|path| !path.exists());
        let target = free.unwrap_or(kept);
        std::fs::rename(&self.folder, &target)?;
        Ok(target)
    }

    /// Where it is, for messages.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}
