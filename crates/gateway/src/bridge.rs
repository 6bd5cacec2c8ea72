//! HTTP exchanges over a stream of messages: gives each answer of a stdio or HTTP+SSE server to the exchange that
//! waits for it, and everything else to the session's own stream.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcp::message::{Frame, IdBuf, Kind, Message};
use tokio::sync::mpsc;

use crate::account::Side;
use crate::duplex::{Arrival, End, QUEUE};
use crate::pipeline::{Pipeline, Released, Route};
use crate::refusal::Refused;
use crate::scope::Scope;

/// Messages for a session's own stream that are kept while no client listens; beyond it the oldest go. They are in the
/// record all the same.
const BACKLOG: usize = 256;

/// One stream of messages to a server, shared by the exchanges of a session.
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) scope: Arc<Scope>,
    to_server: mpsc::Sender<Released>,
    /// Owned here; locked for look-ups and changes, never over an await.
    routes: Mutex<Routes>,
}

#[derive(Debug, Default)]
struct Routes {
    /// Exchanges by the ids of their requests.
    exchanges: HashMap<IdBuf, mpsc::Sender<Released>>,
    /// The request that declared a progress token.
    progress: HashMap<IdBuf, IdBuf>,
    /// The session's own stream.
    stream: Option<mpsc::Sender<Released>>,
    backlog: VecDeque<Released>,
    ended: bool,
}

/// The ids of a frame's requests, each with the progress token it declares.
pub(crate) type Requests = Vec<(IdBuf, Option<IdBuf>)>;

/// The server has ended.
#[derive(Debug)]
pub(crate) struct Ended;

impl Bridge {
    /// Takes over a stream of messages. The returned future carries what the server sends; it resolves with the reason
    /// when the server has ended.
    pub(crate) fn new(
        scope: Arc<Scope>,
        server: End,
        pipeline: Arc<Pipeline>,
    ) -> (Arc<Bridge>, impl Future<Output = String> + Send + 'static) {
        let bridge = Arc::new(Bridge { scope, to_server: server.to, routes: Mutex::default() });
        let weak = Arc::downgrade(&bridge);
        let mut from = server.from;
        let scope = Arc::clone(&bridge.scope);
        let carrying = async move {
            // The bridge is not kept alive from here: when the session lets go of it, the server's input closes.
            let reason = loop {
                match from.recv().await {
                    Some(Arrival::Message(message)) => {
                        match pipeline
                            .carry_bytes(Route { scope: &scope, exchange: None }, Side::Server, &message)
                            .await
                        {
                            Ok(released) => {
                                if let Some(bridge) = weak.upgrade() {
                                    bridge.deliver(released).await;
                                }
                            }
                            Err(refused) => {
                                let reason = refused.reason();
                                tracing::warn!(
                                    server = &*scope.server,
                                    reason,
                                    "a server's message was withheld"
                                );
                                if let Some(bridge) = weak.upgrade() {
                                    bridge.answer_instead(refused).await;
                                }
                            }
                        }
                    }
                    Some(Arrival::Junk(reason)) => {
                        tracing::warn!(
                            server = &*scope.server,
                            reason,
                            "a server printed what is no message"
                        );
                    }
                    Some(Arrival::Ended(reason)) => break reason,
                    None => break "the server has ended".to_owned(),
                }
            };
            if let Some(bridge) = weak.upgrade() {
                bridge.end();
            }
            reason
        };
        (bridge, carrying)
    }

    /// Sends a frame on and gives what answers it; the channel closes when the server ends.
    pub(crate) async fn exchange(
        &self,
        released: Released,
        requests: Requests,
    ) -> Result<mpsc::Receiver<Released>, Ended> {
        let (sender, answers) = mpsc::channel(QUEUE);
        {
            let mut routes = self.routes();
            if routes.ended {
                return Err(Ended);
            }
            for (id, token) in requests {
                if let Some(token) = token {
                    routes.progress.insert(token, id.clone());
                }
                routes.exchanges.insert(id, sender.clone());
            }
        }
        self.to_server.send(released).await.map_err(|_| Ended)?;
        Ok(answers)
    }

