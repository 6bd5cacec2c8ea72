//! What the index keeps of a payload: the gateway's fields, and the beginnings of the texts in the body.

use std::borrow::Cow;

use ledger::{Kind, Leaf, Payload};
use serde::Deserialize;

/// How much of the arguments is kept.
const ARGS: usize = 16 << 10;
/// How much of an error's or a result's text is kept.
const TEXT: usize = 4 << 10;
/// A result larger than this is not parsed to find its text; its beginning is kept as it is.
const PARSED: usize = 64 << 10;
/// Names and reasons longer than this are cut.
const NAME: usize = 1 << 10;

/// What the index keeps of a record's payload: small, however large the payload is.
#[derive(Debug)]
pub struct Facts(pub(crate) Kept);

#[derive(Debug)]
pub(crate) enum Kept {
    Asked(Box<Asked>),
    Answer(Box<Answer>),
}

impl Asked {
    /// Whether a server sent what neither asks nor answers anything, and it was withheld: no call that somebody was denied.
    pub(crate) fn is_stray(&self, leaf: &Leaf) -> bool {
        let from_server = self.direction.as_deref() == Some("server");
        leaf.kind == Kind::Refused && leaf.reference.is_none() && from_server && self.method.is_none()
    }
}

impl Facts {
    /// The facts of a record; `None` if its payload has none that the index keeps.
    #[must_use]
    pub fn of(leaf: &Leaf, payload: &Payload) -> Option<Facts> {
        Some(Facts(match leaf.kind {
            Kind::SessionOpen => Kept::Asked(Box::new(Asked::of_run(payload))),
            _ if ends_call(leaf) => Kept::Answer(Box::new(Answer::of(payload, ending(leaf)))),
            _ if begins_row(leaf.kind) => Kept::Asked(Box::new(Asked::of(payload))),
            _ => return None,
        }))
    }

    /// Whether the payload of such a record is wanted at all.
    #[must_use]
    pub fn are_in(leaf: &Leaf) -> bool {
        leaf.kind == Kind::SessionOpen || ends_call(leaf) || begins_row(leaf.kind)
    }
}

fn begins_row(kind: Kind) -> bool {
    let step = matches!(kind, Kind::ApprovalReq | Kind::ApprovalGrant | Kind::ApprovalDeny);
    step || matches!(kind, Kind::Intent | Kind::Refused | Kind::Note)
}

fn ends_call(leaf: &Leaf) -> bool {
    let refused = leaf.kind == Kind::Refused && leaf.reference.is_some();
    refused || matches!(leaf.kind, Kind::Outcome | Kind::OutcomeUnknown)
}

/// How a call ended, by the record that ends it.
pub(crate) fn ending(leaf: &Leaf) -> &'static str {
    match leaf.status {
        _ if leaf.kind == Kind::Refused => "refused",
        Some(status) => status.as_str(),
        None => "unknown",
    }
}

/// What an intent, a refusal or a one-way message says.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) principal: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) agent_version: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) transport: Option<String>,
    pub(crate) era: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) direction: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) http_status: Option<u16>,
    pub(crate) bytes: Option<u64>,
    pub(crate) args: Option<String>,
    pub(crate) args_whole: bool,
}

impl Asked {
    pub(crate) fn of(payload: &Payload) -> Asked {
        let args = span(payload, "arguments").or_else(|| span(payload, "params"));
        let whole = args
            .is_some_and(|a| a.len() <= ARGS && serde_json::from_slice::<serde::de::IgnoredAny>(a).is_ok());
        Asked {
            transport: text(payload, "transport"),
            direction: text(payload, "direction"),
            method: text(payload, "method"),
            name: text(payload, "name"),
            reason: text(payload, "reason"),
            trace: trace(payload),
            http_status: http_status(payload),
            bytes: u64::try_from(payload.body.len()).ok(),
            args: args.map(|a| beginning(a, ARGS)),
            args_whole: whole,
            ..Asked::of_run(payload)
        }
    }

