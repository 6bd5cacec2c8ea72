//! A made-up log whose records are as a gateway would write them; `examples/write_log.rs` shares it.
//!
//! [`Scribe::edit`] changes one record before it is written, so that everything after it refers to the changed one: a
//! log with exactly one thing wrong.

use std::collections::BTreeMap;

use ledger::record::{BlobRef, Reference, RunLink};
use ledger::{CallId, Fact, Hash, KekId, Kind, Leaf, Payload, RunId, Seq, Status, Verdict, leaf_hash};

/// The body of every intent.
pub const REQUEST: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#;

/// A request that was let through and has no end yet.
#[derive(Debug, Clone)]
pub struct Open {
    pub run: RunId,
    pub call: CallId,
    pub round: u32,
    pub reference: Reference,
}

/// A change to the record at a place.
type Edit = (u64, fn(&mut Leaf));

/// Writes records as bytes, in order.
#[derive(Debug, Default)]
pub struct Scribe {
    pub origin: String,
    pub leaves: Vec<Vec<u8>>,
    edit: Option<Edit>,
    runs: BTreeMap<RunId, (u64, Hash)>,
    /// Intents, outcomes, refused, notes since the last start; open calls.
    counters: [i64; 5],
}

impl Scribe {
    pub fn new(origin: &str) -> Scribe {
        Scribe { origin: origin.to_owned(), ..Scribe::default() }
    }

    /// Changes the record at `seq` just before it is written.
    pub fn edit(mut self, seq: u64, change: fn(&mut Leaf)) -> Scribe {
        self.edit = Some((seq, change));
        self
    }

    pub fn start(&mut self) -> Seq {
        let [.., open] = self.counters;
        self.counters = [0, 0, 0, 0, open];
        let mut leaf = self.leaf(Kind::Start);
        leaf.facts.insert("boot".to_owned(), Fact::Text("b5".to_owned()));
        self.write(None, leaf).seq
    }

    pub fn open_run(&mut self, run: RunId) -> Seq {
        let leaf = self.with_payload(self.leaf(Kind::SessionOpen), "{}");
        self.write(Some(run), leaf).seq
    }

    pub fn close_run(&mut self, run: RunId) -> Seq {
        let mut leaf = self.leaf(Kind::SessionClose);
        let next = self.runs.get(&run).map_or(0, |(next, _)| *next);
        leaf.facts.insert("count".to_owned(), int(next.saturating_add(1)));
        leaf.facts.insert("reason".to_owned(), Fact::Text("client-closed".to_owned()));
        self.write(Some(run), leaf).seq
    }

    pub fn intent(&mut self, run: RunId, call: CallId, round: u32) -> Open {
        self.count(0, 1);
        self.count(4, 1);
        let body =
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#;
        let mut leaf = self.with_payload(self.leaf(Kind::Intent), body);
        (leaf.call, leaf.round) = (Some(call), Some(round));
        (leaf.verdict, leaf.policy) = (Some(Verdict::Allow), Some(Hash::of(b"policy")));
        Open { run, call, round, reference: self.write(Some(run), leaf) }
    }

