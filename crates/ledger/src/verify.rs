//! Verification of a log: leaf by leaf in order, then the checkpoint.
//!
//! [`Audit`] needs no keys but the log's public one. It holds the open calls and one line per run, however long the log
//! is. It stops at nothing: the report names the first bad record and counts the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;

use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::ids::{CallId, Hash, RunId, Seq};
use crate::record::{Fact, Kind, Leaf, leaf_hash};
use crate::tree::Edge;

/// Faults that a report lists; the rest are counted.
const LISTED: usize = 100;

/// A fault and the record that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The record; `None` for the log as a whole.
    pub seq: Option<Seq>,
    /// What is wrong.
    #[serde(flatten)]
    pub what: What,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum What {
    /// The bytes are no leaf.
    #[error("the record cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// The record cannot be had.
    #[error("the record is missing")]
    Missing,
    /// The entry's hash is not the one in the tree's tiles.
    #[error("the record's bytes are not those that the tree has")]
    Altered,
    /// A payload cannot be had.
    #[error("the record's payload is missing")]
    PayloadMissing,
    /// A payload's bytes are not those that the leaf commits to.
    #[error("the record's payload was altered")]
    PayloadAltered,
    /// A run's numbers have a gap or a repetition.
    #[error(
        "number {found} in {run}, where {expected} comes next: records of the run are missing or doubled"
    )]
    RunNumber {
        /// The run.
        run: RunId,
        /// The number due.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// A run's chain is broken.
    #[error("the record of {run} does not follow the one before it")]
    RunLink {
        /// The run.
        run: RunId,
    },
    /// A record after the run's end.
    #[error("a record of {run} after its end")]
    AfterEnd {
        /// The run.
        run: RunId,
    },
    /// The run's end counts other than there are.
    #[error("the end of {run} counts {counted} records, there are {found}")]
    RunCount {
        /// The run.
        run: RunId,
        /// What the end says.
        counted: i64,
        /// What there is.
        found: u64,
    },
    /// A reference to a record that is not there or not that one.
    #[error("the record refers to record {to}, which is not the one it means")]
    Reference {
        /// The place it names.
        to: Seq,
    },
    /// An end without a beginning, or a second end.
    #[error("the record ends a call that is not open")]
    NotOpen,
    /// A beginning that was never ended, though the gateway has started anew since.
    #[error("the call has no end, though the gateway was started again later")]
    NoEnd,
    /// A heartbeat whose counters are not what the log holds.
    #[error("the heartbeat counts {counted} `{counter}`, there are {found}")]
    Counter {
        /// Which.
        counter: String,
        /// What the heartbeat says.
        counted: i64,
        /// What there is.
        found: i64,
    },
    /// The tree over the records is not the signed one.
    #[error("the records do not make the tree that was signed")]
    Root,
    /// There are other numbers of records than were signed for.
    #[error("{found} records, {signed} were signed for")]
    Size {
        /// What there is.
        found: u64,
        /// What was signed.
        signed: u64,
    },
    /// The checkpoint does not hold.
    #[error("the checkpoint does not hold: {reason}")]
    Checkpoint {
        /// Why.
        reason: String,
    },
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether everything holds.
    pub ok: bool,
    /// The log's origin.
    pub origin: String,
    /// Records read.
    pub records: u64,
    /// Root over them.
    pub root: Hash,
    /// Runs seen.
    pub runs: u64,
    /// Calls begun.
    pub calls: u64,
    /// Calls whose end nobody saw.
    pub unknown: u64,
    /// Calls still open at the end of the log.
    pub open: u64,
    /// Messages refused.
    pub refused: u64,
    /// Payloads checked.
    pub payloads: u64,
    /// Number of faults.
    pub faults: u64,
    /// The first of them, in the order of the records.
    pub first: Vec<Fault>,
}

/// Counters of a heartbeat: since the last `start`.
#[derive(Debug, Default)]
struct Counters {
    intents: i64,
    outcomes: i64,
    refused: i64,
    notes: i64,
}

struct RunState {
    next: u64,
    last: Hash,
    closed: bool,
}

struct OpenCall {
    hash: Hash,
    call: Option<CallId>,
    round: Option<u32>,
}

impl OpenCall {
    fn is_meant(&self, hash: Hash, by: &Leaf) -> bool {
        self.hash == hash && self.call == by.call && self.round == by.round
    }
}

