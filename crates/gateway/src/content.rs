//! What a frame is made of: its bytes, and the text that is parsed of them.

use std::ops::Range;

use bytes::Bytes;
use mcp::fields::span_of;
use mcp::message::{Frame, Message, ParseError};
use mcp::outline::Outline;
use recorder::Body;

/// The bytes of a frame.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory: what is parsed are the bytes themselves.
    Small(Bytes),
    /// A message too large for that, judged while it came.
    Large {
        body: Body,
        /// What is parsed in its place.
        outline: Result<Outline, ParseError>,
    },
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Content {
        Content::Small(bytes)
    }
}

impl Content {
    /// The frame, as far as it is read.
    pub(crate) fn parse(&self) -> Result<Frame<'_>, ParseError> {
        match self {
            Content::Small(bytes) => mcp::message::parse(bytes),
            Content::Large { outline: Ok(outline), .. } => mcp::message::parse(outline.text()),
            Content::Large { outline: Err(error), .. } => Err(error.clone()),
        }
    }

    /// All of it.
    pub(crate) fn body(&self) -> Body {
        match self {
            Content::Small(bytes) => bytes.clone().into(),
            Content::Large { body, .. } => body.clone(),
        }
    }

    /// The bytes of one of its messages, shared with it.
    pub(crate) fn body_of(&self, message: &Message<'_>) -> Body {
        match self {
            Content::Small(bytes) => bytes.slice_ref(message.raw().as_bytes()).into(),
            // It holds one message.
            Content::Large { body, .. } => body.clone(),
        }
    }

    /// Where a part of a message stands in the message's body.
    pub(crate) fn span(&self, message: &Message<'_>, name: &str, part: &str) -> Option<Range<usize>> {
        match self {
            Content::Small(_) => Some(span_of(message.raw(), part)),
            Content::Large { outline, .. } => outline.as_ref().ok()?.span(name),
        }
    }

    /// The bytes, if they are in memory.
    pub(crate) fn in_memory(&self) -> Option<&Bytes> {
        match self {
            Content::Small(bytes) => Some(bytes),
            Content::Large { .. } => None,
        }
    }
}
