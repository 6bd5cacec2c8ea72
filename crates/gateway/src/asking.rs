//! How the user of a client that waits is told, and what the client brings back.
//!
//! The user is led to a page that shows how it stands and decides nothing (`listen/status.rs`): that a user "accepts" means no
//! more than that they go there (MCP 2026-07-28, client/elicitation, "URL mode"). In the stateless era that is an answer that asks
//! back (basic/patterns/mrtr), with a state that is random, kept as a digest with the hold, good for this very call and used up
//! by it; in the session era of 2025-11-25 it is a request of the gateway's own within the call.

use bytes::Bytes;
use ledger::Hash;
use mcp::era::{Era, ProtocolVersion};
use mcp::fields::Params;
use mcp::message::{Frame, Kind};
use mcp::mrtr::{Leg, RoundKey};
use serde_json::{Map, Value, json};
use store::state::Back;

use crate::clock;
use crate::content::Content;
use crate::holds::Holds;
use crate::pipeline::Sent;
use crate::refusal::{Reason, Refused};
use crate::scope::Scope;

/// The gateway's key in what an answer asks.
const KEY: &str = "tollbook_approval";

/// What a client need not send to the server: it was for the gateway.
const OURS: [&str; 2] = ["requestState", "inputResponses"];

/// A call that a client tries again with the state that it was given.
#[derive(Debug)]
pub(crate) struct Again {
    /// The frame as the first try had it.
    pub(crate) bytes: Bytes,
    pub(crate) hold: String,
    pub(crate) said: Said,
}

/// What became of the call meanwhile, or what its user says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The user has seen it; people are waited for.
    Seen,
    /// The user does not want to wait now.
    NotNow,
    /// The hold has ended, and why.
    Over(String),
}

/// What a user said who does not want the call any more.
pub(crate) const DECLINED: &str = "who asked has declined to wait for it";

impl Holds {
    /// The page that shows the requester how it stands; `None`: nobody can reach one.
    pub(crate) fn page(&self, hold: &str) -> Option<String> {
        self.base.as_ref().map(|base| format!("{base}/approvals/{hold}"))
    }

    /// The answer to a call that was waited for long enough: one that leads the user to the page and has the client come
    /// again, if it says that it can; else as it was.
    pub(crate) async fn ask_back(&self, sent: Sent<'_>, refused: Refused) -> Refused {
        let Some((id, hold)) = asked_by_stateless(sent.frame).zip(refused.held.clone()) else {
            return refused;
        };
        let Some(url) = self.page(&hold) else { return refused };
        let state = format!("{}{hold}.{}", self.tag, clock::new_secret());
        let (of, digest) = (hold.clone(), Hash::of(state.as_bytes()));
        let kept = self.with_state(move |kept| kept.expect_hold_state(&of, digest, clock::unix_seconds()));
        if let Err(error) = kept.await {
            tracing::error!(%error, "a client could not be led to the page of its hold");
            return refused;
        }
        let result = json!({
            "resultType": "input_required",
            "inputRequests": { KEY: { "method": "elicitation/create", "params": elicited((&hold, &url)) } },
            "requestState": state,
        });
        refused.instead(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
    }

    /// The request that leads the user of a session to the page; `None`: its client does not say that it can, or was asked
    /// already.
    pub(crate) fn lead(&self, scope: &Scope, hold: &str) -> Option<Bytes> {
        let facts = scope.facts();
        if facts.era != Some(Era::Session) || !facts.leads_to_urls {
            return None;
        }
        let url = self.page(hold)?;
        let id = scope.lead(hold)?;
        let mut params = elicited((hold, &url));
        params.insert("elicitationId".to_owned(), hold.into());
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params });
        Some(request.to_string().into())
    }

    /// A call that brings back a state of this gateway's; `None`: there is none in it. The state is used up.
    pub(crate) async fn again(&self, scope: &Scope, sent: Sent<'_>) -> Result<Option<Again>, Reason> {
        let Some((state, wanted)) = self.brought(sent) else { return Ok(None) };
        let Frame::Single(message) = sent.frame else { return Ok(None) };
        let Kind::Request { method, params, .. } = message.kind() else { return Ok(None) };
        let hold = wanted.split('.').next().unwrap_or_default().to_owned();
        let key = Holds::key((sent.peer, &scope.server), (method, *params)).ok_or(Reason::HoldState)?;
        let (of, digest) = (hold.clone(), Hash::of(state.as_bytes()));
        let said = match self.with_state(move |kept| kept.take_hold_state(&of, digest, &key)).await? {
            Back::Unknown => return Err(Reason::HoldState),
            Back::Ended(why) => Said::Over(why),
            Back::Known => match params.and_then(|params| Params::of(params).input_action(KEY)).as_deref() {
                Some("decline") => {
                    self.give_up(&hold).await;
                    Said::Over(DECLINED.to_owned())
                }
                Some("cancel") => Said::NotNow,
                _ => Said::Seen,
            },
        };
        let bytes: Bytes = message.without_params(&OURS).map_err(|_| Reason::HoldState)?.into();
        Ok(Some(Again { bytes, hold, said }))
    }

    /// Whether a state of this gateway's may be in a frame: it need not be parsed to find that there is none.
    pub(crate) fn may_know(&self, content: &Content) -> bool {
        content.in_memory().is_some_and(|bytes| memchr::memmem::find(bytes, self.tag.as_bytes()).is_some())
    }

    /// The state in a frame, if it looks like one of this gateway's, and what follows the gateway's name in it.
    fn brought(&self, sent: Sent<'_>) -> Option<(String, String)> {
        if !self.may_know(sent.content) {
            return None;
        }
        let Frame::Single(message) = sent.frame else { return None };
        let Kind::Request { method, params: Some(params), .. } = message.kind() else { return None };
        let Some(RoundKey::State(state)) = Leg::of(method, params)?.continued(params) else { return None };
        let rest = state.strip_prefix(&self.tag)?.to_owned();
        Some((state, rest))
    }

    /// Ends a hold whose requester does not want it any more.
    pub(crate) async fn give_up(&self, hold: &str) {
        let of = hold.to_owned();
        let ended = self.with_state(move |state| state.give_up_hold(&of, DECLINED, clock::unix_seconds()));
        if let Err(error) = ended.await {
            tracing::error!(%error, "a hold that nobody waits for was not ended");
        }
    }
}

impl Again {
    /// The frame, to be read anew.
    pub(crate) fn content(&self) -> Content {
        Content::Small(self.bytes.clone())
    }
}

/// What leads a user to a page.
fn elicited((hold, url): (&str, &str)) -> Map<String, Value> {
    let message =
        format!("This call waits for the approval of others. The page shows how it stands ({hold}).");
    let params = [("mode", "url"), ("message", &message), ("url", url)];
    params.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// The id of a request that may be answered by asking back, and whose client says that it can lead its user to a page. What
/// answers its server's own questions is left alone: the gateway's state would take the place of the server's.
fn asked_by_stateless(frame: &Frame<'_>) -> Option<String> {
    let Frame::Single(message) = frame else { return None };
    let Kind::Request { id, method, params: Some(params) } = message.kind() else { return None };
    let read = Params::of(params);
    let is_stateless =
        read.meta_version().is_some_and(|version| ProtocolVersion::parse(&version).era() == Era::Stateless);
    let is_first = Leg::of(method, params)?.continued(params).is_none();
    (is_stateless && is_first && read.leads_to_urls()).then(|| id.raw().to_owned())
}
