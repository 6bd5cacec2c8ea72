//! A call's life, left to right: `listen → identify → decide → (hold) → open → forward → mask → close → reply`.
//!
//! Transports bring frames (one message, or a batch of 2025-03-26) and take away [`Released`] ones, in both directions
//! alike: a request is opened, a notification passed, a response closes what it answers. [`Pipeline::carry`] is that
//! story; nothing leaves the gateway without the `Released` that it returns, and it has none to return before the
//! recorder has said that each message of the frame is durable.

mod ends;
mod judged;
mod notes;
mod tasks;
mod told;
mod whole;

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::HeaderMap;
use ledger::{CallId, Status};
use mcp::fields::Params;
use mcp::message::{Answer, Frame, IdBuf, Kind, Message};
use mcp::mrtr::Leg;
use recorder::{Account, Body, Cleared, Clerk, Receipt, Recorder, faults};
use serde_json::value::RawValue;

use crate::account::{self, Side};
use crate::budgets::Allowance;
use crate::callers::Callers;
use crate::clock;
use crate::content::Content;
use crate::decide::Decider;
use crate::holds::Holds;
use crate::judge::{Asked, Judged};
use crate::meter::Tally;
use crate::news::Grants;
use crate::peer::Peer;
use crate::refusal::{Reason, Refused};
use crate::rounds::{Approval, Rounds};
use crate::route::Route;
use crate::scope::{Scope, Waiting};
use crate::settings::Receipts;
use crate::terms::Terms;

/// Decides and records; knows no transport.
#[derive(Debug)]
pub(crate) struct Pipeline {
    recorder: Recorder,
    decider: Arc<Decider>,
    rounds: Arc<Rounds>,
    /// Another configuration puts others here: what is open goes by them from the next message on. Locked for a copy or a swap of
    /// the pointer.
    terms: RwLock<Arc<Terms>>,
    allowance: Allowance,
    grants: Arc<Grants>,
    /// `None`: nothing is judged, and nothing held.
    holds: Option<Arc<Holds>>,
}

/// A frame as it came.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) side: Side,
    pub(crate) content: &'a Content,
    pub(crate) frame: &'a Frame<'a>,
    pub(crate) headers: Option<&'a HeaderMap>,
    /// Who sent it, or the client of a server that did.
    pub(crate) peer: &'a Arc<Peer>,
}

/// A frame that may leave for a server: each of its messages is in the ledger. Only this file makes one.
#[derive(Debug, Clone)]
pub struct Released {
    frame: Bytes,
}

impl Released {
    /// What to send.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The gateway's own answer in the place of what was refused, and recorded as such.
    pub(crate) fn refusal(refused: Refused) -> Released {
        Released { frame: refused.body }
    }
}

/// A frame that may leave for a client, however large: what it says is in the ledger. Only this file makes one.
#[derive(Debug, Clone)]
pub(crate) struct ReleasedBody {
    body: Body,
    answered: Vec<IdBuf>,
    spoken_of: Option<IdBuf>,
}

impl ReleasedBody {
    /// As above.
    pub(crate) fn refusal(refused: &Refused) -> ReleasedBody {
        let frame = mcp::message::parse(&refused.body).ok();
        ReleasedBody::of(refused.body.clone().into(), frame.as_ref())
    }

    fn of(body: Body, frame: Option<&Frame<'_>>) -> ReleasedBody {
        let messages = frame.map(Frame::messages).unwrap_or_default();
        let answered = messages.iter().filter_map(Message::answered).collect();
        ReleasedBody { body, answered, spoken_of: messages.iter().find_map(spoken_of) }
    }

    /// What to send.
    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    /// The requests that it answers.
    pub(crate) fn answered(&self) -> &[IdBuf] {
        &self.answered
    }

    /// The progress token or the subscription that it speaks of.
    pub(crate) fn spoken_of(&self) -> Option<&IdBuf> {
        self.spoken_of.as_ref()
    }
}

impl Pipeline {
    pub(crate) fn new(
        recorder: Recorder,
        clerk: Clerk,
        terms: Terms,
        (callers, holds): (Option<Arc<Callers>>, Option<Arc<Holds>>),
    ) -> Pipeline {
        let grants = Grants::new(terms.rules.clone(), callers);
        let (decider, rounds, allowance) = (Arc::new(Decider::new(clerk)), Arc::default(), Allowance::new());
        let terms = RwLock::new(Arc::new(terms));
        Pipeline { recorder, decider, rounds, terms, allowance, grants, holds }
    }

