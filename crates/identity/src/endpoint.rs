//! The token endpoint, without its HTTP server: bytes of a form in, status, headers and JSON out.
//!
//! * Token exchange (RFC 8693): an access token of a configured issuer becomes a run; a run token becomes a child run.
//! * `client_credentials` (RFC 6749 §4.4): a service key becomes a run of its service.
//!
//! A run is never wider than what it was given for: not in scope, endpoints, nor lifetime where that is a run. A DPoP
//! proof binds it (RFC 9449 §5).

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use ledger::RunId;
use serde_json::{Value, json};

use crate::caller::{Actor, Caller, RunName};
use crate::credentials::single;
use crate::dpop::Presented;
use crate::form::{Client, Form};
use crate::mint::{MintError, Minted, RunOrder, Under};
use crate::refused::{Code, Reason, Refused};
use crate::scope::Scope;
use crate::verifier::Verifier;

/// The grant type of RFC 8693.
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// A request to the token endpoint.
#[derive(Debug, Clone, Copy)]
pub struct TokenRequest<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, whole.
    pub body: &'a [u8],
    /// The endpoint's public URL: what a proof must be for.
    pub url: &'a str,
}

/// The answer to it, and what the record should say of it.
#[derive(Debug)]
pub struct TokenReply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers, `Cache-Control: no-store` among them.
    pub headers: HeaderMap,
    /// JSON; with a run minted, it holds the token and must not be logged.
    pub body: String,
    /// The run that was minted.
    pub minted: Option<RunId>,
    /// Why none was: for operators and the record, never what was presented.
    pub refused: Option<String>,
    /// What is to be recorded: a code or a refresh token of a login that came a second time.
    pub reused: Option<Refused>,
    /// The endpoint that this login was for, as far as that is known.
    pub resource: Option<String>,
}

/// Why no token is given: an error code of RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2 or RFC 9449 §5.
#[derive(Debug)]
pub(crate) struct TokenError {
    code: &'static str,
    reason: String,
}

impl TokenError {
    pub(crate) fn new(code: &'static str, reason: impl Into<String>) -> TokenError {
        TokenError { code, reason: reason.into() }
    }

    /// The same, where what failed was presented as a grant.
    pub(crate) fn of_grant(self) -> TokenError {
        let code = if self.code == "invalid_request" { "invalid_grant" } else { self.code };
        TokenError { code, ..self }
    }

    fn of(refused: &Refused) -> TokenError {
        let code = match refused.code() {
            Code::InvalidProof => "invalid_dpop_proof",
            Code::Unavailable => "temporarily_unavailable",
            // RFC 8693 §2.2.2 has `invalid_request` for tokens that do not count.
            _ => "invalid_request",
        };
        TokenError::new(code, refused.to_string())
    }
}

impl From<Reason> for TokenError {
    fn from(reason: Reason) -> TokenError {
        TokenError::of(&reason.into())
    }
}

impl From<MintError> for TokenError {
    fn from(error: MintError) -> TokenError {
        let code = match &error {
            MintError::Wider => "invalid_scope",
            MintError::Audience | MintError::Endpoints => "invalid_target",
            MintError::Key => "invalid_client",
            MintError::Binding => "invalid_dpop_proof",
            MintError::State(_) | MintError::Random(_) => "temporarily_unavailable",
            _ => "invalid_request",
        };
        TokenError::new(code, error.to_string())
    }
}

/// Under what a run is to be minted, as far as its credentials say.
struct Ground {
    under: Under,
    actors: Vec<Actor>,
    scope: Scope,
    audience: Vec<String>,
    minted_by: String,
    key: Option<String>,
    bound: Option<String>,
}

impl Verifier {
    /// Answers a request to the token endpoint. `now` is in seconds since the Unix epoch.
    pub async fn answer(&self, request: TokenRequest<'_>, now: u64) -> TokenReply {
        match self.grant(request, now).await {
            Ok(minted) => granted(&minted, minted.run.expires.saturating_sub(now), None),
            Err(error) => refused(&error, request.headers.contains_key(AUTHORIZATION)),
        }
    }