/// An audit under way.
#[derive(Default)]
pub struct Audit {
    edge: Edge,
    runs: HashMap<RunId, RunState>,
    open: HashMap<Seq, OpenCall>,
    counters: Counters,
    /// The logs that references name, each with the first record that does and the place it means.
    origins: BTreeMap<String, (Seq, Seq)>,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    calls: u64,
    unknown: u64,
    refused: u64,
    payloads: u64,
    faults: u64,
    first: Vec<Fault>,
    /// Calls that were open when the gateway was started anew: the recovery has to end them.
    due: BTreeSet<Seq>,
}

impl Audit {
    /// An audit of a log from its beginning.
    pub fn new() -> Audit {
        Audit::default()
    }

    /// Takes the next record and gives it read, unless it cannot be.
    pub fn leaf(&mut self, bytes: &[u8]) -> Option<Leaf> {
        self.hashed_leaf(leaf_hash(bytes), bytes)
    }

    /// As [`Audit::leaf`], for who has the record's [`leaf_hash`] already.
    pub fn hashed_leaf(&mut self, hash: Hash, bytes: &[u8]) -> Option<Leaf> {
        let seq = Seq(self.edge.size());
        self.edge.append(hash);
        match Leaf::decode(bytes) {
            Ok(leaf) => {
                self.follow_run(seq, hash, &leaf);
                self.follow_call(seq, hash, &leaf);
                Some(leaf)
            }
            Err(error) => {
                self.fault(Some(seq), What::Unreadable { reason: error.to_string() });
                None
            }
        }
    }

    /// Notes what was found of the payload at `place` among those of a record.
    pub fn blob(&mut self, seq: Seq, leaf: &Leaf, place: usize, found: Option<Hash>) {
        let Some(expected) = leaf.blobs.get(place) else { return };
        self.tally.payloads += 1;
        match found {
            Some(digest) if digest == expected.digest => {}
            Some(_) => self.fault(Some(seq), What::PayloadAltered),
            None => self.fault(Some(seq), What::PayloadMissing),
        }
    }

    /// Notes a fault that whoever reads the log found.
    pub fn fault(&mut self, seq: Option<Seq>, what: What) {
        self.tally.faults += 1;
        if self.tally.first.len() < LISTED {
            self.tally.first.push(Fault { seq, what });
        }
    }

    /// Number of records taken.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Root over them.
    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// Checks the signed head and gives the report.
    pub fn finish(mut self, note: &str, key: &VerifierKey) -> Report {
        match Checkpoint::verify(note, key) {
            Ok(checkpoint) => {
                let found = self.edge.size();
                if checkpoint.size != found {
                    self.fault(None, What::Size { found, signed: checkpoint.size });
                } else if checkpoint.root != self.edge.root() {
                    self.fault(None, What::Root);
                }
                self.origins.remove(&checkpoint.origin);
                for (seq, to) in std::mem::take(&mut self.origins).into_values() {
                    self.fault(Some(seq), What::Reference { to });
                }
            }
            Err(error) => self.fault(None, What::Checkpoint { reason: error.to_string() }),
        }
        for seq in std::mem::take(&mut self.tally.due) {
            if self.open.contains_key(&seq) {
                self.fault(Some(seq), What::NoEnd);
            }
        }
        self.report(&key.name)
    }

    fn report(self, origin: &str) -> Report {
        let mut first = self.tally.first;
        first.sort_by_key(|fault| fault.seq.map_or(u64::MAX, |seq| seq.0));
        Report {
            ok: self.tally.faults == 0,
            origin: origin.to_owned(),
            records: self.edge.size(),
            root: self.edge.root(),
            runs: self.runs.len() as u64,
            calls: self.tally.calls,
            unknown: self.tally.unknown,
            open: self.open.len() as u64,
            refused: self.tally.refused,
            payloads: self.tally.payloads,
            faults: self.tally.faults,
            first,
        }
    }

