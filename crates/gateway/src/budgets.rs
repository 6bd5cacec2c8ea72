//! What runs have used of the limits of policies: who is counted as one, what a call gives back when it ends, and what
//! outlives this process.

use std::sync::Arc;

use ledger::RunId;
use policy::Limited;
use policy::budget::{Asking, Budgets, Kept, Spent, Taken};
use store::state::{Budget, State, StateError};

use crate::clock;
use crate::peer::Peer;
use crate::scope::Scope;

/// Counters that there is room for: a few dozen megabytes at most.
const ROOM: usize = 32_768;

/// Milliseconds that a run's counters are kept beyond its credential: a login goes on with its next one.
const GRACE_MS: u64 = 86_400_000;

/// The counters of all runs; shared by a gateway and those that take its place.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    budgets: Arc<Budgets>,
}

/// Who is counted as one.
#[derive(Debug)]
pub(crate) struct Counted {
    run: Arc<str>,
    until_ms: Option<u64>,
}

/// What an open call has taken: given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budgets: Arc<Budgets>,
    taken: Taken,
    /// Of its result.
    pub(crate) bytes: u64,
}

impl Allowance {
    pub(crate) fn new() -> Allowance {
        Allowance { budgets: Arc::new(Budgets::with_room(ROOM)) }
    }

    /// Takes what a call needs.
    pub(crate) fn take(
        &self,
        (scope, peer): (&Scope, &Peer),
        limits: &[Limited],
    ) -> Result<Option<Share>, Spent> {
        if limits.is_empty() {
            return Ok(None);
        }
        self.take_as(&Counted::of(scope, peer), limits)
    }

    /// The same for who is known already.
    pub(crate) fn take_as(&self, counted: &Counted, limits: &[Limited]) -> Result<Option<Share>, Spent> {
        if limits.is_empty() {
            return Ok(None);
        }
        let Counted { run, until_ms } = counted;
        let asking = Asking { run, until_ms: *until_ms, now_ms: clock::unix_ms() };
        let taken = self.budgets.take(&asking, limits)?;
        Ok(Some(Share { budgets: Arc::clone(&self.budgets), taken, bytes: 0 }))
    }

    /// A run of a session or a process has ended.
    pub(crate) fn forget(&self, run: RunId) {
        self.budgets.forget(&run.to_string());
    }

    /// Brings back what was kept. Blocks on the disk.
    pub(crate) fn restore(&self, state: &State) -> Result<(), StateError> {
        let kept = state.budgets()?.into_iter();
        self.budgets.restore(
            kept.map(|Budget { run, until_ms, counters }| Kept { run, until_ms, counters }).collect(),
        );
        Ok(())
    }

    /// Keeps what has changed, where there is something. Blocks on the disk.
    pub(crate) fn keep(&self, state: &State) -> Result<(), StateError> {
        let changed = self.budgets.changed().into_iter();
        let changed: Vec<Budget> =
            changed.map(|Kept { run, until_ms, counters }| Budget { run, until_ms, counters }).collect();
        if changed.is_empty() { Ok(()) } else { state.keep_budgets(&changed, clock::unix_ms()) }
    }
}

impl Counted {
    /// The run of a credential that names one, else the record's.
    pub(crate) fn of(scope: &Scope, peer: &Peer) -> Counted {
        match peer.verified.as_ref().and_then(|verified| Some((verified.run.as_ref()?, verified))) {
            Some((run, verified)) => {
                let ends = verified.caller.expires.saturating_mul(1000).saturating_add(GRACE_MS);
                Counted { run: Arc::clone(run), until_ms: Some(ends) }
            }
            None => Counted { run: scope.run.to_string().into(), until_ms: None },
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budgets.ended(&self.taken, self.bytes);
    }
}
