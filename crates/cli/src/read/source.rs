//! Records of the ledger with what the index keeps of them, batch by batch.
//!
//! Opening payloads is most of the work of making an index. Who has the machine to itself does it on all processors.

use anyhow::Context as _;
use ledger::{Kind, Leaf, Seq};
use recorder::Reader;
use store::{Facts, Record};

/// Of a larger payload the index has what the leaf and the fields say, and nothing of the body.
const PAYLOAD_BYTES: usize = 4 << 20;

/// How much is done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Beside a gateway: one thread, little memory.
    Beside,
    /// By a command: all processors.
    Alone,
}

impl Pace {
    /// Records applied in one transaction. An even number of segments' rows for a command.
    fn records(self) -> usize {
        match self {
            Pace::Beside => 500,
            Pace::Alone => 16_384,
        }
    }

    fn threads(self) -> usize {
        match self {
            Pace::Beside => 1,
            Pace::Alone => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

/// Where batches come from.
pub(crate) struct Source<'a> {
    reader: &'a Reader,
    pace: Pace,
    /// One for each thread more.
    others: Vec<Reader>,
}

/// A number of records, in order.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) leaves: Vec<(Seq, Leaf)>,
    /// As many as leaves.
    facts: Vec<Option<Facts>>,
    /// Payloads that should be there and could not be opened.
    pub(crate) unopened: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn of(reader: &'a Reader, pace: Pace) -> Source<'a> {
        Source { reader, pace, others: (1..pace.threads()).map(|_| reader.beside()).collect() }
    }

    /// The records from `from` on, at least one and none from `size` on.
    pub(crate) fn batch(&self, from: Seq, size: Seq) -> anyhow::Result<Batch> {
        let last = size.0.min(from.0.saturating_add(self.pace.records() as u64));
        let threads = self.others.len() as u64 + 1;
        let each = (last - from.0).div_ceil(threads).max(1);
        let parts = (0..threads).map(|part| from.0 + part * each);
        let part = |reader: &Reader, first: u64| Batch::read(reader, Seq(first), Seq(last.min(first + each)));
        let done: Vec<anyhow::Result<Batch>> = std::thread::scope(|scope| {
            let mut parts = parts;
            let first = parts.next().unwrap_or(from.0);
            let others: Vec<_> = (self.others.iter().zip(parts))
                .filter(|(_, first)| *first < last)
                .map(|(reader, first)| scope.spawn(move || part(reader, first)))
                .collect();
            let mine = part(self.reader, first);
            let joined = others
                .into_iter()
                .map(|other| other.join().unwrap_or_else(|_| anyhow::bail!("a thread that reads failed")));
            std::iter::once(mine).chain(joined).collect()
        });
        let mut batch = Batch::default();
        for part in done {
            let part = part?;
            batch.leaves.extend(part.leaves);
            batch.facts.extend(part.facts);
            batch.unopened += part.unopened;
        }
        anyhow::ensure!(
            !batch.leaves.is_empty(),
            "the ledger says it has {size} records, but {from} cannot be found"
        );
        Ok(batch)
    }
}

impl Batch {
    fn read(reader: &Reader, from: Seq, to: Seq) -> anyhow::Result<Batch> {
        let mut batch = Batch::default();
        for record in reader.leaves(from) {
            let (seq, leaf) = record
                .with_context(|| format!("cannot read the record after {from}, see `tollbook verify`"))?;
            if seq >= to {
                break;
            }
            let leaf = Leaf::decode(&leaf)
                .with_context(|| format!("record {seq} is no record, see `tollbook verify`"))?;
            let payload = if Facts::are_in(&leaf) {
                reader.payload_within(seq, &leaf, PAYLOAD_BYTES)
            } else {
                Ok(None)
            };
            let payload = payload.unwrap_or_else(|_| {
                batch.unopened += 1;
                None
            });
            batch.facts.push(payload.and_then(|payload| Facts::of(&leaf, &payload)));
            batch.leaves.push((seq, leaf));
        }
        Ok(batch)
    }

    /// Intents and refusals.
    pub(crate) fn calls(&self) -> u64 {
        let calls = self.leaves.iter().filter(|(_, leaf)| matches!(leaf.kind, Kind::Intent | Kind::Refused));
        calls.count() as u64
    }

    /// For the index.
    pub(crate) fn records(&mut self) -> Vec<Record<'_>> {
        let facts = std::mem::take(&mut self.facts);
        let mut records = Vec::with_capacity(facts.len());
        for ((seq, leaf), facts) in self.leaves.iter().zip(facts) {
            records.push(Record { seq: *seq, leaf, facts });
        }
        records
    }
}
