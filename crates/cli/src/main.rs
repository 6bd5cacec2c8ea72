//! The binary `tollbook`: configuration, wiring, commands.

mod approvals;
mod backup;
mod clock;
mod config;
mod credentials;
mod doctor;
mod environment;
mod exports;
mod follow;
mod gateway_link;
mod operators;
mod packaging;
mod policies;
mod read;
mod screen;
mod serve;
mod serve_recorded;
mod servers;
mod setup;
mod tls;
mod verify;
mod wrap;

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

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
    /// Data folder; `$TOLLBOOK_DATA` or the user's state folder if not given.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Wrap(wrap::WrapArgs),
    Init(setup::InitArgs),
    Doctor(doctor::DoctorArgs),
    /// Search what was recorded, and follow what is being recorded.
    Calls(read::calls::CallsArgs),
    /// Show a run step by step, or serve it as the MCP server that it recorded.
    Replay(read::replay::ReplayArgs),
    /// List runs, or show one.
    Run(read::runs::RunArgs),
    /// Say how far the index has come, or make it anew.
    Index(read::index::IndexArgs),
    Verify(verify::VerifyArgs),
    Backup(backup::BackupArgs),
    Restore(backup::RestoreArgs),
    Evidence(verify::EvidenceArgs),
    Keys(verify::KeysArgs),
    Policy(policies::PolicyArgs),
    Approvals(approvals::ApprovalsArgs),
    Export(exports::ExportArgs),
    Operators(operators::OperatorsArgs),
    Servers(servers::ServersArgs),
    Completions(packaging::CompletionsArgs),
    Man(packaging::ManArgs),
    /// Print the JSON Schema of `tollbook.toml`, for editors.
    Schema,
}

/// The command line or a query cannot be understood.
const MISTAKE: u8 = 2;

/// It could not be done.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut environment = Environment::read();
    if let Some(data) = &cli.data {
        environment.give_data(data);
    }
    match cli.command {
        Command::Serve(args) => in_runtime(serving(args, &environment)),
        Command::Wrap(args) => {
            let code = in_runtime(wrap::run(args, &environment));
            // Its standard input may still be read by a thread that nothing can stop.
            std::process::exit(code.into());
        }
        Command::Replay(args) if args.server.as_server => {
            let code = in_runtime(replaying(args, &environment));
            // As above.
            std::process::exit(code.into());
        }
        Command::Servers(args) => in_runtime(connecting(args, &environment)),
        other => reading(other, &environment),
    }
    .into()
}

async fn serving(args: serve::ServeArgs, environment: &Environment) -> u8 {
    log_to_stderr(environment);
    told(serve::run(args, environment).await.map(|()| 0))
}

async fn connecting(args: servers::ServersArgs, environment: &Environment) -> u8 {
    log_to_stderr(environment);
    told(servers::run(&args, environment).await)
}

async fn replaying(args: read::replay::ReplayArgs, environment: &Environment) -> u8 {
    log_to_stderr(environment);
    told(serve_recorded::run(&args.server, &args.run, &environment.data).await)
}

fn reading(command: Command, environment: &Environment) -> u8 {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let data = &environment.data;
    let outcome = match command {
        Command::Init(args) => setup::run(&args, environment, &mut out),
        Command::Doctor(args) => doctor::run(&args, environment, clock::now(), &mut out),
        Command::Calls(args) => read::calls::run(&args, data, clock::now(), &mut out),
        Command::Replay(args) => read::replay::run(&args, environment, &mut out),
        Command::Run(args) => read::runs::run(&args, environment, &mut out),
        Command::Index(args) => read::index::run(&args, data, &mut out),
        Command::Backup(args) => backup::backup(&args, environment, &mut out),
        Command::Restore(args) => backup::restore(&args, environment, &mut out),
        Command::Verify(args) => verify::run(&args, environment, &mut out),
        Command::Evidence(args) => verify::evidence(&args, data, &mut out),
        Command::Keys(args) => verify::keys(&args, environment, &mut out),
        Command::Policy(args) => policies::run(&args, environment, &mut out),
        Command::Approvals(args) => approvals::run(&args, environment, &mut out),
        Command::Export(args) => exports::run(&args, environment, &mut out),
        Command::Operators(args) => operators::run(&args, environment, &mut out),
        Command::Completions(args) => packaging::completions(&args, Cli::command(), &mut out),
        Command::Man(args) => packaging::man(&args, Cli::command()),
        Command::Schema => packaging::schema(&mut out),
        Command::Serve(_) | Command::Wrap(_) | Command::Servers(_) => Ok(0),
    };
    told(outcome.and_then(|code| out.flush().map(|()| code).map_err(Into::into)))
}

/// Says what failed, with its causes; a reader that went away (`| head`) is no failure.
fn told(outcome: anyhow::Result<u8>) -> u8 {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) {
        return 0;
    }
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stderr(), "tollbook: {error:#}");
    if error.is::<read::Mistake>() { MISTAKE } else { FAILED }
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

/// Logs go to standard error: `TOLLBOOK_LOG` chooses (`info` if unset), `TOLLBOOK_LOG_FORMAT=json` is for machines.
fn log_to_stderr(environment: &Environment) {
    let chosen = environment.variable("TOLLBOOK_LOG").unwrap_or_else(|| "info".to_owned());
    // What libraries log of connections below `info` may show what crosses them.
    let filter = format!("{chosen},h2=info,hyper=info,hyper_util=info,rustls=info");
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
