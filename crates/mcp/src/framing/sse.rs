//! Server-sent events (WHATWG HTML, "Interpreting an event stream"), keeping the bytes of each event so that what is not
//! changed is passed on as it came.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::TooLarge;

/// Something in an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SseItem {
    /// An event, or fields without data (a priming event, a retry time).
    Event(SseEvent),
    /// Comment lines and blank lines alone.
    Comment(Bytes),
    /// The next part of the data of an event that is given in pieces.
    Part(Bytes),
    /// An event that was given in pieces has ended; one without any data has no part before this.
    Ended {
        /// As of an event that is whole.
        id: Option<String>,
        /// As of an event that is whole.
        event: Option<String>,
    },
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// `id` field, if this event has one.
    pub id: Option<String>,
    /// `event` field; `None` if it is empty, which means the same.
    pub event: Option<String>,
    /// `data` fields joined by LF; empty if there is none.
    pub data: Bytes,
    /// The bytes as they came, the closing blank line included.
    pub raw: Bytes,
}

/// Bytes that an event may have besides a message of the limit: field names, id, line breaks. In an event that is given in
/// pieces, no line but data is longer.
const FRAMING: usize = 1024;

/// Takes bytes, gives items. Lines end in LF, CRLF or CR. An event has at most `limit` bytes and 1,024 more for its field
/// names, its id and its line breaks; besides the pushed piece no more is held than one event and its data.
#[derive(Debug)]
pub struct SseDecoder {
    limit: usize,
    /// Longer events are given in pieces.
    threshold: usize,
    /// The bytes of the event under way, while it may be whole.
    raw: BytesMut,
    /// How many bytes the event under way has, whether they are kept or not.
    size: usize,
    line: Line,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// The event under way has a line already.
    started: bool,
    passing: Passing,
    /// Of the event before, the bytes were not kept.
    unkept: bool,
    fields: Fields,
    ready: VecDeque<Result<SseItem, TooLarge>>,
}

/// How the event under way is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    Whole,
    InPieces,
    Skipped,
}

/// The line under way.
#[derive(Debug, Default)]
struct Line {
    /// How many bytes it has, whether they are kept or not.
    length: usize,
    /// Its bytes, until it is known to be data.
    begun: BytesMut,
    /// It is data: what follows belongs to the value.
    is_data: bool,
}

#[derive(Debug, Default)]
struct Fields {
    id: Option<String>,
    event: Option<String>,
    /// What is not given yet.
    data: BytesMut,
    data_lines: usize,
    any: bool,
}

impl SseDecoder {
    /// A decoder for events of at most `limit` bytes.
    pub fn new(limit: usize) -> SseDecoder {
        SseDecoder {
            limit,
            threshold: usize::MAX,
            raw: BytesMut::new(),
            size: 0,
            line: Line::default(),
            after_cr: false,
            started: false,
            passing: Passing::Whole,
            unkept: false,
            fields: Fields::default(),
            ready: VecDeque::new(),
        }
    }

    /// Gives events of more than `threshold` bytes in pieces: [`SseItem::Part`]s, then [`SseItem::Ended`]. Held of those is no
    /// more than the threshold and the pushed piece. [`TooLarge`] may come after parts; then nothing more comes of that event.
    #[must_use]
    pub fn in_pieces(self, threshold: usize) -> SseDecoder {
        SseDecoder { threshold, ..self }
    }

    /// Takes a piece of the stream.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                self.swallow_line_feed();
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.extend(bytes, bytes);
                break;
            };
            let (line, rest) = bytes.split_at(end + 1);
            self.after_cr = line.last() == Some(&b'\r');
            self.extend(line, line.get(..end).unwrap_or_default());
            self.end_line();
            bytes = rest;
        }
        self.give_part();
    }

    /// The next whole item.
    ///
    /// # Errors
    /// [`TooLarge`] in the place of an event beyond the limit, as soon as it is: it may never end.
    pub fn next_item(&mut self) -> Option<Result<SseItem, TooLarge>> {
        self.ready.pop_front()
    }

    /// The LF of a CRLF whose CR has ended the line: it belongs to the bytes of that line, and to the item that the line
    /// may have closed.
    fn swallow_line_feed(&mut self) {
        if self.size > 0 {
            self.extend(b"\n", b"");
            return;
        }
        let closed = match self.ready.back_mut() {
            Some(Ok(SseItem::Event(SseEvent { raw, .. }) | SseItem::Comment(raw))) => raw,
            _ if self.unkept => return,
            Some(_) | None => {
                // The item was taken already: the byte goes with the next one, of whose size it is no part.
                self.raw.put_u8(b'\n');
                return;
            }
        };
        let mut longer = BytesMut::with_capacity(closed.len() + 1);
        longer.extend_from_slice(closed);
        longer.put_u8(b'\n');
        *closed = longer.freeze();
    }

    /// Takes bytes of one line; `text` are those that do not end it.
    fn extend(&mut self, bytes: &[u8], text: &[u8]) {
        self.size = self.size.saturating_add(bytes.len());
        self.line.length = self.line.length.saturating_add(text.len());
        if self.size > self.limit.saturating_add(FRAMING) {
            self.skip();
        }
        if self.passing == Passing::Whole && self.size > self.threshold {
            self.passing = Passing::InPieces;
            self.raw = BytesMut::new();
        }
        match self.passing {
            Passing::Whole => self.raw.extend_from_slice(bytes),
            Passing::InPieces => {}
            Passing::Skipped => return,
        }
        self.line.take(text, !self.started, &mut self.fields);
        if self.passing == Passing::InPieces && self.line.begun.len() > FRAMING {
            self.skip();
        }
    }

    fn skip(&mut self) {
        if std::mem::replace(&mut self.passing, Passing::Skipped) == Passing::Skipped {
            return;
        }
        self.ready.push_back(Err(TooLarge));
        self.raw = BytesMut::new();
        self.fields = Fields::default();
        self.line.begun = BytesMut::new();
    }

    fn end_line(&mut self) {
        let is_first = !std::mem::replace(&mut self.started, true);
        let line = std::mem::take(&mut self.line);
        if self.passing != Passing::Skipped && !line.is_data {
            let text = line.text(is_first);
            if !text.is_empty() {
                self.fields.take(text);
            }
        }
        if line.length == 0 {
            self.end_event();
        }
    }

    fn end_event(&mut self) {
        self.give_part();
        let raw = self.raw.split().freeze();
        self.size = 0;
        self.started = false;
        let fields = std::mem::take(&mut self.fields);
        let passing = std::mem::replace(&mut self.passing, Passing::Whole);
        self.unkept = passing != Passing::Whole;
        let item = match passing {
            Passing::Whole if fields.any => SseItem::Event(SseEvent {
                id: fields.id,
                event: fields.event,
                data: fields.data.freeze(),
                raw,
            }),
            Passing::Whole => SseItem::Comment(raw),
            Passing::InPieces if fields.any => SseItem::Ended { id: fields.id, event: fields.event },
            Passing::InPieces | Passing::Skipped => return,
        };
        self.ready.push_back(Ok(item));
    }

    fn give_part(&mut self) {
        if self.passing == Passing::InPieces && !self.fields.data.is_empty() {
            self.ready.push_back(Ok(SseItem::Part(self.fields.data.split().freeze())));
        }
    }
}

