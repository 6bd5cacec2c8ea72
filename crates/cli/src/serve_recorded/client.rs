//! One client of a replayed run: plays it what the record says, over whatever transport carries the messages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ledger::Seq;
use mcp::era::Era;
use mcp::error::{ErrorCode, error_response};
use mcp::fields::Params;
use mcp::message::{IdBuf, Kind, Message};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::key::Key;
use super::pace::{Beat, Pace};
use super::place::{Order, Place, Unrecorded};
use super::splice::{self, Fitting};
use super::tape::{End, Exchange, Said, Tape, is_long_lived, single};
use super::turn::{Ending, Step, Turn};
use crate::read::text;

/// How long the client may take to answer a request of the server; then the run goes on without.
const ANSWER: Duration = Duration::from_secs(10 * 60);

/// What all clients of a replay share.
pub(super) struct Play {
    pub(super) tape: Tape,
    pub(super) order: Order,
    pub(super) pace: Pace,
}

/// A client: a session over HTTP, or whoever is at the other end of standard input.
pub(super) struct Client {
    play: Arc<Play>,
    /// Locked for one look-up.
    place: Mutex<Place>,
    /// Requests to the client that wait for its answer. Locked for single changes.
    asked: Mutex<HashMap<IdBuf, oneshot::Sender<()>>>,
    /// The client's requests under way, to be cancelled. Locked for single changes.
    running: Mutex<HashMap<IdBuf, AbortHandle>>,
    last_id: AtomicU64,
    /// What belongs to no request goes here; while it is full the server waits.
    outside: mpsc::Sender<Bytes>,
    /// Turns true when the client will send no more.
    closing: watch::Sender<bool>,
}

impl Client {
    /// A client at the beginning of the run.
    pub(super) fn new(play: Arc<Play>, outside: mpsc::Sender<Bytes>) -> Arc<Client> {
        Arc::new(Client {
            play,
            place: Mutex::default(),
            asked: Mutex::default(),
            running: Mutex::default(),
            last_id: AtomicU64::new(0),
            outside,
            closing: watch::Sender::new(false),
        })
    }

    /// Takes a message: an answer goes to who waits for it, a notification is followed by what followed it, a request
    /// becomes a turn. Turns are taken in the order of the messages.
    pub(super) fn take(self: &Arc<Self>, message: &Message<'_>) -> Option<Turn> {
        match message.kind() {
            Kind::Response { id, .. } => {
                let waiting = id.and_then(|id| lock(&self.asked).remove(&id.to_buf()));
                if let Some(waiting) = waiting {
                    // Who waited may have been cancelled.
                    let _ = waiting.send(());
                }
                None
            }
            Kind::Notification { method, params } => {
                if method == "notifications/cancelled" {
                    let id = params.and_then(|params| Params::of(params).request_id());
                    let running = id.and_then(|id| lock(&self.running).remove(&id));
                    running.into_iter().for_each(|running| running.abort());
                }
                let after = lock(&self.place).told(&self.play.tape, method).to_vec();
                if !after.is_empty() {
                    let client = Arc::clone(self);
                    tokio::spawn(async move { client.say_outside(&after, Instant::now()).await });
                }
                None
            }
            Kind::Request { id, .. } => {
                let stateless = splice::is_stateless(message);
                let step = self.step(message, stateless);
                if let Step::Unrecorded(unrecorded) = &step {
                    tracing::warn!(reason = text::visible(&unrecorded.text), "a request has no answer here");
                }
                Some(Turn {
                    id: id.raw().to_owned(),
                    progress: splice::progress_token(message).map(str::to_owned),
                    step,
                    era: if stateless { Era::Stateless } else { Era::Session },
                })
            }
        }
    }

    fn step(&self, message: &Message<'_>, stateless: bool) -> Step {
        let tape = &self.play.tape;
        let unknown = |text: String| Step::Unrecorded(Unrecorded { code: ErrorCode::METHOD_NOT_FOUND, text });
        let Some(key) = Key::of(message) else { return unknown("this is no request".to_owned()) };
        if key.method == "ping" && !stateless && tape.fitting(&key).is_empty() {
            return Step::Pong;
        }
        if !tape.is_of_era(stateless) {
            let (here, there) = if stateless { ("session", "stateless") } else { ("stateless", "session") };
            let asked = key.describe();
            return unknown(format!(
                "{asked} was not recorded: the run is of the {here} era, this request of the {there} era"
            ));
        }
        let version = match message.kind() {
            Kind::Request { params: Some(params), .. } => Params::of(params).protocol_version(),
            _ => None,
        };
        match lock(&self.place).advance(tape, &key, version.as_deref(), self.play.order) {
            Ok(index) => Step::Exchange(index),
            Err(unrecorded) => Step::Unrecorded(unrecorded),
        }
    }

    /// Whether the server says something before it answers.
    pub(super) fn is_streamed(&self, turn: &Turn) -> bool {
        let exchange = self.exchange(turn);
        exchange.is_some_and(|exchange| !exchange.inside.is_empty() || is_long_lived(&exchange.key))
    }

    fn exchange(&self, turn: &Turn) -> Option<&Exchange> {
        match turn.step {
            Step::Exchange(index) => self.play.tape.exchange(index),
            Step::Pong | Step::Unrecorded(_) => None,
        }
    }

