//! A client's request waits for people, and its client is kept from giving up meanwhile.

use std::sync::Arc;
use std::time::Duration;

use http::{StatusCode, header};
use mcp::fields::Params;
use mcp::framing::sse::encode_comment;
use mcp::message::{Frame, IdBuf, Kind, Message};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::holds::Holds;
use crate::listen::reply::Reply;
use crate::listen::streamable::event_stream_headers;
use crate::messages::Framing;
use crate::pipeline::{Pipeline, ReleasedBody, Sent};
use crate::scope::Scope;

/// Between two looks at whether the client has cancelled.
const TICK: Duration = Duration::from_secs(1);

/// Ticks after which the answer begins as a stream: what is decided sooner is answered as ever.
const BEGINS: u32 = 5;

/// Ticks between two signs of life: proxies and clients close what is silent.
const SIGNS: u32 = 10;

/// A frame that is held.
pub(crate) struct Wait<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) scope: &'a Arc<Scope>,
    pub(crate) hold: &'a str,
    pub(crate) until: Instant,
    pub(crate) sent: Sent<'a>,
}

/// What waiting came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waited {
    /// People have decided: it is to be tried again.
    Decided,
    /// The hold has ended, and why.
    Ended(String),
    /// Nobody has decided yet, and who asked is told to come again.
    Enough,
    /// Nobody waits any more.
    Gone,
}

/// Where what a waiting client is told goes.
pub(crate) enum Courier<'a> {
    /// The answer to its request.
    Reply(&'a mut Reply),
    /// A stream that others use too.
    Queue(&'a mpsc::Sender<ReleasedBody>),
}

impl Wait<'_> {
    /// Waits. That the client has gone or cancelled ends the wait, not the hold: a stream tells it of the hold's end then, if its user
    /// was led to the page.
    pub(crate) async fn out(&self, holds: &Holds, courier: Courier<'_>) -> Waited {
        let waited = self.inline(holds, courier).await;
        holds.tell_later(self.hold, self.scope);
        waited
    }

    async fn inline(&self, holds: &Holds, mut courier: Courier<'_>) -> Waited {
        let takes_events = self.takes_events();
        let decided = holds.decided(self.hold);
        tokio::pin!(decided);
        let mut ticks = tokio::time::interval(TICK);
        for tick in 0_u32.. {
            tokio::select! {
                ended = &mut decided => {
                    if courier.carries() && self.scope.tells_end(self.hold) {
                        self.tell_end(&mut courier).await;
                    }
                    return ended.map_or(Waited::Decided, Waited::Ended);
                }
                () = courier.gone() => return Waited::Gone,
                () = tokio::time::sleep_until(self.until) => return Waited::Enough,
                _ = ticks.tick() => {}
            }
            if self.is_cancelled() {
                return Waited::Gone;
            }
            if takes_events && tick == BEGINS {
                courier.begin();
            }
            if tick == BEGINS && courier.carries() {
                self.lead(holds, &mut courier).await;
            }
            if tick >= BEGINS && tick % SIGNS == BEGINS {
                self.give_sign(&mut courier, tick).await;
            }
        }
        Waited::Enough
    }

    /// Leads the user to the page of the hold, where the client says that it can.
    async fn lead(&self, holds: &Holds, courier: &mut Courier<'_>) {
        let Some(request) = holds.lead(self.scope, self.hold) else { return };
        let why = "the gateway itself asks: the call waits for approval";
        match self.pipeline.say(self.scope, "elicitation/create", (request, why)).await {
            Ok(released) => courier.say(released).await,
            Err(reason) => tracing::warn!(%reason, "a client that waits for people was not told so"),
        }
    }

    async fn tell_end(&self, courier: &mut Courier<'_>) {
        if let Some(released) = self.pipeline.say_over(self.scope, self.hold).await {
            courier.say(released).await;
        }
    }

    /// A comment, and progress where the client wants it: in steps too small to reach what the server will count.
    async fn give_sign(&self, courier: &mut Courier<'_>, tick: u32) {
        courier.comment("waits for approval").await;
        let Some(token) = progress_token(self.sent.frame) else { return };
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{},"progress":{},"message":"waits for approval"}}}}"#,
            token.raw(),
            f64::from(tick) / 1e6
        );
        courier.say(Pipeline::sign_of_life(&text.into())).await;
    }

    fn is_cancelled(&self) -> bool {
        let asked = self.sent.frame.messages().iter().filter_map(Message::asked);
        asked.into_iter().any(|id| self.scope.take_cancelled_one(&id))
    }

    fn takes_events(&self) -> bool {
        let accepted = self.sent.headers.and_then(|headers| headers.get(header::ACCEPT));
        accepted
            .is_some_and(|accepted| accepted.as_bytes().windows(17).any(|part| part == b"text/event-stream"))
    }
}

impl Courier<'_> {
    async fn gone(&mut self) {
        match self {
            Courier::Reply(reply) => reply.gone().await,
            // Who carries the stream sees that for itself.
            Courier::Queue(_) => std::future::pending().await,
        }
    }

    /// Begins the answer as a stream.
    fn begin(&mut self) {
        if let Courier::Reply(reply) = self {
            reply.start(StatusCode::OK, event_stream_headers());
        }
    }

    /// Whether anything can be said before the answer.
    fn carries(&self) -> bool {
        match self {
            Courier::Reply(reply) => matches!(reply, Reply::Stream(_)),
            Courier::Queue(_) => true,
        }
    }

    async fn comment(&mut self, text: &str) {
        if let Courier::Reply(reply) = self {
            reply.part(encode_comment(text)).await;
        }
    }

    async fn say(&mut self, released: ReleasedBody) {
        match self {
            Courier::Reply(reply) if matches!(reply, Reply::Stream(_)) => {
                Framing::message().write(reply, released.body()).await;
            }
            Courier::Reply(_) => {}
            // Who has gone hears nothing.
            Courier::Queue(to_client) => drop(to_client.send(released).await),
        }
    }
}

/// The token that the only request of a frame declares.
fn progress_token(frame: &Frame<'_>) -> Option<IdBuf> {
    let Frame::Single(message) = frame else { return None };
    let Kind::Request { params: Some(params), .. } = message.kind() else { return None };
    Params::of(params).meta_progress_token()
}
