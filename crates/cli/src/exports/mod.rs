//! `tollbook export`: who is told of calls that wait for people, and what became of it.

mod recorded;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use export::{Courier, DestinationSettings, Ground};
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
            let mut is_empty = true;
            for destination in named(&state, name)? {
                for letter in state.dead_letters(&destination, *limit)? {
                    is_empty = false;
                    let to = (&*destination, &letter);
                    writeln!(out, "{}", if *json { letter_json(to)? } else { letter_line(to) })?;
                }
            }
            Ok(u8::from(is_empty))
        }
        ExportCommand::Retry { name } => {
            let (state, now) = (open_acting(environment)?, clock::unix_seconds());
            let mut again = 0;
            for destination in named(&state, name)? {
                again += state.retry_dead(&destination, now)?.unwrap_or_default();
            }
            writeln!(out, "{again} are tried again, by the gateway")?;
            Ok(0)
        }
        ExportCommand::Test { name, config } => test(name, config.as_ref(), environment, out),
    }
}

/// The destinations of that name, or of that section of the configuration.
fn named(state: &State, name: &str) -> anyhow::Result<Vec<String>> {
    let all = state.destinations()?.into_iter().map(|row| row.name);
    let found: Vec<String> = all.filter(|one| is_named(one, name)).collect();
    if found.is_empty() {
        let text = format!("no gateway has told `{name}` yet; `tollbook export list` shows who is told");
        return Err(Mistake(text).into());
    }
    Ok(found)
}

fn is_named(destination: &str, name: &str) -> bool {
    destination == name || DestinationSettings::section(destination) == name
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
    let found: Vec<DestinationSettings> =
        config.export.iter().filter(|one| is_named(&one.name, name)).cloned().collect();
    if found.is_empty() {
        return Err(Mistake(format!("the configuration has no `[export.{name}]`")).into());
    }
    let now = clock::unix_seconds();
    let state = Arc::new(State::open(&config.data)?.acting(&who(), now));
    let ground = ground(&config, Arc::clone(&state), console_url(&config, config.console.address()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let (mut all_arrived, is_alone) = (true, found.len() == 1);
    for settings in found {
        let to = settings.name.clone();
        let (arrived, said) = runtime.block_on(Courier::new(settings, ground.clone()).test());
        let deed = if arrived { Deed::done("export.test", &to) } else { Deed::refused("export.test", &to) };
        state.note(&deed.because(&said))?;
        let word = if arrived { "arrived" } else { "did not arrive" };
        let whom = if is_alone { String::new() } else { format!("{to}: ") };
        writeln!(out, "{}the test {word}: {}", text::visible(&whom), text::visible(&said))?;
        all_arrived &= arrived;
    }
    Ok(u8::from(!all_arrived))
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

fn letter_line((destination, letter): (&str, &DeadLetter)) -> String {
    let DeadLetter { event, attempts, dead, error } = letter;
    format!(
        "{}  {}  {}  {}  {attempts} attempts, dead since {}  {}",
        text::cell(destination, 20),
        text::visible(&event.hold),
        text::cell(event.kind.as_str(), 9),
        day(event.at),
        day(*dead),
        text::visible(error)
    )
}

fn letter_json((destination, letter): (&str, &DeadLetter)) -> serde_json::Result<String> {
    let DeadLetter { event, attempts, dead, error } = letter;
    text::json_line(&json!({
        "destination": destination, "event": event.id, "hold": event.hold, "kind": event.kind.as_str(), "at": event.at, "attempts": attempts,
        "dead": dead, "error": error,
    }))
}
