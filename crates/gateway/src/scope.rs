//! What the messages of one MCP session, one stateless exchange or one wrapped server share: the server, the run,
//! who is at the other end, and the calls that are open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::{CallId, Hash, RunId};
use mcp::era::Era;
use mcp::fields::{Params, ResultView};
use mcp::message::{Answer, IdBuf, Kind, Message};
use mcp::method::Method;
use mcp::mrtr::{Leg, RoundKey};
use mcp::page::{List, Lists};
use policy::Recording;
use recorder::Opened;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::account::Side;
use crate::budgets::Share;
use crate::clock;
use crate::meter::{ServerMeter, Tally};
use crate::peer::Peer;
use crate::refusal::Reason;
use crate::rounds::Approval;

/// Shared by all messages that may answer one another.
#[derive(Debug)]
pub(crate) struct Scope {
    /// The server's configured name, or [`NO_SERVER`].
    pub(crate) server: Arc<str>,
    pub(crate) run: RunId,
    pub(crate) peer: Arc<Peer>,
    pub(crate) transport: Transport,
    pub(crate) meter: Arc<ServerMeter>,
    pub(crate) course: Arc<Course>,
    /// Learned from the first messages. Locked for single reads and writes, never over an await.
    facts: Mutex<Facts>,
    /// Calls without an answer yet. Locked likewise.
    pending: Mutex<Pending>,
    /// Requests that the client has cancelled and that are open in some exchange. Locked likewise.
    cancelled: Mutex<Vec<IdBuf>>,
    /// The holds whose page the user was led to. Locked likewise.
    led: Mutex<Vec<Led>>,
    /// Those of them that have ended: for whoever has a stream to the client. Locked likewise.
    over: Mutex<Vec<String>>,
    /// There is another one.
    grew: Notify,
}

/// A hold to whose page the user was led.
#[derive(Debug)]
struct Led {
    /// The request that did it, until it is answered.
    asked: Option<IdBuf>,
    hold: String,
    /// Whether the client knows that the wait is over.
    is_told: bool,
}

/// Holds that are remembered as led to; of more the oldest are forgotten, and their users led there again.
const LED: usize = 256;

/// Stands for the server where there is none, as of a login that is refused: no server can have that name.
pub(crate) const NO_SERVER: &str = "";

/// Cancellations that are remembered; of more the oldest are forgotten, and their calls end as failed.
const CANCELLED: usize = 256;

/// Calls of one session, or of one stream of messages, that may be open at once: no answer need ever come.
const OPEN: usize = 4096;

/// How far a run has come.
#[derive(Debug)]
pub(crate) struct Course {
    begun: Instant,
    calls: AtomicU64,
}

impl Course {
    fn begin() -> Course {
        Course { begun: Instant::now(), calls: AtomicU64::default() }
    }

    /// Counts a call; gives how many were before it. It is counted before it is judged, so that of many that come at once no
    /// two are the first.
    pub(crate) fn count(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes back that a call was counted: it was not let through.
    pub(crate) fn uncount(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Seconds since it began, and calls since then.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        (self.begun.elapsed().as_secs(), self.calls.load(Ordering::Relaxed))
    }
}

/// How the client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Streamable,
    Sse,
    Wrap,
}

impl Transport {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Transport::Streamable => "streamable-http",
            Transport::Sse => "http+sse",
            Transport::Wrap => "stdio",
        }
    }
}

/// What the peers have said of themselves: claims, not proof.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// `clientInfo` as sent, a JSON text.
    pub(crate) agent: Option<Arc<str>>,
    /// Protocol version as a word.
    pub(crate) version: Option<Arc<str>>,
    pub(crate) era: Option<Era>,
    /// First digits of the session id's SHA-256.
    pub(crate) session: Option<Arc<str>>,
    /// The lists of whose changes the server says that it tells.
    pub(crate) tells: Lists,
    /// Whether the client of a session says that it can lead its user to an address.
    pub(crate) leads_to_urls: bool,
}

/// Open calls by who asked and under which id.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    calls: HashMap<(Side, IdBuf), Waiting>,
}

/// A call without an answer yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) opened: Opened,
    pub(crate) tally: Tally,
    /// Who asked.
    pub(crate) peer: Arc<Peer>,
    /// The token that progress notifications will name.
    progress: Option<IdBuf>,
    /// Whether its answer is a stream that no server ends.
    is_stream: bool,
    /// The lists of whose changes that stream tells.
    listens: Lists,
    /// What its next round will be known by, where there may be one.
    leg: Option<Leg>,
    /// What its answer is a page of.
    pub(crate) list: Option<List>,
    /// Digest of where that list was to go on.
    pub(crate) cursor: Option<Hash>,
    /// Whether its answer is a server's account of itself.
    pub(crate) describes: bool,
    /// How much of its answer is recorded.
    pub(crate) recording: Recording,
    /// What it has taken of limits.
    pub(crate) share: Option<Share>,
    /// What released it, if it was held.
    pub(crate) approval: Option<Approval>,
}

