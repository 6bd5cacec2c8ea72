//! What a frame from an HTTP client is, before anything is decided: era, version, and how its answer will come.

use http::HeaderMap;
use mcp::era::{self, Era, HeaderFacts, ProtocolVersion};
use mcp::message::{Frame, Kind, Message};
use mcp::method::Method;

use crate::refusal::Reason;
use crate::scope::Scope;

/// The facts of a frame that steer its exchange.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) era: Era,
    version: Option<ProtocolVersion>,
    /// Whether it opens a session.
    pub(crate) initializes: bool,
    /// Whether its answer is a stream that ends when the client leaves.
    pub(crate) long_lived: bool,
    /// Whether it asks for tools.
    pub(crate) lists_tools: bool,
    /// Whether it is a GET for the session's own stream.
    pub(crate) listens: bool,
}

impl Intake {
    /// Classifies a frame and checks its headers against its body.
    pub(crate) fn of(frame: &Frame<'_>, headers: &HeaderMap) -> Result<Intake, Reason> {
        let version = headers.get("mcp-protocol-version").and_then(|value| value.to_str().ok());
        let facts =
            HeaderFacts { protocol_version: version, has_session: headers.contains_key("mcp-session-id") };
        let class = era::classify(frame, &facts);
        if matches!(frame, Frame::Batch(_)) && !class.allows_batches() {
            return Err(Reason::Batch);
        }
        let mut intake = Intake {
            era: class.era,
            version: class.version,
            initializes: false,
            long_lived: false,
            lists_tools: false,
            listens: false,
        };
        for message in frame.messages() {
            if class.era == Era::Stateless {
                check_headers(message, headers)?;
            }
            intake.look_at(message);
        }
        Ok(intake)
    }

    /// A GET carries no message.
    pub(crate) fn listening() -> Intake {
        Intake {
            era: Era::Session,
            version: None,
            initializes: false,
            long_lived: false,
            lists_tools: false,
            listens: true,
        }
    }

    /// Whether the answer is a stream without a call that will end by itself.
    pub(crate) fn is_stream(&self) -> bool {
        self.listens || self.long_lived
    }

    /// Tells the scope what the headers say; the messages themselves say it better.
    pub(crate) fn teach(&self, scope: &Scope) {
        scope.learn(|facts| {
            facts.era = Some(self.era);
            if let Some(version) = &self.version {
                facts.version = Some(version.as_str().into());
            }
        });
    }

    fn look_at(&mut self, message: &Message<'_>) {
        let Kind::Request { method, .. } = message.kind() else { return };
        self.lists_tools |= method == "tools/list";
        let method = Method::of(method);
        self.initializes |= method.is_some_and(|method| method.is_initialize());
        self.long_lived |= method.is_some_and(|method| method.is_long_lived());
    }
}

fn check_headers(message: &Message<'_>, headers: &HeaderMap) -> Result<(), Reason> {
    Ok(mcp::header::check(message, &pairs(headers))?)
}

/// Headers as texts; what is no text cannot match anything.
pub(crate) fn pairs(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}
