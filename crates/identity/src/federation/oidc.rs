//! The trip to the provider: OpenID Connect's code flow with PKCE, state and nonce (Core §3.1).

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::Hash;
use serde_json::Value;

use super::{Denied, Person, Stopped, extended, unavailable};
use crate::caller::{Principal, PrincipalKind};
use crate::claims;
use crate::form::Form;
use crate::jose::{self, Embedded, Jws};
use crate::json;
use crate::provider::{Provider, causes};
use crate::random;
use crate::refused::{Reason, Refused};
use crate::secret::Secret;
use crate::settings::{Issuer, LoginSettings};

/// Digits of what must not be guessed.
const DIGITS: usize = 43;

/// Where the provider is, and what we are to it.
#[derive(Debug)]
pub(crate) struct Oidc {
    provider: Arc<Provider>,
    client_id: String,
    client_secret: Option<Secret>,
    scopes: String,
    callback: String,
    /// The provider's places, once they were found. Locked for one look-up.
    places: Mutex<Option<Places>>,
}

#[derive(Debug, Clone)]
struct Places {
    authorize: String,
    token: String,
    /// Whether the provider says `iss` in its answers (RFC 9207 §3).
    says_issuer: bool,
}

/// What must come back from a trip.
#[derive(Debug)]
pub(crate) struct Trip {
    nonce: String,
    verifier: String,
    places: Places,
}

impl Oidc {
    pub(crate) fn new(provider: Arc<Provider>, settings: &LoginSettings, callback: String) -> Oidc {
        Oidc {
            provider,
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
            scopes: settings.scopes.join(" "),
            callback,
            places: Mutex::default(),
        }
    }

    /// Makes ready for a trip.
    pub(super) async fn depart(&self) -> Result<Trip, Denied> {
        let places = self.places().await.ok_or_else(unavailable)?;
        Ok(Trip { nonce: random::digits(DIGITS)?, verifier: random::digits(DIGITS)?, places })
    }

    /// Where to send the browser.
    pub(super) fn url(&self, trip: &Trip, state: &str) -> String {
        let challenge = jose::encode(Hash::of(trip.verifier.as_bytes()).0);
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.client_id),
            ("redirect_uri", &self.callback),
            ("scope", &self.scopes),
            ("state", state),
            ("nonce", &trip.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        extended(&trip.places.authorize, &parameters)
    }

    /// Who has logged in, by the provider's answer to the browser.
    pub(super) async fn arrive(&self, trip: &Trip, form: &Form, now: u64) -> Result<Person, Stopped> {
        // An answer of another provider is not looked at, not even for its error (RFC 9207 §2.4).
        let issuer = form.optional("iss");
        let is_mixed = match issuer {
            Some(issuer) => issuer != self.provider.settings.url,
            None => trip.places.says_issuer,
        };
        if is_mixed {
            return Err(Denied("access_denied", "the answer is another provider's").into());
        }
        if form.optional("error").is_some() {
            return Err(Denied("access_denied", "the provider did not log the person in").into());
        }
        let code = form.optional("code").ok_or(Denied("server_error", "the provider gave no code"))?;
        let token =
            self.redeem(trip, code).await.ok_or(Denied("server_error", "the code was not redeemed"))?;
        let person = self.person(trip, &token, now).await;
        person.map_err(|reason| {
            tracing::warn!(issuer = &*self.provider.name, %reason, "a login's ID token does not count");
            let denied = Denied("access_denied", "the provider's ID token does not count");
            Stopped { denied, refused: Some(Refused::from(reason).of(&self.provider.name)) }
        })
    }

    /// Redeems the provider's code for an ID token.
    async fn redeem(&self, trip: &Trip, code: &str) -> Option<String> {
        let (form, authorization) = self.redemption(trip, code);
        let answer = self.provider.post(&trip.places.token, form, authorization).await;
        let answer = answer.inspect_err(|error| {
            tracing::warn!(issuer = &*self.provider.name, error = causes(error), "a code was not redeemed");
        });
        let answer = json::object(&answer.ok()?)?;
        answer.get("id_token").and_then(Value::as_str).map(str::to_owned)
    }

    /// The form that redeems a code, and what it is presented with.
    fn redemption(&self, trip: &Trip, code: &str) -> (String, Option<String>) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.callback)
            .append_pair("code_verifier", &trip.verifier);
        let escaped = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let authorization = self.client_secret.as_ref().map(|secret| {
            let pair = format!("{}:{}", escaped(&self.client_id), escaped(secret.reveal()));
            format!("Basic {}", STANDARD.encode(pair))
        });
        if authorization.is_none() {
            form.append_pair("client_id", &self.client_id);
        }
        (form.finish(), authorization)
    }

    /// Reads an ID token (Core §3.1.3.7).
    async fn person(&self, trip: &Trip, token: &str, now: u64) -> Result<Person, Reason> {
        let jws = Jws::parse(token, Embedded::Refused)?;
        self.provider.verify(&jws, now).await?;
        let settings = &self.provider.settings;
        let text = |name| claims::text(&jws.claims, name);
        if text("iss")? != Some(&settings.url) {
            return Err(Reason::Issuer);
        }
        let audience = claims::audience(&jws.claims)?;
        let party = text("azp")?;
        let is_ours = audience.contains(&self.client_id)
            && party.is_none_or(|party| party == self.client_id)
            && (audience.len() == 1 || party.is_some());
        if !is_ours {
            return Err(Reason::Audience);
        }
        if text("nonce")? != Some(&trip.nonce) {
            return Err(Reason::Claim("nonce"));
        }
        // Who logs in at a browser is a person, whatever the rule for access tokens is.
        let settings = Issuer { kind: crate::settings::KindRule::Users, ..settings.clone() };
        let read = claims::map(&jws.claims, &settings, now)?;
        let principal = Principal { kind: PrincipalKind::User, ..read.principal };
        let name = text("name").ok().flatten().and_then(claims::name);
        Ok(Person { principal, groups: read.groups, name, until: None, facts: None })
    }

    async fn places(&self) -> Option<Places> {
        let known = self.places.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return known;
        }
        let metadata = self.provider.metadata().await;
        let metadata = metadata.inspect_err(|error| {
            tracing::warn!(issuer = &*self.provider.name, error = causes(error), "nobody can log in");
        });
        let metadata = metadata.ok()?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
        let says = metadata.get("authorization_response_iss_parameter_supported");
        let places = Places {
            authorize: text("authorization_endpoint")
                .filter(|url| crate::fetch::Place::parse(url).is_ok())?,
            token: text("token_endpoint")?,
            says_issuer: says.and_then(Value::as_bool) == Some(true),
        };
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Some(places.clone());
        Some(places)
    }
}
