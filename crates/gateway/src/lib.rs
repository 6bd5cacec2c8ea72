//! The data path: stands between MCP clients and MCP servers and lets nothing cross that is not in the ledger.
//!
//! * [`Gateway::start`] binds the listeners; [`Bound::serve`] carries messages until told to stop.
//! * `pipeline.rs` is the life of a call in one function; transports (`listen`, `upstream`, `bridge`, `duplex`) bring
//!   frames to it and can send on only what it gives back.
//! * Knows MCP through `mcp`, durability through `recorder`; no SQL, no configuration files, no console.

mod account;
mod asking;
mod bridge;
mod budgets;
mod callers;
mod clock;
mod content;
mod decide;
mod declared;
mod denial;
mod drain;
mod duplex;
mod exchange;
mod holds;
mod intake;
mod journal;
mod judge;
mod listen;
mod messages;
pub mod meter;
mod news;
mod peer;
mod pipeline;
mod refusal;
mod reload;
mod rounds;
mod route;
mod rules;
mod runs;
mod scope;
mod sessions;
pub mod settings;
mod shown;
mod sock_diag;
mod taking;
mod tasks;
mod terms;
pub mod tunnel;
mod upstream;
mod wait;
mod wanted;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use identity::UpstreamGround;
use recorder::{Clerk, Recorder};
use tokio::net::{TcpListener, UnixListener};

use crate::callers::Callers;
use crate::declared::Declared;
pub use crate::holds::HoldSettings;
use crate::holds::Holds;
use crate::journal::Journal;
use crate::listen::Listeners;
use crate::listen::guard::Hosts;
use crate::listen::sse::Streams;
pub use crate::listen::wrap::is_server_name;
use crate::meter::Meters;
use crate::peer::Owners;
use crate::pipeline::Pipeline;
pub use crate::pipeline::Released;
use crate::reload::Present;
pub use crate::reload::{Control, Next};
use crate::rules::Rules;
pub use crate::rules::{RulesError, catalog};
use crate::runs::Runs;
use crate::settings::{Limits, ServerSettings, Settings};
use crate::taking::Places;
use crate::terms::Terms;
pub use crate::upstream::http::{ClientError, HttpUpstream, Unreachable};
use crate::upstream::{Ground, Server};
pub use crate::wanted::{Request, Wanted};

/// How often idle runs are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How often what runs have used is kept: a crash forgets no more than that.
const KEEP: Duration = Duration::from_secs(1);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    pipeline: Arc<Pipeline>,
    servers: BTreeMap<String, Arc<Server>>,
    runs: Arc<Runs>,
    streams: Arc<Streams>,
    declared: Arc<Declared>,
    places: Places,
    owners: Arc<Owners>,
    /// `None`: the operating system says who calls.
    callers: Option<Arc<Callers>>,
    /// What credentials towards servers are made with.
    credentials: UpstreamGround,
    meters: Arc<Meters>,
    stderr_dir: PathBuf,
    hosts: Hosts,
    limits: Limits,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A gateway whose sockets are bound.
#[derive(Debug)]
pub struct Bound {
    present: Arc<Present>,
    listeners: Listeners,
    /// `None`: nobody acts on a state.
    journal: Option<Journal>,
    /// Where the TCP listener is, if there is one: port 0 is resolved.
    pub address: Option<SocketAddr>,
}

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The TCP address cannot be bound.
    #[error("cannot listen on `{address}`; is another gateway running, or the port taken?")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The Unix socket cannot be bound.
    #[error("cannot listen on the socket `{}`", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A server's name cannot stand in addresses.
    #[error("`{0}` cannot name a server: use 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.`")]
    Name(String),
    /// There is nothing to judge by.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// A client for an upstream could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The folder for standard errors cannot be made.
    #[error("cannot make the folder `{}`", path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// A server of the configuration, if it has a name that one may have; nothing is started.
fn prepared(name: &str, settings: ServerSettings, ground: &Ground<'_>) -> Result<Server, StartError> {
    if !listen::wrap::is_server_name(name) {
        return Err(StartError::Name(name.to_owned()));
    }
    Ok(Server::new(name, settings, ground)?)
}

