//! From a message to a judgement: what is asked in the policies' words, and what follows for the message.
//!
//! What is no use of a server (`initialize`, `ping`, lists, notifications) is not asked about: lists are filtered when
//! they come back.

use std::sync::Arc;

use identity::{PrincipalKind, RunName};
use ledger::Verdict;
use mcp::era::Era;
use mcp::fields::{InputRequest, Params};
use policy::budget::Spent;
use policy::{Ask, Caller, Client, Limited, Principal, Question, RunFacts};
use recorder::Decision;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::state::Need;

use crate::account::Side;
use crate::clock;
use crate::denial::Denial;
use crate::holds::{self, Under};
use crate::peer::Peer;
use crate::pipeline::Sent;
use crate::refusal::Reason;
use crate::rounds::Approval;
use crate::rules::{InForce, Standing};
use crate::scope::Scope;
use crate::wanted::{Request, Wanted};

/// A request as it is judged.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) scope: &'a Scope,
    /// Whose request it is, or in whose course a server asks.
    pub(crate) peer: &'a Arc<Peer>,
    pub(crate) side: Side,
    pub(crate) method: &'a str,
    pub(crate) params: Option<&'a RawValue>,
    /// What let the round before through, if it was held.
    pub(crate) approval: Option<&'a Approval>,
    /// Whether it came without other messages in a batch.
    pub(crate) is_alone: bool,
    /// Calls of its run that were let through before it.
    pub(crate) calls: u64,
}

/// What is to be done with a request.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) decision: Decision,
    /// The policies that determined it.
    pub(crate) by: Vec<String>,
    pub(crate) recording: policy::Recording,
    /// Limits that it falls under, none of which has been looked at yet.
    pub(crate) limits: Vec<Limited>,
    /// What who asked is told; of what is allowed, nothing.
    pub(crate) denial: Option<Denial>,
    /// The people whose approval a held request needs.
    pub(crate) needs: Vec<Need>,
    /// What it was held under, or released by.
    pub(crate) under: Option<Under>,
    /// What denied it, where no policy did.
    pub(crate) beside: Option<Beside>,
}

/// What denies beside policies and credentials: the record says so, since other policies would change nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// A limit was reached.
    Limit,
    /// The tool waits to be accepted, or is not known yet.
    Pin,
    /// Policy held it, and nobody approved it.
    Approval,
}

impl Beside {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Beside::Limit => "limit",
            Beside::Pin => "pin",
            Beside::Approval => "approval",
        }
    }
}

impl Judged {
    /// Where nothing is judged.
    pub(crate) fn unasked() -> Judged {
        let decision = Decision { verdict: Verdict::Allow, policy: None, reason: None };
        Judged {
            decision,
            by: Vec::new(),
            recording: policy::Recording::Full,
            limits: Vec::new(),
            denial: None,
            needs: Vec::new(),
            under: None,
            beside: None,
        }
    }

    fn denied(rules: &InForce, reason: String, denial: Denial) -> Judged {
        let decision = Decision { verdict: Verdict::Deny, policy: rules.policy(), reason: Some(reason) };
        Judged { decision, denial: Some(denial), ..Judged::unasked() }
    }

    /// What follows for a request that wants both: neither is denied.
    fn and(mut self, other: Judged) -> Judged {
        let reasons = [self.decision.reason, other.decision.reason];
        let mut reasons: Vec<String> = reasons.into_iter().flatten().collect();
        reasons.dedup();
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        for policy in other.by {
            if !self.by.contains(&policy) {
                self.by.push(policy);
            }
        }
        self.limits.extend(other.limits);
        let needs = holds::together(self.needs, other.needs);
        let verdict = if needs.is_empty() { Verdict::Allow } else { Verdict::Hold };
        Judged {
            decision: Decision { verdict, reason, ..self.decision },
            by: self.by,
            // The most recording wins.
            recording: self.recording.max(other.recording),
            limits: self.limits,
            denial: self.denial.or(other.denial).map(|denial| denial.saying(approval_text(&needs))),
            needs,
            under: None,
            beside: None,
        }
    }
}

fn approval_text(needs: &[Need]) -> String {
    format!("it needs the approval of {}", Need::people(needs))
}

impl InForce {
    /// Judges a request: all that it wants. It is denied if one thing is, and needs all approvals that one thing needs.
    pub(crate) fn judge(&self, asked: &Asked<'_>) -> Judged {
        if self.bundle.is_none() && !self.quarantines() {
            return Judged::unasked();
        }
        let params = asked.params.map(Params::of);
        let mut judged: Option<Judged> = None;
        for wanted in asked.wanted(params.as_ref()) {
            let one = self.judge_one(asked, params.as_ref(), &wanted);
            if one.decision.verdict == Verdict::Deny {
                return one;
            }
            judged = Some(match judged {
                None => one,
                Some(so_far) => so_far.and(one),
            });
        }
        judged.unwrap_or_else(Judged::unasked)
    }

