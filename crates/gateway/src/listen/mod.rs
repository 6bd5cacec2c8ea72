//! The downstream side: accepts connections, checks what can be checked before a body is read, finds the endpoint.

pub(crate) mod body;
pub(crate) mod guard;
pub(crate) mod login;
pub(crate) mod page;
pub(crate) mod reply;
pub(crate) mod sse;
pub(crate) mod status;
pub(crate) mod streamable;
pub(crate) mod visits;
pub(crate) mod wrap;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::OnceCell;
use tokio_rustls::TlsAcceptor;

use crate::Gateway;
use crate::callers::{self, Callers, Served};
use crate::listen::reply::Body;
use crate::peer::{Owners, Peer, Verified};
use crate::refusal::Reason;
use crate::reload::Present;
use crate::scope::NO_SERVER;
use crate::upstream::Link;

/// A TLS handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Beyond the drain time: for the servers behind tunnels to end, and for that to be recorded.
const TUNNELS_END: Duration = Duration::from_secs(5);

/// One downstream connection.
#[derive(Debug)]
pub(crate) struct Connection {
    origin: Origin,
    /// Looked up at the first request that needs it: it costs a look into `/proc`.
    peer: OnceCell<Arc<Peer>>,
}

/// Where a connection came in.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Tcp { local: SocketAddr, remote: SocketAddr },
    Socket,
}

impl Connection {
    fn tcp(local: SocketAddr, remote: SocketAddr) -> Connection {
        Connection { origin: Origin::Tcp { local, remote }, peer: OnceCell::new() }
    }

    fn socket(peer: Peer) -> Connection {
        Connection { origin: Origin::Socket, peer: OnceCell::new_with(Some(Arc::new(peer))) }
    }

    /// The same connection, for one request whose sender was verified.
    async fn verified(&self, gateway: &Gateway, verified: Verified) -> Arc<Connection> {
        let peer = self.peer(&gateway.owners).await.verified(verified);
        Arc::new(Connection { origin: self.origin, peer: OnceCell::new_with(Some(Arc::new(peer))) })
    }

    /// From where it came, if over TCP.
    fn address(&self) -> Option<IpAddr> {
        match self.origin {
            Origin::Tcp { remote, .. } => Some(remote.ip()),
            Origin::Socket => None,
        }
    }

    /// Who is at the other end.
    pub(crate) async fn peer(&self, owners: &Arc<Owners>) -> Arc<Peer> {
        let look_up = || async {
            let Origin::Tcp { local, remote } = self.origin else { return Arc::new(Peer::unknown()) };
            let owners = Arc::clone(owners);
            let look = move || Peer::of_connection(local, remote, &owners);
            let found = tokio::task::spawn_blocking(look).await;
            Arc::new(found.unwrap_or_else(|_| Peer::unknown()))
        };
        Arc::clone(self.peer.get_or_init(look_up).await)
    }
}

/// Accepts until `stop` resolves, then lets open exchanges end for the drain time.
pub(crate) async fn serve(present: Arc<Present>, listeners: Listeners, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listeners.accept() => match accepted {
                Ok(stream) => attend(&present, stream, graceful.watcher()),
                // Out of descriptors, or the client left between the handshake and here: the next one may do.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
        }
    }
    drop(listeners);
    let gateway = present.gateway();
    gateway.runs.close_streams();
    tracing::info!("no new calls; open ones get the drain time");
    let exchanges = async {
        graceful.shutdown().await;
        // Who asked for a task may have gone while its call is made, and the last one who asks may begin it.
        gateway.pipeline.tasks_over().await;
    };
    let exchanges = tokio::time::timeout(gateway.limits.drain, exchanges);
    // Tunnels end by themselves when the time is over, and then say why.
    let tunnels = tokio::time::timeout(gateway.limits.drain + TUNNELS_END, gateway.runs.tunnels_closed());
    let (exchanges, tunnels) = tokio::join!(exchanges, tunnels);
    if exchanges.is_err() || tunnels.is_err() {
        tracing::warn!("exchanges were still open when the drain time ended");
    }
}

/// The bound sockets.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) tcp: Option<TcpListener>,
    pub(crate) socket: Option<UnixListener>,
}

enum Accepted {
    Tcp(tokio::net::TcpStream, SocketAddr),
    Socket(tokio::net::UnixStream),
}

impl Listeners {
    async fn accept(&self) -> io::Result<Accepted> {
        let tcp = async {
            match &self.tcp {
                Some(listener) => {
                    listener.accept().await.map(|(stream, remote)| Accepted::Tcp(stream, remote))
                }
                None => std::future::pending().await,
            }
        };
        let socket = async {
            match &self.socket {
                Some(listener) => listener.accept().await.map(|(stream, _)| Accepted::Socket(stream)),
                None => std::future::pending().await,
            }
        };
        tokio::select! { accepted = tcp => accepted, accepted = socket => accepted }
    }
}

