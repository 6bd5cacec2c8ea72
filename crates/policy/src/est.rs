//! Policies in Cedar's JSON format, where their conditions can be taken apart.

use cedar_policy::{Policy, PolicyId};
use serde_json::{Value, json};

use crate::scan::quoted;

/// A policy without the conditions for which `leave_out` holds.
pub(crate) fn without(policy: &Policy, leave_out: impl Fn(&Value) -> bool) -> Result<Policy, String> {
    let mut json = policy.to_json().map_err(|error| error.to_string())?;
    if let Some(conditions) = json.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| !leave_out(condition));
    }
    Policy::from_json(Some(policy.id().clone()), json).map_err(|error| error.to_string())
}

/// The conditions of a policy, in order.
pub(crate) fn conditions(policy: &Policy) -> Vec<Value> {
    let json = policy.to_json().ok();
    json.and_then(|mut json| json.get_mut("conditions").map(Value::take))
        .and_then(|conditions| conditions.as_array().cloned())
        .unwrap_or_default()
}

/// A permit of everything under one condition.
pub(crate) fn alone(condition: &Value) -> Result<Policy, String> {
    let any = json!({ "op": "All" });
    let json = json!({
        "effect": "permit", "principal": any, "action": any, "resource": any, "conditions": [condition],
    });
    Policy::from_json(Some(PolicyId::new("0")), json).map_err(|error| error.to_string())
}

/// The attributes that an expression reads, as they are written in Cedar.
pub(crate) fn reads(expression: &Value, found: &mut Vec<String>) {
    if let Some(path) = path(expression).filter(|path| path.contains(['.', '['])) {
        if !found.contains(&path) {
            found.push(path);
        }
        return;
    }
    // Whether something is there is told by the condition; the whole that it may be in is too much to show.
    if expression.get("has").and_then(|has| has.get("left")).is_some_and(|left| path(left).is_some()) {
        return;
    }
    match expression {
        Value::Array(parts) => parts.iter().for_each(|part| reads(part, found)),
        Value::Object(members) => members.values().for_each(|part| reads(part, found)),
        _ => {}
    }
}

/// A chain of attributes from a variable.
fn path(expression: &Value) -> Option<String> {
    if let Some(name) = expression.get("Var") {
        return name.as_str().map(str::to_owned);
    }
    let access = expression.get(".")?;
    let left = path(access.get("left")?)?;
    let attribute = access.get("attr")?.as_str()?;
    let is_word = attribute.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && attribute.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED.contains(&attribute);
    Some(if is_word { format!("{left}.{attribute}") } else { format!("{left}[{}]", quoted(attribute)) })
}

/// Words that cannot name an attribute after a dot.
const RESERVED: [&str; 10] = ["true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"];