    fn judge_one(&self, asked: &Asked<'_>, params: Option<&Params<'_>>, ask: &Wanted) -> Judged {
        if let Wanted::Tool(name) = ask
            && let Some(judged) = self.judge_pin(asked, name, ask)
        {
            return judged;
        }
        let Some(bundle) = &self.bundle else { return Judged::unasked() };
        let arguments = params.and_then(Params::arguments).map(RawValue::get);
        let judgement = with_question(asked, ask.ask(asked.method, arguments), |q| bundle.decide(q));
        let reason = judgement.errors.first().or(judgement.reason.as_ref()).cloned();
        let mut needs = Vec::new();
        let (verdict, text) = match &judgement.verdict {
            policy::Verdict::Allow => (Verdict::Allow, None),
            policy::Verdict::Deny => (Verdict::Deny, Some(judgement.reason.unwrap_or_default())),
            policy::Verdict::Hold(approvals) => {
                needs = holds::needs(approvals);
                (Verdict::Hold, Some(approval_text(&needs)))
            }
        };
        let denial = text.map(|text| match self.shows_wanted(asked.scope, asked.peer, ask) {
            true => Denial::known(ask, era(asked.scope), text),
            false => Denial::hidden(ask, era(asked.scope), text),
        });
        let decision = Decision { verdict, policy: self.policy(), reason };
        let limits = judgement.limits;
        let is_unknown = |name: &String| self.standing(&asked.scope.server, name) == Standing::Unknown;
        let unpinned = verdict == Verdict::Deny && matches!(ask, Wanted::Tool(name) if is_unknown(name));
        Judged {
            decision,
            by: judgement.by,
            recording: judgement.recording,
            limits,
            denial,
            needs,
            under: None,
            beside: unpinned.then_some(Beside::Pin),
        }
    }

    /// A held request that waits under a hold. `why`: how it is told. Recorded in full: people are shown from there what they decide
    /// on.
    pub(crate) fn waiting(&self, asked: &Asked<'_>, judged: Judged, (under, why): (Under, String)) -> Judged {
        let (denial, recording) = (asked.denial(why).waiting(&under.hold), policy::Recording::Full);
        Judged { denial: Some(denial), under: Some(under), recording, ..judged }
    }

    /// A held request that nobody can approve now.
    pub(crate) fn unapproved(
        &self,
        asked: &Asked<'_>,
        judged: Judged,
        (under, why): (Option<Under>, String),
    ) -> Judged {
        let decision = Decision { verdict: Verdict::Deny, reason: Some(why.clone()), ..judged.decision };
        let (beside, recording) = (Some(Beside::Approval), policy::Recording::Full);
        Judged { decision, denial: Some(asked.denial(why)), under, recording, beside, ..judged }
    }

    /// A request that people have approved, but for a limit that is reached: the approval is there for later.
    pub(crate) fn kept(&self, asked: &Asked<'_>, spent: &Spent, under: Under) -> Judged {
        let why = format!("{spent}; the approval under `{}` is not used up", under.hold);
        Judged { under: Some(under), ..self.spent(asked, spent, why) }
    }

    /// A request that was allowed, but for a limit that is reached.
    pub(crate) fn beyond_limit(&self, asked: &Asked<'_>, spent: &Spent) -> Judged {
        self.spent(asked, spent, spent.to_string())
    }

    fn spent(&self, asked: &Asked<'_>, spent: &Spent, why: String) -> Judged {
        let denial = asked.denial(why.clone());
        let denied = Judged::denied(self, why, denial);
        Judged { by: vec![spent.policy.clone()], beside: Some(Beside::Limit), ..denied }
    }

    /// Judges what a server asks of the client within an answer, or in what it tells of a task, as if it asked by requests. Gives the
    /// limits that it all falls under.
    pub(crate) fn judge_input_requests(
        &self,
        scope: &Scope,
        peer: &Arc<Peer>,
        requests: &[InputRequest<'_>],
    ) -> Result<Vec<Limited>, Reason> {
        let mut limits = Vec::new();
        for InputRequest { method, params } in requests {
            let judged = self.judge(&Asked {
                scope,
                peer,
                side: Side::Server,
                method,
                params: *params,
                approval: None,
                is_alone: true,
                calls: scope.course.so_far().1,
            });
            if let Some(denial) = judged.denial {
                return Err(Reason::AskedBack(denial.to_string()));
            }
            limits.extend(judged.limits);
        }
        Ok(limits)
    }

    /// A tool that is not as it was accepted does not exist for callers; nor does one that a server has not shown in its lists.
    fn judge_pin(&self, asked: &Asked<'_>, name: &str, wanted: &Wanted) -> Option<Judged> {
        if !self.quarantines() {
            return None;
        }
        let server = &asked.scope.server;
        let reason = match self.standing(server, name) {
            Standing::Waiting => "the tool is new or has changed, and waits to be accepted",
            Standing::Unknown if self.has_pins(server) => "no list of its server has shown the tool",
            Standing::Accepted | Standing::Unknown => return None,
        };
        let denial = Denial::hidden(wanted, era(asked.scope), String::new());
        Some(Judged { beside: Some(Beside::Pin), ..Judged::denied(self, reason.to_owned(), denial) })
    }
}

impl<'a> Asked<'a> {
    /// A request as it was sent. `approval`: as in [`Asked`].
    pub(crate) fn of(
        scope: &'a Scope,
        sent: Sent<'a>,
        (method, params): (&'a str, Option<&'a RawValue>),
        approval: Option<&'a Approval>,
    ) -> Asked<'a> {
        let (is_alone, calls) = (sent.frame.messages().len() == 1, scope.course.so_far().1);
        Asked { scope, peer: sent.peer, side: sent.side, method, params, approval, is_alone, calls }
    }