    async fn grant(&self, request: TokenRequest<'_>, now: u64) -> Result<Minted, TokenError> {
        let form = Form::read(request.headers, request.body)?;
        let presented = single(&request.headers.get_all("dpop"))?;
        self.refresh(now)?;
        let client = match form.client(request.headers)? {
            None => None,
            Some(client) => Some(self.client(&client, now)?),
        };
        let ground = match form.required("grant_type")? {
            "client_credentials" => {
                self.of_client(client.as_ref().ok_or_else(|| no_client("a service key is needed"))?)
            }
            EXCHANGE => self.of_exchange(&form, client.as_ref(), now).await?,
            _ => return Err(TokenError::new("unsupported_grant_type", "the grant type is not offered")),
        };
        let presented = presented.map(|proof| Presented { proof, method: "POST", url: request.url });
        let proved = presented.map(|presented| self.proved(presented, now)).transpose()?;
        // Whoever holds a bound token and not its key must not get another one for it.
        if ground.bound.is_some() && ground.bound != proved {
            let reason = if proved.is_some() { Reason::OtherKey } else { Reason::ProofMissing };
            return Err(TokenError::new("invalid_dpop_proof", reason.to_string()));
        }
        let order = order(ground, &form, proved)?;
        let mint = Arc::clone(self.mint());
        let minting = tokio::task::spawn_blocking(move || mint.mint(order, now));
        let failed = || TokenError::new("temporarily_unavailable", "the run could not be minted");
        Ok(minting.await.map_err(|_| failed())??)
    }

    /// The service that authenticates as an OAuth client with its key.
    fn client(&self, client: &Client, now: u64) -> Result<Caller, TokenError> {
        let refused = |refused: Refused| match refused.code() {
            Code::Unavailable => TokenError::of(&refused),
            _ => no_client(&refused.to_string()),
        };
        let caller = self.key(&client.secret, now).map_err(refused)?;
        // A client names itself by the key's public part or by its service's name.
        let named = caller.key.as_deref() == Some(&client.id) || caller.principal.id == client.id;
        if named { Ok(caller) } else { Err(no_client("the service key is another client's")) }
    }

    fn of_client(&self, client: &Caller) -> Ground {
        Ground {
            under: Under::Principal(client.principal.clone(), client.groups.clone()),
            actors: Vec::new(),
            scope: Scope::Unlimited,
            audience: Vec::new(),
            minted_by: minted_by(client),
            key: client.key.clone(),
            bound: None,
        }
    }

    async fn of_exchange(
        &self,
        form: &Form,
        client: Option<&Caller>,
        now: u64,
    ) -> Result<Ground, TokenError> {
        if form.optional("requested_token_type").is_some_and(|kind| ![ACCESS_TOKEN, JWT].contains(&kind)) {
            return Err(TokenError::new("invalid_request", "only access tokens are given"));
        }
        let (subject, audience, bound) = self.presented(form, "subject_token", now).await?;
        let actor = match form.optional("actor_token") {
            None if form.optional("actor_token_type").is_some() => {
                return Err(TokenError::new(
                    "invalid_request",
                    "`actor_token_type` stands without `actor_token`",
                ));
            }
            None => client.cloned(),
            Some(_) => {
                let (actor, _, bound) = self.presented(form, "actor_token", now).await?;
                if bound.is_some() {
                    return Err(TokenError::new("invalid_request", "an actor's token must not be bound"));
                }
                Some(actor)
            }
        };
        let mut actors: Vec<Actor> = actor.iter().map(actor_of).collect();
        actors.extend(subject.actors.iter().cloned());
        if actors.len() > 8 {
            return Err(TokenError::new("invalid_request", "more than eight actors stand behind each other"));
        }
        let under = match subject.run {
            RunName::Minted(run) => Under::Run(run),
            _ => Under::Principal(subject.principal.clone(), subject.groups.clone()),
        };
        let minter = actor.as_ref().unwrap_or(&subject);
        let (minted_by, key) = (minted_by(minter), minter.key.clone());
        Ok(Ground { under, actors, scope: subject.scope, audience, minted_by, key, bound })
    }

