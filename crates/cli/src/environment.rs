//! What the process was started with, read once: nothing past `main` asks the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The variables and folders that matter.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// `$TOLLBOOK_DATA`, else the XDG state folder.
    pub(crate) data: PathBuf,
    /// `$TOLLBOOK_CONFIG`, else the user's `tollbook.toml`, if it is there.
    pub(crate) config: Option<PathBuf>,
    /// What servers are started with: enough to find programs and a home, no secrets.
    pub(crate) for_children: BTreeMap<String, String>,
    /// Whether `--data` or `$TOLLBOOK_DATA` was given: it then wins over the configuration file.
    pub(crate) is_data_given: bool,
    variables: BTreeMap<String, String>,
    folder: PathBuf,
    home: PathBuf,
    /// Where the user's `tollbook.toml` is, or would be.
    config_file: PathBuf,
    /// Tollbook's folder in the user's configuration folder.
    own_folder: PathBuf,
}

/// Variables that a server gets unless its configuration says otherwise.
const FOR_CHILDREN: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "SHELL", "TERM"];

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Environment {
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Environment::of(std::env::vars().collect(), folder)
    }

    /// What these variables and this working directory mean.
    pub(crate) fn of(variables: BTreeMap<String, String>, folder: PathBuf) -> Environment {
        let home = variables.get("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let under = |variable: &str, fallback: &str| {
            variables
                .get(variable)
                .filter(|path| path.starts_with('/'))
                .map_or_else(|| home.join(fallback), PathBuf::from)
        };
        let data = variables.get("TOLLBOOK_DATA").map_or_else(
            || under("XDG_STATE_HOME", ".local/state").join("tollbook"),
            |path| folder.join(path),
        );
        let own_folder = under("XDG_CONFIG_HOME", ".config").join("tollbook");
        let config_file = variables
            .get("TOLLBOOK_CONFIG")
            .map_or_else(|| own_folder.join("tollbook.toml"), |path| folder.join(path));
        let is_used = variables.contains_key("TOLLBOOK_CONFIG") || config_file.exists();
        let config = is_used.then(|| config_file.clone());
        let for_children = FOR_CHILDREN
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), variables.get(*name)?.clone())))
            .collect();
        let is_data_given = variables.contains_key("TOLLBOOK_DATA");
        Environment {
            data,
            config,
            for_children,
            is_data_given,
            variables,
            folder,
            home,
            config_file,
            own_folder,
        }
    }

    /// Takes another data folder than the environment's.
    pub(crate) fn give_data(&mut self, data: &Path) {
        self.data = self.folder.join(data);
        self.is_data_given = true;
    }

    /// A variable by name.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The user's home folder.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The working directory.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the user's `tollbook.toml` is, or would be.
    pub(crate) fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Tollbook's folder in the user's configuration folder; it need not be there.
    pub(crate) fn own_folder(&self) -> &Path {
        &self.own_folder
    }

    /// How to start this program: by name if the search path finds this very file, else by its path.
    pub(crate) fn program(&self) -> std::io::Result<String> {
        let own = std::env::current_exe()?.canonicalize()?;
        let is_own = |found: PathBuf| found.canonicalize().is_ok_and(|found| found == own);
        Ok(match self.find_program("tollbook").is_some_and(is_own) {
            true => "tollbook".to_owned(),
            false => own.display().to_string(),
        })
    }

    /// The file that a command names: along the search path, or itself if it is a path.
    pub(crate) fn find_program(&self, command: &str) -> Option<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let is_program = |path: &PathBuf| {
            path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        if command.contains('/') {
            return Some(self.resolve(Path::new(command))).filter(is_program);
        }
        let folders = self.variables.get("PATH").map_or("", String::as_str);
        folders
            .split(':')
            .filter(|folder| !folder.is_empty())
            .map(|f| self.folder.join(f).join(command))
            .find(is_program)
    }

    /// A path against the working directory.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}
