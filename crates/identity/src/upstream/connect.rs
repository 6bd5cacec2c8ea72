//! Connecting a server: an operator agrees at the server's authorization server, and the gateway keeps what comes of it
//! (OAuth 2.1 code flow with PKCE, as MCP's authorization page has it).
//!
//! A client id is the one configured, else the URL of a document, else that of a registration made for this connection alone.

use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::Full;
use ledger::Hash;
use serde_json::{Value, json};
use store::state::StateError;

use super::UpstreamError;
use super::challenge::Challenge;
use super::client::{Client, ClientProof};
use super::connected::ConnectionSettings;
use super::discovery::{Discovery, ResourceMetadata, ServerMetadata, unavailable};
use super::source::SecretSource;
use super::token::{self, Token};
use super::vault::{Connection, Vault};
use crate::fetch::{Fetcher, Place};
use crate::form::Form;
use crate::jose;
use crate::json;
use crate::random::{self, NoRandomness};
use crate::run_key::RunKeyError;
use crate::secret::Secret;

/// Digits of what nobody may guess.
const DIGITS: usize = 43;

/// A message that does nothing, to be refused.
const PING: &str = r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#;

/// Connects one server.
#[derive(Debug)]
pub struct Connector {
    settings: ConnectionSettings,
    discovery: Discovery,
    vault: Arc<Vault>,
}

/// A browser that is away.
#[derive(Debug)]
pub struct Journey {
    /// Where it is to be sent.
    pub url: String,
    state: String,
    verifier: Secret,
    redirect: String,
    server: ServerMetadata,
    client: Registered,
    resource: String,
    scopes: Vec<String>,
}

#[derive(Debug)]
struct Registered {
    id: String,
    /// One that came with a registration.
    secret: Option<Secret>,
    is_configured: bool,
    by_post: bool,
}

