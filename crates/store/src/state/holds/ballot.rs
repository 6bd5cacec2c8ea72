//! What people say of a hold.

use jiff::Timestamp;
use ledger::Hash;
use rusqlite::{Connection, Row, params};

use super::super::events::{self, EventKind};
use super::super::keys::{list, moment, strings, time};
use super::super::{Deed, State, StateError};
use super::seek::Place;
use super::{Hold, HoldStatus, enough, find};

/// Seconds within which an approval must be used, if the hold would end before.
const TO_USE: u64 = 600;

/// Seconds for which an approval may hold for a run at most.
const FOR_RUN: u64 = 3_600;

/// Somebody's word.
#[derive(Debug, Clone, Copy)]
pub struct Ballot<'a> {
    /// The operator's id.
    pub who: &'a str,
    /// All names under which the person is known, in lower case.
    pub people: &'a [String],
    /// Groups of the person.
    pub groups: &'a [String],
    /// What they say.
    pub choice: Choice<'a>,
}

/// Yes, in one of two ways, or no.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// This call, once.
    Once,
    /// This call, as often as the run makes it until then.
    ForRun {
        /// Names of arguments that may differ.
        but: &'a [String],
        /// The digest of the call without them.
        digest: Hash,
        /// Until when, in seconds since the Unix epoch; an hour at most.
        until: u64,
    },
    /// No.
    Refuse {
        /// Why: the requester reads it.
        reason: &'a str,
    },
    /// Ten minutes more to decide.
    Prolong,
    /// What was asked or approved is taken back.
    Withdraw {
        /// Why.
        reason: &'a str,
    },
}

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The operator's id.
    pub who: String,
    /// As in [`Ballot`].
    pub people: Vec<String>,
    /// As in [`Ballot`].
    pub groups: Vec<String>,
    /// Yes or no.
    pub is_approval: bool,
    /// Why not.
    pub reason: Option<String>,
    /// When.
    pub at: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cast {
    /// Enough people have approved.
    #[error("approved")]
    Approved,
    /// It counts, and more people are needed.
    #[error("counted; more people must approve")]
    Counted,
    /// It is refused.
    #[error("refused")]
    Refused,
    /// It is taken back.
    #[error("withdrawn")]
    Withdrawn,
    /// There is time until then, in seconds since the Unix epoch.
    #[error("there is time until {}", Timestamp::from_second(time(*.0)).unwrap_or(Timestamp::MAX))]
    Prolonged(u64),
    /// There is no such hold.
    #[error("there is no such hold")]
    Unknown,
    /// It has ended.
    #[error("it is {} already", .0.as_str())]
    Over(HoldStatus),
    /// Nobody decides on what was asked on their own behalf.
    #[error("it was asked on your own behalf")]
    Own,
    /// Somebody else is asked.
    #[error("none of your groups is asked")]
    NotAsked,
    /// There is no more time to be had.
    #[error("it was prolonged as far as it can be")]
    LongEnough,
    /// The same person has spoken.
    #[error("you have decided on it already")]
    Twice,
}

impl Cast {
    /// Whether it counts.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Cast::Approved | Cast::Counted | Cast::Refused | Cast::Withdrawn | Cast::Prolonged(_))
    }
}

impl Said {
    /// Whether it is the person of one of these names.
    #[must_use]
    pub fn is_person(&self, people: &[String]) -> bool {
        self.people.iter().any(|name| people.contains(name))
    }
}

impl State {
    /// Counts what somebody says of a hold. What does not count changes nothing, and is noted as refused where the state is in an
    /// operator's hands ([`State::acting`]).
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn cast(&self, hold: &str, ballot: &Ballot<'_>, now: u64) -> Result<Cast, StateError> {
        self.write(|within, change| {
            let mut place = Place { state: self, within, change, now };
            let cast = place.cast(hold, ballot)?;
            let what = ballot.choice.what();
            let text = cast.to_string();
            let deed = if cast.counts() { Deed::done(what, hold) } else { Deed::refused(what, hold) };
            self.enter(within, &deed.because(ballot.choice.reason().unwrap_or(&text)))?;
            Ok(cast)
        })
    }

    /// What was said of a hold, in order.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn ballots(&self, hold: &str) -> Result<Vec<Said>, StateError> {
        of(&self.reader(), hold).map_err(|source| self.failed(source))
    }
}

