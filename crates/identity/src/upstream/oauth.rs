//! Tokens that the gateway gets at a server's authorization server: for itself (`client_credentials`), or for somebody in
//! exchange for theirs.
//!
//! * The authorization server is the one that is configured: a server that names another one gets nothing, or the gateway's
//!   secret would go wherever the server likes.
//! * The token is for this server (RFC 8707), and for the scopes that it wants, never for more than are configured.
//! * It is renewed before it ends, beside the calls; a refused one is replaced once in a while, not at each refusal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::UpstreamError;
use super::challenge::Challenge;
use super::client::{Client, ClientProof, Introduced};
use super::discovery::{Discovery, ResourceMetadata, ServerMetadata};
use super::slot::Slot;
use super::token::{self, Token};
use crate::fetch::Fetcher;
use crate::secret::Secret;
use crate::settings::Network;

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
    pub(super) settings: OAuthSettings,
    client: Client,
    discovery: Result<Discovery, UpstreamError>,
    /// Locked for single reads and writes.
    learned: Mutex<Learned>,
}

/// What a token is got for.
#[derive(Debug, Clone)]
pub(super) enum Grant {
    /// The gateway itself.
    Own,
    /// Somebody for whom a token is given in exchange (RFC 8693).
    For(Subject),
}

/// A token of somebody, or a statement about them.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) token: Secret,
    pub(super) kind: &'static str,
    pub(super) audience: Option<String>,
    /// When what they showed ends: a token in exchange for it is used no longer.
    pub(super) until: u64,
}

/// What the server and its authorization server have said.
#[derive(Debug, Default, Clone)]
struct Learned {
    hint: Option<String>,
    found: Option<(u64, Arc<Found>)>,
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
            learned: Mutex::default(),
        }
    }

    /// The gateway's own token that may be used now.
    pub(super) async fn own(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        now: u64,
    ) -> Result<Arc<Token>, UpstreamError> {
        let Some(token) = slot.usable(now) else {
            return slot.fill((None, now), Box::pin(self.fetch(slot, Grant::Own, now))).await;
        };
        if token.is_due(now) && slot.is_idle() {
            let (this, slot) = (Arc::clone(self), Arc::clone(slot));
            // The calls go on with the one that is there; what goes wrong is logged and told when that one has ended.
            tokio::spawn(async move {
                drop(slot.fill((None, now), Box::pin(this.fetch(&slot, Grant::Own, now))).await);
            });
        }
        Ok(token)
    }

    /// A token instead of one that was refused.
    pub(super) async fn after(
        &self,
        (slot, grant): (&Slot, Grant),
        (refused, challenge): (&Token, &Challenge),
        now: u64,
    ) -> Result<Arc<Token>, UpstreamError> {
        self.heed(challenge)?;
        let is_more = slot.want(challenge, refused);
        if challenge.wants_scope && !is_more {
            return Err(UpstreamError::Scope("the token has all that it asks for already"));
        }
        if let Some(other) = slot.usable(now).filter(|token| token.access != refused.access) {
            return Ok(other);
        }
        if !challenge.wants_scope && !slot.may_replace(now) {
            return Err(UpstreamError::NotAccepted);
        }
        let token = slot.fill((Some(&refused.access), now), Box::pin(self.fetch(slot, grant, now))).await?;
        if token.access == refused.access { Err(UpstreamError::NotAccepted) } else { Ok(token) }
    }

    /// Looks where a server says that its metadata is, and whether it wants more than it may be given.
    fn heed(&self, challenge: &Challenge) -> Result<(), UpstreamError> {
        let may = &self.settings.scopes;
        if challenge.wants_scope && !may.is_empty() && !challenge.scopes.iter().all(|one| may.contains(one)) {
            return Err(UpstreamError::Scope("it asks for more than `scopes` of the configuration"));
        }
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if challenge.metadata.is_some() && challenge.metadata != learned.hint {
            learned.hint.clone_from(&challenge.metadata);
            learned.found = None;
        }
        Ok(())
    }

    /// Gets a token.
    pub(super) async fn fetch(&self, slot: &Slot, grant: Grant, now: u64) -> Result<Token, UpstreamError> {
        let found = self.found(now).await?;
        let introduced = self.client.introduce(&found.server, now).await?;
        let scopes = self.scopes(&found, slot);
        let mut introduced = match &grant {
            Grant::Own => introduced.with("grant_type", "client_credentials"),
            Grant::For(subject) => exchanging(introduced, subject),
        };
        introduced = introduced.with("resource", &found.resource);
        if !scopes.is_empty() {
            introduced = introduced.with("scope", &scopes.join(" "));
        }
        let given = token::request(self.discovery()?, &found.server.token, introduced, (&scopes, now)).await;
        let given = given.inspect_err(|_| {
            // Where tokens are got may have moved.
            self.learned.lock().unwrap_or_else(PoisonError::into_inner).found = None;
        });
        match grant {
            Grant::Own => given,
            Grant::For(subject) => Ok(given?.until(subject.until)),
        }
    }

    /// What to ask for: what the configuration says, else what the server wants, else all that its metadata names.
    fn scopes(&self, found: &Found, slot: &Slot) -> Vec<String> {
        let wanted = slot.wanted();
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

/// RFC 8693 §2.1.
fn exchanging(introduced: Introduced, subject: &Subject) -> Introduced {
    let introduced = introduced
        .with("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .with("subject_token", subject.token.reveal())
        .with("subject_token_type", subject.kind)
        .with("requested_token_type", "urn:ietf:params:oauth:token-type:access_token");
    match &subject.audience {
        Some(audience) => introduced.with("audience", audience),
        None => introduced,
    }
}