    fn follow_run(&mut self, seq: Seq, hash: Hash, leaf: &Leaf) {
        let Some(link) = leaf.link else { return };
        let run = link.run;
        let (expected, previous, closed) = match self.runs.get(&run) {
            Some(state) => (state.next, Some(state.last), state.closed),
            None => (0, None, false),
        };
        if closed {
            self.fault(Some(seq), What::AfterEnd { run });
        } else if link.number != expected {
            self.fault(Some(seq), What::RunNumber { run, expected, found: link.number });
        } else if link.previous != previous {
            self.fault(Some(seq), What::RunLink { run });
        }
        let found = link.number.saturating_add(1);
        if leaf.kind == Kind::SessionClose
            && let Some(Fact::Int(counted)) = leaf.facts.get("count")
            && u64::try_from(*counted) != Ok(found)
        {
            self.fault(Some(seq), What::RunCount { run, counted: *counted, found });
        }
        let closed = closed || leaf.kind == Kind::SessionClose;
        self.runs.insert(run, RunState { next: found, last: hash, closed });
    }

    fn follow_call(&mut self, seq: Seq, hash: Hash, leaf: &Leaf) {
        if let Some(reference) = &leaf.reference
            && !self.origins.contains_key(&reference.origin)
        {
            self.origins.insert(reference.origin.clone(), (seq, reference.seq));
        }
        match leaf.kind {
            Kind::Start => {
                self.counters = Counters::default();
                self.tally.due.extend(self.open.keys().copied());
            }
            Kind::Intent => {
                self.counters.intents += 1;
                self.tally.calls += u64::from(leaf.round.unwrap_or(0) == 0);
                self.open.insert(seq, OpenCall { hash, call: leaf.call, round: leaf.round });
            }
            Kind::Outcome | Kind::OutcomeUnknown => {
                self.counters.outcomes += 1;
                self.tally.unknown += u64::from(leaf.kind == Kind::OutcomeUnknown);
                self.end_call(seq, leaf);
            }
            Kind::Refused => {
                self.counters.refused += 1;
                self.tally.refused += 1;
                if leaf.reference.is_some() {
                    self.end_call(seq, leaf);
                }
            }
            Kind::Note => {
                self.counters.notes += 1;
                self.check_note(seq, leaf);
            }
            Kind::Heartbeat => self.check_counters(seq, leaf),
            _ => {}
        }
    }

    fn end_call(&mut self, seq: Seq, leaf: &Leaf) {
        let Some(reference) = &leaf.reference else { return self.fault(Some(seq), What::NotOpen) };
        match self.open.remove(&reference.seq) {
            None => self.fault(Some(seq), What::NotOpen),
            Some(open) if open.is_meant(reference.hash, leaf) => {}
            Some(_) => self.fault(Some(seq), What::Reference { to: reference.seq }),
        }
    }

    /// A note of a call refers to the call's intent, which must be open.
    fn check_note(&mut self, seq: Seq, leaf: &Leaf) {
        let Some(reference) = &leaf.reference else { return };
        let to = reference.seq;
        if self.open.get(&to).is_none_or(|open| !open.is_meant(reference.hash, leaf)) {
            self.fault(Some(seq), What::Reference { to });
        }
    }

    fn check_counters(&mut self, seq: Seq, leaf: &Leaf) {
        let found = [
            ("intents", self.counters.intents),
            ("outcomes", self.counters.outcomes),
            ("refused", self.counters.refused),
            ("notes", self.counters.notes),
            ("open", i64::try_from(self.open.len()).unwrap_or(i64::MAX)),
            ("dropped", 0),
        ];
        for (counter, found) in found {
            if let Some(Fact::Int(counted)) = leaf.facts.get(counter)
                && *counted != found
            {
                self.fault(
                    Some(seq),
                    What::Counter { counter: counter.to_owned(), counted: *counted, found },
                );
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seq {
            Some(seq) => write!(formatter, "record {seq}: {}", self.what),
            None => write!(formatter, "log: {}", self.what),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.ok { "verified" } else { "DOES NOT VERIFY" };
        writeln!(formatter, "{verdict}: {}", self.origin)?;
        writeln!(
            formatter,
            "{} records, {} runs, {} calls ({} open, {} of unknown outcome), {} refused, {} payloads",
            self.records, self.runs, self.calls, self.open, self.unknown, self.refused, self.payloads
        )?;
        writeln!(formatter, "root {}", self.root.to_hex())?;
        self.first.iter().try_for_each(|fault| writeln!(formatter, "{fault}"))?;
        let unlisted = self.faults.saturating_sub(self.first.len() as u64);
        if unlisted > 0 { writeln!(formatter, "and {unlisted} more") } else { Ok(()) }
    }
}
