//! What the gateway itself tells clients. It is recorded before it is sent, like all else.

use std::sync::Arc;

use bytes::Bytes;
use mcp::era::Era;
use mcp::message::IdBuf;
use mcp::page::Lists;

use super::{Pipeline, ReleasedBody};
use crate::account;
use crate::judge::Judged;
use crate::news::{Grants, Hearing};
use crate::peer::Peer;
use crate::refusal::Reason;
use crate::scope::Scope;

impl Pipeline {
    /// What grants follow from.
    pub(crate) fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// An ear for a stream.
    pub(crate) async fn hearing(&self, scope: &Arc<Scope>, peer: &Arc<Peer>) -> Hearing {
        self.grants.hearing(scope, peer).await
    }

    /// Tells a client that lists have changed, as far as it is told of such changes: its subscriptions that asked for it, and
    /// a session whose server said that it tells of them.
    pub(crate) async fn tell(
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
        let cleared = self.clear(account::of_own(scope, method, &body), Judged::unasked()).await?;
        self.recorder.pass(cleared).await?; // durable from here on
        let frame = mcp::message::parse(&body).ok();
        Ok(ReleasedBody::of(body.clone().into(), frame.as_ref()))
    }
}
