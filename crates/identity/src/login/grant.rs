//! The token endpoint's part in logins: codes and refresh tokens, registration.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ledger::{Hash, RunId};
use store::state::Refresh;

use super::client::Unregistered;
use super::{Logins, secret};
use crate::caller::Actor;
use crate::credentials::single;
use crate::dpop::Presented;
use crate::endpoint::{self, TokenError, TokenReply, TokenRequest};
use crate::federation::Person;
use crate::form::Form;
use crate::jose;
use crate::json;
use crate::mint::{MintError, Minted, RunOrder, Under};
use crate::refused::{Reason, Refused};
use crate::scope::Scope;
use crate::secret::Secret;

/// Prefix of refresh tokens, by which scanners know a leaked one.
const PREFIX: &str = "tbr_";

/// Largest registration.
const REGISTRATION_BYTES: usize = 64 * 1024;

/// What a code stands for.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) client: String,
    pub(super) redirect: String,
    pub(super) challenge: String,
    pub(super) scope: Scope,
    pub(super) resource: Option<String>,
    pub(super) person: Person,
    /// The run that was minted for it.
    pub(super) spent: Option<RunId>,
}

/// Why nothing is given.
struct Withheld {
    error: TokenError,
    /// Where it came a second time: what is to be recorded, and the endpoint of its login.
    reused: Option<(Refused, Option<String>)>,
}

/// What becomes of a refresh token that was looked up.
enum Renewal {
    Renewed(Minted),
    /// It had been spent before: the run is revoked.
    Reused(Minted),
    Unknown,
}

/// What is given for a code or a refresh token.
struct Given {
    minted: Minted,
    until: u64,
    refresh: Secret,
}

impl Logins {
    /// Answers a request to the token endpoint: codes and refresh tokens here, all else as
    /// [`crate::Verifier::answer`]. `now` is in seconds since the Unix epoch.
    pub async fn answer(&self, request: TokenRequest<'_>, now: u64) -> TokenReply {
        let form = match Form::read(request.headers, request.body) {
            Ok(form) => form,
            Err(error) => return endpoint::refused(&error, false),
        };
        let given = match form.optional("grant_type") {
            Some("authorization_code") => self.redeem(&form, request, now).await,
            Some("refresh_token") => self.refresh(&form, request, now).await,
            _ => return self.verifier.answer(request, now).await,
        };
        match given {
            Ok(given) => {
                let refresh = Some(given.refresh.reveal());
                endpoint::granted(&given.minted, given.until.saturating_sub(now), refresh)
            }
            Err(Withheld { error, reused }) => {
                let (reused, resource) = reused.unzip();
                let resource = resource.flatten();
                TokenReply { reused, resource, ..endpoint::refused(&error, false) }
            }
        }
    }

    /// `POST /oauth/register`, by its body (RFC 7591).
    pub async fn register(&self, body: &[u8], now: u64) -> TokenReply {
        let document = (body.len() <= REGISTRATION_BYTES).then(|| json::object(body)).flatten();
        let client = match &document {
            Some(document) => self.clients.register(document, now).await,
            None => Err(Unregistered::Document),
        };
        match client {
            Ok(client) => endpoint::answered(StatusCode::CREATED, &client),
            Err(why) => endpoint::refused(&not_registered(why), false),
        }
    }

    async fn redeem(&self, form: &Form, request: TokenRequest<'_>, now: u64) -> Result<Given, Withheld> {
        let text = form.required("code")?;
        let code = self.codes.take(text, now).ok_or_else(|| no_grant("the code is not known or too old"))?;
        if let Some(run) = code.spent {
            // RFC 6749 §4.1.2: whoever has it a second time, somebody has stolen it.
            let mint = Arc::clone(self.verifier.mint());
            blocking(move || Ok(mint.revoke(run, "a code that came twice", now)?)).await?;
            return Err(reused(Reason::CodeReused, run, code.resource));
        }
        // OAuth 2.1 has dropped `redirect_uri` here; who sends it must still be right.
        let leads_elsewhere = form.optional("redirect_uri").is_some_and(|sent| sent != code.redirect);
        if form.required("client_id")? != code.client || leads_elsewhere {
            return Err(no_grant("the code is another client's").into());
        }
        let verifier = form.required("code_verifier")?;
        let sound = (43..=128).contains(&verifier.len());
        if !sound || jose::encode(Hash::of(verifier.as_bytes()).0) != code.challenge {
            return Err(no_grant("the code was begun by somebody else").into());
        }
        let asked = form.all(&["resource"]);
        if asked.iter().any(|one| Some(one) != code.resource.as_ref()) {
            return Err(TokenError::new("invalid_target", "the login was for another resource").into());
        }
        let bound = self.proved(request, now)?;
        let order = self.order(&code, bound, now);
        let (mint, client) = (Arc::clone(self.verifier.mint()), code.client.clone());
        let token = refresh_token()?;
        let (digest, until) = (digest(&token), self.until(now));
        let minting = move || -> Result<Minted, MintError> {
            let run = mint.mint(order, now)?.run;
            mint.state().add_refresh(run.id, &client, digest, now)?;
            mint.renew(run.id, until, now)
        };
        let minted = blocking(minting).await?;
        let spent = Code { spent: Some(minted.run.id), ..code };
        // Where there is no place left the code is gone, which is as good.
        let _ = self.codes.put(text, spent, now.saturating_add(super::CODE_SECONDS), now);
        Ok(Given { until: until.min(minted.run.expires), minted, refresh: token })
    }

