//! What the gateway is told at start, already checked: `cli` reads files, flags and secrets and hands over this.
//!
//! Nothing here is optional by accident: a missing listener is `None` on purpose, and each limit has a default
//! that refuses rather than grows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::rules::{Pinning, RuleSettings};

/// Where the gateway listens, which servers it stands before, and how much it takes.
#[derive(Debug, Default)]
pub struct Settings {
    /// TCP listener. `None`: only the Unix socket is served.
    pub listen: Option<SocketAddr>,
    /// Unix socket for `wrap`, mode 0600. `None`: no socket.
    pub socket: Option<PathBuf>,
    /// TLS for the TCP listener. `None`: plain HTTP, which `cli` allows on loopback only.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The address under which others reach the TCP listener, without a slash at its end. `None`: that of the listener.
    pub public_url: Option<String>,
    /// Host names, beyond the loopback ones, that a request may name in `Host` and `Origin`.
    pub allowed_hosts: Vec<String>,
    /// Servers by the name that stands in `/mcp/NAME`.
    pub servers: BTreeMap<String, ServerSettings>,
    /// Folder for the standard error of stdio servers.
    pub stderr_dir: PathBuf,
    /// Whether results and upstream requests carry a receipt in `_meta`.
    pub receipts: Receipts,
    /// Who may call. `None`: whoever this machine's system names, on loopback and sockets alone. A reload passes it over.
    pub callers: Option<CallerSettings>,
    /// Where connections to servers are kept. `None`: nowhere.
    pub vault: Option<Arc<identity::Vault>>,
    /// What calls are judged by. `None`: nothing is judged, and no tool is pinned.
    pub rules: Option<RuleSettings>,
    /// How calls wait for people. A reload passes it over.
    pub holds: crate::HoldSettings,
    /// Sizes and waits.
    pub limits: Limits,
}

/// How callers are identified.
#[derive(Debug)]
pub struct CallerSettings {
    /// Says who presents a credential.
    pub verifier: Arc<identity::Verifier>,
    /// Logs people in; `None`: clients get their tokens elsewhere.
    pub logins: Option<Arc<identity::Logins>>,
    /// What it was made of: what clients are told.
    pub identity: identity::Settings,
}

/// Whether receipts (call id, origin, index, leaf hash) are put into `_meta`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Receipts {
    /// Messages cross byte for byte.
    #[default]
    Off,
    /// Results carry the outcome's receipt, upstream requests the intent's.
    InMeta,
}

/// How one server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSettings {
    /// Streamable HTTP at a URL, either era.
    Http(HttpServer),
    /// HTTP+SSE of 2024-11-05: the URL of the event stream.
    Sse(HttpServer),
    /// A child process that speaks MCP on its standard streams.
    Stdio(StdioServer),
}

impl ServerSettings {
    /// What the server is shown besides fixed headers, as the record calls it.
    pub(crate) fn credential(&self) -> Option<&'static str> {
        match self {
            ServerSettings::Http(server) | ServerSettings::Sse(server) => {
                server.credentials.as_ref().map(identity::UpstreamSettings::kind)
            }
            ServerSettings::Stdio(_) => None,
        }
    }
}

/// An upstream that is reached over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpServer {
    /// `http` or `https` URL.
    pub url: http::Uri,
    /// Headers that the gateway adds, credentials among them; marked sensitive by `cli`.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Credentials that may change while the gateway runs. `None`: there are no others than the headers.
    pub credentials: Option<identity::UpstreamSettings>,
    /// HTTP version towards the upstream.
    pub version: HttpVersion,
}

/// HTTP version towards an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, or HTTP/2 where TLS negotiates it.
    #[default]
    Negotiated,
    /// HTTP/2 without negotiation (prior knowledge), also without TLS.
    Http2Only,
}

/// An upstream that the gateway starts itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StdioServer {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment: nothing of the gateway's own is inherited, since it may hold secrets.
    pub env: BTreeMap<String, String>,
    /// Working directory; `None`: the gateway's own.
    pub cwd: Option<PathBuf>,
    /// Another user to run as; needs root.
    pub user: Option<UserIds>,
}

/// Numeric ids of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserIds {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

/// Sizes in bytes and waits, all of them upper bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body and largest single message from a client.
    pub request_bytes: usize,
    /// Largest single message from a server (a JSON body, an SSE event, a line).
    pub message_bytes: usize,
    /// Largest total of request headers.
    pub header_bytes: usize,
    /// Time for a client to send its request headers and body.
    pub request_wait: Duration,
    /// Time for an upstream to accept a connection.
    pub connect_wait: Duration,
    /// Time for an upstream to answer with response headers.
    pub answer_wait: Duration,
    /// Longest silence inside an upstream's stream.
    pub silence: Duration,
    /// Longest a session or a run of a client process may be idle.
    pub idle: Duration,
    /// Time for open exchanges to end at shutdown.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_bytes: 16 << 20,
            message_bytes: 128 << 20,
            header_bytes: 64 << 10,
            request_wait: Duration::from_secs(60),
            connect_wait: Duration::from_secs(10),
            answer_wait: Duration::from_secs(15 * 60),
            silence: Duration::from_secs(60 * 60),
            idle: Duration::from_secs(30 * 60),
            drain: Duration::from_secs(10),
        }
    }
}
