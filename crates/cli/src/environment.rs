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
}

/// Variables that a server gets unless its configuration says otherwise.
const FOR_CHILDREN: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "SHELL", "TERM"];

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Environment {
        let variables: BTreeMap<String, String> = std::env::vars().collect();
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
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
        let config = variables.get("TOLLBOOK_CONFIG").map(|path| folder.join(path)).or_else(|| {
            let path = under("XDG_CONFIG_HOME", ".config").join("tollbook/tollbook.toml");
            path.exists().then_some(path)
        });
        let for_children = FOR_CHILDREN
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), variables.get(*name)?.clone())))
            .collect();
        let is_data_given = variables.contains_key("TOLLBOOK_DATA");
        Environment { data, config, for_children, is_data_given, variables, folder }
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

    /// A path against the working directory.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}
