//! What `init` will do: for each configuration its new text and what happens to each server.

use std::path::PathBuf;

use super::clients::{self, Scope, Started, Syntax};
use super::edit::{self, Edit};
use super::entry::{self, Entry, Target};
use super::files;
use super::journal::Owner;
use super::names::Names;
use super::register::Register;
use super::survey::{Found, Source, Survey};
use super::tree::{Member, Node};
use crate::environment::Program;

/// Why servers of a file that cannot be written stay as they are.
const UNWRITABLE: &str = "the file cannot be written";

/// What the plan is made with.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The command that entries start.
    pub(super) program: Program,
    /// Arguments of `tollbook` before `wrap`.
    pub(super) options: Vec<String>,
    /// The address below which the gateway's servers are, with a slash at its end.
    pub(super) gateway: String,
    /// Names of entries that stay as they are.
    pub(super) skip: Vec<String>,
}

/// One file's new text.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) owner: Owner,
    pub(super) path: PathBuf,
    pub(super) syntax: Syntax,
    pub(super) before: Option<String>,
    pub(super) after: String,
    /// A credential: its text is shown to nobody.
    pub(super) secret: bool,
}

/// What happens to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes through `tollbook wrap` under this name.
    Wrap(String),
    /// It goes through the gateway's server of this name.
    Route(String),
    /// It goes through the gateway's server of this name without a credential: the client may have one.
    RouteBare(String),
    /// It went through Tollbook before.
    Already,
    /// It stays as it is.
    Left(String),
}

/// A configuration and its servers.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) client: &'static str,
    pub(super) path: PathBuf,
    pub(super) servers: Vec<(String, Fate)>,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) summaries: Vec<Summary>,
    /// Credentials, then `tollbook.toml`, then the clients' files: each is of use only after those before it.
    pub(super) changes: Vec<Change>,
    /// Files that have servers to change and cannot be written.
    pub(super) blocked: Vec<String>,
}

impl Plan {
    /// Makes it. Running it twice changes nothing the second time.
    pub(super) fn make(survey: &Survey, mut register: Register, wanted: &Wanted) -> Plan {
        let mut names = Names::default();
        for (name, target) in &register.servers {
            names.occupy(name, target.clone());
        }
        for found in survey.sources.iter().flat_map(|source| source.servers(&wanted.gateway)) {
            if let Entry::Wrapped { name, target } = found.entry {
                names.occupy(&name, target);
            }
        }
        let mut plan = Plan::default();
        let mut clients = Vec::new();
        for source in &survey.sources {
            let blocked = files::check_writable(&source.target).err().map(|error| error.to_string());
            let (names, register) = (&mut names, &mut register);
            let mut planner = Planner { source, wanted, names, register, edits: Vec::new(), blocked };
            let found = source.servers(&wanted.gateway);
            let servers: Vec<_> = found.iter().map(|f| (f.name.to_owned(), planner.server(f))).collect();
            let edits = planner.edits;
            if let Some(error) = planner.blocked
                && servers.iter().any(|(_, fate)| *fate == Fate::Left(UNWRITABLE.to_owned()))
            {
                plan.blocked.push(format!("{}: cannot be written: {error}", source.path.display()));
            }
            if !servers.is_empty() {
                let (client, path) = (source.client_name(), source.path.clone());
                plan.summaries.push(Summary { client, path, servers });
            }
            clients.extend(changed(source, &edits));
        }
        plan.changes = gateway_changes(&register);
        plan.changes.extend(clients);
        plan
    }

    /// Whether a client now depends on the gateway's listener.
    pub(super) fn needs_listener(&self) -> bool {
        self.summaries
            .iter()
            .flat_map(|s| &s.servers)
            .any(|(_, fate)| matches!(fate, Fate::Route(_) | Fate::RouteBare(_)))
    }
}

/// The file's change, if it has edits.
fn changed(source: &Source, edits: &[Edit]) -> Option<Change> {
    if edits.is_empty() {
        return None;
    }
    Some(Change {
        owner: Owner::Client,
        path: source.target.clone(),
        syntax: source.syntax,
        before: Some(source.text.clone()),
        after: edit::apply(&source.text, edits)?,
        secret: false,
    })
}

fn gateway_changes(register: &Register) -> Vec<Change> {
    let credential = |(path, value): &(PathBuf, String)| Change {
        owner: Owner::Gateway,
        path: path.clone(),
        syntax: Syntax::Toml,
        before: None,
        after: format!("{value}\n"),
        secret: true,
    };
    let mut changes: Vec<Change> = register.credentials.iter().map(credential).collect();
    if let Some(after) = register.after() {
        changes.push(Change {
            owner: Owner::Gateway,
            path: register.path.clone(),
            syntax: Syntax::Toml,
            before: register.before.clone(),
            after,
            secret: false,
        });
    }
    changes
}

