//! A tree as an SQL condition over the table `calls`, every value a bound parameter.
//!
//! Conditions on what rarely happens (denials, failures) repeat the partial index's own condition
//! `attention = 1`, which SQLite needs to see to use it; a leading `+` keeps wildcards off an index whose order
//! is not the result's.

use std::fmt::Write as _;

use rusqlite::types::Value;

use super::pattern::Pattern;
use super::{ArgumentTest, Comparison, Contained, Exact, Expr, Figure, Metric, Step, Term, amount};

/// Statuses that need somebody's attention; the same list marks rows while they are written.
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

/// A condition and the parameters it binds, in order of their `?`.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    pub(crate) text: String,
    pub(crate) bound: Vec<Value>,
}

impl Condition {
    pub(crate) fn of(expr: &Expr) -> Condition {
        let mut condition = Condition::default();
        condition.expr(expr);
        condition
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::And(parts) => self.joined(parts, " AND "),
            Expr::Or(parts) => self.joined(parts, " OR "),
            Expr::Not(part) => {
                self.text.push_str("NOT ifnull(");
                self.expr(part);
                self.text.push_str(", 0)");
            }
            Expr::Term(term) => self.term(term),
        }
    }

    fn joined(&mut self, parts: &[Expr], word: &str) {
        self.text.push('(');
        for (i, part) in parts.iter().enumerate() {
            self.text.push_str(if i == 0 { "" } else { word });
            self.expr(part);
        }
        self.text.push(')');
    }

    fn term(&mut self, term: &Term) {
        match term {
            Term::Text(pattern) => {
                let columns = ["name", "args", "error", "result", "reason"];
                self.text.push('(');
                for (i, column) in columns.iter().enumerate() {
                    self.text.push_str(if i == 0 { "" } else { " OR " });
                    self.like(column, pattern);
                }
                self.text.push(')');
            }
            Term::Exact(field, pattern) => self.exact(*field, pattern),
            Term::Contained(field, pattern) => match field {
                Contained::Args => self.like("args", pattern),
                Contained::Error => self.like("error", pattern),
                Contained::Reason => self.like("reason", pattern),
            },
            Term::Run(id) => self.id("run", id),
            Term::Call(id) => self.id("call", id),
            Term::Number(metric, comparison, n) => {
                self.text.push_str(match metric {
                    Metric::Duration => "(t_end - t_start)",
                    Metric::Bytes => "(ifnull(request_bytes, 0) + ifnull(answer_bytes, 0))",
                    Metric::Time => "t_start",
                    Metric::Round => "round",
                });
                self.compare(*comparison, Value::Integer(*n));
            }
            Term::Day(day) => {
                let bounds = amount::day_bounds(*day);
                self.text.push_str("(t_start >= ? AND t_start <= ?)");
                self.bound.extend([Value::Integer(*bounds.start()), Value::Integer(*bounds.end())]);
            }
            Term::Argument(path, test) => self.argument(path, test),
        }
    }

    fn exact(&mut self, field: Exact, pattern: &Pattern) {
        let column = match field {
            Exact::Tool | Exact::Name => "name",
            other => other.as_str(),
        };
        let rare = match (field, pattern.literal()) {
            (Exact::Verdict, Some(text)) => text != "allow",
            (Exact::Status, Some(text)) => FAILED.contains(&text),
            _ => false,
        };
        self.text.push('(');
        if rare {
            self.text.push_str("attention = 1 AND ");
        }
        if field == Exact::Tool {
            self.text.push_str("method = 'tools/call' AND ");
        }
        match pattern.literal() {
            Some(text) => {
                let _ = write!(self.text, "{column} = ?");
                self.bound.push(Value::Text(text.to_owned()));
            }
            None => {
                let _ = write!(self.text, "+{column} GLOB ?");
                self.bound.push(Value::Text(pattern.glob()));
            }
        }
        self.text.push(')');
    }

    fn like(&mut self, column: &str, pattern: &Pattern) {
        let _ = write!(self.text, "{column} LIKE ? ESCAPE '\\'");
        self.bound.push(Value::Text(pattern.like()));
    }

    fn id(&mut self, column: &str, id: &super::HexPrefix) {
        let (low, high) = id.range();
        if low == high {
            let _ = write!(self.text, "{column} = ?");
            self.bound.push(Value::Blob(low.to_vec()));
        } else {
            let _ = write!(self.text, "({column} >= ? AND {column} <= ?)");
            self.bound.extend([Value::Blob(low.to_vec()), Value::Blob(high.to_vec())]);
        }
    }

    fn compare(&mut self, comparison: Comparison, value: Value) {
        self.text.push_str(match comparison {
            Comparison::Equal => " = ?",
            Comparison::Less => " < ?",
            Comparison::AtMost => " <= ?",
            Comparison::More => " > ?",
            Comparison::AtLeast => " >= ?",
        });
        self.bound.push(value);
    }

    /// Only arguments recorded whole are JSON; `CASE` keeps SQLite from parsing the others.
    fn argument(&mut self, path: &[Step], test: &ArgumentTest) {
        let path = Value::Text(json_path(path));
        match test {
            ArgumentTest::Is(pattern) => {
                self.text.push_str(
                    "CASE WHEN args_whole THEN CASE json_type(args, ?) WHEN 'true' THEN 'true' WHEN 'false' \
                     THEN 'false' WHEN 'null' THEN 'null' ELSE CAST(json_extract(args, ?) AS TEXT) END GLOB ? END",
                );
                self.bound.extend([path.clone(), path, Value::Text(pattern.glob())]);
            }
            ArgumentTest::Compares(comparison, figure) => {
                self.text.push_str(
                    "CASE WHEN args_whole THEN json_type(args, ?) IN ('integer', 'real') AND json_extract(args, ?)",
                );
                self.bound.extend([path.clone(), path]);
                self.compare(
                    *comparison,
                    match figure {
                        Figure::Whole(n) => Value::Integer(*n),
                        Figure::Real(n) => Value::Real(*n),
                    },
                );
                self.text.push_str(" END");
            }
        }
    }
}

/// SQLite's path syntax; keys are quoted and escaped as in JSON, so that no key is an operator.
fn json_path(path: &[Step]) -> String {
    let mut out = String::from("$");
    for step in path {
        match step {
            Step::Index(n) => {
                let _ = write!(out, "[{n}]");
            }
            Step::Key(key) => {
                let _ = write!(out, ".{}", serde_json::Value::from(key.as_str()));
            }
        }
    }
    out
}
