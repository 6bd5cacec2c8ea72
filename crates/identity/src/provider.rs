//! An issuer's keys: found, fetched, kept, renewed.
//!
//! * Keys are renewed when they are ten minutes old: by [`Provider::tend`] beside the calls, or by a call if nobody tends.
//! * A `kid` that is not among them makes them be fetched again, but not within ten seconds of the last attempt: hostile
//!   tokens cause no storm.
//! * A clock that was set back makes keys old, not young.
//! * While the issuer cannot be reached the keys hold on, for as long as the settings say and no longer.

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use ledger::Hash;
use serde_json::{Map, Value};

use crate::fetch::{FetchError, Fetcher, Place, Reach};
use crate::jose::{Choice, Jws, KeySet};
use crate::json;
use crate::refused::Reason;
use crate::settings::{Issuer, KeySource};

/// Age of keys, in seconds, from which on they are renewed.
const RENEWED_AFTER: u64 = 600;

/// Seconds between attempts.
const BETWEEN_ATTEMPTS: u64 = 10;

/// An issuer and its keys.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) settings: Issuer,
    pub(crate) name: Arc<str>,
    reach: Reach,
    fetcher: Arc<Fetcher>,
    /// Owned here; locked for single reads and writes.
    kept: RwLock<Kept>,
    /// Held while fetching, so that one fetches and the others wait for it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct Kept {
    keys: Arc<KeySet>,
    digest: Option<Hash>,
    /// How often the keys have become others.
    generation: u64,
    fetched: Option<u64>,
    attempted: Option<u64>,
}

/// Why an issuer cannot be one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error(transparent)]
    Place(#[from] FetchError),
    #[error("the fixed keys are no key set with a key that can be used")]
    Keys,
    #[error("an issuer's URL has neither a query nor a fragment")]
    Form,
}

/// Why keys could not be had: for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(
        "the metadata is none of this issuer: `issuer` must equal the configured URL, character for character"
    )]
    Issuer,
    #[error("the metadata is not JSON with a `jwks_uri`")]
    Metadata,
    #[error("the key set is none, or has no key that can be used")]
    Keys,
}

impl Provider {
    pub(crate) fn new(settings: Issuer, fetcher: Arc<Fetcher>) -> Result<Provider, ProviderError> {
        let place = Place::parse(&settings.url)?;
        if settings.url.contains(['?', '#']) {
            return Err(ProviderError::Form);
        }
        let reach = if place.is_loopback() { Reach::Loopback } else { Reach::Over(settings.network) };
        let mut kept = Kept::default();
        match &settings.keys {
            KeySource::Discovered => {}
            KeySource::At(url) => drop(Place::parse(url)?),
            KeySource::Fixed(text) => {
                let keys = KeySet::parse(text.as_bytes()).filter(|keys| !keys.is_empty());
                kept.keys = Arc::new(keys.ok_or(ProviderError::Keys)?);
            }
        }
        Ok(Provider {
            name: settings.url.as_str().into(),
            settings,
            reach,
            fetcher,
            kept: RwLock::new(kept),
            fetching: tokio::sync::Mutex::default(),
        })
    }

    /// Whether what was verified with keys of that generation counts without being verified again: the keys are the same
    /// and were fetched lately. Else the keys are looked at, and whether they may be used at all.
    pub(crate) fn vouches(&self, generation: u64, now: u64) -> bool {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let is_recent = kept.fetched.is_some_and(|fetched| now.abs_diff(fetched) < 2 * RENEWED_AFTER);
        kept.generation == generation && (is_recent || self.is_fixed())
    }

    /// Checks a token's signature; gives the generation of the keys that it was checked with.
    pub(crate) async fn verify(&self, token: &Jws<'_>, now: u64) -> Result<u64, Reason> {
        if !self.settings.algorithms.contains(&token.algorithm) {
            return Err(Reason::AlgorithmNotAllowed);
        }
        let mut kept = self.current(now).await?;
        if matches!(kept.keys.choose(token.key_id.as_deref(), token.algorithm), Choice::Unknown) {
            kept = self.renew(now).await;
        }
        match kept.keys.choose(token.key_id.as_deref(), token.algorithm) {
            Choice::Unknown => Err(Reason::KeyUnknown),
            Choice::Unfit => Err(Reason::KeyUnfit),
            Choice::Keys(keys) if keys.iter().any(|key| token.signed_by(key)) => Ok(kept.generation),
            Choice::Keys(_) => Err(Reason::Signature),
        }
    }

    /// Renews the keys if it is time. To be called every few seconds, beside the calls.
    pub(crate) async fn tend(&self, now: u64) {
        let kept = self.kept();
        if !self.is_fixed() && kept.fetched.is_none_or(|fetched| now.abs_diff(fetched) >= RENEWED_AFTER) {
            self.renew(now).await;
        }
    }

