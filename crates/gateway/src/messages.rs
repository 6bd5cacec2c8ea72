//! The messages in a streamed answer: events of an event stream, or lines of newline-delimited JSON, which some servers
//! send for `subscriptions/listen`.

use bytes::Bytes;
use mcp::framing::lines::LineDecoder;
use mcp::framing::sse::{SseDecoder, SseItem, encode_event};

/// Takes bytes as they come, gives items. What is no message keeps its bytes, so that all of it can be passed on.
pub(crate) enum Decoder {
    Events { decoder: SseDecoder, resumable: bool },
    Lines(LineDecoder),
}

/// One item of a stream.
#[derive(Debug)]
pub(crate) enum Item {
    /// A message, and the bytes it came in.
    Message { data: Bytes, raw: Bytes, frame: Frame },
    /// A comment, a priming event, a retry time.
    Other(Bytes),
    /// An event with data that is no message of MCP: what it carries would cross without a record.
    Stray,
}

/// How to write a message that was changed on the way.
#[derive(Debug)]
pub(crate) enum Frame {
    Event { id: Option<String>, kind: Option<String> },
    Line,
}

/// A message is larger than the limit.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl Decoder {
    pub(crate) fn events(limit: usize) -> Decoder {
        Decoder::Events { decoder: SseDecoder::new(limit), resumable: false }
    }

    pub(crate) fn lines(limit: usize) -> Decoder {
        Decoder::Lines(LineDecoder::new(limit))
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self {
            Decoder::Events { decoder, .. } => decoder.push(bytes),
            Decoder::Lines(decoder) => decoder.push(bytes),
        }
    }

    pub(crate) fn next_item(&mut self) -> Option<Result<Item, TooLarge>> {
        match self {
            Decoder::Events { decoder, resumable } => Some(match decoder.next_item()? {
                Err(_) => Err(TooLarge),
                Ok(SseItem::Event(event)) => {
                    *resumable |= event.id.is_some();
                    let is_message = event.event.as_deref().is_none_or(|kind| kind == "message");
                    Ok(match (event.data.is_empty(), is_message) {
                        (true, _) => Item::Other(event.raw),
                        (false, false) => Item::Stray,
                        (false, true) => {
                            let frame = Frame::Event { id: event.id, kind: event.event };
                            Item::Message { data: event.data, raw: event.raw, frame }
                        }
                    })
                }
                Ok(SseItem::Comment(raw)) => Ok(Item::Other(raw)),
            }),
            Decoder::Lines(decoder) => Some(match decoder.next_line()? {
                Err(_) => Err(TooLarge),
                Ok(line) => {
                    let raw = [line.as_ref(), b"\n"].concat().into();
                    Ok(if line.is_empty() {
                        Item::Other(raw)
                    } else {
                        Item::Message { data: line, raw, frame: Frame::Line }
                    })
                }
            }),
        }
    }

    /// Whether the server gave event ids, so that the stream can be taken up again.
    pub(crate) fn is_resumable(&self) -> bool {
        matches!(self, Decoder::Events { resumable: true, .. })
    }
}

impl Item {
    /// The same item around a changed message.
    pub(crate) fn reframe(&self, message: &[u8]) -> Bytes {
        match self {
            Item::Message { frame: Frame::Event { id, kind }, .. } => {
                encode_event(id.as_deref(), kind.as_deref(), message)
            }
            Item::Message { frame: Frame::Line, .. } => [message, b"\n"].concat().into(),
            Item::Other(_) | Item::Stray => Bytes::new(),
        }
    }
}
