//! A server that an operator has connected: its token is renewed while the gateway runs, and every call shares it.
//!
//! What was renewed is kept before it is used: refresh tokens may count once only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::UpstreamError;
use super::challenge::Challenge;
use super::client::{Client, ClientProof};
use super::connect::ConnectError;
use super::discovery::{Discovery, ServerMetadata};
use super::slot::Slot;
use super::source::SecretSource;
use super::token::{self, Token};
use super::vault::{Connection, Vault};
use crate::fetch::Fetcher;
use crate::secret::Secret;
use crate::settings::Network;

/// A server that is to be connected, and as which client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// The server's name.
    pub server: String,
    /// The server's URL.
    pub url: String,
    /// Its authorization server, if it must be that one; `None`: whichever the server names.
    pub issuer: Option<String>,
    /// The gateway's client id at the issuer, given with it alone; it registers itself if there is none.
    pub client_id: Option<String>,
    /// Its secret, if it has one.
    pub client_secret: Option<SecretSource>,
    /// The URL of a document that says who the gateway is, for authorization servers that take one as a client id.
    pub client_document: Option<String>,
    /// All scopes that may be asked for; empty: those that the server wants.
    pub scopes: Vec<String>,
    /// Which addresses the authorization server may have.
    pub network: Network,
    /// Longest an answer of it may take.
    pub wait: Duration,
}

/// Shows a server what it was connected with.
#[derive(Debug)]
pub(super) struct Connected {
    settings: ConnectionSettings,
    discovery: Result<Discovery, UpstreamError>,
    vault: Option<Arc<Vault>>,
    slot: Slot,
    /// A refresh token that counts no more: it is not shown again. Locked for single reads and writes.
    spent: Mutex<Option<Secret>>,
}

impl Connected {
    pub(super) fn new(settings: ConnectionSettings, vault: Option<Arc<Vault>>) -> Connected {
        let fetcher = Arc::new(Fetcher::new(settings.wait));
        let discovery = Discovery::new(fetcher, &settings.url, settings.network);
        Connected { settings, discovery, vault, slot: Slot::default(), spent: Mutex::default() }
    }

