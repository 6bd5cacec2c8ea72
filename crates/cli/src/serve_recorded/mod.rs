//! `tollbook replay RUN --as-server`: a recorded run as an MCP server, so that an incident can be reproduced without the
//! server it happened with.
//!
//! The client is real, the server is the record: each request is answered with what was answered then, found by method,
//! name and parameters ([`key`]), in recorded order where it was asked more than once ([`place`]). [`tape`] arranges the
//! records, [`client`] plays them, [`stdio`] and [`http`] carry the messages. Nothing is made up: what was not recorded
//! is an error that says so.

mod body;
mod client;
mod http;
mod key;
mod pace;
mod place;
mod sessions;
mod splice;
mod stdio;
mod tape;
#[cfg(test)]
mod tests;
mod turn;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use store::{CallRow, RunRow};

use self::client::Play;
use self::pace::Pace;
use self::place::Order;
use self::tape::Tape;
use crate::read::{Mistake, index, replay, runs, text};

/// The flags of `tollbook replay` that make it a server.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Serve the run as an MCP server, on standard input and output.
    #[arg(long)]
    pub(crate) as_server: bool,
    /// Serve over Streamable HTTP at this loopback address instead; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", requires = "as_server")]
    listen: Option<SocketAddr>,
    /// Which server, for a run that called several.
    #[arg(long, value_name = "NAME", requires = "as_server")]
    server: Option<String>,
    /// Answer only in the recorded order.
    #[arg(long, requires = "as_server")]
    strict: bool,
    /// Take as long as the server took.
    #[arg(long, requires = "as_server")]
    timing: bool,
    /// With `--timing`: so many times faster.
    #[arg(long, value_name = "N", requires = "timing", value_parser = speed)]
    speed: Option<f64>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if speed.is_finite() && speed > 0.0 { Ok(speed) } else { Err("must be greater than 0".to_owned()) }
}

/// Serves the run until the client leaves or a signal comes; the exit code is 0.
pub(crate) async fn run(args: &ServerArgs, named: &str, data: &Path) -> anyhow::Result<u8> {
    if let Some(address) = args.listen.filter(|address| !address.ip().is_loopback()) {
        let text = format!("`--listen {address}` is beyond loopback, where anybody could read the run");
        return Err(Mistake(text).into());
    }
    let opened = index::open(data)?;
    let run = runs::named(&opened, named)?;
    if run.calls == 0 {
        let text = format!("{} has no calls to replay; `tollbook run list` shows those that have", run.run);
        return Err(Mistake(text).into());
    }
    let server = chosen_server(&run.servers, args.server.as_deref())?;
    let mut rows = opened.index.of_run(run.run)?;
    rows.retain(|row| row.server.is_none() || row.server == server);
    tell(opened.behind.as_deref(), &run, server.as_deref(), &rows)?;
    let reader = opened.reader;
    let tape = Tape::of(&rows, move |seq| replay::read(&reader, seq));
    if tape.lost() > 0 {
        tracing::warn!(requests = tape.lost(), "some requests of the run cannot be read");
    }
    let order = if args.strict { Order::Recorded } else { Order::Any };
    let pace = if args.timing { Pace::Recorded { speed: args.speed.unwrap_or(1.0) } } else { Pace::AtOnce };
    let play = Arc::new(Play { tape, order, pace });
    match args.listen {
        Some(address) => http::serve(play, address).await?,
        None => stdio::serve(play).await?,
    }
    Ok(0)
}

fn chosen_server(called: &[String], named: Option<&str>) -> Result<Option<String>, Mistake> {
    let all = || called.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match (named, called) {
        (Some(name), called) if called.iter().any(|server| server == name) => Ok(Some(name.to_owned())),
        (Some(name), _) => {
            Err(Mistake(format!("the run did not call a server `{name}`; it called {}", all())))
        }
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some(only.clone())),
        (None, _) => {
            Err(Mistake(format!("the run called several servers; choose one with `--server`: {}", all())))
        }
    }
}

/// On standard error: standard output is the client's.
fn tell(behind: Option<&str>, run: &RunRow, server: Option<&str>, rows: &[CallRow]) -> std::io::Result<()> {
    let mut out = std::io::stderr().lock();
    if let Some(behind) = behind {
        writeln!(out, "{behind}")?;
    }
    let server = server.map(|name| format!(" of server `{}`", text::cut(name, 60))).unwrap_or_default();
    writeln!(out, "replaying {}{server}: {} records of calls and messages", run.run, rows.len())
}
