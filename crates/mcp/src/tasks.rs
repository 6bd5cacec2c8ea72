//! The tasks extension of 2026-07-28 (SEP-2663): what a gateway reads and writes that answers calls with tasks of its own.
//!
//! A call that is made later is made of its request's params as they came, but for two members of `_meta`: the progress token,
//! whose request is answered by then, and the word that the answer may be a task, since it is one already.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::edit::{EditError, with_members, without};
use crate::fields::{Params, span_of};
use crate::message::{Answer, Kind, Message};

/// The extension's name in capabilities.
pub const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// The method whose answer may be a task.
pub const CALL: &str = "tools/call";

const META: &str = "_meta";

/// What a client asks about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskMethod {
    /// How it stands.
    Get,
    /// It answers what the server has asked.
    Update,
    /// It does not want it any more.
    Cancel,
}

impl TaskMethod {
    /// That of a method's name.
    pub fn of(method: &str) -> Option<TaskMethod> {
        [TaskMethod::Get, TaskMethod::Update, TaskMethod::Cancel].into_iter().find(|one| one.name() == method)
    }

    /// The method's name.
    pub fn name(self) -> &'static str {
        match self {
            TaskMethod::Get => "tasks/get",
            TaskMethod::Update => "tasks/update",
            TaskMethod::Cancel => "tasks/cancel",
        }
    }
}

/// The params of a call as they are when it is made later; `None`: it is no call whose answer may be a task, or its client does
/// not say so.
pub fn deferred(message: &Message<'_>) -> Option<String> {
    let Kind::Request { method, params: Some(params), .. } = message.kind() else { return None };
    if method != CALL || !Params::of(params).takes_tasks() {
        return None;
    }
    let params = without(params.get(), &[META, "progressToken"]).ok()?;
    without(&params, &[META, CAPABILITIES, "extensions", EXTENSION]).ok()
}

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// A call of these params, made anew under an id; `more`: members of the params, JSON, for a later round.
///
/// # Errors
/// [`EditError::NoParams`] for params that are no object.
pub fn call(id: &str, params: &str, more: &[(&str, &str)]) -> Result<String, EditError> {
    let params = with_members(params, more)?;
    let id = serde_json::Value::from(id);
    Ok(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{CALL}","params":{params}}}"#))
}

/// A server's account of itself (the answer to `server/discover`) that says it answers with tasks; `None`: it says so already, or
/// is no such account.
pub fn declared(message: &Message<'_>) -> Option<String> {
    let Kind::Response { outcome: Answer::Result(result), .. } = message.kind() else { return None };
    let found: Discovered<'_> = object(result)?;
    let extended: Extended<'_> = object(found.capabilities)?;
    let extensions = extended.extensions.map_or("{}", RawValue::get);
    let has_it = without(extensions, &[EXTENSION]).ok()?.len() < with_members(extensions, &[]).ok()?.len();
    if has_it {
        return None;
    }
    let extensions = with_members(extensions, &[(EXTENSION, "{}")]).ok()?;
    let capabilities = with_members(found.capabilities.get(), &[("extensions", &extensions)]).ok()?;
    let at = span_of(message.raw(), found.capabilities.get());
    let (before, after) = (message.raw().get(..at.start)?, message.raw().get(at.end..)?);
    Some([before, &capabilities, after].concat())
}

#[derive(Deserialize)]
struct Discovered<'a> {
    #[serde(borrow)]
    capabilities: &'a RawValue,
}

#[derive(Deserialize)]
struct Extended<'a> {
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
}

/// Reads an object and nothing else: derived structs would take an array for one.
fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}