    /// Forgets a request whose client has gone.
    pub(crate) fn forget(&self, id: &IdBuf) {
        self.routes().forget(id);
    }

    /// Opens the session's own stream, closing an earlier one; what was kept comes first.
    pub(crate) fn listen(&self) -> mpsc::Receiver<Released> {
        let (sender, messages) = mpsc::channel(BACKLOG + QUEUE);
        let mut routes = self.routes();
        for kept in routes.backlog.drain(..).collect::<Vec<_>>() {
            // The channel has room for the whole backlog.
            let _ = sender.try_send(kept);
        }
        routes.stream = (!routes.ended).then_some(sender);
        messages
    }

    async fn deliver(&self, released: Released) {
        let Some(destination) = self.routes().destination(&released) else {
            return;
        };
        if let Err(mpsc::error::SendError(released)) = destination.send(released).await {
            self.routes().keep(released);
        }
    }

    /// Tells who waits for what was withheld.
    async fn answer_instead(&self, refused: Refused) {
        match refused.owed {
            Some(Side::Client) => self.deliver(Released::refusal(refused)).await,
            // Not waited for: a server that does not read would keep its own messages from being read.
            Some(Side::Server) => drop(self.to_server.try_send(Released::refusal(refused))),
            None => {}
        }
    }

    fn end(&self) {
        *self.routes() = Routes { ended: true, ..Routes::default() };
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        // No panic can happen between the changes made under this lock.
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    /// Where a frame of the server goes: to the exchange it answers or speaks of, else to the session's stream, else to
    /// any open exchange. `None`: it was kept, or its exchange has gone.
    fn destination(&mut self, released: &Released) -> Option<mpsc::Sender<Released>> {
        let frame = mcp::message::parse(released.frame()).ok()?;
        let messages = frame.messages();
        if let Some(id) = messages.iter().find_map(answered) {
            let destination = self.exchanges.get(&id).cloned();
            for message in messages {
                if let Some(id) = answered(message) {
                    self.forget(&id);
                }
            }
            return destination;
        }
        let named = messages.iter().find_map(spoken_of).and_then(|token| {
            let id = self.progress.get(&token).unwrap_or(&token);
            self.exchanges.get(id).cloned()
        });
        let open = named
            .or_else(|| self.stream.clone().filter(|stream| !stream.is_closed()))
            .or_else(|| self.exchanges.values().next().cloned());
        if open.is_none() {
            self.keep(released.clone());
        }
        open
    }

    fn keep(&mut self, released: Released) {
        if self.backlog.len() == BACKLOG {
            self.backlog.pop_front();
        }
        self.backlog.push_back(released);
    }

    fn forget(&mut self, id: &IdBuf) {
        self.exchanges.remove(id);
        self.progress.retain(|_, request| request != id);
    }
}

fn answered(message: &Message<'_>) -> Option<IdBuf> {
    match message.kind() {
        Kind::Response { id: Some(id), .. } => Some(id.to_buf()),
        _ => None,
    }
}

/// The progress token or the subscription that a notification speaks of.
fn spoken_of(message: &Message<'_>) -> Option<IdBuf> {
    let Kind::Notification { params: Some(params), .. } = message.kind() else { return None };
    let params = mcp::fields::Params::of(params);
    params.progress_token().or_else(|| params.subscription_id())
}

/// The ids of a frame's requests, each with the progress token it declares.
pub(crate) fn requests_of(frame: &Frame<'_>) -> Requests {
    let requests = frame.messages().iter().filter_map(|message| match message.kind() {
        Kind::Request { id, params, .. } => {
            let token = params.and_then(|params| mcp::fields::Params::of(params).meta_progress_token());
            Some((id.to_buf(), token))
        }
        _ => None,
    });
    requests.collect()
}

/// Removes what a frame answers.
pub(crate) fn strike_off(waiting: &mut Vec<IdBuf>, released: &Released) {
    if let Ok(frame) = mcp::message::parse(released.frame()) {
        let answers: Vec<IdBuf> = frame.messages().iter().filter_map(answered).collect();
        waiting.retain(|id| !answers.contains(id));
    }
}
