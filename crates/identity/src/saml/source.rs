//! The provider's metadata: fetched or read when it is needed, kept, renewed, and for how long it holds.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::document::DOCUMENT_BYTES;
use super::metadata::{MetadataError, Peer};
use crate::fetch::{FetchError, Fetcher, Place, Reach};
use crate::provider::causes;
use crate::refused::Reason;
use crate::settings::{SamlMetadata, SamlSettings};

/// Age, in seconds, from which on metadata is renewed before it is used.
const RENEWED_AFTER: u64 = 600;

/// Seconds between attempts.
const BETWEEN_ATTEMPTS: u64 = 10;

#[derive(Debug)]
pub(super) struct Source {
    entity: String,
    origin: Origin,
    fetcher: Arc<Fetcher>,
    stale: u64,
    /// Owned here; locked for single reads and writes.
    kept: RwLock<Kept>,
    /// Held while fetching, so that one fetches and the others wait for it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
enum Origin {
    File(PathBuf),
    Url(Place, Reach),
}

#[derive(Debug, Default, Clone)]
struct Kept {
    peer: Option<Arc<Peer>>,
    fetched: u64,
    attempted: Option<u64>,
}

/// Why metadata could not be had: for the log.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("`{0}` cannot be read")]
    File(PathBuf, #[source] std::io::Error),
    #[error("the metadata cannot be used")]
    Metadata(#[from] MetadataError),
}

impl Source {
    pub(super) fn new(settings: &SamlSettings, fetcher: Arc<Fetcher>) -> Result<Source, FetchError> {
        let origin = match &settings.metadata {
            SamlMetadata::File(path) => Origin::File(path.clone()),
            SamlMetadata::At(url) => {
                let place = Place::parse(url)?;
                let reach = if place.is_loopback() { Reach::Loopback } else { Reach::Over(settings.network) };
                Origin::Url(place, reach)
            }
        };
        Ok(Source {
            entity: settings.entity_id.clone(),
            origin,
            fetcher,
            stale: settings.stale.as_secs(),
            kept: RwLock::default(),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Metadata that may be used now.
    pub(super) async fn current(&self, now: u64) -> Result<Arc<Peer>, Reason> {
        let mut kept = self.kept();
        if kept.peer.is_none() || now.abs_diff(kept.fetched) >= RENEWED_AFTER {
            kept = self.renew(now).await;
        }
        let peer = kept.peer.ok_or(Reason::KeysUnavailable)?;
        let has_ended = peer.until.is_some_and(|until| until <= now);
        let is_stale = has_ended || now.abs_diff(kept.fetched) > self.stale;
        if is_stale { Err(Reason::KeysStale) } else { Ok(peer) }
    }

    /// Metadata that is newer than `known`, if there is some: for a signature that does not hold with what is known.
    pub(super) async fn newer(&self, known: &Arc<Peer>, now: u64) -> Option<Arc<Peer>> {
        let peer = self.renew(now).await.peer?;
        (peer.certificates != known.certificates).then_some(peer)
    }

    /// Fetches, unless that was attempted just now; gives what is kept then.
    async fn renew(&self, now: u64) -> Kept {
        let _one = self.fetching.lock().await;
        let kept = self.kept();
        if kept.attempted.is_some_and(|attempted| now.abs_diff(attempted) < BETWEEN_ATTEMPTS) {
            return kept;
        }
        self.change(|kept| kept.attempted = Some(now));
        match self.fetch(now).await {
            Ok(peer) => self.change(|kept| {
                kept.peer = Some(Arc::new(peer));
                kept.fetched = now;
            }),
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(issuer = self.entity, error, "the SAML metadata of a provider cannot be had");
            }
        }
        self.kept()
    }

    async fn fetch(&self, now: u64) -> Result<Peer, RenewError> {
        let bytes = match &self.origin {
            Origin::Url(place, reach) => self.fetcher.get(place, *reach).await?,
            Origin::File(path) => file(path.clone()).await?,
        };
        Ok(Peer::read(&bytes, &self.entity, now)?)
    }

    fn kept(&self) -> Kept {
        // Nothing panics while this is locked.
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.kept.write().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn file(path: PathBuf) -> Result<Bytes, RenewError> {
    let failed = |source| RenewError::File(path.clone(), source);
    let own = path.clone();
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<Vec<u8>> {
        if std::fs::metadata(&own)?.len() > DOCUMENT_BYTES as u64 {
            return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 256 KiB"));
        }
        std::fs::read(&own)
    });
    let bytes = read.await.unwrap_or_else(|_| Err(std::io::Error::other("reading it was broken off")));
    bytes.map(Bytes::from).map_err(failed)
}