/// Decides one configuration's servers.
struct Planner<'a> {
    source: &'a Source,
    wanted: &'a Wanted,
    names: &'a mut Names,
    register: &'a mut Register,
    edits: Vec<Edit>,
    /// Why the file cannot be written.
    blocked: Option<String>,
}

impl Planner<'_> {
    fn server(&mut self, found: &Found<'_>) -> Fate {
        if self.wanted.skip.iter().any(|name| name == found.name) {
            return Fate::Left("skipped".to_owned());
        }
        match &found.entry {
            Entry::Wrapped { .. } | Entry::AtGateway { .. } => Fate::Already,
            Entry::LeftAlone(why) => Fate::Left(why.clone()),
            Entry::Nothing => Fate::Left("no server".to_owned()),
            _ if self.blocked.is_some() => Fate::Left(UNWRITABLE.to_owned()),
            Entry::Program(target) => {
                let name = self.names.choose(found.name, self.source.client.slug, target);
                let mut before = self.wanted.options.clone();
                before.extend(["wrap", "--server", &name, "--"].map(str::to_owned));
                let (text, syntax) = (&self.source.text, self.source.syntax);
                let edits = edit::wrap(text, syntax, found.node, self.program(), &before);
                self.accept(found, edits, Fate::Wrap(name))
            }
            Entry::Remote { url_key, headers_key, target } => {
                self.remote(found, (url_key, *headers_key), target)
            }
        }
    }

    /// The command by which this client finds Tollbook.
    fn program(&self) -> &str {
        let program = &self.wanted.program;
        match (self.source.scope, self.source.client.started) {
            (Scope::Folder, _) => program.shared(),
            (Scope::User, Started::Desktop) => program.on_desktop(),
            (Scope::User, Started::Terminal) => program.in_terminal(),
        }
    }

    fn remote(&mut self, found: &Found<'_>, keys: (&str, Option<&str>), target: &Target) -> Fate {
        if let Some(fault) = &self.register.fault {
            return Fate::Left(format!("the gateway's configuration cannot be added to: {fault}"));
        }
        let Target::Address { url, sse, headers } = target else {
            return Fate::Left("no address".to_owned());
        };
        // Taking it for a server of its own, the gateway would call itself.
        if entry::name_at(url).is_some_and(|name| self.register.servers.contains_key(&name)) {
            let why = format!("it points at a gateway, but not at {}", self.wanted.gateway);
            return Fate::Left(why);
        }
        let name = self.names.choose(found.name, self.source.client.slug, target);
        // A client that was told to speak SSE, or speaks nothing else here, goes on doing so.
        let end = if *sse { "/sse" } else { "" };
        let at_gateway = format!("{}{name}{end}", self.wanted.gateway);
        let edits = edit::redirect(&self.source.text, found.node, keys, &at_gateway);
        let fate = self.accept(found, edits, Fate::Route(name.clone()));
        if matches!(fate, Fate::Route(_)) {
            self.register.add(&name, target);
            if headers.is_empty() && entry::is_elsewhere(url) {
                return Fate::RouteBare(name);
            }
        }
        fate
    }

    /// Takes the edits of a server if the text reads as meant with them.
    fn accept(&mut self, found: &Found<'_>, edits: Vec<Edit>, fate: Fate) -> Fate {
        let source = self.source;
        let after = edit::apply(&source.text, &edits);
        let is_sound = after.is_some_and(|after| {
            source.syntax.parse(&after).is_ok_and(|tree| is_as_meant(source, found, &tree, &after))
        });
        if !is_sound {
            return Fate::Left("it is written in a way that only its author should change".to_owned());
        }
        self.edits.extend(edits);
        fate
    }
}

/// Whether the edited text has the same servers with the same members, but for those of one server that are edited.
fn is_as_meant(source: &Source, found: &Found<'_>, tree: &Node, after: &str) -> bool {
    const EDITED: [&str; 7] = ["command", "args", "url", "httpUrl", "serverUrl", "headers", "http_headers"];
    let was = clients::containers(&source.tree);
    let is = clients::containers(tree);
    was.len() == is.len()
        && was.iter().zip(&is).all(|((was_path, was), (is_path, is))| {
            was_path == is_path
                && was.members().len() == is.members().len()
                && was.members().iter().zip(is.members()).all(|(a, b)| {
                    let is_edited = std::ptr::eq(&raw const a.value, found.node);
                    let kept =
                        |m: &Member| b.value.at(&m.key).is_some_and(|b| m.value.same(&source.text, b, after));
                    let same = |m: &Member| is_edited && EDITED.contains(&m.key.as_str()) || kept(m);
                    a.key == b.key && a.value.members().iter().all(same)
                })
        })
}
