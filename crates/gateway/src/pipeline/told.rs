//! What the gateway itself tells clients, and what they say to it. It is recorded before it is sent, like all else; signs of life are not.

use std::sync::Arc;

use bytes::Bytes;
use mcp::era::Era;
use mcp::fields::ResultView;
use mcp::message::{Answer, Frame, IdBuf, Kind};
use mcp::page::Lists;

use super::{Pipeline, ReleasedBody, Sent};
use crate::account::{self, Side};
use crate::asking::Again;
use crate::holds::Under;
use crate::judge::Judged;
use crate::news::{Grants, Hearing, News};
use crate::peer::Peer;
use crate::refusal::{Reason, Refused};
use crate::scope::Scope;

impl Pipeline {
    /// Hears what a client says to the gateway itself: how its user has answered. It is recorded, and goes no further.
    pub(super) async fn hear(&self, scope: &Scope, sent: Sent<'_>) -> Option<Refused> {
        let (Side::Client, Frame::Single(message)) = (sent.side, sent.frame) else { return None };
        let Kind::Response { id: Some(id), outcome } = message.kind() else { return None };
        let hold = scope.take_led(&id.to_buf())?;
        let mut account = account::of_message(scope, message, &sent);
        account.fields.insert("hold".into(), account::of_hold(&Under::only(&hold)));
        let recorded = async {
            let cleared = self.clear(account, Judged::unasked()).await?;
            self.recorder.pass(cleared).await.map_err(Reason::from)
        };
        if let Err(reason) = recorded.await {
            return Some(Refused::frame(sent.frame, Side::Client, &reason));
        }
        if let (Some(holds), Answer::Result(result)) = (&self.holds, outcome)
            && ResultView::of(result).user_action().as_deref() == Some("decline")
        {
            holds.give_up(&hold).await;
        }
        Some(Refused::heard())
    }

    /// A call that its client tries again with a state that it was given; `None`: it is not such a one. What is no state of this
    /// call is refused, and recorded.
    pub(crate) async fn again(&self, scope: &Scope, sent: Sent<'_>) -> Result<Option<Again>, Refused> {
        let Some(holds) = &self.holds else { return Ok(None) };
        match holds.again(scope, sent).await {
            Ok(again) => Ok(again),
            Err(reason) => Err(self.turn_back(scope, sent, 0, reason).await),
        }
    }

    /// What grants follow from.
    pub(crate) fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// An ear for a stream.
    pub(crate) async fn hearing(&self, scope: &Arc<Scope>, peer: &Arc<Peer>) -> Hearing {
        self.grants.hearing(scope, peer).await
    }

    /// Tells a client what there is to tell.
    pub(crate) async fn tell(
        &self,
        scope: &Scope,
        subscriptions: Vec<(IdBuf, Lists)>,
        news: News,
    ) -> Vec<ReleasedBody> {
        match news {
            News::Lists(changed) => self.tell_lists(scope, subscriptions, changed).await,
            News::Over(hold) if scope.tells_end(&hold) => {
                self.say_over(scope, &hold).await.into_iter().collect()
            }
            News::Over(_) => Vec::new(),
        }
    }

    /// Tells a client that the wait is over to which it has led its user.
    pub(crate) async fn say_over(&self, scope: &Scope, hold: &str) -> Option<ReleasedBody> {
        let method = "notifications/elicitation/complete";
        let id = serde_json::Value::from(hold);
        let text = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"elicitationId":{id}}}}}"#);
        let said = self.say(scope, method, (text.into(), "the gateway itself says so: the wait is over"));
        said.await
            .inspect_err(|reason| tracing::warn!(%reason, "a client was not told that its wait is over"))
            .ok()
    }

    /// Tells a client that lists have changed, as far as it is told of such changes: its subscriptions that asked for it, and
    /// a session whose server said that it tells of them.
    async fn tell_lists(
        &self,
        scope: &Scope,
        subscriptions: Vec<(IdBuf, Lists)>,
        changed: Lists,
    ) -> Vec<ReleasedBody> {
        let facts = scope.facts();
        let mut told: Vec<(Option<IdBuf>, Lists)> =
            subscriptions.into_iter().map(|(id, lists)| (Some(id), lists)).collect();
        if facts.era == Some(Era::Session) {
            told.push((None, facts.tells));
        }
        let mut released = Vec::new();
        for (subscription, lists) in told {
            for method in lists.and(changed).methods() {
                match self.tell_one(scope, subscription.as_ref(), method).await {
                    Ok(body) => released.push(body),
                    Err(reason) => tracing::warn!(%reason, "a client was not told that a list has changed"),
                }
            }
        }
        released
    }

    async fn tell_one(
        &self,
        scope: &Scope,
        subscription: Option<&IdBuf>,
        method: &str,
    ) -> Result<ReleasedBody, Reason> {
        let params = subscription.map_or_else(String::new, |id| {
            let id = id.raw();
            format!(r#","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}"#)
        });
        let body = Bytes::from(format!(r#"{{"jsonrpc":"2.0","method":"{method}"{params}}}"#));
        self.say(scope, method, (body, "the gateway itself says so: what the caller may see has changed"))
            .await
    }

    /// A sign of life to a client whose call waits. It is no record, as a comment in the stream is none: that the call waits is in
    /// the record, and a thousand that wait would have all others wait for the disk.
    pub(crate) fn sign_of_life(progress: &Bytes) -> ReleasedBody {
        let frame = mcp::message::parse(progress).ok();
        ReleasedBody::of(progress.clone().into(), frame.as_ref())
    }

    /// Says something to a client in the gateway's own name, and why.
    pub(crate) async fn say(
        &self,
        scope: &Scope,
        method: &str,
        (body, why): (Bytes, &str),
    ) -> Result<ReleasedBody, Reason> {
        let cleared = self.clear(account::of_own(scope, (method, why), &body), Judged::unasked()).await?;
        self.recorder.pass(cleared).await?; // durable from here on
        let frame = mcp::message::parse(&body).ok();
        Ok(ReleasedBody::of(body.clone().into(), frame.as_ref()))
    }
}
