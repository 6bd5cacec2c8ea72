//! The few members of params and results that a gateway reads, found without building a model of the rest.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::message::IdBuf;
use crate::page::Lists;

/// Key of the protocol version in a stateless request's `_meta` (MCP 2026-07-28, basic/index).
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// What is read of a request's or notification's params. Members of an unexpected type read as absent: the server decides
/// on them.
#[derive(Debug, Default)]
pub struct Params<'a> {
    members: RawParams<'a>,
    meta: Meta<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct RawParams<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uri: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "taskId")]
    task_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cursor: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "clientInfo")]
    client_info: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "protocolVersion")]
    protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestId")]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputResponses")]
    input_responses: Option<&'a RawValue>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default)]
    notifications: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientInfo")]
    client_info: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/subscriptionId")]
    subscription_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    traceparent: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tracestate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    baggage: Option<&'a RawValue>,
}

impl<'a> Params<'a> {
    /// The tasks extension's name in capabilities (SEP-2663).
    pub const TASKS: &'static str = "io.modelcontextprotocol/tasks";

    /// Reads them; params that are no object read as empty.
    pub fn of(params: &'a RawValue) -> Params<'a> {
        let members: RawParams<'a> = object(params).unwrap_or_default();
        let meta = members.meta.and_then(object).unwrap_or_default();
        Params { members, meta }
    }

    /// Tool or prompt name.
    pub fn name(&self) -> Option<String> {
        text(self.members.name)
    }

    /// Resource URI.
    pub fn uri(&self) -> Option<String> {
        text(self.members.uri)
    }

    /// Task id (2025-11-25 tasks, and the tasks extension).
    pub fn task_id(&self) -> Option<String> {
        text(self.members.task_id)
    }

    /// Where a list is to go on.
    pub fn cursor(&self) -> Option<String> {
        text(self.members.cursor)
    }

    /// Arguments as they came.
    pub fn arguments(&self) -> Option<&'a RawValue> {
        self.members.arguments
    }

    /// Protocol version: of a stateless request's `_meta`.
    pub fn meta_version(&self) -> Option<String> {
        text(self.meta.version)
    }

    /// Protocol version that `initialize` asks for.
    pub fn protocol_version(&self) -> Option<String> {
        text(self.members.protocol_version)
    }

