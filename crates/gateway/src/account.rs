//! What the record says of a message: who sent what, to whom, in which words of the protocol.
//!
//! Only names and structure are picked out; the message itself is kept whole, as the body. Headers come from an
//! allow-list, so no credential can enter by them.

use bytes::Bytes;
use http::StatusCode;
use ledger::Status;
use ledger::payload::{Fields, Spans};
use mcp::fields::{Params, ResultView};
use mcp::message::{Answer, Kind, Message};
use mcp::method::{Method, Target};
use recorder::{Account, Body, Note, Outcome};
use serde_json::value::RawValue;

use policy::Recording;
use policy::pin::Names;
use store::state::Pin;

use crate::content::Content;
use crate::holds::Under;
use crate::judge::Judged;
use crate::listen::guard;
use crate::pipeline::Sent;
use crate::scope::{NO_SERVER, Scope};
use crate::shown::Shown;

/// Who sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    /// The other one.
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

/// A JSON text of a string.
pub(crate) fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    ledger::json::push_string(&mut out, text);
    out
}

/// The account of a request or notification.
pub(crate) fn of_message(scope: &Scope, message: &Message<'_>, sent: &Sent<'_>) -> Account {
    let mut fields = of_scope(scope, sent.side);
    if let Some(headers) = sent.headers {
        fields.insert("headers".into(), guard::recorded(headers));
    }
    let mut spans = Spans::new();
    if let Kind::Request { method, params, .. } | Kind::Notification { method, params } = message.kind() {
        fields.insert("method".into(), json_text(method));
        if let Some(params) = params {
            let view = Params::of(params);
            add_params(&mut fields, method, &view);
            spans = spans_of(message, (params, &view), sent.content);
        }
    }
    if let Kind::Request { id, .. } = message.kind() {
        fields.insert("id".into(), id.raw().to_owned());
    }
    account(scope, fields, spans, sent.content.body_of(message))
}

/// The account of a server's notification within a call.
pub(crate) fn of_note(scope: &Scope, message: &Message<'_>, sent: &Sent<'_>) -> Note {
    let account = of_message(scope, message, sent);
    Note { fields: account.fields, spans: account.spans, body: account.body }
}

/// The account of bytes that are no message.
pub(crate) fn of_unparsed(scope: &Scope, side: Side, content: &Content) -> Account {
    account(scope, of_scope(scope, side), Spans::new(), content.body())
}

fn account(scope: &Scope, fields: Fields, spans: Spans, body: Body) -> Account {
    Account {
        run: scope.run,
        call: None,
        round: 0,
        parent: None,
        subject: scope.peer.principal.clone(),
        fields,
        spans,
        body,
    }
}

fn of_scope(scope: &Scope, side: Side) -> Fields {
    let facts = scope.facts();
    let mut fields = Fields::new();
    fields.insert("principal".into(), json_text(&scope.peer.principal));
    if *scope.server != *NO_SERVER {
        fields.insert("server".into(), json_text(&scope.server));
    }
    fields.insert("transport".into(), json_text(scope.transport.as_str()));
    fields.insert("direction".into(), json_text(side.as_str()));
    if let Some(era) = facts.era {
        fields.insert("era".into(), json_text(era.as_str()));
    }
    if let Some(version) = facts.version {
        fields.insert("version".into(), json_text(&version));
    }
    if let Some(agent) = facts.agent {
        fields.insert("agent".into(), agent.to_string());
    }
    if let Some(session) = facts.session {
        fields.insert("session".into(), json_text(&session));
    }
    fields
}

fn add_params(fields: &mut Fields, method: &str, view: &Params<'_>) {
    let name = match Method::of(method).map(|method| method.target) {
        Some(Target::Tool | Target::Prompt) => view.name(),
        Some(Target::Resource) => view.uri(),
        Some(Target::Task) => view.task_id(),
        Some(Target::None) | None => None,
    };
    if let Some(name) = name {
        fields.insert("name".into(), json_text(&name));
    }
    let trace: Vec<String> = view
        .trace()
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{}:{value}", json_text(name))))
        .collect();
    if !trace.is_empty() {
        fields.insert("trace".into(), format!("{{{}}}", trace.join(",")));
    }
}

fn spans_of(message: &Message<'_>, (params, view): (&RawValue, &Params<'_>), content: &Content) -> Spans {
    let parts = [("params", Some(params)), ("arguments", view.arguments())];
    let spans = parts
        .into_iter()
        .filter_map(|(name, part)| Some((name.to_owned(), content.span(message, name, part?.get())?)));
    spans.collect()
}

