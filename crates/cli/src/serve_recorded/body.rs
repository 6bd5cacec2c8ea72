//! The body of a response: whole, or events as they arise.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use mcp::framing::sse::encode_event;
use tokio::sync::{OwnedMutexGuard, mpsc};

/// A body. Messages become events here.
#[derive(Debug)]
pub(super) enum Body {
    Whole(Option<Bytes>),
    /// The messages of one answer.
    Events(mpsc::Receiver<Bytes>),
    /// The messages of a session; given back when the client leaves.
    Session(OwnedMutexGuard<mpsc::Receiver<Bytes>>),
}

impl Body {
    pub(super) fn empty() -> Body {
        Body::Whole(None)
    }

    pub(super) fn whole(bytes: Bytes) -> Body {
        Body::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let messages = match &mut *self {
            Body::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Events(messages) => messages,
            Body::Session(messages) => messages,
        };
        let event = |message: Bytes| Ok(Frame::data(encode_event(None, Some("message"), &message)));
        messages.poll_recv(context).map(|message| message.map(event))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Events(_) | Body::Session(_) => SizeHint::default(),
        }
    }
}
