//! What the rules have to say in a call's life: whether its request may go on, and what is shown of its answer.

use ledger::{Hash, Verdict};
use mcp::message::{Answer, Kind, Message};
use mcp::page::{List, Page};
use policy::Listed;
use policy::pin::Names;
use recorder::Decision;
use serde_json::value::RawValue;
use store::state::{Hold, Need, Pin, Release, Sought};

use super::notes::{asked_by_error, asked_within};
use super::{Pipeline, Sent};
use crate::account::{self, Side};
use crate::budgets::{Allowance, Share};
use crate::clock;
use crate::denial::Denial;
use crate::holds::{Holds, Under};
use crate::judge::{self, Asked, Judged};
use crate::peer::Peer;
use crate::refusal::{Reason, Refused};
use crate::rules::{InForce, Rules};
use crate::scope::{Scope, Waiting};
use crate::shown::Shown;

impl Pipeline {
    /// Judges a request; where it may go on, takes what it needs of the limits that it falls under.
    pub(super) async fn judge(&self, asked: &Asked<'_>) -> Result<(Judged, Option<Share>), Reason> {
        if asked.side == Side::Server {
            return self.judge_counted(asked).await;
        }
        let calls = asked.scope.course.count();
        let judged = self.judge_counted(&Asked { calls, ..*asked }).await;
        if !judged.as_ref().is_ok_and(|(judged, _)| judged.denial.is_none()) {
            asked.scope.course.uncount();
        }
        judged
    }

    async fn judge_counted(&self, asked: &Asked<'_>) -> Result<(Judged, Option<Share>), Reason> {
        if let Some(judged) = judge::by_scope(asked) {
            return Ok((judged, None));
        }
        let Some(rules) = self.terms().rules.clone() else { return Ok((Judged::unasked(), None)) };
        let rules = rules.present().await?;
        let judged = rules.judge(asked);
        if !judged.needs.is_empty() {
            // Boxed: few calls are held, and all would be larger by it.
            return Box::pin(self.hold(asked, judged, &rules)).await;
        }
        Ok(self.within_limits(asked, judged, &rules))
    }

    /// What a request takes of its limits, if it may go on.
    fn within_limits(&self, asked: &Asked<'_>, judged: Judged, rules: &InForce) -> (Judged, Option<Share>) {
        if judged.denial.is_some() {
            return (judged, None);
        }
        match self.allowance.take((asked.scope, asked.peer), &judged.limits) {
            Ok(share) => (judged, share),
            Err(spent) => (rules.beyond_limit(asked, &spent), None),
        }
    }

    /// What people say of a request that policy holds: it is allowed where they have approved it, this once, and takes what it needs
    /// of its limits with the approval.
    async fn hold(
        &self,
        asked: &Asked<'_>,
        judged: Judged,
        rules: &InForce,
    ) -> Result<(Judged, Option<Share>), Reason> {
        let Some(holds) = &self.holds else { return Ok((judged, None)) };
        if let Some(why) = no_approval(asked) {
            return Ok((rules.unapproved(asked, judged, (None, why.to_owned())), None));
        }
        if let Some(approval) = asked.approval
            && approval.digest.is_some()
            && approval.digest == policy::binding::digest(asked.params.map(RawValue::get), &[])
        {
            let under = Some(Under::only(&approval.hold));
            let decision = Decision { verdict: Verdict::Allow, ..judged.decision };
            let judged = Judged { decision, denial: None, needs: Vec::new(), under, ..judged };
            return Ok(self.within_limits(asked, judged, rules));
        }
        let Some((sought, taken)) = holds.seek(asked, &judged, (rules, &self.allowance)).await? else {
            let why = "nobody can approve what JSON parsers read differently".to_owned();
            return Ok((rules.unapproved(asked, judged, (None, why)), None));
        };
        Ok(match (sought, taken) {
            (Sought::Kept(hold), Err(spent)) => (rules.kept(asked, &spent, of_hold(&hold)), None),
            (sought, taken) => (found(asked, judged, (rules, holds), sought), taken.ok().flatten()),
        })
    }

    /// Records that what was held is not forwarded, since its hold has ended; gives what who asked is told.
    pub(crate) async fn end_held(&self, scope: &Scope, sent: Sent<'_>, (hold, why): (&str, &str)) -> Refused {
        let text = format!("`{hold}` has ended: {why}");
        let mut reason = Reason::Denied(Denial::default());
        for message in sent.frame.messages() {
            let Kind::Request { method, params, .. } = message.kind() else { continue };
            reason = Reason::Denied(Asked::of(scope, sent, (method, *params), None).denial(text.clone()));
            let mut account = account::of_message(scope, message, &sent);
            account.fields.insert("hold".into(), account::of_hold(&Under::only(hold)));
            self.record_refusal(account, &reason).await;
        }
        Refused::frame(sent.frame, Side::Client, &reason)
    }

    /// What runs have used.
    pub(crate) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Whether nothing is judged, and so nothing was counted.
    pub(crate) fn has_no_rules(&self) -> bool {
        self.terms().rules.is_none()
    }

    /// Keeps what runs have used. Nobody waits for it.
    pub(crate) async fn keep_allowance(&self) {
        let Some(rules) = self.terms().rules.clone() else { return };
        let allowance = self.allowance.clone();
        let kept = tokio::task::spawn_blocking(move || allowance.keep(rules.state())).await;
        if let Ok(Err(error)) = kept {
            tracing::error!(%error, "what runs have used of their limits was not kept: after a restart it is not known");
        }
    }

