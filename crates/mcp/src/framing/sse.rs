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

/// Bytes that an event may have besides a message of the limit: field names, id, line breaks.
const FRAMING: usize = 1024;

/// Takes bytes, gives items. Lines end in LF, CRLF or CR. An event has at most `limit` bytes and 1,024 more for its field
/// names, its id and its line breaks; besides the pushed piece no more is held than one event and its data.
#[derive(Debug)]
pub struct SseDecoder {
    limit: usize,
    /// The bytes of the event under way.
    raw: BytesMut,
    /// How many bytes the event under way has, whether they are kept or skipped.
    size: usize,
    /// Where the line under way begins in `raw`.
    line_start: usize,
    /// How many bytes the line under way has, whether they are kept or skipped.
    line_len: usize,
    /// The last byte was a CR: an LF that follows belongs to it.
    after_cr: bool,
    /// The event under way has a line already.
    started: bool,
    skipping: bool,
    /// The event before was skipped.
    skipped: bool,
    fields: Fields,
    ready: VecDeque<Result<SseItem, TooLarge>>,
}

#[derive(Debug, Default)]
struct Fields {
    id: Option<String>,
    event: Option<String>,
    data: BytesMut,
    data_lines: usize,
    any: bool,
}

impl SseDecoder {
    /// A decoder for events of at most `limit` bytes.
    pub fn new(limit: usize) -> SseDecoder {
        SseDecoder {
            limit,
            raw: BytesMut::new(),
            size: 0,
            line_start: 0,
            line_len: 0,
            after_cr: false,
            started: false,
            skipping: false,
            skipped: false,
            fields: Fields::default(),
            ready: VecDeque::new(),
        }
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
                self.line_len = self.line_len.saturating_add(bytes.len());
                self.extend(bytes);
                return;
            };
            let (line, rest) = bytes.split_at(end + 1);
            self.after_cr = line.last() == Some(&b'\r');
            self.line_len = self.line_len.saturating_add(end);
            self.extend(line);
            self.end_line();
            bytes = rest;
        }
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
            self.extend(b"\n");
            self.line_start = self.raw.len();
            return;
        }
        let closed = match self.ready.back_mut() {
            Some(Ok(SseItem::Event(SseEvent { raw, .. }) | SseItem::Comment(raw))) => raw,
            _ if self.skipped => return,
            Some(Err(TooLarge)) | None => {
                // The item was taken already: the byte goes with the next one, of whose size it is no part.
                self.raw.put_u8(b'\n');
                self.line_start = 1;
                return;
            }
        };
        let mut longer = BytesMut::with_capacity(closed.len() + 1);
        longer.extend_from_slice(closed);
        longer.put_u8(b'\n');
        *closed = longer.freeze();
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len());
        if self.size > self.limit.saturating_add(FRAMING) {
            if !std::mem::replace(&mut self.skipping, true) {
                self.ready.push_back(Err(TooLarge));
            }
            self.raw.clear();
            self.fields = Fields::default();
        } else {
            self.raw.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self) {
        let line = self.raw.get(self.line_start..self.raw.len().saturating_sub(1)).unwrap_or_default();
        // Clients pass over a byte order mark at the beginning of the stream. Which event stands there is not known here, since
        // those before it may be withheld: so the first line of each event is read that way.
        let is_first = !std::mem::replace(&mut self.started, true);
        let line = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| is_first).unwrap_or(line);
        let blank = std::mem::take(&mut self.line_len) == 0;
        if !line.is_empty() && !self.skipping {
            self.fields.take(line);
        }
        self.line_start = self.raw.len();
        if blank {
            self.end_event();
        }
    }

    fn end_event(&mut self) {
        let raw = self.raw.split().freeze();
        self.size = 0;
        self.line_start = 0;
        self.started = false;
        let fields = std::mem::take(&mut self.fields);
        self.skipped = std::mem::take(&mut self.skipping);
        if self.skipped {
            return;
        }
        if fields.any {
            self.ready.push_back(Ok(SseItem::Event(SseEvent {
                id: fields.id,
                event: fields.event,
                data: fields.data.freeze(),
                raw,
            })));
        } else {
            self.ready.push_back(Ok(SseItem::Comment(raw)));
        }
    }
}

impl Fields {
    fn take(&mut self, line: &[u8]) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(0) => return,
            Some(colon) => {
                let (name, rest) = line.split_at(colon);
                let value = rest.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        self.any = true;
        match name {
            b"data" => {
                if self.data_lines > 0 {
                    self.data.put_u8(b'\n');
                }
                self.data_lines += 1;
                self.data.extend_from_slice(value);
            }
            // An empty type is the type `message`, as none is.
            b"event" => {
                self.event = (!value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned());
            }
            b"id" if !value.contains(&0) => self.id = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
    }
}

/// An event. Line breaks in `data` become further `data` lines; `id` and `event` are cut at theirs, so that nothing in them
/// can begin a field.
pub fn encode_event(id: Option<&str>, event: Option<&str>, data: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(data.len() + 40);
    for (name, value) in [("id", id), ("event", event)] {
        if let Some(value) = value {
            let line = value.split(['\r', '\n', '\0']).next().unwrap_or_default();
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(line.as_bytes());
            bytes.put_u8(b'\n');
        }
    }
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.extend_from_slice(b"data: ");
        bytes.extend_from_slice(line);
        bytes.put_u8(b'\n');
    }
    bytes.put_u8(b'\n');
    bytes.freeze()
}

/// A comment, which clients pass over: keeps a stream from falling silent.
pub fn encode_comment(text: &str) -> Bytes {
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    format!(": {line}\n\n").into()
}
