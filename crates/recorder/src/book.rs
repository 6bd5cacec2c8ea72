//! What follows from the leaves so far: open runs, open calls, counters. Pure.
//!
//! The committer keeps one to place each new leaf; a start rebuilds it from a snapshot and the leaves behind
//! it. Both go through [`Book::apply`], so they cannot disagree.

use std::collections::HashMap;

use ledger::record::{Reference, RunLink};
use ledger::{Hash, Kind, Leaf, RunId, Seq};
use serde::{Deserialize, Serialize};

use crate::queue::RoundKey;

/// Leaves by kind since the last `start` leaf.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) intents: u64,
    pub(crate) outcomes: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
    pub(crate) notes: u64,
}

/// An open run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunState {
    /// Number of the run's next record.
    pub(crate) number: u64,
    /// Leaf hash of the run's newest record.
    pub(crate) previous: Option<Hash>,
    /// Calls without an end.
    pub(crate) open: u64,
}

/// An intent without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenCall {
    pub(crate) run: RunId,
    pub(crate) seq: Seq,
    pub(crate) hash: Hash,
}

/// What follows from the leaves so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) runs: HashMap<RunId, RunState>,
    pub(crate) calls: HashMap<RoundKey, OpenCall>,
    pub(crate) counts: Counts,
    /// Time of the newest leaf.
    pub(crate) time: u64,
    /// Number of `key.created` leaves.
    pub(crate) keys: u64,
}

impl Book {
    /// Takes a leaf into account.
    pub(crate) fn apply(&mut self, leaf: &Leaf, seq: Seq, hash: Hash) {
        self.time = self.time.max(leaf.time_us);
        let key = leaf.call.map(|call| RoundKey { call, round: leaf.round.unwrap_or_default() });
        if let Some(link) = leaf.link {
            self.follow(leaf.kind, &link, hash);
        }
        match leaf.kind {
            Kind::Start => self.counts = Counts::default(),
            Kind::KeyCreated => self.keys += 1,
            Kind::Note => self.counts.notes += 1,
            Kind::Intent => {
                self.counts.intents += 1;
                if let (Some(key), Some(link)) = (key, leaf.link) {
                    self.calls.insert(key, OpenCall { run: link.run, seq, hash });
                    self.count_open(link.run, |open| open + 1);
                }
            }
            Kind::Outcome => {
                self.counts.outcomes += 1;
                self.end(key);
            }
            Kind::OutcomeUnknown => {
                self.counts.unknown += 1;
                self.end(key);
            }
            Kind::Refused => {
                self.counts.refused += 1;
                self.end(key.filter(|_| leaf.reference.is_some()));
            }
            _ => {}
        }
    }

    /// Place of the run's next record; none when the run is not open.
    pub(crate) fn link(&self, run: RunId) -> Option<RunLink> {
        let state = self.runs.get(&run)?;
        Some(RunLink { run, number: state.number, previous: state.previous })
    }

    /// Reference to an open intent.
    pub(crate) fn reference(&self, key: &RoundKey, origin: &str) -> Option<(RunId, Reference)> {
        let open = self.calls.get(key)?;
        Some((open.run, Reference { hash: open.hash, seq: open.seq, origin: origin.to_owned() }))
    }

    /// Open calls in the order of their intents.
    pub(crate) fn open_calls(&self) -> Vec<RoundKey> {
        let mut open: Vec<_> = self.calls.iter().map(|(key, call)| (call.seq, *key)).collect();
        open.sort_unstable();
        open.into_iter().map(|(_, key)| key).collect()
    }

    /// Open runs, sorted.
    pub(crate) fn open_runs(&self) -> Vec<RunId> {
        let mut runs: Vec<_> = self.runs.keys().copied().collect();
        runs.sort_unstable();
        runs
    }

    fn follow(&mut self, kind: Kind, link: &RunLink, hash: Hash) {
        if kind == Kind::SessionClose {
            self.runs.remove(&link.run);
            return;
        }
        let open = self.runs.get(&link.run).map_or(0, |state| state.open);
        self.runs.insert(link.run, RunState { number: link.number + 1, previous: Some(hash), open });
    }

    fn end(&mut self, key: Option<RoundKey>) {
        if let Some(call) = key.and_then(|key| self.calls.remove(&key)) {
            self.count_open(call.run, |open| open.saturating_sub(1));
        }
    }

    fn count_open(&mut self, run: RunId, change: impl FnOnce(u64) -> u64) {
        if let Some(state) = self.runs.get_mut(&run) {
            state.open = change(state.open);
        }
    }
}

/// A book as `state.json` has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredBook {
    runs: Vec<(RunId, RunState)>,
    calls: Vec<StoredCall>,
    counts: Counts,
    time: u64,
    keys: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredCall {
    call: ledger::CallId,
    round: u32,
    run: RunId,
    seq: Seq,
    hash: Hash,
}

impl From<&Book> for StoredBook {
    fn from(book: &Book) -> Self {
        let mut runs: Vec<_> = book.runs.iter().map(|(run, state)| (*run, *state)).collect();
        runs.sort_unstable_by_key(|(run, _)| *run);
        let call = |key: RoundKey| {
            let open = book.calls.get(&key)?;
            let RoundKey { call, round } = key;
            Some(StoredCall { call, round, run: open.run, seq: open.seq, hash: open.hash })
        };
        let calls = book.open_calls().into_iter().filter_map(call).collect();
        Self { runs, calls, counts: book.counts, time: book.time, keys: book.keys }
    }
}

impl From<StoredBook> for Book {
    fn from(stored: StoredBook) -> Self {
        let calls = stored.calls.into_iter().map(|open| {
            let key = RoundKey { call: open.call, round: open.round };
            (key, OpenCall { run: open.run, seq: open.seq, hash: open.hash })
        });
        Self {
            runs: stored.runs.into_iter().collect(),
            calls: calls.collect(),
            counts: stored.counts,
            time: stored.time,
            keys: stored.keys,
        }
    }
}
