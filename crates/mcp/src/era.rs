//! The two eras of MCP and how to tell them apart: per request, never per connection.

use crate::fields::Params;
use crate::message::{Frame, Kind};

/// How calls relate to one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: `initialize`, then a session.
    Session,
    /// From 2026-07-28: each request brings its own context.
    Stateless,
}

impl Era {
    /// The word that the record uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Era::Session => "session",
            Era::Stateless => "stateless",
        }
    }
}

/// A protocol version, known or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolVersion(String);

impl ProtocolVersion {
    /// Takes any text: what is unknown is kept.
    pub fn parse(text: &str) -> ProtocolVersion {
        ProtocolVersion(text.trim().to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The era it belongs to. Versions are dates, so an unknown one falls by its date; what is no date counts as the session
    /// era, whose servers answer it with their own error.
    pub fn era(&self) -> Era {
        let is_date = self.0.len() == 10
            && self.0.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if is_date && self.0.as_str() >= "2026-07-28" { Era::Stateless } else { Era::Session }
    }
}

/// What the HTTP headers of a request say.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeaderFacts<'a> {
    /// `MCP-Protocol-Version`.
    pub protocol_version: Option<&'a str>,
    /// Whether there is an `Mcp-Session-Id`.
    pub has_session: bool,
}

/// The era and, where told, the version of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// The era.
    pub era: Era,
    /// The version that header or body names.
    pub version: Option<ProtocolVersion>,
}

impl Class {
    /// Whether a batch may come: in 2025-03-26, which a request without a version header may be of, and before.
    pub fn allows_batches(&self) -> bool {
        self.era == Era::Session
            && self.version.as_ref().is_none_or(|version| version.as_str() <= "2025-03-26")
    }
}

/// Classifies a frame: `_meta` names a version → stateless; `initialize`, a session or an older version header → session;
/// nothing at all → session, 2025-03-26 assumed (MCP 2025-11-25, transports, "Protocol Version Header").
pub fn classify(frame: &Frame<'_>, headers: &HeaderFacts<'_>) -> Class {
    let in_meta = frame.messages().iter().find_map(|message| match message.kind() {
        Kind::Request { params: Some(params), .. } | Kind::Notification { params: Some(params), .. } => {
            Params::of(params).meta_version()
        }
        _ => None,
    });
    if let Some(version) = in_meta {
        return Class { era: Era::Stateless, version: Some(ProtocolVersion(version)) };
    }
    let version = headers.protocol_version.map(ProtocolVersion::parse);
    let initializes = frame
        .messages()
        .iter()
        .any(|message| matches!(message.kind(), Kind::Request { method, .. } if method == "initialize"));
    let era = match &version {
        Some(version) if !initializes && !headers.has_session => version.era(),
        _ => Era::Session,
    };
    Class { era, version }
}
