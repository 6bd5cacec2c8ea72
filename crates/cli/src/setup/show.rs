//! What the user sees before anything is written: each server's fate, and a diff without credentials: values of environments,
//! headers and address parameters, and arguments that look like some.

use std::io::{self, Write};
use std::path::Path;

use similar::TextDiff;

use super::clients::{self, Syntax};
use super::edit::{self, Edit};
use super::plan::{Change, Fate, Summary};
use super::survey::short;
use super::tree::Node;
use super::undo::Restore;
use crate::read::text::visible;

/// Members of a server whose values may be credentials.
const SECRETS: [&str; 3] = ["env", "headers", "http_headers"];

/// Members of a server that hold its address.
const ADDRESSES: [&str; 3] = ["url", "httpUrl", "serverUrl"];

/// How the keys of well-known services begin, and the length that the shortest has.
const STARTS: [&str; 7] = ["ghp_", "github_pat_", "glpat-", "sk-", "xox", "AKIA", "eyJ"];
const SHORTEST: usize = 20;

/// Stands for what is not shown.
const HIDDEN: &str = "•••";

/// In an option's or a parameter's name: its value may be a credential.
const TELLTALE: [&str; 9] =
    ["token", "secret", "password", "passwd", "key", "auth", "credential", "bearer", "signature"];

/// Each configuration with its servers.
pub(super) fn summaries(summaries: &[Summary], home: &Path, out: &mut dyn Write) -> io::Result<()> {
    for summary in summaries {
        writeln!(out, "{}  {}", summary.client, visible(&short(&summary.path, home)))?;
        for (name, fate) in &summary.servers {
            let (mark, text) = match fate {
                Fate::Wrap(as_name) => ("+", format!("through `tollbook wrap`{}", renamed(name, as_name))),
                Fate::Route(as_name) => ("+", format!("through the gateway{}", renamed(name, as_name))),
                Fate::RouteBare(as_name) => (
                    "!",
                    format!(
                        "through the gateway{}; if the client signs in there, it no longer can: `--skip {name}` leaves it",
                        renamed(name, as_name)
                    ),
                ),
                Fate::Already => ("✓", "goes through Tollbook already".to_owned()),
                Fate::Left(why) => ("!", format!("left as it is: {why}")),
            };
            writeln!(out, "  {mark} {}: {}", visible(name), visible(&text))?;
        }
    }
    Ok(())
}

fn renamed(name: &str, as_name: &str) -> String {
    if name == as_name { String::new() } else { format!(", recorded as `{as_name}`") }
}

/// A unified diff of a file, values of environments and headers hidden.
pub(super) fn diff(change: &Change, home: &Path, out: &mut dyn Write) -> io::Result<()> {
    let path = visible(&short(&change.path, home));
    if change.secret {
        return writeln!(out, "\nnew file {path}, for you alone: a header that moves here");
    }
    writeln!(out)?;
    let before = masked(change.before.as_deref().unwrap_or_default(), change.syntax);
    let after = masked(&change.after, change.syntax);
    let from = if change.before.is_some() { path.as_str() } else { "new file" };
    texts((from, &before), (&path, &after), out)
}

/// A unified diff of a file's way back, and what stays.
pub(super) fn restore(restore: &Restore<'_>, home: &Path, out: &mut dyn Write) -> io::Result<()> {
    let path = visible(&short(&restore.path, home));
    let syntax = Syntax::of(&restore.path);
    let text = |bytes: &Option<Vec<u8>>| {
        masked(&String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()), syntax)
    };
    match &restore.back.to {
        None if restore.from.is_some() => writeln!(out, "\nremove {path}")?,
        _ if restore.back.to == restore.from => writeln!(out, "\n{path}: nothing to change")?,
        _ => {
            writeln!(out)?;
            texts((&path, &text(&restore.from)), (&path, &text(&restore.back.to)), out)?;
        }
    }
    for note in &restore.back.notes {
        writeln!(out, "  ! {}", visible(note))?;
    }
    Ok(())
}

/// A unified diff of two named texts.
fn texts(before: (&str, &str), after: (&str, &str), out: &mut dyn Write) -> io::Result<()> {
    let diff = TextDiff::from_lines(before.1, after.1);
    let text = diff.unified_diff().context_radius(2).header(before.0, after.0).to_string();
    for line in text.lines() {
        writeln!(out, "{}", visible(&line.trim_end_matches('\r').replace('\t', "    ")))?;
    }
    Ok(())
}

