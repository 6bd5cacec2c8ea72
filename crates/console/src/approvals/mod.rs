//! Calls that wait for people, for people: what they see ([`card`]), what they say of it ([`decide`]), over the API
//! (`routes.rs`) and on plain pages (`pages.rs`).
//!
//! Invariant: whoever approves has sent back the digest of what they were shown; a GET decides nothing.

pub(crate) mod card;
pub(crate) mod pages;
pub(crate) mod routes;
mod sheet;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use identity::operators::{Operator, Permission, names};
use ledger::Hash;
use serde::Deserialize;
use store::state::{Ballot, Cast, Choice, Deed, Hold, HoldStatus, State, StateError};

use crate::Source;
use crate::approvals::card::{Card, Look, Sight};

/// Seconds for which an approval for the run holds.
const FOR_RUN: u64 = 3_600;

/// Longest reason, in characters.
const REASON: usize = 500;

/// Seconds within which one operator's looks at one hold are noted once: the page looks again by itself.
const LOOKED: u64 = 600;

/// Looks that are remembered; forgotten all at once beyond that, and noted again.
const LOOKS: usize = 10_000;

/// What somebody says.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// Yes, in one of two ways, to what has this digest.
    Approve { digest: String, scope: Scope },
    /// No.
    Refuse { reason: String },
    /// It is taken back.
    Withdraw { reason: String },
    /// Ten minutes more.
    Prolong,
}

/// What an approval is for.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    /// This call, once.
    Call,
    /// The run, for an hour; arguments of these names may differ.
    Run { any: Vec<String> },
}

/// How often something may be done, as a request says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum For {
    Call,
    Run,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// As the state has it.
    Cast(Cast),
    /// They were shown something else, or nothing.
    NotSeen,
}

impl Wish {
    /// What it is in the journal.
    pub(crate) fn deed(&self) -> &'static str {
        match self {
            Wish::Approve { scope: Scope::Call, .. } => "approvals.grant",
            Wish::Approve { .. } => "approvals.grant-run",
            Wish::Refuse { .. } => "approvals.refuse",
            Wish::Withdraw { .. } => "approvals.withdraw",
            Wish::Prolong => "approvals.prolong",
        }
    }
}

/// The id of a hold, if it has the form of one.
pub(crate) fn hold_id(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("hold_")?;
    let is_id =
        digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    is_id.then_some(text)
}

/// Notes that somebody names a hold that there is not: a forged link, or one of another gateway.
///
/// # Errors
/// See [`StateError`].
pub(crate) fn note_unknown(state: &State, what: &str, id: &str) -> Result<(), StateError> {
    // What has not the form of an id may be anything.
    let subject = hold_id(id).unwrap_or("no id of a hold");
    state.note(&Deed::refused(what, subject).because(&Cast::Unknown.to_string()))
}

/// A reason as it is kept: trimmed, not empty, not long.
pub(crate) fn reason(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.chars().count() <= REASON).then(|| text.to_owned())
}

/// The account of a hold as this operator may see it; that they look at what was sent is noted first. Blocks on the disk.
///
/// # Errors
/// See [`StateError`].
pub(crate) fn look(
    source: &dyn Source,
    (state, looks): (&State, &Looks),
    hold: &Hold,
    (operator, now): (&Operator, u64),
) -> Result<Card, StateError> {
    let sight = if operator.may(Permission::Approve) { Sight::Whole } else { Sight::Outline };
    if sight == Sight::Whole && looks.is_first(&operator.identity, &hold.id, now) {
        state.note(&Deed::done("approvals.read", &hold.id)).inspect_err(|_| looks.forget())?;
    }
    let index = source.index(hold.asked);
    let payload = |seq| source.payload(seq);
    Look { state, index: index.as_ref(), payload: &payload }.card(hold, sight)
}

