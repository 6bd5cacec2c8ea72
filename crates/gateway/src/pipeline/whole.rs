//! Response bodies that are a whole: the answer to what is open, an HTTP error in its place, or what a server brings where
//! nothing was asked.

use http::StatusCode;
use ledger::Status;
use mcp::message::{Answer, Frame, Kind, Message};
use recorder::Body;

use super::{Pipeline, ReleasedBody, Sent};
use crate::account::{self, Side};
use crate::content::Content;
use crate::refusal::{Reason, Refused};
use crate::route::{Route, answers};
use crate::scope::{Pending, Scope};

impl Pipeline {
    /// The end of an exchange by a response body that is a whole: the answer to what is open, or an HTTP error that ends
    /// it all the same. Where nothing is open there is nothing to answer: what is released then is empty.
    pub(crate) async fn settle_whole(
        &self,
        scope: &Scope,
        pending: &mut Pending,
        status: StatusCode,
        content: &Content,
    ) -> Result<ReleasedBody, Refused> {
        let frame = content.parse();
        if pending.is_empty() {
            if let Ok(frame) = &frame {
                self.turn_away(scope, content, frame).await;
            }
            return Ok(ReleasedBody::of(Body::default(), None));
        }
        if let Ok(frame) = &frame
            && answers(frame, pending)
        {
            let route = Route { scope, exchange: Some(pending) };
            let sent = Sent { side: Side::Server, content, frame, headers: None, peer: &scope.peer };
            let entered = self.carry_messages(route, sent).await?;
            return Ok(self.released_body(frame, content, &entered));
        }
        if status.is_success() || frame.is_ok_and(|frame| says_more(&frame)) {
            let reason = Reason::Answer("it does not answer what was asked");
            return Err(self.fail_all(pending, &reason, content.body()).await);
        }
        // An HTTP error, or a JSON-RPC error without id, ends what was asked whatever its body is.
        for (_, call) in pending.drain() {
            let outcome = account::of_end(Status::Error, "HTTP error", Some(status), content.body());
            if let Err(error) = self.close(call, outcome).await {
                return Err(Refused::unparsed(None, &Reason::NotClosed(error)));
            }
        }
        Ok(ReleasedBody::of(content.body(), None))
    }

    /// Records that messages do not go on which came where nothing was asked. Errors alone say no more than their HTTP status.
    async fn turn_away(&self, scope: &Scope, content: &Content, frame: &Frame<'_>) {
        if !says_more(frame) {
            return;
        }
        tracing::warn!(server = &*scope.server, "a message was withheld that came where nothing was asked");
        let sent = Sent { side: Side::Server, content, frame, headers: None, peer: &scope.peer };
        for at in 0..frame.messages().len() {
            self.turn_back(scope, sent, at, Reason::Stray).await;
        }
    }
}

/// Whether a frame has something else than errors in it, which a client would act on.
fn says_more(frame: &Frame<'_>) -> bool {
    let is_error =
        |message: &Message<'_>| matches!(message.kind(), Kind::Response { outcome: Answer::Error(_), .. });
    !frame.messages().iter().all(is_error)
}
