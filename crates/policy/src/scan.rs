//! Cedar's text as tokens, policies and clauses with their places. Cedar parses and judges; this only says where things
//! stand, since Cedar's own tree does not tell the places of names, annotations and clauses.

use std::collections::BTreeSet;
use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Word,
    /// A string: its value.
    Text(String),
    /// Anything else: one character, or `::`.
    Mark,
}

/// A token and its place.
#[derive(Debug, Clone)]
pub(crate) struct Token<'a> {
    pub(crate) at: usize,
    pub(crate) text: &'a str,
    pub(crate) kind: Kind,
}

impl Token<'_> {
    pub(crate) fn range(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// The name that the token stands for, written as a word or as a string.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word => Some(self.text),
            Kind::Text(value) => Some(value),
            Kind::Mark => None,
        }
    }
}

/// A policy as it stands in its file.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
}

/// A `when` or `unless` with its condition.
#[derive(Debug, Clone)]
pub(crate) struct Clause {
    pub(crate) range: Range<usize>,
    /// Whether it may look at the circumstances of the call.
    pub(crate) says_context: bool,
}

/// An annotation of a policy.
#[derive(Debug)]
pub(crate) struct Annotation<'a> {
    pub(crate) name: &'a str,
    /// Where the name stands.
    pub(crate) range: Range<usize>,
    /// Empty if none is written.
    pub(crate) value: &'a str,
    /// Where the value stands, or the name if none is written.
    pub(crate) value_range: Range<usize>,
}

/// The policies of a file, in order.
pub(crate) fn statements(text: &str) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut tokens = Vec::new();
    for token in (Tokens { text, at: 0 }) {
        let ends = token.text == ";";
        tokens.push(token);
        if ends {
            statements.push(Statement { tokens: std::mem::take(&mut tokens) });
        }
    }
    if !tokens.is_empty() {
        statements.push(Statement { tokens });
    }
    statements
}

impl Statement<'_> {
    /// Where `permit` or `forbid` stands.
    pub(crate) fn effect(&self) -> Range<usize> {
        let found = self.tokens.iter().find(|token| token.text == "permit" || token.text == "forbid");
        found.or(self.tokens.first()).map_or(0..0, Token::range)
    }

    pub(crate) fn forbids(&self) -> bool {
        let found = self.tokens.iter().find(|token| token.text == "permit" || token.text == "forbid");
        found.is_some_and(|token| token.text == "forbid")
    }

    pub(crate) fn annotations(&self) -> Vec<Annotation<'_>> {
        let mut annotations = Vec::new();
        let mut tokens = self.tokens.iter().peekable();
        while let Some(token) = tokens.next().filter(|token| token.text == "@") {
            let Some(name) = tokens.next() else { break };
            let mut annotation = Annotation {
                name: name.text,
                range: token.at..name.range().end,
                value: "",
                value_range: name.range(),
            };
            if tokens.next_if(|token| token.text == "(").is_some() {
                if let Some(Token { kind: Kind::Text(value), at, text }) = tokens.next() {
                    annotation.value = value;
                    annotation.value_range = *at..*at + text.len();
                }
                tokens.next();
            }
            annotations.push(annotation);
        }
        annotations
    }

    pub(crate) fn clauses(&self) -> Vec<Clause> {
        let mut clauses = Vec::new();
        let mut depth = 0_usize;
        let mut begun = None;
        let mut says_context = false;
        for token in &self.tokens {
            match token.text {
                "when" | "unless" if depth == 0 => {
                    begun = Some(token.at);
                    says_context = false;
                }
                "context" => says_context = true,
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0
                        && token.text == "}"
                        && let Some(from) = begun.take()
                    {
                        clauses.push(Clause { range: from..token.range().end, says_context });
                    }
                }
                _ => {}
            }
        }
        clauses
    }

    /// Entities written out, as `Tool::"a/b"`: type, id, and where the id stands.
    pub(crate) fn entities(&self) -> impl Iterator<Item = (&str, &str, Range<usize>)> {
        self.tokens.array_windows().filter_map(|[kind, colons, id]| match &id.kind {
            Kind::Text(value) if colons.text == "::" && kind.kind == Kind::Word => {
                Some((kind.text, value.as_str(), id.range()))
            }
            _ => None,
        })
    }

    /// Names that are read of `context.arguments`, and where they stand.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.tokens.array_windows().filter_map(|[context, dot, arguments, access, name]| {
            let reads = context.text == "context" && dot.text == "." && arguments.text == "arguments";
            let accesses = [".", "has", "["].contains(&access.text);
            name.name().filter(|_| reads && accesses).map(|text| (text, name.range()))
        })
    }

    /// Names that are read of something, each once.
    pub(crate) fn attributes(&self) -> Vec<String> {
        let names = self.tokens.array_windows().filter_map(|[access, name]| {
            name.name().filter(|_| [".", "has", "["].contains(&access.text)).map(str::to_owned)
        });
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(crate) fn says(&self, word: &str) -> bool {
        self.tokens.iter().any(|token| token.kind == Kind::Word && token.text == word)
    }
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = self.text.get(self.at..)?;
            let blank = rest.len() - rest.trim_start().len();
            let rest = rest.get(blank..)?;
            self.at += blank;
            if !rest.starts_with("//") {
                return self.token(rest);
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }
}

