//! Changes to a text as replacements of spans: every byte outside them stays.

use std::ops::Range;

use super::clients::Syntax;
use super::tree::{Member, Node, Value};

/// Other bytes for a span; an insertion has an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

/// Makes the edits, which must not overlap; `None` if they do or lie outside.
pub(super) fn apply(source: &str, edits: &[Edit]) -> Option<String> {
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    sorted.sort_by_key(|edit| (edit.span.start, edit.span.end));
    let mut out = String::with_capacity(source.len() + 256);
    let mut at = 0;
    for edit in sorted {
        out.push_str(source.get(at..edit.span.start)?);
        out.push_str(&edit.text);
        at = edit.span.end;
    }
    out.push_str(source.get(at..)?);
    Some(out)
}

/// A text as a string that both JSON and TOML read the same.
pub(super) fn quoted(text: &str) -> String {
    // TOML allows no bare DEL in strings, JSON does.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Puts words before what an entry starts: `command` becomes `program`, and `before` and the old command become the first
/// arguments. Comments and layout of the arguments stay.
pub(super) fn wrap(
    source: &str,
    syntax: Syntax,
    entry: &Node,
    program: &str,
    before: &[String],
) -> Vec<Edit> {
    let Some(command) = entry.member("command") else { return Vec::new() };
    let mut words: Vec<String> = before.iter().map(|word| quoted(word)).collect();
    // As it was written: what stood there may be spelled in a way that quoting it anew would not keep.
    words.push(command.value.raw(source).to_owned());
    let mut edits = vec![Edit { span: command.value.span.clone(), text: quoted(program) }];
    match entry.at("args") {
        Some(args) => edits.push(prepend(source, args, &words)),
        None => {
            let args = words.join(", ");
            match syntax {
                Syntax::Json => {
                    let break_ = line_start(source, command.key_span.start)
                        .map_or_else(|| " ".to_owned(), |start| format!("{}{start}", newline(source)));
                    let text = format!(",{break_}\"args\": [{args}]");
                    if let Some(edit) = edits.first_mut() {
                        edit.text.push_str(&text);
                    }
                }
                Syntax::Toml => {
                    let (at, text) =
                        toml_args(source, entry, command.key_span.start, &command.value.span, &args);
                    match edits.first_mut() {
                        Some(edit) if at == command.value.span.end => edit.text.push_str(&text),
                        _ => edits.push(Edit { span: at..at, text }),
                    }
                }
            }
        }
    }
    edits
}

/// Inserts items before the first one, each on a line of its own if that one is.
fn prepend(source: &str, array: &Node, words: &[String]) -> Edit {
    let open = array.span.start + 1;
    let Some(first) = array.items().first() else {
        return Edit { span: open..open, text: words.join(", ") };
    };
    let at = first.span.start;
    let gap = match line_start(source, at) {
        Some(indent) if source.get(open..at).is_some_and(|gap| gap.contains('\n')) => {
            format!(",{}{indent}", newline(source))
        }
        _ => ", ".to_owned(),
    };
    let mut text = words.join(&gap);
    text.push_str(&gap);
    Edit { span: at..at, text }
}

/// Where the arguments of a TOML entry go that has none, and how: within an inline table behind the command, else on the
/// next line, with the same beginning (`servers.name.` of dotted keys included).
fn toml_args(source: &str, entry: &Node, key: usize, command: &Range<usize>, args: &str) -> (usize, String) {
    let line = source.get(..key).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let prefix = source.get(line..key).unwrap_or_default();
    if entry.raw(source).starts_with('{') || prefix.contains('{') {
        return (command.end, format!(", args = [{args}]"));
    }
    let rest = source.get(command.end..).unwrap_or_default();
    let end = rest.find('\n').unwrap_or(rest.len());
    let end = if rest.get(..end).is_some_and(|line| line.ends_with('\r')) { end - 1 } else { end };
    (command.end + end, format!("{}{prefix}args = [{args}]", newline(source)))
}

/// What stands between the beginning of the line and `at`, if that is blank.
fn line_start(source: &str, at: usize) -> Option<&str> {
    let before = source.get(..at)?;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    before.get(start..).filter(|indent| indent.trim().is_empty())
}

/// How the text ends its lines.
fn newline(source: &str) -> &'static str {
    if source.contains("\r\n") { "\r\n" } else { "\n" }
}

