//! A page of a list: what is on it, and the same page with less.
//!
//! What stays keeps its bytes and its order. A page that depends on who asks is marked private, and may not be kept for
//! longer than a change of grants may take (MCP 2026-07-28, server/utilities/caching).

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;

use crate::fields::span_of;
use crate::message::{Answer, Kind, Message};
use crate::strict::variant_of;

/// The lists that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

impl List {
    /// The list that a method asks for.
    pub fn of(method: &str) -> Option<List> {
        match method {
            "tools/list" => Some(List::Tools),
            "prompts/list" => Some(List::Prompts),
            "resources/list" => Some(List::Resources),
            "resources/templates/list" => Some(List::Templates),
            _ => None,
        }
    }

    /// The member of the result that holds it, and the member that names an element.
    fn members(self) -> (&'static str, &'static str) {
        match self {
            List::Tools => ("tools", "name"),
            List::Prompts => ("prompts", "name"),
            List::Resources => ("resources", "uri"),
            List::Templates => ("resourceTemplates", "uriTemplate"),
        }
    }
}

/// Some of the lists whose changes clients are told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lists {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
}

impl Lists {
    /// Those in both.
    #[must_use]
    pub fn and(self, other: Lists) -> Lists {
        Lists {
            tools: self.tools && other.tools,
            prompts: self.prompts && other.prompts,
            resources: self.resources && other.resources,
        }
    }

    /// The notifications, by their methods.
    pub fn methods(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.tools, "notifications/tools/list_changed"),
            (self.prompts, "notifications/prompts/list_changed"),
            (self.resources, "notifications/resources/list_changed"),
        ];
        all.into_iter().filter_map(|(is, method)| is.then_some(method))
    }
}

/// The result that is a page of a list.
#[derive(Debug)]
pub struct Page<'a> {
    message: &'a Message<'a>,
    elements: &'a RawValue,
    cache_scope: Option<&'a RawValue>,
    ttl_ms: Option<&'a RawValue>,
    next_cursor: Option<&'a RawValue>,
    named: Vec<(String, &'a RawValue)>,
}

/// A result that is no page of the list: a client could read something else in it than what was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no list of objects that each have one name")]
pub struct NoPage;

impl<'a> Page<'a> {
    /// Reads a response; `None` for one that carries an error instead of a result.
    ///
    /// # Errors
    /// [`NoPage`] for a result that holds anything but an array of named objects, or a member twice or in two spellings.
    pub fn of(list: List, message: &'a Message<'a>) -> Result<Option<Page<'a>>, NoPage> {
        let Kind::Response { outcome: Answer::Result(result), .. } = message.kind() else { return Ok(None) };
        let (member, name) = list.members();
        let members = exact(result, &[member, "cacheScope", "ttlMs", "nextCursor"])?;
        let elements: &'a RawValue = members.get(member).copied().ok_or(NoPage)?;
        let each: Vec<&'a RawValue> = serde_json::from_str(elements.get()).map_err(|_| NoPage)?;
        let mut named = Vec::with_capacity(each.len());
        for element in each {
            let named_by = exact(element, &[name])?.get(name).copied().ok_or(NoPage)?;
            named.push((serde_json::from_str(named_by.get()).map_err(|_| NoPage)?, element));
        }
        let [cache_scope, ttl_ms, next_cursor] =
            ["cacheScope", "ttlMs", "nextCursor"].map(|name| members.get(name).copied());
        Ok(Some(Page { message, elements, cache_scope, ttl_ms, next_cursor, named }))
    }

    /// Names and definitions, as they came.
    pub fn named(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.named.iter().map(|(name, definition)| (name.as_str(), definition.get()))
    }

    /// What the next page is asked for by; `None`: the list ends here.
    pub fn next_cursor(&self) -> Option<String> {
        serde_json::from_str(self.next_cursor?.get()).ok()
    }

    /// The message with those elements for which `keep` has a `true` at their place, private to who asked, and fresh for at
    /// most `longest_ms`.
    pub fn keeping(&self, keep: &[bool], longest_ms: u64) -> String {
        let kept = self.named.iter().zip(keep).filter(|(_, keep)| **keep);
        let kept: Vec<&str> = kept.map(|((_, definition), _)| definition.get()).collect();
        let mut edits = vec![(self.elements, format!("[{}]", kept.join(",")))];
        if let Some(scope) = self.cache_scope {
            edits.push((scope, "\"private\"".to_owned()));
        }
        if let Some(ttl) = self.ttl_ms
            && ttl.get().parse::<u64>().is_ok_and(|ttl| ttl > longest_ms)
        {
            edits.push((ttl, longest_ms.to_string()));
        }
        splice(self.message.raw(), edits)
    }
}

/// Reads an object in which no other member would pass for one of `names` with a parser that does not mind case.
fn exact<'a>(object: &'a RawValue, names: &[&str]) -> Result<BTreeMap<String, &'a RawValue>, NoPage> {
    let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(object.get()).map_err(|_| NoPage)?;
    if members.keys().any(|name| variant_of(name, names).is_some()) { Err(NoPage) } else { Ok(members) }
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
