//! What servers offer, as pinned: the names that policies may use and the types of arguments.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The servers behind the gateway. Names are unique, so `server/tool` names one tool.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    servers: BTreeMap<String, Server>,
}

/// A server as policies see it.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// Its name in the configuration.
    pub name: String,
    /// Its pinned tools; `None` if the server was never asked. Nothing that a policy says of an unknown tool of such a
    /// server is a mistake, and every call of it is denied.
    pub tools: Option<Vec<Tool>>,
    /// Its prompts as far as they are known.
    pub prompts: Vec<Prompt>,
}

/// A pinned tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tool {
    /// Name, as in `tools/call`.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// For models.
    pub description: Option<String>,
    /// `inputSchema` as JSON. Without one, every call of the tool is denied.
    pub input_schema: Option<String>,
    /// What the server claims about it.
    pub hints: Hints,
}

/// The server's claims about a tool. Untrusted: a policy may use them to be stricter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hints {
    /// `readOnlyHint`; MCP's default is false.
    #[serde(rename = "readOnlyHint")]
    pub read_only: Option<bool>,
    /// `destructiveHint`; MCP's default is true.
    #[serde(rename = "destructiveHint")]
    pub destructive: Option<bool>,
    /// `idempotentHint`; MCP's default is false.
    #[serde(rename = "idempotentHint")]
    pub idempotent: Option<bool>,
    /// `openWorldHint`; MCP's default is true.
    #[serde(rename = "openWorldHint")]
    pub open_world: Option<bool>,
}

/// A prompt. Its arguments are texts, none of them required.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Name, as in `prompts/get`.
    pub name: String,
    /// Names of its arguments.
    pub arguments: Vec<String>,
}

/// Why servers are no catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A server's name is empty or holds a slash.
    #[error("`{0}` cannot name a server: use a name without `/`")]
    ServerName(String),
    /// Two servers, or two tools of one, have the same name.
    #[error("`{0}` is listed twice")]
    Twice(String),
}

impl Catalog {
    /// The catalog of these servers.
    pub fn of(servers: Vec<Server>) -> Result<Catalog, CatalogError> {
        let mut catalog = Catalog::default();
        for server in servers {
            if server.name.is_empty() || server.name.contains('/') {
                return Err(CatalogError::ServerName(server.name));
            }
            let mut names: Vec<&str> = server.tools().iter().map(|tool| tool.name.as_str()).collect();
            names.sort_unstable();
            if let Some([twice, _]) = names.array_windows().find(|[a, b]| a == b) {
                return Err(CatalogError::Twice(tool_id(&server.name, twice)));
            }
            if let Some(twice) = catalog.servers.insert(server.name.clone(), server) {
                return Err(CatalogError::Twice(twice.name));
            }
        }
        Ok(catalog)
    }

    /// The servers by name.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.values()
    }

    pub(crate) fn server(&self, name: &str) -> Option<&Server> {
        self.servers.get(name)
    }
}

impl Server {
    pub(crate) fn tools(&self) -> &[Tool] {
        self.tools.as_deref().unwrap_or_default()
    }
}

impl Tool {
    /// A tool from its definition in an answer to `tools/list`; `None` if that is no object with a name.
    pub fn of_definition(json: &str) -> Option<Tool> {
        let wire: Wire<'_> = serde_json::from_str(json).ok()?;
        Some(Tool {
            name: wire.name,
            title: text(wire.title),
            description: text(wire.description),
            input_schema: wire.input_schema.map(|schema| schema.get().to_owned()),
            // A hint that is no boolean claims nothing.
            hints: wire.annotations.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default(),
        })
    }
}

/// A tool's id in Cedar.
pub(crate) fn tool_id(server: &str, name: &str) -> String {
    format!("{server}/{name}")
}

#[derive(Deserialize)]
struct Wire<'a> {
    name: String,
    #[serde(borrow)]
    title: Option<&'a RawValue>,
    #[serde(borrow)]
    description: Option<&'a RawValue>,
    #[serde(borrow, rename = "inputSchema")]
    input_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}
