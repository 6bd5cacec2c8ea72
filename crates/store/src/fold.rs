//! Records to rows: what a batch of entries says about calls and runs, before any of it touches a file.
//!
//! A call that begins and ends within one batch becomes one finished row, written once. What ends a call of an
//! earlier batch is kept apart as an [`End`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ledger::{Kind, Leaf, RunId, Seq};

use crate::error::IndexError;
use crate::facts::{Answer, Asked, Facts, Kept, ending};
use crate::index::{Record, day_of};
use crate::query::judge::FAILED;
use crate::register::Mark;
use crate::row::{CallRow, RowId, RowKind};

/// What a batch of entries changes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    no: u32,
    counted: u64,
    pub(crate) size: u64,
    pub(crate) rows: Vec<CallRow>,
    place: HashMap<RowId, usize>,
    pub(crate) ends: Vec<End>,
    pub(crate) notes: Vec<(Seq, RowId)>,
    pub(crate) runs: BTreeMap<RunId, RunChange>,
}

/// The end of a call whose row was written before.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) seq: Seq,
    pub(crate) id: RowId,
    pub(crate) t: i64,
    pub(crate) status: String,
    pub(crate) verdict: Option<String>,
    pub(crate) answer_bytes: Option<u64>,
    pub(crate) http_status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) reason: Option<String>,
}

/// What a batch adds to a run's row.
#[derive(Debug, Default)]
pub(crate) struct RunChange {
    pub(crate) t_first: i64,
    pub(crate) t_last: i64,
    pub(crate) first: RowId,
    pub(crate) last: RowId,
    pub(crate) opened: Option<i64>,
    pub(crate) closed: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) principal: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) agent_version: Option<String>,
    pub(crate) era: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) servers: BTreeSet<String>,
    pub(crate) records: u32,
    pub(crate) calls: u32,
    pub(crate) ended: u32,
    pub(crate) denied: u32,
    pub(crate) held: u32,
    pub(crate) failed: u32,
    pub(crate) notes: u32,
}

impl Batch {
    /// Folds the entries from `mark` on; those before it were applied already.
    pub(crate) fn fold(mark: Mark, records: Vec<Record<'_>>) -> Result<Batch, IndexError> {
        let mut batch = Batch { no: mark.no, counted: mark.counted, size: mark.size, ..Batch::default() };
        let mut last = None;
        for entry in records {
            let seq = entry.seq.0;
            if last.is_some_and(|last| last >= seq) {
                return Err(IndexError::Order { last: last.unwrap_or(0), found: seq });
            }
            last = Some(seq);
            if seq >= mark.size {
                batch.add(entry);
                batch.size = seq + 1;
            }
        }
        Ok(batch)
    }

    fn add(&mut self, entry: Record<'_>) {
        let leaf = entry.leaf;
        self.count_run(&entry);
        match leaf.kind {
            Kind::Intent => self.begin(entry, RowKind::Call),
            Kind::Refused if leaf.reference.is_none() => self.begin(entry, RowKind::Refused),
            Kind::Outcome | Kind::OutcomeUnknown | Kind::Refused => self.end(entry),
            Kind::Note => {
                self.note(&entry);
                self.begin(entry, RowKind::Note);
            }
            Kind::ApprovalReq | Kind::ApprovalGrant | Kind::ApprovalDeny => self.begin(entry, RowKind::Note),
            _ => {}
        }
    }

    fn begin(&mut self, entry: Record<'_>, kind: RowKind) {
        let leaf = entry.leaf;
        let id = RowId::new(self.no, entry.seq);
        let asked = match entry.facts {
            Some(Facts(Kept::Asked(asked))) => *asked,
            _ => Asked::default(),
        };
        let kind = if asked.is_stray(leaf) { RowKind::Note } else { kind };
        let status = match kind {
            RowKind::Call => Some("open"),
            RowKind::Refused => Some("refused"),
            RowKind::Note => None,
        };
        let verdict = match kind {
            RowKind::Refused => verdict(leaf).or_else(|| Some("deny".to_owned())),
            RowKind::Note if leaf.kind == Kind::Refused => None,
            RowKind::Call | RowKind::Note => verdict(leaf),
        };
        let step = matches!(leaf.kind, Kind::ApprovalReq | Kind::ApprovalGrant | Kind::ApprovalDeny);
        let t = time(leaf);
        self.place.insert(id, self.rows.len());
        self.rows.push(CallRow {
            seq: entry.seq,
            seq_end: None,
            kind,
            call: leaf.call,
            round: leaf.round.unwrap_or(0),
            parent: leaf.parent,
            of: if kind == RowKind::Note { leaf.reference.as_ref().map(|r| r.seq) } else { None },
            run: leaf.link.map(|link| link.run),
            sn: leaf.link.map(|link| link.number),
            t_start: t,
            t_end: (kind == RowKind::Refused).then_some(t),
            verdict,
            status: status.map(str::to_owned),
            principal: asked.principal,
            agent: asked.agent,
            agent_version: asked.agent_version,
            server: asked.server,
            transport: asked.transport,
            era: asked.era,
            version: asked.version,
            direction: asked.direction,
            method: if step { Some(leaf.kind.as_str().to_owned()) } else { asked.method },
            name: asked.name,
            request_bytes: asked.bytes,
            answer_bytes: None,
            http_status: asked.http_status,
            notes: 0,
            reason: asked.reason.or_else(|| fact(leaf, "reason")),
            trace: asked.trace,
            args_whole: asked.args_whole,
            args: asked.args,
            error: None,
            result: None,
            id,
            day: day_of(t),
        });
    }

