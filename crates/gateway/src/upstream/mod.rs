//! The upstream side: how each configured server is reached.

pub(crate) mod answer;
pub(crate) mod http;
pub(crate) mod sse;
pub(crate) mod stdio;

use std::path::Path;
use std::sync::Arc;

use crate::duplex::End;
use crate::settings::{Limits, ServerSettings};
use crate::upstream::http::{ClientError, HttpUpstream};
use crate::upstream::sse::ConnectError;
use crate::upstream::stdio::{SpawnError, Spawner};

/// A configured server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: Arc<str>,
    pub(crate) link: Link,
}

/// How a server is reached.
#[derive(Debug)]
pub(crate) enum Link {
    /// Exchange by exchange.
    Http(Arc<HttpUpstream>),
    /// A stream of messages per session, over HTTP+SSE.
    Sse(Arc<HttpUpstream>, Limits),
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
        stderr_dir: &Path,
        limits: &Limits,
    ) -> Result<Server, ClientError> {
        let link = match settings {
            ServerSettings::Http(server) => Link::Http(Arc::new(HttpUpstream::new(server, limits)?)),
            ServerSettings::Sse(server) => {
                Link::Sse(Arc::new(HttpUpstream::new(server, limits)?), limits.clone())
            }
            ServerSettings::Stdio(server) => {
                Link::Stdio(Arc::new(Spawner::new(name, server, stderr_dir, limits.message_bytes)))
            }
        };
        Ok(Server { name: Arc::from(name), link })
    }

    /// Opens a stream of messages to the server.
    pub(crate) async fn connect(&self) -> Result<End, LinkError> {
        match &self.link {
            Link::Http(_) => Err(LinkError::NoStream),
            Link::Sse(upstream, limits) => Ok(sse::connect(upstream, limits).await?),
            Link::Stdio(spawner) => Ok(spawner.start()?),
        }
    }
}