impl Place<'_> {
    fn cast(&mut self, id: &str, ballot: &Ballot<'_>) -> rusqlite::Result<Cast> {
        let Some(hold) = find(self.within, id)? else { return Ok(Cast::Unknown) };
        let is_open = matches!(hold.status, HoldStatus::Pending | HoldStatus::Approved);
        let is_over = !is_open || hold.deadline <= self.now;
        let said = of(self.within, id)?;
        let is_own = ballot.people.iter().any(|name| hold.requesters.contains(name));
        let is_asked = hold.needs.iter().any(|need| ballot.groups.contains(&need.group));
        match ballot.choice {
            // What is overdue has expired, also before that is written down.
            _ if is_over && is_open => Ok(Cast::Over(HoldStatus::Expired)),
            _ if is_over => Ok(Cast::Over(hold.status)),
            Choice::Withdraw { reason } if is_own || is_asked => {
                self.close(&hold, HoldStatus::Withdrawn, reason)?;
                Ok(Cast::Withdrawn)
            }
            _ if is_own => Ok(Cast::Own),
            _ if !is_asked => Ok(Cast::NotAsked),
            _ if hold.status == HoldStatus::Approved => Ok(Cast::Over(hold.status)),
            Choice::Prolong => self.prolong(&hold),
            Choice::Refuse { reason } => {
                self.keep(&hold, ballot)?;
                self.close(&hold, HoldStatus::Refused, reason)?;
                Ok(Cast::Refused)
            }
            _ if said.iter().any(|said| said.is_person(ballot.people)) => Ok(Cast::Twice),
            choice => self.approve(&hold, ballot, choice),
        }
    }

    fn approve(&mut self, hold: &Hold, ballot: &Ballot<'_>, choice: Choice<'_>) -> rusqlite::Result<Cast> {
        self.keep(hold, ballot)?;
        self.narrow(hold, choice)?;
        if !enough::is_enough(&hold.needs, &of(self.within, &hold.id)?) {
            let sql = "UPDATE holds SET changed = ?2 WHERE id = ?1";
            self.within.execute(sql, params![hold.id, self.change])?;
            return Ok(Cast::Counted);
        }
        let until = if let Choice::ForRun { until, .. } = choice { until } else { self.now };
        let longest = until.min(self.now.saturating_add(FOR_RUN));
        let sql = "UPDATE holds SET status = 'approved', ended = ?2, deadline = CASE WHEN run_wide IS NULL \
                     THEN max(deadline, ?3) ELSE ?4 END, changed = ?5 WHERE id = ?1 AND status = 'pending'";
        let to_use = time(self.now.saturating_add(TO_USE));
        self.within.execute(sql, params![hold.id, time(self.now), to_use, time(longest), self.change])?;
        events::note(self.within, (&hold.id, EventKind::Approved), None, self.now)?;
        Ok(Cast::Approved)
    }

    /// What all approve of is what the narrowest of them does: once, if one says so; for the run, if all say the same.
    fn narrow(&mut self, hold: &Hold, choice: Choice<'_>) -> rusqlite::Result<()> {
        let is_first = of(self.within, &hold.id)?.len() == 1;
        let sql = "UPDATE holds SET run_wide = ?2, run_digest = ?3 WHERE id = ?1";
        match choice {
            Choice::ForRun { but, digest, .. } if is_first || hold.run_wide.as_deref() == Some(but) => {
                self.within.execute(sql, params![hold.id, list(but)?, digest.0.as_slice()])?;
            }
            _ => drop(self.within.execute(sql, params![hold.id, None::<String>, None::<Vec<u8>>])?),
        }
        Ok(())
    }

    fn keep(&mut self, hold: &Hold, ballot: &Ballot<'_>) -> rusqlite::Result<()> {
        let sql = "INSERT INTO ballots (hold, who, people, groups, decision, reason, at) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET decision = ?5, reason = ?6, at = ?7";
        let decision = if matches!(ballot.choice, Choice::Refuse { .. }) { "refuse" } else { "approve" };
        let (people, groups) = (list(ballot.people)?, list(ballot.groups)?);
        let row =
            params![hold.id, ballot.who, people, groups, decision, ballot.choice.reason(), time(self.now)];
        self.within.execute(sql, row).map(|_| ())
    }
}

impl<'a> Choice<'a> {
    fn what(self) -> &'static str {
        match self {
            Choice::Once => "approvals.grant",
            Choice::ForRun { .. } => "approvals.grant-run",
            Choice::Refuse { .. } => "approvals.refuse",
            Choice::Withdraw { .. } => "approvals.withdraw",
            Choice::Prolong => "approvals.prolong",
        }
    }

    fn reason(self) -> Option<&'a str> {
        match self {
            Choice::Refuse { reason } | Choice::Withdraw { reason } => Some(reason),
            _ => None,
        }
    }
}

pub(super) fn of(db: &Connection, hold: &str) -> rusqlite::Result<Vec<Said>> {
    let sql = "SELECT who, people, groups, decision, reason, at FROM ballots WHERE hold = ? ORDER BY at, who";
    db.prepare_cached(sql)?.query_map([hold], said)?.collect()
}

fn said(row: &Row<'_>) -> rusqlite::Result<Said> {
    let decision: String = row.get(3)?;
    Ok(Said {
        who: row.get(0)?,
        people: strings(row, 1)?,
        groups: strings(row, 2)?,
        is_approval: decision == "approve",
        reason: row.get(4)?,
        at: moment(row, 5)?.unwrap_or_default(),
    })
}
