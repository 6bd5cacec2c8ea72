//! How a stream of messages ends when the gateway does: no new calls, time for the open ones, then the server's input is
//! closed.

use std::time::Duration;

use mcp::message::{Kind, Message};
use recorder::Body;
use tokio::sync::{Notify, watch};

use crate::account::Side;
use crate::content::Content;
use crate::pipeline::{Pipeline, ReleasedBody, Sent};
use crate::refusal::{Reason, Refused};
use crate::scope::{Pending, Scope};

/// What a relay asks whether its gateway is ending.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Turns true when the gateway is to end; `None` where somebody else ends the stream.
    stopping: Option<watch::Receiver<bool>>,
    time: Duration,
    /// A message of the server has been dealt with to its end.
    settled: Notify,
}

impl Drain {
    /// For a stream that others end.
    pub(crate) fn never() -> Drain {
        Drain { stopping: None, time: Duration::ZERO, settled: Notify::new() }
    }

    /// Begins when `stopping` turns true; open calls get `time` then.
    pub(crate) fn at(stopping: watch::Receiver<bool>, time: Duration) -> Drain {
        Drain { stopping: Some(stopping), time, settled: Notify::new() }
    }

    /// To be told whenever something of the server has been dealt with.
    pub(crate) fn settled(&self) {
        self.settled.notify_one();
    }

    /// Resolves when the gateway is ending.
    pub(crate) async fn begins(&self) {
        match &self.stopping {
            // Who has gone without a word is stopping too.
            Some(stopping) => drop(stopping.clone().wait_for(|stopping| *stopping).await),
            None => std::future::pending().await,
        }
    }

    /// Resolves when the gateway is ending and no call of the client is open, or the time for them is over.
    pub(crate) async fn is_over(&self, scope: &Scope) {
        self.begins().await;
        let calls_end = async {
            while scope.pending().awaits_answers() {
                self.settled.notified().await;
            }
        };
        // What is open then is told so.
        let _ = tokio::time::timeout(self.time, calls_end).await;
    }

    /// Refuses what would begin a call now.
    pub(crate) async fn refuse(
        &self,
        pipeline: &Pipeline,
        scope: &Scope,
        content: &Content,
    ) -> Option<Refused> {
        if !self.stopping.as_ref().is_some_and(|stopping| *stopping.borrow()) {
            return None;
        }
        let frame = content.parse().ok()?;
        let at = frame.messages().iter().position(asks)?;
        let peer = &scope.peer;
        let sent = Sent { side: Side::Client, content, frame: &frame, headers: None, peer };
        Some(pipeline.turn_back(scope, sent, at, Reason::Draining).await)
    }
}

fn asks(message: &Message<'_>) -> bool {
    matches!(message.kind(), Kind::Request { .. })
}

/// Ends the calls that were open when their time was over; gives what their client is told.
pub(crate) async fn cut_off(pipeline: &Pipeline, scope: &Scope) -> Vec<ReleasedBody> {
    let open = scope.pending().asked_by(Side::Client);
    let mut told = Vec::new();
    for id in open {
        let mut one = Pending::default();
        let Some(call) = scope.pending().take(Side::Client, &id) else { continue };
        one.keep(Side::Client, id, call);
        let refused = pipeline.fail_all(&mut one, &Reason::CutOff, Body::default()).await;
        told.push(ReleasedBody::refusal(&refused));
    }
    told
}