    pub fn note(&mut self, open: &Open) -> Seq {
        self.count(3, 1);
        let leaf = self.with_payload(self.leaf(Kind::Note), r#"{"method":"notifications/progress"}"#);
        self.write_of(open, leaf)
    }

    pub fn outcome(&mut self, open: &Open, status: Status) -> Seq {
        self.count(1, 1);
        self.count(4, -1);
        let mut leaf = self.with_payload(self.leaf(Kind::Outcome), r#"{"result":{"content":[]}}"#);
        leaf.status = Some(status);
        self.write_of(open, leaf)
    }

    pub fn unknown(&mut self, open: &Open) -> Seq {
        self.count(1, 1);
        self.count(4, -1);
        let mut leaf = self.leaf(Kind::OutcomeUnknown);
        leaf.status = Some(Status::Unknown);
        self.write_of(open, leaf)
    }

    pub fn refuse(&mut self, run: RunId, call: CallId) -> Seq {
        self.count(2, 1);
        let mut leaf = self.with_payload(self.leaf(Kind::Refused), r#"{"method":"tools/call"}"#);
        (leaf.call, leaf.round, leaf.verdict) = (Some(call), Some(0), Some(Verdict::Deny));
        self.write(Some(run), leaf).seq
    }

    pub fn heartbeat(&mut self) -> Seq {
        let mut leaf = self.leaf(Kind::Heartbeat);
        let names = ["intents", "outcomes", "refused", "notes", "open"];
        let counters = names.into_iter().zip(self.counters);
        leaf.facts = counters.map(|(name, count)| (name.to_owned(), Fact::Int(count))).collect();
        leaf.facts.insert("dropped".to_owned(), Fact::Int(0));
        self.write(None, leaf).seq
    }

    fn count(&mut self, counter: usize, by: i64) {
        if let Some(counter) = self.counters.get_mut(counter) {
            *counter += by;
        }
    }

    fn leaf(&self, kind: Kind) -> Leaf {
        Leaf::new(kind, 1_795_235_437_000_000 + self.leaves.len() as u64 * 1_117)
    }

    fn with_payload(&self, mut leaf: Leaf, body: &'static str) -> Leaf {
        let payload = self.payload(self.leaves.len() as u64, body);
        leaf.commitments = payload.commitments();
        let sealed = payload.encode();
        let kek = KekId([7; 16]);
        leaf.blobs = vec![BlobRef { digest: Hash::of(&sealed), kek, size: sealed.len() as u64 }];
        leaf
    }

    /// The payload of the record at a place, if it has one of that body.
    pub fn payload(&self, seq: u64, body: &'static str) -> Payload {
        let fields = [
            ("direction", r#""client""#),
            ("method", r#""tools/call""#),
            ("principal", r#""mira@example.org""#),
            ("server", r#""files""#),
        ];
        Payload {
            secret: Hash::of(&seq.to_be_bytes()).0,
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            spans: BTreeMap::new(),
            body: body.into(),
        }
    }

    fn write_of(&mut self, open: &Open, mut leaf: Leaf) -> Seq {
        (leaf.call, leaf.round) = (Some(open.call), Some(open.round));
        leaf.reference = Some(open.reference.clone());
        self.write(Some(open.run), leaf).seq
    }

    fn write(&mut self, run: Option<RunId>, mut leaf: Leaf) -> Reference {
        let seq = self.leaves.len() as u64;
        leaf.link = run.map(|run| match self.runs.get(&run) {
            Some((number, previous)) => RunLink { run, number: *number, previous: Some(*previous) },
            None => RunLink { run, number: 0, previous: None },
        });
        if let Some((at, change)) = self.edit
            && at == seq
        {
            change(&mut leaf);
        }
        let bytes = leaf.encode();
        let hash = leaf_hash(&bytes);
        self.leaves.push(bytes);
        if let Some(link) = leaf.link {
            self.runs.insert(link.run, (link.number.saturating_add(1), hash));
        }
        Reference { hash, seq: Seq(seq), origin: self.origin.clone() }
    }
}

/// A busy log of some records: runs that overlap, calls of two rounds, refusals, notes, heartbeats.
pub fn busy(origin: &str, records: usize) -> Vec<Vec<u8>> {
    let mut scribe = Scribe::new(origin);
    scribe.start();
    let mut number = 0;
    while scribe.leaves.len() < records {
        let [even, odd] = [run(number), run(number + 1)];
        for run in [even, odd] {
            scribe.open_run(run);
        }
        for call in 0..8 {
            let of = if call % 2 == 0 { even } else { odd };
            let call = self::call(number * 8 + call);
            let first = scribe.intent(of, call, 0);
            scribe.note(&first);
            scribe.outcome(&first, Status::InputRequired);
            let second = scribe.intent(of, call, 1);
            scribe.heartbeat();
            scribe.outcome(&second, Status::Ok);
            scribe.refuse(of, call);
        }
        for run in [even, odd] {
            scribe.close_run(run);
        }
        number += 2;
    }
    scribe.leaves.truncate(records);
    scribe.leaves
}

/// The run of a number.
pub fn run(number: u64) -> RunId {
    RunId((0x5eed_u128 << 64 | u128::from(number)).to_be_bytes())
}

/// The call of a number.
pub fn call(number: u64) -> CallId {
    CallId::new(1_795_235_437_000 + number, [3; 10])
}

fn int(count: u64) -> Fact {
    Fact::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