    /// Only what tells one run from another.
    pub(crate) fn of_run(payload: &Payload) -> Asked {
        let (agent, agent_version) = agent(payload);
        Asked {
            principal: text(payload, "principal"),
            agent,
            agent_version,
            server: text(payload, "server"),
            era: text(payload, "era"),
            version: text(payload, "version"),
            rule: text(payload, "rule"),
            ..Asked::default()
        }
    }
}

/// What an outcome says.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) bytes: Option<u64>,
    pub(crate) http_status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) reason: Option<String>,
}

impl Answer {
    pub(crate) fn of(payload: &Payload, status: &str) -> Answer {
        let result = span(payload, "result").map(result_text);
        let error = span(payload, "error").map(error_text);
        let (error, result) = if status == "tool_error" { (error.or(result), None) } else { (error, result) };
        Answer {
            bytes: u64::try_from(payload.body.len()).ok(),
            http_status: http_status(payload),
            error,
            result,
            reason: text(payload, "reason"),
        }
    }
}

#[derive(Deserialize)]
struct Agent<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Trace<'a> {
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ToolResult<'a> {
    #[serde(borrow)]
    content: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Failure<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

fn agent(payload: &Payload) -> (Option<String>, Option<String>) {
    let Some(raw) = payload.value("agent") else { return (None, None) };
    let owned = |t: Option<Cow<'_, str>>| t.map(|t| beginning(t.as_bytes(), NAME));
    match serde_json::from_str::<Agent<'_>>(raw) {
        Ok(agent) => (owned(agent.name), owned(agent.version)),
        Err(_) => (serde_json::from_str(raw).ok(), None),
    }
}

/// The trace id of a `traceparent` (W3C Trace Context §3.2: version, trace id, parent id, flags).
fn trace(payload: &Payload) -> Option<String> {
    let trace: Trace<'_> = serde_json::from_str(payload.value("trace")?).ok()?;
    let parent = trace.traceparent?;
    let id = parent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}

fn http_status(payload: &Payload) -> Option<u16> {
    serde_json::from_str(payload.value("http_status")?).ok()
}

fn text(payload: &Payload, field: &str) -> Option<String> {
    let text: Cow<'_, str> = serde_json::from_str::<Text<'_>>(payload.value(field)?).ok()?.0;
    Some(beginning(text.as_bytes(), NAME))
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn span<'a>(payload: &'a Payload, name: &str) -> Option<&'a [u8]> {
    payload.body.get(payload.spans.get(name)?.clone())
}

/// The texts of a tool's result, else its JSON.
fn result_text(raw: &[u8]) -> String {
    let small = raw.get(..).filter(|r| r.len() <= PARSED);
    match small.and_then(|r| serde_json::from_slice::<ToolResult<'_>>(r).ok()) {
        Some(result) if result.content.iter().any(|item| item.text.is_some()) => {
            let mut out = String::new();
            for text in result.content.into_iter().filter_map(|item| item.text) {
                if !out.is_empty() {
                    out.push('\n');
                }
                out.push_str(&text);
                if out.len() >= TEXT {
                    break;
                }
            }
            beginning(out.as_bytes(), TEXT)
        }
        _ => beginning(raw, TEXT),
    }
}

/// The message of a JSON-RPC error, else its JSON.
fn error_text(raw: &[u8]) -> String {
    match serde_json::from_slice::<Failure<'_>>(raw) {
        Ok(failure) => beginning(failure.message.as_bytes(), TEXT),
        Err(_) => beginning(raw, TEXT),
    }
}

/// At most `limit` bytes, not cutting through a character; bytes that are no UTF-8 are replaced.
fn beginning(bytes: &[u8], limit: usize) -> String {
    let Some((cut, rest)) = bytes.split_at_checked(limit) else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let continues = |b: &u8| b & 0b1100_0000 == 0b1000_0000;
    let torn = if rest.first().is_some_and(continues) {
        cut.iter().rev().take_while(|b| continues(b)).count() + 1
    } else {
        0
    };
    let whole = cut.get(..cut.len().saturating_sub(torn)).unwrap_or(cut);
    String::from_utf8_lossy(whole).into_owned()
}
