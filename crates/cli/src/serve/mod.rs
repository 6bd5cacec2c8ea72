//! `tollbook serve`: the gateway with its ledger, its index and its console, until a signal ends it.

mod measure;
mod reload;
mod takeover;
mod waiting;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use console::{Console, Desk};
use export::Exporter;
use gateway::Gateway;
use gateway::settings::{CallerSettings, RuleSettings, Settings};
use identity::operators::{self, Operators};
use identity::{Logins, Mint, RunKey, Vault, Verifier};
use recorder::{Predecessor, Shutdown, Started};
use store::state::State;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock;
use crate::config::{self, Config, ConsoleAt, OperatorLogin};
use crate::environment::Environment;
use crate::exports;
use crate::follow::Follower;
use crate::serve::measure::Measures;
use crate::serve::reload::Reload;
use crate::serve::waiting::Waiting;

/// Longest path that a Unix socket may have on Linux, less one for the closing zero.
const SOCKET_PATH: usize = 107;

/// Run the gateway.
///
/// SIGTERM and SIGINT end it, open calls first; SIGHUP makes it read its configuration again.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file; without it `$TOLLBOOK_CONFIG`, else `tollbook.toml` in the user's configuration folder.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, instead of the one configured.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Listen on the data folder's socket alone, for `wrap`; without a console.
    #[arg(long)]
    socket_only: bool,
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(args: ServeArgs, environment: &Environment) -> anyhow::Result<()> {
    if let Some(plan) = environment.variable("TOLLBOOK_FAULT") {
        recorder::faults::arm(&plan)?;
    }
    let config = read_config(&args, environment)?;
    let stop = stop_signal()?;
    let hangup = signal(SignalKind::hangup()).context("cannot receive signals")?;
    let console = open_console(&config, &args).await?;
    let started = open_ledger(&config, &args).await?;
    tell_recovery(&started.recovered);
    let follower = Follower::start(&config.data, &started.recorder)?;
    let state = Arc::new(State::open(&config.data)?);
    let exporter = export_from(&config, console.as_ref(), &state)?;
    let settings = settings(&config, &args, &state)?;
    let socket = settings.socket.clone();
    let verifier = settings.callers.as_ref().map(|callers| Arc::clone(&callers.verifier));
    let bound = Gateway::start(settings, started.recorder.clone(), started.clerk).await?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let data = config.data.clone();
    let console = console.map(|console| with_desk(console, verifier, &config)).transpose()?;
    let waiting = Waiting::new(&state, console.as_ref().map(|(_, desk)| desk.operators()))?;
    let exports = exporter.meters();
    let reload = Reload::new(
        (args, environment.clone(), state),
        bound.control(),
        (started.recorder.clone(), exporter),
        config,
    );
    let meters = bound.control().meters();
    let measures = Arc::new(Measures::new(
        data,
        started.recorder,
        (meters, exports),
        (follower.indexed(), reload.counts()),
        waiting,
    ));
    announce(
        console.as_ref().map(|(console, _)| console.address),
        bound.address.map(|address| format!("{scheme}://{address}")),
        socket.as_deref(),
    )?;
    let console = console
        .map(|(console, desk)| tokio::spawn(console.serve(measures.clone(), desk, std::future::pending())));
    let (end, ended) = tokio::sync::oneshot::channel();
    let reloading = tokio::spawn(reload.at_each(hangup, ended));
    let stopped = async {
        stop.await;
        measures.drain();
    };
    bound.serve(stopped).await;
    // No reload comes any more, and who tells people goes home.
    drop(end);
    reloading.await?.stop().await;
    tracing::info!("draining is over; closing the ledger");
    close(started.shutdown, follower, socket).await?;
    if let Some(console) = console {
        console.abort();
    }
    Ok(())
}

/// Closes the ledger, and waits until the index has the last of it. Nobody is to look for a gateway at the socket any more.
async fn close(ledger: Shutdown, follower: Follower, socket: Option<PathBuf>) -> anyhow::Result<()> {
    if let Some(socket) = socket {
        // It may have been removed by hand.
        let _ = std::fs::remove_file(socket);
    }
    let finished = tokio::task::spawn_blocking(move || ledger.finish()).await?;
    finished.context("the ledger did not close")?;
    follower.finish();
    Ok(())
}

/// The socket of the gateway on a data folder.
pub(crate) fn socket_path(data: &Path) -> PathBuf {
    data.join("gateway.sock")
}

fn read_config(args: &ServeArgs, environment: &Environment) -> anyhow::Result<Config> {
    let path =
        args.config.as_deref().map(|path| environment.resolve(path)).or_else(|| environment.config.clone());
    let mut config = config::read(path.as_deref(), environment)?;
    if environment.is_data_given {
        config.data.clone_from(&environment.data);
    }
    if let Some(listen) = args.listen {
        anyhow::ensure!(
            listen.ip().is_loopback() || (config.identity.is_some() && config.tls.is_some()),
            "`--listen` beyond loopback needs `[identity]` and `[tls]`; use 127.0.0.1"
        );
        config.listen = listen;
    }
    Ok(config)
}

async fn open_ledger(config: &Config, args: &ServeArgs) -> anyhow::Result<Started> {
    let ledger = recorder::Settings {
        config: Some(config.digest),
        limits: config.ledger.clone(),
        ..recorder::Settings::at(&config.data)
    };
    match args.socket_only {
        true => recorder::start(ledger).context("the ledger cannot be opened"),
        false => takeover::open_ledger(ledger).await,
    }
}

