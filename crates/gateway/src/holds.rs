//! Calls that wait for people: what a call is held under, and who is told when people have decided.
//!
//! What counts is in the state: [`store::state`] gives each approval away once. Here are only the waiting tasks, which try
//! again when something was decided, and are judged anew then.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use identity::RunName;
use ledger::{Hash, Seq};
use mcp::fields::Params;
use policy::budget::Spent;
use serde_json::value::RawValue;
use store::state::{Bounds, Hold, HoldKey, HoldStatus, Mark, Need, NewHold, Sought, State, StateError};
use tokio::sync::Notify;

use crate::budgets::{Allowance, Counted, Share};
use crate::clock;
use crate::judge::{Asked, Judged};
use crate::listen::visits::Visits;
use crate::peer::{Peer, Process};
use crate::rules::{InForce, RulesError};
use crate::scope::Scope;
use crate::tasks::Running;

/// Between two looks at the state.
const LOOK: Duration = Duration::from_millis(200);

/// Looks between two searches for holds that are overdue.
const LOOKS_TO_OVERDUE: u64 = 5;

/// Who acts for the gateway itself.
const OWN: &str = "tollbook";

/// How calls wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldSettings {
    /// How long a call waits before its client is told to come again: below the time after which common clients give up.
    pub inline: Duration,
    /// How long people have.
    pub lasts: Duration,
    /// How many may wait.
    pub bounds: Bounds,
}

impl Default for HoldSettings {
    /// 45 seconds, and half an hour.
    fn default() -> HoldSettings {
        HoldSettings {
            inline: Duration::from_secs(45),
            lasts: Duration::from_secs(1800),
            bounds: Bounds::default(),
        }
    }
}

/// The calls that wait.
#[derive(Debug)]
pub(crate) struct Holds {
    state: Arc<State>,
    settings: HoldSettings,
    /// Where the requesters' pages are; `None`: nobody can reach one.
    pub(crate) base: Option<String>,
    /// What the states of this gateway begin with: those of another one further on are not taken for forgeries.
    pub(crate) tag: String,
    /// Whose users were led to the page of a hold that no call of theirs waits under now. Locked for single look-ups and changes.
    led: Mutex<HashMap<String, Weak<Scope>>>,
    /// Looks at the requesters' pages.
    pub(crate) visits: Visits,
    /// Tasks that wait for a hold. Locked for single look-ups and changes.
    waiting: Mutex<HashMap<String, Weak<Notify>>>,
    /// The calls that are being made for tasks of the protocol.
    pub(crate) running: Running,
}

/// What a call was held under or released by.
#[derive(Debug, Clone)]
pub(crate) struct Under {
    pub(crate) hold: String,
    /// The record of the first try.
    pub(crate) asked: Option<Seq>,
    /// Who approved.
    pub(crate) by: Vec<String>,
}

impl Under {
    /// A hold alone.
    pub(crate) fn only(hold: &str) -> Under {
        Under { hold: hold.to_owned(), asked: None, by: Vec::new() }
    }
}

impl Holds {
    /// `base`: where the requesters' pages are. `origin`: the ledger's.
    pub(crate) fn new(
        state: Arc<State>,
        settings: HoldSettings,
        (base, origin): (Option<String>, &str),
    ) -> Holds {
        let mut of_origin = Hash::of(origin.as_bytes()).to_string();
        of_origin.truncate(16);
        let tag = format!("tollbook.{of_origin}.");
        Holds {
            state,
            settings,
            base,
            tag,
            led: Mutex::default(),
            visits: Visits::pages(),
            waiting: Mutex::default(),
            running: Running::default(),
        }
    }

    /// How long a call waits before its client is told to come again.
    pub(crate) fn inline(&self) -> Duration {
        self.settings.inline
    }

    /// What a held call finds, and what it takes of its limits if it is released; `None`: nobody could say what was approved.
    pub(crate) async fn seek(
        &self,
        asked: &Asked<'_>,
        judged: &Judged,
        (rules, allowance): (&InForce, &Allowance),
    ) -> Result<Option<(Sought, Result<Option<Share>, Spent>)>, RulesError> {
        let Some(call) = self.call(asked, judged, rules) else { return Ok(None) };
        let params = asked.params.map(|params| params.get().to_owned());
        let bounds = self.settings.bounds;
        let (counted, limits) = (Counted::of(asked.scope, asked.peer), judged.limits.clone());
        let allowance = allowance.clone();
        let sought = self.with_state(move |state| {
            let mut taken = Ok(None);
            let digest_but = |but: &[String]| policy::binding::digest(params.as_deref(), but);
            // Within the transaction that uses the approval: neither is taken without the other.
            let may_pass = || {
                taken = allowance.take_as(&counted, &limits);
                taken.is_ok()
            };
            let sought = state.seek(&call, (digest_but, may_pass), &bounds, clock::unix_seconds())?;
            Ok((sought, taken))
        });
        Ok(Some(sought.await?))
    }