/// Does what somebody says of a hold; `state` is in their hands, and notes it. Blocks on the disk.
///
/// # Errors
/// See [`StateError`].
pub(crate) fn decide(
    source: &dyn Source,
    state: &State,
    (hold, wish): (&str, &Wish),
    (operator, now): (&Operator, u64),
) -> Result<Came, StateError> {
    let people = names(&operator.identity, &operator.name);
    let cast = |choice| {
        let ballot = Ballot { who: &operator.identity, people: &people, groups: &operator.groups, choice };
        state.cast(hold, &ballot, now).map(Came::Cast)
    };
    let (digest, scope) = match wish {
        Wish::Refuse { reason } => return cast(Choice::Refuse { reason }),
        Wish::Withdraw { reason } => return cast(Choice::Withdraw { reason }),
        Wish::Prolong => return cast(Choice::Prolong),
        Wish::Approve { digest, scope } => (digest, scope),
    };
    let Some(found) = state.hold(hold)? else { return cast(Choice::Once) };
    let payload = |seq| source.payload(seq);
    let look = Look { state, index: None, payload: &payload };
    // Also where the call alone is approved: who was shown nothing has seen nothing.
    let but = if let Scope::Run { any } = scope { any.as_slice() } else { &[] };
    let of_run = look.run_digest(&found, but);
    let is_seen = digest.parse::<Hash>().is_ok_and(|digest| digest == found.key.digest);
    let (true, Ok(of_run)) = (is_seen, of_run) else {
        state.note(&Deed::refused(wish.deed(), hold).because("they were not shown what is held"))?;
        return Ok(Came::NotSeen);
    };
    match scope {
        Scope::Call => cast(Choice::Once),
        Scope::Run { any } => {
            cast(Choice::ForRun { but: any, digest: of_run, until: now.saturating_add(FOR_RUN) })
        }
    }
}

/// Why this operator cannot approve or refuse a hold, before they try; `None`: they can. What counts is said when they do.
pub(crate) fn hindrance(
    state: &State,
    hold: &Hold,
    (operator, now): (&Operator, u64),
) -> Result<Option<Hindrance>, StateError> {
    let people = names(&operator.identity, &operator.name);
    let is_asked = hold.needs.iter().any(|need| operator.groups.contains(&need.group));
    Ok(match () {
        () if !operator.may(Permission::Approve) => Some(Hindrance::NoRole),
        () if people.iter().any(|name| hold.requesters.contains(name)) => Some(Hindrance::Own),
        () if !is_asked => Some(Hindrance::NotAsked),
        () if !card::is_open(hold, now) => Some(Hindrance::Over),
        () if state.ballots(&hold.id)?.iter().any(|said| said.is_person(&people)) => Some(Hindrance::Twice),
        () => None,
    })
}

/// Why somebody cannot decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Hindrance {
    #[error("You are no approver.")]
    NoRole,
    #[error("It was asked on your own behalf: somebody else decides.")]
    Own,
    #[error("None of your groups is asked.")]
    NotAsked,
    #[error("It is decided.")]
    Over,
    #[error("You have approved; others must approve too.")]
    Twice,
}

/// How a hold stands at a time: what is overdue has expired, also before that is written down.
pub(crate) fn standing(hold: &Hold, now: u64) -> HoldStatus {
    match hold.status {
        HoldStatus::Pending | HoldStatus::Approved if hold.deadline <= now => HoldStatus::Expired,
        status => status,
    }
}

/// Who has looked at what lately.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// When by whom and hold. Locked for one look.
    last: Mutex<HashMap<(String, String), u64>>,
}

impl Looks {
    fn is_first(&self, who: &str, hold: &str, now: u64) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= LOOKS {
            last.clear();
        }
        let key = (who.to_owned(), hold.to_owned());
        if last.get(&key).is_some_and(|before| now < before.saturating_add(LOOKED)) {
            return false;
        }
        last.insert(key, now);
        true
    }

    /// After a look that could not be noted: the next one is.
    fn forget(&self) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
