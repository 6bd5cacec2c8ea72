//! `/mcp/NAME/sse`: HTTP+SSE of 2024-11-05 towards clients.
//!
//! The event stream names the address for messages at the gateway's own origin: the SDK clients refuse any other. That
//! address holds an unguessable id and is bound to the principal who opened the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use mcp::framing::sse::{encode_comment, encode_event};
use tokio::sync::{mpsc, oneshot};

use crate::drain::Drain;
use crate::duplex::{self, Arrival, End, QUEUE};
use crate::listen::reply::{self, Body, Reply};
use crate::listen::streamable::event_stream_headers;
use crate::listen::{Connection, body};
use crate::messages::Framing;
use crate::peer::Peer;
use crate::pipeline::ReleasedBody;
use crate::refusal::{Reason, Refused};
use crate::runs::Rule;
use crate::scope::Transport;
use crate::upstream::Server;
use crate::{Gateway, clock};

/// A comment goes out after this much silence, so that proxies and clients keep the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The open event streams by their id.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// Owned here; locked for single look-ups and changes.
    open: Mutex<HashMap<String, Stream>>,
}

#[derive(Debug)]
struct Stream {
    owner: Arc<Peer>,
    arrivals: mpsc::Sender<Arrival>,
}

/// Opens an event stream and the server behind it.
pub(crate) async fn open(
    gateway: &Arc<Gateway>,
    server: &Arc<Server>,
    connection: &Arc<Connection>,
) -> Response<Body> {
    let refuse = |reason: Reason| {
        server.meter.refuse(&reason);
        let refused = Refused::unparsed(None, &reason);
        reply::json(refused.status, refused.body)
    };
    let peer = connection.peer(&gateway.owners).await;
    let upstream = match server.connect().await {
        Ok(upstream) => upstream,
        Err(error) => return refuse(Reason::Link(error)),
    };
    let scope = match gateway.runs.begin(&server.name, Arc::clone(&peer), Transport::Sse, Rule::Session).await
    {
        Ok(scope) => scope,
        Err(error) => return refuse(Reason::NotRecorded(error)),
    };
    let (head, answer) = oneshot::channel();
    let (gateway, server) = (Arc::clone(gateway), Arc::clone(server));
    tokio::spawn(async move {
        let id = clock::new_session();
        let (arrivals, from) = mpsc::channel(QUEUE);
        let (to, messages) = mpsc::channel(QUEUE);
        let refused = gateway.refused_later(&server.name, &peer);
        gateway.streams.enter(&id, peer, arrivals);
        let endpoint = format!("/mcp/{}/messages?session={id}", scope.server);
        let writing = write_events(Reply::Head(head), endpoint, messages);
        // The stream is closed below when the gateway ends.
        let drain = Drain::never();
        let relaying = duplex::relay(&gateway.pipeline, &scope, End { to, from }, upstream, &drain);
        tokio::pin!(writing, relaying);
        tokio::select! {
            // The client has closed its stream: the server is told by the relay, which then drains it.
            () = &mut writing => {
                gateway.streams.leave(&id);
                relaying.await;
            }
            // What is still for the client goes out first.
            _ = &mut relaying => {
                gateway.streams.leave(&id);
                tokio::select! {
                    () = &mut writing => {}
                    () = gateway.stopping(&server) => {}
                }
            }
            () = gateway.stopping(&server) => gateway.streams.leave(&id),
            // The caller may no more.
            () = refused => gateway.streams.leave(&id),
        }
        gateway.close_run(&scope, "the event stream was closed").await;
    });
    answer.await.unwrap_or_else(|_| reply::empty(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Takes a message for an open stream.
pub(crate) async fn post(
    gateway: &Arc<Gateway>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let refuse = |reason: Reason| {
        let refused = Refused::unparsed(None, &reason);
        reply::json(refused.status, refused.body)
    };
    let id =
        request.uri().query().and_then(|query| query.strip_prefix("session=")).unwrap_or_default().to_owned();
    let peer = connection.peer(&gateway.owners).await;
    let Some(arrivals) = gateway.streams.find(&id, &peer) else { return refuse(Reason::NoSession) };
    let limits = &gateway.limits;
    match body::read_within(request.into_body(), limits.request_bytes, limits.request_wait).await {
        Ok(message) => match arrivals.send(Arrival::Message(message.into())).await {
            Ok(()) => reply::text(StatusCode::ACCEPTED, "accepted"),
            Err(_) => refuse(Reason::NoSession),
        },
        Err(error) => refuse(Reason::Body(error)),
    }
}

/// Resolves when the client has gone or the relay has ended.
async fn write_events(mut reply: Reply, endpoint: String, mut messages: mpsc::Receiver<ReleasedBody>) {
    reply.start(StatusCode::OK, event_stream_headers());
    let mut goes_on = reply.part(encode_event(None, Some("endpoint"), endpoint.as_bytes())).await;
    while goes_on {
        goes_on = tokio::select! {
            message = messages.recv() => match message {
                Some(message) => Framing::message().write(&mut reply, message.body()).await,
                None => return,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => reply.part(encode_comment("keep-alive")).await,
            () = reply.gone() => return,
        };
    }
}

impl Streams {
    fn enter(&self, id: &str, owner: Arc<Peer>, arrivals: mpsc::Sender<Arrival>) {
        let stream = Stream { owner, arrivals };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), stream);
    }

    fn find(&self, id: &str, peer: &Peer) -> Option<mpsc::Sender<Arrival>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(id).filter(|stream| stream.owner.may_share_with(peer)).map(|stream| stream.arrivals.clone())
    }

    /// Dropping the sender tells the relay that the client has left.
    fn leave(&self, id: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}
