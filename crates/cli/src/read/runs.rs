//! `tollbook run list` and `tollbook run show`: the runs as the index counts them, and what was minted (`minted.rs`).

use std::io::{self, Write};

use clap::{Args, Subcommand};
use ledger::RunId;
use store::{HexPrefix, RunFilter, RunRow};

use crate::credentials::{self, MintArgs};
use crate::environment::Environment;

use super::index::{self, Opened};
use super::{Mistake, minted, text};

/// Width of the values of `show`.
const VALUE: usize = 100;

/// `tollbook run …`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    /// List runs, newest first.
    List {
        /// Only this principal's.
        #[arg(long)]
        principal: Option<String>,
        /// Only those that called this server.
        #[arg(long)]
        server: Option<String>,
        /// How many.
        #[arg(long, default_value = "20", value_name = "N")]
        limit: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Mint a run with a credential of its own; its token is printed once.
    Mint(MintArgs),
    /// List runs that were minted, newest first.
    Minted {
        /// How many.
        #[arg(long, default_value = "20", value_name = "N")]
        limit: u32,
    },
    /// Revoke a run that was minted, and all that stand under it.
    Revoke {
        /// The run's id.
        run: RunId,
    },
    /// Show one run: one that was recorded, or one that was minted and all that was done with it.
    Show {
        /// The run's id, the beginning of it, or `last`, the last recorded one.
        run: String,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Lists runs (exit code 1 if there are none) or shows one.
pub(crate) fn run(args: &RunArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    let open = || index::open(&environment.data);
    match &args.command {
        RunCommand::Mint(args) => credentials::mint(args, environment, out),
        RunCommand::Minted { limit } => credentials::minted(*limit, environment, out),
        RunCommand::Revoke { run } => credentials::revoke(*run, environment, out),
        RunCommand::List { principal, server, limit, json } => {
            let opened = open()?;
            let filter = RunFilter {
                principal: principal.clone(),
                server: server.clone(),
                limit: Some(*limit),
                id: None,
            };
            let runs = opened.index.runs(&filter)?;
            if *json {
                for run in &runs {
                    writeln!(out, "{}", text::json_line(run)?)?;
                }
            } else {
                list(&runs, out)?;
                if runs.len() < usize::try_from(*limit)? {
                    opened.tell_earlier("run list")?;
                }
            }
            Ok(u8::from(runs.is_empty()))
        }
        RunCommand::Show { run, json } => {
            let opened = open()?;
            if !is_recorded(&opened, run)?
                && let Some(found) = minted::named(run, environment)?
            {
                let told = minted::tell(found, &opened, environment)?;
                if *json {
                    writeln!(out, "{}", text::json_line(&told.json())?)?;
                } else {
                    told.write(out)?;
                }
                return Ok(0);
            }
            let run = named(&opened, run)?;
            if *json {
                writeln!(out, "{}", text::json_line(&run)?)?;
            } else {
                show(&run, out)?;
                if let Some(minted) = minted::credential(&opened, &run)? {
                    writeln!(out, "  {:<9}  {minted}; `tollbook run show {minted}` says more", "minted")?;
                }
            }
            Ok(0)
        }
    }
}

/// Whether there is a recorded run whose id begins so: those go before minted ones, whose ids are others.
fn is_recorded(opened: &Opened, text: &str) -> anyhow::Result<bool> {
    let Some(id) = HexPrefix::new(text.strip_prefix("run_").unwrap_or(text)) else { return Ok(true) };
    let filter = RunFilter { id: Some(id), limit: Some(1), ..RunFilter::default() };
    Ok(!opened.index.runs(&filter)?.is_empty())
}

/// Runs among which the last one with calls is looked for: a server that never started has a run too.
const RECENT: u32 = 64;

/// The run that the user means: by id, by the beginning of an id, or `last`, the newest with calls.
///
/// # Errors
/// [`Mistake`] if there is no such run, or several.
pub(crate) fn named(opened: &Opened, text: &str) -> anyhow::Result<RunRow> {
    let id = match text {
        "last" => None,
        _ => {
            let id = HexPrefix::new(text.strip_prefix("run_").unwrap_or(text));
            Some(id.ok_or_else(|| {
                Mistake(format!("`{text}` is no run; give an id (run_…), the beginning of one, or `last`"))
            })?)
        }
    };
    let limit = if id.is_some() { 4 } else { RECENT };
    let is_last = id.is_none();
    let mut found = opened.index.runs(&RunFilter { id, limit: Some(limit), ..RunFilter::default() })?;
    if is_last {
        let with_calls = found.iter().position(|run| run.calls > 0).unwrap_or_default();
        found = found.into_iter().skip(with_calls).take(1).collect();
    }
    match found.len() {
        0 => {
            let mut lines = vec![format!("there is no run `{text}`; `tollbook run list` shows them")];
            lines.extend(opened.earlier("run list"));
            Err(Mistake(lines.join("\n")).into())
        }
        1 => Ok(found.remove(0)),
        _ => {
            let ids: Vec<String> = found.iter().map(|run| run.run.to_string()).collect();
            Err(Mistake(format!("`{text}` is the beginning of several runs: {}", ids.join(", "))).into())
        }
    }
}

fn list(runs: &[RunRow], out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<23}  {:<12}  {:<16}  {:<16}  {:<16}  {:>6}  LASTED",
        "OPENED (UTC)", "RUN", "PRINCIPAL", "AGENT", "SERVER", "CALLS"
    )?;
    for run in runs {
        let id: String = run.run.to_string().chars().take(12).collect();
        let lasted = text::duration(run.closed.unwrap_or(run.t_last) - run.t_first);
        let line = format!(
            "{}  {id}  {}  {}  {}  {:>6}  {lasted}{}{}",
            text::clock(run.opened.unwrap_or(run.t_first)),
            text::cell(run.principal.as_deref().unwrap_or("-"), 16),
            text::cell(run.agent.as_deref().unwrap_or("-"), 16),
            text::cell(&servers(run), 16),
            run.calls,
            if run.closed.is_none() { ", open" } else { "" },
            marks(run),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The servers that it called, or the one that it was begun for.
fn servers(run: &RunRow) -> String {
    if run.servers.is_empty() { "-".to_owned() } else { run.servers.join(", ") }
}

/// How many calls, and what went otherwise.
pub(super) fn tally(run: &RunRow) -> String {
    format!("{} calls{}", run.calls, marks(run))
}

/// What went otherwise than asked for, as shape and word.
fn marks(run: &RunRow) -> String {
    let counts = [
        ("▲", run.denied, "denied"),
        ("■", run.held, "held"),
        ("✕", run.failed, "failed"),
        ("…", run.open(), "open"),
    ];
    let some = counts.iter().filter(|(_, n, _)| *n > 0);
    some.map(|(mark, n, word)| format!("  {mark} {n} {word}")).collect()
}

/// The run's head, also that of a replay.
pub(crate) fn show(run: &RunRow, out: &mut dyn Write) -> io::Result<()> {
    let value = |v: &Option<String>| v.as_deref().map(|v| text::cut(v, VALUE));
    let join = |a: Option<String>, b: Option<String>| a.map(|a| b.map_or(a.clone(), |b| format!("{a} {b}")));
    let closed = match (run.closed, value(&run.reason)) {
        (Some(t), Some(reason)) => format!("{} UTC ({reason})", text::clock(t)),
        (Some(t), None) => format!("{} UTC", text::clock(t)),
        (None, _) => format!("still open, last record {} UTC", text::clock(run.t_last)),
    };
    let lines = [
        ("principal", value(&run.principal)),
        ("agent", join(value(&run.agent), value(&run.agent_version))),
        ("servers", (!run.servers.is_empty()).then(|| text::cut(&run.servers.join(", "), VALUE))),
        ("protocol", join(value(&run.era), value(&run.version))),
        ("rule", value(&run.rule)),
        ("opened", Some(format!("{} UTC", text::clock(run.opened.unwrap_or(run.t_first))))),
        ("closed", Some(closed)),
        ("calls", Some(format!("{}{}", run.calls, marks(run)))),
        (
            "records",
            Some(format!("{}, #{} to #{}, {} of them notes", run.records, run.first, run.last, run.notes)),
        ),
    ];
    writeln!(out, "{}", run.run)?;
    for (name, value) in lines {
        if let Some(value) = value {
            writeln!(out, "  {name:<9}  {value}")?;
        }
    }
    Ok(())
}