/// Clients pass over it at the beginning of the stream. Which event stands there is not known here, since those before it may
/// be withheld: so the first line of each event is read that way.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What begins a line of data, and the space that may follow.
const DATA: &[u8] = b"data:";

impl Line {
    /// Takes bytes of the line; of data, the value goes to the fields.
    fn take(&mut self, bytes: &[u8], is_first: bool, fields: &mut Fields) {
        if self.is_data {
            fields.data.extend_from_slice(bytes);
            return;
        }
        // So much tells what the line is.
        let telling = BYTE_ORDER_MARK.len() + DATA.len() + 1;
        let (begin, rest) = bytes.split_at(bytes.len().min(telling.saturating_sub(self.begun.len())));
        self.begun.extend_from_slice(begin);
        match self.text(is_first).strip_prefix(DATA) {
            Some(value) if !value.is_empty() => {
                fields.take_data(value);
                fields.data.extend_from_slice(rest);
                self.is_data = true;
                self.begun.clear();
            }
            _ => self.begun.extend_from_slice(rest),
        }
    }

    fn text(&self, is_first: bool) -> &[u8] {
        self.begun.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(&self.begun)
    }
}

impl Fields {
    fn take(&mut self, line: &[u8]) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(0) => return,
            Some(colon) => {
                let (name, rest) = line.split_at(colon);
                (name, rest.get(1..).unwrap_or_default())
            }
            None => (line, &[][..]),
        };
        if name == b"data" {
            return self.take_data(value);
        }
        self.any = true;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            // An empty type is the type `message`, as none is.
            b"event" => {
                self.event = (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned());
            }
            b"id" if !value.contains(&0) => self.id = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
    }

    /// A line of data, or its beginning.
    fn take_data(&mut self, value: &[u8]) {
        self.any = true;
        if self.data_lines > 0 {
            self.data.put_u8(b'\n');
        }
        self.data_lines += 1;
        self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
    }
}

/// An event. Line breaks in `data` become further `data` lines; `id` and `event` are cut at theirs, so that nothing in them
/// can begin a field.
pub fn encode_event(id: Option<&str>, event: Option<&str>, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(data.len() + 40);
    put_beginning(&mut bytes, id, event);
    put_data(&mut bytes, data);
    bytes.extend_from_slice(EVENT_END);
    bytes.freeze()
}

/// What stands before the data in [`encode_event`], for data that is given in pieces.
pub fn encode_beginning(id: Option<&str>, event: Option<&str>) -> Bytes {
    let mut bytes = BytesMut::new();
    put_beginning(&mut bytes, id, event);
    bytes.freeze()
}

/// A piece of the data in [`encode_event`]. [`EVENT_END`] follows the last one.
pub fn encode_piece(data: &Bytes) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', data).is_none() {
        return data.clone();
    }
    let mut bytes = BytesMut::with_capacity(data.len() + 1024);
    put_data(&mut bytes, data);
    bytes.freeze()
}

/// Ends the last line of data, and the event.
pub const EVENT_END: &[u8] = b"\n\n";

fn put_beginning(bytes: &mut BytesMut, id: Option<&str>, event: Option<&str>) {
    for (name, value) in [("id", id), ("event", event)] {
        if let Some(value) = value {
            let line = value.split(['\r', '\n', '\0']).next().unwrap_or_default();
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(line.as_bytes());
            bytes.put_u8(b'\n');
        }
    }
    bytes.extend_from_slice(b"data: ");
}

fn put_data(bytes: &mut BytesMut, data: &[u8]) {
    let mut lines = data.split(|byte| matches!(byte, b'\n' | b'\r'));
    bytes.extend_from_slice(lines.next().unwrap_or_default());
    for line in lines {
        bytes.extend_from_slice(b"\ndata: ");
        bytes.extend_from_slice(line);
    }
}

/// A comment, which clients pass over: keeps a stream from falling silent.
pub fn encode_comment(text: &str) -> Bytes {
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    format!(": {line}\n\n").into()
}
