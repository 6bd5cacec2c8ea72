//! The operators' port: is the gateway alive, does it accept calls, what has it counted.
//!
//! * [`Console::bind`] takes a loopback address; [`Console::serve`] answers until told to stop.
//! * What it shows comes from a [`Source`], so it knows neither the data path nor the recorder, and nothing on the data path
//!   waits for it.
//! * Read-only, without authentication: loopback alone, and no web page may read it (`guard.rs`).

mod exposition;
mod guard;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use crate::exposition::{Exposition, Family, Kind, Unit};

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 64;

/// Time for a client to send a request's headers.
const REQUEST: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the answers come from. Asked on a thread that may block.
pub trait Source: Send + Sync + 'static {
    /// What must hold for calls to be accepted now.
    fn checks(&self) -> Vec<Check>;

    /// Everything that is counted or measured.
    fn measure(&self, out: &mut Exposition);
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
    #[error("the console has no authentication in this version and listens on loopback only; use 127.0.0.1")]
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
    pub async fn serve(self, source: Arc<dyn Source>, stop: impl Future<Output = ()>) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::pin!(stop);
        loop {
            // Never closed.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            tokio::select! {
                () = &mut stop => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let source = Arc::clone(&source);
                        tokio::spawn(async move {
                            speak_http(source, stream).await;
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

async fn speak_http(source: Arc<dyn Source>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let source = Arc::clone(&source);
        async move { Ok::<_, Infallible>(answer(source, &request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a connection to the console ended early");
    }
}

async fn answer(source: Arc<dyn Source>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if let Err(intrusion) = guard::check(request.uri(), request.headers()) {
        return reply(StatusCode::FORBIDDEN, TEXT, intrusion.to_string());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this port is read-only".to_owned());
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/healthz" => reply(StatusCode::OK, TEXT, "ok".to_owned()),
        "/readyz" => match ask(source, |source| source.checks()).await {
            Some(checks) => readiness(&checks),
            None => unmeasured(),
        },
        "/metrics" => match ask(source, expose).await {
            Some(text) => reply(StatusCode::OK, exposition::MEDIA_TYPE, text),
            None => unmeasured(),
        },
        _ => reply(StatusCode::NOT_FOUND, TEXT, "there are /healthz, /readyz and /metrics".to_owned()),
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
    reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", text)
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