    /// Asks the state, on a thread that may block.
    pub(crate) async fn with_state<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&State) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, RulesError> {
        let state = self.acting();
        Ok(tokio::task::spawn_blocking(move || ask(&state)).await.map_err(|_| RulesError::Thread)??)
    }

    /// What an approval of a request is bound to; `None` for what JSON parsers read differently.
    pub(crate) fn key(
        (peer, server): (&Peer, &str),
        (method, params): (&str, Option<&RawValue>),
    ) -> Option<HoldKey> {
        let read = params.map(Params::of);
        let name = read.and_then(|read| read.name().or_else(|| read.uri())).unwrap_or_default();
        Some(HoldKey {
            principal: peer.principal.to_string(),
            run: run_of(peer),
            server: server.to_owned(),
            method: method.to_owned(),
            digest: policy::binding::digest(params.map(RawValue::get), &[])?,
            name,
        })
    }

    fn call(&self, asked: &Asked<'_>, judged: &Judged, rules: &InForce) -> Option<NewHold> {
        let facts = asked.scope.facts();
        let key = Holds::key((asked.peer, &asked.scope.server), (asked.method, asked.params))?;
        let now = clock::unix_seconds();
        Some(NewHold {
            id: clock::new_hold(),
            needs: judged.needs.clone(),
            pin: rules.accepted(&key.server, &key.name),
            requesters: names_of(asked.peer),
            agent: facts.agent.map(|agent| agent.to_string()),
            purpose: asked.peer.verified.as_ref().and_then(|one| one.caller.purpose.clone()),
            reason: judged.decision.reason.clone(),
            policies: judged.by.clone(),
            deadline: now.saturating_add(self.settings.lasts.as_secs()).min(end_of_run(asked.peer)),
            key,
        })
    }

    /// Notes which record tells of a hold's first try. Nobody waits for it.
    pub(crate) fn recorded(&self, hold: String, seq: Seq) {
        let state = Arc::clone(&self.state);
        tokio::task::spawn_blocking(move || log_failed(state.hold_recorded(&hold, seq)));
    }

    /// Notes how a call ended that was let through. Nobody waits for it.
    pub(crate) fn ended(&self, hold: String, outcome: &'static str) {
        let state = Arc::clone(&self.state);
        tokio::task::spawn_blocking(move || {
            log_failed(state.hold_outcome(&hold, outcome, clock::unix_seconds()));
        });
    }

    /// Resolves when a hold is pending no more: with why, if it has ended without an approval.
    pub(crate) async fn decided(&self, hold: &str) -> Option<String> {
        let told = self.told_of(hold);
        let heard = told.notified();
        tokio::pin!(heard);
        heard.as_mut().enable();
        // It may have been decided before anybody listened.
        if self.standing(hold).is_some_and(|hold| hold.status == HoldStatus::Pending) {
            heard.await;
        }
        // What cannot be read is tried again by who waits.
        self.standing(hold)?.end()
    }

    /// The hold of that id, for its requester's page; that somebody looked at it is noted once.
    pub(crate) async fn look_at(&self, hold: &str) -> Result<Option<Hold>, RulesError> {
        let id = hold.to_owned();
        self.with_state(move |state| {
            let found = state.hold(&id)?;
            if found.is_some() {
                state.hold_opened(&id, clock::unix_seconds())?;
            }
            Ok(found)
        })
        .await
    }

    /// The hold of that id.
    pub(crate) fn standing(&self, hold: &str) -> Option<Hold> {
        self.state.hold(hold).ok().flatten()
    }

    /// Whether people have decided, or nobody can any more.
    pub(crate) fn is_decided(&self, hold: &str) -> bool {
        // What cannot be read is looked at again by who waits.
        let found = self.state.hold(hold);
        found.is_ok_and(|hold| hold.is_none_or(|hold| hold.status != HoldStatus::Pending))
    }

    fn told_of(&self, hold: &str) -> Arc<Notify> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = waiting.get(hold).and_then(Weak::upgrade) {
            return told;
        }
        let told = Arc::new(Notify::new());
        waiting.insert(hold.to_owned(), Arc::downgrade(&told));
        told
    }

    /// Looks for what people decide, in whichever process, and ends what is overdue, until it is dropped.
    pub(crate) async fn keep(&self) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut mark = Mark::default();
        for tick in 0_u64.. {
            ticks.tick().await;
            if tick.is_multiple_of(LOOKS_TO_OVERDUE) {
                let state = self.acting();
                let end = move || {
                    let now = clock::unix_seconds();
                    log_failed(
                        state.end_overdue_holds(now).and_then(|_| state.forget_tasks(now)).map(|_| ()),
                    );
                };
                // A thread that failed has ended nothing; the next one tries again.
                let _ = tokio::task::spawn_blocking(end).await;
            }
            if let Ok(Some((changed, next))) = self.state.changed_holds(mark) {
                mark = next;
                self.decide(&changed);
            }
        }
    }

    /// Tells who waits for these holds, and who has waited and was led to their pages.
    fn decide(&self, changed: &[Hold]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut led = self.led.lock().unwrap_or_else(PoisonError::into_inner);
        for hold in changed.iter().filter(|hold| hold.status != HoldStatus::Pending) {
            if let Some(told) = waiting.get(&hold.id).and_then(Weak::upgrade) {
                told.notify_waiters();
            }
            if let Some(scope) = led.remove(&hold.id).and_then(|scope| scope.upgrade()) {
                scope.is_over(hold.id.clone());
            }
        }
        waiting.retain(|_, told| told.strong_count() > 0);
        led.retain(|_, scope| scope.strong_count() > 0);
    }

    /// A call waits no more. If its user was led to the page, the client is told of the hold's end by a stream of its session.
    pub(crate) fn tell_later(&self, hold: &str, scope: &Arc<Scope>) {
        if !scope.is_owed_end(hold) {
            return;
        }
        let led = || self.led.lock().unwrap_or_else(PoisonError::into_inner);
        led().insert(hold.to_owned(), Arc::downgrade(scope));
        // It may have been decided before it was known here.
        if self.standing(hold).is_some_and(|hold| hold.status != HoldStatus::Pending) {
            led().remove(hold);
            scope.is_over(hold.to_owned());
        }
    }

    /// The state in the gateway's own hands: what it ends is noted for the record.
    fn acting(&self) -> State {
        self.state.acting(OWN, clock::unix_seconds())
    }
}

