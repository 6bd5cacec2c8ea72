//! What a frame is made of: its bytes, and the text that is parsed of them.

use std::ops::Range;

use bytes::Bytes;
use mcp::fields::span_of;
use mcp::message::{Frame, IdBuf, Message, ParseError};
use mcp::outline::{Glimpse, Outline};
use recorder::{Body, Pieces};

/// The bytes of a frame.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory: what is parsed are the bytes themselves.
    Small(Bytes),
    /// A message too large for that, judged while it came.
    Large {
        body: Body,
        /// What is parsed in its place.
        outline: Result<Outline, Unread>,
    },
}

/// A large message that cannot be read, and what can be told of it.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) error: ParseError,
    pub(crate) glimpse: Glimpse,
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
            Content::Large { outline: Err(unread), .. } => Err(unread.error.clone()),
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

    /// Whether it has more of an object of that name than what is parsed: what is too long for an outline is empty there.
    pub(crate) fn leaves_out(&self, name: &str) -> bool {
        match self {
            Content::Small(_) => false,
            Content::Large { outline, .. } => {
                let span = outline.as_ref().ok().and_then(|outline| outline.span(name));
                span.is_some_and(|span| span.len() > "{}".len())
            }
        }
    }

    /// The id in what cannot be read, if it can be told without doubt.
    pub(crate) fn id_of_refused(&self) -> Option<IdBuf> {
        match self {
            Content::Small(bytes) => mcp::message::id_of_refused(bytes),
            Content::Large { outline, .. } => outline.as_ref().err()?.glimpse.answered().cloned(),
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

/// Reads a body that is to be sent, piece by piece; the disk keeps no other task waiting.
#[derive(Debug)]
pub(crate) struct Reading {
    /// `None` after the end.
    pieces: Option<Pieces>,
}

impl Reading {
    pub(crate) fn of(body: &Body) -> Reading {
        Reading { pieces: Some(body.pieces()) }
    }

    /// The next piece; after an error, which is logged here, there is nothing more.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        let mut pieces = self.pieces.take()?;
        let step = tokio::task::spawn_blocking(move || (pieces.next(), pieces)).await;
        let error = match step {
            Ok((Some(Ok(piece)), pieces)) => {
                self.pieces = Some(pieces);
                return Some(Ok(piece));
            }
            Ok((None, _)) => return None,
            Ok((Some(Err(error)), _)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(error, "a large message was recorded, but cannot be passed on");
        Some(Err(BrokenOff))
    }
}

/// The rest of a message cannot be read again.
#[derive(Debug)]
pub(crate) struct BrokenOff;
