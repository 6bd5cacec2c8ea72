//! The tasks extension of 2026-07-28 (SEP-2663): what a gateway reads and writes that answers calls with tasks of its own.
//!
//! A call that is made later is made of its request's params as they came, but for two members of `_meta`: the progress token,
//! whose request is answered by then, and the word that the answer may be a task, since it is one already.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::edit::{EditError, with_members, without};
use crate::fields::{Params, span_of};
use crate::message::{Answer, Kind, Message};

/// The method whose answer may be a task.
const CALL: &str = "tools/call";

const META: &str = "_meta";

const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

impl Message<'_> {
    /// The params of a call as they are when it is made later; `None`: it is no call whose answer may be a task, or its client does
    /// not say so.
    pub fn deferred(&self) -> Option<String> {
        let Kind::Request { method, params: Some(params), .. } = self.kind() else { return None };
        if method != CALL || !Params::of(params).takes_tasks() {
            return None;
        }
        let params = without(params.get(), &[META, "progressToken"]).ok()?;
        without(&params, &[META, CAPABILITIES, "extensions", Params::TASKS]).ok()
    }

    /// The text of a call that was deferred, with these params and under that id; `more`: members of the params, JSON, that a
    /// later round brings.
    ///
    /// # Errors
    /// [`EditError::NoParams`] for params that are no object.
    pub fn of_deferred(id: &str, params: &str, more: &[(&str, &str)]) -> Result<String, EditError> {
        let params = with_members(params, more)?;
        let id = serde_json::Value::from(id);
        Ok(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{CALL}","params":{params}}}"#))
    }

    /// A server's account of itself (the answer to `server/discover`) that says it answers with tasks; `None`: it says so already,
    /// or is no such account.
    pub fn declaring_tasks(&self) -> Option<String> {
        let Kind::Response { outcome: Answer::Result(result), .. } = self.kind() else { return None };
        let found: Discovered<'_> = object(result)?;
        let extended: Extended<'_> = object(found.capabilities)?;
        let extensions = extended.extensions.map_or("{}", RawValue::get);
        let others = without(extensions, &[Params::TASKS]).ok()?;
        if others != with_members(extensions, &[]).ok()? {
            return None;
        }
        let extensions = with_members(&others, &[(Params::TASKS, "{}")]).ok()?;
        let capabilities = with_members(found.capabilities.get(), &[("extensions", &extensions)]).ok()?;
        let at = span_of(self.raw(), found.capabilities.get());
        let (before, after) = (self.raw().get(..at.start)?, self.raw().get(at.end..)?);
        Some([before, &capabilities, after].concat())
    }
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
