//! What is recorded of tasks that are the gateway's own: that one was made, and each question about one with its answer. The task's
//! id is a secret of its client, and what the server said is in the record of its call, at the level that policy sets: of both the
//! digest is here.

use ledger::Status;
use mcp::fields::Params;
use mcp::message::Message;
use policy::Recording;
use recorder::{Account, Body, Opened};

use super::{Pipeline, Sent};
use crate::account::{self, Side};
use crate::clock;
use crate::holds::Under;
use crate::judge::Judged;
use crate::listen::guard;
use crate::meter::Tally;
use crate::refusal::{Reason, Refused};
use crate::rules::InForce;
use crate::scope::{Scope, Transport};
use crate::shown::Shown;
use crate::tasks::{About, Told};

/// A question about a task, without an answer yet.
pub(crate) struct Heard {
    opened: Opened,
    tally: Tally,
}

impl Pipeline {
    /// Makes a call that was held a task, if its client takes one; gives what its client is told, which is recorded then.
    pub(crate) async fn defer(&self, scope: &Scope, sent: Sent<'_>, refused: &Refused) -> Option<Refused> {
        let (holds, hold) = (self.holds()?, refused.held.as_deref()?);
        let [message] = sent.frame.messages() else { return None };
        let id = message.asked()?;
        let made = async {
            let Some((_, told)) = holds.defer(scope, sent, hold).await? else { return Ok(None) };
            let answer = Refused::answered(id.raw(), &told.result);
            let method = (MADE, "the gateway itself answers: the call waits for approval as a task");
            let account = account::of_own(scope, method, &Refused::answered(id.raw(), &told.recorded).body);
            self.pass_of_hold(account, hold).await?; // durable from here on
            Ok::<_, Reason>(Some(answer))
        };
        match made.await {
            Ok(answer) => answer,
            Err(reason) => {
                tracing::error!(%reason, "a held call was not made a task");
                None
            }
        }
    }

    async fn pass_of_hold(&self, account: Account, hold: &str) -> Result<(), Reason> {
        let cleared = self.clear(of_hold(account, hold), Judged::unasked()).await?;
        self.recorder.pass(cleared).await?;
        Ok(())
    }

    /// Resolves when no call is being made for a task.
    pub(crate) async fn tasks_over(&self) {
        if let Some(holds) = self.holds() {
            holds.running.all_over().await;
        }
    }

    /// A server's account of itself as it is shown: where calls may be held, clients are told that they may be tasks.
    pub(super) fn describe(
        &self,
        scope: &Scope,
        (message, sent): (&Message<'_>, Sent<'_>),
        rules: &InForce,
    ) -> Shown {
        let may_hold = rules.bundle.as_ref().is_some_and(|bundle| bundle.hold_groups().next().is_some());
        let is_told = self.holds().is_some() && may_hold && scope.transport == Transport::Streamable;
        // A large one would have to be written anew.
        let instead = match is_told && sent.content.in_memory().is_some() {
            true => message.declaring_tasks(),
            false => None,
        };
        Shown { added: instead.is_some().then_some(Params::TASKS), instead, hidden: Vec::new() }
    }

    /// Records a question about a task, under the name of its hold.
    pub(crate) async fn hear_about(
        &self,
        scope: &Scope,
        (about, sent): (&About<'_>, Sent<'_>),
        hold: &str,
    ) -> Result<Heard, Reason> {
        scope.observe(about.message);
        let mut account = of_hold(of_question(scope, about, &sent), hold);
        account.call = Some(clock::new_call());
        let cleared = self.clear(account, Judged::unasked()).await?;
        let opened = self.recorder.open(cleared).await?; // durable from here on
        Ok(Heard { opened, tally: Tally::begin(&scope.meter, about.method.name()) })
    }

    /// Records that a question was not answered, and why.
    pub(crate) async fn turn_back_about(
        &self,
        scope: &Scope,
        (about, sent): (&About<'_>, Sent<'_>),
        (heard, reason): (Option<Heard>, Reason),
    ) -> Refused {
        scope.meter.refuse(&reason);
        match heard {
            Some(Heard { opened, mut tally }) => {
                tally.answered(Status::Error);
                let end = account::of_end(Status::Error, &reason.to_string(), None, Body::default());
                if let Err(error) = self.recorder.close(opened, end).await {
                    tracing::error!(%error, "the end of a question about a task was not recorded");
                }
            }
            // What could not be recorded cannot be recorded as refused either.
            None if matches!(reason, Reason::NotRecorded(_)) => {}
            None => self.record_refusal(of_question(scope, about, &sent), &reason).await,
        }
        Refused::frame(sent.frame, Side::Client, &reason)
    }

    /// Records what it is answered, and gives the answer.
    pub(crate) async fn answer_about(&self, heard: Heard, id: &str, told: &Told) -> Result<Refused, Reason> {
        let Heard { opened, mut tally } = heard;
        tally.answered(Status::Ok);
        let recorded = Refused::answered(id, &told.recorded).body.into();
        let outcome = account::of_end(Status::Ok, "the gateway itself answers", None, recorded);
        self.recorder.close(opened, outcome).await.map_err(Reason::NotClosed)?; // durable from here on
        Ok(Refused::answered(id, &told.result)) // reply: the transport
    }
}

/// What the record calls it that a task was made.
const MADE: &str = "tollbook/task";

/// The account of a question about a task, by the digest of the task's id: the id opens what is kept, and what an update brings is
/// recorded with the call.
fn of_question(scope: &Scope, about: &About<'_>, sent: &Sent<'_>) -> Account {
    let mut account = account::of_message(scope, about.message, sent);
    account::reduce(Recording::Metadata, (&mut account.fields, &mut account.spans, &mut account.body));
    account.fields.insert("name".into(), account::json_text(&about.task.as_digest()));
    if let Some(headers) = sent.headers {
        let mut headers = headers.clone();
        headers.remove("mcp-name");
        account.fields.insert("headers".into(), guard::recorded(&headers));
    }
    account
}

fn of_hold(mut account: Account, hold: &str) -> Account {
    account.fields.insert("name".into(), account::json_text(hold));
    account.fields.insert("hold".into(), account::of_hold(&Under::only(hold)));
    account
}
