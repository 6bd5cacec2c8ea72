//! An upstream over HTTP: sends what was recorded, gives back the response with its body unread.
//!
//! Nothing is parsed here. What crosses in a POST needs a [`Released`], the proof that it was recorded; GET and DELETE carry no
//! message.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use identity::{OnBehalf, UpstreamCredentials, UpstreamError, UpstreamGround};

use crate::clock;
use crate::peer::Peer;
use crate::pipeline::Released;
use crate::settings::{HttpServer, HttpVersion, Limits};

/// A pooled client of one server.
#[derive(Debug)]
pub struct HttpUpstream {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    server: HttpServer,
    credentials: Option<UpstreamCredentials>,
    answer_wait: Duration,
}

/// What is sent: the same bytes, however often.
struct Message {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// On whose behalf a request goes: who sent it, and with which headers.
pub(crate) fn on_behalf<'a>(peer: &'a Peer, headers: &'a HeaderMap) -> Option<OnBehalf<'a>> {
    peer.verified.as_ref().map(|verified| OnBehalf { caller: &verified.caller, headers })
}

/// Why an upstream gave no response. The texts go to clients: they name no address.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// No connection.
    #[error("the server cannot be reached")]
    Connect(#[source] hyper_util::client::legacy::Error),
    /// The connection broke before the answer: whether the server acted is not known.
    #[error("the server closed the connection before it answered")]
    Broken(#[source] hyper_util::client::legacy::Error),
    /// No answer in time: as above.
    #[error("the server did not answer in time")]
    Timeout,
    /// There is nothing to show the server, or it refused it: it did nothing.
    #[error("the gateway's credential for this server cannot be used: {0}")]
    Credential(#[source] UpstreamError),
}

impl Unreachable {
    /// The error with its causes, for the log: addresses may be in it.
    fn causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// Why a client for an upstream could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The system's certificate authorities could not be read.
    #[error(
        "cannot read the system's certificate authorities; install `ca-certificates` or set `SSL_CERT_FILE`"
    )]
    Roots(#[source] std::io::Error),
}

impl HttpUpstream {
    pub(crate) fn new(
        server: HttpServer,
        limits: &Limits,
        ground: UpstreamGround,
    ) -> Result<HttpUpstream, ClientError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.connect_wait));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(ClientError::Roots)?
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .timer(TokioTimer::new())
            .http2_only(server.version == HttpVersion::Http2Only)
            .build(connector);
        let credentials = server.credentials.clone();
        let credentials = credentials.map(|settings| UpstreamCredentials::new(settings, ground));
        Ok(HttpUpstream { client, server, credentials, answer_wait: limits.answer_wait })
    }

    /// The configured URL.
    pub(crate) fn url(&self) -> &Uri {
        &self.server.url
    }

    /// Drops what was got for callers that no longer stand.
    pub(crate) fn forget(&self) {
        if let Some(credentials) = &self.credentials {
            credentials.forget(clock::unix_seconds());
        }
    }

    /// Sends recorded messages to the server's endpoint, on somebody's behalf.
    ///
    /// # Errors
    /// See [`Unreachable`].
    pub async fn forward(
        &self,
        released: &Released,
        headers: HeaderMap,
        who: Option<OnBehalf<'_>>,
    ) -> Result<Response<Incoming>, Unreachable> {
        let (uri, body) = (self.server.url.clone(), released.frame().clone());
        self.send(Message { method: Method::POST, uri, headers, body }, who).await
    }

    /// Sends recorded messages to an address that the server named on its event stream (HTTP+SSE).
    pub(crate) async fn forward_to(
        &self,
        released: &Released,
        endpoint: Uri,
    ) -> Result<Response<Incoming>, Unreachable> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = released.frame().clone();
        self.send(Message { method: Method::POST, uri: endpoint, headers, body }, None).await
    }

    /// Opens the server's stream of messages: carries none itself.
    pub(crate) async fn listen(
        &self,
        headers: HeaderMap,
        who: Option<OnBehalf<'_>>,
    ) -> Result<Response<Incoming>, Unreachable> {
        let (uri, body) = (self.server.url.clone(), Bytes::new());
        self.send(Message { method: Method::GET, uri, headers, body }, who).await
    }

    /// Ends a session at the server.
    pub(crate) async fn end_session(
        &self,
        headers: HeaderMap,
        who: Option<OnBehalf<'_>>,
    ) -> Result<Response<Incoming>, Unreachable> {
        let (uri, body) = (self.server.url.clone(), Bytes::new());
        self.send(Message { method: Method::DELETE, uri, headers, body }, who).await
    }

    /// Sends a message; again if the server said 401 and there is something else to show. With 401 it did not carry the message
    /// out, so what it saw is what was recorded, once.
    async fn send(
        &self,
        message: Message,
        who: Option<OnBehalf<'_>>,
    ) -> Result<Response<Incoming>, Unreachable> {
        let Some(credentials) = &self.credentials else { return self.attempt(&message, &[]).await };
        let mut shown = self.usable(credentials.present(who, clock::unix_seconds()).await)?;
        loop {
            let response = self.attempt(&message, &shown.headers).await?;
            let answer = (response.status(), response.headers());
            // Rare, and large.
            let refused = Box::pin(credentials.refused(shown, answer, (who, clock::unix_seconds()))).await;
            let Some(other) = self.usable(refused)? else { return Ok(response) };
            shown = other;
        }
    }

    fn usable<T>(&self, shown: Result<T, UpstreamError>) -> Result<T, Unreachable> {
        shown.map_err(|error| {
            let host = self.server.url.host().unwrap_or_default();
            tracing::warn!(host, %error, "a server cannot be shown a credential");
            Unreachable::Credential(error)
        })
    }

    async fn attempt(
        &self,
        message: &Message,
        credentials: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Incoming>, Unreachable> {
        let mut request = Request::new(Full::new(message.body.clone()));
        *request.method_mut() = message.method.clone();
        *request.uri_mut() = message.uri.clone();
        *request.headers_mut() = message.headers.clone();
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in self.server.headers.iter().chain(credentials) {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let answer = match tokio::time::timeout(self.answer_wait, self.client.request(request)).await {
            Err(_) => Err(Unreachable::Timeout),
            Ok(Err(error)) if error.is_connect() => Err(Unreachable::Connect(error)),
            Ok(Err(error)) => Err(Unreachable::Broken(error)),
            Ok(Ok(response)) => Ok(response),
        };
        answer.inspect_err(|error| {
            let host = self.server.url.host().unwrap_or_default();
            tracing::warn!(host, error = error.causes(), "a server gave no answer");
        })
    }
}
