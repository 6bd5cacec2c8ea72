//! The messages in a stream of a server: events of an event stream, or lines of newline-delimited JSON; and how they are
//! written into a client's stream.

use std::time::Duration;

use bytes::Bytes;
use mcp::framing::TooLarge;
use mcp::framing::lines::{LineDecoder, LineItem};
use mcp::framing::sse::{
    EVENT_END, SseDecoder, SseEvent, SseItem, encode_beginning, encode_event, encode_piece,
};
use recorder::Body;

use crate::content::{Content, Reading};
use crate::listen::reply::Reply;
use crate::settings::Limits;
use crate::taking::{AnswerError, IN_MEMORY, Lost, Places, Taking};

/// Takes bytes as they come, gives items. What is no message keeps its bytes, so that all of it can be passed on; a large
/// message is put aside while it comes.
#[derive(Debug)]
pub(crate) struct Decoder {
    form: Form,
    resumable: bool,
    places: Places,
    longest_wait: Duration,
    under_way: UnderWay,
}

#[derive(Debug)]
enum Form {
    Events(SseDecoder),
    Lines(LineDecoder),
}

/// The large message under way.
#[derive(Debug)]
enum UnderWay {
    None,
    Taken(Taking),
    /// It is lost; its further parts are passed over.
    Lost,
}

/// One item of a stream.
#[derive(Debug)]
pub(crate) enum Item {
    Message(Arrived),
    /// A comment, a priming event, a retry time.
    Other(Bytes),
    /// An event with data that is no message of MCP: what it carries would cross without a record.
    Stray {
        kind: String,
        /// Empty of a large one.
        data: Bytes,
    },
}

/// A message, and how it came.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) content: Content,
    /// The bytes it came in, if they were kept.
    raw: Bytes,
    framing: Framing,
}

/// How a message stands in a stream.
#[derive(Debug)]
pub(crate) enum Framing {
    Event { id: Option<String>, kind: Option<String> },
    Line,
}

/// What a step of a decoder gives.
enum Step {
    Item(Item),
    Part(Bytes),
    Ended(Framing),
    TooLarge,
}

impl Decoder {
    pub(crate) fn events(limits: &Limits, places: &Places) -> Decoder {
        Decoder::new(Form::Events(SseDecoder::new(limits.message_bytes).in_pieces(IN_MEMORY)), limits, places)
    }

    pub(crate) fn lines(limits: &Limits, places: &Places) -> Decoder {
        Decoder::new(Form::Lines(LineDecoder::new(limits.message_bytes).in_pieces(IN_MEMORY)), limits, places)
    }

    fn new(form: Form, limits: &Limits, places: &Places) -> Decoder {
        let (places, longest_wait) = (places.clone(), limits.answer_wait);
        Decoder { form, resumable: false, places, longest_wait, under_way: UnderWay::None }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match &mut self.form {
            Form::Events(decoder) => decoder.push(bytes),
            Form::Lines(decoder) => decoder.push(bytes),
        }
    }

    /// The next item, or a message that is lost in its place. Waits for a place if a large message begins, and for the disk.
    pub(crate) async fn next_item(&mut self) -> Option<Result<Item, Lost>> {
        loop {
            match self.step()? {
                Step::Item(item) => return Some(Ok(item)),
                Step::Part(part) => {
                    if let Err(lost) = self.take(part).await {
                        self.under_way = UnderWay::Lost;
                        return Some(Err(lost));
                    }
                }
                Step::Ended(framing) => match std::mem::replace(&mut self.under_way, UnderWay::None) {
                    UnderWay::Taken(taking) => return Some(self.end(taking, framing).await),
                    // Without data there is nothing to pass on.
                    UnderWay::None | UnderWay::Lost => {}
                },
                Step::TooLarge => match std::mem::replace(&mut self.under_way, UnderWay::None) {
                    UnderWay::Taken(taking) => return Some(Err(taking.give_up(AnswerError::TooLarge).await)),
                    UnderWay::None => return Some(Err(AnswerError::TooLarge.into())),
                    UnderWay::Lost => {}
                },
            }
        }
    }

    /// How a message of the gateway's own stands in the stream.
    pub(crate) fn framing(&self) -> Framing {
        match self.form {
            Form::Events(_) => Framing::message(),
            Form::Lines(_) => Framing::Line,
        }
    }

    /// Whether the server gave event ids, so that the stream can be taken up again.
    pub(crate) fn is_resumable(&self) -> bool {
        self.resumable
    }