/// Why a server was not connected. These texts are the operator's.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// What is needed cannot be had, or is not to be believed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The server names no authorization server.
    #[error("the server names no authorization server, and has no metadata of one at its origin")]
    NoIssuer,
    /// It names others than the one that is configured.
    #[error("the server's authorization servers are {0}; `issuer` in the configuration is another one")]
    OtherIssuer(String),
    /// The authorization server cannot bind codes.
    #[error("the authorization server does not say that it knows PKCE with S256")]
    NoBinding,
    /// It has no authorization endpoint.
    #[error("the authorization server has no authorization endpoint")]
    NoEndpoint,
    /// There is no client id, and no way to one.
    #[error(
        "the authorization server takes neither documents nor registrations; register the gateway there and set `client_id`"
    )]
    NoClient,
    /// The registration was refused.
    #[error("the authorization server did not register the gateway")]
    NotRegistered,
    /// The answer is not to this question.
    #[error("the answer that the browser brought is not to this question")]
    State,
    /// The answer is another authorization server's.
    #[error("the answer that the browser brought is another authorization server's")]
    Issuer,
    /// Who was asked did not agree.
    #[error("the authorization server did not agree: {0}")]
    Denied(&'static str),
    /// There is no key for connections.
    #[error(transparent)]
    NoKey(#[from] RunKeyError),
    /// It is not 32 bytes.
    #[error("`upstream.key` is no key; restore it, or remove it and connect the servers anew")]
    Key,
    /// The state cannot be used.
    #[error(transparent)]
    Stored(#[from] StateError),
    /// The connection cannot be sealed.
    #[error("a connection cannot be sealed")]
    Seal,
    /// The system failed.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl Connector {
    /// Makes ready to connect a server.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn new(settings: ConnectionSettings, vault: Arc<Vault>) -> Result<Connector, ConnectError> {
        let fetcher = Arc::new(Fetcher::new(settings.wait));
        let discovery = Discovery::new(fetcher, &settings.url, settings.network)?;
        Ok(Connector { settings, discovery, vault })
    }

    /// Finds out where to send the browser. It comes back to `redirect`.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn begin(&self, redirect: &str) -> Result<Journey, ConnectError> {
        let challenge = self.challenge().await?;
        let metadata = self.discovery.resource(challenge.metadata.as_deref()).await?;
        let server = self.server(metadata.as_ref()).await?;
        let authorize = server.authorize.clone().ok_or(ConnectError::NoEndpoint)?;
        if !server.binds_codes {
            return Err(ConnectError::NoBinding);
        }
        let scopes = self.scopes(&challenge, metadata.as_ref(), &server)?;
        let client = self.client(&server, redirect, &scopes).await?;
        let (state, verifier) = (random::digits(DIGITS)?, random::digits(DIGITS)?);
        let resource = metadata.map_or_else(|| self.settings.url.clone(), |metadata| metadata.resource);
        let binding = jose::encode(Hash::of(verifier.as_bytes()).0);
        let scope = scopes.join(" ");
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", redirect),
            ("state", &state),
            ("code_challenge", &binding),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ];
        if !scope.is_empty() {
            parameters.push(("scope", &scope));
        }
        if scopes.iter().any(|scope| scope == "offline_access") {
            parameters.push(("prompt", "consent"));
        }
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let joint = if authorize.contains('?') { '&' } else { '?' };
        let (url, verifier, redirect) =
            (format!("{authorize}{joint}{query}"), Secret::new(verifier), redirect.to_owned());
        Ok(Journey { url, state, verifier, redirect, server, client, resource, scopes })
    }

    /// Takes what the browser brought back, the query of the redirect, and keeps the connection.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn finish(&self, journey: &Journey, query: &str, now: u64) -> Result<(), ConnectError> {
        let code = journey.code(query)?;
        let client = self.as_client(&journey.client);
        let introduced = client.introduce(&journey.server, now).await?;
        let introduced = introduced
            .with("grant_type", "authorization_code")
            .with("code", &code)
            .with("redirect_uri", &journey.redirect)
            .with("code_verifier", journey.verifier.reveal())
            .with("resource", &journey.resource);
        let asked = (journey.scopes.as_slice(), now);
        let token = token::request(&self.discovery, &journey.server.token, introduced, asked).await?;
        let place = (self.settings.server.as_str(), self.settings.url.as_str());
        self.vault.keep(place, &journey.connection(&token), now)?;
        Ok(())
    }

    /// What the server says to who shows nothing.
    async fn challenge(&self) -> Result<Challenge, ConnectError> {
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .body(Full::from(PING));
        let place = self.discovery.place();
        let answer = self.discovery.fetcher().ask(place, self.discovery.reach(place), request).await;
        let answer = answer.map_err(|error| unavailable(&error))?;
        let is_refusal = answer.status() == StatusCode::UNAUTHORIZED;
        Ok(if is_refusal { Challenge::of(answer.headers()) } else { Challenge::default() })
    }

    /// The authorization server: the first that the server names, or the one that is configured. A server without metadata is of
    /// 2025-03-26, where it is at the server's own origin.
    async fn server(&self, metadata: Option<&ResourceMetadata>) -> Result<ServerMetadata, ConnectError> {
        let named = metadata.map(|metadata| &metadata.issuers);
        let issuer = match (&self.settings.issuer, named) {
            (Some(issuer), Some(named)) if !named.contains(issuer) => {
                return Err(ConnectError::OtherIssuer(named.join(", ")));
            }
            (Some(issuer), _) => issuer,
            (None, Some(named)) => named.first().ok_or(ConnectError::NoIssuer)?,
            (None, None) => return Ok(self.discovery.server_of_origin().await?),
        };
        Ok(self.discovery.server(issuer).await?)
    }

    /// What to ask for: all that is configured, else what the server wants, has asked for since, or names.
    fn scopes(
        &self,
        challenge: &Challenge,
        metadata: Option<&ResourceMetadata>,
        server: &ServerMetadata,
    ) -> Result<Vec<String>, ConnectError> {
        if !self.settings.scopes.is_empty() {
            return Ok(self.settings.scopes.clone());
        }
        let (_, wanted) = self.vault.read(&self.settings.server, &self.settings.url)?;
        let named = metadata.map(|metadata| metadata.scopes.clone()).unwrap_or_default();
        let first = if challenge.scopes.is_empty() { named } else { challenge.scopes.clone() };
        // Without it some give no refresh token, and the connection would end with the first token.
        let lasting = server.scopes.iter().filter(|scope| *scope == "offline_access").cloned();
        let mut scopes: Vec<String> = Vec::new();
        for scope in first.into_iter().chain(wanted).chain(lasting) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        Ok(scopes)
    }

    async fn client(
        &self,
        server: &ServerMetadata,
        redirect: &str,
        scopes: &[String],
    ) -> Result<Registered, ConnectError> {
        let by_post = takes_post_alone(&server.proofs);
        if let Some(id) = &self.settings.client_id {
            return Ok(Registered { id: id.clone(), secret: None, is_configured: true, by_post });
        }
        if let Some(document) = self.settings.client_document.as_ref().filter(|_| server.knows_documents) {
            return Ok(Registered { id: document.clone(), secret: None, is_configured: false, by_post });
        }
        let endpoint = server.register.as_ref().ok_or(ConnectError::NoClient)?;
        let offers = |name: &str| server.proofs.iter().any(|proof| proof == name);
        let proof = match () {
            () if server.proofs.is_empty() || offers("none") => "none",
            () if offers("client_secret_basic") => "client_secret_basic",
            () => "client_secret_post",
        };
        let mut asked = json!({
            "client_name": "Tollbook",
            "redirect_uris": [redirect],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": proof,
            "application_type": "native",
        });
        if let Some(asked) = asked.as_object_mut().filter(|_| !scopes.is_empty()) {
            asked.insert("scope".to_owned(), json!(scopes.join(" ")));
        }
        self.register(endpoint, &asked).await
    }

    async fn register(&self, endpoint: &str, asked: &Value) -> Result<Registered, ConnectError> {
        let place = Place::parse(endpoint).map_err(|error| unavailable(&error))?;
        let request = Request::post("/").header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(asked.to_string()));
        let answer = self.discovery.fetcher().ask(&place, self.discovery.reach(&place), request).await;
        let answer = answer.map_err(|error| unavailable(&error))?;
        let given = json::object(answer.body()).filter(|_| answer.status().is_success());
        let given = given.ok_or(ConnectError::NotRegistered)?;
        let text = |name: &str| given.get(name).and_then(Value::as_str).map(str::to_owned);
        let way = text("token_endpoint_auth_method");
        let way = way.or_else(|| Some(asked.get("token_endpoint_auth_method")?.as_str()?.to_owned()));
        Ok(Registered {
            id: text("client_id").ok_or(ConnectError::NotRegistered)?,
            secret: text("client_secret").filter(|_| way.as_deref() != Some("none")).map(Secret::new),
            is_configured: false,
            by_post: way.as_deref() == Some("client_secret_post"),
        })
    }

    fn as_client(&self, registered: &Registered) -> Client {
        let configured = self.settings.client_secret.clone().filter(|_| registered.is_configured);
        let secret = configured.or_else(|| registered.secret.clone().map(SecretSource::Fixed));
        let proof = match secret {
            None => ClientProof::Nothing,
            Some(secret) if registered.by_post => ClientProof::SecretByPost(secret),
            Some(secret) => ClientProof::SecretByBasic(secret),
        };
        Client::new(registered.id.clone(), proof)
    }
}

