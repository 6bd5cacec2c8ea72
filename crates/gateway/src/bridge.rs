//! HTTP exchanges over a stream of messages: gives each answer of a stdio or HTTP+SSE server to the exchange that
//! waits for it, and everything else to the session's own stream.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use mcp::message::{Frame, IdBuf, Kind};
use tokio::sync::mpsc;

use crate::account::Side;
use crate::duplex::{Arrival, End, QUEUE};
use crate::pipeline::{Pipeline, Released, ReleasedBody};
use crate::refusal::Refused;
use crate::route::Route;
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
    exchanges: HashMap<IdBuf, mpsc::Sender<ReleasedBody>>,
    /// The request that declared a progress token.
    progress: HashMap<IdBuf, IdBuf>,
    /// The session's own stream.
    stream: Option<mpsc::Sender<ReleasedBody>>,
    backlog: VecDeque<ReleasedBody>,
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
        server: End<Released>,
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
                    Some(Arrival::Ended(reason)) => break reason,
                    Some(arrival) => carry_down(&pipeline, &scope, &weak, arrival).await,
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
    ) -> Result<mpsc::Receiver<ReleasedBody>, Ended> {
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
    pub(crate) fn listen(&self) -> mpsc::Receiver<ReleasedBody> {
        let (sender, messages) = mpsc::channel(BACKLOG + QUEUE);
        let mut routes = self.routes();
        for kept in routes.backlog.drain(..).collect::<Vec<_>>() {
            // The channel has room for the whole backlog.
            let _ = sender.try_send(kept);
        }
        routes.stream = (!routes.ended).then_some(sender);
        messages
    }

    async fn deliver(&self, released: ReleasedBody) {
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
            Some(Side::Client) => self.deliver(ReleasedBody::refusal(&refused)).await,
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
    fn destination(&mut self, released: &ReleasedBody) -> Option<mpsc::Sender<ReleasedBody>> {
        if let Some(id) = released.answered().first() {
            let destination = self.exchanges.get(id).cloned();
            released.answered().iter().for_each(|id| self.forget(id));
            return destination;
        }
        let named = released.spoken_of().and_then(|token| {
            let id = self.progress.get(token).unwrap_or(token);
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

    fn keep(&mut self, released: ReleasedBody) {
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

/// Carries one arrival of the server to whom it concerns.
async fn carry_down(pipeline: &Pipeline, scope: &Scope, bridge: &Weak<Bridge>, arrival: Arrival) {
    match arrival {
        Arrival::Message(content) => {
            match pipeline.carry_down(Route { scope, exchange: None }, &content).await {
                Ok(released) => {
                    if let Some(bridge) = bridge.upgrade() {
                        bridge.deliver(released).await;
                    }
                }
                Err(refused) => {
                    let reason = refused.reason();
                    tracing::warn!(server = &*scope.server, reason, "a server's message was withheld");
                    if let Some(bridge) = bridge.upgrade() {
                        bridge.answer_instead(refused).await;
                    }
                }
            }
        }
        Arrival::Lost(lost) => {
            tracing::warn!(server = &*scope.server, reason = %lost.error, "a server's message was not taken in");
            for refused in pipeline.lose(scope, &lost).await {
                if let Some(bridge) = bridge.upgrade() {
                    bridge.answer_instead(refused).await;
                }
            }
        }
        Arrival::Junk(reason) => {
            tracing::warn!(server = &*scope.server, reason, "a server printed what is no message");
        }
        // The caller's.
        Arrival::Ended(_) => {}
    }
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
