//! What is known of a segment's blocks without reading them: the values of each field and the blocks that have each, and
//! the lowest and highest of each number.

use std::collections::HashMap;

use super::bytes::{In, Out};
use crate::query::{Exact, Metric};
use crate::row::CallRow;

/// Fields whose values are listed; the order is the file's.
pub(crate) const LISTED: [Exact; 12] = [
    Exact::Server,
    Exact::Name,
    Exact::Method,
    Exact::Verdict,
    Exact::Status,
    Exact::Principal,
    Exact::Agent,
    Exact::Era,
    Exact::Version,
    Exact::Direction,
    Exact::Kind,
    Exact::Trace,
];

/// Numbers whose range is kept; the order is the file's.
pub(crate) const RANGED: [Metric; 4] = [Metric::Time, Metric::Duration, Metric::Bytes, Metric::Round];

/// The values of one field, each with the blocks that have it.
#[derive(Debug, Default)]
pub(crate) struct Values(pub(crate) Vec<(Option<String>, u64)>);

/// Lowest and highest of a number in a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) low: i64,
    pub(crate) high: i64,
    /// Whether each row has the number.
    pub(crate) whole: bool,
}

#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// As [`RANGED`]; none if no row has the number.
    pub(crate) ranges: [Option<Range>; RANGED.len()],
    /// The lowest and highest call; calls sort by time.
    pub(crate) calls: Option<([u8; 16], [u8; 16])>,
}

#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) blocks: Vec<Block>,
    pub(crate) values: Vec<Values>,
    pub(crate) runs: Vec<([u8; 16], u64)>,
}

impl Summary {
    /// The bits of all blocks.
    pub(crate) fn all(&self) -> u64 {
        u64::MAX.checked_shr(u32::try_from(64 - self.blocks.len().min(64)).unwrap_or(64)).unwrap_or(0)
    }

    pub(crate) fn values(&self, field: Exact) -> Option<&Values> {
        self.values.get(LISTED.iter().position(|listed| *listed == field)?)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Out::default();
        out.number(self.blocks.len() as u64);
        self.blocks.iter().for_each(|block| block.write(&mut out));
        for values in &self.values {
            out.number(values.0.len() as u64);
            for (value, mask) in &values.0 {
                out.number(u64::from(value.is_some()));
                out.text(value.as_deref().unwrap_or_default());
                out.mask(*mask);
            }
        }
        out.number(self.runs.len() as u64);
        for (run, mask) in &self.runs {
            out.array(run);
            out.mask(*mask);
        }
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Summary> {
        let mut input = In(bytes);
        let mut summary = Summary::default();
        for _ in 0..input.count()? {
            summary.blocks.push(Block::read(&mut input)?);
        }
        for _ in LISTED {
            let mut values = Values::default();
            for _ in 0..input.count()? {
                let there = input.number()? == 1;
                let text = input.text()?;
                values.0.push((there.then_some(text), input.mask()?));
            }
            summary.values.push(values);
        }
        for _ in 0..input.count()? {
            summary.runs.push((input.array()?, input.mask()?));
        }
        Some(summary)
    }
}

impl Block {
    pub(crate) fn new(first: i64) -> Block {
        Block { first, last: first, ranges: [None; RANGED.len()], calls: None }
    }

    fn add(&mut self, row: &CallRow) {
        let alone = self.first == row.id.0;
        self.last = row.id.0;
        for (metric, range) in RANGED.iter().zip(&mut self.ranges) {
            *range = match (metric.of(row), range.take()) {
                (None, None) => None,
                (None, Some(range)) => Some(Range { whole: false, ..range }),
                (Some(n), None) => Some(Range { low: n, high: n, whole: alone }),
                (Some(n), Some(range)) => {
                    Some(Range { low: range.low.min(n), high: range.high.max(n), whole: range.whole })
                }
            };
        }
        if let Some(call) = row.call.map(|call| call.0) {
            let (low, high) = self.calls.unwrap_or((call, call));
            self.calls = Some((low.min(call), high.max(call)));
        }
    }

    fn write(&self, out: &mut Out) {
        out.signed(self.first);
        out.signed(self.last);
        for range in &self.ranges {
            out.number(range.map_or(0, |range| if range.whole { 2 } else { 1 }));
            if let Some(range) = range {
                out.signed(range.low);
                out.signed(range.high);
            }
        }
        out.number(u64::from(self.calls.is_some()));
        if let Some((low, high)) = &self.calls {
            out.array(low);
            out.array(high);
        }
    }

    fn read(input: &mut In<'_>) -> Option<Block> {
        let mut block = Block::new(input.signed()?);
        block.last = input.signed()?;
        for range in &mut block.ranges {
            let sort = input.number()?;
            if sort > 0 {
                *range = Some(Range { low: input.signed()?, high: input.signed()?, whole: sort == 2 });
            }
        }
        if input.number()? == 1 {
            block.calls = Some((input.array()?, input.array()?));
        }
        Some(block)
    }
}

/// A summary while its segment is made.
#[derive(Debug, Default)]
pub(crate) struct SummaryBuilder {
    blocks: Vec<Block>,
    /// For each field its values, and the blocks with a row that has none.
    values: [(HashMap<String, u64>, u64); LISTED.len()],
    runs: HashMap<[u8; 16], u64>,
}

impl SummaryBuilder {
    /// Adds a row to the block that `mask` has the bit of; a new block if `mask` is of the next.
    pub(crate) fn add(&mut self, row: &CallRow, mask: u64) {
        if self.blocks.len() <= usize::try_from(mask.trailing_zeros()).unwrap_or(usize::MAX) {
            self.blocks.push(Block::new(row.id.0));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.add(row);
        }
        for (field, values) in LISTED.iter().zip(&mut self.values) {
            let (some, none) = values;
            match field.of(row) {
                None => *none |= mask,
                Some(value) => match some.get_mut(value) {
                    Some(known) => *known |= mask,
                    None => {
                        some.insert(value.to_owned(), mask);
                    }
                },
            }
        }
        if let Some(run) = row.run {
            *self.runs.entry(run.0).or_default() |= mask;
        }
    }

    pub(crate) fn finish(self) -> Summary {
        let values = self.values.map(|(some, none)| {
            let some = some.into_iter().map(|(value, mask)| (Some(value), mask));
            let mut values: Vec<_> = some.chain((none != 0).then_some((None, none))).collect();
            values.sort_unstable();
            Values(values)
        });
        let mut runs: Vec<_> = self.runs.into_iter().collect();
        runs.sort_unstable();
        Summary { blocks: self.blocks, values: values.into(), runs }
    }
}