impl Waiting {
    /// An opened call, with what its request says of what may come.
    pub(crate) fn new(
        opened: Opened,
        (tally, recording, (share, approval)): (Tally, Recording, (Option<Share>, Option<Approval>)),
        peer: &Arc<Peer>,
        (method, params): (&str, Option<&RawValue>),
    ) -> Waiting {
        let peer = Arc::clone(peer);
        let progress = params.and_then(|params| Params::of(params).meta_progress_token());
        let is_stream = Method::of(method).is_some_and(|method| method.is_long_lived());
        let listens = params.filter(|_| is_stream).map(|params| Params::of(params).list_changes());
        let listens = listens.unwrap_or_default();
        let leg = params.and_then(|params| Leg::of(method, params));
        let (list, describes) = (List::of(method), method == "server/discover");
        let cursor = params.filter(|_| list.is_some()).and_then(|params| Params::of(params).cursor());
        let cursor = cursor.map(|cursor| Hash::of(cursor.as_bytes()));
        Waiting {
            opened,
            tally,
            peer,
            progress,
            is_stream,
            listens,
            leg,
            list,
            cursor,
            describes,
            recording,
            share,
            approval,
        }
    }

    /// What the next round will be known by, if the answer asks for one.
    pub(crate) fn next_round(&self, answer: &Answer<'_>) -> Option<RoundKey> {
        let Answer::Result(result) = answer else { return None };
        self.leg.as_ref()?.awaited(result)
    }
}

impl Scope {
    pub(crate) fn new(
        server: Arc<str>,
        run: RunId,
        peer: Arc<Peer>,
        transport: Transport,
        meter: Arc<ServerMeter>,
    ) -> Scope {
        Scope {
            server,
            run,
            peer,
            transport,
            meter,
            course: Arc::new(Course::begin()),
            facts: Mutex::default(),
            pending: Mutex::default(),
            cancelled: Mutex::default(),
            led: Mutex::default(),
            over: Mutex::default(),
            grew: Notify::new(),
        }
    }

    /// A scope of the same run for one exchange: its facts are its own.
    pub(crate) fn for_exchange(&self) -> Arc<Scope> {
        let (server, peer) = (Arc::clone(&self.server), Arc::clone(&self.peer));
        let scope = Scope::new(server, self.run, peer, self.transport, Arc::clone(&self.meter));
        Arc::new(Scope { course: Arc::clone(&self.course), ..scope })
    }

    /// A copy of what is known now.
    pub(crate) fn facts(&self) -> Facts {
        lock(&self.facts).clone()
    }

    /// Adds to what is known.
    pub(crate) fn learn(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut lock(&self.facts));
    }

    /// Learns from a message what the peers say of themselves: `initialize` and its answer, or a stateless request's
    /// `_meta`.
    pub(crate) fn observe(&self, message: &Message<'_>) {
        match message.kind() {
            Kind::Request { method, params: Some(params), .. } => {
                let params = Params::of(params);
                let (era, version) = match params.meta_version() {
                    Some(version) => (Era::Stateless, Some(version)),
                    None if method == "initialize" => (Era::Session, params.protocol_version()),
                    None => return,
                };
                self.learn(|facts| {
                    facts.era = Some(era);
                    facts.version = version.map(Arc::from);
                    facts.agent = params.client_info().map(Arc::from);
                    facts.leads_to_urls = params.leads_to_urls();
                });
            }
            Kind::Response { outcome: Answer::Result(result), .. } => {
                let result = ResultView::of(result);
                let Some(version) = result.protocol_version() else { return };
                self.learn(|facts| {
                    if facts.era == Some(Era::Session) {
                        facts.tells = result.list_changes();
                        facts.version = Some(version.into());
                    }
                });
            }
            _ => {}
        }
    }

    /// Remembers that the client has cancelled a request.
    pub(crate) fn cancel(&self, id: IdBuf) {
        let mut cancelled = lock(&self.cancelled);
        if cancelled.len() == CANCELLED {
            cancelled.remove(0);
        }
        cancelled.push(id);
    }

    /// Takes a request out of the cancelled ones; `false`: it is none of them.
    pub(crate) fn take_cancelled_one(&self, id: &IdBuf) -> bool {
        let mut cancelled = lock(&self.cancelled);
        let before = cancelled.len();
        cancelled.retain(|other| other != id);
        cancelled.len() < before
    }

    /// An id under which to lead the user to the page of a hold; `None`: that was done.
    pub(crate) fn lead(&self, hold: &str) -> Option<String> {
        let mut led = lock(&self.led);
        if led.iter().any(|other| other.hold == hold) {
            return None;
        }
        if led.len() == LED {
            led.remove(0);
        }
        let id = format!("tollbook-{}", clock::new_secret());
        let asked = Some(IdBuf::of_raw(&format!("\"{id}\"")));
        led.push(Led { asked, hold: hold.to_owned(), is_told: false });
        Some(id)
    }

    /// The hold to whose page a request of that id has led; it is answered once.
    pub(crate) fn take_led(&self, id: &IdBuf) -> Option<String> {
        let mut led = lock(&self.led);
        let led = led.iter_mut().find(|led| led.asked.as_ref() == Some(id))?;
        led.asked = None;
        Some(led.hold.clone())
    }

    /// Whether the user was led to the page of a hold and the client is still to be told that the wait is over.
    pub(crate) fn is_owed_end(&self, hold: &str) -> bool {
        lock(&self.led).iter().any(|led| led.hold == hold && !led.is_told)
    }

    /// The same; who asks tells the client, and nobody else does.
    pub(crate) fn tells_end(&self, hold: &str) -> bool {
        let mut led = lock(&self.led);
        let owed = led.iter_mut().find(|led| led.hold == hold && !led.is_told);
        owed.map(|led| led.is_told = true).is_some()
    }

    /// Notes that a hold has ended that no call waits under: a stream tells the client.
    pub(crate) fn is_over(&self, hold: String) {
        let mut over = lock(&self.over);
        if over.len() == LED {
            over.remove(0);
        }
        over.push(hold);
        self.grew.notify_waiters();
    }

    /// The next hold that has ended so. Nothing is lost if it is dropped meanwhile.
    pub(crate) async fn next_over(&self) -> String {
        loop {
            let grew = self.grew.notified();
            tokio::pin!(grew);
            grew.as_mut().enable();
            if let Some(hold) = self.take_over() {
                return hold;
            }
            grew.await;
        }
    }

    fn take_over(&self) -> Option<String> {
        let mut over = lock(&self.over);
        (!over.is_empty()).then(|| over.remove(0))
    }

    /// Takes the cancelled ones out of an exchange's calls.
    pub(crate) fn take_cancelled(&self, exchange: &mut Pending) -> Pending {
        let mut taken = Pending::default();
        lock(&self.cancelled).retain(|id| match exchange.take(Side::Client, id) {
            Some(call) => {
                taken.keep(Side::Client, id.clone(), call);
                false
            }
            None => true,
        });
        taken
    }

    /// The open calls. Not to be held over an await.
    pub(crate) fn pending(&self) -> MutexGuard<'_, Pending> {
        lock(&self.pending)
    }
}

