//! `tollbook replay RUN`: a run, record by record, with what was asked and answered.
//!
//! The index says which records there are, the ledger what they say. Each line names its record (`#seq`), so
//! that any step can be verified.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use clap::Args;
use ledger::{CallId, Hash, Leaf, Payload, Seq};
use recorder::Reader;
use serde::Serialize;
use store::{CallRow, RowKind, RunRow};

use super::render::{JsonLine, outcome};
use super::{index, runs, text};
use crate::environment::Environment;
use crate::screen::{self, Shown};
use crate::serve_recorded::ServerArgs;

/// A pause longer than this (microseconds) is shown as one.
const PAUSE: i64 = 2_000_000;
/// How deep requests inside of requests are indented.
const MAX_DEPTH: usize = 6;
/// How much of a text `--json` carries.
const JSON_TEXT: usize = 64 << 10;

/// `tollbook replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The run's id, the beginning of it, or `last`.
    pub(crate) run: String,
    /// One JSON object a line: the run, then its steps, answers and notes in order.
    #[arg(long, conflicts_with = "as_server")]
    json: bool,
    /// Print it, also on a terminal.
    #[arg(long, conflicts_with = "as_server")]
    plain: bool,
    /// On a terminal: begin at the call of this record.
    #[arg(long, value_name = "RECORD", conflicts_with = "as_server")]
    at: Option<u64>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Shows the run on a terminal, prints it elsewhere; the exit code is 0.
pub(crate) fn run(args: &ReplayArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let data = &environment.data;
    if !args.plain && !args.json && is_on_terminal() {
        // https://no-color.org
        let is_coloured = environment.variable("NO_COLOR").is_none_or(|value| value.is_empty());
        return screen::run(&Shown { run: &args.run, at: args.at, is_coloured }, data);
    }
    let opened = index::open(data)?;
    let run = runs::named(&opened, &args.run)?;
    let rows = opened.index.of_run(run.run)?;
    let story = Story::of(&run, &rows);
    let sealed = |seq| read(&opened.reader, seq);
    if args.json {
        story.write_json(&sealed, out)?;
    } else {
        if let Some(behind) = opened.behind {
            writeln!(out, "{behind}")?;
        }
        story.write(&sealed, out)?;
    }
    Ok(0)
}

fn is_on_terminal() -> bool {
    rustix::termios::isatty(std::io::stdout()) && rustix::termios::isatty(std::io::stdin())
}

/// What a record's payload turned out to be.
pub(crate) enum Sealed {
    /// The record has none.
    Nothing,
    /// Its key was destroyed.
    Erased,
    /// It is missing or damaged; the text says how.
    Unreadable(String),
    /// Here it is.
    Open(Box<Payload>),
}

/// Opens a record's payload.
pub(crate) fn read(reader: &Reader, seq: Seq) -> Sealed {
    let leaf = match reader.leaf(seq).map(|bytes| Leaf::decode(&bytes)) {
        Ok(Ok(leaf)) => leaf,
        Ok(Err(e)) => return Sealed::Unreadable(e.to_string()),
        Err(e) => return Sealed::Unreadable(e.to_string()),
    };
    match reader.payload(seq, &leaf) {
        Ok(Some(payload)) => Sealed::Open(Box::new(payload)),
        Ok(None) if leaf.blobs.is_empty() => Sealed::Nothing,
        Ok(None) => Sealed::Erased,
        Err(e) => Sealed::Unreadable(e.to_string()),
    }
}

/// A run's records in order, each with how deep it lies inside other calls.
pub(crate) struct Story<'a> {
    run: &'a RunRow,
    events: BTreeMap<Seq, Event<'a>>,
}

#[derive(Clone, Copy)]
struct Event<'a> {
    part: Part,
    row: &'a CallRow,
    depth: usize,
    t: i64,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Step,
    Answer,
    Note,
}