impl Journey {
    /// Where the browser is sent, without what is only for this journey.
    pub fn issuer(&self) -> &str {
        &self.server.issuer
    }

    /// The code in an answer to this question, of this authorization server (RFC 9207 §2.4).
    fn code(&self, query: &str) -> Result<String, ConnectError> {
        let form = Form::parse(query.as_bytes()).map_err(|_| ConnectError::State)?;
        if form.optional("state") != Some(&self.state) {
            return Err(ConnectError::State);
        }
        let is_mixed = match form.optional("iss") {
            Some(issuer) => issuer != self.server.issuer,
            None => self.server.says_issuer,
        };
        if is_mixed {
            return Err(ConnectError::Issuer);
        }
        match (form.optional("error"), form.optional("code")) {
            (Some("access_denied"), _) => Err(ConnectError::Denied("access_denied")),
            (Some("invalid_scope"), _) => Err(ConnectError::Denied("invalid_scope")),
            (Some(_), _) => Err(ConnectError::Denied("an error")),
            (None, None) => Err(ConnectError::Denied("it gave no code")),
            (None, Some(code)) => Ok(code.to_owned()),
        }
    }

    fn connection(&self, token: &Token) -> Connection {
        Connection {
            issuer: self.server.issuer.clone(),
            token_endpoint: self.server.token.clone(),
            proofs: self.server.proofs.clone(),
            client_id: self.client.id.clone(),
            client_secret: self.client.secret.as_ref().map(|secret| secret.reveal().to_owned()),
            by_post: self.client.by_post,
            resource: self.resource.clone(),
            scopes: self.scopes.clone(),
            access: token.access.reveal().to_owned(),
            refresh: token.refresh.as_ref().map(|refresh| refresh.reveal().to_owned()),
            given: token.given,
            expires: token.expires,
        }
    }
}

fn takes_post_alone(proofs: &[String]) -> bool {
    let takes = |name: &str| proofs.iter().any(|proof| proof == name);
    takes("client_secret_post") && !takes("client_secret_basic")
}