/// The account of a tool that is new or has changed, as it is pinned now, with what is odd about it.
pub(crate) fn of_pin(scope: &Scope, pin: &Pin, names: &Names) -> Account {
    let mut fields = of_scope(scope, Side::Server);
    fields.insert("method".into(), json_text("tollbook/tool"));
    fields.insert("name".into(), json_text(&pin.tool));
    let (definition, what) = match (&pin.accepted, &pin.waiting) {
        (_, None) => (&pin.accepted, "the tool is pinned as it is"),
        (None, _) => (&pin.waiting, "the tool is new and waits to be accepted"),
        (Some(_), _) => (&pin.waiting, "the tool has changed and waits to be accepted"),
    };
    fields.insert("reason".into(), json_text(what));
    let definition = definition.as_ref();
    fields.extend(definition.map(|side| ("pin".to_owned(), json_text(&side.digest.to_string()))));
    let odd = definition.map(|side| policy::pin::inspect(&side.json)).unwrap_or_default();
    let odd = odd.into_iter().chain(names.like(&pin.server, &pin.tool));
    let findings: Vec<String> = odd.map(|one| format!("{}: {}", one.member, one.text)).collect();
    if !findings.is_empty() {
        fields.insert("findings".into(), json_list(&findings));
    }
    let body = definition.map(|side| Bytes::from(side.json.clone())).unwrap_or_default();
    account(scope, fields, Spans::new(), body.into())
}

/// The account of a notification that is the gateway's own.
pub(crate) fn of_own(scope: &Scope, (method, why): (&str, &str), body: &Bytes) -> Account {
    let mut fields = of_scope(scope, Side::Server);
    fields.insert("method".into(), json_text(method));
    fields.insert("reason".into(), json_text(why));
    account(scope, fields, Spans::new(), body.clone().into())
}

/// Fields that stay where a rule says `none`: which rule said so, and what a reader needs to know which server.
const LEFT: [&str; 4] = ["policies", "recording", "server", "transport"];

/// Leaves out of a record what a policy says: the content, or all but the rule that said so.
pub(crate) fn reduce(recording: Recording, (fields, spans, body): (&mut Fields, &mut Spans, &mut Body)) {
    let word = match recording {
        Recording::Full => return,
        Recording::Metadata => "metadata",
        Recording::None => "none",
    };
    fields.insert("recording".into(), json_text(word));
    if recording == Recording::None {
        fields.retain(|name, _| LEFT.contains(&name.as_str()));
    }
    spans.clear();
    *body = Body::default();
}

/// With what determined a decision: policies, what denies beside them, a hold.
pub(crate) fn with_judgement(mut account: Account, judged: &Judged) -> Account {
    let Judged { by, beside, under, .. } = judged;
    let fields = &mut account.fields;
    if !by.is_empty() {
        fields.insert("policies".into(), json_list(by));
    }
    fields.extend(beside.map(|beside| ("denied_by".to_owned(), json_text(beside.as_str()))));
    fields.extend(under.as_ref().map(|under| ("hold".to_owned(), of_hold(under))));
    account
}

/// With the names that a list was shown without, and the extension that a server was shown with.
pub(crate) fn with_edits(mut outcome: Outcome, shown: &Shown) -> Outcome {
    if !shown.hidden.is_empty() {
        outcome.fields.insert("hidden".into(), json_list(&shown.hidden));
    }
    outcome.fields.extend(shown.added.map(|extension| ("added".to_owned(), json_text(extension))));
    outcome
}

fn json_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| json_text(text)).collect();
    format!("[{}]", texts.join(","))
}

/// How a response ends its call.
pub(crate) fn of_answer(message: &Message<'_>, answer: &Answer<'_>, sent: &Sent<'_>) -> Outcome {
    let (name, value, status) = match answer {
        Answer::Error(error) => ("error", *error, Status::Error),
        Answer::Result(result) => {
            let view = ResultView::of(result);
            let status = if view.is_error() {
                Status::ToolError
            } else if view.is_input_required() {
                Status::InputRequired
            } else {
                Status::Ok
            };
            ("result", *result, status)
        }
    };
    let span = sent.content.span(message, name, value.get());
    let spans = span.map(|span| (name.to_owned(), span)).into_iter().collect();
    Outcome { status, fields: Fields::new(), spans, body: sent.content.body_of(message) }
}

/// The end of a call that no response ended.
pub(crate) fn of_end(status: Status, reason: &str, http_status: Option<StatusCode>, body: Body) -> Outcome {
    let mut fields = Fields::new();
    fields.insert("reason".into(), json_text(reason));
    if let Some(status) = http_status {
        fields.insert("http_status".into(), status.as_u16().to_string());
    }
    Outcome { status, fields, spans: Spans::new(), body }
}

/// What a call was held under or released by, as JSON.
pub(crate) fn of_hold(under: &Under) -> String {
    let Under { hold, asked, by } = under;
    serde_json::json!({"id": hold, "asked": asked.map(|seq| seq.0), "approved_by": by}).to_string()
}
