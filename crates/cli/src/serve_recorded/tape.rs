//! A recorded run as its server lived it: what the client asked, and what the server said before, with and after each
//! answer. Pure but for the function that opens payloads.
//!
//! Requests are read once, for their keys; everything else is read when it is played, so that a run may be larger than
//! memory.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use ledger::Seq;
use mcp::fields::ResultView;
use mcp::message::{Answer, Frame, Kind, Message};
use mcp::method::Method;
use store::{CallRow, RowKind};

use super::key::Key;
use crate::read::replay::{Sealed, missing};

/// The run.
pub(super) struct Tape {
    /// The client's requests in recorded order.
    exchanges: Vec<Exchange>,
    by_key: HashMap<Key, Vec<usize>>,
    /// By method of the client's notification, for each time it was sent: what the server said after it.
    after_notification: HashMap<String, Vec<Vec<Said>>>,
    /// Requests that nobody can read any more.
    lost: Vec<Lost>,
    has_session: bool,
    has_stateless: bool,
    sealed: Box<dyn Fn(Seq) -> Sealed + Send + Sync>,
}

/// A request and all that belongs to it.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) seq: Seq,
    pub(super) key: Key,
    /// Version that the answer to `initialize` names.
    pub(super) version: Option<String>,
    pub(super) end: End,
    /// Microseconds from request to answer.
    pub(super) lasted: i64,
    /// What the server said before its answer.
    pub(super) inside: Vec<Said>,
    /// What it said after that and before the client's next message.
    pub(super) after: Vec<Said>,
    began: i64,
    end_seq: Option<Seq>,
}

/// How an exchange ended.
#[derive(Debug)]
pub(super) enum End {
    /// With a record that holds what came.
    Answered { seq: Seq, http_status: Option<u16> },
    /// It was refused on the way.
    Denied { reason: String },
    /// Without an answer; why, in words.
    Unanswered { why: String },
}

/// A message of the server besides its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) seq: Seq,
    /// Whether an answer is owed to it.
    pub(super) is_request: bool,
    /// Microseconds since the client's message that it follows.
    pub(super) at: i64,
}

/// A request whose payload cannot be opened.
#[derive(Debug)]
struct Lost {
    seq: Seq,
    method: Option<String>,
    name: Option<String>,
    why: String,
}

/// The client's message that the server's words follow.
enum Cue {
    None,
    Exchange(usize),
    Notification { method: String, at: i64 },
}

impl Tape {
    /// Arranges the rows of one server in a run. `sealed` opens a record's payload.
    pub(super) fn of(rows: &[CallRow], sealed: impl Fn(Seq) -> Sealed + Send + Sync + 'static) -> Tape {
        let mut tape = Tape {
            exchanges: Vec::new(),
            by_key: HashMap::new(),
            after_notification: HashMap::new(),
            lost: Vec::new(),
            has_session: false,
            has_stateless: false,
            sealed: Box::new(sealed),
        };
        let ordered: BTreeMap<Seq, &CallRow> = rows.iter().map(|row| (row.seq, row)).collect();
        let mut cue = Cue::None;
        for row in ordered.into_values() {
            let by_server = row.direction.as_deref() == Some("server");
            match (by_server, row.kind) {
                (false, RowKind::Call | RowKind::Refused) => cue = tape.add_request(row).unwrap_or(cue),
                (false, RowKind::Note) => cue = tape.add_notification(row).unwrap_or(cue),
                (true, RowKind::Call | RowKind::Note) => tape.add_said(row, &cue),
                // What was withheld from the client is not said to it now.
                (true, RowKind::Refused) => {}
            }
        }
        tape
    }

    fn add_request(&mut self, row: &CallRow) -> Option<Cue> {
        let read = self.message_bytes(row.seq);
        let parsed = read.and_then(|bytes| match single(&bytes) {
            Some(message) => Ok(Key::of(&message)),
            None => Err("it is no message".to_owned()),
        });
        let key = match parsed {
            Ok(key) => key?,
            Err(why) => {
                let (method, name) = (row.method.clone(), row.name.clone());
                self.lost.push(Lost { seq: row.seq, method, name, why });
                return None;
            }
        };
        self.has_stateless |= row.era.as_deref() == Some("stateless");
        self.has_session |= key.method == "initialize" || row.era.as_deref() != Some("stateless");
        let index = self.exchanges.len();
        let end = End::of(row);
        self.exchanges.push(Exchange {
            seq: row.seq,
            version: self.version_of(&key, &end),
            key: key.clone(),
            end,
            lasted: row.duration().unwrap_or(0),
            inside: Vec::new(),
            after: Vec::new(),
            began: row.t_start,
            end_seq: row.seq_end,
        });
        self.by_key.entry(key).or_default().push(index);
        Some(Cue::Exchange(index))
    }

    fn add_notification(&mut self, row: &CallRow) -> Option<Cue> {
        let method = row.method.clone()?;
        self.after_notification.entry(method.clone()).or_default().push(Vec::new());
        Some(Cue::Notification { method, at: row.t_start })
    }