    async fn take(&mut self, part: Bytes) -> Result<(), Lost> {
        if let UnderWay::None = self.under_way {
            self.under_way = UnderWay::Taken(self.places.take(self.longest_wait).await?);
        }
        if let UnderWay::Taken(taking) = &self.under_way {
            taking.part(part).await;
        }
        Ok(())
    }

    async fn end(&self, taking: Taking, framing: Framing) -> Result<Item, Lost> {
        if let Some(kind) = framing.stray_kind() {
            return Ok(Item::Stray { kind, data: Bytes::new() });
        }
        let content = taking.finish().await?;
        Ok(Item::Message(Arrived { content, raw: Bytes::new(), framing }))
    }

    fn step(&mut self) -> Option<Step> {
        match &mut self.form {
            Form::Events(decoder) => Some(match decoder.next_item()? {
                Ok(SseItem::Event(event)) => {
                    self.resumable |= event.id.is_some();
                    Step::Item(Item::of_event(event))
                }
                Ok(SseItem::Comment(raw)) => Step::Item(Item::Other(raw)),
                Ok(SseItem::Part(part)) => Step::Part(part),
                Ok(SseItem::Ended { id, event }) => {
                    self.resumable |= id.is_some();
                    Step::Ended(Framing::Event { id, kind: event })
                }
                Err(TooLarge) => Step::TooLarge,
            }),
            Form::Lines(decoder) => Some(match decoder.next_item()? {
                Ok(LineItem::Whole(line)) => Step::Item(Item::of_line(line)),
                Ok(LineItem::Part(part)) => Step::Part(part),
                Ok(LineItem::Ended) => Step::Ended(Framing::Line),
                Err(TooLarge) => Step::TooLarge,
            }),
        }
    }
}

impl Item {
    fn of_event(event: SseEvent) -> Item {
        let SseEvent { id, event: kind, data, raw } = event;
        if data.is_empty() {
            return Item::Other(raw);
        }
        let framing = Framing::Event { id, kind };
        match framing.stray_kind() {
            Some(kind) => Item::Stray { kind, data },
            None => Item::Message(Arrived { content: data.into(), raw, framing }),
        }
    }

    fn of_line(line: Bytes) -> Item {
        let raw = [line.as_ref(), b"\n"].concat().into();
        Item::Message(Arrived { content: line.into(), raw, framing: Framing::Line })
    }
}

impl Arrived {
    /// Writes `body`, which stands for the message, into a stream of the same form; as it came if it is what came. `false`:
    /// the client has gone.
    pub(crate) async fn write(&self, reply: &mut Reply, body: &Body) -> bool {
        match (&self.content, body) {
            (Content::Small(data), Body::Memory(bytes)) if data == bytes => {
                reply.part(self.raw.clone()).await
            }
            _ => self.framing.write(reply, body).await,
        }
    }
}

impl Framing {
    /// A message of the gateway's own stream.
    pub(crate) fn message() -> Framing {
        Framing::Event { id: None, kind: Some("message".to_owned()) }
    }

    /// The type of an event that is no message.
    fn stray_kind(&self) -> Option<String> {
        match self {
            Framing::Event { kind: Some(kind), .. } if kind != "message" => Some(kind.clone()),
            Framing::Event { .. } | Framing::Line => None,
        }
    }

    /// Writes a message into a client's stream. `false`: the client has gone, or what it got of the message is not whole.
    pub(crate) async fn write(&self, reply: &mut Reply, body: &Body) -> bool {
        if let Body::Memory(bytes) = body {
            return reply.part(self.around(bytes)).await;
        }
        let (beginning, end) = match self {
            Framing::Event { id, kind } => (encode_beginning(id.as_deref(), kind.as_deref()), EVENT_END),
            Framing::Line => (Bytes::new(), b"\n".as_slice()),
        };
        let mut reading = Reading::of(body);
        let mut part = beginning;
        while reply.part(part).await {
            part = match (reading.next().await, self) {
                (Some(Ok(piece)), Framing::Event { .. }) => encode_piece(&piece),
                (Some(Ok(piece)), Framing::Line) => piece,
                (None, _) => return reply.part(Bytes::from_static(end)).await,
                // Without its end the client does not take it for a message.
                (Some(Err(_)), _) => {
                    reply.break_off();
                    return false;
                }
            };
        }
        false
    }

    fn around(&self, message: &[u8]) -> Bytes {
        match self {
            Framing::Event { id, kind } => encode_event(id.as_deref(), kind.as_deref(), message),
            Framing::Line => [message, b"\n"].concat().into(),
        }
    }
}
