//! What operators did, into the ledger. They act in other processes, or on the console; the state keeps each action from
//! the transaction that did it ([`State::acting`]), and this process, which alone can write to the ledger, records it.
//!
//! Invariant: an action is marked as recorded only after its record is durable. A crash between the two records it twice,
//! under one id.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::payload::{Fields, Spans};
use ledger::{RunId, Seq, Verdict};
use recorder::{Account, Body, Decision, RecordError, Recorder, RunStart};
use store::state::{Action, Outcome, State, StateError};

use crate::account::json_text;
use crate::clock;
use crate::decide::Decider;

/// Between two looks at the state.
const LOOK: Duration = Duration::from_millis(200);

/// Actions that are read at a time.
const BATCH: u32 = 100;

/// Operators whose runs are open; beyond that all of these end.
const RUNS: usize = 64;

/// Records actions, each operator's in a run of their own.
#[derive(Debug)]
pub(crate) struct Journal {
    state: Arc<State>,
    recorder: Recorder,
    decider: Arc<Decider>,
    runs: HashMap<Arc<str>, RunId>,
}

/// Why an action has no record yet.
#[derive(Debug, thiserror::Error)]
enum JournalError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("a thread of the runtime failed")]
    Thread,
}

impl Journal {
    pub(crate) fn new(state: Arc<State>, recorder: Recorder, decider: Arc<Decider>) -> Journal {
        Journal { state, recorder, decider, runs: HashMap::new() }
    }

    /// Records what was not recorded yet, and what comes, until it is dropped. What fails is tried again.
    pub(crate) async fn keep(mut self) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut is_failing = false;
        loop {
            ticks.tick().await;
            match self.catch_up().await {
                Ok(()) => is_failing = false,
                // Said when it becomes so, not at each look.
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::error!(%error, "what operators do is not recorded now; it is kept and tried again");
                }
                Err(_) => {}
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), JournalError> {
        loop {
            // The index of what is not recorded is empty nearly always: microseconds.
            let actions = self.state.unrecorded(BATCH)?;
            if actions.is_empty() {
                return Ok(());
            }
            for action in actions {
                let seq = self.record(&action).await?;
                let state = Arc::clone(&self.state);
                let mark = move || state.mark_recorded(action.no, seq);
                tokio::task::spawn_blocking(mark).await.map_err(|_| JournalError::Thread)??;
            }
        }
    }

    async fn record(&mut self, action: &Action) -> Result<Seq, RecordError> {
        let who: Arc<str> = action.who.as_str().into();
        let run = self.run_of(&who).await?;
        let account = of_action(action, run, who);
        let decision = Decision { verdict: Verdict::Allow, policy: None, reason: None };
        let cleared = match action.outcome {
            Outcome::Done => self.decider.decide(decision, account),
            Outcome::Refused => {
                let reason = action.reason.clone().unwrap_or_else(|| "refused".to_owned());
                Err(self.decider.refuse(account, reason))
            }
        };
        match cleared {
            Ok(cleared) => Ok(self.recorder.pass(cleared).await?.receipt().seq),
            Err(refusal) => Ok(self.recorder.refuse(refusal).await?.receipt().seq),
        }
    }

    /// The run of an operator's actions, begun with the first.
    async fn run_of(&mut self, who: &Arc<str>) -> Result<RunId, RecordError> {
        if let Some(run) = self.runs.get(who) {
            return Ok(*run);
        }
        if self.runs.len() >= RUNS {
            for (_, run) in self.runs.drain() {
                self.recorder.end_run(run, "operators' runs are many").await?;
            }
        }
        let run = clock::new_run();
        let mut fields = Fields::new();
        fields.insert("principal".into(), json_text(who));
        fields.insert("rule".into(), json_text("one operator"));
        self.recorder.begin_run(RunStart { run, subject: Arc::clone(who), fields }).await?;
        self.runs.insert(Arc::clone(who), run);
        Ok(run)
    }
}

/// The account of an action. The time and the order in the ledger may be later than those of the action.
fn of_action(action: &Action, run: RunId, who: Arc<str>) -> Account {
    let Action { id, at, what, subject, reason, outcome, .. } = action;
    let mut fields = Fields::new();
    fields.insert("principal".into(), json_text(&who));
    fields.insert("method".into(), json_text(&format!("operator/{what}")));
    fields.insert("name".into(), json_text(subject));
    fields.extend(reason.as_ref().map(|reason| ("reason".to_owned(), json_text(reason))));
    let outcome = outcome.as_str();
    fields.insert("action".into(), serde_json::json!({"id": id, "at": at, "outcome": outcome}).to_string());
    let (spans, body) = (Spans::new(), Body::default());
    Account { run, call: None, round: 0, parent: None, subject: who, fields, spans, body }
}
