//! Measures the binary against a direct connection: `bench run …`, started by `cargo xtask bench`. `bench versus …` compares two
//! builds, as a change is judged by; `bench holds …` has a thousand calls wait for people; `bench load …` only makes calls, for a
//! profiler to look at the gateway.
//!
//! Three processes take part: this one makes the calls, `bench upstream` answers them, and the gateway stands between. Each
//! measurement is made with the gateway and without it, in turns, so that a busy machine is busy for both.

mod client;
mod clock;
mod disk;
mod gateway;
mod latency;
mod load;
mod message;
mod process;
mod report;
mod results;
mod run;
mod scenarios;
mod targets;
mod upstream;
mod versus;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

const USAGE: &str = "usage: bench run --binary FILE --folder DIR --out DIR [--page FILE] [--quick] [--million], \
     bench versus …, bench holds …, bench load …, or bench ledger --binary FILE --folder DIR --calls NUMBER";

/// What to measure, and where to put it.
#[derive(Debug, Default)]
struct Arguments {
    /// The binary under test.
    binary: PathBuf,
    /// Another one, to compare it with; else the same without identity and policy.
    other: Option<PathBuf>,
    /// Where ledgers are made; its disk is the one that is measured.
    folder: PathBuf,
    /// Where the numbers, the table and the picture go.
    out: PathBuf,
    /// A page whose marked part is replaced by the table.
    page: Option<PathBuf>,
    pace: Pace,
    /// Whether to search a ledger of a million calls too.
    million: bool,
    /// How many calls a ledger gets that is made.
    calls: u64,
}

/// How long the measurements last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pace {
    #[default]
    Full,
    /// A minute for all: shows that everything works.
    Quick,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((command, _)) if command == "upstream" => in_runtime(upstream::serve()),
        Some((command, rest)) if command == "run" => {
            parse(rest).and_then(|arguments| in_runtime(run::run(&arguments)))
        }
        Some((command, rest)) if command == "ledger" => {
            parse(rest).and_then(|arguments| in_runtime(ledger(&arguments)))
        }
        Some((command, rest)) if command == "holds" => parse(rest).and_then(|arguments| {
            in_runtime(scenarios::holds::run(&arguments.binary, &arguments.folder, arguments.pace))
        }),
        Some((command, rest)) if command == "load" => parse(rest).and_then(|arguments| {
            in_runtime(scenarios::calls::load(&arguments.binary, &arguments.folder, arguments.pace))
        }),
        Some((command, rest)) if command == "versus" => {
            parse(rest).and_then(|arguments| in_runtime(versus::run(&arguments)))
        }
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn parse(given: &[String]) -> anyhow::Result<Arguments> {
    let mut arguments = Arguments::default();
    let mut rest = given.iter();
    while let Some(name) = rest.next() {
        let mut path = || rest.next().map(PathBuf::from).context(USAGE);
        match name.as_str() {
            "--binary" => arguments.binary = path()?,
            "--other" => arguments.other = Some(path()?),
            "--folder" => arguments.folder = path()?,
            "--out" => arguments.out = path()?,
            "--page" => arguments.page = Some(path()?),
            "--quick" => arguments.pace = Pace::Quick,
            "--million" => arguments.million = true,
            "--calls" => arguments.calls = rest.next().context(USAGE)?.parse()?,
            other => bail!("`{other}` is unknown; {USAGE}"),
        }
    }
    Ok(arguments)
}

/// Makes a ledger if the folder has none, and examines it.
async fn ledger(arguments: &Arguments) -> anyhow::Result<()> {
    let data = arguments.folder.as_path();
    if !data.join("log/checkpoint").exists() {
        let begun = std::time::Instant::now();
        scenarios::million::make(data, arguments.calls).await?;
        say(&format!("made {} calls in {:.1} s", arguments.calls, begun.elapsed().as_secs_f64()));
    }
    let examined = scenarios::ledger::examine(&arguments.binary, data, arguments.calls)?;
    say(&serde_json::to_string_pretty(&examined)?);
    Ok(())
}

/// One thread: callers and upstream must leave the processor to the gateway.
fn in_runtime(future: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Prints a line.
fn say(text: &str) {
    // Whoever read it may be gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}