impl Pending {
    /// Keeps an open call until its answer comes.
    pub(crate) fn keep(&mut self, asked_by: Side, id: IdBuf, call: Waiting) {
        self.calls.insert((asked_by, id), call);
    }

    /// Whether a call of that id is open.
    pub(crate) fn has(&self, asked_by: Side, id: &IdBuf) -> bool {
        self.calls.contains_key(&(asked_by, id.clone()))
    }

    /// Whether one more call may be kept, under that id.
    pub(crate) fn room_for(&self, asked_by: Side, id: &IdBuf) -> Result<(), Reason> {
        match (self.has(asked_by, id), self.calls.len() < OPEN) {
            (true, _) => Err(Reason::IdInUse),
            (false, false) => Err(Reason::TooMany),
            (false, true) => Ok(()),
        }
    }

    /// The ids of the open calls of one side.
    pub(crate) fn asked_by(&self, side: Side) -> Vec<IdBuf> {
        self.calls.keys().filter(|(by, _)| *by == side).map(|(_, id)| id.clone()).collect()
    }

    /// Takes a call out.
    pub(crate) fn take(&mut self, asked_by: Side, id: &IdBuf) -> Option<Waiting> {
        self.calls.remove(&(asked_by, id.clone()))
    }

    /// Moves all calls to another place.
    pub(crate) fn move_to(&mut self, other: &mut Pending) {
        other.calls.extend(self.calls.drain());
    }

    /// Takes all calls out.
    pub(crate) fn drain(&mut self) -> Vec<(IdBuf, Waiting)> {
        self.calls.drain().map(|((_, id), waiting)| (id, waiting)).collect()
    }

    /// The client's call that a notification of the server speaks of: the one with that progress token, else the only one.
    pub(crate) fn spoken_of(&self, token: Option<&IdBuf>) -> Option<IdBuf> {
        let mut asked = self.calls.iter().filter(|((side, _), _)| *side == Side::Client);
        if let Some(token) = token {
            return asked
                .find(|(_, waiting)| waiting.progress.as_ref() == Some(token))
                .map(|((_, id), _)| id.clone());
        }
        match (asked.next(), asked.next()) {
            (Some(((_, id), _)), None) => Some(id.clone()),
            _ => None,
        }
    }

    /// The id of the only open call of the client.
    pub(crate) fn only_call(&self) -> Option<CallId> {
        let id = self.spoken_of(None)?;
        self.calls.get(&(Side::Client, id)).map(|waiting| waiting.opened.call())
    }

    /// The subscriptions of the client, and what each is told of.
    pub(crate) fn listening(&self) -> Vec<(IdBuf, Lists)> {
        let listens = |((side, id), waiting): (&(Side, IdBuf), &Waiting)| {
            (*side == Side::Client && waiting.is_stream).then(|| (id.clone(), waiting.listens))
        };
        self.calls.iter().filter_map(listens).collect()
    }

    /// Whether the client waits for an answer that will come.
    pub(crate) fn awaits_answers(&self) -> bool {
        self.calls.iter().any(|((side, _), waiting)| *side == Side::Client && !waiting.is_stream)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere cannot leave these small values half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