    /// Keys that may be used now.
    async fn current(&self, now: u64) -> Result<Kept, Reason> {
        let mut kept = self.kept();
        if self.is_fixed() {
            return Ok(kept);
        }
        // Twice the age, and no waiting for who fetches already: that is for the case that nobody tends.
        let is_old = kept.fetched.is_some_and(|fetched| now.abs_diff(fetched) >= 2 * RENEWED_AFTER);
        if kept.fetched.is_none() || (is_old && self.fetching.try_lock().is_ok()) {
            kept = self.renew(now).await;
        }
        let Some(fetched) = kept.fetched else { return Err(Reason::KeysUnavailable) };
        let is_stale = now.abs_diff(fetched) > self.settings.stale.as_secs();
        if is_stale { Err(Reason::KeysStale) } else { Ok(kept) }
    }

    /// Fetches the keys, unless that was attempted just now; gives what is kept then.
    async fn renew(&self, now: u64) -> Kept {
        if self.is_fixed() {
            return self.kept();
        }
        let _one = self.fetching.lock().await;
        let kept = self.kept();
        if kept.attempted.is_some_and(|attempted| now.abs_diff(attempted) < BETWEEN_ATTEMPTS) {
            return kept;
        }
        self.change(|kept| kept.attempted = Some(now));
        match self.fetch().await {
            Ok((keys, digest)) => {
                if kept.digest != Some(digest) {
                    tracing::info!(issuer = &*self.name, "the keys of an issuer were fetched");
                }
                self.change(|kept| {
                    kept.generation += u64::from(kept.digest != Some(digest));
                    kept.keys = Arc::new(keys);
                    kept.digest = Some(digest);
                    kept.fetched = Some(now);
                });
            }
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(issuer = &*self.name, error, "the keys of an issuer cannot be fetched");
            }
        }
        self.kept()
    }

    async fn fetch(&self) -> Result<(KeySet, Hash), RenewError> {
        let place = match &self.settings.keys {
            KeySource::At(url) => Place::parse(url)?,
            _ => {
                let metadata = self.metadata().await?;
                let url = metadata.get("jwks_uri").and_then(Value::as_str);
                Place::parse(url.ok_or(RenewError::Metadata)?)?
            }
        };
        let bytes = self.fetcher.get(&place, self.reach).await?;
        let keys = KeySet::parse(&bytes).filter(|keys| !keys.is_empty()).ok_or(RenewError::Keys)?;
        Ok((keys, Hash::of(&bytes)))
    }

    /// The issuer's metadata.
    pub(crate) async fn metadata(&self) -> Result<Map<String, Value>, RenewError> {
        let mut last = RenewError::Metadata;
        for url in metadata_urls(&self.settings.url) {
            match self.fetcher.get(&Place::parse(&url)?, self.reach).await {
                Ok(bytes) => return self.own_metadata(&bytes),
                Err(error @ FetchError::Status(..)) => last = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last)
    }

    fn own_metadata(&self, bytes: &Bytes) -> Result<Map<String, Value>, RenewError> {
        let metadata = json::object(bytes).ok_or(RenewError::Metadata)?;
        let issuer = metadata.get("issuer").and_then(Value::as_str);
        if issuer == Some(&self.settings.url) { Ok(metadata) } else { Err(RenewError::Issuer) }
    }

    /// Sends a form to a place that the issuer's metadata names.
    pub(crate) async fn post(
        &self,
        url: &str,
        form: String,
        authorization: Option<String>,
    ) -> Result<Bytes, FetchError> {
        self.fetcher.post(&Place::parse(url)?, self.reach, form, authorization).await
    }

    fn is_fixed(&self) -> bool {
        matches!(self.settings.keys, KeySource::Fixed(_))
    }

    fn kept(&self) -> Kept {
        // Nothing panics while this is locked.
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.kept.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Where an issuer's metadata may be: OpenID Connect Discovery §4, RFC 8414 §3 and §5.
fn metadata_urls(issuer: &str) -> Vec<String> {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    let appended = format!("{issuer}/.well-known/openid-configuration");
    let authority = issuer.find("://").map_or(0, |at| at + 3);
    let path = issuer.get(authority..).and_then(|rest| rest.find('/')).map(|at| authority + at);
    let (origin, path) = issuer.split_at(path.unwrap_or(issuer.len()));
    let mut urls = vec![appended, format!("{origin}/.well-known/oauth-authorization-server{path}")];
    if !path.is_empty() {
        urls.push(format!("{origin}/.well-known/openid-configuration{path}"));
    }
    urls
}

/// An error with its causes.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::metadata_urls;

    #[test]
    fn where_metadata_may_be() {
        let flat = [
            "https://idp.example/.well-known/openid-configuration",
            "https://idp.example/.well-known/oauth-authorization-server",
        ];
        assert_eq!(metadata_urls("https://idp.example"), flat);
        assert_eq!(metadata_urls("https://idp.example/"), flat);
        assert_eq!(
            metadata_urls("https://idp.example/realms/x"),
            [
                "https://idp.example/realms/x/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server/realms/x",
                "https://idp.example/.well-known/openid-configuration/realms/x",
            ]
        );
    }
}