    fn end(&mut self, entry: Record<'_>) {
        let leaf = entry.leaf;
        let Some(reference) = &leaf.reference else { return };
        let refused = leaf.kind == Kind::Refused;
        let answer = match entry.facts {
            Some(Facts(Kept::Answer(answer))) => *answer,
            _ => Answer::default(),
        };
        let end = End {
            seq: entry.seq,
            id: RowId::new(self.no, reference.seq),
            t: time(leaf),
            status: ending(leaf).to_owned(),
            verdict: if refused { verdict(leaf).or(Some("deny".to_owned())) } else { None },
            answer_bytes: answer.bytes,
            http_status: answer.http_status,
            error: answer.error,
            result: answer.result,
            reason: answer.reason.or_else(|| fact(leaf, "reason")),
        };
        match self.place.get(&end.id).and_then(|i| self.rows.get_mut(*i)) {
            Some(row) => end.apply(row),
            None => self.ends.push(end),
        }
    }

    fn note(&mut self, entry: &Record<'_>) {
        let Some(reference) = &entry.leaf.reference else { return };
        let id = RowId::new(self.no, reference.seq);
        match self.place.get(&id).and_then(|i| self.rows.get_mut(*i)) {
            Some(row) => row.notes += 1,
            None => self.notes.push((entry.seq, id)),
        }
    }

    fn count_run(&mut self, entry: &Record<'_>) {
        let leaf = entry.leaf;
        let Some(run) = leaf.link.map(|link| link.run) else { return };
        if entry.seq.0 < self.counted {
            return;
        }
        let (id, t) = (RowId::new(self.no, entry.seq), time(leaf));
        let change = self.runs.entry(run).or_insert_with(|| RunChange {
            t_first: t,
            first: id,
            ..RunChange::default()
        });
        change.t_last = t.max(change.t_last);
        change.last = id;
        change.records += 1;
        match &entry.facts {
            Some(Facts(Kept::Asked(asked))) if asked.is_stray(leaf) => change.notes += 1,
            _ => change.count(leaf),
        }
        let names_run = matches!(leaf.kind, Kind::SessionOpen | Kind::Intent | Kind::Refused);
        if let Some(Facts(Kept::Asked(asked))) = entry.facts.as_ref().filter(|_| names_run) {
            change.learn(asked);
        }
    }
}

impl RunChange {
    fn count(&mut self, leaf: &Leaf) {
        let verdict = verdict(leaf);
        match leaf.kind {
            Kind::SessionOpen => self.opened = Some(time(leaf)),
            Kind::SessionClose => {
                self.closed = Some(time(leaf));
                self.reason = fact(leaf, "reason");
            }
            Kind::Intent => {
                self.calls += 1;
                self.held += u32::from(verdict.as_deref() == Some("hold"));
            }
            Kind::Refused => {
                let new = leaf.reference.is_none();
                let is_held = verdict.as_deref() == Some("hold");
                self.calls += u32::from(new);
                self.held += u32::from(is_held);
                self.denied += u32::from(!is_held);
                self.ended += 1;
            }
            Kind::Outcome | Kind::OutcomeUnknown => {
                self.ended += 1;
                let status = leaf.status.map_or("unknown", |s| s.as_str());
                self.failed += u32::from(FAILED.contains(&status));
            }
            Kind::Note => self.notes += 1,
            _ => {}
        }
    }

    /// The first record that tells something decides; later ones only add servers.
    fn learn(&mut self, asked: &Asked) {
        let first = |known: &mut Option<String>, told: &Option<String>| {
            if known.is_none() {
                known.clone_from(told);
            }
        };
        first(&mut self.principal, &asked.principal);
        first(&mut self.agent, &asked.agent);
        first(&mut self.agent_version, &asked.agent_version);
        first(&mut self.era, &asked.era);
        first(&mut self.version, &asked.version);
        first(&mut self.rule, &asked.rule);
        if let Some(server) = asked.server.as_ref().filter(|server| !self.servers.contains(*server)) {
            self.servers.insert(server.clone());
        }
    }
}

impl End {
    /// Finishes the row.
    pub(crate) fn apply(self, row: &mut CallRow) {
        row.seq_end = Some(self.seq);
        row.t_end = Some(self.t);
        row.status = Some(self.status);
        row.verdict = self.verdict.or(row.verdict.take());
        row.answer_bytes = self.answer_bytes;
        row.http_status = self.http_status;
        row.error = self.error;
        row.result = self.result;
        row.reason = self.reason.or(row.reason.take());
    }
}

fn verdict(leaf: &Leaf) -> Option<String> {
    leaf.verdict.map(|d| d.as_str().to_owned())
}

fn time(leaf: &Leaf) -> i64 {
    i64::try_from(leaf.time_us).unwrap_or(i64::MAX)
}

fn fact(leaf: &Leaf, name: &str) -> Option<String> {
    match leaf.facts.get(name) {
        Some(ledger::Fact::Text(text)) => Some(text.clone()),
        _ => None,
    }
}
