//! What the console's metrics say of calls that wait for people, and of operators.
//!
//! People decide in this process and in others, so decisions are read from the state when somebody asks, not counted where they are
//! made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use console::{Exposition, Kind, Unit};
use identity::operators::Operators;
use store::state::{Hold, HoldStatus, State, StateError, Which};

use crate::clock;

/// Upper bounds of the time that people take, in seconds.
const TIMES: [u64; 10] = [1, 5, 15, 30, 60, 120, 300, 600, 1_800, 3_600];

/// Holds that are read at once.
const AT_ONCE: u32 = 1_000;

/// Seconds after its decision in which a hold may still change: it is not counted again meanwhile.
const CHANGES: u64 = 86_400;

/// Holds that are looked for at the start.
const OPEN: u32 = 100_000;

/// What a first decision can be.
const DECISIONS: [&str; 4] = ["approved", "refused", "expired", "withdrawn"];

/// Where the numbers come from.
#[derive(Debug)]
pub(super) struct Waiting {
    state: Arc<State>,
    /// The gateway's own, which counts what it turns away.
    own: Arc<State>,
    operators: Option<Arc<Operators>>,
    /// Locked for one look at what has changed.
    tally: Mutex<Tally>,
}

/// Decisions since the start.
#[derive(Debug, Default)]
struct Tally {
    /// The last change that was looked at.
    since: u64,
    /// Holds that are counted, with when they were decided.
    counted: HashMap<String, u64>,
    decisions: [u64; DECISIONS.len()],
    /// As many as [`TIMES`], and all.
    times: [u64; TIMES.len() + 1],
    seconds: u64,
}

impl Waiting {
    /// Counts from now on; `own` is the gateway's state, which is read only where operators have no connections of their own.
    pub(super) fn new(own: &Arc<State>, operators: Option<&Arc<Operators>>) -> Result<Waiting, StateError> {
        let state = operators.map_or(own, |operators| operators.state());
        let (_, since) = state.holds_since(u64::MAX, 1)?;
        let open = state.holds(Which::Open, OPEN)?.into_iter();
        let approved = open.filter(|hold| hold.status == HoldStatus::Approved);
        let counted = approved.map(|hold| (hold.id, hold.ended.unwrap_or_default())).collect();
        let tally = Mutex::new(Tally { since, counted, ..Tally::default() });
        Ok(Waiting { state: Arc::clone(state), own: Arc::clone(own), operators: operators.cloned(), tally })
    }

    /// What cannot be read is left out.
    pub(super) fn measure(&self, out: &mut Exposition) {
        let now = clock::unix_seconds();
        if let Ok((pending, oldest)) = self.state.pending_holds() {
            let help = "Calls that wait for people.";
            out.single(Kind::Gauge, "tollbook_holds_pending", help, pending);
            let help = "How long the oldest of them has waited.";
            let age = oldest.map_or(0, |oldest| now.saturating_sub(oldest));
            out.single(Kind::Gauge, "tollbook_hold_oldest_seconds", help, age);
        }
        self.decisions(out, now);
        let help = "Calls that were not even held, by why.";
        let mut family = out.family(Kind::Counter, "tollbook_hold_turned_away_total", help);
        for (reason, count) in self.own.turned_away() {
            family.sample(&[("reason", reason)], count);
        }
        if let Ok(unrecorded) = self.state.unrecorded_count() {
            let help = "Operators' actions that are not in the ledger yet.";
            out.single(Kind::Gauge, "tollbook_operator_actions_unrecorded", help, unrecorded);
        }
        if let Some(operators) = &self.operators {
            let help = "Refused logins and acts beyond those that are noted in a second.";
            out.single(Kind::Counter, "tollbook_operator_refusals_unnoted_total", help, operators.unnoted());
        }
    }

    fn decisions(&self, out: &mut Exposition, now: u64) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if tally.read(&self.state, now).is_err() {
            return;
        }
        let help = "Holds by how they were first decided or ended.";
        let mut family = out.family(Kind::Counter, "tollbook_hold_decisions_total", help);
        for (decision, count) in DECISIONS.iter().zip(tally.decisions) {
            family.sample(&[("decision", *decision)], count);
        }
        let help = "Time from the first try to people's yes or no.";
        let mut family = out.family(Kind::Histogram, "tollbook_hold_decision_seconds", help);
        family.histogram(&[], (&TIMES, &tally.times), tally.seconds, Unit::One);
    }
}

impl Tally {
    fn read(&mut self, state: &State, now: u64) -> Result<(), StateError> {
        loop {
            let (changed, next) = state.holds_since(self.since, AT_ONCE)?;
            self.since = next;
            if changed.is_empty() {
                break;
            }
            changed.iter().for_each(|hold| self.count(hold));
        }
        self.counted.retain(|_, decided| now < decided.saturating_add(CHANGES));
        Ok(())
    }

    /// Counts a hold once, by its first decision as far as it can be told.
    fn count(&mut self, hold: &Hold) {
        let decision = match hold.status {
            HoldStatus::Pending => return,
            HoldStatus::Approved | HoldStatus::Used => 0,
            // An approval for a run that was used and has ended.
            _ if hold.uses > 0 => 0,
            HoldStatus::Refused => 1,
            HoldStatus::Expired => 2,
            HoldStatus::Withdrawn => 3,
        };
        let ended = hold.ended.unwrap_or(hold.created);
        if self.counted.insert(hold.id.clone(), ended).is_some() {
            return;
        }
        let slot = self.decisions.get_mut(decision);
        slot.into_iter().for_each(|count| *count += 1);
        if decision > 1 {
            return;
        }
        let took = ended.saturating_sub(hold.created);
        self.seconds = self.seconds.saturating_add(took);
        for (bound, count) in TIMES.iter().chain([&u64::MAX]).zip(&mut self.times) {
            *count += u64::from(took <= *bound);
        }
    }
}
