//! What a configuration says and where it says it: the same tree for JSON with comments and for TOML.
//!
//! Each node knows the bytes it was read from, so that a value can be replaced without writing the rest anew.

use std::ops::Range;

/// A value and its place in the text.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// What a node is; numbers, dates and the like are not told apart.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Object(Vec<Member>),
    Array(Vec<Node>),
    Text(String),
    Other,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

/// Why a text cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) text: String,
}

impl Fault {
    /// As `line:column: text`, both counted from 1, columns in characters.
    pub(super) fn told(&self, source: &str) -> String {
        let before = source.get(..self.at).unwrap_or(source);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{line}:{column}: {}", self.text)
    }
}

impl Node {
    /// The members of an object; none of anything else.
    pub(super) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// A member by its key. Of two with the same key the last counts, as it does for the clients.
    pub(super) fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().rev().find(|member| member.key == key)
    }

    /// The value of a member.
    pub(super) fn at(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.value)
    }

    /// The text of a string.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of an array; none of anything else.
    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// The strings of an array of strings; `None` of anything else.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        match &self.value {
            Value::Array(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
            _ => None,
        }
    }

    /// The bytes it was read from.
    pub(super) fn raw<'a>(&self, source: &'a str) -> &'a str {
        source.get(self.span.clone()).unwrap_or_default()
    }

    /// Whether both say the same, wherever they stand and however they are written. What is neither text nor made of other
    /// values is compared as it is written.
    pub(super) fn same(&self, source: &str, other: &Node, other_source: &str) -> bool {
        match (&self.value, &other.value) {
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(source, b, other_source))
            }
            (Value::Object(a), Value::Object(b)) => {
                let same = |key: &str| match (self.at(key), other.at(key)) {
                    (Some(a), Some(b)) => a.same(source, b, other_source),
                    _ => false,
                };
                a.len() == b.len() && a.iter().all(|a| same(&a.key))
            }
            (Value::Other, Value::Other) => self.raw(source) == other.raw(other_source),
            _ => false,
        }
    }
}
