//! Names that policies write out: actions, servers, tools, arguments.

use crate::catalog::{Catalog, tool_id};
use crate::check::Found;
use crate::check::shapes::{Shapes, callables};
use crate::diagnostic::did_you_mean;
use crate::parse::Written;
use crate::schema::{ACTIONS, Callable};

/// Checks the entities that a policy names.
pub(super) fn check(number: usize, written: &Written<'_>, catalog: &Catalog, found: &mut Found<'_, '_>) {
    for (kind, id, range) in written.statement.entities() {
        let wrong = match kind {
            "Action" if ACTIONS.iter().all(|(action, _)| *action != id) => {
                let known: Vec<&str> = ACTIONS.iter().map(|(action, _)| *action).collect();
                let help = did_you_mean(id, known.iter().copied());
                let all = || {
                    format!(
                        "there are {}",
                        known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                    )
                };
                Some((format!("there is no action `{id}`"), Some(help.unwrap_or_else(all))))
            }
            "Server" => server(id, catalog),
            "Tool" => tool(id, catalog),
            "Resource" | "Prompt" => match id.split_once('/') {
                Some((name, _)) => server(name, catalog),
                None => {
                    let what = if kind == "Prompt" { "name" } else { "uri" };
                    Some((
                        format!("`{id}` has no server"),
                        Some(format!("write `{kind}::\"server/{what}\"`")),
                    ))
                }
            },
            _ => None,
        };
        if let Some((text, help)) = wrong {
            found.add(number, range, text, help);
        }
    }
}

fn server(name: &str, catalog: &Catalog) -> Option<(String, Option<String>)> {
    if catalog.server(name).is_some() {
        return None;
    }
    let help = did_you_mean(name, catalog.servers().map(|server| server.name.as_str()));
    Some((format!("there is no server `{name}`"), help))
}

fn tool(id: &str, catalog: &Catalog) -> Option<(String, Option<String>)> {
    let Some((server_name, name)) = id.split_once('/') else {
        let servers = catalog.servers().filter(|server| server.tools().iter().any(|tool| tool.name == id));
        let full: Vec<String> = servers.map(|server| format!("`{}`", tool_id(&server.name, id))).collect();
        let help = if full.is_empty() {
            "write `Tool::\"server/tool\"`".to_owned()
        } else {
            format!("did you mean {}?", full.join(" or "))
        };
        return Some((format!("`{id}` has no server"), Some(help)));
    };
    let Some(known) = catalog.server(server_name) else { return server(server_name, catalog) };
    // Of a server that was never asked, nothing is known to be wrong.
    let tools = known.tools.as_ref()?;
    if tools.iter().any(|tool| tool.name == name) {
        return None;
    }
    let help = did_you_mean(name, tools.iter().map(|tool| tool.name.as_str()));
    Some((format!("server `{server_name}` has no tool `{name}`"), help))
}

/// Checks the names of arguments: one that no call can have makes a condition that never holds.
pub(super) fn arguments(
    number: usize,
    written: &Written<'_>,
    shapes: &Shapes<'_>,
    found: &mut Found<'_, '_>,
) {
    let mut reads = written.statement.arguments().peekable();
    if reads.peek().is_none() {
        return;
    }
    let matched = shapes.matched(&written.policy);
    // A prompt that nobody knows may have any argument.
    let may_be_any = shapes.matches_unknown_prompts(&written.policy);
    if matched.is_empty() || (may_be_any && !callables(&written.policy).contains(&Callable::Tool)) {
        return;
    }
    for (name, range) in reads {
        let groups = || matched.iter().filter_map(|shape| shapes.fields(*shape));
        if groups().any(|fields| fields.0.contains_key(name)) {
            continue;
        }
        let what = match matched.as_slice() {
            [one] => format!("`{}`", shapes.id(*one)),
            many => format!("any of the {} tools and prompts that this policy can match", many.len()),
        };
        let help = did_you_mean(name, groups().flat_map(|fields| fields.0.keys().map(String::as_str)));
        let of_prompt =
            || "if a prompt has it, write a policy of its own: `action == Action::\"prompts/get\"`";
        let help = help.or_else(|| may_be_any.then(of_prompt).map(str::to_owned));
        found.add(number, range, format!("`{name}` is no argument of {what}"), help);
    }
}
