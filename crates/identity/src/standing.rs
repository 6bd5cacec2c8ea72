//! What holds now: the state's keys and runs in memory, never older than the last commit of any process.
//!
//! Before each use it is looked whether anything was committed, which costs a microsecond, and only what has changed is
//! read. So a revocation by another process counts from the next call on.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use ledger::RunId;
use store::state::{AccessKey, Changes, Mark, MintedRun, State};
use tokio::sync::watch;

use crate::caller::{Actor, PrincipalKind};
use crate::refused::Reason;
use crate::scope::Scope;

/// Deepest chain of runs.
pub(crate) const DEPTH: usize = 8;

#[derive(Debug)]
pub(crate) struct Standing {
    state: Arc<State>,
    /// Owned here; locked for look-ups and for applying changes, never over an await.
    mirror: RwLock<Mirror>,
    /// Counts the times that something changed, so that streams look again.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Mirror {
    mark: Mark,
    keys: HashMap<String, Arc<AccessKey>>,
    runs: HashMap<RunId, Arc<Run>>,
}

/// A run's row, read.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) row: MintedRun,
    pub(crate) kind: PrincipalKind,
    pub(crate) actors: Vec<Actor>,
    scope: Scope,
}

/// A run that holds, with what it and all above it are narrowed to.
#[derive(Debug)]
pub(crate) struct Effective {
    pub(crate) run: Arc<Run>,
    pub(crate) scope: Scope,
}

impl Standing {
    pub(crate) fn new(state: Arc<State>) -> Standing {
        Standing { state, mirror: RwLock::default(), changed: watch::Sender::new(0) }
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes in what any process has committed.
    pub(crate) fn refresh(&self, now: u64) -> Result<(), Reason> {
        let mark = self.mirror().mark;
        let changes = self.state.changes(mark).map_err(|error| {
            tracing::error!(%error, "the state of keys and runs cannot be read");
            Reason::State
        })?;
        let Some(changes) = changes else { return Ok(()) };
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        if mirror.mark.is_behind(changes.mark) {
            mirror.apply(changes, now);
            drop(mirror);
            self.changed.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Drops what has expired and can hold nothing any more.
    pub(crate) fn forget(&self, now: u64) {
        let mut mirror = self.mirror.write().unwrap_or_else(PoisonError::into_inner);
        mirror.runs.retain(|_, run| run.row.expires > now);
    }

    /// The run, if it and every run above it holds.
    pub(crate) fn run(&self, id: RunId, now: u64) -> Result<Effective, Reason> {
        let mirror = self.mirror();
        let run = mirror.runs.get(&id).ok_or(Reason::RunUnknown)?;
        run.check(now)?;
        let mut scope = run.scope.clone();
        let mut above = run.row.parent;
        for _ in 0..DEPTH {
            let Some(id) = above else { return Ok(Effective { run: Arc::clone(run), scope }) };
            let parent = mirror.runs.get(&id).ok_or(Reason::ParentEnded)?;
            parent.check(now).map_err(|_| Reason::ParentEnded)?;
            scope = scope.within(&parent.scope);
            above = parent.row.parent;
        }
        Err(Reason::ParentEnded)
    }

    /// The run at the top of those that minted one another down to this one.
    pub(crate) fn first(&self, id: RunId) -> RunId {
        let mirror = self.mirror();
        let above = |id: &RunId| mirror.runs.get(id).and_then(|run| run.row.parent);
        std::iter::successors(Some(id), above).take(DEPTH + 1).last().unwrap_or(id)
    }

    pub(crate) fn key(&self, id: &str) -> Option<Arc<AccessKey>> {
        self.mirror().keys.get(id).cloned()
    }

    fn mirror(&self) -> RwLockReadGuard<'_, Mirror> {
        // Changes are applied row by row and each is whole.
        self.mirror.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirror {
    fn apply(&mut self, changes: Changes, now: u64) {
        for key in changes.keys {
            self.keys.insert(key.id.clone(), Arc::new(key));
        }
        for row in changes.runs.into_iter().filter(|row| row.expires > now) {
            let id = row.id;
            match Run::read(row) {
                Some(run) => drop(self.runs.insert(id, Arc::new(run))),
                None => {
                    tracing::error!(run = %id, "the row of a run cannot be read; the run does not count");
                    self.runs.remove(&id);
                }
            }
        }
        self.mark = changes.mark;
    }
}

impl Run {
    pub(crate) fn read(row: MintedRun) -> Option<Run> {
        let scope = match &row.scope {
            None => Scope::Unlimited,
            Some(text) => Scope::parse(text).ok()?,
        };
        let kind = PrincipalKind::named(&row.kind)?;
        let actors = serde_json::from_str(&row.actors).ok()?;
        Some(Run { row, kind, actors, scope })
    }

    pub(crate) fn check(&self, now: u64) -> Result<(), Reason> {
        if self.row.revoked.is_some() {
            return Err(Reason::RunRevoked);
        }
        if now < self.row.expires { Ok(()) } else { Err(Reason::RunExpired) }
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }
}
