//! What a client gets when its message does not go on: an HTTP status and a JSON-RPC error that leaks nothing.

use bytes::Bytes;
use http::StatusCode;
use ledger::Status;
use mcp::error::{self, ErrorCode};
use mcp::fields::Params;
use mcp::message::{Frame, IdBuf, Kind, ParseError};
use recorder::RecordError;
use serde_json::json;

use crate::account::Side;
use crate::denial::Denial;
use crate::rules::RulesError;
use crate::taking::AnswerError;
use crate::upstream::LinkError;
use crate::upstream::http::Unreachable;

/// Why a frame does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Reason {
    #[error(transparent)]
    Malformed(#[from] ParseError),
    #[error("batches exist in protocol version 2025-03-26 only; send one message at a time")]
    Batch,
    #[error(transparent)]
    Header(#[from] mcp::header::HeaderMismatch),
    #[error("a call with this id is still open; use a new id")]
    IdInUse,
    #[error("too many calls of this session wait for an answer; let some end first")]
    TooMany,
    #[error("no request with this id waits for an answer")]
    Unasked,
    #[error("nothing was asked that it could answer")]
    Stray,
    #[error("only what begins with `notifications/` may come without an `id`; send an `id` with it")]
    NoNotification,
    #[error("the body is not plain JSON; send `Content-Type: application/json` and no `Content-Encoding`")]
    MediaType,
    #[error(transparent)]
    Body(#[from] crate::listen::body::BodyError),
    #[error("who calls is not known: {0}")]
    Caller(identity::Refused),
    #[error("denied: {0}")]
    Denied(Denial),
    #[error("it cannot be told whether this is allowed: {0}")]
    Unjudged(#[from] RulesError),
    #[error("the server's list cannot be shown: {0}")]
    NoPage(&'static str),
    #[error("the server asks something of the client that is denied: {0}")]
    AskedBack(String),
    #[error("the call was not recorded and therefore not made: {0}")]
    NotRecorded(#[from] RecordError),
    #[error("the call was made, but its result could not be recorded and is withheld: {0}")]
    NotClosed(#[source] RecordError),
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the server's answer cannot be passed on: {0}")]
    Answer(&'static str),
    #[error("the server's answer cannot be passed on: {0}")]
    Whole(AnswerError),
    /// Said of its calls and of its run, whichever comes first.
    #[error("the server has ended")]
    ServerEnded,
    #[error("the gateway is shutting down and takes no new calls; start the server again")]
    Draining,
    #[error("the gateway was shut down before the server answered; what became of the call is not known")]
    CutOff,
    #[error("this session is unknown or has ended; initialize again")]
    NoSession,
    #[error(
        "this `requestState` was used already, altered, or given for another call; repeat the call without it"
    )]
    HoldState,
    #[error("there is no such task: it was never given to you, or its time is over")]
    NoTask,
    #[error("who asks about a task must declare the extension `{}`", Params::TASKS)]
    NoTasks,
}

/// What refusals are counted by.
pub(crate) const REASONS: [&str; 20] = [
    "caller",
    "malformed",
    "batch",
    "header",
    "id_in_use",
    "too_many",
    "unasked",
    "media_type",
    "body",
    "denied",
    "not_recorded",
    "not_closed",
    "unreachable",
    "link",
    "answer",
    "server_ended",
    "draining",
    "no_session",
    "hold_state",
    "task",
];

/// A refusal, ready to send.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    reason: String,
    /// Who waits for the body; what is said of notifications is for HTTP alone.
    pub(crate) owed: Option<Side>,
    /// The hold under which it waits for people: once they have decided, it may be tried again.
    pub(crate) held: Option<String>,
}

impl Refused {
    /// Refuses every request of a frame; whoever waits for a response in it that is withheld gets an error instead.
    pub(crate) fn frame(frame: &Frame<'_>, from: Side, reason: &Reason) -> Refused {
        let (mut answers, mut instead) = (Vec::new(), Vec::new());
        for message in frame.messages() {
            match message.kind() {
                Kind::Request { id, .. } => answers.push(reason.answer(Some(id.raw()))),
                Kind::Response { id: Some(id), .. }
                    if matches!(
                        reason,
                        Reason::NotClosed(_) | Reason::NoPage(_) | Reason::AskedBack(_) | Reason::Answer(_)
                    ) =>
                {
                    instead.push(reason.answer(Some(id.raw())));
                }
                _ => {}
            }
        }
        let (answers, owed) = match (answers.is_empty(), instead.is_empty()) {
            (false, _) => (answers, Some(from)),
            (true, false) => (instead, Some(from.other())),
            (true, true) => (answers, None),
        };
        let body = match (frame, answers.as_slice()) {
            (Frame::Batch(_), [_, ..]) => format!("[{}]", answers.join(",")),
            (_, [answer]) => answer.clone(),
            _ => reason.answer(None),
        };
        let held = match reason {
            Reason::Denied(denial) => denial.waits().map(str::to_owned),
            _ => None,
        };
        Refused { status: reason.status(), body: body.into(), reason: reason.to_string(), owed, held }
    }

    /// Refuses what a client sent and could not be parsed: `id` is known where the parser could still read it.
    pub(crate) fn unparsed(id: Option<&str>, reason: &Reason) -> Refused {
        Refused {
            status: reason.status(),
            body: reason.answer(id).into(),
            reason: reason.to_string(),
            owed: Some(Side::Client),
            held: None,
        }
    }

    /// Answers requests by their ids.
    pub(crate) fn requests(ids: &[IdBuf], reason: &Reason) -> Refused {
        let answers: Vec<String> = ids.iter().map(|id| reason.answer(Some(id.raw()))).collect();
        let body = match answers.as_slice() {
            [] => reason.answer(None),
            [answer] => answer.clone(),
            _ => format!("[{}]", answers.join(",")),
        };
        Refused {
            status: reason.status(),
            body: body.into(),
            reason: reason.to_string(),
            owed: Some(Side::Client),
            held: None,
        }
    }

    /// The same, where nobody waits for it.
    pub(crate) fn unowed(self) -> Refused {
        Refused { owed: None, ..self }
    }

    /// The same, which is not tried again here.
    pub(crate) fn for_good(self) -> Refused {
        Refused { held: None, ..self }
    }

    /// The same with another answer, for good.
    pub(crate) fn instead(self, answer: String) -> Refused {
        Refused { body: answer.into(), held: None, ..self }
    }

    /// The gateway's own answer to what was for it.
    pub(crate) fn answered(id: &str, result: &str) -> Refused {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into();
        let (status, owed) = (StatusCode::OK, Some(Side::Client));
        Refused { status, body, reason: "it was for the gateway".to_owned(), owed, held: None }
    }

    /// What was for the gateway and goes no further; nobody waits for an answer.
    pub(crate) fn heard() -> Refused {
        let (status, body) = (StatusCode::ACCEPTED, Bytes::new());
        Refused { status, body, reason: "it was for the gateway".to_owned(), owed: None, held: None }
    }

    /// Why, in words.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

impl Reason {
    /// The JSON-RPC error that says so.
    pub(crate) fn answer(&self, id: Option<&str>) -> String {
        match self {
            Reason::Denied(denial) => denial.answer(id),
            Reason::NoTasks => self.missing_extension(id),
            _ => error::error_response(id, self.code(), &self.to_string()),
        }
    }

    /// As MCP 2026-07-28 has it (basic/index), with the extension that is missing.
    fn missing_extension(&self, id: Option<&str>) -> String {
        let (id, code, extension) = (id.unwrap_or("null"), self.code().0, Params::TASKS);
        let required = json!({ "requiredCapabilities": { "extensions": { extension: {} } } });
        let error = json!({ "code": code, "message": self.to_string(), "data": required });
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
    }

    /// How a call ended for this reason.
    pub(crate) fn end(&self) -> Status {
        match self {
            Reason::Unreachable(Unreachable::Timeout) => Status::Timeout,
            Reason::ServerEnded => Status::Disconnected,
            Reason::CutOff => Status::Unknown,
            _ => Status::UpstreamFailed,
        }
    }

    /// One of [`REASONS`].
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Reason::Malformed(_) | Reason::NoNotification => "malformed",
            Reason::Batch => "batch",
            Reason::Header(_) => "header",
            Reason::IdInUse => "id_in_use",
            Reason::TooMany => "too_many",
            Reason::Unasked | Reason::Stray => "unasked",
            Reason::MediaType => "media_type",
            Reason::Body(_) => "body",
            Reason::Caller(_) => "caller",
            Reason::Denied(_) | Reason::Unjudged(_) => "denied",
            Reason::NotRecorded(_) => "not_recorded",
            Reason::NotClosed(_) => "not_closed",
            Reason::Unreachable(_) => "unreachable",
            Reason::Link(_) => "link",
            Reason::Answer(_) | Reason::Whole(_) | Reason::NoPage(_) | Reason::AskedBack(_) => "answer",
            Reason::ServerEnded => "server_ended",
            Reason::Draining | Reason::CutOff => "draining",
            Reason::NoSession => "no_session",
            Reason::HoldState => "hold_state",
            Reason::NoTask | Reason::NoTasks => "task",
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Reason::Malformed(error) => error.code(),
            Reason::Header(_) => ErrorCode::HEADER_MISMATCH,
            Reason::Batch | Reason::IdInUse | Reason::Unasked | Reason::MediaType | Reason::Body(_) => {
                ErrorCode::INVALID_REQUEST
            }
            Reason::NoSession | Reason::TooMany | Reason::Stray | Reason::NoNotification => {
                ErrorCode::INVALID_REQUEST
            }
            Reason::HoldState | Reason::NoTask => ErrorCode::INVALID_PARAMS,
            Reason::NoTasks => ErrorCode::MISSING_CAPABILITY,
            Reason::Caller(_) | Reason::Denied(_) | Reason::Unjudged(_) => ErrorCode::DENIED,
            Reason::NotRecorded(_) | Reason::NotClosed(_) | Reason::Draining => ErrorCode::NOT_RECORDED,
            Reason::Unreachable(_)
            | Reason::Link(_)
            | Reason::Answer(_)
            | Reason::Whole(_)
            | Reason::NoPage(_)
            | Reason::AskedBack(_)
            | Reason::ServerEnded
            | Reason::CutOff => ErrorCode::INTERNAL_ERROR,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Reason::Malformed(_) | Reason::Batch | Reason::Header(_) | Reason::IdInUse | Reason::Unasked => {
                StatusCode::BAD_REQUEST
            }
            Reason::NoNotification => StatusCode::BAD_REQUEST,
            // The request is in order; what it brings is not, as with any bad argument.
            Reason::HoldState | Reason::NoTask | Reason::NoTasks => StatusCode::OK,
            Reason::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Reason::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Reason::Body(error) => match error {
                crate::listen::body::BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                crate::listen::body::BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
                crate::listen::body::BodyError::Broken => StatusCode::BAD_REQUEST,
            },
            Reason::Caller(refused) => refused.code().status(),
            Reason::Denied(_) => StatusCode::OK,
            Reason::Unjudged(_) => StatusCode::SERVICE_UNAVAILABLE,
            Reason::NotRecorded(_) | Reason::NotClosed(_) | Reason::Draining | Reason::CutOff => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Reason::Unreachable(Unreachable::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Reason::Unreachable(_)
            | Reason::Link(_)
            | Reason::Answer(_)
            | Reason::Whole(_)
            | Reason::NoPage(_)
            | Reason::AskedBack(_)
            | Reason::ServerEnded
            | Reason::Stray => StatusCode::BAD_GATEWAY,
            Reason::NoSession => StatusCode::NOT_FOUND,
        }
    }
}