/// The approvals that a judgement asks for, as they are kept.
pub(crate) fn needs(approvals: &[policy::Approval]) -> Vec<Need> {
    let mut needs: Vec<Need> =
        approvals.iter().map(|one| Need { group: one.group.clone(), count: one.count }).collect();
    needs.sort_unstable();
    needs
}

/// The approvals that two things need together: the larger number for a group.
pub(crate) fn together(some: Vec<Need>, others: Vec<Need>) -> Vec<Need> {
    let mut most: BTreeMap<String, u32> = BTreeMap::new();
    for Need { group, count } in some.into_iter().chain(others) {
        let needed = most.entry(group).or_default();
        *needed = (*needed).max(count);
    }
    most.into_iter().map(|(group, count)| Need { group, count }).collect()
}

/// The run that an approval is for: that of the credential, else the client's process, which outlives sessions and this gateway.
pub(crate) fn run_of(peer: &Peer) -> String {
    match &peer.process {
        Process::Credential(RunName::Minted(run)) => run.to_string(),
        Process::Credential(RunName::Login(digest)) => format!("login {digest}"),
        Process::Credential(RunName::Token(digest)) => format!("token {digest}"),
        Process::Credential(RunName::Unnamed) | Process::Unnamed => "unnamed".to_owned(),
        Process::Known { pid, started } => format!("process {pid} of {started}"),
        // Another connection of the same client has another port.
        Process::Address(address) => format!("address {}", address.ip()),
    }
}

/// When the run of a credential ends by itself, in seconds since the Unix epoch: nobody need decide for it after that. A login's
/// goes on with the next token.
fn end_of_run(peer: &Peer) -> u64 {
    peer.verified.as_ref().and_then(|verified| verified.caller.run_ends).unwrap_or(u64::MAX)
}

/// Names under which whoever asks, and whoever acts for them, may be known as an operator.
fn names_of(peer: &Peer) -> Vec<String> {
    let Some(verified) = &peer.verified else {
        return identity::operators::names(&peer.principal, peer.principal.trim_start_matches("os:"));
    };
    let principal = &verified.caller.principal;
    let mut names =
        identity::operators::names(&format!("user:{}:{}", principal.issuer, principal.id), &principal.id);
    for actor in &verified.caller.actors {
        names.extend(identity::operators::names(&format!("user:{}:{}", actor.iss, actor.sub), &actor.sub));
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn log_failed(done: Result<(), StateError>) {
    if let Err(error) = done {
        tracing::error!(%error, "what became of a held call was not noted");
    }
}
