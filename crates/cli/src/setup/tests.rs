//! `init` and `init --undo` on whole home folders.

mod golden;
mod identity;
mod trouble;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{InitArgs, run};
use crate::environment::Environment;

/// A home folder with a project in it, as a user has them.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl Home {
    pub(crate) fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("project")).unwrap();
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), root.join("bin/tollbook")).unwrap();
        let path = |name: &str| root.join(name).display().to_string();
        let variables = [("HOME", path("")), ("PATH", path("bin"))];
        let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
        Home { dir, variables }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn environment(&self) -> Environment {
        Environment::of(self.variables.clone(), self.path("project"))
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        self.path(name).metadata().unwrap().permissions().mode() & 0o7777
    }

    /// Runs `init` with these options, never asking; gives the exit code and what it printed, without the folder's name.
    pub(crate) fn init(&self, options: &[&str]) -> (u8, String) {
        let mut out = Vec::new();
        let args = arguments(options);
        let code = run(&args, &self.environment(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let code = code.unwrap_or_else(|error| panic!("{error:#}\n{text}"));
        (code, text.replace(&self.path("").display().to_string(), "HOME/"))
    }

    /// Every file below the home folder, with its content.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path(""), &mut files);
        files
    }
}

fn arguments(options: &[&str]) -> InitArgs {
    let has = |name: &str| options.contains(&name);
    let skip =
        options.iter().filter_map(|option| option.strip_prefix("--skip=")).map(str::to_owned).collect();
    InitArgs {
        yes: has("--yes"),
        dry_run: has("--dry-run"),
        undo: has("--undo"),
        force: has("--force"),
        skip,
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
}
