//! `tollbook index`, and what keeps the index up with the ledger: [`feed`], shared with `serve` and the
//! commands that read.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ledger::Seq;
use ledger::payload::Payload;
use recorder::{Predecessor, Reader};
use serde::Serialize;
use store::{DayStatus, Index, IndexError, Mode, Watermark};

use super::replay::{self, Sealed};
use super::source::{Pace, Source};
use super::text;

/// For a running gateway to index what it has written: it publishes twice a second.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

/// `tollbook index …`
#[derive(Debug, Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    command: IndexCommand,
}

#[derive(Debug, Subcommand)]
enum IndexCommand {
    /// Make the index anew from the ledger; safe at any time, the gateway must not be running.
    Rebuild,
    /// Say how far the index has come and how large it is.
    Status {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Makes the index anew, or says how it is; the exit code is 0.
pub(crate) fn run(args: &IndexArgs, data: &Path, out: &mut dyn Write) -> anyhow::Result<u8> {
    match args.command {
        IndexCommand::Rebuild => rebuild(data, out)?,
        IndexCommand::Status { json: true } => writeln!(out, "{}", text::json_line(&status(data)?)?)?,
        IndexCommand::Status { json: false } => status(data)?.write(out)?,
    }
    Ok(0)
}

/// What [`feed`] applied.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fed {
    /// Records.
    pub(crate) records: u64,
    /// Intents and refusals among them.
    pub(crate) calls: u64,
    /// Payloads that should be there and could not be opened; their rows have the leaf's facts only.
    pub(crate) unopened: u64,
}

/// Applies everything between the index's position and the published size, and says how much that was.
/// `progress` is called after each batch with the next seq and the size.
///
/// # Errors
/// If a published record cannot be read (`tollbook verify` says more) or the index cannot be written.
pub(crate) fn feed(
    reader: &Reader,
    index: &mut Index,
    pace: Pace,
    progress: &mut dyn FnMut(Seq, Seq),
) -> anyhow::Result<Fed> {
    let origin = reader.origin().to_owned();
    let size = Seq(reader.size());
    let mut fed = Fed::default();
    let source = Source::of(reader, pace);
    loop {
        let from = index.next(&origin)?;
        if from >= size {
            return Ok(fed);
        }
        let mut batch = source.batch(from, size)?;
        fed.records += batch.leaves.len() as u64;
        fed.calls += batch.calls();
        fed.unopened += batch.unopened;
        index.apply_facts(&origin, batch.records())?;
        progress(index.next(&origin)?, size);
    }
}

/// The ledger and its index, opened for reading, with the index as far as it can be brought.
pub(crate) struct Opened {
    pub(crate) reader: Reader,
    pub(crate) index: Index,
    /// What to tell the user, if the index could not be brought up to the ledger.
    pub(crate) behind: Option<String>,
    /// Logs that were put aside in the folder, the newest first.
    history: Vec<(Predecessor, PathBuf)>,
}

impl Opened {
    /// Where to look for what is not in this log: a line for each log before it.
    pub(crate) fn earlier(&self, command: &str) -> Vec<String> {
        let line = |(log, folder): &(Predecessor, PathBuf)| {
            let (records, origin, folder) = (log.found, &log.origin, folder.display());
            format!("{records} records before are in {origin}: tollbook --data '{folder}' {command}")
        };
        self.history.iter().map(line).collect()
    }