    /// The token that may be used now.
    pub(super) async fn token(self: &Arc<Self>, now: u64) -> Result<Arc<Token>, UpstreamError> {
        let Some(token) = self.slot.usable(now) else {
            return self.slot.fill((None, now), Box::pin(self.fetch(None, now))).await;
        };
        if token.is_due(now) && token.refresh.is_some() && self.slot.is_idle() {
            let this = Arc::clone(self);
            // As with the gateway's own tokens: what goes wrong is logged, and told when the one that is there has ended.
            tokio::spawn(
                async move { drop(this.slot.fill((None, now), Box::pin(this.fetch(None, now))).await) },
            );
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
        let is_more = self.slot.want(challenge, refused);
        // Somebody may have connected it anew meanwhile.
        let stored = self.stored().await?;
        let is_other = stored.is_some_and(|stored| stored.access != refused.access.reveal());
        if challenge.wants_scope && !is_other {
            return Err(self.ask_for_scope(is_more, now).await);
        }
        if !is_other && !self.slot.may_replace(now) {
            return Err(UpstreamError::NotAccepted);
        }
        self.slot.fill((Some(&refused.access), now), Box::pin(self.fetch(Some(&refused.access), now))).await
    }

    /// Remembers what the server asks for, so that who connects it anew asks for that.
    async fn ask_for_scope(&self, is_more: bool, now: u64) -> UpstreamError {
        let (wanted, may) = (self.slot.wanted(), &self.settings.scopes);
        if !is_more {
            return UpstreamError::Scope("the token has all that it asks for already");
        }
        if !may.is_empty() && !wanted.iter().all(|scope| may.contains(scope)) {
            return UpstreamError::Scope("it asks for more than `scopes` of the configuration");
        }
        let server = self.settings.server.clone();
        match self.in_vault(move |vault| vault.want(&server, &wanted, now)).await {
            Ok(()) => UpstreamError::Scope("an operator has to run `tollbook servers connect` again"),
            Err(error) => error,
        }
    }

    async fn fetch(&self, refused: Option<&Secret>, now: u64) -> Result<Token, UpstreamError> {
        let stored = self.stored().await?.ok_or(UpstreamError::Unconnected)?;
        let token = Token::kept(&stored);
        // Another process may have renewed or connected it.
        let is_good = token.is_usable(now) && Some(&token.access) != refused;
        if is_good && (!token.is_due(now) || token.refresh.is_none()) {
            return Ok(token);
        }
        let refresh = stored.refresh.as_deref().map(Secret::new).filter(|refresh| !self.is_spent(refresh));
        let Some(refresh) = refresh else { return Err(UpstreamError::Unconnected) };
        let (server, client) = self.parties(&stored);
        let introduced = client.introduce(&server, now).await?;
        let introduced = introduced
            .with("grant_type", "refresh_token")
            .with("refresh_token", refresh.reveal())
            .with("resource", &stored.resource);
        let discovery = self.discovery.as_ref().map_err(Clone::clone)?;
        let asked = (stored.scopes.as_slice(), now);
        let renewed = token::request(discovery, &stored.token_endpoint, introduced, asked).await;
        let renewed = renewed.map_err(|error| match error {
            UpstreamError::Refused("invalid_grant") => {
                *self.spent.lock().unwrap_or_else(PoisonError::into_inner) = Some(refresh);
                UpstreamError::Unconnected
            }
            other => other,
        })?;
        let next = stored.renewed(&renewed);
        let place = (self.settings.server.clone(), self.settings.url.clone());
        self.in_vault(move |vault| vault.keep((&place.0, &place.1), &next, now)).await?;
        Ok(renewed)
    }

    fn is_spent(&self, refresh: &Secret) -> bool {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(refresh)
    }

    fn parties(&self, stored: &Connection) -> (ServerMetadata, Client) {
        let mut server = ServerMetadata::at(&stored.issuer, &stored.token_endpoint);
        server.proofs.clone_from(&stored.proofs);
        let registered = stored.client_secret.clone().map(|secret| SecretSource::Fixed(Secret::new(secret)));
        let proof = match registered.or_else(|| self.settings.client_secret.clone()) {
            None => ClientProof::Nothing,
            Some(secret) if stored.by_post => ClientProof::SecretByPost(secret),
            Some(secret) => ClientProof::SecretByBasic(secret),
        };
        (server, Client::new(stored.client_id.clone(), proof))
    }

    async fn stored(&self) -> Result<Option<Connection>, UpstreamError> {
        let place = (self.settings.server.clone(), self.settings.url.clone());
        let read = self.in_vault(move |vault| vault.read(&place.0, &place.1)).await?;
        let must = self.settings.issuer.as_ref();
        Ok(read.0.filter(|stored| must.is_none_or(|issuer| *issuer == stored.issuer)))
    }

    /// Does what blocks on the disk.
    async fn in_vault<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Vault) -> Result<T, ConnectError> + Send + 'static,
    ) -> Result<T, UpstreamError> {
        let vault = self.vault.clone().ok_or(UpstreamError::Unconnected)?;
        let done = tokio::task::spawn_blocking(move || work(&vault)).await;
        done.ok().and_then(Result::ok).ok_or(UpstreamError::Secret("the state cannot be used"))
    }
}

impl Connection {
    fn renewed(&self, token: &Token) -> Connection {
        let refresh = token.refresh.as_ref().map(|refresh| refresh.reveal().to_owned());
        Connection {
            access: token.access.reveal().to_owned(),
            refresh: refresh.or_else(|| self.refresh.clone()),
            given: token.given,
            expires: token.expires,
            ..self.clone()
        }
    }
}
