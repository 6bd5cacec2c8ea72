//! A first bundle, from the tools that servers have: every tool stands in it, grouped by a guess.

use crate::catalog::{Catalog, Hints, Server, Tool, tool_id};
use crate::scan::quoted;

/// What a tool probably does. Later is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Guess {
    Reads,
    Writes,
    Destroys,
}

/// Words in names of tools that destroy or act beyond recall.
const DESTROYS: [&str; 20] = [
    "delete",
    "remove",
    "drop",
    "destroy",
    "purge",
    "erase",
    "truncate",
    "wipe",
    "reset",
    "revoke",
    "kill",
    "terminate",
    "uninstall",
    "exec",
    "execute",
    "shell",
    "pay",
    "transfer",
    "merge",
    "force",
];

/// Words in names of tools that change something.
const WRITES: [&str; 28] = [
    "add", "append", "apply", "approve", "assign", "close", "comment", "commit", "copy", "create", "deploy",
    "edit", "fork", "insert", "install", "invite", "move", "post", "publish", "push", "rename", "run",
    "save", "send", "set", "update", "upload", "write",
];

/// Words in names of tools that look at something.
const READS: [&str; 18] = [
    "browse", "check", "count", "describe", "diff", "download", "echo", "fetch", "find", "get", "inspect",
    "list", "lookup", "query", "read", "search", "show", "view",
];

/// The text of a bundle that permits reading and writing and holds what destroys for an approver. Compiles for every
/// catalog.
pub fn bundle(catalog: &Catalog) -> String {
    let mut out = String::from(
        "// A first bundle. Each tool stands in the group that its name and its server's claims suggest: a guess, to be\n\
         // reviewed line by line. A claim can move a tool to a stricter group, never to a milder one.\n\
         // What no policy permits is denied: tools that servers add later, sampling, elicitation, roots.\n",
    );
    for server in catalog.servers() {
        one(&mut out, server);
    }
    out
}

fn one(out: &mut String, server: &Server) {
    let of_server = format!("Server::{}", quoted(&server.name));
    out.push_str(&format!("\n// Server {}", quoted(&server.name)));
    if server.tools.is_none() {
        out.push_str(": its tools are not known yet.\n");
    } else {
        out.push_str(&format!(": {} tools.\n", server.tools().len()));
    }
    for (guess, what, annotation) in [
        (Guess::Reads, "looks at something", ""),
        (Guess::Writes, "changes something, or cannot be told", ""),
        (Guess::Destroys, "destroys, executes or pays", "@hold(\"approvers\")\n"),
    ] {
        let tools: Vec<&Tool> = server.tools().iter().filter(|tool| guessed(tool) == guess).collect();
        if tools.is_empty() {
            continue;
        }
        let ids: Vec<String> = tools
            .iter()
            .map(|tool| format!("        Tool::{}", quoted(&tool_id(&server.name, &tool.name))))
            .collect();
        out.push_str(&format!(
            "\n// Guess, to be reviewed: {what}.\n{annotation}permit (principal, action == Action::\"tools/call\", resource in {of_server})\n\
             when {{\n    [\n{}\n    ].contains(resource)\n}};\n",
            ids.join(",\n")
        ));
    }
    out.push_str(&format!(
        "\npermit (\n    principal,\n    action in [\n        Action::\"resources/read\",\n        Action::\"resources/subscribe\",\n        \
         Action::\"prompts/get\",\n        Action::\"completion/complete\",\n        Action::\"tasks\"\n    ],\n    resource in {of_server}\n);\n"
    ));
}

/// The worst that the name or a claim suggests; what suggests nothing may write.
fn guessed(tool: &Tool) -> Guess {
    let words = words(&tool.name);
    let says = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let by_name = if says(&DESTROYS) {
        Guess::Destroys
    } else if says(&WRITES) || !says(&READS) {
        Guess::Writes
    } else {
        Guess::Reads
    };
    by_name.max(claimed(&tool.hints))
}

fn claimed(hints: &Hints) -> Guess {
    match (hints.destructive, hints.read_only) {
        (Some(true), _) => Guess::Destroys,
        (_, Some(false)) => Guess::Writes,
        _ => Guess::Reads,
    }
}

/// `readFile`, `read_file` and `read-file` are `read` and `file`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for character in name.chars() {
        if !character.is_alphanumeric() || (character.is_uppercase() && before_lower) {
            words.push(String::new());
        }
        before_lower = character.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            word.extend(character.to_lowercase());
        }
    }
    words
}