    /// The calls that wait for people.
    pub(crate) fn holds(&self) -> Option<&Arc<Holds>> {
        self.holds.as_ref()
    }

    /// What decides on what is no message.
    pub(crate) fn decider(&self) -> Arc<Decider> {
        Arc::clone(&self.decider)
    }

    /// The terms of the next message.
    fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets every message from now on cross on other terms, and all streams hear of it.
    pub(crate) fn replace_terms(&self, next: Terms) {
        let rules = next.rules.clone();
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.grants.renew(rules);
    }

    /// Carries a client's frame through the phases, message by message: it crosses whole or not at all. `bytes` are the
    /// frame's.
    pub(crate) async fn carry(
        &self,
        route: Route<'_>,
        sent: Sent<'_>,
        bytes: &Bytes,
    ) -> Result<Released, Refused> {
        let entered = self.carry_messages(route, sent).await?;
        Ok(Released { frame: self.with_receipts(sent.frame, bytes, &entered) })
    }

    async fn carry_messages(&self, mut route: Route<'_>, sent: Sent<'_>) -> Result<Vec<Entered>, Refused> {
        if let Some(heard) = self.hear(route.scope, sent).await {
            return Err(heard);
        }
        let mut entered = Vec::new();
        for message in sent.frame.messages() {
            match self.carry_message(&mut route, message, sent).await {
                Ok(message) => entered.push(message),
                Err(reason) => {
                    self.withdraw(&mut route, sent, entered.len()).await;
                    return Err(self.turn_back(route.scope, sent, entered.len(), reason).await);
                }
            }
        }
        Ok(entered)
    }

    /// The life of one message. A call's begins with its request and ends with the response that closes it.
    async fn carry_message(
        &self,
        route: &mut Route<'_>,
        message: &Message<'_>,
        sent: Sent<'_>,
    ) -> Result<Entered, Reason> {
        let side = sent.side;
        route.scope.observe(message);
        match message.kind() {
            Kind::Request { id, method, params } => {
                let id = route.unused(side, id.to_buf())?;
                let (account, approval) = self.account(route, message, sent); // identify: who asks whom for what
                let asked = Asked::of(route.scope, sent, (method, *params), approval.as_ref());
                let (judged, share) = self.judge(&asked).await?;
                let (recording, approval) = (judged.recording, approval_of(&judged, *params));
                let cleared = self.clear(account, judged).await?; //       decide, hold
                faults::reach("call.decided");
                let opened = self.recorder.open(cleared).await?; //        open: durable from here on
                faults::reach("call.opened");
                let entered = Entered::of(opened.receipt(), opened.call());
                let tally = Tally::begin(&route.scope.meter, method);
                let kept = (tally, recording, (share, approval));
                route.keep(side, id, Waiting::new(opened, kept, asked.peer, (method, *params)));
                Ok(entered) // forward: the transport does, with the `Released`
            }
            Kind::Notification { method, params } => {
                self.carry_note(route, message, sent, (method, *params)).await
            }
            Kind::Response { id, outcome } => {
                let call = route.take(side.other(), id.map(|id| id.to_buf())).ok_or(Reason::Unasked)?;
                faults::reach("call.answered");
                self.expect_round(route.scope, &call, outcome);
                let shown = match self.show(route.scope, &call, (message, outcome), sent).await {
                    Ok(shown) => shown,
                    Err(reason) => return Err(self.withhold(call, message, sent, reason).await),
                };
                let outcome = account::of_answer(message, outcome, &sent); //     mask
                let outcome = account::with_edits(outcome, &shown);
                let closed = self.close(call, outcome).await; //              close: durable from here on
                let closed = closed.map_err(Reason::NotClosed)?;
                faults::reach("call.closed");
                let entered = Entered::of(closed.receipt(), closed.call());
                Ok(Entered { instead: shown.instead, ..entered }) //         reply: the transport, with the `Released`
            }
        }
    }
}

