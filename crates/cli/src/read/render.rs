//! The table of `tollbook calls`: rows of the index in, safe aligned text out. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;
use store::{CallRow, RowKind};

use super::text;

/// Room for the end of a line: why it was refused, or the error.
const SUMMARY: usize = 80;

/// Widths of the columns that depend on what is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Widths {
    principal: usize,
    server: usize,
    name: usize,
}

impl Widths {
    /// For rows that are not known yet.
    pub(crate) const FIXED: Widths = Widths { principal: 16, server: 16, name: 28 };

    /// Just wide enough for `rows`, within limits.
    pub(crate) fn of(rows: &[CallRow]) -> Widths {
        let widest = |of: fn(&CallRow) -> &str, limit| {
            rows.iter().map(|row| text::width(&text::cut(of(row), limit))).max().unwrap_or(0)
        };
        Widths {
            principal: widest(principal, 20).max(9),
            server: widest(server, 20).max(6),
            name: widest(name, 36).max(9),
        }
    }

    /// The heading.
    pub(crate) fn heading(self) -> String {
        let (server, name) = (text::cell("SERVER", self.server), text::cell("TOOL/NAME", self.name));
        let principal = text::cell("PRINCIPAL", self.principal);
        format!(
            "{:<23}  {:<8}  {principal}  {server}  {name}  {:<18}  {:>10}  {:>6}  {:>6}",
            "TIME (UTC)", "RUN", "RESULT", "DURATION", "IN", "OUT"
        )
    }

    /// One call.
    pub(crate) fn line(self, row: &CallRow) -> String {
        let run: String =
            row.run.map(|run| run.to_string().chars().skip(4).take(8).collect()).unwrap_or_default();
        let (server, name) = (text::cell(server(row), self.server), text::cell(name(row), self.name));
        let principal = text::cell(principal(row), self.principal);
        let bytes = |n: Option<u64>| n.map(text::size).unwrap_or_default();
        let duration =
            row.duration().filter(|_| row.kind == RowKind::Call).map(text::duration).unwrap_or_default();
        let mut line = format!(
            "{}  {run:<8}  {principal}  {server}  {name}  {}  {duration:>10}  {:>6}  {:>6}",
            text::clock(row.t_start),
            text::cell(&outcome(row), 18),
            bytes(row.request_bytes),
            bytes(row.answer_bytes),
        );
        if let Some(summary) = row.reason.as_deref().or(row.error.as_deref()) {
            let _ = write!(line, "  {}", text::cut(summary, SUMMARY));
        }
        line.trim_end().to_owned()
    }
}

/// Without who vouches for them, which `--json` has.
fn principal(row: &CallRow) -> &str {
    let principal = row.principal.as_deref().unwrap_or("-");
    principal.split_once(" (").map_or(principal, |(name, _)| name)
}

fn server(row: &CallRow) -> &str {
    row.server.as_deref().unwrap_or("-")
}

fn name(row: &CallRow) -> &str {
    row.name.as_deref().or(row.method.as_deref()).unwrap_or("-")
}

/// How it ended, as shape and word: neither colour nor shape alone tells it.
pub(crate) fn outcome(row: &CallRow) -> String {
    let status = row.status.as_deref().unwrap_or("note");
    let (mark, word) = match (row.verdict.as_deref(), status) {
        (Some("hold"), "open" | "refused") => ("■", "held"),
        (Some("deny"), _) | (_, "refused") => ("▲", "denied"),
        (_, "ok") => ("✓", "ok"),
        (_, "accepted") => ("✓", "accepted"),
        (_, "open") => ("…", "open"),
        (_, "input_required") => ("…", "input required"),
        (_, "unknown") => ("?", "unknown"),
        (_, "note") => ("·", "note"),
        (_, other) => ("✕", other),
    };
    let held = row.verdict.as_deref() == Some("hold") && !matches!(status, "open" | "refused");
    let held = if held { " ■" } else { "" };
    format!("{mark} {}{held}", text::visible(word).replace('_', " "))
}

/// A call for `--json`: all fields of the row under stable names, and the times readable.
#[derive(Serialize)]
pub(crate) struct JsonLine<'a> {
    time: String,
    duration_us: Option<i64>,
    #[serde(flatten)]
    row: &'a CallRow,
}

impl<'a> JsonLine<'a> {
    pub(crate) fn of(row: &'a CallRow) -> JsonLine<'a> {
        let time = Timestamp::from_microsecond(row.t_start).unwrap_or_default().to_string();
        JsonLine { time, duration_us: row.duration(), row }
    }
}
