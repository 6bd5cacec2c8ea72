//! `tollbook servers connect`: an operator lets the gateway into a server that wants a person's consent.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use gateway::settings::ServerSettings;
use identity::{ConnectError, ConnectionSettings, Connector, Journey, TokenSource, Vault};
use store::state::State;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{self, Config};
use crate::environment::Environment;
use crate::{clock, credentials};

/// How long the browser may be away.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long it may take to say what it brings, and how much that may be.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
const REQUEST_BYTES: usize = 32 * 1024;

/// Servers of the configuration.
#[derive(Debug, Args)]
pub(crate) struct ServersArgs {
    #[command(subcommand)]
    command: ServersCommand,
}

#[derive(Debug, Subcommand)]
enum ServersCommand {
    /// Let the gateway into a server with `kind = "authorization_code"`: prints an address for a browser on this machine, and
    /// waits until it comes back. A running gateway uses the connection from the next call on.
    Connect {
        /// The server's name in the configuration.
        name: String,
        /// Port on loopback that the browser comes back to; any free one if not given.
        #[arg(long)]
        port: Option<u16>,
        /// Configuration file, as for `serve`.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Does what is asked.
pub(crate) async fn run(args: &ServersArgs, environment: &Environment) -> anyhow::Result<u8> {
    let ServersCommand::Connect { name, port, config } = &args.command;
    let path = config.as_ref().map(|path| environment.resolve(path)).or_else(|| environment.config.clone());
    let mut config = config::read(path.as_deref(), environment)?;
    if environment.is_data_given {
        config.data.clone_from(&environment.data);
    }
    let settings = settings(&config, name)?;
    let state = Arc::new(State::open(&config.data)?.acting(&credentials::who(), clock::unix_seconds()));
    let connector = Connector::new(settings, Arc::new(Vault::open(&config.data, state)?))?;
    let listener = TcpListener::bind(("127.0.0.1", port.unwrap_or(0))).await;
    let listener = listener.context("cannot listen for the browser; is the port taken?")?;
    let redirect = format!("http://127.0.0.1:{}/callback", listener.local_addr()?.port());
    let journey = connector.begin(&redirect).await?;
    let told =
        format!("let Tollbook into `{name}` at {}; open in a browser:\n{}", journey.issuer(), journey.url);
    writeln!(std::io::stdout().lock(), "{told}")?;
    let coming = come_back(&connector, &journey, &listener);
    let done = tokio::time::timeout(PATIENCE, coming).await;
    done.context("nobody came back from the browser within ten minutes; try again")??;
    writeln!(std::io::stdout().lock(), "`{name}` is connected")?;
    Ok(0)
}

fn settings(config: &Config, name: &str) -> anyhow::Result<ConnectionSettings> {
    let Some(server) = config.servers.get(name) else {
        bail!("there is no server `{name}` in the configuration");
    };
    let (ServerSettings::Http(server) | ServerSettings::Sse(server)) = server else {
        bail!("`{name}` is started by the gateway; there is nothing to connect");
    };
    match server.credentials.as_ref().and_then(|credentials| credentials.token.clone()) {
        Some(TokenSource::Connected(settings)) => Ok(settings),
        _ => bail!("`{name}` has no `[servers.{name}.credentials]` with `kind = \"authorization_code\"`"),
    }
}

/// Serves the browser until it brings the answer to this journey. Whatever else comes is turned away: any page may send a
/// browser here.
async fn come_back(connector: &Connector, journey: &Journey, listener: &TcpListener) -> anyhow::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let Some(query) = query_of(&mut stream).await else {
            answer(&mut stream, "404 Not Found", "nothing is here").await;
            continue;
        };
        match connector.finish(journey, &query, clock::unix_seconds()).await {
            Ok(()) => {
                answer(&mut stream, "200 OK", "Tollbook is connected. You can close this page.").await;
                return Ok(());
            }
            Err(error @ ConnectError::State) => {
                answer(&mut stream, "400 Bad Request", &error.to_string()).await;
            }
            Err(error) => {
                answer(&mut stream, "400 Bad Request", &error.to_string()).await;
                return Err(error.into());
            }
        }
    }
}

/// The query of a request for the place that the browser was to come back to.
async fn query_of(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let reading = async {
        while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < REQUEST_BYTES {
            if stream.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        Some(())
    };
    tokio::time::timeout(REQUEST_WAIT, reading).await.ok()??;
    let line = head.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line).ok()?.strip_prefix("GET /callback?")?;
    target.split(' ').next().map(str::to_owned)
}

async fn answer(stream: &mut TcpStream, status: &str, text: &str) {
    let head = "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store";
    let length = text.len();
    let whole =
        format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
    // The browser may have gone.
    let _ = stream.write_all(whole.as_bytes()).await;
}
