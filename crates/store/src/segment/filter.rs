//! A query against a summary: the blocks that may hold a match.

use super::summary::{RANGED, Summary};
use super::words::{Edges, Words};
use crate::query::{ArgumentTest, Comparison, Exact, Expr, HexPrefix, Metric, Pattern, Piece, Step, Term};

/// What is said of each block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Those in which some row may match.
    pub(crate) some: u64,
    /// Those in which every row does.
    pub(crate) every: u64,
}

/// A segment as queries see it.
pub(crate) struct Filter<'a> {
    pub(crate) summary: &'a Summary,
    /// Absent if the query needs none.
    pub(crate) words: Option<Words<'a>>,
}

/// Whether the words are needed to narrow the query down.
pub(crate) fn needs_words(expr: &Expr) -> bool {
    match expr {
        Expr::And(parts) | Expr::Or(parts) => parts.iter().any(needs_words),
        Expr::Not(_) => false,
        Expr::Term(term) => matches!(term, Term::Text(_) | Term::Contained(..) | Term::Argument(..)),
    }
}

impl Filter<'_> {
    pub(crate) fn blocks(&self, expr: &Expr) -> Blocks {
        let all = self.summary.all();
        match expr {
            Expr::And(parts) => {
                parts.iter().map(|part| self.blocks(part)).fold(Blocks { some: all, every: all }, |a, b| {
                    Blocks { some: a.some & b.some, every: a.every & b.every }
                })
            }
            Expr::Or(parts) => {
                parts.iter().map(|part| self.blocks(part)).fold(Blocks { some: 0, every: 0 }, |a, b| Blocks {
                    some: a.some | b.some,
                    every: a.every | b.every,
                })
            }
            Expr::Not(part) => {
                let part = self.blocks(part);
                Blocks { some: all & !part.every, every: all & !part.some }
            }
            Expr::Term(term) => {
                let Blocks { some, every } = self.term(term);
                Blocks { some: some & all, every: every & all }
            }
        }
    }

    fn term(&self, term: &Term) -> Blocks {
        match term {
            Term::Text(pattern) | Term::Contained(_, pattern) => self.text(pattern),
            Term::Exact(Exact::Tool, pattern) => {
                let named = self.exact(Exact::Name, pattern);
                let called = self.exact(Exact::Method, &Pattern::of("tools/call"));
                Blocks { some: named.some & called.some, every: named.every & called.every }
            }
            Term::Exact(field, pattern) => self.exact(*field, pattern),
            Term::Run(prefix) => self.run(prefix),
            Term::Call(prefix) => self.call(prefix),
            Term::Number(metric, comparison, n) => self.number(*metric, *comparison, *n),
            Term::Day(day) => {
                let bounds = crate::query::day_bounds(*day);
                let from = self.number(Metric::Time, Comparison::AtLeast, *bounds.start());
                let to = self.number(Metric::Time, Comparison::AtMost, *bounds.end());
                Blocks { some: from.some & to.some, every: from.every & to.every }
            }
            Term::Argument(path, test) => self.argument(path, test),
        }
    }

    fn exact(&self, field: Exact, pattern: &Pattern) -> Blocks {
        let Some(values) = self.summary.values(field) else { return self.unknown() };
        let (mut some, mut others) = (0, 0);
        for (value, mask) in &values.0 {
            if value.as_ref().is_some_and(|value| pattern.is(value)) {
                some |= mask;
            } else {
                others |= mask;
            }
        }
        Blocks { some, every: !others }
    }

    fn run(&self, prefix: &HexPrefix) -> Blocks {
        let (low, high) = prefix.range();
        let found = self.summary.runs.iter().filter(|(run, _)| (low..=high).contains(run));
        Blocks { some: found.fold(0, |blocks, (_, mask)| blocks | mask), every: 0 }
    }

    fn call(&self, prefix: &HexPrefix) -> Blocks {
        let (low, high) = prefix.range();
        let may = |calls: Option<([u8; 16], [u8; 16])>| calls.is_some_and(|(a, b)| a <= high && b >= low);
        Blocks { some: bits(self.summary.blocks.iter().map(|block| may(block.calls))), every: 0 }
    }

    fn number(&self, metric: Metric, comparison: Comparison, n: i64) -> Blocks {
        let place = RANGED.iter().position(|ranged| *ranged == metric).unwrap_or(0);
        let ranges = || self.summary.blocks.iter().map(|block| block.ranges.get(place).copied().flatten());
        let some = bits(ranges().map(|range| {
            range.is_some_and(|range| match comparison {
                Comparison::Equal => (range.low..=range.high).contains(&n),
                Comparison::Less | Comparison::AtMost => comparison.holds(&range.low, &n),
                Comparison::More | Comparison::AtLeast => comparison.holds(&range.high, &n),
            })
        }));
        let every = bits(ranges().map(|range| {
            range.is_some_and(|range| {
                range.whole && comparison.holds(&range.low, &n) && comparison.holds(&range.high, &n)
            })
        }));
        Blocks { some, every }
    }

    fn text(&self, pattern: &Pattern) -> Blocks {
        let Some(words) = &self.words else { return self.unknown() };
        let literals = pattern.pieces().iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text),
            Piece::Any => None,
        });
        let some = literals.fold(u64::MAX, |blocks, text| blocks & words.blocks(text, Edges::Whole));
        Blocks { some, every: 0 }
    }

    fn argument(&self, path: &[Step], test: &ArgumentTest) -> Blocks {
        let Some(words) = &self.words else { return self.unknown() };
        let keys = path.iter().filter_map(|step| match step {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        });
        let value = match test {
            ArgumentTest::Is(pattern) => pattern.pieces(),
            ArgumentTest::Compares(..) => &[],
        };
        let literals = value.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text),
            Piece::Any => None,
        });
        let some =
            keys.chain(literals).fold(u64::MAX, |blocks, text| blocks & words.blocks(text, Edges::Parts));
        Blocks { some, every: 0 }
    }

    fn unknown(&self) -> Blocks {
        Blocks { some: self.summary.all(), every: 0 }
    }
}

fn bits(blocks: impl Iterator<Item = bool>) -> u64 {
    blocks.enumerate().fold(0, |bits, (at, there)| bits | (u64::from(there) << at))
}