    /// What is shown of an answer: a list has what who asks may use.
    pub(super) async fn show(
        &self,
        scope: &Scope,
        call: &Waiting,
        (message, answer): (&Message<'_>, &Answer<'_>),
        sent: Sent<'_>,
    ) -> Result<Shown, Reason> {
        let Some(rules) = self.terms().rules.clone() else { return Ok(Shown::default()) };
        if sent.side == Side::Server {
            let asked = || match answer {
                Answer::Result(result) => asked_within(result, sent.content),
                Answer::Error(error) => asked_by_error(error, sent.content),
            };
            self.judge_asked_back(scope, &call.peer, asked).await?;
        }
        if call.describes {
            return Ok(self.describe(scope, (message, sent), &*rules.present().await?));
        }
        let Some(list) = call.list else { return Ok(Shown::default()) };
        match Page::of(list, message) {
            Ok(None) => Ok(Shown::default()),
            Ok(Some(page)) if sent.content.in_memory().is_some() => {
                let digests = match list {
                    List::Tools => self.see(&rules, scope, (&page, call.cursor)).await?,
                    List::Prompts | List::Resources | List::Templates => Vec::new(),
                };
                Ok(rules.present().await?.show((scope, &call.peer), (list, &page), &digests))
            }
            _ if !rules.present().await?.filters(list) && call.peer.verified.is_none() => {
                Ok(Shown::default())
            }
            Ok(Some(_)) => Err(Reason::NoPage("it is larger than 512 KiB")),
            Err(_) => Err(Reason::NoPage("it is no list of objects that each have one name")),
        }
    }

    /// Whether a list shows a tool to who asks in this scope.
    pub(crate) async fn shows_tool(&self, scope: &Scope, peer: &Peer, tool: &str) -> Result<bool, Reason> {
        Ok(match self.terms().rules.clone() {
            Some(rules) => rules.present().await?.shows(scope, peer, Listed::Tool(tool)),
            None => judge::covers(peer, &scope.server, tool),
        })
    }

    /// Pins the tools of a page that are new; gives the digests of all.
    async fn see(
        &self,
        rules: &Rules,
        scope: &Scope,
        (page, cursor): (&Page<'_>, Option<Hash>),
    ) -> Result<Vec<Option<Hash>>, Reason> {
        let digests: Vec<_> =
            page.named().map(|(_, definition)| policy::pin::digest(definition).ok()).collect();
        let changed = rules.see(&scope.server, (page, cursor), &digests).await?;
        if !changed.is_empty() {
            let names = rules.present().await?.names();
            self.note_tools(scope, &changed, &names).await?;
        }
        Ok(digests)
    }

    /// Records that tools are new or have changed.
    async fn note_tools(&self, scope: &Scope, pins: &[Pin], names: &Names) -> Result<(), Reason> {
        for pin in pins {
            let cleared = self.clear(account::of_pin(scope, pin, names), Judged::unasked()).await?;
            self.recorder.pass(cleared).await?;
        }
        Ok(())
    }
}

/// Why people cannot approve a held request, whoever they are.
fn no_approval(asked: &Asked<'_>) -> Option<&'static str> {
    match asked.side {
        Side::Server => Some("it needs approval, and what a server asks of a client cannot wait for it"),
        // Its batch crosses whole or not at all: an approval would be used up by a call that is not made.
        Side::Client if !asked.is_alone => {
            Some("it needs approval, and cannot wait for it in a batch; send it alone")
        }
        Side::Client => None,
    }
}

/// What is to be done with a held request that has found this.
fn found(asked: &Asked<'_>, judged: Judged, (rules, holds): (&InForce, &Holds), sought: Sought) -> Judged {
    match sought {
        Sought::Released(Release { hold, by, asked: first }) => {
            let reason = Some(format!("approved by {} under `{hold}`", by.join(", ")));
            let decision = Decision { verdict: Verdict::Allow, reason, ..judged.decision };
            let under = Some(Under { hold, asked: first, by });
            Judged { decision, denial: None, needs: Vec::new(), under, ..judged }
        }
        Sought::Waits(hold) => {
            let page = holds.page(&hold.id).map(|page| format!(" ({page})")).unwrap_or_default();
            let why = format!(
                "`{}` waits for the approval of {}{page}. Ask for it, then repeat the same call",
                hold.id,
                Need::people(&hold.needs)
            );
            rules.waiting(asked, judged, (of_hold(&hold), why))
        }
        Sought::Refused { hold, again } => {
            let why = hold.why.clone().unwrap_or_default();
            let wait = again.saturating_sub(clock::unix_seconds());
            let why = format!("`{}` was refused: {why}. It may be asked again in {wait} s", hold.id);
            rules.unapproved(asked, judged, (Some(of_hold(&hold)), why))
        }
        Sought::Kept(hold) => {
            let why = format!("`{}` is approved, and cannot be used now", hold.id);
            rules.unapproved(asked, judged, (Some(of_hold(&hold)), why))
        }
        Sought::Full(full) => rules.unapproved(asked, judged, (None, full.to_string())),
    }
}

fn of_hold(hold: &Hold) -> Under {
    Under { hold: hold.id.clone(), asked: hold.asked, by: Vec::new() }
}
