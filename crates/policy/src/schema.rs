//! The Cedar schema that policies are checked against: one model, and for each tool the type of its arguments.

use cedar_policy::Schema;

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
pub(crate) fn without_arguments() -> String {
    model(|_| Some(String::new()))
}

/// The model for what policies that look at arguments say of calls without any.
pub(crate) fn of_other_actions() -> String {
    model(|action| if ["tools/call", "prompts/get"].contains(&action) { None } else { Some(String::new()) })
}

/// The model for what policies say of calls with these arguments. Small, since there is one for each tool.
pub(crate) fn with_arguments(callable: Callable, fields: &Fields) -> String {
    let arguments = || format!("\n    \"arguments\": {},", fields.to_cedar());
    model(|action| if action == callable.action() { Some(arguments()) } else { None })
}

/// Reads a schema made here.
pub(crate) fn read(model: &str) -> Result<Schema, String> {
    Schema::from_cedarschema_str(model).map(|(schema, _)| schema).map_err(|error| error.to_string())
}

// Attributes are quoted: Cedar starts a parser of its own for each name that is not.
const ENTITIES: &str = r#"
entity Group, Agent, Run, Server;
entity User, Service in [Group, Run];
entity Tool in [Server] {
    "name": String, "server": String,
    "read_only": Bool, "destructive": Bool, "idempotent": Bool, "open_world": Bool,
};
entity Resource in [Server] { "uri": String, "scheme": String, "server": String };
entity Prompt in [Server] { "name": String, "server": String };
"#;

const CONTEXT: &str = r#"
    "run": {
        "id": String, "age": Long, "calls": Long, "depth": Long, "scope": Set<String>, "purpose"?: String,
        "verified": Bool, "agents": Set<Agent>, "agent"?: Agent,
    },
    "time": datetime, "hour": Long, "weekday": Long,
    "client": { "name": String, "version": String },
    "network"?: ipaddr,"#;

/// A model in which the actions for which there is a text apply, with that text in their context. The others are known
/// and apply to nothing.
fn model(context_of: impl Fn(&str) -> Option<String>) -> String {
    let mut out = ENTITIES.to_owned();
    for (action, resources) in ACTIONS {
        out.push_str(&format!("action \"{action}\""));
        if let Some(more) = context_of(action) {
            let own = match action {
                "tools/call" | "prompts/get" => "\n    \"unlisted\": Set<String>,",
                "tasks" | "other" => "\n    \"method\": String,",
                _ => "",
            };
            let resources = resources.join(", ");
            out.push_str(&format!(
                " appliesTo {{ principal: [User, Service], resource: [{resources}], context: {{{CONTEXT}{own}{more}\n}} }}"
            ));
        }
        out.push_str(";\n");
    }
    out
}
