//! Whether the servers of `tollbook.toml` are there: commands found, addresses reachable. All are asked at once.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use gateway::settings::{ServerSettings, StdioServer};
use http::Uri;

use super::{Finding, Patient};

const CHECK: &str = "servers";

/// Patience with all addresses together.
const WAIT: Duration = Duration::from_secs(3);

/// One finding per server.
pub(super) fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let Some(config) = &patient.config else { return Vec::new() };
    let deadline = Instant::now() + WAIT;
    let asked: Vec<_> = config.servers.iter().map(|(name, server)| (name, server, asking(server))).collect();
    asked
        .into_iter()
        .map(|(name, server, answer)| match (server, answer) {
            (ServerSettings::Stdio(server), _) => program(patient, name, server),
            (ServerSettings::Http(server) | ServerSettings::Sse(server), Some(answer)) => {
                address(name, &server.url, &answer, deadline)
            }
            (_, None) => Finding::wrong(CHECK, format!("`{name}` cannot be asked"), "try again"),
        })
        .collect()
}

/// Connects in a thread: looking up a name cannot be given up.
fn asking(server: &ServerSettings) -> Option<Receiver<Result<(), String>>> {
    let (ServerSettings::Http(server) | ServerSettings::Sse(server)) = server else { return None };
    let url = server.url.clone();
    // Room for the one answer: the thread never waits.
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new()
        .spawn(move || {
            // Nobody may be waiting any more.
            let _ = sender.send(connect(&url));
        })
        .ok()?;
    Some(receiver)
}

fn connect(url: &Uri) -> Result<(), String> {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let port = url.port_u16().unwrap_or(default);
    let mut last = "it has no address".to_owned();
    for address in (host, port).to_socket_addrs().map_err(|error| error.to_string())? {
        match TcpStream::connect_timeout(&address, WAIT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

fn address(name: &str, url: &Uri, answer: &Receiver<Result<(), String>>, deadline: Instant) -> Finding {
    let host = url.authority().map(http::uri::Authority::host).unwrap_or_default();
    let left = deadline.saturating_duration_since(Instant::now());
    match answer.recv_timeout(left) {
        Ok(Ok(())) => Finding::ok(CHECK, format!("`{name}`: {host} can be reached")),
        Ok(Err(error)) => {
            let remedy = format!("see whether the server runs, and `url` of `[servers.{name}]`");
            Finding::wrong(CHECK, format!("`{name}`: {host} cannot be reached: {error}"), remedy)
        }
        Err(_) => {
            let text = format!("`{name}`: {host} does not answer within {} s", WAIT.as_secs());
            Finding::wrong(CHECK, text, "see whether a firewall or proxy stands between")
        }
    }
}

fn program(patient: &Patient<'_>, name: &str, server: &StdioServer) -> Finding {
    let command = server.command.first().map(String::as_str).unwrap_or_default();
    let path = match &server.cwd {
        Some(cwd) if command.contains('/') => cwd.join(command).display().to_string(),
        _ => command.to_owned(),
    };
    match patient.environment.find_program(&path) {
        Some(found) => Finding::ok(CHECK, format!("`{name}`: `{}`", found.display())),
        None => {
            let remedy = format!("install it, or give its path in `[servers.{name}]`");
            Finding::wrong(CHECK, format!("`{name}`: there is no program `{command}`"), remedy)
        }
    }
}