    /// Remembers the task that plays a turn, so that the client can cancel it.
    pub(super) fn keep(&self, turn: &str, task: AbortHandle) {
        let mut running = lock(&self.running);
        running.retain(|_, task| !task.is_finished());
        running.insert(IdBuf::of_raw(turn), task);
    }

    /// Plays a turn: what the server said in its course goes to `out`, in recorded order; then comes the ending, for the
    /// caller to send. Without `out` it is the ending alone.
    pub(super) async fn play(&self, turn: &Turn, out: Option<&mpsc::Sender<Bytes>>) -> Ending {
        let mut beat = Beat::new(self.play.pace, Instant::now());
        let exchange = match &turn.step {
            Step::Exchange(index) => self.play.tape.exchange(*index),
            Step::Pong => return turn.pong(),
            Step::Unrecorded(unrecorded) => return turn.error(unrecorded.code, &unrecorded.text),
        };
        let Some(exchange) = exchange else { return Ending::Silence };
        if let Some(out) = out {
            for said in &exchange.inside {
                beat.reach(said.at).await;
                if !self.say(*said, turn, out).await {
                    return Ending::Silence;
                }
            }
            if is_long_lived(&exchange.key) {
                tokio::select! {
                    () = out.closed() => {}
                    () = self.closed() => {}
                }
                return Ending::Silence;
            }
        }
        beat.reach(exchange.lasted).await;
        self.ending(exchange, turn).await
    }

    /// What the server said after it had answered.
    pub(super) async fn play_after(&self, turn: &Turn, begun: Instant) {
        if let Some(exchange) = self.exchange(turn) {
            self.say_outside(&exchange.after, begun).await;
        }
    }

    /// The client will send no more: nothing waits for it any longer.
    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }

    async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Says one thing in the course of a turn and, if it is a request, waits for its answer. `false`: the client has gone.
    async fn say(&self, said: Said, turn: &Turn, out: &mpsc::Sender<Bytes>) -> bool {
        let Some(bytes) = self.read(said.seq).await else { return true };
        let Some(message) = single(&bytes) else { return true };
        if !said.is_request {
            let fitting = Fitting { id: &turn.id, progress: turn.progress.as_deref() };
            return match splice::notification(&message, fitting) {
                Some(fitted) => out.send(fitted.into()).await.is_ok(),
                None => true,
            };
        }
        let id = self.new_id();
        let (answered, answer) = oneshot::channel();
        lock(&self.asked).insert(IdBuf::of_raw(&id), answered);
        if out.send(splice::with_id(&message, &id).into()).await.is_err() {
            return false;
        }
        tokio::select! {
            _ = answer => {}
            () = self.closed() => {}
            () = out.closed() => return false,
            () = tokio::time::sleep(ANSWER) => tracing::warn!("the client did not answer; the run goes on"),
        }
        true
    }

    async fn say_outside(&self, after: &[Said], begun: Instant) {
        let mut beat = Beat::new(self.play.pace, begun);
        for said in after {
            beat.reach(said.at).await;
            let Some(bytes) = self.read(said.seq).await else { continue };
            let Some(message) = single(&bytes) else { continue };
            let fitted = if said.is_request {
                Some(splice::with_id(&message, &self.new_id()))
            } else {
                splice::notification(&message, Fitting { id: "null", progress: None })
            };
            if let Some(fitted) = fitted
                && self.outside.send(fitted.into()).await.is_err()
            {
                return;
            }
        }
    }

    async fn ending(&self, exchange: &Exchange, turn: &Turn) -> Ending {
        let (seq, http_status) = match &exchange.end {
            End::Answered { seq, http_status } => (*seq, *http_status),
            End::Denied { reason } => return turn.denied(&exchange.key, reason),
            End::Unanswered { why } => {
                let text = format!("no answer was recorded for record #{}: {why}", exchange.seq);
                return turn.error(ErrorCode::UNRECORDED, &text);
            }
        };
        let bytes = match self.open(seq).await {
            Ok(bytes) => bytes,
            Err(why) => {
                let text = format!("the answer of record #{seq} cannot be shown: {why}");
                return turn.error(ErrorCode::UNRECORDED, &text);
            }
        };
        match (single(&bytes), http_status) {
            (Some(message), _) if matches!(message.kind(), Kind::Response { id: Some(_), .. }) => {
                Ending::Message(splice::with_id(&message, &turn.id).into())
            }
            (_, Some(status)) => {
                let text = format!("the recorded answer is HTTP status {status}");
                let message = error_response(Some(&turn.id), ErrorCode::INTERNAL_ERROR, &text).into();
                Ending::Http { status, body: bytes.clone(), message }
            }
            _ => turn.error(ErrorCode::UNRECORDED, &format!("the answer of record #{seq} is no message")),
        }
    }

    /// The bytes of a message, off the threads that serve others.
    async fn open(&self, seq: Seq) -> Result<Bytes, String> {
        let play = Arc::clone(&self.play);
        let read = tokio::task::spawn_blocking(move || play.tape.message_bytes(seq)).await;
        read.unwrap_or_else(|_| Err("reading it failed".to_owned()))
    }

    async fn read(&self, seq: Seq) -> Option<Bytes> {
        let read = self.open(seq).await;
        read.inspect_err(|why| tracing::warn!(record = seq.0, why, "a message is left out")).ok()
    }

    fn new_id(&self) -> String {
        (self.last_id.fetch_add(1, Ordering::Relaxed) + 1).to_string()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No panic can happen between the changes made under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
