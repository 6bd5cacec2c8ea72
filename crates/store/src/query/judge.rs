//! Whether a row matches a query: the meaning of the language, in one place.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    ArgumentTest, Comparison, Contained, Exact, Expr, Figure, HexPrefix, Metric, Step, Term, amount,
};
use crate::row::{CallRow, RowKind};

/// Statuses that need somebody's attention; runs count them as failed.
pub(crate) const FAILED: [&str; 9] = [
    "tool_error",
    "error",
    "cancelled",
    "disconnected",
    "timeout",
    "upstream_failed",
    "withheld",
    "unknown",
    "refused",
];

impl Expr {
    /// Whether it holds for a row. A term about something that the row does not have does not hold.
    pub(crate) fn holds(&self, row: &CallRow) -> bool {
        match self {
            Expr::And(parts) => parts.iter().all(|part| part.holds(row)),
            Expr::Or(parts) => parts.iter().any(|part| part.holds(row)),
            Expr::Not(part) => !part.holds(row),
            Expr::Term(term) => term.holds(row),
        }
    }
}

impl Term {
    fn holds(&self, row: &CallRow) -> bool {
        match self {
            Term::Text(pattern) => {
                let texts = [&row.name, &row.args, &row.error, &row.result, &row.reason];
                texts.into_iter().flatten().any(|text| pattern.is_in(text))
            }
            Term::Exact(field, pattern) => field.of(row).is_some_and(|value| pattern.is(value)),
            Term::Contained(field, pattern) => field.of(row).is_some_and(|text| pattern.is_in(text)),
            Term::Run(prefix) => row.run.is_some_and(|run| prefix.begins(&run.0)),
            Term::Call(prefix) => row.call.is_some_and(|call| prefix.begins(&call.0)),
            Term::Number(metric, comparison, n) => {
                metric.of(row).is_some_and(|found| comparison.holds(&found, n))
            }
            Term::Day(day) => amount::day_bounds(*day).contains(&row.t_start),
            Term::Argument(path, test) => {
                let args = row.args.as_deref().filter(|_| row.args_whole);
                args.and_then(|args| value_at(args, path)).is_some_and(|value| test.holds(value))
            }
        }
    }
}

impl Exact {
    /// The field's value in a row.
    pub(crate) fn of(self, row: &CallRow) -> Option<&str> {
        match self {
            Exact::Server => row.server.as_deref(),
            Exact::Tool => row.name.as_deref().filter(|_| row.method.as_deref() == Some("tools/call")),
            Exact::Name => row.name.as_deref(),
            Exact::Method => row.method.as_deref(),
            Exact::Verdict => row.verdict.as_deref(),
            Exact::Status => row.status.as_deref(),
            Exact::Principal => row.principal.as_deref(),
            Exact::Agent => row.agent.as_deref(),
            Exact::Era => row.era.as_deref(),
            Exact::Version => row.version.as_deref(),
            Exact::Direction => row.direction.as_deref(),
            Exact::Trace => row.trace.as_deref(),
            Exact::Kind => Some(match row.kind {
                RowKind::Call => "call",
                RowKind::Refused => "refused",
                RowKind::Note => "note",
            }),
        }
    }
}

impl Contained {
    fn of(self, row: &CallRow) -> Option<&str> {
        match self {
            Contained::Args => row.args.as_deref(),
            Contained::Error => row.error.as_deref(),
            Contained::Reason => row.reason.as_deref(),
        }
    }
}

impl Metric {
    /// The number in a row.
    pub(crate) fn of(self, row: &CallRow) -> Option<i64> {
        match self {
            Metric::Duration => row.duration(),
            Metric::Bytes => {
                let bytes = row.request_bytes.unwrap_or(0).saturating_add(row.answer_bytes.unwrap_or(0));
                Some(i64::try_from(bytes).unwrap_or(i64::MAX))
            }
            Metric::Time => Some(row.t_start),
            Metric::Round => Some(i64::from(row.round)),
        }
    }
}

impl HexPrefix {
    fn begins(&self, id: &[u8; 16]) -> bool {
        let (low, high) = self.range();
        (low..=high).contains(id)
    }
}

impl Comparison {
    /// Whether `found` compares so with `with`.
    pub(crate) fn holds<T: PartialOrd>(self, found: &T, with: &T) -> bool {
        self.takes(found.partial_cmp(with))
    }

    fn takes(self, order: Option<Ordering>) -> bool {
        match self {
            Comparison::Equal => order == Some(Ordering::Equal),
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Comparison::More => order == Some(Ordering::Greater),
            Comparison::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

impl ArgumentTest {
    /// `raw` is the value's JSON.
    fn holds(&self, raw: &str) -> bool {
        match self {
            ArgumentTest::Is(pattern) if raw.starts_with('"') => {
                serde_json::from_str::<String>(raw).is_ok_and(|text| pattern.is(&text))
            }
            ArgumentTest::Is(pattern) => pattern.is(raw),
            ArgumentTest::Compares(comparison, figure) => comparison.takes(order(raw, *figure)),
        }
    }
}

/// How a JSON number compares; none for what is no number.
fn order(raw: &str, figure: Figure) -> Option<Ordering> {
    if let (Ok(found), Figure::Whole(n)) = (raw.parse::<i64>(), figure) {
        return Some(found.cmp(&n));
    }
    let found: serde_json::Number = serde_json::from_str(raw).ok()?;
    let figure = match figure {
        Figure::Real(n) => n,
        Figure::Whole(n) => serde_json::Number::from(n).as_f64()?,
    };
    found.as_f64()?.partial_cmp(&figure)
}

/// The JSON of the value at the end of a path.
fn value_at<'a>(json: &'a str, path: &[Step]) -> Option<&'a str> {
    let mut json = json;
    for step in path {
        let mut reader = serde_json::Deserializer::from_str(json);
        let found: Option<&'a RawValue> = match step {
            Step::Key(key) => reader.deserialize_map(Member(key)).ok()?,
            Step::Index(at) => reader.deserialize_seq(Item(usize::try_from(*at).ok()?)).ok()?,
        };
        json = found?.get();
    }
    Some(json.trim())
}

/// The first member of that name.
struct Member<'k>(&'k str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Name(name)) = members.next_key::<Name<'de>>()? {
            if found.is_none() && name == self.0 {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A member's name, copied only if it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Item(usize);

impl<'de> Visitor<'de> for Item {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut at = 0;
        let mut found = None;
        while let Some(item) = items.next_element::<&RawValue>()? {
            if at == self.0 {
                found = Some(item);
            }
            at += 1;
        }
        Ok(found)
    }
}
