//! Taking back what `init` wrote in a configuration that somebody else has changed since: single values, nothing else.

use super::clients::{self, Syntax};
use super::edit::{self, Edit};
use super::tree::Node;

/// The text `now` with the values of each server that `init` wrote (`after`) as they were (`before`). Servers whose values are
/// others now stay, and are noted. `None` if that cannot be done.
pub(super) fn values(
    syntax: Syntax,
    [before, after, now]: [&str; 3],
    notes: &mut Vec<String>,
) -> Option<String> {
    let trees = (syntax.parse(before).ok()?, syntax.parse(after).ok()?, syntax.parse(now).ok()?);
    let mut edits = Vec::new();
    let mut reverted = Vec::new();
    for (path, written) in clients::containers(&trees.1) {
        let (Some(was), Some(is)) = (container(&trees.0, &path), container(&trees.2, &path)) else {
            continue;
        };
        for server in written.members() {
            let (Some(was), Some(is)) = (was.at(&server.key), is.at(&server.key)) else { continue };
            let of = Times { syntax, was: (before, was), written: (after, &server.value), is: (now, is) };
            match of.edits() {
                Some(made) if made.is_empty() => {}
                Some(made) => {
                    edits.extend(made);
                    reverted.push((path.clone(), server, was));
                }
                None => notes.push(format!("`{}` was changed since and stays as it is", server.key)),
            }
        }
    }
    let made = edit::apply(now, &edits)?;
    let tree = syntax.parse(&made).ok()?;
    let is_back = reverted.iter().all(|(path, server, was)| {
        let is = container(&tree, path).and_then(|servers| servers.at(&server.key));
        let same = |is: &Node| {
            let written = server.value.members().iter();
            written.filter_map(|m| was.member(&m.key)).all(|was| {
                let is = is.at(&was.key);
                is.is_some_and(|is| is.same(&made, &was.value, before))
                    || server
                        .value
                        .at(&was.key)
                        .is_some_and(|written| written.same(after, &was.value, before))
            })
        };
        is.is_some_and(same)
    });
    is_back.then_some(made)
}

fn container<'a>(tree: &'a Node, path: &[String]) -> Option<&'a Node> {
    clients::containers(tree).into_iter().find(|(found, _)| found == path).map(|(_, node)| node)
}

/// A value at three times, each with the text it is in.
struct Times<'a> {
    syntax: Syntax,
    was: (&'a str, &'a Node),
    written: (&'a str, &'a Node),
    is: (&'a str, &'a Node),
}

impl Times<'_> {
    /// The edits that bring back what `init` replaced; `None` if one of its values is another now.
    fn edits(&self) -> Option<Vec<Edit>> {
        let mut edits = Vec::new();
        for member in self.written.1.members() {
            let was = self.was.1.at(&member.key);
            if was.is_some_and(|was| was.same(self.was.0, &member.value, self.written.0)) {
                continue;
            }
            let is = self.is.1.at(&member.key)?;
            if !is.same(self.is.0, &member.value, self.written.0) {
                return None;
            }
            match was {
                // A TOML table of its own has no span that holds its members.
                Some(was) if !is.members().is_empty() && !is.raw(self.is.0).starts_with('{') => {
                    let inner = Times {
                        syntax: self.syntax,
                        was: (self.was.0, was),
                        written: (self.written.0, &member.value),
                        is: (self.is.0, is),
                    };
                    edits.extend(inner.edits()?);
                }
                Some(was) => edits.push(Edit { span: is.span.clone(), text: was.raw(self.was.0).to_owned() }),
                None => edits.push(edit::remove(self.is.0, self.syntax, self.is.1, &member.key)?),
            }
        }
        Some(edits)
    }
}
