//! The ends of calls that no answer closes in the ordinary way: lost, cancelled, failed, withheld.

use ledger::Status;
use mcp::fields::Params;
use mcp::message::{Kind, Message};
use recorder::{Body, Closed, Outcome, RecordError};

use super::{Pipeline, Sent};
use crate::account::{self, Side};
use crate::refusal::{Reason, Refused};
use crate::route::Route;
use crate::scope::{Pending, Scope, Waiting};
use crate::taking::Lost;

impl Pipeline {
    /// A server's message that could not be taken in ends the call that it answers; if that cannot be told, each call that
    /// may be the one. Gives an answer for each.
    pub(crate) async fn lose(&self, scope: &Scope, lost: &Lost) -> Vec<Refused> {
        let reason = Reason::Whole(lost.error);
        let mut open = Pending::default();
        let mut told = Vec::new();
        let ids = match lost.glimpse.answered() {
            Some(id) => vec![id.clone()],
            None if lost.glimpse.may_answer() => scope.pending().asked_by(Side::Client),
            None => Vec::new(),
        };
        for id in ids {
            let Some(call) = scope.pending().take(Side::Client, &id) else { continue };
            open.keep(Side::Client, id, call);
            told.push(self.fail_all(&mut open, &reason, Body::default()).await);
        }
        told
    }

    /// Closes what is open without an answer to anybody.
    pub(crate) async fn close_all(&self, pending: &mut Pending, status: Status, reason: &str) {
        for (_, call) in pending.drain() {
            let outcome = account::of_end(status, reason, None, Body::default());
            self.close_or_log(call, outcome).await;
        }
    }

    /// Closes what is open as failed; gives the answer for the client. `body`: what the server sent instead.
    pub(crate) async fn fail_all(&self, pending: &mut Pending, reason: &Reason, body: Body) -> Refused {
        let mut ids = Vec::new();
        for (id, call) in pending.drain() {
            let outcome = account::of_end(reason.end(), &reason.to_string(), None, body.clone());
            self.close_or_log(call, outcome).await;
            ids.push(id);
        }
        Refused::requests(&ids, reason)
    }

    /// Closes a call where nobody waits for its record.
    pub(super) async fn close_or_log(&self, call: Waiting, outcome: Outcome) {
        if let Err(error) = self.close(call, outcome).await {
            tracing::error!(%error, "the end of a call was not recorded");
        }
    }

    pub(super) async fn close(&self, call: Waiting, mut outcome: Outcome) -> Result<Closed, RecordError> {
        let Waiting { opened, mut tally, recording, share, approval, .. } = call;
        if let (Some(holds), Some(approval)) = (self.holds(), approval) {
            holds.ended(approval.hold, outcome.status.as_str());
        }
        tally.answered(outcome.status);
        if let Some(mut share) = share {
            share.bytes = outcome.body.len() as u64;
        }
        account::reduce(recording, (&mut outcome.fields, &mut outcome.spans, &mut outcome.body));
        self.recorder.close(opened, outcome).await
    }

    /// A cancelled call is owed no answer: it ends here, or with the exchange that holds it.
    pub(super) async fn cancel(&self, route: &mut Route<'_>, side: Side, message: &Message<'_>) {
        let Kind::Notification { method, params: Some(params) } = message.kind() else { return };
        let Some(id) = Params::of(params).request_id().filter(|_| method == "notifications/cancelled") else {
            return;
        };
        match route.take(side, Some(id.clone())) {
            Some(call) => {
                let outcome =
                    account::of_end(Status::Cancelled, "cancelled by who asked", None, Body::default());
                self.close_or_log(call, outcome).await;
            }
            None => route.scope.cancel(id),
        }
    }

    /// Ends a call whose answer cannot be shown.
    pub(super) async fn withhold(
        &self,
        call: Waiting,
        message: &Message<'_>,
        sent: Sent<'_>,
        reason: Reason,
    ) -> Reason {
        let body = sent.content.body_of(message);
        let end = account::of_end(Status::Withheld, &reason.to_string(), None, body);
        self.close_or_log(call, end).await;
        reason
    }

    /// Closes what the first `entered` messages of a frame had opened: the frame does not cross.
    pub(super) async fn withdraw(&self, route: &mut Route<'_>, sent: Sent<'_>, entered: usize) {
        for message in sent.frame.messages().iter().take(entered) {
            let Kind::Request { id, .. } = message.kind() else { continue };
            let Some(call) = route.take(sent.side, Some(id.to_buf())) else { continue };
            let reason = "another message of its batch was refused";
            let outcome = account::of_end(Status::Withheld, reason, None, Body::default());
            self.close_or_log(call, outcome).await;
        }
    }
}
