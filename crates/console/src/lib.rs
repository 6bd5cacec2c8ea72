//! The operators' port: is the gateway alive, does it accept calls, what has it counted; operators' login; calls that wait for
//! people.
//!
//! * [`Console::bind`] takes a loopback address; [`Console::serve`] answers until told to stop.
//! * What it shows of the gateway comes from a [`Source`], so it knows neither the data path nor the recorder, and nothing on
//!   the data path waits for it. Health and metrics are read without authentication.
//! * [`Desk`] is where operators log in; what they may do is said in `api.rs`, route by route.
//! * [`Look`] gives all that there is to know of a call that waits: the prompt, the API and the pages show the same [`Card`].
//! * Loopback alone, since passwords cross it, and no web page may reach it (`guard.rs`).

mod api;
mod approvals;
mod desk;
mod exposition;
mod form;
mod guard;
mod html;
mod saml;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ledger::Seq;
use ledger::payload::Payload;
use serde::Serialize;
use store::Index;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use crate::approvals::card::{Before, Call, Card, Decided, Listed, Look, Sight, ToolText, Word};
use crate::desk::Asked;
pub use crate::desk::Desk;
pub use crate::exposition::{Exposition, Family, Kind, Unit};
pub use crate::saml::ROOT as SAML_ROOT;

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 64;

/// Time for a client to send a request's headers, and for its body.
const REQUEST: Duration = Duration::from_secs(10);

/// Largest body of a request.
const BODY_BYTES: usize = 16 << 10;

/// Longest path and query.
const TARGET_BYTES: usize = 2 << 10;

/// Pause after a connection could not be accepted, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// A text for people.
const TEXT: &str = "text/plain; charset=utf-8";

/// Where the answers come from. Asked on a thread that may block.
pub trait Source: Send + Sync + 'static {
    /// What must hold for calls to be accepted now.
    fn checks(&self) -> Vec<Check>;

    /// Everything that is counted or measured.
    fn measure(&self, out: &mut Exposition);

    /// What the record at a place holds; `Ok(None)`: it is not published yet.
    ///
    /// # Errors
    /// Why it cannot be shown, in words for people.
    fn payload(&self, seq: Seq) -> Result<Option<Payload>, String>;

    /// The index of calls, to be read; `None`: there is none, or it cannot be read. What is recorded up to that place is waited
    /// for a little.
    fn index(&self, upto: Option<Seq>) -> Option<Index>;
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked, a word.
    pub check: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

impl Check {
    /// It holds.
    pub const fn ok(check: &'static str) -> Check {
        Check { check, ok: true, why: None, remedy: None }
    }

    /// It does not.
    pub const fn failed(check: &'static str, why: String, remedy: &'static str) -> Check {
        Check { check, ok: false, why: Some(why), remedy: Some(remedy) }
    }
}

/// A bound port.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    /// Where it is: port 0 is resolved.
    pub address: SocketAddr,
}

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Others could reach it.
    #[error(
        "the console listens on loopback only, since passwords cross it; use 127.0.0.1, and `public_url` for TLS before it"
    )]
    NotLoopback,
    /// The address cannot be bound.
    #[error("the console cannot listen on `{address}`; is the port taken? choose another `[console] listen`")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl Console {
    /// Takes the address.
    ///
    /// # Errors
    /// When it is not a loopback address, or taken.
    pub async fn bind(address: SocketAddr) -> Result<Console, BindError> {
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback);
        }
        let failed = |source| BindError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Console { listener, address })
    }

    /// Answers until `stop` resolves.
    pub async fn serve(self, source: Arc<dyn Source>, desk: Desk, stop: impl Future<Output = ()>) {
        let ground = Arc::new(Ground { source, desk });
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::pin!(stop);
        loop {
            // Never closed.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            tokio::select! {
                () = &mut stop => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        let ground = Arc::clone(&ground);
                        tokio::spawn(async move {
                            speak_http(ground, stream, peer.ip()).await;
                            drop(permit);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the console could not accept a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }
}

/// What answers are made of.
struct Ground {
    source: Arc<dyn Source>,
    desk: Desk,
}

async fn speak_http(ground: Arc<Ground>, stream: TcpStream, address: IpAddr) {
    let service = service_fn(move |request| {
        let ground = Arc::clone(&ground);
        async move { Ok::<_, Infallible>(answer(&ground, request, address).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a connection to the console ended early");
    }
}

async fn answer(ground: &Ground, request: Request<Incoming>, address: IpAddr) -> Response<Full<Bytes>> {
    let is_health = matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics");
    let check = match ground.desk.takes_response(request.method(), request.uri().path()) {
        true => guard::check_host,
        false => guard::check,
    };
    if let Err(intrusion) = check(request.uri(), request.headers(), ground.desk.public_url()) {
        let why = intrusion.to_string();
        if !is_health {
            ground.desk.tell_turned_away((request.method(), request.uri().path()), &why).await;
        }
        return reply(StatusCode::FORBIDDEN, TEXT, why);
    }
    if is_health { health(ground, &request).await } else { at_desk(ground, request, address).await }
}

async fn health(ground: &Ground, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this is read-only".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let source = Arc::clone(&ground.source);
    match request.uri().path() {
        "/healthz" => reply(StatusCode::OK, TEXT, "ok".to_owned()),
        "/readyz" => match ask(source, |source| source.checks()).await {
            Some(checks) => readiness(&checks),
            None => unmeasured(),
        },
        _ => match ask(source, expose).await {
            Some(text) => reply(StatusCode::OK, exposition::MEDIA_TYPE, text),
            None => unmeasured(),
        },
    }
}

async fn at_desk(ground: &Ground, request: Request<Incoming>, address: IpAddr) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let most = match ground.desk.takes_response(&parts.method, parts.uri.path()) {
        true => saml::RESPONSE_BYTES,
        false => BODY_BYTES,
    };
    let body = match body_of(&parts, (body, most)).await {
        Ok(body) => body,
        Err((status, why)) => {
            ground.desk.tell_turned_away((&parts.method, parts.uri.path()), why).await;
            return reply(status, TEXT, why.to_owned());
        }
    };
    let asked = Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body,
        address,
        source: Arc::clone(&ground.source),
    };
    ground.desk.answer(asked).await
}

/// Reads a body within bounds; what is wrong, where it is not.
async fn body_of(
    parts: &http::request::Parts,
    (body, most): (Incoming, usize),
) -> Result<Bytes, (StatusCode, &'static str)> {
    let target = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    if target.len() > TARGET_BYTES {
        return Err((StatusCode::URI_TOO_LONG, "the address is too long"));
    }
    match tokio::time::timeout(REQUEST, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or broke off")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// On a thread that may block: free space and file sizes come from the disk.
async fn ask<T: Send + 'static>(
    source: Arc<dyn Source>,
    question: impl FnOnce(&dyn Source) -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(move || question(&*source)).await.ok()
}

fn expose(source: &dyn Source) -> String {
    let mut exposition = Exposition::default();
    source.measure(&mut exposition);
    exposition.into_text()
}

fn readiness(checks: &[Check]) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Readiness<'a> {
        ready: bool,
        checks: &'a [Check],
    }
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    match serde_json::to_string(&Readiness { ready, checks }) {
        Ok(text) => reply(status, "application/json", text + "\n"),
        Err(_) => unmeasured(),
    }
}

fn unmeasured() -> Response<Full<Bytes>> {
    let text = "it could not be measured; see the log".to_owned();
    reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
}

fn reply(status: StatusCode, media_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
