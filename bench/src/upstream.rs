//! The server behind the gateway, as cheap as can be: `echo`, `bulk` (a large result), `stream` (events).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::{clock, message};

/// What it says of its tools.
const TOOLS: &str = r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[
{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}},
{"name":"bulk","inputSchema":{"type":"object","properties":{"bytes":{"type":"integer"}},"required":["bytes"]}},
{"name":"stream","inputSchema":{"type":"object","properties":{"events":{"type":"integer"},"pause_us":{"type":"integer"}}}}]}"#;

/// Parts in which a large result is sent.
const PART: usize = 64 << 10;

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    method: &'a str,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(default)]
    name: &'a str,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
}

#[derive(Deserialize, Default)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    /// Of a bulk result.
    #[serde(default)]
    bytes: usize,
    /// Of a stream.
    #[serde(default)]
    events: u64,
    /// Between two events.
    #[serde(default)]
    pause_us: u64,
}

/// Serves until the process ends; its first line says where.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::say(&listener.local_addr()?.to_string());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            // Callers leave when they have measured enough.
            drop(connection.await);
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let Ok(body) = request.into_body().collect().await else { return Ok(refusal()) };
    let body = body.to_bytes();
    let Ok(call) = serde_json::from_slice::<Call<'_>>(&body) else { return Ok(refusal()) };
    let id = call.id.get();
    if call.method == "tools/list" {
        return Ok(whole(&[format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{TOOLS}}}"#).into()]));
    }
    let arguments = call.params.arguments;
    Ok(match call.params.name {
        "echo" => {
            whole(&[format!("{}{}{END}", head(id), arguments.text.map_or("\"\"", RawValue::get)).into()])
        }
        "bulk" => bulk(id, arguments.bytes),
        "stream" => stream(id, arguments.events, arguments.pause_us),
        _ => refusal(),
    })
}

fn head(id: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","content":[{{"type":"text","text":"#
    )
}

const END: &str = "}]}}";

fn whole(parts: &[Bytes]) -> Response<Body> {
    let left = parts.iter().map(|part| part.len() as u64).sum();
    response(Body::Whole { parts: parts.iter().cloned().collect(), left }, "application/json")
}

fn bulk(id: &str, bytes: usize) -> Response<Body> {
    static PROSE: OnceLock<Bytes> = OnceLock::new();
    let prose = PROSE.get_or_init(|| message::text(1, 4 << 20).into());
    let mut parts = vec![Bytes::from(head(id) + "\"")];
    let mut left = bytes;
    let mut at = 0;
    while left > 0 {
        let size = left.min(PART).min(prose.len() - at);
        parts.push(prose.slice(at..at + size));
        at = (at + size) % prose.len();
        left -= size;
    }
    parts.push(Bytes::from(format!("\"{END}")));
    whole(&parts)
}

/// Progress as it is made, then the result. Each event says when it was sent.
fn stream(id: &str, events: u64, pause_us: u64) -> Response<Body> {
    let (sender, parts) = mpsc::channel(1);
    let id = id.to_owned();
    tokio::spawn(async move {
        let pause = Duration::from_micros(pause_us);
        let mut ticks = tokio::time::interval(pause.max(Duration::from_micros(1)));
        for number in 1..=events {
            if pause_us > 0 {
                ticks.tick().await;
            }
            let now = clock::micros();
            let event = format!(
                "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{id},\"progress\":{number},\"message\":\"{now}\"}}}}\n\n"
            );
            if sender.send(Bytes::from(event)).await.is_err() {
                return;
            }
        }
        let last = format!("event: message\ndata: {}\"done\"{END}\n\n", head(&id));
        // The caller may have gone.
        let _ = sender.send(Bytes::from(last)).await;
    });
    response(Body::Stream(parts), "text/event-stream")
}

fn refusal() -> Response<Body> {
    let mut response = whole(&[]);
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

fn response(body: Body, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

enum Body {
    Whole { parts: VecDeque<Bytes>, left: u64 },
    Stream(mpsc::Receiver<Bytes>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Body::Whole { parts, left } => Poll::Ready(parts.pop_front().map(|part| {
                *left = left.saturating_sub(part.len() as u64);
                Ok(Frame::data(part))
            })),
            Body::Stream(parts) => {
                parts.poll_recv(context).map(|part| part.map(|part| Ok(Frame::data(part))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole { parts, .. } if parts.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole { left, .. } => SizeHint::with_exact(*left),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}