/// Replaces the address of an entry, and empties its headers.
pub(super) fn redirect(
    source: &str,
    entry: &Node,
    (url_key, headers_key): (&str, Option<&str>),
    url: &str,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    if let Some(old) = entry.at(url_key) {
        edits.push(Edit { span: old.span.clone(), text: quoted(url) });
    }
    let headers = headers_key.and_then(|key| entry.at(key));
    let Some(headers) = headers.filter(|headers| !headers.members().is_empty()) else { return edits };
    if headers.raw(source).starts_with('{') {
        edits.push(Edit { span: headers.span.clone(), text: "{}".to_owned() });
    } else {
        // A TOML table of its own has members in several places: each value is emptied where it stands.
        let empty = |m: &Member| Edit { span: m.value.span.clone(), text: "\"\"".to_owned() };
        edits.extend(headers.members().iter().map(empty));
    }
    edits
}

/// The edit that takes a member out again, with the comma before it. Only for a member that is not the first one.
pub(super) fn remove(source: &str, syntax: Syntax, object: &Node, key: &str) -> Option<Edit> {
    let Value::Object(members) = &object.value else { return None };
    let at = members.iter().position(|member| member.key == key)?;
    let member = members.get(at)?;
    let is_line = syntax == Syntax::Toml && !object.raw(source).starts_with('{');
    let span = if is_line {
        let start = source.get(..member.key_span.start)?.rfind('\n')?;
        let start = if source.get(..start)?.ends_with('\r') { start - 1 } else { start };
        start..member.value.span.end
    } else {
        members.get(at.checked_sub(1)?)?.value.span.end..member.value.span.end
    };
    Some(Edit { span, text: String::new() })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{apply, wrap};
    use crate::setup::clients::Syntax;

    fn check(syntax: Syntax, source: &str, expected: &Expect) {
        let tree = syntax.parse(source).unwrap();
        let server = tree.at("s").unwrap();
        let before = ["wrap".to_owned(), "--".to_owned()];
        let edits = wrap(source, syntax, server, "toll", &before);
        let after = apply(source, &edits).unwrap();
        let read = syntax.parse(&after).unwrap();
        assert_eq!(read.at("s").unwrap().at("command").unwrap().text(), Some("toll"));
        expected.assert_eq(&after);
    }

    #[test]
    fn arguments_keep_their_layout() {
        let json = |source: &str, expected: Expect| check(Syntax::Json, source, &expected);
        json(
            r#"{"s":{"command":"a\u0062","args":["x" /* y */]}}"#,
            expect![[r#"{"s":{"command":"toll","args":["wrap", "--", "a\u0062", "x" /* y */]}}"#]],
        );
        json(
            r#"{"s":{"args":[ ],"command":"a"}}"#,
            expect![[r#"{"s":{"args":["wrap", "--", "a" ],"command":"toll"}}"#]],
        );
        json(
            r#"{"s":{"command":"a", "env":{}}}"#,
            expect![[r#"{"s":{"command":"toll", "args": ["wrap", "--", "a"], "env":{}}}"#]],
        );
        json(
            "{\"s\":{\n\t\"command\": \"a\"\n}}",
            expect![[r#"
            {"s":{
            	"command": "toll",
            	"args": ["wrap", "--", "a"]
            }}"#]],
        );
        json(
            "{\"s\":{\"command\": \"a\",\n  \"args\": [\n    // why\n    \"x\",\n  ]}}",
            expect![[r#"
            {"s":{"command": "toll",
              "args": [
                // why
                "wrap",
                "--",
                "a",
                "x",
              ]}}"#]],
        );
    }

    #[test]
    fn tables_of_each_kind() {
        let toml = |source: &str, expected: Expect| check(Syntax::Toml, source, &expected);
        toml(
            "[s]\n  command = 'a' # why\nx = 1\n",
            expect![[r#"
            [s]
              command = "toll" # why
              args = ["wrap", "--", 'a']
            x = 1
        "#]],
        );
        toml(
            "[s]\ncommand = 'a'",
            expect![[r#"
            [s]
            command = "toll"
            args = ["wrap", "--", 'a']"#]],
        );
        toml(
            "s = { command = 'a', x = 1 }\n",
            expect![[r#"
            s = { command = "toll", args = ["wrap", "--", 'a'], x = 1 }
        "#]],
        );
        toml(
            "s.command = 'a'\ns.x = 1\n",
            expect![[r#"
            s.command = "toll"
            s.args = ["wrap", "--", 'a']
            s.x = 1
        "#]],
        );
        toml(
            "[s]\nargs = [\n  'x', # y\n]\ncommand = 'a'\n",
            expect![[r#"
            [s]
            args = [
              "wrap",
              "--",
              'a',
              'x', # y
            ]
            command = "toll"
        "#]],
        );
    }
}
