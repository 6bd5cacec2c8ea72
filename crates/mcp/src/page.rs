//! A page of a list of tools: what is on it, and the same page with fewer tools.
//!
//! What stays keeps its bytes and its order. A page that depends on who asks is marked private, and may not be kept for
//! longer than a change of grants may take (MCP 2026-07-28, server/utilities/caching).

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fields::span_of;
use crate::message::{Answer, Kind, Message};

/// The result of `tools/list`.
#[derive(Debug)]
pub struct ToolPage<'a> {
    message: &'a Message<'a>,
    members: Members<'a>,
    tools: Vec<(String, &'a RawValue)>,
}

#[derive(Debug, Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    tools: &'a RawValue,
    #[serde(borrow, default, rename = "cacheScope")]
    cache_scope: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "ttlMs")]
    ttl_ms: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// A result that is no page of tools: a client could read something else in it than what was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no list of tools, each an object with one name")]
pub struct NoPage;

impl<'a> ToolPage<'a> {
    /// Reads a response; `None` for one that carries an error instead of a result.
    ///
    /// # Errors
    /// [`NoPage`] for a result that holds anything but an array of named tools, or a member twice or in two spellings.
    pub fn of(message: &'a Message<'a>) -> Result<Option<ToolPage<'a>>, NoPage> {
        let Kind::Response { outcome: Answer::Result(result), .. } = message.kind() else { return Ok(None) };
        let members: Members<'a> = exact(result, &["tools", "cacheScope", "ttlMs"])?;
        let elements: Vec<&'a RawValue> = serde_json::from_str(members.tools.get()).map_err(|_| NoPage)?;
        let mut tools = Vec::with_capacity(elements.len());
        for element in elements {
            let Named { name } = exact(element, &["name"])?;
            tools.push((name, element));
        }
        Ok(Some(ToolPage { message, members, tools }))
    }

    /// Names and definitions, as they came.
    pub fn tools(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.tools.iter().map(|(name, definition)| (name.as_str(), definition.get()))
    }

    /// The message with those tools for which `keep` has a `true` at their place, private to who asked, and fresh for at most
    /// `longest_ms`.
    pub fn keeping(&self, keep: &[bool], longest_ms: u64) -> String {
        let kept = self.tools.iter().zip(keep).filter(|(_, keep)| **keep);
        let kept: Vec<&str> = kept.map(|((_, definition), _)| definition.get()).collect();
        let mut edits = vec![(self.members.tools, format!("[{}]", kept.join(",")))];
        if let Some(scope) = self.members.cache_scope {
            edits.push((scope, "\"private\"".to_owned()));
        }
        if let Some(ttl) = self.members.ttl_ms
            && ttl.get().parse::<u64>().is_ok_and(|ttl| ttl > longest_ms)
        {
            edits.push((ttl, longest_ms.to_string()));
        }
        splice(self.message.raw(), edits)
    }
}

/// Reads an object in which no other member would pass for one of `names` with a parser that does not mind case.
fn exact<'a, T: Deserialize<'a>>(object: &'a RawValue, names: &[&str]) -> Result<T, NoPage> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(object.get()).map_err(|_| NoPage)?;
    let is_variant = |name: &String| names.iter().any(|n| n.eq_ignore_ascii_case(name) && n != name);
    if members.keys().any(is_variant) {
        return Err(NoPage);
    }
    serde_json::from_str(object.get()).map_err(|_| NoPage)
}

/// Replaces parts of a text that do not overlap.
fn splice(raw: &str, edits: Vec<(&RawValue, String)>) -> String {
    let place = |(old, new): (&RawValue, String)| (span_of(raw, old.get()), new);
    let mut edits: Vec<(Range<usize>, String)> = edits.into_iter().map(place).collect();
    edits.sort_unstable_by_key(|(range, _)| range.start);
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    for (range, new) in edits {
        out.push_str(raw.get(at..range.start).unwrap_or_default());
        out.push_str(&new);
        at = range.end;
    }
    out.push_str(raw.get(at..).unwrap_or_default());
    out
}
