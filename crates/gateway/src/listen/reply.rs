//! The answer to one HTTP request: a head that is sent once, and a body that is whole or comes as it arises.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};

/// Parts of a streamed body that wait for a slow client; then the upstream is read no further.
const PARTS: usize = 16;

/// A response body.
#[derive(Debug)]
pub(crate) enum Body {
    Whole(Option<Bytes>),
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
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(parts) => {
                parts.poll_recv(context).map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

/// The place where an exchange puts its answer. The exchange outlives the client: what happens when the client has
/// gone is the exchange's to decide.
#[derive(Debug)]
pub(crate) enum Reply {
    Head(oneshot::Sender<Response<Body>>),
    Stream(mpsc::Sender<Bytes>),
    Done,
}

impl Reply {
    /// Sends a whole response.
    pub(crate) fn whole(&mut self, status: StatusCode, headers: HeaderMap, body: Bytes) {
        let Reply::Head(head) = std::mem::replace(self, Reply::Done) else { return };
        let mut response = Response::new(Body::Whole((!body.is_empty()).then_some(body)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        // The client may have gone.
        let _ = head.send(response);
    }

    /// Sends the head of a streamed response, unless it was sent before; parts follow.
    pub(crate) fn start(&mut self, status: StatusCode, headers: HeaderMap) {
        if matches!(self, Reply::Stream(_)) {
            return;
        }
        let (sender, parts) = mpsc::channel(PARTS);
        let Reply::Head(head) = std::mem::replace(self, Reply::Stream(sender)) else { return };
        let mut response = Response::new(Body::Stream(parts));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        // As above.
        let _ = head.send(response);
    }

    /// Sends a part of a streamed response. `false`: the client has gone, now or before.
    pub(crate) async fn part(&mut self, bytes: Bytes) -> bool {
        match self {
            Reply::Stream(parts) => parts.send(bytes).await.is_ok(),
            Reply::Head(_) | Reply::Done => false,
        }
    }

    /// Ends a streamed response where it stands.
    pub(crate) fn break_off(&mut self) {
        *self = Reply::Done;
    }

    /// Resolves when the client has gone; never after a whole response was sent.
    pub(crate) async fn gone(&mut self) {
        match self {
            Reply::Head(head) => head.closed().await,
            Reply::Stream(parts) => parts.closed().await,
            Reply::Done => std::future::pending().await,
        }
    }
}

/// A response of the gateway's own with a JSON body.
pub(crate) fn json(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Some(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response of the gateway's own with a line of text.
pub(crate) fn text(status: StatusCode, line: &str) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Some(format!("{line}\n").into())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A response to who comes too often, and may come again after so many seconds.
pub(crate) fn too_often(line: &str, seconds: u64) -> Response<Body> {
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, line);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = status;
    response
}
