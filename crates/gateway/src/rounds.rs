//! Which requests are rounds of one call (multi-round-trip requests of 2026-07-28).
//!
//! The protocol has no call id: `mcp::mrtr` says what an answer that asks back and the request that follows it share. Here
//! that is remembered, bounded in number, size and age: a round that comes later is recorded as a call of its own, never
//! refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ledger::{CallId, Hash, RunId};
use mcp::mrtr::RoundKey;
use tokio::time::Instant;

/// Calls that wait for their next round.
const MOST: usize = 10_000;

/// How long one waits.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The calls whose next round may come.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// Owned here; locked for one look-up or insertion at a time.
    waiting: Mutex<HashMap<(RunId, Hash), Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    call: CallId,
    next: u32,
    approval: Option<Approval>,
    since: Instant,
}

/// The approval that let a call through: it is for all its rounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Approval {
    pub(crate) hold: String,
    /// Of what was asked, as [`policy::binding`] has it.
    pub(crate) digest: Option<Hash>,
}

impl Rounds {
    /// The call and round that a request continues, if any.
    pub(crate) fn resume(&self, run: RunId, key: &RoundKey) -> Option<(CallId, u32, Option<Approval>)> {
        let key = (run, digest(key));
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key)?;
        (waiting.since.elapsed() < LONGEST).then_some((waiting.call, waiting.next, waiting.approval))
    }

    /// Remembers that a call waits for its next round.
    pub(crate) fn expect(
        &self,
        run: RunId,
        key: &RoundKey,
        (call, next): (CallId, u32),
        approval: Option<Approval>,
    ) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MOST {
            waiting.retain(|_, entry| entry.since.elapsed() < LONGEST);
        }
        if waiting.len() < MOST {
            waiting.insert((run, digest(key)), Waiting { call, next, approval, since: Instant::now() });
        }
    }
}

/// A state may be megabytes long; that it is equal is all that matters.
fn digest(key: &RoundKey) -> Hash {
    match key {
        RoundKey::State(state) => Hash::of(format!("state\0{state}").as_bytes()),
        RoundKey::Asked { method, name, keys } => {
            Hash::of(format!("asked\0{method}\0{name}\0{}", keys.join("\0")).as_bytes())
        }
    }
}
