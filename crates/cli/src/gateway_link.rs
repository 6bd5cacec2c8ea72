//! Reaching the gateway: over its Unix socket, starting one where none answers, or at an address.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use gateway::tunnel::PROTOCOL;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

/// Time for a gateway that was just started to answer: recovery of a long log included.
const START_WAIT: Duration = Duration::from_secs(30);

/// Between two looks at the socket of a gateway that is starting.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A gateway's words are shorter.
const SAID_BYTES: usize = 4 << 10;

/// A tunnel through the data folder's socket; a gateway is started when none answers.
pub(crate) async fn at_socket(data: &Path, server: &str) -> anyhow::Result<TokioIo<Upgraded>> {
    let socket = crate::serve::socket_path(data);
    let stream = match UnixStream::connect(&socket).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            let started = start_gateway(data)?;
            wait_for(&socket, data, started).await?
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot reach the gateway at `{}`", socket.display()));
        }
    };
    upgrade(stream, "localhost", server).await
}

/// A tunnel to a gateway at an address.
pub(crate) async fn dial(url: &str, server: &str) -> anyhow::Result<TokioIo<Upgraded>> {
    let uri: http::Uri = url.parse().with_context(|| format!("`{url}` is no address"))?;
    let host = uri.host().with_context(|| format!("`{url}` names no host"))?;
    let authority = uri.authority().map_or(host, http::uri::Authority::as_str);
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => bail!("`{url}` begins neither with http:// nor with https://"),
    };
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.with_context(|| format!("cannot reach `{url}`"))?;
    stream.set_nodelay(true)?;
    if !secure {
        return upgrade(stream, authority, server).await;
    }
    let name =
        rustls::pki_types::ServerName::try_from(bare.to_owned()).context("the host's name is not valid")?;
    let connector = tokio_rustls::TlsConnector::from(crate::tls::client()?);
    let stream = connector.connect(name, stream).await.with_context(|| format!("no TLS with `{url}`"))?;
    upgrade(stream, authority, server).await
}

/// Starts a gateway of the user's own in the background. Of several that start at once, the data folder's lock lets one
/// live.
fn start_gateway(data: &Path) -> anyhow::Result<Started> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    use std::os::unix::process::CommandExt as _;
    let program = std::env::current_exe().context("cannot find this program")?;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.with_context(|| format!("cannot make `{}`", data.display()))?;
    let log = log_path(data);
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log)
        .with_context(|| format!("cannot write `{}`", log.display()))?;
    let logged = log.metadata()?.len();
    let process = std::process::Command::new(program)
        .args(["serve", "--socket-only", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .current_dir("/")
        .spawn()
        .context("cannot start a gateway")?;
    Ok(Started { process, logged })
}

/// What a gateway says that finds another one on its data folder.
const IN_USE: &str = "in use by another gateway";

/// A gateway that was started and need not come up.
struct Started {
    process: std::process::Child,
    /// Length of the log before.
    logged: u64,
}

impl Started {
    /// Why it has ended, if it has by itself. Where another one was first, that one will answer.
    fn failed(&mut self, data: &Path) -> Option<String> {
        let status = self.process.try_wait().ok()??;
        let log = std::fs::read(log_path(data)).unwrap_or_default();
        let own = log.get(usize::try_from(self.logged).ok()?..).unwrap_or_default();
        let own = String::from_utf8_lossy(own);
        let said = own.lines().rev().find_map(|line| line.strip_prefix("tollbook: "));
        match said {
            Some(said) if said.contains(IN_USE) => None,
            Some(said) => Some(said.to_owned()),
            None => Some(format!("it ended with {status}")),
        }
    }
}

fn log_path(data: &Path) -> std::path::PathBuf {
    data.join("serve.log")
}

async fn wait_for(socket: &Path, data: &Path, mut started: Started) -> anyhow::Result<UnixStream> {
    let deadline = Instant::now() + START_WAIT;
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < deadline => {
                if let Some(why) = started.failed(data) {
                    bail!("no gateway can be started: {why}");
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "the gateway that was started does not answer; see `{}`",
                        log_path(data).display()
                    )
                });
            }
        }
    }
}

async fn upgrade<S>(stream: S, host: &str, server: &str) -> anyhow::Result<TokioIo<Upgraded>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(format!("/wrap/{server}"))
        .header(header::HOST, host)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Empty::<Bytes>::new())
        .with_context(|| format!("`{server}` cannot name a server"))?;
    let response = sender.send_request(request).await.context("the gateway does not answer")?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        bail!("the gateway refuses a server named `{server}`: {}", said(response).await);
    }
    Ok(TokioIo::new(hyper::upgrade::on(response).await.context("the gateway does not answer")?))
}

/// What the gateway says of a refusal, in one line.
async fn said(response: Response<Incoming>) -> String {
    let status = response.status();
    let body = Limited::new(response.into_body(), SAID_BYTES).collect().await;
    let text = body.ok().and_then(|body| String::from_utf8(body.to_bytes().to_vec()).ok()).unwrap_or_default();
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() && !line.contains(char::is_control) => line.to_owned(),
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn who_came_second_is_known_by_its_words() {
        let said = recorder::StartError::InUse { path: "/data".into() }.to_string();
        assert!(said.contains(super::IN_USE), "{said}");
    }
}
