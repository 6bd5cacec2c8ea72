//! The query language of `tollbook calls` and of the console's feed: text in, [`Query`] out.
//!
//! Pure: the clock is an argument (`since:1h` becomes an absolute time while parsing), and nothing here knows
//! SQLite. What a query means for a row is in `judge`; a query never becomes SQL.
//!
//! Invariant: `Display` writes a query that parses to the same tree. The language is described for its users
//! in `docs/search.md`.

mod amount;
mod field;
pub(crate) mod judge;
mod parse;
mod pattern;
mod show;

use std::ops::RangeInclusive;

pub(crate) use amount::day_bounds;
pub use field::{Contained, Exact, Metric};
pub use parse::QueryError;
pub use pattern::{Pattern, Piece};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::row::{CallRow, RowKind};

/// A parsed search; the default is the empty query, which every call matches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    expr: Option<Expr>,
}

impl Query {
    /// Parses `text`, reading relative times (`since:1h`, `day:today`) against `now`. All times are UTC.
    ///
    /// # Errors
    /// [`QueryError`] names the place, what is wrong there and, where there is one, the likely intention.
    pub fn parse(text: &str, now: Timestamp) -> Result<Query, QueryError> {
        Ok(Query { expr: parse::parse(text, now)? })
    }

    /// The tree, or `None` for the query that every call matches.
    #[must_use]
    pub fn expr(&self) -> Option<&Expr> {
        self.expr.as_ref()
    }

    /// Whether a row is found: it matches, and it is no one-way message or those were asked for.
    pub(crate) fn finds(&self, row: &CallRow) -> bool {
        (row.kind != RowKind::Note || self.names_kind()) && self.expr().is_none_or(|expr| expr.holds(row))
    }

    /// Whether one-way messages were asked for: they are found only by a query that names `kind`.
    #[must_use]
    pub fn names_kind(&self) -> bool {
        self.expr.as_ref().is_some_and(|e| e.any_term(&|t| matches!(t, Term::Exact(Exact::Kind, _))))
    }

    /// The times (microseconds since the Unix epoch) outside of which nothing can match, used to leave out
    /// whole day files. It may be wider than what matches, never narrower.
    #[must_use]
    pub fn time_bounds(&self) -> RangeInclusive<i64> {
        self.expr.as_ref().map_or(i64::MIN..=i64::MAX, Expr::time_bounds)
    }
}

impl From<Expr> for Query {
    fn from(expr: Expr) -> Query {
        Query { expr: Some(expr) }
    }
}

/// A condition on one call. Built by [`Expr::all`] and [`Expr::any`] so that no group has fewer than two
/// members and none directly holds a group of its own sort: one meaning, one tree.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// Every member holds.
    And(Vec<Expr>),
    /// At least one member holds.
    Or(Vec<Expr>),
    /// The member does not hold; what a call has no value for does not hold.
    Not(Box<Expr>),
    /// A single condition.
    Term(Term),
}

impl Expr {
    /// All of `parts`; `None` if there are none.
    #[must_use]
    pub fn all(parts: Vec<Expr>) -> Option<Expr> {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Expr::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() > 1 { Some(Expr::And(flat)) } else { flat.pop() }
    }

    /// Any of `parts`; `None` if there are none.
    #[must_use]
    pub fn any(parts: Vec<Expr>) -> Option<Expr> {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Expr::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        if flat.len() > 1 { Some(Expr::Or(flat)) } else { flat.pop() }
    }

    fn any_term(&self, test: &dyn Fn(&Term) -> bool) -> bool {
        match self {
            Expr::And(parts) | Expr::Or(parts) => parts.iter().any(|p| p.any_term(test)),
            Expr::Not(part) => part.any_term(test),
            Expr::Term(term) => test(term),
        }
    }

    fn time_bounds(&self) -> RangeInclusive<i64> {
        match self {
            Expr::And(parts) => parts
                .iter()
                .map(Expr::time_bounds)
                .fold(i64::MIN..=i64::MAX, |a, b| *a.start().max(b.start())..=*a.end().min(b.end())),
            Expr::Or(parts) => parts
                .iter()
                .map(Expr::time_bounds)
                .reduce(|a, b| *a.start().min(b.start())..=*a.end().max(b.end()))
                .unwrap_or(i64::MIN..=i64::MAX),
            Expr::Term(Term::Day(day)) => amount::day_bounds(*day),
            Expr::Term(Term::Number(Metric::Time, comparison, t)) => match comparison {
                Comparison::Equal => *t..=*t,
                Comparison::Less | Comparison::AtMost => i64::MIN..=*t,
                Comparison::More | Comparison::AtLeast => *t..=i64::MAX,
            },
            Expr::Not(_) | Expr::Term(_) => i64::MIN..=i64::MAX,
        }
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// Free text: in the name, the arguments, the error, the result or the reason; letter case is ignored.
    Text(Pattern),
    /// The whole value of a field, letter case counting.
    Exact(Exact, Pattern),
    /// A part of a longer text; letter case is ignored.
    Contained(Contained, Pattern),
    /// The run's id, or the beginning of it.
    Run(HexPrefix),
    /// The call's id, or the beginning of it.
    Call(HexPrefix),
    /// A number: microseconds for times and durations, else a plain count.
    Number(Metric, Comparison, i64),
    /// The UTC day on which the call began.
    Day(Date),
    /// A value inside the arguments, known when they were recorded whole (up to 16 KiB).
    Argument(Vec<Step>, ArgumentTest),
}

/// How a number is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `:` or `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
}

/// A step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The member of an object.
    Key(String),
    /// The place in an array, from 0.
    Index(u32),
}

/// What is asked of a value inside the arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum ArgumentTest {
    /// Its text; numbers, `true`, `false` and `null` as JSON writes them.
    Is(Pattern),
    /// Its order against a number; what is not a number does not match.
    Compares(Comparison, Figure),
}

/// A number as written in a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// A whole number.
    Whole(i64),
    /// A finite number with a fraction or an exponent.
    Real(f64),
}

/// 1 to 32 lowercase hexadecimal digits: an id or its beginning, without the `run_`/`call_` in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexPrefix(String);

impl HexPrefix {
    /// `None` unless `text` is 1 to 32 hexadecimal digits; upper case is accepted and lowered.
    #[must_use]
    pub fn new(text: &str) -> Option<HexPrefix> {
        let fits = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| HexPrefix(text.to_ascii_lowercase()))
    }

    /// The whole of an id.
    pub(crate) fn of(id: &[u8; 16]) -> HexPrefix {
        HexPrefix(id.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The lowest and the highest id that begin so.
    #[must_use]
    pub fn range(&self) -> ([u8; 16], [u8; 16]) {
        let value = |fill: char| {
            let digits = self.0.chars().chain(std::iter::repeat(fill)).take(32);
            digits.fold(0u128, |n, c| (n << 4) | u128::from(c.to_digit(16).unwrap_or(0))).to_be_bytes()
        };
        (value('0'), value('f'))
    }
}
