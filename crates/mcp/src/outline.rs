//! Large messages, judged piece by piece in bounded memory.
//!
//! An [`Outliner`] takes the pieces of one message as they come and is as strict with all of it as
//! [`parse`](crate::message::parse) is: UTF-8, JSON, depth, equal keys, sound strings. What it leaves is an [`Outline`]: the
//! same message in little, with what is large in its second level made empty. The outline is read in the place of the message,
//! whose own bytes stay what is recorded and forwarded.

mod glimpse;
mod keys;
mod strings;

use std::ops::Range;

pub use glimpse::Glimpse;

use crate::message::ParseError;
use keys::OpenKeys;
use strings::{Chars, Utf8};

/// A member's value in the second level that is longer than this is empty in the outline.
const VALUE_BYTES: usize = 64 << 10;
/// An outline longer than this has more members than any message of MCP.
const OUTLINE_BYTES: usize = 1 << 20;
/// A key or a number longer than this is refused.
const ATOM_BYTES: usize = 4 << 10;
/// Containers within one another, the message itself included; as deep as [`parse`](crate::message::parse) goes.
const DEPTH: usize = 128;

/// A message in little.
#[derive(Debug)]
pub struct Outline {
    text: Vec<u8>,
    spans: Vec<(&'static str, Range<usize>)>,
}

impl Outline {
    /// The message without what is large: a JSON text to give to [`parse`](crate::message::parse).
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where `params`, `arguments`, `result`, `error`, `inputRequests` or `data` stands in the whole message, in bytes.
    pub fn span(&self, name: &str) -> Option<Range<usize>> {
        self.spans.iter().find(|(spanned, _)| *spanned == name).map(|(_, span)| span.clone())
    }
}

/// Reads one message, which is an object: batches are not read in pieces.
#[derive(Debug)]
pub struct Outliner {
    utf8: Utf8,
    expected: Expected,
    token: Token,
    /// Container after container, the outermost first.
    open: Vec<Container>,
    keys: OpenKeys,
    /// The key of the member under way in the first and in the second level.
    names: [Option<&'static str>; 2],
    /// Bytes of a key or number under way.
    atom: Vec<u8>,
    /// Offset of the next byte.
    at: usize,
    text: Vec<u8>,
    /// The value under way that may turn out too long for the outline.
    marked: Option<Marked>,
    spans: Vec<(&'static str, Range<usize>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

#[derive(Debug)]
enum Token {
    None,
    Key(Chars),
    Text(Chars),
    Number,
    /// What is left of `true`, `false` or `null`.
    Word(&'static [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

#[derive(Debug)]
struct Marked {
    /// How many containers are open around it.
    depth: usize,
    /// Where it begins in the outline.
    begin: usize,
    /// What stands for it.
    empty: &'static [u8],
    is_left_out: bool,
}

/// The names whose values have a span, and in which level.
const SPANNED: [(&str, usize); 6] =
    [("params", 1), ("result", 1), ("error", 1), ("arguments", 2), ("inputRequests", 2), ("data", 2)];

impl Default for Outliner {
    fn default() -> Outliner {
        Outliner {
            utf8: Utf8::default(),
            expected: Expected::Value,
            token: Token::None,
            open: Vec::new(),
            keys: OpenKeys::default(),
            names: [None; 2],
            atom: Vec::new(),
            at: 0,
            text: Vec::new(),
            marked: None,
            spans: Vec::new(),
        }
    }
}

impl Outliner {
    /// Takes the next piece.
    ///
    /// # Errors
    /// What [`parse`](crate::message::parse) would refuse, and [`ParseError::TooManyMembers`]; no further piece is read then.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), ParseError> {
        self.utf8.check(piece)?;
        let mut rest = piece;
        while let Some(byte) = rest.first() {
            let taken = match &mut self.token {
                Token::None => self.structure(*byte)?,
                Token::Key(_) | Token::Text(_) => self.string(rest)?,
                Token::Number => self.number(rest)?,
                Token::Word(left) => {
                    let (next, after) = left.split_first().ok_or(ParseError::NotJson)?;
                    if next != byte {
                        return Err(ParseError::NotJson);
                    }
                    *left = after;
                    let is_last = after.is_empty();
                    self.emit(&[*byte])?;
                    self.at += 1;
                    if is_last {
                        self.end_value();
                    }
                    1
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// What can be told by now: of a message that breaks off, or is refused.
    pub fn glimpse(&self) -> Glimpse {
        Glimpse::of(&self.text)
    }

    /// The outline, when all pieces were pushed.
    ///
    /// # Errors
    /// The message is cut off.
    pub fn finish(self) -> Result<Outline, ParseError> {
        self.utf8.finish()?;
        if self.expected != Expected::Nothing {
            return Err(ParseError::NotJson);
        }
        Ok(Outline { text: self.text, spans: self.spans })
    }

    /// A byte between tokens; gives how many were taken.
    fn structure(&mut self, byte: u8) -> Result<usize, ParseError> {
        use Expected::{Colon, CommaOrEnd, Key, KeyOrEnd, Nothing, Value, ValueOrEnd};
        match (self.expected, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
            (Value | ValueOrEnd, b'{') => self.begin_container(Container::Object)?,
            (Value | ValueOrEnd, b'[') if !self.open.is_empty() => self.begin_container(Container::Array)?,
            (Value, _) if self.open.is_empty() => {
                return Err(ParseError::NotJsonRpc("neither an object nor a batch"));
            }
            (Value | ValueOrEnd, b'"') => {
                self.begin_value(b"\"\"");
                self.token = Token::Text(Chars::default());
                self.emit(b"\"")?;
                self.at += 1;
            }
            (Value | ValueOrEnd, b'-' | b'0'..=b'9') => {
                self.begin_value(b"0");
                self.token = Token::Number;
                return Ok(0);
            }
            (Value | ValueOrEnd, b't') => return self.begin_word(b"true"),
            (Value | ValueOrEnd, b'f') => return self.begin_word(b"false"),
            (Value | ValueOrEnd, b'n') => return self.begin_word(b"null"),
            (Key | KeyOrEnd, b'"') => {
                self.token = Token::Key(Chars::default());
                self.emit(b"\"")?;
                self.at += 1;
            }
            (Colon, b':') => self.mark(byte, Value)?,
            (CommaOrEnd, b',') => {
                let next = if self.open.last() == Some(&Container::Object) { Key } else { Value };
                self.mark(byte, next)?;
            }
            (KeyOrEnd | CommaOrEnd, b'}') => self.end_container(byte, Container::Object)?,
            (ValueOrEnd | CommaOrEnd, b']') => self.end_container(byte, Container::Array)?,
            (Colon | CommaOrEnd | Key | KeyOrEnd | Value | ValueOrEnd | Nothing, _) => {
                return Err(ParseError::NotJson);
            }
        }
        Ok(usize::from(true))
    }

    fn mark(&mut self, byte: u8, next: Expected) -> Result<(), ParseError> {
        self.emit(&[byte])?;
        self.at += 1;
        self.expected = next;
        Ok(())
    }

    fn begin_word(&mut self, word: &'static [u8]) -> Result<usize, ParseError> {
        self.begin_value(b"null");
        self.token = Token::Word(word);
        Ok(0)
    }

    fn begin_container(&mut self, container: Container) -> Result<(), ParseError> {
        let (begin, empty, expected): (&[u8], &'static [u8], _) = match container {
            Container::Object => (b"{", b"{}", Expected::KeyOrEnd),
            Container::Array => (b"[", b"[]", Expected::ValueOrEnd),
        };
        self.begin_value(empty);
        self.emit(begin)?;
        self.at += 1;
        self.open.push(container);
        if self.open.len() > DEPTH {
            return Err(ParseError::TooDeep);
        }
        if container == Container::Object {
            self.keys.open();
        }
        self.expected = expected;
        Ok(())
    }

    fn end_container(&mut self, byte: u8, container: Container) -> Result<(), ParseError> {
        if self.open.pop() != Some(container) {
            return Err(ParseError::NotJson);
        }
        if container == Container::Object {
            self.keys.close();
        }
        self.emit(&[byte])?;
        self.at += 1;
        self.end_value();
        Ok(())
    }

    /// A value begins at the next byte.
    fn begin_value(&mut self, empty: &'static [u8]) {
        let depth = self.open.len();
        let is_container = matches!(empty, b"{}" | b"[]");
        if depth == 2 || (depth == 1 && !is_container) {
            self.marked = Some(Marked { depth, begin: self.text.len(), empty, is_left_out: false });
        }
        if let Some(name) = self.spanned() {
            self.spans.push((name, self.at..self.at));
        }
    }

    /// A value has ended before the next byte.
    fn end_value(&mut self) {
        self.token = Token::None;
        let depth = self.open.len();
        if self.marked.as_ref().is_some_and(|marked| marked.depth == depth) {
            self.marked = None;
        }
        if let Some(name) = self.spanned()
            && let Some((_, span)) = self.spans.iter_mut().rev().find(|(spanned, _)| *spanned == name)
        {
            span.end = self.at;
        }
        self.expected = if depth == 0 { Expected::Nothing } else { Expected::CommaOrEnd };
    }

    /// The name of the value that begins or ends here, if it has a span.
    fn spanned(&self) -> Option<&'static str> {
        match (self.open.as_slice(), self.names) {
            ([Container::Object], [Some(name), _]) => Some(name),
            (
                [Container::Object, Container::Object],
                [Some("params"), Some(name @ "arguments")]
                | [Some("params" | "result"), Some(name @ "inputRequests")]
                | [Some("error"), Some(name @ "data")],
            ) => Some(name),
            _ => None,
        }
    }

    /// Part of a string, as far as it goes; gives how many bytes were taken.
    fn string(&mut self, rest: &[u8]) -> Result<usize, ParseError> {
        let (Token::Key(chars) | Token::Text(chars)) = &mut self.token else { return Ok(0) };
        let (taken, is_over) = chars.take(rest)?;
        let part = rest.get(..taken).unwrap_or_default();
        self.at += taken;
        self.emit(part)?;
        match (&self.token, is_over) {
            (Token::Key(_), is_over) => {
                self.gather(part)?;
                if is_over {
                    self.end_key()?;
                }
            }
            (_, true) => self.end_value(),
            (_, false) => {}
        }
        Ok(taken)
    }

    fn end_key(&mut self) -> Result<(), ParseError> {
        // The closing quote was gathered, the opening one was not.
        let quoted = [b"\"".as_slice(), &std::mem::take(&mut self.atom)].concat();
        let key: String = serde_json::from_slice(&quoted).map_err(|_| ParseError::NotJson)?;
        self.keys.insert(&key)?;
        let level = self.open.len();
        if let Some(name) = level.checked_sub(1).and_then(|place| self.names.get_mut(place)) {
            let known = SPANNED.iter().find(|(spanned, of)| *spanned == key && *of == level);
            *name = known.map(|(spanned, _)| *spanned);
        }
        self.token = Token::None;
        self.expected = Expected::Colon;
        Ok(())
    }

    /// Part of a number, as far as it goes; gives how many bytes were taken.
    fn number(&mut self, rest: &[u8]) -> Result<usize, ParseError> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        let part = rest.get(..length).unwrap_or_default();
        self.gather(part)?;
        self.at += length;
        self.emit(part)?;
        if length < rest.len() {
            let text = std::mem::take(&mut self.atom);
            let _: f64 = serde_json::from_slice(&text).map_err(|_| ParseError::NotJson)?;
            self.end_value();
        }
        Ok(length)
    }

    fn gather(&mut self, part: &[u8]) -> Result<(), ParseError> {
        if self.atom.len() + part.len() > ATOM_BYTES {
            return Err(ParseError::TooManyMembers);
        }
        self.atom.extend_from_slice(part);
        Ok(())
    }

    /// Adds to the outline what belongs there.
    fn emit(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        match &mut self.marked {
            Some(marked) if marked.is_left_out => return Ok(()),
            Some(marked) if self.text.len() + bytes.len() - marked.begin > VALUE_BYTES => {
                marked.is_left_out = true;
                self.text.truncate(marked.begin);
                self.text.extend_from_slice(marked.empty);
            }
            _ => self.text.extend_from_slice(bytes),
        }
        if self.text.len() > OUTLINE_BYTES {
            return Err(ParseError::TooManyMembers);
        }
        Ok(())
    }
}
