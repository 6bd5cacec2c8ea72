//! Changing a message without writing it anew: every byte that is not edited stays.

use crate::fields::span_of;
use crate::message::{Answer, Kind, Message};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why an edit cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The request has no object of params that JSON parsers read alike.
    #[error("the request's params cannot be edited")]
    NoParams,
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

impl Message<'_> {
    /// The request without these members of its params, whether they are there or not.
    ///
    /// # Errors
    /// [`EditError::NoParams`] for all but requests whose params are an object.
    pub fn without_params(&self, names: &[&str]) -> Result<String, EditError> {
        let Kind::Request { params: Some(params), .. } = self.kind() else { return Err(EditError::NoParams) };
        let raw = self.raw();
        let members: Members<'_> = serde_json::from_str(params.get()).map_err(|_| EditError::NoParams)?;
        // Each member from the end of the one before it: its comma, where it has one, its name and its value.
        let first = span_of(raw, params.get()).start + 1;
        let mut pieces = Vec::new();
        let mut from = first;
        for (name, value) in &members.0 {
            let end = span_of(raw, value.get()).end;
            let piece = raw.get(from..end).ok_or(EditError::NoParams)?;
            if !names.contains(&name.as_str()) {
                pieces.push(piece);
            }
            from = end;
        }
        let (Some(before), Some(after)) = (raw.get(..first), raw.get(from..)) else {
            return Err(EditError::NoParams);
        };
        // What is first now has no comma before it.
        if let Some(first) = pieces.first_mut()
            && let Some(bare) = first.trim_start().strip_prefix(',')
        {
            *first = bare;
        }
        Ok([before, &pieces.concat(), after].concat())
    }
}

/// An object without what stands at a path of names, whether it is there or not. Other members stay as they came.
pub(crate) fn without(object: &str, path: &[&str]) -> Result<String, EditError> {
    let Some((name, below)) = path.split_first() else { return Ok(object.to_owned()) };
    let mut kept = Vec::new();
    for (member, value) in members(object)?.0 {
        let value = match (member == *name, below.is_empty()) {
            (true, true) => continue,
            // Below what is no object nothing stands.
            (true, false) => without(value.get(), below).unwrap_or_else(|_| value.get().to_owned()),
            (false, _) => value.get().to_owned(),
        };
        kept.push(format!("{}:{value}", serde_json::Value::from(member)));
    }
    Ok(format!("{{{}}}", kept.join(",")))
}

/// An object with these members, JSON texts, after its others.
pub(crate) fn with_members(object: &str, more: &[(&str, &str)]) -> Result<String, EditError> {
    let others = members(object)?.0.into_iter().filter(|(name, _)| more.iter().all(|(new, _)| new != name));
    let others = others.map(|(name, value)| format!("{}:{}", serde_json::Value::from(name), value.get()));
    let more = more.iter().map(|(name, value)| format!("{}:{value}", serde_json::Value::from(*name)));
    let all: Vec<String> = others.chain(more).collect();
    Ok(format!("{{{}}}", all.join(",")))
}

fn members(object: &str) -> Result<Members<'_>, EditError> {
    serde_json::from_str(object).map_err(|_| EditError::NoParams)
}

/// The members of an object in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
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
