//! `tollbook export`: who is told of calls that wait for people, and what became of it.

mod recorded;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use export::{Courier, Ground};
use serde_json::json;
use store::state::{DeadLetter, Deed, DestinationRow, State};

use crate::clock;
use crate::config::{self, Config};
use crate::credentials::{day, open_acting, who};
use crate::environment::Environment;
use crate::read::{Mistake, text};

pub(crate) use recorded::Recorded;

/// See whom a gateway tells of calls that wait for people, and try it.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(subcommand)]
    command: ExportCommand,
}

#[derive(Debug, Subcommand)]
enum ExportCommand {
    /// List destinations, as the gateway that ran last had them: what arrived, waits, fails, and is dead.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// List what a destination was not told and will not be; the newest first.
    Dead {
        /// The destination.
        name: String,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Try again what is dead, and what fails, from now on.
    Retry {
        /// The destination.
        name: String,
    },
    /// Send a test to a destination of the configuration, now, and say what came of it.
    Test {
        /// The destination.
        name: String,
        /// Configuration file, as for `serve`.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Does what is asked; 1 if a list is empty, or the test did not arrive.
pub(crate) fn run(args: &ExportArgs, environment: &Environment, out: &mut dyn Write) -> anyhow::Result<u8> {
    match &args.command {
        ExportCommand::List { json } => {
            let rows = State::open(&environment.data)?.destinations()?;
            for row in &rows {
                writeln!(out, "{}", if *json { row_json(row)? } else { line(row) })?;
            }
            Ok(u8::from(rows.is_empty()))
        }
        ExportCommand::Dead { name, limit, json } => {
            let state = State::open(&environment.data)?;
            if !state.destinations()?.iter().any(|row| row.name == *name) {
                return Err(unknown(name));
            }
            let dead = state.dead_letters(name, *limit)?;
            for letter in &dead {
                writeln!(out, "{}", if *json { letter_json(letter)? } else { letter_line(letter) })?;
            }
            Ok(u8::from(dead.is_empty()))
        }
        ExportCommand::Retry { name } => {
            let again = open_acting(environment)?.retry_dead(name, clock::unix_seconds())?;
            let again = again.ok_or_else(|| unknown(name))?;
            writeln!(out, "{again} are tried again, by the gateway")?;
            Ok(0)
        }
        ExportCommand::Test { name, config } => test(name, config.as_ref(), environment, out),
    }
}

fn unknown(name: &str) -> anyhow::Error {
    Mistake(format!("no gateway has told `{name}` yet; `tollbook export list` shows who is told")).into()
}

fn test(
    name: &str,
    config: Option<&PathBuf>,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let path = config.map(|path| environment.resolve(path)).or_else(|| environment.config.clone());
    let mut config = config::read(path.as_deref(), environment)?;
    if environment.is_data_given {
        config.data.clone_from(&environment.data);
    }
    let Some(settings) = config.export.iter().find(|one| one.name == *name).cloned() else {
        return Err(Mistake(format!("the configuration has no `[export.{name}]`")).into());
    };
    let now = clock::unix_seconds();
    let state = Arc::new(State::open(&config.data)?.acting(&who(), now));
    let ground = ground(&config, Arc::clone(&state), console_url(&config, config.console.address()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let (arrived, said) = runtime.block_on(Courier::new(settings, ground).test());
    let deed = if arrived { Deed::done("export.test", name) } else { Deed::refused("export.test", name) };
    state.note(&deed.because(&said))?;
    let word = if arrived { "arrived" } else { "did not arrive" };
    writeln!(out, "the test {word}: {}", text::visible(&said))?;
    Ok(u8::from(!arrived))
}

/// What couriers work with.
pub(crate) fn ground(config: &Config, state: Arc<State>, console: String) -> Ground {
    let arguments = Arc::new(Recorded::new(config.data.clone()));
    Ground { state, arguments, console, clock: clock::unix_seconds }
}

/// Where browsers reach the console that listens there.
pub(crate) fn console_url(config: &Config, listens: std::net::SocketAddr) -> String {
    config.desk.public_url.clone().unwrap_or_else(|| format!("http://{listens}"))
}

fn line(row: &DestinationRow) -> String {
    let DestinationRow { name, delivered, waiting, failing, dead, last_delivered, .. } = row;
    let last = last_delivered.map_or_else(|| "never".to_owned(), day);
    let standing = match (row.gone, row.failures) {
        (Some(gone), _) => format!("gone since {}", day(gone)),
        (None, 0) => "well".to_owned(),
        (None, failures) => format!("{failures} failures in a row"),
    };
    let error = row.error.as_deref().filter(|_| row.gone.is_some() || row.failures > 0 || *dead > 0);
    let error = error.map(|error| format!(": {}", text::visible(error))).unwrap_or_default();
    format!(
        "{}  {delivered} delivered, last {last}  {waiting} waiting, {failing} of them failing  {dead} dead  {standing}{error}",
        text::cell(name, 20)
    )
}

fn row_json(row: &DestinationRow) -> serde_json::Result<String> {
    let DestinationRow { name, groups, delivered, failed, last_delivered, last_failed, error, .. } = row;
    let DestinationRow { failures, gone, waiting, failing, dead, oldest, .. } = row;
    let events: Vec<&str> = row.kinds.iter().map(|kind| kind.as_str()).collect();
    text::json_line(&json!({
        "name": name, "events": events, "groups": groups, "delivered": delivered, "failed": failed,
        "last_delivered": last_delivered, "last_failed": last_failed, "error": error, "failures": failures, "gone": gone,
        "waiting": waiting, "failing": failing, "dead": dead, "oldest": oldest,
    }))
}

fn letter_line(letter: &DeadLetter) -> String {
    let DeadLetter { event, attempts, dead, error } = letter;
    format!(
        "{}  {}  {}  {attempts} attempts, dead since {}  {}",
        text::visible(&event.hold),
        text::cell(event.kind.as_str(), 9),
        day(event.at),
        day(*dead),
        text::visible(error)
    )
}

fn letter_json(letter: &DeadLetter) -> serde_json::Result<String> {
    let DeadLetter { event, attempts, dead, error } = letter;
    text::json_line(&json!({
        "event": event.id, "hold": event.hold, "kind": event.kind.as_str(), "at": event.at, "attempts": attempts,
        "dead": dead, "error": error,
    }))
}