impl Gateway {
    /// Binds the listeners and prepares the servers; nothing is started until the first message.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: Settings, recorder: Recorder, clerk: Clerk) -> Result<Bound, StartError> {
        make_folder(&settings.stderr_dir)?;
        let state = settings.rules.as_ref().map(|rules| Arc::clone(&rules.state));
        let rules = Rules::of(settings.rules, &settings.servers)?;
        let terms = Terms::new(settings.receipts, rules, &settings.servers);
        let meters = Arc::new(Meters::new(settings.servers.keys().map(String::as_str)));
        let places = Places::new(recorder.clone());
        let verifier = settings.callers.as_ref().map(|callers| Arc::clone(&callers.verifier));
        let credentials = UpstreamGround { verifier, vault: settings.vault };
        let ground = Ground {
            credentials: credentials.clone(),
            stderr_dir: &settings.stderr_dir,
            limits: &settings.limits,
            meters: &meters,
            places: &places,
        };
        let mut servers = BTreeMap::new();
        for (name, server) in settings.servers {
            let server = prepared(&name, server, &ground)?;
            servers.insert(name, Arc::new(server));
        }
        let tcp = match settings.listen {
            Some(address) => Some(bind_tcp(address).await?),
            None => None,
        };
        let socket = settings.socket.as_deref().map(bind_socket).transpose()?;
        let address = tcp.as_ref().and_then(|listener| listener.local_addr().ok());
        let callers = settings.callers.map(|callers| Arc::new(Callers::new(callers)));
        let page_base = settings.public_url.or_else(|| Some(own_url(address?, settings.tls.as_ref())));
        let holds = state
            .clone()
            .map(|state| Arc::new(Holds::new(state, settings.holds, (page_base, recorder.origin()))));
        let pipeline = Pipeline::new(recorder.clone(), clerk, terms, (callers.clone(), holds.clone()));
        if let Some(state) = &state {
            pipeline.allowance().restore(state).map_err(RulesError::State)?;
        }
        let journal = state.map(|state| Journal::new(state, recorder.clone(), pipeline.decider()));
        let gateway = Gateway {
            pipeline: Arc::new(pipeline),
            runs: Arc::new(Runs::new(recorder, Arc::clone(&meters), servers.keys())),
            servers,
            places,
            streams: Arc::default(),
            declared: Arc::default(),
            owners: Arc::default(),
            callers,
            credentials,
            meters,
            stderr_dir: settings.stderr_dir,
            hosts: Hosts::new(&settings.allowed_hosts),
            limits: settings.limits,
            tls: settings.tls,
        };
        let present = Arc::new(Present::new(gateway));
        Ok(Bound { present, listeners: Listeners { tcp, socket }, journal, address })
    }

    /// What servers are made with.
    fn ground<'a>(&'a self, limits: &'a Limits) -> Ground<'a> {
        let credentials = self.credentials.clone();
        let (stderr_dir, meters, places) = (&self.stderr_dir, &self.meters, &self.places);
        Ground { stderr_dir, limits, meters, places, credentials }
    }

    /// Resolves when streams without a call in them should end, all of them or those of this server.
    async fn stopping(&self, server: &Server) {
        tokio::select! {
            () = self.runs.stopping() => {}
            () = server.retiring() => {}
        }
    }
}

impl Bound {
    /// Counts, and another configuration while it serves.
    pub fn control(&self) -> Control {
        Control { present: Arc::clone(&self.present) }
    }

    /// Serves until `stop` resolves; then accepts no more, ends streams without a call in them and gives open exchanges
    /// the drain time. What is open after that is closed by the recorder's shutdown.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let sweeping = tokio::spawn(sweep(Arc::clone(&self.present)));
        let callers = self.present.gateway().callers.clone();
        let keeping = callers.map(|callers| tokio::spawn(async move { callers.keep().await }));
        let journal = self.journal.map(|journal| tokio::spawn(journal.keep()));
        let grants = Arc::clone(self.present.gateway().pipeline.grants());
        let following = tokio::spawn(async move { grants.follow().await });
        let holds = self.present.gateway().pipeline.holds().cloned();
        let holding = holds.map(|holds| tokio::spawn(async move { holds.keep().await }));
        let counting = tokio::spawn(keep_allowance(Arc::clone(&self.present)));
        listen::serve(Arc::clone(&self.present), self.listeners, stop).await;
        following.abort();
        counting.abort();
        self.present.gateway().pipeline.keep_allowance().await;
        sweeping.abort();
        for task in keeping.into_iter().chain(journal).chain(holding) {
            task.abort();
        }
    }
}

/// Makes a folder that only this user can look into, if it is not there.
fn make_folder(path: &Path) -> Result<(), StartError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::Folder { path: path.to_owned(), source })
}

/// The address of a listener that has no other.
fn own_url(address: SocketAddr, tls: Option<&Arc<rustls::ServerConfig>>) -> String {
    let scheme = if tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
}

/// Binds a Unix socket that only this user can reach. The recorder's lock on the data folder is held, so a socket file
/// that is there is a dead gateway's.
fn bind_socket(path: &Path) -> Result<UnixListener, StartError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |source| StartError::Socket { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Keeps what runs have used of their limits, behind the calls.
async fn keep_allowance(present: Arc<Present>) {
    loop {
        tokio::time::sleep(KEEP).await;
        present.gateway().pipeline.keep_allowance().await;
    }
}

/// Ends runs that have been idle for long, and drops tokens of callers that no longer stand.
async fn sweep(present: Arc<Present>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let gateway = present.gateway();
        gateway.servers.values().for_each(|server| server.forget());
        for session in gateway.runs.take_idle(gateway.limits.idle) {
            gateway.close_run(&session.scope, "idle").await;
        }
    }
}
