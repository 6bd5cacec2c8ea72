//! A client's request waits for people, and its client is kept from giving up meanwhile.

use std::time::Duration;

use http::{StatusCode, header};
use mcp::framing::sse::encode_comment;
use mcp::message::Message;
use tokio::time::Instant;

use crate::holds::Holds;
use crate::listen::reply::Reply;
use crate::listen::streamable::event_stream_headers;
use crate::pipeline::Sent;
use crate::scope::Scope;

/// Between two looks at whether the client has cancelled.
const TICK: Duration = Duration::from_secs(1);

/// Ticks after which the answer begins as a stream: what is decided sooner is answered as ever.
const BEGINS: u32 = 5;

/// Ticks between two signs of life: proxies and clients close what is silent.
const COMMENTS: u32 = 10;

/// A frame that is held.
pub(crate) struct Wait<'a> {
    pub(crate) scope: &'a Scope,
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
}

impl Wait<'_> {
    /// Waits. That the client has gone or cancelled ends the wait, not the hold.
    pub(crate) async fn out(&self, holds: &Holds, reply: &mut Reply) -> Waited {
        let takes_events = self.takes_events();
        let decided = holds.decided(self.hold);
        tokio::pin!(decided);
        let mut ticks = tokio::time::interval(TICK);
        for tick in 0_u32.. {
            tokio::select! {
                ended = &mut decided => return ended.map_or(Waited::Decided, Waited::Ended),
                () = reply.gone() => return Waited::Enough,
                () = tokio::time::sleep_until(self.until) => return Waited::Enough,
                _ = ticks.tick() => {}
            }
            if self.is_cancelled() {
                return Waited::Enough;
            }
            if takes_events && tick == BEGINS {
                reply.start(StatusCode::OK, event_stream_headers());
            }
            if tick >= BEGINS && tick % COMMENTS == BEGINS {
                reply.part(encode_comment("waits for approval")).await;
            }
        }
        Waited::Enough
    }

    /// The same where messages come and go by a stream that others use too.
    pub(crate) async fn out_beside_others(&self, holds: &Holds) -> Waited {
        self.out(holds, &mut Reply::Done).await
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