fn attend(present: &Arc<Present>, accepted: Accepted, watcher: Watcher) {
    let present = Arc::clone(present);
    tokio::spawn(async move {
        match accepted {
            Accepted::Socket(stream) => match stream.peer_cred() {
                Ok(credentials) => {
                    let connection = Connection::socket(Peer::of_socket(&credentials));
                    speak_http(present, stream, connection, watcher).await;
                }
                Err(error) => tracing::warn!(%error, "a socket without credentials was closed"),
            },
            Accepted::Tcp(stream, remote) => {
                // Latency matters more than packet count: messages are small and waited for.
                let _ = stream.set_nodelay(true);
                let Ok(local) = stream.local_addr() else { return };
                let connection = Connection::tcp(local, remote);
                let Some(tls) = present.gateway().tls.clone() else {
                    return speak_http(present, stream, connection, watcher).await;
                };
                match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(stream)).await {
                    Ok(Ok(stream)) => speak_http(present, stream, connection, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            }
        }
    });
}

async fn speak_http<S>(present: Arc<Present>, stream: S, connection: Connection, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = present.gateway().limits.clone();
    let connection = Arc::new(connection);
    let service = service_fn(move |request| {
        let gateway = present.gateway();
        let connection = Arc::clone(&connection);
        async move { Ok::<_, Infallible>(route(&gateway, &connection, request).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_wait)
        .max_buf_size(limits.header_bytes.max(8 << 10))
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(256);
    let serving = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(serving).await {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

/// Names what was asked for and nothing that is there.
fn unknown_server(name: &str) -> String {
    let named = if wrap::is_server_name(name) { format!(" `{name}`") } else { " of that name".to_owned() };
    format!("no server{named} is configured; `tollbook doctor` looks at `tollbook.toml`")
}

/// The server whose endpoint a path is.
fn server_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/mcp/").or_else(|| path.strip_prefix("/wrap/"))?;
    let server = rest.split('/').next().unwrap_or_default();
    wrap::is_server_name(server).then_some(server)
}

/// Lets a request in whose credential says who makes it. Who is refused is told how to be let in, and recorded if the server
/// exists, or counted alone where others were too often.
async fn admit(
    gateway: &Arc<Gateway>,
    callers: &Callers,
    connection: &Arc<Connection>,
    (server, request): (&str, &Request<Incoming>),
) -> Result<Arc<Connection>, Box<Response<Body>>> {
    match callers.identify(server, request).await {
        Ok(caller) => Ok(connection.verified(gateway, callers.verified(caller)).await),
        Err(refused) => {
            match gateway.servers.get(server).filter(|_| callers.may_record()) {
                Some(server) => {
                    let peer = connection.peer(&gateway.owners).await;
                    gateway.refuse_caller(&server.name, &peer, &refused).await;
                }
                None => gateway.meters.of(server).refuse(&Reason::Caller(refused.clone())),
            }
            // Whatever strangers do, clients learn here that they are to log in, or to renew a token.
            Err(Box::new(callers.challenge(server, &refused)))
        }
    }
}

/// Records that what a login brought was refused, under the server that it was for, as far as that is known.
async fn record_login(
    gateway: &Arc<Gateway>,
    callers: &Callers,
    connection: &Arc<Connection>,
    (server, refused): (&str, &identity::Refused),
) {
    let server =
        gateway.servers.get(server).map_or_else(|| NO_SERVER.into(), |server| Arc::clone(&server.name));
    if !callers.may_record() {
        gateway.meters.of(&server).refuse(&Reason::Caller(refused.clone()));
        return;
    }
    let peer = connection.peer(&gateway.owners).await;
    gateway.refuse_caller(&server, &peer, refused).await;
}

/// Whether a request may come from where it says: a SAML provider's page sends its form from another site, and what that
/// brings proves itself.
fn may_come(gateway: &Gateway, request: &Request<Incoming>) -> Result<(), guard::Intrusion> {
    if request.uri().path() == callers::ASSERTIONS {
        return gateway.hosts.check_hosts(request.uri(), request.headers());
    }
    gateway.hosts.check(request.uri(), request.headers())
}

/// From path and method to the endpoint.
async fn route(
    gateway: &Arc<Gateway>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if let Origin::Tcp { .. } = connection.origin
        && let Err(intrusion) = may_come(gateway, &request)
    {
        return reply::text(StatusCode::FORBIDDEN, &intrusion.to_string());
    }
    let mut request = request;
    let mut connection = Arc::clone(connection);
    if let (Some(callers), Origin::Tcp { .. }) = (&gateway.callers, connection.origin) {
        request = match callers.serve(request, connection.address(), &gateway.limits).await {
            Served::Answer(response) => return response,
            Served::Refused(response, refused, server) => {
                record_login(gateway, callers, &connection, (&server, &refused)).await;
                return response;
            }
            Served::Not(request) => request,
        };
        if let Some(server) = server_of(&path) {
            connection = match admit(gateway, callers, &connection, (server, &request)).await {
                Ok(connection) => connection,
                Err(response) => return *response,
            };
        }
    }
    let connection = &connection;
    let mut segments = path.split('/').skip(1);
    match (segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some("healthz"), None, ..) => reply::text(StatusCode::OK, "ok"),
        (Some("approvals"), Some(hold), None, _) => {
            let holds = gateway.pipeline.holds().map(AsRef::as_ref);
            status::serve(holds, hold, (request.method(), connection.address())).await
        }
        (Some("wrap"), Some(name), None, _) => wrap::accept(gateway, connection, name, request).await,
        (Some("mcp"), Some(name), endpoint, None) => {
            let Some(server) = gateway.servers.get(name) else {
                return reply::text(StatusCode::NOT_FOUND, &unknown_server(name));
            };
            match (endpoint, &server.link, request.method()) {
                (None, _, _) => streamable::serve(gateway, server, connection, request).await,
                (Some("sse" | "messages"), Link::Http(_), _) => reply::text(
                    StatusCode::NOT_FOUND,
                    "this server speaks Streamable HTTP: use its address without `/sse`",
                ),
                (Some("sse"), _, &Method::GET) => sse::open(gateway, server, connection).await,
                (Some("messages"), _, &Method::POST) => sse::post(gateway, connection, request).await,
                (Some("sse" | "messages"), ..) => reply::empty(StatusCode::METHOD_NOT_ALLOWED),
                _ => reply::text(StatusCode::NOT_FOUND, "no such endpoint"),
            }
        }
        _ => reply::text(StatusCode::NOT_FOUND, "no such endpoint; servers are at /mcp/NAME"),
    }
}