    /// A denial of it, to who may know of it.
    pub(crate) fn denial(&self, text: String) -> Denial {
        let params = self.params.map(Params::of);
        let wanted = self.wanted(params.as_ref()).pop().unwrap_or(Wanted::Other);
        Denial::known(&wanted, era(self.scope), text)
    }

    fn wanted(&self, params: Option<&Params<'_>>) -> Vec<Wanted> {
        let by_client = self.side == Side::Client;
        let params = self.params.zip(params);
        Wanted::all(&Request { by_client, method: self.method, name: None, params })
    }
}

fn era(scope: &Scope) -> Era {
    scope.facts().era.unwrap_or(Era::Session)
}

/// What is read of `clientInfo`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClientInfo {
    name: String,
    version: String,
}

/// A request that the caller's own scope does not cover, whatever policies say.
pub(crate) fn by_scope(asked: &Asked<'_>) -> Option<Judged> {
    asked.peer.verified.as_ref()?;
    let params = asked.params.map(Params::of);
    asked.wanted(params.as_ref()).iter().find_map(|wanted| beyond_scope(asked, wanted))
}

fn beyond_scope(asked: &Asked<'_>, wanted: &Wanted) -> Option<Judged> {
    let server = &asked.scope.server;
    match wanted {
        Wanted::Tool(name) if covers(asked.peer, server, name) => return None,
        Wanted::Tool(_) => {}
        _ if asked.side == Side::Server || covers(asked.peer, server, "") => return None,
        _ => {}
    }
    let denial = Denial::hidden(wanted, era(asked.scope), OUT_OF_SCOPE.to_owned());
    let decision = Decision { verdict: Verdict::Deny, policy: None, reason: Some(OUT_OF_SCOPE.to_owned()) };
    Some(Judged { decision, denial: Some(denial), ..Judged::unasked() })
}

const OUT_OF_SCOPE: &str = "the scope of the credential does not cover it";

/// Whether the caller's scope has something of a server; without a name, all of it.
pub(crate) fn covers(peer: &Peer, server: &str, name: &str) -> bool {
    let Some(verified) = &peer.verified else { return true };
    let word = if name.is_empty() { server.to_owned() } else { format!("{server}/{name}") };
    verified.caller.scope.covers(&word)
}

/// The run as policies name it: that of the credential, else the record's.
pub(crate) fn run_of(scope: &Scope, peer: &Peer) -> String {
    match peer.verified.as_ref().map(|verified| &verified.caller.run) {
        Some(RunName::Minted(run)) => run.to_string(),
        _ => scope.run.to_string(),
    }
}

pub(crate) fn caller<'a>(peer: &'a Peer, run: &'a str) -> Caller<'a> {
    let Some(verified) = &peer.verified else {
        return Caller { principal: Principal::User(&peer.principal), groups: &[], run };
    };
    let principal = match verified.caller.principal.kind {
        PrincipalKind::User => Principal::User(&verified.name),
        PrincipalKind::Service => Principal::Service(&verified.name),
    };
    Caller { principal, groups: &verified.caller.groups, run }
}

fn with_question<T>(asked: &Asked<'_>, ask: Ask<'_>, judge: impl FnOnce(&Question<'_>) -> T) -> T {
    let scope = asked.scope;
    let info: ClientInfo =
        scope.facts().agent.and_then(|agent| serde_json::from_str(&agent).ok()).unwrap_or_default();
    let peer = asked.peer;
    let run = run_of(scope, peer);
    let (age_seconds, _) = scope.course.so_far();
    let verified = peer.verified.as_ref().map(|verified| &verified.caller);
    let words: Vec<String> = match verified.map(|caller| &caller.scope) {
        Some(identity::Scope::Words(words)) => words.iter().cloned().collect(),
        _ => Vec::new(),
    };
    let agents: Vec<String> =
        verified.iter().flat_map(|caller| &caller.actors).map(|actor| actor.sub.clone()).collect();
    let question = Question {
        caller: caller(peer, &run),
        run: RunFacts {
            age_seconds,
            calls: asked.calls,
            purpose: verified.and_then(|caller| caller.purpose.as_deref()),
            scope: &words,
            verified: verified.is_some(),
            depth: u32::try_from(agents.len()).unwrap_or(u32::MAX),
            agents: &agents,
        },
        client: Client { name: &info.name, version: &info.version },
        network: peer.address,
        now_ms: i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX),
        server: &scope.server,
        ask,
    };
    judge(&question)
}
