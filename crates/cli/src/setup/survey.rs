//! Looks at every client's configuration: what is there, what goes through Tollbook, what does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::clients::{CLIENTS, Client, Scope, Syntax};
use super::entry::{self, Entry};
use super::files;
use super::tree::Node;
use crate::environment::Environment;

/// A configuration that could be read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) client: &'static Client,
    /// Where the client looks for it.
    pub(crate) path: PathBuf,
    pub(super) scope: Scope,
    /// Where it is: behind symbolic links.
    pub(super) target: PathBuf,
    pub(super) syntax: Syntax,
    pub(super) text: String,
    pub(super) tree: Node,
}

/// A server in a configuration.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) name: &'a str,
    pub(super) node: &'a Node,
    pub(crate) entry: Entry,
}

impl Found<'_> {
    /// What the client starts.
    pub(crate) fn command(&self) -> Option<&str> {
        self.node.at("command")?.text()
    }

    /// Whether it names the gateway that it goes through, instead of the one of the data folder.
    pub(crate) fn names_gateway(&self) -> bool {
        let arguments = self.node.at("args").and_then(Node::texts).unwrap_or_default();
        arguments
            .iter()
            .take_while(|argument| *argument != "--")
            .any(|argument| argument.starts_with("--gateway"))
    }
}

/// A configuration that could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) client: &'static str,
    /// With path, and line and column where it is the content's fault.
    pub(crate) text: String,
}

/// All that was found, in the order of the clients.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) sources: Vec<Source>,
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Survey {
    /// Reads the user's configurations and those of the current folder.
    pub(crate) fn of(environment: &Environment) -> Survey {
        let mut survey = Survey::default();
        let mut seen = BTreeSet::new();
        for client in &CLIENTS {
            let places =
                client.places(environment.home(), environment.folder(), |name| environment.variable(name));
            for place in places {
                survey.look(client, place, &mut seen);
            }
        }
        survey
    }

    fn look(
        &mut self,
        client: &'static Client,
        (scope, path): (Scope, PathBuf),
        seen: &mut BTreeSet<PathBuf>,
    ) {
        let unreadable = |text: String| Unreadable { client: client.name, text };
        let target = match std::fs::canonicalize(&path) {
            Ok(target) => target,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                return self.unreadable.push(unreadable(format!("{}: {error}", path.display())));
            }
        };
        if !seen.insert(target.clone()) {
            return;
        }
        match read(client, (scope, path), target) {
            Ok(source) => self.sources.push(source),
            Err(text) => self.unreadable.push(unreadable(text)),
        }
    }
}

fn read(client: &'static Client, (scope, path): (Scope, PathBuf), target: PathBuf) -> Result<Source, String> {
    let shown = path.display();
    let bytes = files::read(&target).map_err(|error| format!("{shown}: {error}"))?.unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count();
        format!("{shown}:{}:1: not UTF-8", line + 1)
    })?;
    let syntax = Syntax::of(&path);
    let tree = syntax.parse(&text).map_err(|fault| format!("{shown}:{}", fault.told(&text)))?;
    Ok(Source { client, path, scope, target, syntax, text, tree })
}

impl Source {
    /// Its servers; `gateway` is the address below which the gateway's are.
    pub(crate) fn servers(&self, gateway: &str) -> Vec<Found<'_>> {
        let members = self.client.containers(&self.tree).into_iter().flat_map(Node::members);
        let found = members.map(|member| Found {
            name: &member.key,
            node: &member.value,
            entry: entry::read(&member.value, self.client, gateway),
        });
        found.filter(|found| !matches!(found.entry, Entry::Nothing)).collect()
    }

    /// The client's name.
    pub(crate) fn client_name(&self) -> &'static str {
        self.client.name
    }
}

/// A path for people: below the home folder with `~`.
pub(crate) fn short(path: &Path, home: &Path) -> String {
    match path.strip_prefix(home) {
        Ok(rest) if home != Path::new("/") => format!("~/{}", rest.display()),
        _ => path.display().to_string(),
    }
}
