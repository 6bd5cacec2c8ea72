//! The replayed run over Streamable HTTP, in the era of its requests (MCP 2025-11-25 and 2026-07-28, basic/transports).
//!
//! Each session begins the run anew. The stateless era has no sessions: there the run goes on from where it is for all
//! clients, until the replay is started again.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use mcp::era::Era;
use mcp::error::{ErrorCode, error_response};
use mcp::message::{Answer, Frame, IdBuf, Kind};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::body::Body;
use super::client::{Client, Play};
use super::sessions::{SESSION, Sessions, session_id};
use super::splice;
use super::tape::single;
use super::turn::{Ending, Turn};

/// Largest request; the gateway records none that is larger.
const REQUEST_BYTES: usize = 128 << 20;

/// Messages of a streamed answer that wait for a slow client; then the server waits.
const QUEUE: usize = 16;

/// Serves until SIGTERM or SIGINT.
pub(super) async fn serve(play: Arc<Play>, address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive signals")?;
    announce(listener.local_addr()?)?;
    let sessions = Arc::new(Sessions::new(play));
    loop {
        let stream = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            accepted = listener.accept() => accepted.context("cannot accept connections")?.0,
        };
        // Latency matters more than packet count: messages are small and waited for.
        let _ = stream.set_nodelay(true);
        let sessions = Arc::clone(&sessions);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let sessions = Arc::clone(&sessions);
                async move { Ok::<_, Infallible>(route(&sessions, request).await) }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(error = %error, "a connection ended early");
            }
        });
    }
}

/// The line that a script waits for.
fn announce(address: SocketAddr) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "listening on http://{address}/mcp")
}

/// `/mcp`, and `/mcp/NAME` as at the gateway, so that of a client's configuration only the port changes.
async fn route(sessions: &Sessions, request: Request<Incoming>) -> Response<Body> {
    if !is_from_here(&request) {
        return text(StatusCode::FORBIDDEN, "`Host` or `Origin` names another host than this one");
    }
    let mut segments = request.uri().path().split('/').skip(1);
    if segments.next() != Some("mcp") || segments.nth(1).is_some() {
        return text(StatusCode::NOT_FOUND, "no such endpoint; the server is at /mcp");
    }
    match *request.method() {
        Method::POST => post(sessions, request).await,
        Method::GET if sessions.are_offered() => match sessions.find(request.headers()) {
            Some(session) => match session.listen() {
                Some(body) => events(body),
                None => text(StatusCode::CONFLICT, "the session has such a stream already"),
            },
            None => no_session(request.headers()),
        },
        Method::DELETE if sessions.are_offered() => match sessions.end(request.headers()) {
            true => response(StatusCode::OK, Body::empty()),
            false => no_session(request.headers()),
        },
        _ => {
            let mut response = response(StatusCode::METHOD_NOT_ALLOWED, Body::empty());
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            response
        }
    }
}

/// A web page can reach a loopback port by DNS rebinding; it cannot choose `Host` or `Origin` freely.
fn is_from_here(request: &Request<Incoming>) -> bool {
    let is_loopback = |text: &str| {
        text.parse::<http::uri::Authority>()
            .is_ok_and(|authority| matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]"))
    };
    let headers = request.headers();
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => request.uri().authority().map(http::uri::Authority::as_str),
    };
    let origins = headers.get_all(header::ORIGIN);
    host.is_some_and(is_loopback)
        && origins.iter().all(|origin| {
            let origin = origin.to_str().unwrap_or_default();
            origin.split_once("://").is_some_and(|(_, authority)| is_loopback(authority))
        })
}

async fn post(sessions: &Sessions, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = Limited::new(body, REQUEST_BYTES).collect().await else {
        return text(StatusCode::BAD_REQUEST, "the body is too large or ended early");
    };
    let bytes = body.to_bytes();
    let frame = match mcp::message::parse(&bytes) {
        Ok(frame) => frame,
        Err(error) => {
            let id = mcp::message::id_of_refused(&bytes);
            let id = id.as_ref().map(IdBuf::raw);
            return json(StatusCode::BAD_REQUEST, error_response(id, error.code(), &error.to_string()));
        }
    };
    if frame.messages().iter().any(splice::is_stateless) {
        if let Some(refused) = mismatch(&frame, &parts.headers) {
            return refused;
        }
        return answer(sessions.stateless(), &frame, &parts.headers).await;
    }
    let initializes =
        |kind: &Kind<'_>| matches!(kind, Kind::Request { method, .. } if method == "initialize");
    if !sessions.are_offered() {
        // Whoever asks learns from the answer that this run is of the other era.
        return answer(sessions.stateless(), &frame, &parts.headers).await;
    }
    if session_id(&parts.headers).is_none() && frame.messages().iter().any(|m| initializes(m.kind())) {
        let (id, session) = sessions.begin();
        let mut response = answer(&session.client, &frame, &parts.headers).await;
        if let Ok(id) = HeaderValue::try_from(id) {
            response.headers_mut().insert(SESSION, id);
        }
        return response;
    }
    match sessions.find(&parts.headers) {
        Some(session) => answer(&session.client, &frame, &parts.headers).await,
        None => no_session(&parts.headers),
    }
}