impl<'a> Tokens<'a> {
    fn token(&mut self, rest: &'a str) -> Option<Token<'a>> {
        let first = rest.chars().next()?;
        let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let (length, kind) = match first {
            '"' => {
                let (length, value) = string(rest);
                (length, Kind::Text(value))
            }
            _ if is_word(first) => (rest.find(|c| !is_word(c)).unwrap_or(rest.len()), Kind::Word),
            ':' if rest.starts_with("::") => (2, Kind::Mark),
            other => (other.len_utf8(), Kind::Mark),
        };
        let token = Token { at: self.at, text: rest.get(..length)?, kind };
        self.at += length;
        Some(token)
    }
}

/// Length and value of the string at the beginning of a text.
fn string(text: &str) -> (usize, String) {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (at + 1, value),
            '\\' => value.extend(escaped(&mut characters)),
            other => value.push(other),
        }
    }
    (text.len(), value)
}

/// The character that an escape sequence stands for.
fn escaped(characters: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let (_, escape) = characters.next()?;
    match escape {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        '0' => Some('\0'),
        'x' => code_point(&characters.take(2).map(|(_, digit)| digit).collect::<String>()),
        'u' => {
            let digits = characters.map(|(_, digit)| digit).take_while(|digit| *digit != '}');
            code_point(&digits.skip(1).collect::<String>())
        }
        other => Some(other),
    }
}

fn code_point(hex: &str) -> Option<char> {
    u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)
}

/// A text as a string of Cedar.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            letter if letter.is_alphanumeric() => out.push(letter),
            other => out.extend(other.escape_unicode()),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::{quoted, statements};

    const TEXT: &str = r#"
// not; a policy
@id("a;b") @reason("say \"no\"")
permit (principal, action, resource == Tool::"a\u{2f}b")
when { context.arguments.path like "x\*" && { a: 1 }.a == 1 } // }
unless { context.arguments has "odd key" };
forbid (principal, action, resource);
"#;

    #[test]
    fn policies_and_their_parts() {
        let found = statements(TEXT);
        let [first, second] = found.as_slice() else { panic!("{found:?}") };
        let annotations: Vec<_> =
            first.annotations().iter().map(|each| (each.name, each.value.to_owned())).collect();
        assert_eq!(annotations, [("id", "a;b".to_owned()), ("reason", "say \"no\"".to_owned())]);
        let clauses: Vec<_> =
            first.clauses().into_iter().filter_map(|clause| TEXT.get(clause.range)).collect();
        assert_eq!(
            clauses,
            [
                r#"when { context.arguments.path like "x\*" && { a: 1 }.a == 1 }"#,
                r#"unless { context.arguments has "odd key" }"#
            ]
        );
        let entities: Vec<_> = first.entities().map(|(kind, id, _)| (kind, id)).collect();
        assert_eq!(entities, [("Tool", "a/b")]);
        let arguments: Vec<_> = first.arguments().map(|(name, _)| name).collect();
        assert_eq!(arguments, ["path", "odd key"]);
        assert_eq!(TEXT.get(second.effect()), Some("forbid"));
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for text in ["", "a\"b", "\\", "line\nline", "tab\t\0", "ü\u{202e}😀", "//;}"] {
            let written = quoted(text);
            let found = statements(&written);
            assert_eq!(found[0].tokens[0].name(), Some(text), "{written}");
        }
    }
}