    /// The caller that a token in the form names, the endpoints it is for and the key it is bound to.
    async fn presented(
        &self,
        form: &Form,
        name: &'static str,
        now: u64,
    ) -> Result<(Caller, Vec<String>, Option<String>), TokenError> {
        let kind = if name == "actor_token" { "actor_token_type" } else { "subject_token_type" };
        if ![ACCESS_TOKEN, JWT].contains(&form.required(kind)?) {
            return Err(TokenError::new(
                "invalid_request",
                format!("`{kind}` must be that of an access token"),
            ));
        }
        let refused = |refused: Refused| TokenError::of(&refused);
        let verified = self.verified(form.required(name)?, now).await.map_err(refused)?;
        let caller = self.caller(&verified, now).map_err(refused)?;
        let endpoints = verified.endpoints(self.mint().issuer()).ok_or(Reason::Audience)?;
        Ok((caller, endpoints, verified.read.bound.clone()))
    }
}

/// What is ordered: what the form asks for, within what its credentials allow.
fn order(ground: Ground, form: &Form, proved: Option<String>) -> Result<RunOrder, TokenError> {
    let scope = match form.optional("scope") {
        None => ground.scope.clone(),
        Some(text) => {
            Scope::parse(text).map_err(|error| TokenError::new("invalid_scope", error.to_string()))?
        }
    };
    if !ground.scope.includes(&scope) {
        return Err(MintError::Wider.into());
    }
    let asked = form.all(&["resource", "audience"]);
    // Without a list of its own, what is above says for which endpoints it may be.
    let allowed = |one: &String| {
        let general =
            |own: &String| one == own || one.strip_prefix(own.as_str()).is_some_and(|r| r.starts_with('/'));
        ground.audience.is_empty() || ground.audience.iter().any(general)
    };
    if !asked.iter().all(allowed) {
        return Err(MintError::Audience.into());
    }
    let lifetime = form.optional("lifetime").map(|seconds| {
        let wrong = || TokenError::new("invalid_request", "`lifetime` is a number of seconds");
        seconds.parse::<u32>().map(|seconds| Duration::from_secs(seconds.into())).map_err(|_| wrong())
    });
    Ok(RunOrder {
        audience: if asked.is_empty() { ground.audience } else { asked },
        under: ground.under,
        actors: ground.actors,
        purpose: form.optional("purpose").map(str::to_owned),
        scope,
        lifetime: lifetime.transpose()?,
        bound: proved,
        minted_by: ground.minted_by,
        key: ground.key,
        login: None,
    })
}

fn actor_of(caller: &Caller) -> Actor {
    Actor { sub: caller.principal.id.clone(), iss: caller.principal.issuer.clone() }
}

fn minted_by(caller: &Caller) -> String {
    match &caller.key {
        Some(key) => format!("{} with key {key}", caller.principal),
        None => caller.principal.to_string(),
    }
}

fn no_client(reason: &str) -> TokenError {
    TokenError::new("invalid_client", reason)
}

/// The answer with a run's token, which holds for `seconds`.
pub(crate) fn granted(minted: &Minted, seconds: u64, refresh: Option<&str>) -> TokenReply {
    let run = &minted.run;
    let kind = if run.bound.is_some() { "DPoP" } else { "Bearer" };
    let mut body = json!({
        "access_token": minted.token.reveal(),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": kind,
        "expires_in": seconds,
        "run": run.id.to_string(),
    });
    if let Some(body) = body.as_object_mut() {
        let more = [("scope", run.scope.as_deref()), ("refresh_token", refresh)];
        body.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
    }
    TokenReply { minted: Some(run.id), ..answered(StatusCode::OK, &body) }
}

/// An answer that refuses nothing.
pub(crate) fn answered(status: StatusCode, body: &Value) -> TokenReply {
    let (headers, body) = (headers(), body.to_string());
    TokenReply { status, headers, body, minted: None, refused: None, reused: None, resource: None }
}

/// The answer with an error.
pub(crate) fn refused(error: &TokenError, by_header: bool) -> TokenReply {
    let mut headers = headers();
    let status = match error.code {
        "invalid_client" => {
            if by_header {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tollbook\""));
            }
            StatusCode::UNAUTHORIZED
        }
        "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    // RFC 6749 §5.2 allows no quotes in a description.
    let description = error.reason.replace('"', "'");
    let body = json!({ "error": error.code, "error_description": description });
    TokenReply { headers, refused: Some(error.reason.clone()), ..answered(status, &body) }
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers
}
