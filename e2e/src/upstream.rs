//! A scripted MCP server that remembers what it saw: the witness of what was forwarded.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The server. It ends with the runtime that it was started in.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where it is.
    pub url: String,
    seen: Arc<Mutex<Vec<Bytes>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Upstream {
    /// Starts it. `answer` makes the body of a response from the body of a request, once the request is remembered.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(answer: fn(&[u8]) -> Bytes) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let upstream = Upstream {
            url: format!("http://{address}/mcp"),
            seen: Arc::default(),
            count: Arc::new(watch::Sender::new(0)),
        };
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let serving = serving.clone();
                        async move { serving.serve(request, answer).await }
                    });
                    // Connections of a gateway that was killed break off.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        upstream
    }

    /// The bodies seen so far.
    pub fn seen(&self) -> Vec<Bytes> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has seen so many.
    pub async fn saw(&self, count: usize) {
        // The sender lives as long as `self`.
        let _ = self.count.subscribe().wait_for(|seen| *seen >= count).await;
    }

    async fn serve(
        &self,
        request: Request<Incoming>,
        answer: fn(&[u8]) -> Bytes,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let Ok(body) = request.into_body().collect().await else {
            return Ok(Response::new(Full::default()));
        };
        let body = body.to_bytes();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
        self.count.send_modify(|count| *count += 1);
        let mut response = Response::new(Full::new(answer(&body)));
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        Ok(response)
    }
}

/// Answers a `tools/call` with a text, under the id that was asked with.
pub fn echo(request: &[u8]) -> Bytes {
    let request: serde_json::Value = serde_json::from_slice(request).unwrap_or_default();
    let id = request.get("id").cloned().unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"done"}}]}}}}"#)
        .into()
}
