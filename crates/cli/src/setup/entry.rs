//! What an entry of a client's configuration means: a program, an address, or Tollbook already.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use super::clients::{Client, Untyped};
use super::tree::{Node, Value};

/// What a server is, however a client writes it: two entries with the same target may share a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A program with arguments, environment and working directory.
    Program { line: Vec<String>, env: BTreeMap<String, String>, cwd: Option<String> },
    /// An address.
    Address { url: String, sse: bool, headers: BTreeMap<String, String> },
    /// Something that cannot be compared: a name in use.
    Unknown,
}

/// What an entry is.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Goes through `tollbook wrap` under a name.
    Wrapped { name: String, target: Target },
    /// Points at the gateway's server of this name.
    AtGateway { name: String },
    /// Starts a program.
    Program(Target),
    /// Points at an address; these members hold it.
    Remote { url_key: &'static str, headers_key: Option<&'static str>, target: Target },
    /// Goes past Tollbook and cannot be changed by a program; this is why.
    LeftAlone(String),
    /// No server.
    Nothing,
}

/// Keys that hold an address.
const URLS: [&str; 3] = ["httpUrl", "serverUrl", "url"];

/// Keys that hold headers.
const HEADERS: [&str; 2] = ["headers", "http_headers"];

/// Keys of entries that sign in by ways that only the client has.
const SIGN_IN: [&str; 7] = [
    "oauth",
    "auth",
    "authProviderType",
    "headersHelper",
    "bearer_token_env_var",
    "env_http_headers",
    "oauth_resource",
];

/// Reads an entry. `gateway` is the address below which the gateway's servers are.
pub(super) fn read(node: &Node, client: &Client, gateway: &str) -> Entry {
    if !matches!(node.value, Value::Object(_)) {
        return Entry::Nothing;
    }
    if let Some(command) = node.at("command") {
        return program(node, command);
    }
    let Some((url_key, url)) = URLS.iter().find_map(|key| Some((*key, node.at(key)?.text()?))) else {
        return Entry::Nothing;
    };
    if let Some(name) = name_at(url).filter(|_| port_of(url) == port_of(gateway)) {
        return Entry::AtGateway { name };
    }
    remote(node, url_key, url, client)
}

/// The name in an address that could be a gateway's on this machine: `http://localhost:7800/mcp/NAME`.
pub(super) fn name_at(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.host()?;
    let name = uri.path().strip_prefix("/mcp/")?.split('/').next()?;
    (!is_elsewhere(url) && !name.is_empty()).then(|| name.to_owned())
}

/// Whether an address is not on this machine.
pub(super) fn is_elsewhere(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return true };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn port_of(url: &str) -> Option<u16> {
    url.parse::<http::Uri>().ok()?.port_u16()
}

fn program(node: &Node, command: &Node) -> Entry {
    let Some(command) = command.text() else {
        return Entry::LeftAlone("its `command` is no text".to_owned());
    };
    let args = match node.at("args") {
        None => Vec::new(),
        Some(args) => match args.texts() {
            Some(args) => args,
            None => return Entry::LeftAlone("its `args` are no list of texts".to_owned()),
        },
    };
    let env = node.at("env").map(texts_of).unwrap_or_default();
    let cwd = node.at("cwd").and_then(Node::text).map(str::to_owned);
    if let Some((name, line)) = unwrap(command, &args) {
        return Entry::Wrapped { name, target: Target::Program { line, env, cwd } };
    }
    if command.trim().is_empty() {
        return Entry::LeftAlone("its `command` is empty".to_owned());
    }
    if command.contains(' ') && !command.contains(['/', '\\', '$']) {
        return Entry::LeftAlone(
            "its `command` is a line for a shell; put the program in `command`, the rest in `args`"
                .to_owned(),
        );
    }
    let line = std::iter::once(command.to_owned()).chain(args).collect();
    Entry::Program(Target::Program { line, env, cwd })
}