impl<'a> Story<'a> {
    /// Orders the rows of a run.
    pub(crate) fn of(run: &'a RunRow, rows: &'a [CallRow]) -> Story<'a> {
        let mut depths: HashMap<CallId, usize> = HashMap::new();
        let mut of_seq: HashMap<Seq, usize> = HashMap::new();
        let mut events = BTreeMap::new();
        for row in rows {
            let inside = row
                .parent
                .and_then(|parent| depths.get(&parent))
                .or_else(|| row.of.and_then(|seq| of_seq.get(&seq)));
            let depth = inside.map_or(0, |outer| (outer + 1).min(MAX_DEPTH));
            if row.kind != RowKind::Note {
                depths.extend(row.call.map(|call| (call, depth)));
                of_seq.insert(row.seq, depth);
            }
            let part = if row.kind == RowKind::Note { Part::Note } else { Part::Step };
            events.insert(row.seq, Event { part, row, depth, t: row.t_start });
            if let (Some(seq), Some(t)) = (row.seq_end, row.t_end) {
                events.insert(seq, Event { part: Part::Answer, row, depth, t });
            }
        }
        Story { run, events }
    }

    /// Writes it for people. `sealed` opens a record's payload.
    pub(crate) fn write(&self, sealed: &dyn Fn(Seq) -> Sealed, out: &mut dyn Write) -> std::io::Result<()> {
        runs::show(self.run, out)?;
        writeln!(out)?;
        let mut before: Option<&Event<'_>> = None;
        for (seq, event) in &self.events {
            let pause = event.t - before.map_or(self.run.t_first, |before| before.t);
            if pause > PAUSE {
                writeln!(out, "⋯ {} ⋯", text::duration(pause))?;
            }
            let follows =
                before.is_some_and(|before| before.row.seq == event.row.seq && before.part == Part::Step);
            let margin = "  ".repeat(event.depth);
            let line = match event.part {
                Part::Answer if !follows => format!("{}  to #{}", event.answer(), event.row.seq),
                Part::Answer => event.answer(),
                Part::Step | Part::Note => event.step(),
            };
            writeln!(out, "{}  {margin}{line}  #{seq}", text::offset(event.t - self.run.t_first))?;
            let body = format!("{}{margin}", " ".repeat(14));
            for line in event.lines(&sealed(*seq)) {
                writeln!(out, "{body}{line}")?;
            }
            before = Some(event);
        }
        Ok(())
    }

    /// Writes it for programs.
    pub(crate) fn write_json(
        &self,
        sealed: &dyn Fn(Seq) -> Sealed,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        writeln!(out, "{}", text::json_line(&JsonRun { part: "run", run: self.run })?)?;
        for (seq, event) in &self.events {
            let sealed = sealed(*seq);
            let text = event.text(&sealed);
            let line = JsonEvent {
                part: event.part,
                record: *seq,
                offset_us: event.t - self.run.t_first,
                depth: event.depth,
                text: text.map(|t| String::from_utf8_lossy(t.get(..JSON_TEXT).unwrap_or(t)).into_owned()),
                text_bytes: text.map(<[u8]>::len),
                text_sha256: text.map(|t| Hash::of(t).to_hex()),
                missing: missing(&sealed),
                call: JsonLine::of(event.row),
            };
            writeln!(out, "{}", text::json_line(&line)?)?;
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct JsonRun<'a> {
    part: &'static str,
    #[serde(flatten)]
    run: &'a RunRow,
}

#[derive(Serialize)]
struct JsonEvent<'a> {
    part: Part,
    record: Seq,
    offset_us: i64,
    depth: usize,
    text: Option<String>,
    text_bytes: Option<usize>,
    text_sha256: Option<String>,
    missing: Option<String>,
    call: JsonLine<'a>,
}

impl Event<'_> {
    fn step(&self) -> String {
        let row = self.row;
        let arrow = if row.direction.as_deref() == Some("server") { "←" } else { "→" };
        let mark = match (row.kind, row.verdict.as_deref()) {
            (RowKind::Refused | RowKind::Call, Some("hold")) => "■ held",
            (RowKind::Refused, _) | (_, Some("deny")) => "▲ denied",
            (RowKind::Note, _) => "·",
            (RowKind::Call, _) => "",
        };
        let round = (row.round > 0).then(|| format!("round {}", row.round));
        let parts = [
            Some(mark),
            Some(arrow),
            row.server.as_deref(),
            row.method.as_deref(),
            row.name.as_deref(),
            round.as_deref(),
        ];
        let shown = parts.into_iter().flatten().filter(|p| !p.is_empty()).map(|p| text::cut(p, 60));
        shown.collect::<Vec<_>>().join(" ")
    }

    fn answer(&self) -> String {
        let row = self.row;
        let duration = row.duration().map(text::duration);
        let size = row.answer_bytes.map(text::size);
        let status = row.http_status.filter(|status| *status != 200).map(|status| format!("HTTP {status}"));
        let parts = [Some(outcome(row)), duration, size, status];
        parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
    }

    /// The part of the message that says something: arguments of a step, result or error of an answer.
    fn text<'p>(&self, sealed: &'p Sealed) -> Option<&'p [u8]> {
        let Sealed::Open(payload) = sealed else { return None };
        let names: &[&str] = match self.part {
            Part::Step | Part::Note => &["arguments", "params"],
            Part::Answer => &["error", "result"],
        };
        let span = names
            .iter()
            .find_map(|name| payload.spans.get(*name))
            .and_then(|span| payload.body.get(span.clone()));
        match self.part {
            Part::Answer => span.or(Some(payload.body.as_ref())).filter(|text| !text.is_empty()),
            Part::Step | Part::Note => span,
        }
    }

    fn lines(&self, sealed: &Sealed) -> Vec<String> {
        let mut lines = Vec::new();
        let reason = self.row.reason.as_deref();
        if let Some(reason) =
            reason.filter(|_| self.part == Part::Answer || self.row.kind == RowKind::Refused)
        {
            lines.push(text::cut(reason, 160));
        }
        lines.extend(missing(sealed).map(|why| format!("({})", text::cut(&why, 160))));
        if let Some(text) = self.text(sealed) {
            let (shown, whole) = text::block(text);
            lines.extend(shown);
            if !whole {
                let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
                lines.push(format!("… {}, sha256 {}", text::size(bytes), Hash::of(text).to_hex()));
            }
        }
        lines
    }
}

/// Why a payload cannot be shown, if that needs saying.
pub(crate) fn missing(sealed: &Sealed) -> Option<String> {
    match sealed {
        Sealed::Nothing | Sealed::Open(_) => None,
        Sealed::Erased => Some("the key to this payload was destroyed".to_owned()),
        Sealed::Unreadable(why) => Some(format!("cannot be read: {why}")),
    }
}