impl Pipeline {
    /// Like [`Pipeline::carry`], for bytes that are not parsed yet.
    pub(crate) async fn carry_bytes(&self, route: Route<'_>, bytes: &Bytes) -> Result<Released, Refused> {
        let content = Content::Small(bytes.clone());
        match content.parse() {
            Ok(frame) => {
                let peer = &route.scope.peer;
                let sent = Sent { side: Side::Client, content: &content, frame: &frame, headers: None, peer };
                self.carry(route, sent, bytes).await
            }
            Err(error) => Err(self.refuse_unparsed(route.scope, Side::Client, &content, error.into()).await),
        }
    }

    /// The same for what a server sent.
    pub(crate) async fn carry_down(
        &self,
        route: Route<'_>,
        content: &Content,
    ) -> Result<ReleasedBody, Refused> {
        let frame = match content.parse() {
            Ok(frame) => frame,
            Err(error) => {
                let refused = self.refuse_unparsed(route.scope, Side::Server, content, error.into()).await;
                return Err(self.answer_instead(route, content, refused).await);
            }
        };
        let peer = &route.scope.peer;
        let sent = Sent { side: Side::Server, content, frame: &frame, headers: None, peer };
        let entered = self.carry_messages(route, sent).await?;
        Ok(self.released_body(&frame, content, &entered))
    }

    fn released_body(&self, frame: &Frame<'_>, content: &Content, entered: &[Entered]) -> ReleasedBody {
        let body = match content {
            Content::Small(bytes) => self.with_receipts(frame, bytes, entered).into(),
            // A receipt would have to be put into it; it goes as it came.
            Content::Large { body, .. } => body.clone(),
        };
        ReleasedBody::of(body, Some(frame))
    }

    /// What a server sent is withheld. If it may have been the answer to an open call, that call ends here, and who waits for
    /// it is told.
    async fn answer_instead(&self, mut route: Route<'_>, content: &Content, refused: Refused) -> Refused {
        match content.id_of_refused().and_then(|id| route.take(Side::Client, Some(id))) {
            Some(call) => {
                let end = account::of_end(Status::Withheld, refused.reason(), None, Body::default());
                self.close_or_log(call, end).await;
                refused
            }
            None => refused.unowed(),
        }
    }

    /// Records that what is no frame was refused.
    pub(crate) async fn refuse_unparsed(
        &self,
        scope: &Scope,
        side: Side,
        content: &Content,
        reason: Reason,
    ) -> Refused {
        let mut account = account::of_unparsed(scope, side, content);
        if side == Side::Server {
            self.reduce_stray(&mut account).await;
        }
        let id = content.id_of_refused();
        scope.meter.refuse(&reason);
        self.record_refusal(account, &reason).await;
        Refused::unparsed(id.as_ref().map(IdBuf::raw), &reason)
    }

    /// What is to be recorded of a message, and what let the round before through.
    fn account(
        &self,
        route: &Route<'_>,
        message: &Message<'_>,
        sent: Sent<'_>,
    ) -> (Account, Option<Approval>) {
        let mut account = account::of_message(route.scope, message, &sent);
        let mut approval = None;
        if let Kind::Request { method, params, .. } = message.kind() {
            let key = params.and_then(|params| Leg::of(method, params)?.continued(params));
            let resumed = key.and_then(|key| self.rounds.resume(route.scope.run, &key));
            let (call, round, approved) = resumed.unwrap_or_else(|| (clock::new_call(), 0, None));
            account.call = Some(call);
            account.round = round;
            approval = approved;
        }
        match sent.side {
            Side::Server => account.parent = route.only_call(),
            Side::Client => {
                if let Some(credential) = self.terms().credential(&route.scope.server) {
                    account.fields.insert("upstream_credential".into(), account::json_text(credential));
                }
            }
        }
        (account, approval)
    }

    async fn clear(&self, account: Account, judged: Judged) -> Result<Cleared, Reason> {
        let call = account.call;
        let mut account = account::with_judgement(account, &judged);
        account::reduce(judged.recording, (&mut account.fields, &mut account.spans, &mut account.body));
        match self.decider.decide(judged.decision, account) {
            Ok(cleared) => Ok(cleared),
            Err(refusal) => {
                let refused = self.recorder.refuse(refusal).await?;
                if let (Some(holds), Some(under)) = (&self.holds, judged.under)
                    && under.asked.is_none()
                {
                    holds.recorded(under.hold, refused.receipt().seq);
                }
                Err(Reason::Denied(judged.denial.unwrap_or_default().of(call)))
            }
        }
    }