    fn add_said(&mut self, row: &CallRow, cue: &Cue) {
        let said = |since: i64| Said {
            seq: row.seq,
            is_request: row.kind == RowKind::Call,
            at: row.t_start.saturating_sub(since).max(0),
        };
        if let Some(exchange) = self.open_around(row) {
            let said = said(exchange.began);
            return exchange.inside.push(said);
        }
        match cue {
            Cue::None => {}
            Cue::Exchange(index) => {
                if let Some(exchange) = self.exchanges.get_mut(*index) {
                    let said = said(exchange.began);
                    exchange.after.push(said);
                }
            }
            Cue::Notification { method, at } => {
                let times = self.after_notification.get_mut(method).and_then(|times| times.last_mut());
                times.into_iter().for_each(|after| after.push(said(*at)));
            }
        }
    }

    /// The exchange in whose course the server said it: the one that the record names, else the last one that was open.
    fn open_around(&mut self, row: &CallRow) -> Option<&mut Exchange> {
        let named = row.of.and_then(|seq| self.exchanges.iter().position(|exchange| exchange.seq == seq));
        let is_open = |exchange: &Exchange| {
            exchange.end_seq.is_none_or(|end| end > row.seq)
                && !matches!(exchange.end, End::Denied { .. })
                && !is_long_lived(&exchange.key)
        };
        let index = named.or_else(|| self.exchanges.iter().rposition(is_open))?;
        self.exchanges.get_mut(index)
    }

    fn version_of(&self, key: &Key, end: &End) -> Option<String> {
        let End::Answered { seq, .. } = end else { return None };
        if key.method != "initialize" {
            return None;
        }
        let bytes = self.message_bytes(*seq).ok()?;
        let message = single(&bytes)?;
        let Kind::Response { outcome: Answer::Result(result), .. } = message.kind() else { return None };
        ResultView::of(result).protocol_version()
    }

    /// The exchange of a number.
    pub(super) fn exchange(&self, index: usize) -> Option<&Exchange> {
        self.exchanges.get(index)
    }

    /// The exchanges in recorded order.
    pub(super) fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// The exchanges that a request may mean, in recorded order.
    pub(super) fn fitting(&self, key: &Key) -> &[usize] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// What the server said after the client's notification of a method was sent for the n-th time, from 0.
    pub(super) fn after_notification(&self, method: &str, times: usize) -> &[Said] {
        self.after_notification.get(method).and_then(|after| after.get(times)).map_or(&[], Vec::as_slice)
    }

    /// Whether a request of that era, by whether it is stateless, can have an answer here.
    pub(super) fn is_of_era(&self, stateless: bool) -> bool {
        if stateless { self.has_stateless } else { self.has_session }
    }

    /// Whether the run has sessions.
    pub(super) fn has_session(&self) -> bool {
        self.has_session
    }

    /// Why a request has no answer here, in words, and whether its method is unknown here altogether.
    pub(super) fn unknown(&self, key: &Key) -> (String, bool) {
        let lost = self.lost.iter().find(|lost| {
            lost.method.as_ref().is_none_or(|method| *method == key.method)
                && lost.name.as_ref().is_none_or(|name| Some(name) == key.name.as_ref())
        });
        let asked = key.describe();
        if let Some(Lost { seq, why, .. }) = lost {
            let text = format!(
                "{asked} was not recorded readably: the request of record #{seq} cannot be shown, {why}"
            );
            return (text, false);
        }
        let mut of_method =
            self.exchanges.iter().filter(|exchange| exchange.key.method == key.method).peekable();
        if of_method.peek().is_none() {
            return (format!("{asked} was not recorded: the run has no request of this method"), true);
        }
        let text = if of_method.any(|exchange| exchange.key.name == key.name) {
            format!("{asked} was not recorded with these parameters")
        } else {
            format!("{asked} was not recorded: the run never asked for it")
        };
        (text, false)
    }

    /// How many requests cannot be read.
    pub(super) fn lost(&self) -> usize {
        self.lost.len()
    }

    /// The bytes of a record's message.
    ///
    /// # Errors
    /// Why they cannot be shown, in words.
    pub(super) fn message_bytes(&self, seq: Seq) -> Result<Bytes, String> {
        match (self.sealed)(seq) {
            Sealed::Open(payload) => Ok(payload.body),
            Sealed::Nothing => Err("its payload was not recorded".to_owned()),
            other => Err(missing(&other).unwrap_or_default()),
        }
    }
}

impl End {
    fn of(row: &CallRow) -> End {
        let reason = || row.reason.as_deref().unwrap_or("no reason was recorded");
        match (row.kind, row.status.as_deref(), row.seq_end) {
            (RowKind::Refused, ..) | (_, Some("refused"), _) => End::Denied { reason: reason().to_owned() },
            (_, Some("ok" | "tool_error" | "error" | "input_required"), Some(seq)) => {
                End::Answered { seq, http_status: row.http_status }
            }
            (_, Some(status), Some(_)) => {
                End::Unanswered { why: format!("{}: {}", status.replace('_', " "), reason()) }
            }
            _ => End::Unanswered { why: "it was still open when the record was read".to_owned() },
        }
    }
}

/// Whether the answer is a stream that lasts until the client leaves.
pub(super) fn is_long_lived(key: &Key) -> bool {
    Method::of(&key.method).is_some_and(|method| method.is_long_lived())
}

/// The message in bytes that hold one and no batch.
pub(super) fn single(bytes: &[u8]) -> Option<Message<'_>> {
    match mcp::message::parse(bytes) {
        Ok(Frame::Single(message)) => Some(message),
        Ok(Frame::Batch(_)) | Err(_) => None,
    }
}
