//! What links the rounds of a call (MCP 2026-07-28, basic/patterns/mrtr).
//!
//! The protocol has no call id. A server answers `input_required`; the client asks again under a new JSON-RPC id and brings
//! the server's `requestState`, or answers under the keys that the server chose, or both. A [`RoundKey`] is what the answer
//! and the request that follows it have in common. It says nothing of who asks: whoever looks it up does so per run.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::method::{Method, Target};

/// What an answer that asks back and the request of the next round share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoundKey {
    /// The server's opaque state, decoded: a client that writes its JSON anew may escape the same text differently.
    State(String),
    /// Without a state: what was called, and the keys that the server asked under.
    Asked {
        /// The method of both requests.
        method: String,
        /// The tool, prompt or resource that both name.
        name: String,
        /// The keys, sorted.
        keys: Vec<String>,
    },
}

/// What the keys of a call's rounds take from its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    method: String,
    /// The tool, prompt or resource.
    name: Option<String>,
}

impl Leg {
    /// Reads a request; `None` if its method's answer may ask nothing back.
    pub fn of(method: &str, params: &RawValue) -> Option<Leg> {
        let known = Method::of(method).filter(|known| known.may_ask_back)?;
        let named: Option<Named<'_>> = object(params);
        let name = named.and_then(|named| match known.target {
            Target::Tool | Target::Prompt => named.name,
            Target::Resource => named.uri,
            Target::Task | Target::None => None,
        });
        Some(Leg { method: method.to_owned(), name: name.and_then(text) })
    }

    /// The key of the round that an answer to this request leads to; `None` if the answer asks nothing back.
    pub fn awaited(&self, result: &RawValue) -> Option<RoundKey> {
        let asked = InputRequired::of(result)?;
        self.key(asked.state, asked.requests.into_iter().map(|request| request.key))
    }

    /// The key of the round that this request is, by its params; `None` for a first round.
    pub fn continued(&self, params: &RawValue) -> Option<RoundKey> {
        let later: LaterRound<'_> = object(params)?;
        let state = later.request_state.and_then(text);
        let responses: BTreeMap<String, &RawValue> =
            later.input_responses.and_then(object).unwrap_or_default();
        self.key(state, responses.into_keys())
    }

    fn key(&self, state: Option<String>, keys: impl Iterator<Item = String>) -> Option<RoundKey> {
        if let Some(state) = state {
            return Some(RoundKey::State(state));
        }
        let mut keys: Vec<String> = keys.collect();
        if keys.is_empty() {
            return None;
        }
        keys.sort_unstable();
        Some(RoundKey::Asked { method: self.method.clone(), name: self.name.clone()?, keys })
    }
}

/// What a server asks before it can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequired {
    /// Its state, decoded; to be brought back as it is.
    pub state: Option<String>,
    /// What it asks, by key.
    pub requests: Vec<InputRequest>,
}

/// One thing that a server asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequest {
    /// The server's key, under which the answer comes.
    pub key: String,
    /// `elicitation/create`, `sampling/createMessage`, `roots/list`; empty if the server names none.
    pub method: String,
}

impl InputRequired {
    /// Reads a result; `None` unless its `resultType` is `input_required`.
    pub fn of(result: &RawValue) -> Option<InputRequired> {
        let result: AskingResult<'_> = object(result)?;
        if text(result.result_type?)? != "input_required" {
            return None;
        }
        let requests: BTreeMap<String, &RawValue> =
            result.input_requests.and_then(object).unwrap_or_default();
        let requests = requests.into_iter().map(|(key, request)| {
            let asked: Option<Asked<'_>> = object(request);
            let method = asked.and_then(|asked| asked.method).and_then(text).unwrap_or_default();
            InputRequest { key, method }
        });
        Some(InputRequired { state: result.request_state.and_then(text), requests: requests.collect() })
    }
}

#[derive(Deserialize)]
struct AskingResult<'a> {
    #[serde(borrow, default, rename = "resultType")]
    result_type: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestState")]
    request_state: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputRequests")]
    input_requests: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct LaterRound<'a> {
    #[serde(borrow, default, rename = "requestState")]
    request_state: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputResponses")]
    input_responses: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uri: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
}

/// Reads an object and nothing else: derived structs would take an array for one.
fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}
