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

/// This program's name.
const PROGRAM: &str = "tollbook";

/// Folders that every shell's search path has.
const EVERYWHERE: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Ways to start this program.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    path: String,
    /// Whether this shell's search path finds this very file.
    is_found: bool,
    is_everywhere: bool,
}

impl Program {
    /// In a file that others have too: their program may be elsewhere.
    pub(crate) fn shared(&self) -> &str {
        if self.is_found { PROGRAM } else { &self.path }
    }

    /// For a client that is started in a terminal, which need not have read the same settings as this one.
    pub(crate) fn in_terminal(&self) -> &str {
        if self.is_everywhere { PROGRAM } else { &self.path }
    }

    /// For a client that is started from the desktop, whose search path is its own.
    pub(crate) fn on_desktop(&self) -> &str {
        &self.path
    }
}

fn passwd() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// A user's home folder: passwd(5).
fn home_of(user: u32, passwd: &str) -> Option<String> {
    let home = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        fields.get(5).filter(|_| fields.get(2) == Some(&user.to_string().as_str())).copied()
    });
    home.filter(|home| home.starts_with('/')).map(str::to_owned)
}

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Environment {
        let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let mut variables: BTreeMap<String, String> = std::env::vars().collect();
        // Services and containers may be started without it; the list of users has it too.
        if !variables.contains_key("HOME")
            && let Some(home) = home_of(rustix::process::getuid().as_raw(), &passwd())
        {
            variables.insert("HOME".to_owned(), home);
        }
        Environment::of(variables, folder)
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

    /// How to start this program.
    pub(crate) fn program(&self) -> std::io::Result<Program> {
        let own = std::env::current_exe()?.canonicalize()?;
        let is_own = |found: &PathBuf| found.canonicalize().is_ok_and(|found| found == own);
        Ok(match self.find_program(PROGRAM).filter(is_own) {
            Some(path) => {
                let is_everywhere =
                    path.parent().is_some_and(|folder| EVERYWHERE.map(Path::new).contains(&folder));
                Program { path: path.display().to_string(), is_found: true, is_everywhere }
            }
            None => Program { path: own.display().to_string(), is_found: false, is_everywhere: false },
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

#[cfg(test)]
mod tests {
    use super::{Program, home_of};

    #[test]
    fn a_home_is_found_without_the_variable() {
        let passwd = "root:x:0:0::/h/root:/bin/sh\nanna:x:1000:1000:Anna,,,:/h/anna:/bin/sh\nbad:x:7:7\nnone:x:8:8:::\n";
        for (user, home) in [(0, Some("/h/root")), (1000, Some("/h/anna")), (7, None), (8, None), (9, None)] {
            assert_eq!(home_of(user, passwd).as_deref(), home, "{user}");
        }
    }

    #[test]
    fn who_does_not_share_this_search_path_gets_the_path() {
        let at =
            |path: &str, is_found, is_everywhere| Program { path: path.to_owned(), is_found, is_everywhere };
        for (program, ways) in [
            (at("/usr/bin/tollbook", true, true), ["tollbook", "tollbook", "/usr/bin/tollbook"]),
            (
                at("/opt/x/bin/tollbook", true, false),
                ["tollbook", "/opt/x/bin/tollbook", "/opt/x/bin/tollbook"],
            ),
            (at("/tmp/tb", false, false), ["/tmp/tb"; 3]),
        ] {
            assert_eq!([program.shared(), program.in_terminal(), program.on_desktop()], ways);
        }
    }
}