    /// What the client says of itself, JSON as it came: of `initialize`, or of a stateless request's `_meta`.
    pub fn client_info(&self) -> Option<&'a str> {
        self.members.client_info.or(self.meta.client_info).map(RawValue::get)
    }

    /// The token that a request declares for its progress.
    pub fn meta_progress_token(&self) -> Option<IdBuf> {
        self.meta.progress_token.map(|token| IdBuf::of_raw(token.get()))
    }

    /// The token that a progress notification names.
    pub fn progress_token(&self) -> Option<IdBuf> {
        self.members.progress_token.map(|token| IdBuf::of_raw(token.get()))
    }

    /// The subscription that a notification belongs to (2026-07-28 `subscriptions/listen`).
    pub fn subscription_id(&self) -> Option<IdBuf> {
        self.meta.subscription_id.map(|id| IdBuf::of_raw(id.get()))
    }

    /// The request that `notifications/cancelled` names.
    pub fn request_id(&self) -> Option<IdBuf> {
        self.members.request_id.map(|id| IdBuf::of_raw(id.get()))
    }

    /// The lists of whose changes `subscriptions/listen` wants to be told (2026-07-28).
    pub fn list_changes(&self) -> Lists {
        let wanted: Wanted<'_> = self.members.notifications.and_then(object).unwrap_or_default();
        Lists { tools: is(wanted.tools), prompts: is(wanted.prompts), resources: is(wanted.resources) }
    }

    /// What its user did when asked under that key in an earlier round: `accept`, `decline`, `cancel`.
    pub fn input_action(&self, key: &str) -> Option<String> {
        let responses: BTreeMap<String, &RawValue> = self.members.input_responses.and_then(object)?;
        ResultView::of(responses.get(key)?).user_action()
    }

    /// Whether the client says, in `initialize` or in a stateless request's `_meta`, that its user can be led to an address
    /// (MCP 2025-11-25 and 2026-07-28, client/elicitation, "URL mode").
    pub fn leads_to_urls(&self) -> bool {
        let capabilities = self.members.capabilities.or(self.meta.capabilities);
        let declared: Option<Elicits<'_>> = capabilities.and_then(object);
        let modes: Option<Modes<'_>> = declared.and_then(|one| one.elicitation).and_then(object);
        modes.is_some_and(|modes| modes.url.is_some_and(|url| url.get().starts_with('{')))
    }

    /// Whether the client says in a stateless request's `_meta` that an answer may be a task (SEP-2663).
    pub fn takes_tasks(&self) -> bool {
        let declared: Option<Extends<'_>> = self.meta.capabilities.and_then(object);
        let extensions: Option<BTreeMap<String, &RawValue>> =
            declared.and_then(|declared| declared.extensions).and_then(object);
        extensions.is_some_and(|extensions| {
            extensions.get(Self::TASKS).is_some_and(|settings| settings.get().starts_with('{'))
        })
    }

    /// What its user answers what a task asks: JSON by the keys that it asked under.
    pub fn input_responses(&self) -> BTreeMap<String, &'a RawValue> {
        self.members.input_responses.and_then(object).unwrap_or_default()
    }

    /// W3C trace context of `_meta` (SEP-414): `traceparent`, `tracestate`, `baggage`, each JSON as it came.
    pub fn trace(&self) -> [(&'static str, Option<&'a str>); 3] {
        [
            ("traceparent", self.meta.traceparent.map(RawValue::get)),
            ("tracestate", self.meta.tracestate.map(RawValue::get)),
            ("baggage", self.meta.baggage.map(RawValue::get)),
        ]
    }
}

#[derive(Deserialize)]
struct Extends<'a> {
    #[serde(borrow, default)]
    extensions: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Elicits<'a> {
    #[serde(borrow, default)]
    elicitation: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Modes<'a> {
    #[serde(borrow, default)]
    url: Option<&'a RawValue>,
}

/// What is read of a result.
#[derive(Debug, Default, Deserialize)]
pub struct ResultView<'a> {
    #[serde(borrow, default, rename = "isError")]
    is_error: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "resultType")]
    result_type: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "protocolVersion")]
    protocol_version: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "inputRequests")]
    input_requests: Option<&'a RawValue>,
    #[serde(borrow, default)]
    action: Option<&'a RawValue>,
}

impl<'a> ResultView<'a> {
    /// Reads it; a result that is no object reads as empty.
    pub fn of(result: &'a RawValue) -> ResultView<'a> {
        object(result).unwrap_or_default()
    }

    /// Whether a tool says that it failed.
    pub fn is_error(&self) -> bool {
        self.is_error.is_some_and(|value| value.get() == "true")
    }

    /// What a user did when asked: `accept`, `decline`, `cancel`.
    pub fn user_action(&self) -> Option<String> {
        text(self.action)
    }

    /// Whether the server needs more before it can answer (2026-07-28).
    pub fn is_input_required(&self) -> bool {
        text(self.result_type).as_deref() == Some("input_required")
    }

    /// Whether it names what the server asks of the client: before it can answer, or within a task.
    pub fn asks_back(&self) -> bool {
        self.input_requests.is_some()
    }

    /// Whether the server answers with a task of its own (SEP-2663).
    pub fn is_task(&self) -> bool {
        text(self.result_type).as_deref() == Some("task")
    }

    /// What the server asks, JSON as it came by its own keys.
    pub fn raw_input_requests(&self) -> BTreeMap<String, &'a RawValue> {
        self.input_requests.and_then(object).unwrap_or_default()
    }

    /// The version that the server chose in `initialize`.
    pub fn protocol_version(&self) -> Option<String> {
        text(self.protocol_version)
    }

