//! `tollbook calls [QUERY]`: search what was recorded, and follow what a running gateway records.
//!
//! Exit codes: 0 if anything matched, 1 if nothing did; `main` has those of errors.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use ledger::{Kind, Leaf, Seq};
use store::{CallRow, Order, Page, Query, QueryError, RowKind};

use super::index::{self, Opened};
use super::render::{JsonLine, Widths};
use super::{Mistake, text};

/// How often the ledger is asked for more.
const POLL: Duration = Duration::from_millis(250);
/// After so many polls a call that goes on is shown as open.
const PATIENCE: u32 = 8;
/// Rows read from the index at once.
const PAGE: u32 = 500;

/// `tollbook calls`
#[derive(Debug, Args)]
pub(crate) struct CallsArgs {
    /// What to look for, for example `server:github verdict:deny since:1h`; docs/search.md has it all.
    query: Vec<String>,
    /// One JSON object a line, with all fields.
    #[arg(long)]
    json: bool,
    /// Go on with calls as they are recorded. A call that takes longer than 2 s is shown open first, then ended.
    #[arg(long, conflicts_with = "reverse")]
    follow: bool,
    /// How many calls, the newest ones.
    #[arg(long, default_value = "50", value_name = "N")]
    limit: NonZeroU32,
    /// Newest first; otherwise the newest calls are shown oldest first, the last one at the bottom.
    #[arg(long)]
    reverse: bool,
}

/// Shows the calls that match. `now` is what relative times are read against.
pub(crate) fn run(args: &CallsArgs, data: &Path, now: Timestamp, out: &mut dyn Write) -> anyhow::Result<u8> {
    let typed = args.query.join(" ");
    let query = Query::parse(&typed, now).map_err(|e| Mistake(explain(&typed, &e)))?;
    let opened = index::open(data)?;
    show(args, &query, opened, out)
}

/// The query with a caret under the mistake.
fn explain(typed: &str, error: &QueryError) -> String {
    let line: String = typed.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}\n  {line}\n  {:2$}^", error, "", error.at)
}

fn show(args: &CallsArgs, query: &Query, opened: Opened, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut rows = newest(&opened, query, args.limit)?;
    if !args.reverse {
        rows.reverse();
    }
    let widths = if args.follow { Widths::FIXED } else { Widths::of(&rows) };
    let mut printer = Printer { out, widths: (!args.json).then_some(widths) };
    if let Some(behind) = opened.behind.as_deref().filter(|_| !args.json) {
        writeln!(printer.out, "{behind}")?;
    }
    printer.heading()?;
    for row in &rows {
        printer.row(row)?;
    }
    if !args.json && rows.len() < usize::try_from(args.limit.get())? {
        opened.tell_earlier("calls")?;
    }
    if rows.is_empty() && !args.json && !args.follow {
        // The table is on standard output, for others to read.
        writeln!(std::io::stderr(), "no call matches")?;
    }
    if args.follow {
        Follow::new(opened, query)?.run(&mut printer)?;
    }
    Ok(u8::from(rows.is_empty()))
}

fn newest(opened: &Opened, query: &Query, limit: NonZeroU32) -> anyhow::Result<Vec<CallRow>> {
    let mut rows: Vec<CallRow> = Vec::new();
    loop {
        let wanted = limit.get().saturating_sub(u32::try_from(rows.len())?).min(PAGE);
        let Some(limit) = NonZeroU32::new(wanted) else { return Ok(rows) };
        let page = Page { order: Order::Newest, limit, after: rows.last().map(CallRow::cursor) };
        let found = opened.index.search(query, &page)?;
        if found.is_empty() {
            return Ok(rows);
        }
        rows.extend(found);
    }
}

struct Printer<'a> {
    out: &'a mut dyn Write,
    /// None for JSON.
    widths: Option<Widths>,
}

impl Printer<'_> {
    fn heading(&mut self) -> anyhow::Result<()> {
        if let Some(widths) = self.widths {
            writeln!(self.out, "{}", widths.heading())?;
        }
        Ok(())
    }

    fn row(&mut self, row: &CallRow) -> anyhow::Result<()> {
        match self.widths {
            Some(widths) => writeln!(self.out, "{}", widths.line(row))?,
            None => writeln!(self.out, "{}", text::json_line(&JsonLine::of(row))?)?,
        }
        Ok(())
    }
}

/// What goes on: the rows that new records touched are looked up again and shown once they have ended.
struct Follow<'a> {
    opened: Opened,
    query: &'a Query,
    origin: String,
    seen: Seq,
    open: BTreeMap<Seq, u32>,
}

impl<'a> Follow<'a> {
    fn new(opened: Opened, query: &'a Query) -> anyhow::Result<Follow<'a>> {
        let origin = opened.reader.origin().to_owned();
        let seen = opened.index.next(&origin)?;
        Ok(Follow { opened, query, origin, seen, open: BTreeMap::new() })
    }

    fn run(mut self, printer: &mut Printer<'_>) -> anyhow::Result<()> {
        loop {
            printer.out.flush()?;
            thread::sleep(POLL);
            self.step(printer)?;
        }
    }

    fn step(&mut self, printer: &mut Printer<'_>) -> anyhow::Result<()> {
        self.opened.reader.poll().context("cannot read the ledger")?;
        let next = self.opened.index.next(&self.origin)?.min(Seq(self.opened.reader.size()));
        let mut touched = self.touched(next)?;
        self.seen = next.max(self.seen);
        for polls in self.open.values_mut() {
            *polls += 1;
        }
        let late: Vec<Seq> =
            self.open.iter().filter(|(_, polls)| **polls >= PATIENCE).map(|(seq, _)| *seq).collect();
        touched.extend(&late);
        touched.sort_unstable();
        touched.dedup();
        for row in self.opened.index.matching(self.query, &touched)? {
            let going_on = row.kind == RowKind::Call && row.seq_end.is_none();
            if going_on && !late.contains(&row.seq) {
                self.open.entry(row.seq).or_insert(0);
                continue;
            }
            self.open.remove(&row.seq);
            printer.row(&row)?;
        }
        for seq in late {
            self.open.remove(&seq);
        }
        Ok(())
    }

    /// The first records of the calls that the records from `seen` to `next` are about.
    fn touched(&self, next: Seq) -> anyhow::Result<Vec<Seq>> {
        let mut seqs = Vec::new();
        if next <= self.seen {
            return Ok(seqs);
        }
        for record in self.opened.reader.leaves(self.seen) {
            let (seq, leaf) = record.context("cannot read the ledger")?;
            if seq >= next {
                break;
            }
            let leaf = Leaf::decode(&leaf)?;
            match (leaf.kind, &leaf.reference) {
                (Kind::Outcome | Kind::OutcomeUnknown | Kind::Refused, Some(intent)) => seqs.push(intent.seq),
                (Kind::Intent | Kind::Refused | Kind::Note, _) => seqs.push(seq),
                _ => {}
            }
        }
        Ok(seqs)
    }
}
