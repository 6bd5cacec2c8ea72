//! Reaching the gateway: over its Unix socket, starting one where none answers, or at an address.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use bytes::Bytes;
use gateway::tunnel::PROTOCOL;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use identity::Secret;
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
    upgrade(stream, Asked { host: "localhost", server, token: None }).await
}

/// A tunnel to a gateway at an address, for whom a token names if the gateway asks for one.
pub(crate) async fn dial(
    url: &str,
    server: &str,
    token: Option<&Secret>,
) -> anyhow::Result<TokioIo<Upgraded>> {
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
    let asked = Asked { host: authority, server, token };
    if !secure {
        ensure!(
            token.is_none() || is_private(stream.peer_addr()?.ip()),
            "a token is shown over https only, or over http on loopback; `{url}` is neither"
        );
        return upgrade(stream, asked).await;
    }
    let name =
        rustls::pki_types::ServerName::try_from(bare.to_owned()).context("the host's name is not valid")?;
    let connector = tokio_rustls::TlsConnector::from(crate::tls::client()?);
    let stream = connector.connect(name, stream).await.with_context(|| format!("no TLS with `{url}`"))?;
    upgrade(stream, asked).await
}

/// Whether nobody on the way can read what goes there in plain text.
fn is_private(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
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

/// What a gateway is asked for, at the end of a connection.
struct Asked<'a> {
    host: &'a str,
    server: &'a str,
    token: Option<&'a Secret>,
}

async fn upgrade<S>(stream: S, asked: Asked<'_>) -> anyhow::Result<TokioIo<Upgraded>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = asked.server;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut request = Request::get(format!("/wrap/{server}"))
        .header(header::HOST, asked.host)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Empty::<Bytes>::new())
        .with_context(|| format!("`{server}` cannot name a server"))?;
    if let Some(token) = asked.token {
        request.headers_mut().insert(header::AUTHORIZATION, bearer(token)?);
    }
    let response = sender.send_request(request).await.context("the gateway does not answer")?;
    match (response.status(), asked.token) {
        (StatusCode::SWITCHING_PROTOCOLS, _) => {
            Ok(TokioIo::new(hyper::upgrade::on(response).await.context("the gateway does not answer")?))
        }
        (StatusCode::UNAUTHORIZED, None) => bail!("the gateway wants to know who calls: {SHOW_TOKEN}"),
        (StatusCode::UNAUTHORIZED, Some(_)) => {
            bail!("the gateway does not accept the token ({}): {SHOW_TOKEN}", said(response).await)
        }
        _ => bail!("the gateway refuses a server named `{server}`: {}", said(response).await),
    }
}

/// What to do at a gateway that asks who calls.
const SHOW_TOKEN: &str = "put a service key (`tollbook keys create`) or a run token into a file and name it with \
                          `--token-file`, or set `TOLLBOOK_TOKEN`";

fn bearer(token: &Secret) -> anyhow::Result<HeaderValue> {
    let text = token.reveal();
    let is_sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    ensure!(is_sound, "the token is none: it is one line of letters, digits and signs, without spaces");
    // The reason would be of no use, and no part of a token is for an error.
    let mut value =
        HeaderValue::try_from(format!("Bearer {text}")).map_err(|_| anyhow!("the token is none"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What the gateway says of a refusal, in one line.
async fn said(response: Response<Incoming>) -> String {
    let status = response.status();
    let body = Limited::new(response.into_body(), SAID_BYTES).collect().await;
    let text =
        body.ok().and_then(|body| String::from_utf8(body.to_bytes().to_vec()).ok()).unwrap_or_default();
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() && !line.contains(char::is_control) => line.to_owned(),
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use identity::Secret;

    use super::{bearer, is_private};

    #[test]
    fn a_token_goes_where_nobody_reads_it_on_the_way() {
        for (address, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn what_is_no_token_is_not_shown() {
        assert_eq!(bearer(&Secret::new("tbk_a_b")).unwrap(), "Bearer tbk_a_b");
        for text in ["", "canary\ncanary", "canary canary", "canäry"] {
            let error = bearer(&Secret::new(text)).unwrap_err().to_string();
            assert!(error.contains("the token is none") && !error.contains("can"), "{error}");
        }
    }

    #[test]
    fn who_came_second_is_known_by_its_words() {
        let said = recorder::StartError::InUse { path: "/data".into() }.to_string();
        assert!(said.contains(super::IN_USE), "{said}");
    }
}
