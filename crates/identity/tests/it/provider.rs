//! An identity provider on the loopback whose every answer a test chooses, and which counts what it is asked.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::signing::set;

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Json(String),
    Status(u16),
    Redirect(String),
    /// A status and a body.
    Refusal(u16, String),
    /// A body without an end.
    Endless,
    /// The connection stays open and nothing comes.
    Silence,
}

#[derive(Clone)]
pub(crate) struct Idp {
    pub(crate) url: String,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    answers: HashMap<String, Answer>,
    asked: HashMap<String, usize>,
    /// What was last sent to a path: `Authorization`, a space, the body.
    sent: HashMap<String, String>,
}

impl Idp {
    /// Starts a provider with these keys.
    pub(crate) async fn start(keys: &[Value]) -> Idp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let idp = Idp { url, told: Arc::default() };
        let told = Arc::clone(&idp.told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = Arc::clone(&told);
                let answer = service_fn(move |request| answer(request, Arc::clone(&told)));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        idp.metadata(&idp.url);
        idp.keys(keys);
        idp
    }

    /// Publishes metadata of this issuer.
    pub(crate) fn metadata(&self, issuer: &str) {
        let document = json!({ "issuer": issuer, "jwks_uri": format!("{}/keys", self.url) });
        self.answers("/.well-known/openid-configuration", Answer::Json(document.to_string()));
    }

    pub(crate) fn keys(&self, keys: &[Value]) {
        self.answers("/keys", Answer::Json(set(keys)));
    }

    pub(crate) fn answers(&self, path: &str, answer: Answer) {
        self.told.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// What was last sent to a path: `Authorization`, a space, the body.
    pub(crate) fn sent(&self, path: &str) -> String {
        self.told.lock().unwrap().sent.get(path).cloned().unwrap_or_default()
    }

    /// How often a path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.told.lock().unwrap().asked.get(path).copied().unwrap_or_default()
    }
}

async fn answer(
    request: Request<Incoming>,
    told: Arc<Mutex<Told>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let path = request.uri().path().to_owned();
    let by = request.headers().get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let chosen = {
        let mut told = told.lock().unwrap();
        told.sent.insert(path.clone(), format!("{by} {}", std::str::from_utf8(&body).unwrap()));
        *told.asked.entry(path.clone()).or_default() += 1;
        told.answers.get(&path).cloned().unwrap_or(Answer::Status(404))
    };
    let respond = Response::builder();
    if matches!(chosen, Answer::Endless) {
        return Ok(respond.body(BoxBody::new(Endless)).unwrap());
    }
    let response = match chosen {
        Answer::Json(text) => {
            respond.header("content-type", "application/json").body(Full::new(text.into())).unwrap()
        }
        Answer::Status(status) => {
            respond.status(StatusCode::from_u16(status).unwrap()).body(Full::default()).unwrap()
        }
        Answer::Redirect(to) => respond.status(302).header("location", to).body(Full::default()).unwrap(),
        Answer::Refusal(status, body) => respond.status(status).body(Full::new(body.into())).unwrap(),
        Answer::Silence | Answer::Endless => std::future::pending().await,
    };
    Ok(response.map(BoxBody::new))
}

/// A body that goes on and on.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 4096])))))
    }
}
