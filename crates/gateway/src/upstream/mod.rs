//! The upstream side: how each configured server is reached.

pub(crate) mod answer;
pub(crate) mod http;
pub(crate) mod sse;
pub(crate) mod stdio;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::duplex::End;
use crate::meter::{Meters, ServerMeter};
use crate::pipeline::Released;
use crate::settings::{Limits, ServerSettings};
use crate::taking::Places;
use crate::upstream::http::{ClientError, HttpUpstream};
use crate::upstream::sse::ConnectError;
use crate::upstream::stdio::{SpawnError, Spawner};

/// A configured server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: Arc<str>,
    pub(crate) link: Link,
    pub(crate) meter: Arc<ServerMeter>,
    settings: ServerSettings,
    limits: Limits,
    /// Shared with what takes its place without a break. Exchanges hold receivers.
    stage: Arc<watch::Sender<Stage>>,
}

/// What all servers are made with.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) stderr_dir: &'a Path,
    pub(crate) limits: &'a Limits,
    pub(crate) meters: &'a Meters,
    pub(crate) places: &'a Places,
    pub(crate) credentials: identity::UpstreamGround,
}

/// How far a server is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    /// Open exchanges may end, streams without a call in them do.
    Retiring,
    /// Nothing of it goes on.
    CutOff,
}

/// Held by whoever uses a server: it drains until all of them are gone.
#[derive(Debug)]
pub(crate) struct Attendance(watch::Receiver<Stage>);

impl Attendance {
    /// Resolves when the drain time of a server that goes is over.
    pub(crate) async fn cut_off(&mut self) {
        if self.0.wait_for(|stage| *stage == Stage::CutOff).await.is_err() {
            // The server is gone without having been retired: nobody cuts anything off.
            std::future::pending::<()>().await;
        }
    }
}

/// How a server is reached.
#[derive(Debug)]
pub(crate) enum Link {
    /// Exchange by exchange.
    Http(Arc<HttpUpstream>),
    /// A stream of messages per session, over HTTP+SSE.
    Sse(Arc<HttpUpstream>, Limits, Places),
    /// A stream of messages per session, to a child process.
    Stdio(Arc<Spawner>),
}

/// Why a stream of messages to a server could not be had. The texts go to clients.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the server is reached exchange by exchange, not by a stream of messages")]
    NoStream,
}

impl Server {
    pub(crate) fn new(
        name: &str,
        settings: ServerSettings,
        ground: &Ground<'_>,
    ) -> Result<Server, ClientError> {
        let (limits, credentials) = (ground.limits, ground.credentials.clone());
        let link = match settings.clone() {
            ServerSettings::Http(server) => {
                Link::Http(Arc::new(HttpUpstream::new(server, limits, credentials)?))
            }
            ServerSettings::Sse(server) => {
                let upstream = Arc::new(HttpUpstream::new(server, limits, credentials)?);
                Link::Sse(upstream, limits.clone(), ground.places.clone())
            }
            ServerSettings::Stdio(server) => Link::Stdio(Arc::new(Spawner::new(name, server, ground))),
        };
        Ok(Server {
            name: Arc::from(name),
            link,
            meter: ground.meters.of(name),
            settings,
            limits: limits.clone(),
            stage: Arc::new(watch::Sender::new(Stage::Serving)),
        })
    }

    /// Drops what was got for callers that no longer stand.
    pub(crate) fn forget(&self) {
        if let Link::Http(upstream) | Link::Sse(upstream, ..) = &self.link {
            upstream.forget();
        }
    }

    /// Whether nothing about it would change.
    pub(crate) fn is(&self, settings: &ServerSettings, limits: &Limits) -> bool {
        self.settings == *settings && self.limits == *limits
    }

    /// Whether its sessions may go on under these settings: over HTTP each exchange stands for itself; a stream of messages
    /// is the old server's.
    pub(crate) fn goes_on_as(&self, settings: &ServerSettings) -> bool {
        let over_http = |settings: &ServerSettings| matches!(settings, ServerSettings::Http(_));
        self.settings == *settings || (over_http(&self.settings) && over_http(settings))
    }

    /// This server, to end when `before` would have.
    pub(crate) fn in_place_of(self, before: &Server) -> Server {
        Server { stage: Arc::clone(&before.stage), ..self }
    }

    /// Whether the two end together.
    pub(crate) fn shares_end_with(&self, other: &Server) -> bool {
        Arc::ptr_eq(&self.stage, &other.stage)
    }

    /// To be held while it is used.
    pub(crate) fn attend(&self) -> Attendance {
        Attendance(self.stage.subscribe())
    }

    /// Resolves when it is to drain.
    pub(crate) async fn retiring(&self) {
        // The sender lives as long as `self`.
        let _ = self.stage.subscribe().wait_for(|stage| *stage >= Stage::Retiring).await;
    }

    /// Waits until nobody uses it any more, or the drain time is over and everybody is cut off.
    pub(crate) async fn retire(&self, drain: Duration) {
        self.stage.send_replace(Stage::Retiring);
        if tokio::time::timeout(drain, self.stage.closed()).await.is_err() {
            tracing::warn!(server = &*self.name, "exchanges were still open when the drain time ended");
        }
        self.stage.send_replace(Stage::CutOff);
    }

    /// Opens a stream of messages to the server.
    pub(crate) async fn connect(&self) -> Result<End<Released>, LinkError> {
        match &self.link {
            Link::Http(_) => Err(LinkError::NoStream),
            Link::Sse(upstream, limits, places) => Ok(sse::connect(upstream, limits, places).await?),
            Link::Stdio(spawner) => Ok(spawner.start()?),
        }
    }
}
