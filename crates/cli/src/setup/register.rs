//! `tollbook.toml` as `init` sees it: which names it has, and what is appended to it. What is there stays as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::edit::quoted;
use super::entry::Target;
use super::tree::Node;
use super::{files, tomls};
use crate::environment::Environment;

/// The gateway's configuration and what is to be added.
#[derive(Debug)]
pub(super) struct Register {
    pub(super) path: PathBuf,
    /// Its text; `None` if there is no such file.
    pub(super) before: Option<String>,
    /// Servers by name.
    pub(super) servers: BTreeMap<String, Target>,
    /// Why nothing can be added.
    pub(super) fault: Option<String>,
    /// Where the gateway listens, and how.
    pub(super) listen: String,
    pub(super) scheme: &'static str,
    /// The data folder, if it is configured.
    pub(super) data: Option<PathBuf>,
    added: String,
    /// Credentials to write: path and value.
    pub(super) credentials: Vec<(PathBuf, String)>,
}

impl Register {
    /// Reads it.
    ///
    /// # Errors
    /// If it is there and cannot be read: the gateway's address and data folder are not known then.
    pub(super) fn read(environment: &Environment) -> anyhow::Result<Register> {
        // Through a symbolic link the file itself is written.
        let written = environment.config_file().to_owned();
        let path = std::fs::canonicalize(&written).unwrap_or(written);
        let mut register = Register {
            path,
            before: None,
            servers: BTreeMap::new(),
            fault: None,
            listen: "127.0.0.1:7800".to_owned(),
            scheme: "http",
            data: None,
            added: String::new(),
            credentials: Vec::new(),
        };
        let shown = register.path.display().to_string();
        let bytes = files::read(&register.path).with_context(|| format!("`{shown}` cannot be read"))?;
        let Some(bytes) = bytes else { return Ok(register) };
        let text = String::from_utf8(bytes).with_context(|| format!("`{shown}` cannot be read"))?;
        let tree = tomls::parse(&text).map_err(|fault| anyhow::anyhow!("{shown}:{}", fault.told(&text)))?;
        let servers = tree.at("servers").map(Node::members).unwrap_or_default();
        register.servers = servers.iter().map(|m| (m.key.clone(), target(&m.value, environment))).collect();
        if let Some(listen) = tree.at("listen").and_then(Node::text) {
            listen.clone_into(&mut register.listen);
        }
        if tree.at("tls").is_some() {
            register.scheme = "https";
        }
        register.data = tree.at("data").and_then(Node::text).map(PathBuf::from);
        if let Err(error) = files::check_writable(&register.path) {
            register.fault = Some(format!("`{shown}` cannot be written: {error}"));
        }
        // Servers in an inline table cannot be added to from outside it.
        if tomls::parse(&format!("{text}\n[servers.probe-of-init]\n")).is_err() {
            register.fault =
                Some(format!("`{shown}` has its servers in one line; write them as `[servers.NAME]`"));
        }
        register.before = Some(text);
        Ok(register)
    }

    /// Adds a server at an address, its headers as credentials in files of their own.
    pub(super) fn add(&mut self, name: &str, target: &Target) {
        let Target::Address { url, sse, headers } = target else { return };
        if self.servers.contains_key(name) {
            return;
        }
        let mut block = format!("[servers.{}]\nurl = {}\n", key(name), quoted(url));
        if *sse {
            block.push_str("transport = \"sse\"\n");
        }
        let mut references = Vec::new();
        for (header, value) in headers {
            let path = self.free_path(&format!("{name}.{}", header.to_ascii_lowercase()));
            references.push(format!("{} = {}", key(header), quoted(&format!("file:{}", path.display()))));
            self.credentials.push((path, value.clone()));
        }
        if !references.is_empty() {
            block.push_str(&format!("headers = {{ {} }}\n", references.join(", ")));
        }
        self.added.push_str(if self.added.is_empty() && self.before.is_none() { "" } else { "\n" });
        self.added.push_str(&block);
        self.servers.insert(name.to_owned(), target.clone());
    }

    /// A path beside `tollbook.toml` where there is no file.
    fn free_path(&self, name: &str) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let is_free =
            |path: &PathBuf| !path.exists() && self.credentials.iter().all(|(taken, _)| taken != path);
        let numbered = (2u32..).map(|n| folder.join(format!("{name}-{n}")));
        std::iter::once(folder.join(name)).chain(numbered).find(is_free).unwrap_or_else(|| folder.join(name))
    }

    /// Its text with what was added; `None` if nothing was.
    pub(super) fn after(&self) -> Option<String> {
        if self.added.is_empty() {
            return None;
        }
        let before = self.before.as_deref().unwrap_or_default();
        let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        Some(format!("{before}{gap}{}", self.added))
    }
}

/// A TOML key, in quotes where it must be.
fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if is_bare { name.to_owned() } else { quoted(name) }
}

fn target(server: &Node, environment: &Environment) -> Target {
    let Some(url) = server.at("url").and_then(Node::text) else { return Target::Unknown };
    let mut headers = BTreeMap::new();
    for member in server.at("headers").map(Node::members).unwrap_or_default() {
        let Some(value) = member.value.text().and_then(|written| resolve(written, environment)) else {
            return Target::Unknown;
        };
        headers.insert(member.key.clone(), value);
    }
    let sse = server.at("transport").and_then(Node::text) == Some("sse");
    Target::Address { url: url.to_owned(), sse, headers }
}

/// What a value refers to; `None` if it cannot be read.
fn resolve(written: &str, environment: &Environment) -> Option<String> {
    if let Some(path) = written.strip_prefix("file:") {
        let text = std::fs::read_to_string(environment.resolve(Path::new(path))).ok()?;
        return Some(text.trim_end_matches(['\n', '\r']).to_owned());
    }
    match written.strip_prefix("env:") {
        Some(name) => environment.variable(name),
        None => Some(written.to_owned()),
    }
}
