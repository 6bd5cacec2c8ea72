//! The binary `tollbook`: configuration, wiring, commands.

mod config;
mod environment;
mod follow;
mod gateway_link;
mod read;
mod serve;
mod tls;
mod verify;
mod wrap;

use std::io::{BufWriter, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::environment::Environment;

/// Stands between MCP clients and MCP servers and keeps the book: every call recorded before it is forwarded, in a
/// ledger that anybody can verify.
///
/// Exit codes: 0 done; 1 a question was answered with no (nothing found, a record does not verify); 2 the command line or
/// a query cannot be understood; 3 it could not be done, standard error says why; 70 `wrap` has no gateway; otherwise, for
/// `wrap`, the server's own.
#[derive(Debug, Parser)]
#[command(name = "tollbook", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Wrap(wrap::WrapArgs),
    Calls(read::calls::CallsArgs),
    Replay(read::replay::ReplayArgs),
    Run(read::runs::RunArgs),
    Index(read::index::IndexArgs),
    Verify(verify::VerifyArgs),
    Evidence(verify::EvidenceArgs),
    Keys(verify::KeysArgs),
}

/// What could not be done.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment = Environment::read();
    let (code, hasty) = match cli.command {
        Command::Serve(args) => (in_runtime(serving(args, &environment)), false),
        // Its standard input may still be read by a thread that nothing can stop.
        Command::Wrap(args) => (in_runtime(wrap::run(args, &environment)), true),
        other => (reading(other, &environment), false),
    };
    if hasty {
        std::process::exit(code.into());
    }
    ExitCode::from(code)
}

async fn serving(args: serve::ServeArgs, environment: &Environment) -> u8 {
    log_to_stderr(environment);
    told(serve::run(args, environment).await.map(|()| 0))
}

fn reading(command: Command, environment: &Environment) -> u8 {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let outcome = match command {
        Command::Calls(args) => read::calls::run(args, environment, &mut out),
        Command::Replay(args) => read::replay::run(args, environment, &mut out),
        Command::Run(args) => read::runs::run(args, environment, &mut out),
        Command::Index(args) => read::index::run(args, environment, &mut out),
        Command::Verify(args) => verify::run(args, environment, &mut out),
        Command::Evidence(args) => verify::evidence(args, environment, &mut out),
        Command::Keys(args) => verify::keys(args, environment, &mut out),
        Command::Serve(_) | Command::Wrap(_) => Ok(0),
    };
    told(outcome.and_then(|code| out.flush().map(|()| code).map_err(Into::into)))
}

/// Says what failed, with its causes; a reader that went away (`| head`) is no failure.
fn told(outcome: anyhow::Result<u8>) -> u8 {
    let Err(error) = outcome else { return outcome.unwrap_or(FAILED) };
    let closed = error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe);
    if closed {
        return 0;
    }
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "tollbook: {error:#}");
    FAILED
}

fn in_runtime(future: impl Future<Output = u8>) -> u8 {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(future);
            runtime.shutdown_background();
            code
        }
        Err(error) => told(Err(error.into())),
    }
}

/// Logs go to standard error: `TOLLBOOK_LOG` chooses (`info` if unset), `TOLLBOOK_LOG_FORMAT=json` for machines.
fn log_to_stderr(environment: &Environment) {
    let filter = environment.variable("TOLLBOOK_LOG").unwrap_or_else(|| "info".to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(rustix::termios::isatty(std::io::stderr()));
    if environment.variable("TOLLBOOK_LOG_FORMAT").as_deref() == Some("json") {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
}