/// Who did not ask for a console gets a gateway all the same when another process has its port.
async fn open_console(config: &Config, args: &ServeArgs) -> anyhow::Result<Option<Console>> {
    if args.socket_only {
        return Ok(None);
    }
    match (Console::bind(config.console.address()).await, config.console) {
        (Ok(console), _) => Ok(Some(console)),
        (Err(error), ConsoleAt::Configured(_)) => Err(error.into()),
        (Err(error), ConsoleAt::Default) => {
            tracing::warn!(error = format!("{error:#}"), "there is no console: no health checks, no metrics");
            Ok(None)
        }
    }
}

/// Tells people of calls that wait, from before the first one.
fn export_from(config: &Config, console: Option<&Console>, state: &Arc<State>) -> anyhow::Result<Exporter> {
    let listens = console.map_or_else(|| config.console.address(), |console| console.address);
    let state = Arc::new(state.apart()?);
    let ground = exports::ground(config, state, exports::console_url(config, listens));
    Ok(Exporter::start(&config.export, ground)?)
}

fn settings(config: &Config, args: &ServeArgs, state: &Arc<State>) -> anyhow::Result<Settings> {
    let socket = socket_path(&config.data);
    let fits = socket.as_os_str().len() <= SOCKET_PATH;
    if !fits {
        anyhow::ensure!(
            !args.socket_only,
            "`{}` is too long for a socket's path; use a shorter `--data`",
            socket.display()
        );
        tracing::warn!("the data folder's path is too long for a socket; `wrap` needs `--gateway`");
    }
    Ok(Settings {
        listen: (!args.socket_only).then_some(config.listen),
        socket: fits.then_some(socket),
        tls: config.tls.as_ref().map(crate::tls::server).transpose()?,
        public_url: config.public_url.clone(),
        allowed_hosts: config.allowed_hosts.clone(),
        servers: config.servers.clone(),
        stderr_dir: config.data.join("stderr"),
        receipts: config.receipts,
        callers: config.identity.as_ref().map(|identity| callers(identity, config, state)).transpose()?,
        vault: Some(Arc::new(Vault::open(&config.data, Arc::clone(state))?)),
        rules: Some(RuleSettings {
            state: Arc::clone(state),
            policies: config.policy.as_deref().map(crate::policies::files::read).transpose()?,
            pinning: config.pinning,
        }),
        holds: config.holds.clone(),
        limits: config.limits.clone(),
    })
}

/// Those who may call.
fn callers(
    settings: &identity::Settings,
    config: &Config,
    state: &Arc<State>,
) -> anyhow::Result<CallerSettings> {
    let key = RunKey::open(&config.data)?;
    let mint = Mint::new(Arc::clone(state), key, &settings.public_url, settings.runs.clone());
    let verifier =
        Arc::new(Verifier::new(settings, Arc::clone(state), Arc::new(mint))?.begun(clock::unix_seconds()));
    let logins = Logins::new(settings, Arc::clone(&verifier))?.map(Arc::new);
    Ok(CallerSettings { verifier, logins, identity: settings.clone() })
}

/// Resolves at the first SIGTERM or SIGINT; a second one ends the process by the default action of neither, so
/// draining stays bounded by its own deadline.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive signals")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        }
    })
}

fn tell_recovery(recovered: &recorder::Recovered) {
    let recorder::Recovered { origin, size, unknown, runs, torn, predecessor } = recovered;
    tracing::info!(origin, records = size, "the ledger is open");
    if *unknown + *runs > 0 || *torn {
        tracing::warn!(
            calls = unknown,
            runs,
            torn_write = torn,
            "the gateway before did not end well: what it left open is recorded as of unknown outcome"
        );
    }
    if let Some(Predecessor { origin, found, reason, .. }) = predecessor {
        tracing::warn!(origin, records = found, reason, "a new log stands in for this one, which is history");
    }
}

/// Where operators log in. Prints the link for the first of them, where there is none and no provider makes one.
fn with_desk(
    console: Console,
    verifier: Option<Arc<Verifier>>,
    config: &Config,
) -> anyhow::Result<(Console, Desk)> {
    let desk = &config.desk;
    // Connections of its own: nobody on the data path waits while somebody at the desk reads.
    let state = Arc::new(State::open(&config.data)?);
    let mut operators = Operators::new(Arc::clone(&state), desk.roles.clone());
    let url = desk.public_url.clone().unwrap_or_else(|| format!("http://{}", console.address));
    if let (Some(login), Some(verifier)) = (&desk.login, verifier) {
        operators = match login {
            OperatorLogin::Issuer(login) => {
                operators.with_login(&verifier, login, &format!("{url}/login/callback"))?
            }
            OperatorLogin::Saml(saml) => {
                operators.with_saml(&verifier, saml, &format!("{url}{}", console::SAML_ROOT))?
            }
        };
    }
    let opened = Desk::new(Arc::new(operators), desk.public_url.clone(), clock::unix_seconds);
    let first = match desk.roles.makes_admins() {
        true => None,
        false => operators::first_link(&state, clock::unix_seconds())?,
    };
    let Some(first) = first else { return Ok((console, opened)) };
    let mut out = std::io::stderr().lock();
    writeln!(out, "no operator yet; the first opens {url}/setup/{} within the hour", first.secret.reveal())?;
    Ok((console, opened))
}

/// The lines that a script waits for; the socket's comes last.
fn announce(console: Option<SocketAddr>, url: Option<String>, socket: Option<&Path>) -> anyhow::Result<()> {
    let mut out = std::io::stderr().lock();
    if let Some(console) = console {
        writeln!(out, "console on http://{console}")?;
    }
    if let Some(url) = url {
        writeln!(out, "listening on {url}")?;
    }
    if let Some(socket) = socket {
        writeln!(out, "listening on {}", socket.display())?;
    }
    Ok(())
}