/// The text with the values of environments and headers hidden. References to files and variables are no secrets.
fn masked(text: &str, syntax: Syntax) -> String {
    let Ok(tree) = syntax.parse(text) else { return String::new() };
    let mut edits = Vec::new();
    for (_, container) in clients::containers(&tree) {
        for server in container.members() {
            let holders = SECRETS.iter().filter_map(|key| server.value.at(key));
            edits.extend(holders.flat_map(Node::members).filter_map(|m| hide(&m.value)));
            edits.extend(server.value.at("args").into_iter().flat_map(hide_args));
            let addresses = ADDRESSES.iter().filter_map(|key| server.value.at(key));
            edits.extend(addresses.filter_map(hide_in_address));
        }
    }
    edit::apply(text, &edits).unwrap_or_default()
}

fn hide(value: &Node) -> Option<Edit> {
    let text = value.text()?;
    let is_reference = ["file:", "env:", "${"].iter().any(|start| text.starts_with(start));
    (!is_reference && !text.is_empty())
        .then(|| Edit { span: value.span.clone(), text: format!("\"{HIDDEN}\"") })
}

/// `--token VALUE`, `--token=VALUE`, `NAME_KEY=VALUE`, a `Bearer …`, and credentials and parameters in addresses.
fn hide_args(args: &Node) -> Vec<Edit> {
    let items = args.items();
    let mut is_next = false;
    let mut edits = Vec::new();
    for item in items {
        let Some(text) = item.text() else { continue };
        let shown =
            if is_next && !text.starts_with('-') { Some(HIDDEN.to_owned()) } else { without_secret(text) };
        is_next = text.starts_with('-') && !text.contains('=') && is_telltale(text);
        edits.extend(shown.map(|shown| Edit { span: item.span.clone(), text: quoted(&shown) }));
    }
    edits
}

fn hide_in_address(value: &Node) -> Option<Edit> {
    let shown = without_secret(value.text()?)?;
    Some(Edit { span: value.span.clone(), text: quoted(&shown) })
}

/// The text as it may be shown, if it is not to be shown whole.
fn without_secret(text: &str) -> Option<String> {
    if STARTS.iter().any(|start| text.starts_with(start)) && text.len() >= SHORTEST {
        return Some(HIDDEN.to_owned());
    }
    let shown = match text.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", bare_address(rest)),
        None => match text.split_once(['=', ' ', ':']) {
            Some((name, value)) if is_telltale(name) && !value.is_empty() && !value.starts_with("${") => {
                let end = text.get(..=name.len()).unwrap_or(name);
                format!("{end}{HIDDEN}")
            }
            _ => return None,
        },
    };
    (shown != text).then_some(shown)
}

/// What follows `://`, without a password and without the values of parameters.
fn bare_address(rest: &str) -> String {
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let host_at = place.split('/').next().and_then(|authority| authority.rfind('@'));
    let place = match host_at {
        Some(at) => format!("{HIDDEN}{}", place.get(at..).unwrap_or_default()),
        None => place.to_owned(),
    };
    let Some(query) = query else { return place };
    let hidden = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() && !value.starts_with("${") => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    });
    format!("{place}?{}", hidden.collect::<Vec<_>>().join("&"))
}

fn is_telltale(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLTALE.iter().any(|word| name.contains(word))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::{masked, without_secret};
    use crate::setup::clients::Syntax;

    #[test]
    fn what_looks_like_a_credential_is_not_shown() {
        for (text, shown) in [
            ("https://mcp.example/mcp", None),
            (
                "https://mcp.example/mcp?api_key=s3cret&page=",
                Some("https://mcp.example/mcp?api_key=•••&page="),
            ),
            ("https://mcp.example/mcp?t=${TOKEN}", None),
            ("postgres://anna:s3cret@db:5432/x", Some("postgres://•••@db:5432/x")),
            ("--api-key=s3cret", Some("--api-key=•••")),
            ("GITHUB_TOKEN=s3cret", Some("GITHUB_TOKEN=•••")),
            ("Authorization: Bearer s3cret", Some("Authorization:•••")),
            ("Bearer s3cret", Some("Bearer •••")),
            ("ghp_0123456789abcdefghij", Some("•••")),
            ("--verbose=yes", None),
            ("/srv/project", None),
            ("@modelcontextprotocol/server-filesystem", None),
        ] {
            assert_eq!(without_secret(text).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn the_value_after_an_option_is_hidden_and_nothing_else() {
        let text = r#"{"mcpServers": {"x": {"command": "npx", "args": ["-y", "--token", "s3cret", "--key", "--quiet", "files"]}}}"#;
        let shown = text.replace("s3cret", "•••");
        assert_eq!(masked(text, Syntax::Json), shown);
    }
}