    /// Records why a frame does not cross, and makes the answer that says so.
    pub(crate) async fn turn_back(
        &self,
        scope: &Scope,
        sent: Sent<'_>,
        at: usize,
        reason: Reason,
    ) -> Refused {
        scope.meter.refuse(&reason);
        if let Some(message) = sent.frame.messages().get(at)
            && !is_recorded(message, &reason)
        {
            let mut account = account::of_message(scope, message, &sent);
            if sent.side == Side::Server || message.answered().is_some() {
                self.reduce_stray(&mut account).await;
            }
            self.record_refusal(account, &reason).await;
        }
        Refused::frame(sent.frame, sent.side, &reason)
    }

    async fn record_refusal(&self, account: Account, reason: &Reason) {
        let refusal = self.decider.refuse(account, reason.to_string());
        if let Err(error) = self.recorder.refuse(refusal).await {
            tracing::error!(%error, "a refusal was not recorded");
        }
    }

    fn expect_round(&self, scope: &Scope, call: &Waiting, answer: &Answer<'_>) {
        if let Some(key) = call.next_round(answer) {
            let next = call.opened.round().saturating_add(1);
            self.rounds.expect(scope.run, &key, (call.opened.call(), next), call.approval.clone());
        }
    }

    /// The frame as it is shown, with receipts where they are wanted and the schema has a place for them.
    fn with_receipts(&self, frame: &Frame<'_>, bytes: &Bytes, entered: &[Entered]) -> Bytes {
        if entered.iter().any(|entered| entered.instead.is_some()) {
            return shown(frame, entered);
        }
        let (Receipts::InMeta, Frame::Single(message), [entered]) = (self.terms().receipts, frame, entered)
        else {
            return bytes.clone();
        };
        let edited =
            entered.as_json().and_then(|receipt| mcp::edit::set_meta(message, RECEIPT, &receipt).ok());
        edited.map_or_else(|| bytes.clone(), Bytes::from)
    }
}

/// What let a request through that was held.
fn approval_of(judged: &Judged, params: Option<&RawValue>) -> Option<Approval> {
    let under = judged.under.as_ref()?;
    let digest = policy::binding::digest(params.map(RawValue::get), &[]);
    Some(Approval { hold: under.hold.clone(), digest })
}

/// Whether the record says already that a message does not cross.
fn is_recorded(message: &Message<'_>, reason: &Reason) -> bool {
    match reason {
        // What could not be recorded cannot be recorded as refused either.
        Reason::Denied(_) | Reason::NotRecorded(_) => true,
        // With the call that it would have answered.
        Reason::NotClosed(_) | Reason::NoPage(_) | Reason::AskedBack(_) | Reason::Answer(_) => {
            matches!(message.kind(), Kind::Response { .. })
        }
        _ => false,
    }
}

fn spoken_of(message: &Message<'_>) -> Option<IdBuf> {
    let Kind::Notification { params: Some(params), .. } = message.kind() else { return None };
    let params = Params::of(params);
    params.progress_token().or_else(|| params.subscription_id())
}

/// The frame with what stands in the place of some of its messages.
fn shown(frame: &Frame<'_>, entered: &[Entered]) -> Bytes {
    let of = |(message, entered): (&Message<'_>, &Entered)| {
        entered.instead.clone().unwrap_or_else(|| message.raw().to_owned())
    };
    let messages: Vec<String> = frame.messages().iter().zip(entered).map(of).collect();
    match frame {
        Frame::Single(_) => messages.concat().into(),
        Frame::Batch(_) => format!("[{}]", messages.join(",")).into(),
    }
}

/// Key of receipts in `_meta`.
const RECEIPT: &str = "tollbook/receipt";

/// What the ledger holds of a message that crosses.
#[derive(Debug, Default)]
struct Entered {
    record: Option<(CallId, Receipt)>,
    /// The message as it is to be shown, if not as it came.
    instead: Option<String>,
}

impl Entered {
    fn of(receipt: &Receipt, call: CallId) -> Entered {
        Entered { record: Some((call, receipt.clone())), instead: None }
    }

    fn as_json(&self) -> Option<String> {
        let (call, receipt) = self.record.as_ref()?;
        let mut out = String::new();
        let mut object = ledger::json::Object::begin(&mut out);
        object.plain("call", call);
        object.number("index", receipt.seq);
        object.plain("leaf", receipt.leaf_hash);
        object.text("origin", &receipt.origin);
        object.end();
        Some(out)
    }
}
