//! A request of the client on its way to an answer. Pure.

use bytes::Bytes;
use mcp::era::Era;
use mcp::error::{ErrorCode, error_response, tool_error_result};

use super::key::Key;
use super::place::Unrecorded;

/// A request of the client, and what is to be played for it.
#[derive(Debug)]
pub(super) struct Turn {
    /// Its id as it was written.
    pub(super) id: String,
    pub(super) progress: Option<String>,
    pub(super) step: Step,
    pub(super) era: Era,
}

/// What is played for a request.
#[derive(Debug)]
pub(super) enum Step {
    /// The exchange of this number.
    Exchange(usize),
    /// The answer to a `ping` that was not recorded: it asks whether this process lives, not what the server did.
    Pong,
    /// An error.
    Unrecorded(Unrecorded),
}

/// How a turn ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// With this message.
    Message(Bytes),
    /// With an HTTP response that is no message; the message says the same where there is no HTTP.
    Http { status: u16, body: Bytes, message: Bytes },
    /// With nothing: the client has gone.
    Silence,
}

impl Turn {
    /// That this process lives.
    pub(super) fn pong(&self) -> Ending {
        Ending::Message(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, self.id).into())
    }

    /// An error as the answer.
    pub(super) fn error(&self, code: ErrorCode, text: &str) -> Ending {
        Ending::Message(error_response(Some(&self.id), code, text).into())
    }

    /// A refusal: of a tool's call as the tool's failure, which models see and SDKs do not throw; otherwise an error.
    pub(super) fn denied(&self, key: &Key, reason: &str) -> Ending {
        if key.method == "tools/call" {
            return Ending::Message(tool_error_result(&self.id, reason, self.era).into());
        }
        self.error(ErrorCode::DENIED, reason)
    }
}
