//! `tollbook serve`: the gateway with its ledger and its index, until a signal ends it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use gateway::Gateway;
use gateway::settings::Settings;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{self, Config};
use crate::environment::Environment;
use crate::follow::Follower;

/// Longest path that a Unix socket may have on Linux, less one for the closing zero.
const SOCKET_PATH: usize = 107;

/// Run the gateway.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file; without it `$TOLLBOOK_CONFIG`, else `tollbook.toml` in the user's configuration folder.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, instead of the one configured.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Listen on the data folder's socket alone, for `wrap`.
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
    let ledger = recorder::Settings {
        config: Some(config.digest),
        limits: config.ledger.clone(),
        ..recorder::Settings::at(&config.data)
    };
    let started = recorder::start(ledger).context("the ledger cannot be opened")?;
    tell_recovery(&started.recovered);
    let follower = Follower::start(&config.data, &started.recorder)?;
    let settings = settings(&config, args.socket_only)?;
    let socket = settings.socket.clone();
    let bound = Gateway::start(settings, started.recorder, started.clerk).await?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    announce(bound.address.map(|address| format!("{scheme}://{address}")), socket.as_deref())?;
    bound.serve(stop).await;
    tracing::info!("draining is over; closing the ledger");
    if let Some(socket) = socket {
        // It may have been removed by hand.
        let _ = std::fs::remove_file(socket);
    }
    tokio::task::spawn_blocking(move || started.shutdown.finish())
        .await?
        .context("the ledger did not close")?;
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
            listen.ip().is_loopback(),
            "`--listen` beyond loopback needs authentication; use 127.0.0.1"
        );
        config.listen = listen;
    }
    Ok(config)
}

fn settings(config: &Config, socket_only: bool) -> anyhow::Result<Settings> {
    let socket = socket_path(&config.data);
    let fits = socket.as_os_str().len() <= SOCKET_PATH;
    if !fits {
        anyhow::ensure!(
            !socket_only,
            "`{}` is too long for a socket's path; use a shorter `--data`",
            socket.display()
        );
        tracing::warn!("the data folder's path is too long for a socket; `wrap` needs `--gateway`");
    }
    Ok(Settings {
        listen: (!socket_only).then_some(config.listen),
        socket: fits.then_some(socket),
        tls: config.tls.as_ref().map(crate::tls::server).transpose()?,
        allowed_hosts: config.allowed_hosts.clone(),
        servers: config.servers.clone(),
        stderr_dir: config.data.join("stderr"),
        receipts: config.receipts,
        limits: config.limits.clone(),
    })
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
    tracing::info!(?recovered, "ledger open");
}

/// The lines that a script waits for.
fn announce(url: Option<String>, socket: Option<&Path>) -> anyhow::Result<()> {
    let mut out = std::io::stderr().lock();
    if let Some(url) = url {
        writeln!(out, "listening on {url}")?;
    }
    if let Some(socket) = socket {
        writeln!(out, "listening on {}", socket.display())?;
    }
    Ok(())
}
