//! Tokens that the gateway gets for itself at a server's authorization server (`client_credentials`).
//!
//! * The authorization server is the one that is configured: a server that names another one gets nothing, or the gateway's
//!   secret would go wherever the server likes.
//! * The token is for this server (RFC 8707), and for the scopes that it wants, never for more than are configured.
//! * It is renewed before it ends, beside the calls; a refused one is replaced once in a while, not at each refusal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::UpstreamError;
use super::challenge::Challenge;
use super::client::{Client, ClientProof};
use super::discovery::{Discovery, ResourceMetadata, ServerMetadata};
use super::slot::Slot;
use super::token::{self, Token};
use crate::fetch::Fetcher;
use crate::settings::Network;

/// Seconds between tokens that are got because one was refused.
const BETWEEN_REFUSALS: u64 = 10;

/// Seconds for which metadata is used.
const METADATA_SECONDS: u64 = 3600;

/// How the gateway gets tokens for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthSettings {
    /// The server's URL.
    pub url: String,
    /// The authorization server's identifier.
    pub issuer: String,
    /// Where tokens are got, if its metadata is not to be asked.
    pub token_endpoint: Option<String>,
    /// The gateway's client id there.
    pub client_id: String,
    /// By what it proves to be that client.
    pub proof: ClientProof,
    /// All scopes that may be asked for; empty: those that the server wants.
    pub scopes: Vec<String>,
    /// What tokens are for, if that is not what the server's metadata says.
    pub resource: Option<String>,
    /// Which addresses the authorization server may have.
    pub network: Network,
    /// Longest an answer of it may take.
    pub wait: Duration,
}

/// Gets tokens for one server.
#[derive(Debug)]
pub(super) struct OAuth {
    settings: OAuthSettings,
    client: Client,
    discovery: Result<Discovery, UpstreamError>,
    slot: Slot,
    /// Locked for single reads and writes.
    learned: Mutex<Learned>,
}

/// What the server and its authorization server have said.
#[derive(Debug, Default, Clone)]
struct Learned {
    hint: Option<String>,
    /// What the server wants; empty if it did not say.
    wanted: Vec<String>,
    found: Option<(u64, Arc<Found>)>,
    replaced: Option<u64>,
}

/// Where tokens are got, and for what.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) server: ServerMetadata,
    pub(super) resource: String,
    scopes: Vec<String>,
}

impl OAuth {
    pub(super) fn new(settings: OAuthSettings) -> OAuth {
        let fetcher = Arc::new(Fetcher::new(settings.wait));
        OAuth {
            discovery: Discovery::new(fetcher, &settings.url, settings.network),
            client: Client::new(settings.client_id.clone(), settings.proof.clone()),
            settings,
            slot: Slot::default(),
            learned: Mutex::default(),
        }
    }

    /// A token that may be used now.
    pub(super) async fn token(self: &Arc<Self>, now: u64) -> Result<Arc<Token>, UpstreamError> {
        let Some(token) = self.slot.usable(now) else {
            return self.slot.fill((None, now), self.fetch(now)).await;
        };
        if token.is_due(now) && self.slot.is_idle() {
            let this = Arc::clone(self);
            // The calls go on with the one that is there; what goes wrong is logged and told when that one has ended.
            tokio::spawn(async move { drop(this.slot.fill((None, now), this.fetch(now)).await) });
        }
        Ok(token)
    }

    /// A token instead of one that was refused.
    pub(super) async fn after(
        &self,
        refused: &Token,
        challenge: &Challenge,
        now: u64,
    ) -> Result<Arc<Token>, UpstreamError> {
        self.learn(challenge, refused)?;
        if let Some(other) = self.slot.usable(now).filter(|token| token.access != refused.access) {
            return Ok(other);
        }
        if !challenge.wants_scope && !self.may_replace(now) {
            return Err(UpstreamError::NotAccepted);
        }
        let token = self.slot.fill((Some(&refused.access), now), self.fetch(now)).await?;
        if token.access == refused.access { Err(UpstreamError::NotAccepted) } else { Ok(token) }
    }

