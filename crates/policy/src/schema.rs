//! The Cedar schema that policies are checked against: one model, and for each tool the type of its arguments.

use cedar_policy::Schema;
use serde_json::{Value, json};

use crate::typing::Fields;

/// What can be asked about, with the types of resource that it is asked of.
pub(crate) const ACTIONS: [(&str, &[&str]); 10] = [
    ("tools/call", &["Tool"]),
    ("resources/read", &["Resource"]),
    ("resources/subscribe", &["Resource"]),
    ("prompts/get", &["Prompt"]),
    ("completion/complete", &["Prompt", "Resource"]),
    ("sampling/createMessage", &["Server"]),
    ("elicitation/create", &["Server"]),
    ("roots/list", &["Server"]),
    ("tasks", &["Server"]),
    ("other", &["Server"]),
];

/// What has arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Callable {
    Tool,
    Prompt,
}

impl Callable {
    pub(crate) fn action(self) -> &'static str {
        match self {
            Callable::Tool => "tools/call",
            Callable::Prompt => "prompts/get",
        }
    }

    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Callable::Tool => "Tool",
            Callable::Prompt => "Prompt",
        }
    }
}

/// The model for policies that do not look at arguments.
pub(crate) fn without_arguments() -> Value {
    model(|action| Some(context(action, None)))
}

/// The model for what policies that look at arguments say of calls without any.
pub(crate) fn of_other_actions() -> Value {
    model(|action| match action {
        "tools/call" | "prompts/get" => None,
        _ => Some(context(action, None)),
    })
}

/// The model for what policies say of calls with these arguments. Small, since there is one for each tool.
pub(crate) fn with_arguments(callable: Callable, fields: &Fields) -> Value {
    model(|action| (action == callable.action()).then(|| context(action, Some(fields.to_cedar()))))
}

/// Reads a schema made here.
pub(crate) fn read(model: Value) -> Result<Schema, String> {
    Schema::from_json_value(model).map_err(|error| error.to_string())
}

/// A model in which the actions for which there is a context apply. The others are known and apply to nothing.
fn model(context_of: impl Fn(&str) -> Option<Value>) -> Value {
    let actions = ACTIONS.iter().map(|(action, resources)| {
        let applies = context_of(action).map(|context| {
            json!({ "appliesTo": {
                "principalTypes": ["User", "Service"], "resourceTypes": resources, "context": context,
            } })
        });
        ((*action).to_owned(), applies.unwrap_or_else(|| json!({})))
    });
    let actions: serde_json::Map<String, Value> = actions.collect();
    json!({ "": { "entityTypes": entity_types(), "actions": actions } })
}

fn entity_types() -> Value {
    let principal = json!({ "memberOfTypes": ["Group", "Run"] });
    let text = json!({ "type": "String" });
    let hint = json!({ "type": "Boolean" });
    let of_server = |attributes: Value| json!({ "memberOfTypes": ["Server"], "shape": { "type": "Record", "attributes": attributes } });
    json!({
        "User": principal,
        "Service": principal,
        "Group": {},
        "Agent": {},
        "Run": {},
        "Server": {},
        "Tool": of_server(json!({
            "name": text, "server": text,
            "read_only": hint, "destructive": hint, "idempotent": hint, "open_world": hint,
        })),
        "Resource": of_server(json!({ "uri": text, "scheme": text, "server": text })),
        "Prompt": of_server(json!({ "name": text, "server": text })),
    })
}

fn context(action: &str, arguments: Option<Value>) -> Value {
    let text = json!({ "type": "String" });
    let texts = json!({ "type": "Set", "element": { "type": "String" } });
    let long = json!({ "type": "Long" });
    let agent = json!({ "type": "Entity", "name": "Agent" });
    let record = |attributes: Value| json!({ "type": "Record", "attributes": attributes });
    let mut attributes = json!({
        "run": record(json!({
            "id": text, "age": long, "calls": long, "depth": long, "scope": texts,
            "purpose": { "type": "String", "required": false },
            "verified": { "type": "Boolean" },
            "agents": { "type": "Set", "element": agent },
            "agent": { "type": "Entity", "name": "Agent", "required": false },
        })),
        "time": { "type": "Extension", "name": "datetime" },
        "hour": long,
        "weekday": long,
        "client": record(json!({ "name": text, "version": text })),
        "network": { "type": "Extension", "name": "ipaddr", "required": false },
    });
    if let Some(members) = attributes.as_object_mut() {
        if let Some(arguments) = arguments {
            members.insert("arguments".to_owned(), arguments);
        }
        match action {
            "tools/call" | "prompts/get" => drop(members.insert("unlisted".to_owned(), texts)),
            "tasks" | "other" => drop(members.insert("method".to_owned(), text)),
            _ => {}
        }
    }
    record(attributes)
}