/// Headers and body must agree in the stateless era: a client that gets this wrong should learn it here too.
fn mismatch(frame: &Frame<'_>, headers: &HeaderMap) -> Option<Response<Body>> {
    let pairs: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    frame.messages().iter().find_map(|message| {
        let error = mcp::header::check(message, &pairs).err()?;
        let id = match message.kind() {
            Kind::Request { id, .. } => Some(id.raw()),
            _ => None,
        };
        Some(json(
            StatusCode::BAD_REQUEST,
            error_response(id, ErrorCode::HEADER_MISMATCH, &error.to_string()),
        ))
    })
}

/// Plays what a frame asks for: as one JSON body where the server said nothing else, otherwise as events.
async fn answer(client: &Arc<Client>, frame: &Frame<'_>, headers: &HeaderMap) -> Response<Body> {
    let mut turns: Vec<Turn> = frame.messages().iter().filter_map(|message| client.take(message)).collect();
    let takes_events = headers.get(header::ACCEPT).is_none_or(|accept| {
        accept.to_str().is_ok_and(|types| types.contains("text/event-stream") || types.contains("*/*"))
    });
    let is_plain = turns.len() == 1 && !turns.iter().any(|turn| client.is_streamed(turn));
    if turns.is_empty() {
        return response(StatusCode::ACCEPTED, Body::empty());
    }
    if is_plain || !takes_events {
        return match turns.pop() {
            Some(turn) => whole(client, turn).await,
            None => response(StatusCode::ACCEPTED, Body::empty()),
        };
    }
    let (out, messages) = mpsc::channel(QUEUE);
    for turn in turns {
        let (client_of_task, out, id) = (Arc::clone(client), out.clone(), turn.id.clone());
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            match client_of_task.play(&turn, Some(&out)).await {
                Ending::Message(message) | Ending::Http { message, .. } => {
                    // In the stateless era a client that has gone has cancelled, in the session era it may have.
                    let _ = out.send(message).await;
                }
                Ending::Silence => {}
            }
            drop(out);
            client_of_task.play_after(&turn, begun).await;
        });
        client.keep(&id, task.abort_handle());
    }
    events(Body::Events(messages))
}

async fn whole(client: &Arc<Client>, turn: Turn) -> Response<Body> {
    let (era, id) = (turn.era, turn.id.clone());
    let playing = Arc::clone(client);
    let task = tokio::spawn(async move {
        let begun = Instant::now();
        let ending = playing.play(&turn, None).await;
        tokio::spawn(async move { playing.play_after(&turn, begun).await });
        ending
    });
    client.keep(&id, task.abort_handle());
    match task.await {
        Ok(Ending::Message(message)) => json(status_of(&message, era), message),
        Ok(Ending::Http { status, body, .. }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
            if is_json { json(status, body) } else { text(status, &String::from_utf8_lossy(&body)) }
        }
        Ok(Ending::Silence) | Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the request was cancelled"),
    }
}

/// The stateless era says some errors in the status too (MCP 2026-07-28, basic/transports/streamable-http).
fn status_of(message: &[u8], era: Era) -> StatusCode {
    #[derive(serde::Deserialize)]
    struct Coded {
        code: i64,
    }
    let code = single(message).and_then(|message| match message.kind() {
        Kind::Response { outcome: Answer::Error(error), .. } => {
            serde_json::from_str::<Coded>(error.get()).ok().map(|coded| coded.code)
        }
        _ => None,
    });
    match (era, code) {
        (Era::Stateless, Some(-32601)) => StatusCode::NOT_FOUND,
        (Era::Stateless, Some(-32022..=-32020)) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

fn no_session(headers: &HeaderMap) -> Response<Body> {
    let status = if session_id(headers).is_some() { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
    let message = "this session is unknown or has ended; initialize again";
    json(status, error_response(None, ErrorCode::INVALID_REQUEST, message))
}

fn events(body: Body) -> Response<Body> {
    let mut response = response(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    response
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = response(status, Body::whole(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text(status: StatusCode, line: &str) -> Response<Body> {
    let mut response = response(status, Body::whole(format!("{line}\n").into()));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
