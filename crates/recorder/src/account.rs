//! What the data path says about a message, and the right to say it.
//!
//! A [`Cleared`] comes from the one [`Clerk`] alone, and everything that may be forwarded comes from a
//! `Cleared`: a call that nobody decided on cannot be recorded as allowed.

use std::fmt;
use std::sync::Arc;

use ledger::payload::{Fields, Spans};
use ledger::{CallId, Hash, RunId, Status, Verdict};

use crate::body::Body;

/// A decision on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may pass.
    pub verdict: Verdict,
    /// Digest of the policy that decided; none when no policy was asked.
    pub policy: Option<Hash>,
    /// Why, in words; sealed as the field `reason`.
    pub reason: Option<String>,
}

/// What is to be recorded of a message before it goes on.
#[derive(Clone)]
pub struct Account {
    /// The run it belongs to; it must be open.
    pub run: RunId,
    /// The call it belongs to. An intent without one is given a new one.
    pub call: Option<CallId>,
    /// Number of the round within the call, from 0.
    pub round: u32,
    /// The call in whose course the server asked.
    pub parent: Option<CallId>,
    /// The principal. Never written; selects the key that seals the payload.
    pub subject: Arc<str>,
    /// Named values, each a JSON text; sealed, and committed to one by one.
    pub fields: Fields,
    /// The message as it crossed; sealed.
    pub body: Body,
    /// Named parts of the body, each a JSON text; committed to one by one.
    pub spans: Spans,
}

/// How a call ended.
#[derive(Clone)]
pub struct Outcome {
    /// In one word.
    pub status: Status,
    /// As in [`Account`].
    pub fields: Fields,
    /// As in [`Account`].
    pub body: Body,
    /// As in [`Account`].
    pub spans: Spans,
}

/// What happened in the course of a call, e.g. a progress notification.
#[derive(Clone)]
pub struct Note {
    /// As in [`Account`].
    pub fields: Fields,
    /// As in [`Account`].
    pub body: Body,
    /// As in [`Account`].
    pub spans: Spans,
}

/// A run that begins.
#[derive(Clone)]
pub struct RunStart {
    /// Its id: random, and never used before.
    pub run: RunId,
    /// The principal, as in [`Account`].
    pub subject: Arc<str>,
    /// Named values, as in [`Account`].
    pub fields: Fields,
}

// What is sealed does not show in logs either: not the subject, not the fields, not the body.

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, call, round, .. } = self;
        let mut shown = formatter.debug_struct("Account");
        shown.field("run", run).field("call", call).field("round", round).finish_non_exhaustive()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Outcome").field("status", &self.status).finish_non_exhaustive()
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Note").finish_non_exhaustive()
    }
}

impl fmt::Debug for RunStart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RunStart").field("run", &self.run).finish_non_exhaustive()
    }
}

/// A message that was decided on and may be recorded as about to pass.
#[derive(Debug)]
pub struct Cleared {
    pub(crate) decision: Decision,
    pub(crate) account: Account,
}

/// A message that may not pass; to be recorded as refused.
#[derive(Debug)]
pub struct Refusal {
    pub(crate) decision: Decision,
    pub(crate) account: Box<Account>,
}

impl Cleared {
    /// The decision.
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }
}

impl Refusal {
    /// The decision.
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }
}

/// The right to clear messages. There is one for each recorder, and it cannot be copied.
#[derive(Debug)]
pub struct Clerk {
    _private: (),
}

impl Clerk {
    pub(crate) const fn new() -> Self {
        Self { _private: () }
    }

    /// Clears a message that was allowed.
    ///
    /// # Errors
    /// Any other verdict gives the refusal to record.
    pub fn clear(&self, decision: Decision, account: Account) -> Result<Cleared, Refusal> {
        match decision.verdict {
            Verdict::Allow => {
                let account = with_reason(account, decision.reason.as_deref());
                Ok(Cleared { decision, account })
            }
            Verdict::Deny | Verdict::Hold => Err(self.refuse(decision, account)),
        }
    }

    /// Refuses a message, whatever the verdict says.
    pub fn refuse(&self, decision: Decision, account: Account) -> Refusal {
        let account = Box::new(with_reason(account, decision.reason.as_deref()));
        Refusal { decision, account }
    }
}

fn with_reason(mut account: Account, reason: Option<&str>) -> Account {
    if let Some(reason) = reason {
        let mut text = String::with_capacity(reason.len() + 2);
        ledger::json::push_string(&mut text, reason);
        account.fields.entry("reason".to_owned()).or_insert(text);
    }
    account
}
