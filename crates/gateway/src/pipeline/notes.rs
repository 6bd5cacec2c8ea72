//! Notifications, and what belongs to no call that is open: recorded, and never more than that.
//!
//! Invariant: what would be judged as a request does not cross as anything else.

use std::sync::Arc;

use mcp::fields::{InputRequest, ResultView};
use mcp::message::Message;
use recorder::Account;
use serde_json::value::RawValue;

use super::{Entered, Pipeline, Sent};
use crate::account::{self, Side};
use crate::content::Content;
use crate::judge::Judged;
use crate::peer::Peer;
use crate::refusal::Reason;
use crate::route::Route;
use crate::scope::Scope;

/// Only what begins so asks nothing.
const NOTIFICATIONS: &str = "notifications/";

/// A server tells by it how a task stands, and what it asks within.
const OF_TASKS: &str = "notifications/tasks";

impl Pipeline {
    /// The life of a notification.
    pub(super) async fn carry_note(
        &self,
        route: &mut Route<'_>,
        message: &Message<'_>,
        sent: Sent<'_>,
        (method, params): (&str, Option<&RawValue>),
    ) -> Result<Entered, Reason> {
        if !method.starts_with(NOTIFICATIONS) {
            return Err(Reason::NoNotification);
        }
        if sent.side == Side::Server {
            if let Some(params) = params.filter(|_| method == OF_TASKS) {
                let asked = || asked_within(params, sent.content);
                self.judge_asked_back(route.scope, sent.peer, asked).await?;
            }
            if let Some((id, call)) = route.take_spoken_of(message) {
                let mut note = account::of_note(route.scope, message, &sent);
                account::reduce(call.recording, (&mut note.fields, &mut note.spans, &mut note.body));
                let noted = self.recorder.note(&call.opened, note).await;
                route.keep(Side::Client, id, call);
                return Ok(noted.map(|()| Entered::default())?); // durable before the call's end is
            }
        }
        let (mut account, _) = self.account(route, message, sent);
        if sent.side == Side::Server {
            self.reduce_stray(&mut account).await;
        }
        let cleared = self.clear(account, Judged::unasked()).await?;
        self.recorder.pass(cleared).await?; // durable from here on
        self.cancel(route, sent.side, message).await;
        Ok(Entered::default())
    }

    /// Judges what a server asks of the client other than by requests. `asked` gives what that is.
    pub(super) async fn judge_asked_back<'a>(
        &self,
        scope: &Scope,
        peer: &Arc<Peer>,
        asked: impl FnOnce() -> Result<Vec<InputRequest<'a>>, Reason>,
    ) -> Result<(), Reason> {
        let Some(rules) = self.terms().rules.clone() else { return Ok(()) };
        let rules = rules.present().await?;
        if rules.bundle.is_none() {
            return Ok(());
        }
        let limits = rules.judge_input_requests(scope, peer, &asked()?)?;
        let taken = self.allowance.take((scope, peer), &limits);
        // What is asked so is not open at any time.
        drop(taken.map_err(|spent| Reason::AskedBack(spent.to_string()))?);
        Ok(())
    }

    /// Leaves the content out of what may belong to a call that has ended, or to one of several: which policy spoke of that call
    /// cannot be told, so any that has less recorded counts.
    pub(super) async fn reduce_stray(&self, account: &mut Account) {
        let Some(rules) = self.terms().rules.clone() else { return };
        let recording = match rules.present().await {
            Ok(rules) => {
                rules.bundle.as_ref().map_or(policy::Recording::Full, |bundle| bundle.least_recording())
            }
            Err(_) => policy::Recording::Metadata,
        };
        // That there was a message is no content.
        let recording = recording.max(policy::Recording::Metadata);
        account::reduce(recording, (&mut account.fields, &mut account.spans, &mut account.body));
    }
}

/// What is asked within a result, or in what is told of a task.
pub(super) fn asked_within<'a>(
    said: &'a RawValue,
    content: &Content,
) -> Result<Vec<InputRequest<'a>>, Reason> {
    let asked = ResultView::of(said).input_requests().ok_or(UNREADABLE)?;
    let is_whole = !asked.is_empty() || !content.leaves_out("inputRequests");
    if is_whole { Ok(asked) } else { Err(too_large()) }
}

/// What is asked by the error that has the client send its user to addresses first.
pub(super) fn asked_by_error<'a>(
    error: &'a RawValue,
    content: &Content,
) -> Result<Vec<InputRequest<'a>>, Reason> {
    let asked = InputRequest::by_error(error).ok_or(UNREADABLE)?;
    // What is too long for the outline of a large message is empty there.
    let is_whole = !asked.is_empty() || !content.leaves_out("data");
    if is_whole { Ok(asked) } else { Err(too_large()) }
}

const UNREADABLE: Reason = Reason::Answer("what it asks of the client cannot be read");

fn too_large() -> Reason {
    Reason::AskedBack("it is larger than 64 KiB, too large to be judged".to_owned())
}