    /// The lists of whose changes a server says in `initialize` that it tells.
    pub fn list_changes(&self) -> Lists {
        let capabilities: Capabilities<'_> = self.capabilities.and_then(object).unwrap_or_default();
        let of = |one: Option<&'a RawValue>| {
            let capability: Option<Capability<'_>> = one.and_then(object);
            capability.is_some_and(|capability| is(capability.list_changed))
        };
        Lists {
            tools: of(capabilities.tools),
            prompts: of(capabilities.prompts),
            resources: of(capabilities.resources),
        }
    }

    /// What the server asks of the client before it can answer (2026-07-28, patterns/mrtr): methods and params. `None` if that
    /// cannot be read.
    pub fn input_requests(&self) -> Option<Vec<InputRequest<'a>>> {
        let Some(requests) = self.input_requests else { return Some(Vec::new()) };
        let requests: BTreeMap<String, &'a RawValue> = object(requests)?;
        requests.into_values().map(object).collect()
    }

    /// The tools of a `tools/list` page. What is no tool is passed over.
    pub fn tools(&self) -> Vec<ToolView<'a>> {
        let tools: Option<Vec<&'a RawValue>> =
            self.tools.and_then(|tools| serde_json::from_str(tools.get()).ok());
        tools.unwrap_or_default().into_iter().filter_map(object).collect()
    }
}

/// What is read of an error.
#[derive(Default, Deserialize)]
struct ErrorView<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Elicitations<'a> {
    #[serde(borrow, default)]
    elicitations: Vec<&'a RawValue>,
}

impl<'a> InputRequest<'a> {
    /// What a server asks by an error that has the client send its user to addresses before it asks again (2025-11-25,
    /// client/elicitation, "URL Elicitation Required Error"), as requests would; none, if it is another error. `None`: that cannot be
    /// read. However the error's number is written: clients compare its value.
    pub fn by_error(error: &'a RawValue) -> Option<Vec<InputRequest<'a>>> {
        let view: ErrorView<'a> = object(error).unwrap_or_default();
        let code = view.code.and_then(|code| serde_json::from_str::<f64>(code.get()).ok());
        if !code.is_some_and(|code| (code - URL_ELICITATION_REQUIRED).abs() < 0.5) {
            return Some(Vec::new());
        }
        let named: Elicitations<'a> = view.data.map_or_else(|| Some(Elicitations::default()), object)?;
        let asked = |params| InputRequest { method: "elicitation/create".to_owned(), params: Some(params) };
        Some(named.elicitations.into_iter().map(asked).collect())
    }
}

const URL_ELICITATION_REQUIRED: f64 = -32042.0;

/// What is read of the notifications that `subscriptions/listen` names.
#[derive(Default, Deserialize)]
struct Wanted<'a> {
    #[serde(borrow, default, rename = "toolsListChanged")]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "promptsListChanged")]
    prompts: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "resourcesListChanged")]
    resources: Option<&'a RawValue>,
}

/// What is read of a server's capabilities.
#[derive(Default, Deserialize)]
struct Capabilities<'a> {
    #[serde(borrow, default)]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prompts: Option<&'a RawValue>,
    #[serde(borrow, default)]
    resources: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Capability<'a> {
    #[serde(borrow, default, rename = "listChanged")]
    list_changed: Option<&'a RawValue>,
}

fn is(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}

/// What a server asks of the client in its answer.
#[derive(Debug, Deserialize)]
pub struct InputRequest<'a> {
    /// As that of a request.
    pub method: String,
    /// As those of a request.
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
}

/// What is read of a tool's definition.
#[derive(Debug, Deserialize)]
pub struct ToolView<'a> {
    /// Its name.
    pub name: String,
    /// Its arguments' JSON Schema as it came.
    #[serde(borrow, default, rename = "inputSchema")]
    pub input_schema: Option<&'a RawValue>,
}

/// Where `part`, borrowed from `whole`, stands in it. Empty if it is not from there.
pub fn span_of(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
    match start.checked_add(part.len()) {
        Some(end) if end <= whole.len() => start..end,
        _ => 0..0,
    }
}

/// Reads an object. Derived structs read arrays too, member by member in their order, which no other parser does.
fn object<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

fn text(value: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(value?.get()).ok()
}