/// The name and the server's own command line of `tollbook [--data DIR] wrap --server NAME … -- LINE`.
fn unwrap(command: &str, args: &[String]) -> Option<(String, Vec<String>)> {
    let program = Path::new(command);
    // Whatever name this binary was installed under.
    let is_this = || std::env::current_exe().is_ok_and(|this| this == program);
    if program.file_stem()? != "tollbook" && !is_this() {
        return None;
    }
    let mut rest = args.iter().map(String::as_str);
    let mut name = None;
    let mut is_wrap = false;
    let mut line = Vec::new();
    while let Some(arg) = rest.next() {
        match arg {
            "--" => break,
            "--data" | "--gateway" | "--token-file" => {
                rest.next();
            }
            "--server" => name = rest.next().map(str::to_owned),
            "wrap" if !is_wrap => is_wrap = true,
            _ if arg.starts_with("--server=") => name = arg.split_once('=').map(|(_, name)| name.to_owned()),
            _ if arg.starts_with("--") => {}
            _ => {
                line.push(arg.to_owned());
                break;
            }
        }
    }
    line.extend(rest.map(str::to_owned));
    is_wrap.then_some((name?, line))
}

fn remote(node: &Node, url_key: &'static str, url: &str, client: &Client) -> Entry {
    let written = node.at("type").or_else(|| node.at("transport")).and_then(Node::text);
    let sse = match written {
        Some("sse") => true,
        Some("http" | "streamable-http" | "streamableHttp" | "streamable_http") => false,
        Some(other) => {
            return Entry::LeftAlone(format!("its type `{other}` is not one that Tollbook speaks"));
        }
        None => url_key == "url" && client.untyped == Untyped::Sse || path_of(url).ends_with("/sse"),
    };
    if let Some(key) = SIGN_IN.iter().find(|key| node.at(key).is_some()) {
        return Entry::LeftAlone(format!(
            "the client signs in by `{key}`, which the gateway cannot do; give the gateway a credential of its own \
             in `tollbook.toml`"
        ));
    }
    let headers_key = HEADERS.into_iter().find(|key| node.at(key).is_some());
    let written = headers_key.and_then(|key| node.at(key));
    let headers = written.map(texts_of).unwrap_or_default();
    if written.is_some_and(|written| written.members().len() != headers.len()) {
        return Entry::LeftAlone("its headers are not all texts".to_owned());
    }
    if let Some(what) = unusable(url, &headers) {
        return Entry::LeftAlone(format!("the gateway cannot use {what}"));
    }
    if let Some(what) = filled_in_by_client(url, &headers) {
        return Entry::LeftAlone(format!(
            "{what} holds a variable that only the client fills in; write the server into `tollbook.toml`"
        ));
    }
    Entry::Remote { url_key, headers_key, target: Target::Address { url: url.to_owned(), sse, headers } }
}

/// Which part the gateway's configuration would refuse.
fn unusable(url: &str, headers: &BTreeMap<String, String>) -> Option<String> {
    let is_variable = url.contains("${");
    let parsed = url.parse::<http::Uri>().ok();
    let is_address = parsed
        .is_some_and(|uri| uri.authority().is_some() && matches!(uri.scheme_str(), Some("http" | "https")));
    if !is_address && !is_variable {
        return Some("its address: it is not like `https://mcp.example/mcp`".to_owned());
    }
    let is_header = |name: &str, value: &str| {
        http::HeaderName::from_bytes(name.as_bytes()).is_ok() && http::HeaderValue::from_str(value).is_ok()
    };
    let bad = headers.iter().find(|(name, value)| !is_header(name, value));
    bad.map(|(name, _)| format!("its header `{name}`: the name or value holds bytes that no header may"))
}

fn path_of(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url).trim_end_matches('/')
}

/// Which part of a remote entry has `${…}` or `$NAME` in it.
fn filled_in_by_client(url: &str, headers: &BTreeMap<String, String>) -> Option<String> {
    let has_variable = |text: &str| {
        text.match_indices('$').any(|(at, _)| {
            text.get(at + 1..).is_some_and(|rest| {
                rest.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic())
            })
        })
    };
    if has_variable(url) {
        return Some("its address".to_owned());
    }
    let header = headers.iter().find(|(_, value)| has_variable(value));
    header.map(|(name, _)| format!("its header `{name}`"))
}

/// Members that are texts.
fn texts_of(node: &Node) -> BTreeMap<String, String> {
    let member = |m: &super::tree::Member| Some((m.key.clone(), m.value.text()?.to_owned()));
    node.members().iter().filter_map(member).collect()
}