    /// Takes to heart what a server wants. Scopes add up, so that one call's are not lost over another's.
    fn learn(&self, challenge: &Challenge, refused: &Token) -> Result<(), UpstreamError> {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if challenge.metadata.is_some() && challenge.metadata != learned.hint {
            learned.hint.clone_from(&challenge.metadata);
            learned.found = None;
        }
        let mut wanted = if challenge.wants_scope { refused.asked.clone() } else { Vec::new() };
        wanted.extend(learned.wanted.iter().cloned());
        let known = wanted.len();
        for scope in &challenge.scopes {
            if !wanted.contains(scope) {
                wanted.push(scope.clone());
            }
        }
        if challenge.wants_scope && wanted.len() == known {
            return Err(UpstreamError::Scope("the token has all that it asks for already"));
        }
        let may = &self.settings.scopes;
        if challenge.wants_scope && !may.is_empty() && !challenge.scopes.iter().all(|one| may.contains(one)) {
            return Err(UpstreamError::Scope("it asks for more than `scopes` of the configuration"));
        }
        learned.wanted = wanted;
        Ok(())
    }

    fn may_replace(&self, now: u64) -> bool {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_soon = learned.replaced.is_some_and(|at| now.abs_diff(at) < BETWEEN_REFUSALS);
        if !is_soon {
            learned.replaced = Some(now);
        }
        !is_soon
    }

    async fn fetch(&self, now: u64) -> Result<Token, UpstreamError> {
        let found = self.found(now).await?;
        let introduced = self.client.introduce(&found.server, now).await?;
        let scopes = self.scopes(&found);
        let mut introduced =
            introduced.with("grant_type", "client_credentials").with("resource", &found.resource);
        if !scopes.is_empty() {
            introduced = introduced.with("scope", &scopes.join(" "));
        }
        let given = token::request(self.discovery()?, &found.server.token, introduced, (&scopes, now)).await;
        given.inspect_err(|_| {
            // Where tokens are got may have moved.
            self.learned.lock().unwrap_or_else(PoisonError::into_inner).found = None;
        })
    }

    /// What to ask for: what the configuration says, else what the server wants, else all that its metadata names.
    fn scopes(&self, found: &Found) -> Vec<String> {
        let wanted = self.learned.lock().unwrap_or_else(PoisonError::into_inner).wanted.clone();
        match (self.settings.scopes.is_empty(), wanted.is_empty()) {
            (false, _) => self.settings.scopes.clone(),
            (true, false) => wanted,
            (true, true) => found.scopes.clone(),
        }
    }

    /// Finds out where tokens are got, unless that is known.
    async fn found(&self, now: u64) -> Result<Arc<Found>, UpstreamError> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, found)) = learned.found.filter(|(at, _)| now.abs_diff(*at) < METADATA_SECONDS) {
            return Ok(found);
        }
        let discovery = self.discovery()?;
        let issuer = &self.settings.issuer;
        let resource = discovery.resource(learned.hint.as_deref()).await?;
        if resource.as_ref().is_some_and(|resource| !resource.issuers.contains(issuer)) {
            tracing::warn!(issuer, "a server names other authorization servers than the configured one");
            return Err(UpstreamError::Metadata("the server's does not name the configured `issuer`"));
        }
        let server = match &self.settings.token_endpoint {
            Some(endpoint) => ServerMetadata::at(issuer, endpoint),
            None => discovery.server(issuer).await?,
        };
        let found = Arc::new(self.joined(resource, server));
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).found = Some((now, Arc::clone(&found)));
        Ok(found)
    }

    fn joined(&self, resource: Option<ResourceMetadata>, server: ServerMetadata) -> Found {
        let (named, scopes) = resource.map_or((None, Vec::new()), |one| (Some(one.resource), one.scopes));
        let resource = self.settings.resource.clone().or(named);
        let resource = resource.unwrap_or_else(|| self.settings.url.clone());
        Found { server, resource, scopes }
    }

    fn discovery(&self) -> Result<&Discovery, UpstreamError> {
        self.discovery.as_ref().map_err(Clone::clone)
    }
}
