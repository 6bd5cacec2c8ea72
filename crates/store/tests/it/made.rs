//! Records made up for the tests: a log one line a record, with times given.

use std::collections::BTreeMap;

use ledger::record::{Reference, RunLink};
use ledger::{CallId, Fact, Hash, Kind, Leaf, Payload, RunId, Seq, Status, Verdict};
use store::Entry;

pub const ORIGIN: &str = "test/0a1b2c3d";

/// 2026-11-20T00:00:00Z in microseconds.
pub const DAY: u64 = 1_795_132_800_000_000;
pub const SECOND: u64 = 1_000_000;

#[derive(Default)]
pub struct Log {
    pub records: Vec<(Leaf, Option<Payload>)>,
    pub t: u64,
    numbers: BTreeMap<[u8; 16], u64>,
}

pub fn run(n: u8) -> RunId {
    RunId([n; 16])
}

pub fn call(n: u64) -> CallId {
    let mut id = [0x01; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    CallId(id)
}

/// What a call asks; the rest has defaults.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub run: u8,
    pub call: u64,
    pub server: &'a str,
    pub tool: &'a str,
    pub args: &'a str,
    pub verdict: Verdict,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Ask {
            run: 1,
            call: 1,
            server: "files",
            tool: "read_file",
            args: r#"{"path":"a.txt"}"#,
            verdict: Verdict::Allow,
        }
    }
}

impl Log {
    pub fn at(t: u64) -> Log {
        Log { t, ..Log::default() }
    }

    pub fn push(&mut self, mut leaf: Leaf, payload: Option<Payload>) -> Seq {
        let seq = Seq(self.records.len() as u64);
        if let Some(link) = &mut leaf.link {
            let sn = self.numbers.entry(link.run.0).or_default();
            link.number = *sn;
            *sn += 1;
        }
        leaf.time_us = self.t;
        self.records.push((leaf, payload));
        self.t += 1_000;
        seq
    }

    pub fn open_run(&mut self, n: u8) -> Seq {
        let fields = [("principal", r#""dev@example""#), ("server", r#""files""#), ("rule", r#""session""#)];
        self.push(leaf(Kind::SessionOpen, run(n)), Some(payload(&fields, "", &[])))
    }

    pub fn close_run(&mut self, n: u8, reason: &str) -> Seq {
        let facts = BTreeMap::from([("reason".to_owned(), Fact::Text(reason.to_owned()))]);
        self.push(Leaf { facts, ..leaf(Kind::SessionClose, run(n)) }, None)
    }

    pub fn intent(&mut self, ask: Ask<'_>) -> Seq {
        let leaf = Leaf { verdict: Some(ask.verdict), ..asking(Kind::Intent, ask) };
        self.push(leaf, Some(asked(ask)))
    }

    pub fn refused(&mut self, ask: Ask<'_>, reason: &str) -> Seq {
        let mut payload = asked(ask);
        insert(&mut payload, "reason", &format!("{reason:?}"));
        self.push(Leaf { verdict: Some(Verdict::Deny), ..asking(Kind::Refused, ask) }, Some(payload))
    }

    pub fn outcome(&mut self, intent: Seq, status: Status, body: &str) -> Seq {
        let span = if body.contains(r#""code""#) { "error" } else { "result" };
        let payload = payload(&[("http_status", "200")], body, &[(span, body)]);
        let leaf = Leaf { status: Some(status), ..self.ending(Kind::Outcome, intent) };
        self.push(leaf, Some(payload))
    }

    pub fn unknown(&mut self, intent: Seq) -> Seq {
        let leaf = self.ending(Kind::OutcomeUnknown, intent);
        self.push(leaf, None)
    }

    pub fn progress(&mut self, intent: Seq) -> Seq {
        let leaf = self.ending(Kind::Note, intent);
        let params = r#"{"progress":1}"#;
        let payload = payload(&[("method", r#""notifications/progress""#)], params, &[("params", params)]);
        self.push(leaf, Some(payload))
    }

    /// A request by the server in the course of a call, answered at once.
    pub fn asked_inside(&mut self, parent: u64, n: u64) -> Seq {
        let params = r#"{"message":"Really?"}"#;
        let fields =
            [("method", r#""elicitation/create""#), ("direction", r#""server""#), ("server", r#""files""#)];
        let leaf =
            Leaf { parent: Some(call(parent)), ..asking(Kind::Intent, Ask { call: n, ..Ask::default() }) };
        let intent = self.push(leaf, Some(payload(&fields, params, &[("params", params)])));
        self.outcome(intent, Status::Ok, r#"{"action":"accept"}"#);
        intent
    }

    pub fn message(&mut self, run_no: u8, method: &str) -> Seq {
        let payload = payload(&[("method", &format!("{method:?}")), ("server", r#""files""#)], "{}", &[]);
        self.push(leaf(Kind::Note, run(run_no)), Some(payload))
    }

    pub fn ended(&mut self, ask: Ask<'_>, status: Status, body: &str) -> Seq {
        let intent = self.intent(ask);
        self.outcome(intent, status, body);
        intent
    }

    pub fn entries(&self) -> Vec<Entry<'_>> {
        let records = self.records.iter().enumerate();
        records
            .map(|(i, (leaf, payload))| Entry { seq: Seq(i as u64), leaf, payload: payload.as_ref() })
            .collect()
    }

    fn ending(&self, kind: Kind, intent: Seq) -> Leaf {
        let (asked, _) = &self.records[usize::try_from(intent.0).unwrap()];
        let reference = Reference { hash: Hash([0; 32]), seq: intent, origin: ORIGIN.to_owned() };
        let run = asked.link.unwrap().run;
        Leaf { call: asked.call, round: asked.round, reference: Some(reference), ..leaf(kind, run) }
    }
}

fn asking(kind: Kind, ask: Ask<'_>) -> Leaf {
    Leaf { call: Some(call(ask.call)), round: Some(0), ..leaf(kind, run(ask.run)) }
}

pub fn asked(ask: Ask<'_>) -> Payload {
    let fields = [
        ("principal", r#""dev@example""#.to_owned()),
        ("agent", r#"{"name":"claude-code","version":"2.1"}"#.to_owned()),
        ("server", format!("{:?}", ask.server)),
        ("transport", r#""http""#.to_owned()),
        ("era", r#""session""#.to_owned()),
        ("version", r#""2025-11-25""#.to_owned()),
        ("direction", r#""client""#.to_owned()),
        ("method", r#""tools/call""#.to_owned()),
        ("name", format!("{:?}", ask.tool)),
        ("trace", r#"{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#.to_owned()),
    ];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    payload(&fields, ask.args, &[("arguments", ask.args)])
}

fn leaf(kind: Kind, run: RunId) -> Leaf {
    Leaf { link: Some(RunLink { run, number: 0, previous: None }), ..Leaf::new(kind, 0) }
}

pub fn payload(fields: &[(&str, &str)], body: &str, spans: &[(&str, &str)]) -> Payload {
    let body = body.as_bytes().to_vec().into();
    let mut payload = Payload { secret: [0; 32], fields: BTreeMap::new(), spans: BTreeMap::new(), body };
    for (name, value) in fields {
        insert(&mut payload, name, value);
    }
    for (name, text) in spans {
        payload.spans.insert((*name).to_owned(), 0..text.len());
    }
    payload
}

fn insert(payload: &mut Payload, name: &str, value: &str) {
    payload.fields.insert(name.to_owned(), value.to_owned());
}