    /// Says so on standard error.
    pub(crate) fn tell_earlier(&self, command: &str) -> std::io::Result<()> {
        let lines = self.earlier(command);
        lines.iter().try_for_each(|line| writeln!(std::io::stderr(), "{line}"))
    }
}

/// Opens both. If no other process writes the index, it is first brought up to the ledger; it is not kept
/// locked, so that a gateway that starts meanwhile can write it. If one does, what has happened up to now is waited for.
///
/// # Errors
/// If either cannot be opened.
pub(crate) fn open(data: &Path) -> anyhow::Result<Opened> {
    let mut reader = reader(data)?;
    let index = match Index::open(data, Mode::ReadWrite) {
        Ok(mut index) => {
            feed(&reader, &mut index, Pace::Alone, &mut |_, _| {})?;
            drop(index);
            Index::open(data, Mode::ReadOnly)?
        }
        Err(IndexError::Locked(_)) => {
            let index = Index::open(data, Mode::ReadOnly)?;
            wait(&mut reader, &index)?;
            index
        }
        // Nobody may write here.
        Err(IndexError::File { .. } | IndexError::Failed { .. }) => Index::open(data, Mode::ReadOnly)?,
        Err(e) => return Err(e.into()),
    };
    let behind = behind(&reader, &index)?;
    // What cannot be listed is not spoken of: the log itself can be read.
    let history = Predecessor::put_aside(data).unwrap_or_default();
    Ok(Opened { reader, index, behind, history })
}

/// What a record holds, for who decides on it. It is published within a second, which is waited for; `Ok(None)`: it was not.
///
/// # Errors
/// Why it cannot be shown, in words for people.
pub(crate) fn payload(data: &Path, seq: Seq) -> Result<Option<Payload>, String> {
    let unreadable = |_| "the ledger cannot be read".to_owned();
    let mut reader = Reader::open(data).map_err(unreadable)?;
    let begun = Instant::now();
    while seq.0 >= reader.size() {
        if begun.elapsed() >= LONGEST_WAIT {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
        reader.poll().map_err(unreadable)?;
    }
    match replay::read(&reader, seq) {
        Sealed::Open(payload) => Ok(Some(*payload)),
        Sealed::Nothing => Err("nothing was recorded of what was sent".to_owned()),
        Sealed::Erased => Err("the key of the record was destroyed".to_owned()),
        Sealed::Unreadable(why) => Err(why),
    }
}

/// Waits until the gateway has published and indexed what is written now: who asks just after a call wants to see it.
fn wait(reader: &mut Reader, index: &Index) -> anyhow::Result<()> {
    // Without the write-ahead log there is nothing to wait for, and what is published is shown all the same.
    let Ok(written) = reader.written() else { return Ok(()) };
    let begun = Instant::now();
    while index.next(reader.origin())?.0 < written && begun.elapsed() < LONGEST_WAIT {
        std::thread::sleep(PAUSE);
    }
    reader.poll()?;
    Ok(())
}

fn reader(data: &Path) -> anyhow::Result<Reader> {
    Reader::open(data).with_context(|| format!("cannot read the ledger in `{}`", data.display()))
}

fn behind(reader: &Reader, index: &Index) -> anyhow::Result<Option<String>> {
    let (size, next) = (Seq(reader.size()), index.next(reader.origin())?);
    let missing = size.0.saturating_sub(next.0);
    Ok((missing > 0).then(|| format!("the index is {missing} records behind the ledger ({next} of {size})")))
}

fn rebuild(data: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let reader = reader(data)?;
    let mut index = Index::recreate(data)?;
    let begun = Instant::now();
    let mut told = Instant::now();
    let mut failed = Ok(());
    let fed = feed(&reader, &mut index, Pace::Alone, &mut |next, size| {
        if told.elapsed().as_secs() >= 1 {
            told = Instant::now();
            failed = writeln!(out, "{next} of {size} records").and_then(|()| out.flush());
        }
    })?;
    failed?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(
        out,
        "{} records, {} calls in {seconds:.1} s ({:.0} calls/s)",
        fed.records,
        fed.calls,
        fed.calls as f64 / seconds.max(0.001)
    )?;
    if fed.unopened > 0 {
        writeln!(out, "{} payloads could not be opened; `tollbook verify` says why", fed.unopened)?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Status {
    watermark: Option<Watermark>,
    origin: String,
    size: Seq,
    behind: u64,
    days: Vec<DayStatus>,
}

fn status(data: &Path) -> anyhow::Result<Status> {
    let reader = reader(data)?;
    let index = Index::open(data, Mode::ReadOnly)?;
    let (size, next) = (Seq(reader.size()), index.next(reader.origin())?);
    let behind = size.0.saturating_sub(next.0);
    Ok(Status {
        watermark: index.watermark()?,
        origin: reader.origin().to_owned(),
        size,
        behind,
        days: index.days()?,
    })
}

impl Status {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let next = self.size.0.saturating_sub(self.behind);
        writeln!(out, "log    {}", text::visible(&self.origin))?;
        writeln!(out, "index  {next} of {} records, {} behind", self.size, self.behind)?;
        for day in &self.days {
            let state = if day.present {
                text::size(day.bytes)
            } else {
                "file is gone; `tollbook index rebuild` brings it back".to_owned()
            };
            writeln!(out, "{}  {:>9} rows  {state}", day.day, day.rows)?;
        }
        Ok(())
    }
}