    async fn refresh(&self, form: &Form, request: TokenRequest<'_>, now: u64) -> Result<Given, Withheld> {
        let presented = form.required("refresh_token")?;
        let client = form.required("client_id")?.to_owned();
        let old = Hash::of(presented.as_bytes());
        // Looked at before the proof is: who has no token could have us remember proofs without end.
        let run = self.login_of(&client, old).await?;
        let bound = self.proved(request, now)?;
        let (mint, next) = (Arc::clone(self.verifier.mint()), refresh_token()?);
        let (next_digest, until) = (digest(&next), self.until(now));
        let minting = move || -> Result<Renewal, MintError> {
            // Before anything is spent: without its key a bound login's token opens nothing.
            let minted = mint.renew(run, until, now)?;
            if minted.run.bound != bound {
                return Err(MintError::Binding);
            }
            match mint.state().rotate_refresh(&client, old, next_digest, now)? {
                Refresh::Rotated(_) => Ok(Renewal::Renewed(minted)),
                Refresh::Reused(_) => Ok(Renewal::Reused(minted)),
                Refresh::Unknown => Ok(Renewal::Unknown),
            }
        };
        match blocking(minting).await.map_err(TokenError::of_grant)? {
            Renewal::Renewed(minted) => {
                Ok(Given { until: until.min(minted.run.expires), minted, refresh: next })
            }
            Renewal::Reused(Minted { run, .. }) => {
                Err(reused(Reason::RefreshReused, run.id, run.audience.into_iter().next()))
            }
            Renewal::Unknown => Err(no_refresh().into()),
        }
    }

    /// The run that a client's refresh token is of, spent or not.
    async fn login_of(&self, client: &str, digest: Hash) -> Result<RunId, TokenError> {
        let (mint, client) = (Arc::clone(self.verifier.mint()), client.to_owned());
        let found = blocking(move || Ok(mint.state().refresh_of(&client, digest)?)).await?;
        found.ok_or_else(no_refresh)
    }

    fn order(&self, code: &Code, bound: Option<String>, now: u64) -> RunOrder {
        let rest = code.person.until.map(|until| Duration::from_secs(until.saturating_sub(now)));
        let client = Actor { sub: code.client.clone(), iss: self.verifier.mint().issuer().to_string() };
        RunOrder {
            under: Under::Principal(code.person.principal.clone(), code.person.groups.clone()),
            minted_by: format!("{} by login with {}", code.person.principal, client.sub),
            key: None,
            actors: vec![client],
            purpose: None,
            scope: code.scope.clone(),
            audience: code.resource.iter().cloned().collect(),
            lifetime: Some(rest.map_or(self.lives.login, |rest| rest.min(self.lives.login))),
            bound,
            login: code.person.facts.clone(),
        }
    }

    fn proved(&self, request: TokenRequest<'_>, now: u64) -> Result<Option<String>, TokenError> {
        let Some(proof) = single(&request.headers.get_all("dpop"))? else { return Ok(None) };
        let presented = Presented { proof, method: "POST", url: request.url };
        Ok(Some(self.verifier.proved(presented, now)?))
    }

    fn until(&self, now: u64) -> u64 {
        now.saturating_add(self.lives.token.as_secs())
    }
}

impl From<TokenError> for Withheld {
    fn from(error: TokenError) -> Withheld {
        Withheld { error, reused: None }
    }
}

/// What holds once has come a second time, and the run of that login is revoked.
fn reused(reason: Reason, run: RunId, resource: Option<String>) -> Withheld {
    tracing::warn!(%run, "{reason}");
    let refused = Refused { reason, issuer: None, run: Some(run) };
    Withheld { error: no_grant(reason.to_string()), reused: Some((refused, resource)) }
}

/// Does what blocks on the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MintError> + Send + 'static,
) -> Result<T, TokenError> {
    let failed = |_| TokenError::new("temporarily_unavailable", "the state cannot be written");
    Ok(tokio::task::spawn_blocking(work).await.map_err(failed)??)
}

fn refresh_token() -> Result<Secret, TokenError> {
    let failed = |_| TokenError::new("temporarily_unavailable", "the system's random source failed");
    Ok(Secret::new(format!("{PREFIX}{}", secret().map_err(failed)?)))
}

fn digest(token: &Secret) -> Hash {
    Hash::of(token.reveal().as_bytes())
}

fn no_grant(reason: impl Into<String>) -> TokenError {
    TokenError::new("invalid_grant", reason)
}

fn no_refresh() -> TokenError {
    no_grant("the refresh token does not count")
}

fn not_registered(why: Unregistered) -> TokenError {
    match why {
        Unregistered::Document => TokenError::new(
            "invalid_client_metadata",
            "redirect URIs must be https, http on the loopback, or of an application's own scheme; 1 to 16 of them",
        ),
        Unregistered::Crowded => TokenError::new(
            "temporarily_unavailable",
            "too many clients have registered in the last ten minutes; try again in a few",
        ),
        Unregistered::Failed => {
            TokenError::new("temporarily_unavailable", "the client cannot be kept; try again")
        }
    }
}
