//! Where each client keeps its configuration, and where in it the servers are.

use std::path::{Path, PathBuf};

use super::tree::{Fault, Node};
use super::{jsonc, tomls};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    /// JSON, comments and trailing commas allowed.
    Json,
    Toml,
}

impl Syntax {
    /// By a file's name.
    pub(super) fn of(path: &Path) -> Syntax {
        if path.extension().is_some_and(|end| end == "toml") { Syntax::Toml } else { Syntax::Json }
    }

    /// Reads a text; one that is blank has no servers.
    pub(super) fn parse(self, text: &str) -> Result<Node, Fault> {
        match self {
            Syntax::Json if text.trim_start_matches('\u{feff}').trim().is_empty() => jsonc::parse("{}"),
            Syntax::Json => jsonc::parse(text),
            Syntax::Toml => tomls::parse(text),
        }
    }
}

/// A client's way with remote servers whose entry does not say how they speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untyped {
    /// It tries Streamable HTTP, then SSE.
    Either,
    /// `url` is SSE; Streamable HTTP has a key of its own (`httpUrl`).
    Sse,
}

/// Where a client's process comes from, and with it its search path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Started {
    Desktop,
    Terminal,
}

/// Whose a configuration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    User,
    /// A folder's, which others may share.
    Folder,
}

/// An MCP client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) name: &'static str,
    /// For names of servers that another client has too.
    pub(super) slug: &'static str,
    pub(super) untyped: Untyped,
    pub(super) started: Started,
    /// Keys that lead to its servers; `*` is any key.
    servers: &'static [&'static [&'static str]],
    /// Below the home folder; a folder `*` is any.
    user: &'static [&'static str],
    /// Below a project's folder.
    project: &'static [&'static str],
    /// A variable that names the folder of the user's files instead, and the file in it.
    moved: Option<(&'static str, &'static str)>,
}

/// Where most clients have their servers.
const MCP_SERVERS: &[&str] = &["mcpServers"];

/// Every way to servers, whichever client a file is of.
const ALL: [&[&str]; 5] =
    [MCP_SERVERS, &["projects", "*", "mcpServers"], &["servers"], &["mcp", "servers"], &["mcp_servers"]];

/// All clients whose configuration is known.
pub(super) static CLIENTS: [Client; 7] = [
    Client {
        name: "Claude Desktop",
        slug: "claude-desktop",
        untyped: Untyped::Either,
        started: Started::Desktop,
        servers: &[MCP_SERVERS],
        user: &[
            ".config/Claude/claude_desktop_config.json",
            "Library/Application Support/Claude/claude_desktop_config.json",
        ],
        project: &[],
        moved: None,
    },
    Client {
        name: "Claude Code",
        slug: "claude-code",
        untyped: Untyped::Either,
        started: Started::Terminal,
        // What is private to a project stands in the user's file.
        servers: &[MCP_SERVERS, &["projects", "*", "mcpServers"]],
        user: &[".claude.json"],
        project: &[".mcp.json"],
        moved: Some(("CLAUDE_CONFIG_DIR", ".claude.json")),
    },
    Client {
        name: "Cursor",
        slug: "cursor",
        untyped: Untyped::Either,
        started: Started::Desktop,
        servers: &[MCP_SERVERS],
        user: &[".cursor/mcp.json"],
        project: &[".cursor/mcp.json"],
        moved: None,
    },
    Client {
        name: "VS Code",
        slug: "vscode",
        untyped: Untyped::Either,
        started: Started::Desktop,
        // The latter in settings.json.
        servers: &[&["servers"], &["mcp", "servers"]],
        user: &[
            ".config/Code/User/mcp.json",
            ".config/Code/User/settings.json",
            ".config/Code/User/profiles/*/mcp.json",
            ".config/Code - Insiders/User/mcp.json",
            ".config/Code - Insiders/User/settings.json",
            ".vscode-server/data/User/mcp.json",
            "Library/Application Support/Code/User/mcp.json",
            "Library/Application Support/Code/User/settings.json",
            "Library/Application Support/Code/User/profiles/*/mcp.json",
        ],
        project: &[".vscode/mcp.json", ".vscode/settings.json"],
        moved: None,
    },
    Client {
        name: "Windsurf",
        slug: "windsurf",
        untyped: Untyped::Either,
        started: Started::Desktop,
        servers: &[MCP_SERVERS],
        user: &[".codeium/windsurf/mcp_config.json"],
        project: &[],
        moved: None,
    },
    Client {
        name: "Codex",
        slug: "codex",
        untyped: Untyped::Either,
        started: Started::Terminal,
        servers: &[&["mcp_servers"]],
        user: &[".codex/config.toml"],
        project: &[".codex/config.toml"],
        moved: Some(("CODEX_HOME", "config.toml")),
    },
    Client {
        name: "Gemini CLI",
        slug: "gemini",
        untyped: Untyped::Sse,
        started: Started::Terminal,
        servers: &[MCP_SERVERS],
        user: &[".gemini/settings.json"],
        project: &[".gemini/settings.json"],
        moved: None,
    },
];

impl Client {
    /// Where its files are, if it has any, and whose.
    pub(super) fn places(
        &self,
        home: &Path,
        project: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Vec<(Scope, PathBuf)> {
        let moved = self.moved.and_then(|(name, file)| Some(Path::new(&variable(name)?).join(file)));
        let user = self.user.iter().flat_map(|path| expanded(home, path));
        let user = moved.into_iter().chain(user).map(|path| (Scope::User, path));
        user.chain(self.project.iter().map(|path| (Scope::Folder, project.join(path)))).collect()
    }

    /// The objects of its servers in a configuration.
    pub(super) fn containers<'a>(&self, tree: &'a Node) -> Vec<&'a Node> {
        found(tree, self.servers).into_iter().map(|(_, node)| node).collect()
    }
}

/// A path below a folder, once for each folder that `*` stands for.
fn expanded(home: &Path, path: &str) -> Vec<PathBuf> {
    let Some((folder, file)) = path.split_once("/*/") else { return vec![home.join(path)] };
    // Without the folder there are no files in it.
    let entries = std::fs::read_dir(home.join(folder)).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path().join(file))).collect();
    paths.sort();
    paths
}

/// The objects of servers in any client's configuration, with the keys that lead to each.
pub(super) fn containers(tree: &Node) -> Vec<(Vec<String>, &Node)> {
    found(tree, &ALL)
}

fn found<'a>(tree: &'a Node, paths: &[&[&str]]) -> Vec<(Vec<String>, &'a Node)> {
    let mut found = Vec::new();
    for path in paths {
        descend(tree, path, &mut Vec::new(), &mut found);
    }
    found
}

fn descend<'a>(
    node: &'a Node,
    path: &[&str],
    walked: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, &'a Node)>,
) {
    let Some((key, rest)) = path.split_first() else {
        return found.push((walked.clone(), node));
    };
    let matching: Vec<_> = match *key {
        "*" => node.members().iter().collect(),
        key => node.member(key).into_iter().collect(),
    };
    for member in matching {
        walked.push(member.key.clone());
        descend(&member.value, rest, walked, found);
        walked.pop();
    }
}
