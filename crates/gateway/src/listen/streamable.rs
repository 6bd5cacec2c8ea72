//! `/mcp/NAME`: Streamable HTTP, both eras (MCP 2025-11-25 and 2026-07-28, basic/transports).

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use crate::Gateway;
use crate::exchange::Exchange;
use crate::listen::reply::{self, Body, Reply};
use crate::listen::{Connection, body};
use crate::peer::Peer;
use crate::refusal::{Reason, Refused};
use crate::runs::Session;
use crate::upstream::http::on_behalf;
use crate::upstream::{Link, Server};

/// The session's id, on both sides.
pub(crate) const SESSION: &str = "mcp-session-id";

/// Serves one request at a server's endpoint.
pub(crate) async fn serve(
    gateway: &Arc<Gateway>,
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let stateless = request.headers().get("mcp-protocol-version").is_some_and(|version| {
        version
            .to_str()
            .is_ok_and(|text| mcp::era::ProtocolVersion::parse(text).era() == mcp::era::Era::Stateless)
    });
    match *request.method() {
        Method::POST => post(gateway, server, connection, request).await,
        // The stateless era knows POST alone.
        Method::GET if !stateless => listen(gateway, server, connection, request.headers()).await,
        Method::DELETE if !stateless => end(gateway, server, connection, request.headers()).await,
        _ => {
            let mut response = reply::empty(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            response
        }
    }
}

async fn post(
    gateway: &Arc<Gateway>,
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, incoming) = request.into_parts();
    let compressed = parts.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    if compressed || !has_media_type(&parts.headers, "application/json") {
        return refuse(server, &Reason::MediaType);
    }
    let frame =
        match body::read_within(incoming, gateway.limits.request_bytes, gateway.limits.request_wait).await {
            Ok(frame) => frame,
            Err(error) => return refuse(server, &Reason::Body(error)),
        };
    let peer = connection.peer(&gateway.owners).await;
    in_exchange(gateway, (server, &peer), |reply| {
        let exchange = Exchange::new(Arc::clone(gateway), Arc::clone(server), Arc::clone(&peer), reply);
        exchange.post(parts.headers, frame)
    })
    .await
}

/// Opens the session's own stream of messages, or resumes a broken one (`Last-Event-ID`).
async fn listen(
    gateway: &Arc<Gateway>,
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    headers: &HeaderMap,
) -> Response<Body> {
    let peer = connection.peer(&gateway.owners).await;
    let session = match find_session(gateway, server, &peer, headers).await {
        Ok(session) => session,
        Err(reason) => return refuse(server, &reason),
    };
    let headers = headers.clone();
    in_exchange(gateway, (server, &peer), |reply| {
        let exchange = Exchange::new(Arc::clone(gateway), Arc::clone(server), Arc::clone(&peer), reply);
        exchange.listen(session, headers)
    })
    .await
}

/// Ends a session, at the server and here.
async fn end(
    gateway: &Arc<Gateway>,
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    headers: &HeaderMap,
) -> Response<Body> {
    let peer = connection.peer(&gateway.owners).await;
    let Some(id) = session_id(headers) else {
        return refuse(server, &Reason::NoSession);
    };
    if gateway.runs.session(&server.name, id, &peer).is_none() {
        return refuse(server, &Reason::NoSession);
    }
    let response = match &server.link {
        Link::Http(upstream) => {
            let crossing = super::guard::towards_upstream(headers);
            match upstream.end_session(crossing, on_behalf(&peer, headers)).await {
                Ok(response) => response.status(),
                Err(error) => return refuse(server, &Reason::Unreachable(error)),
            }
        }
        Link::Sse(..) | Link::Stdio(_) => StatusCode::OK,
    };
    // 405: the server does not let clients end sessions.
    if response.is_success() || response == StatusCode::NOT_FOUND {
        gateway.end_session(&server.name, id, "ended by the client").await;
    }
    reply::empty(response)
}

/// Runs an exchange in a task of its own: it may outlive the client, but not the drain time of a server that goes.
pub(crate) async fn in_exchange<F>(
    gateway: &Arc<Gateway>,
    (server, peer): (&Server, &Arc<Peer>),
    start: impl FnOnce(Reply) -> F,
) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (head, answer) = oneshot::channel();
    let exchange = start(Reply::Head(head));
    let mut attendance = server.attend();
    let refused = gateway.refused_later(&server.name, peer);
    // Without an answer the client is told why, by a status that nobody takes for "call again": the call may have run.
    let ended = tokio::spawn(async move {
        tokio::select! {
            () = exchange => (StatusCode::INTERNAL_SERVER_ERROR, "the exchange ended without an answer"),
            // The caller may no more; what it had open is recorded as unknown.
            () = refused => (StatusCode::FORBIDDEN, "the credential ended or was revoked during the call"),
            // What it had open is recorded as unknown.
            () = attendance.cut_off() => (StatusCode::INTERNAL_SERVER_ERROR, "the gateway ended the call to go"),
        }
    });
    match answer.await {
        Ok(response) => response,
        Err(_) => {
            let gone = (StatusCode::INTERNAL_SERVER_ERROR, "the exchange broke off");
            let (status, why) = ended.await.unwrap_or(gone);
            reply::text(status, why)
        }
    }
}

/// The session that the headers name, or what stands for the client process where they name none.
pub(crate) async fn find_session(
    gateway: &Gateway,
    server: &Server,
    peer: &Arc<Peer>,
    headers: &HeaderMap,
) -> Result<Arc<Session>, Reason> {
    match session_id(headers) {
        Some(id) => gateway.runs.session(&server.name, id, peer).ok_or(Reason::NoSession),
        None => Ok(gateway.runs.of_process(&server.name, peer).await?),
    }
}

/// The session id that a request or response names.
pub(crate) fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION)?.to_str().ok().filter(|id| !id.is_empty())
}

/// Whether the content type is this one, parameters aside.
pub(crate) fn has_media_type(headers: &HeaderMap, expected: &str) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(expected))
    })
}

/// The headers of an event stream.
pub(crate) fn event_stream_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers
}

fn refuse(server: &Server, reason: &Reason) -> Response<Body> {
    server.meter.refuse(reason);
    let refused = Refused::unparsed(None, reason);
    reply::json(refused.status, refused.body)
}
