//! What the user sees before anything is written: each server's fate, and a diff without credentials.

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

/// Stands for what is not shown.
const HIDDEN: &str = "\"•••\"";

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
        }
    }
    edit::apply(text, &edits).unwrap_or_default()
}

fn hide(value: &Node) -> Option<Edit> {
    let text = value.text()?;
    let is_reference = ["file:", "env:", "${"].iter().any(|start| text.starts_with(start));
    (!is_reference && !text.is_empty()).then(|| Edit { span: value.span.clone(), text: HIDDEN.to_owned() })
}
