//! Changing a message without writing it anew: every byte that is not edited stays.

use crate::fields::span_of;
use crate::message::{Answer, Kind, Message};
use serde_json::value::RawValue;

/// Why an edit cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The message has no object that could hold `_meta`.
    #[error("the message has no place for `_meta`")]
    NoPlace,
}

/// Puts a member into the `_meta` of a request's params or of a result, making `_meta` where there is none. `value` is JSON. A
/// member of that key is replaced.
///
/// # Errors
/// [`EditError::NoPlace`] for errors, for results that are no object, and for requests without params.
pub fn set_meta(message: &Message<'_>, key: &str, value: &str) -> Result<String, EditError> {
    let holder = match message.kind() {
        Kind::Request { params: Some(params), .. } | Kind::Notification { params: Some(params), .. } => {
            *params
        }
        Kind::Response { outcome: Answer::Result(result), .. } => *result,
        _ => return Err(EditError::NoPlace),
    };
    let member = format!("{}:{value}", serde_json::Value::from(key));
    let found = member_of(holder, "_meta");
    let (range, text) = match found {
        Some(meta) if meta.get().starts_with('{') => match member_of(meta, key) {
            Some(old) => (span_of(message.raw(), old.get()), value.to_owned()),
            None => into_object(message.raw(), meta, &member)?,
        },
        Some(_) => return Err(EditError::NoPlace),
        None => into_object(message.raw(), holder, &format!("\"_meta\":{{{member}}}"))?,
    };
    let raw = message.raw();
    let (before, after) = (raw.get(..range.start), raw.get(range.end..));
    match (before, after) {
        (Some(before), Some(after)) => Ok([before, &text, after].concat()),
        _ => Err(EditError::NoPlace),
    }
}

/// The edit that puts a member first into an object.
fn into_object(
    raw: &str,
    object: &RawValue,
    member: &str,
) -> Result<(std::ops::Range<usize>, String), EditError> {
    let inside = object.get().strip_prefix('{').ok_or(EditError::NoPlace)?;
    let at = span_of(raw, object.get()).start + 1;
    let is_empty = inside.trim_start().starts_with('}');
    let text = if is_empty { member.to_owned() } else { format!("{member},") };
    Ok((at..at, text))
}

fn member_of<'a>(object: &'a RawValue, key: &str) -> Option<&'a RawValue> {
    let members: std::collections::HashMap<String, &'a RawValue> = serde_json::from_str(object.get()).ok()?;
    members.get(key).copied()
}
