//! Logging people in: Tollbook as the authorization server of its endpoints (OAuth 2.1), for clients that the corporate
//! provider does not know. Without HTTP: queries, forms and cookies in, [`Page`]s out.
//!
//! ```text
//! authorize ─► Consent ─► consent ─► the provider ─► callback ─► back to the client with a code ─► token endpoint
//! ```
//!
//! A login is bound to the browser that began it (cookie), to the client (exact redirect, PKCE S256 alone), and to the
//! provider's answer (state, nonce, PKCE, `iss`). Each login is a run; its refresh tokens hold once each, and one that
//! comes twice revokes the run. Nobody is sent on to the provider who has not agreed to this client.

mod client;
mod federation;
mod grant;
mod shelf;

use std::sync::Arc;

use aws_lc_rs::constant_time;
use ledger::Hash;

use self::client::{Client, Clients};
use self::federation::{Federation, Person, Trip};
use self::grant::Code;
use self::shelf::Shelf;
use crate::form::Form;
use crate::random::{self, NoRandomness};
use crate::scope::Scope;
use crate::settings::{LoginSettings, Settings};
use crate::verifier::{SetupError, Verifier};

/// Seconds that a login may take.
const LOGIN_SECONDS: u64 = 600;

/// Seconds that a code holds.
const CODE_SECONDS: u64 = 60;

/// Digits of what must not be guessed.
const DIGITS: usize = 43;

/// Longest `state` of a client.
const STATE_BYTES: usize = 2048;

/// Logs people in.
#[derive(Debug)]
pub struct Logins {
    verifier: Arc<Verifier>,
    settings: LoginSettings,
    clients: Clients,
    federation: Federation,
    begun: Shelf<Begun>,
    codes: Shelf<Code>,
}

/// What the browser is to be shown. The gateway makes HTML of it, with `frame-ancestors 'none'` and `no-store`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// Ask whether this client may act for the person. The form goes to `/oauth/consent` with `ticket` and `answer`,
    /// `allow` or `deny`.
    Consent {
        /// What the client calls itself; anybody may call themselves anything.
        name: String,
        /// The client's id: for a metadata document its URL, which is its true name.
        client: String,
        /// Where the login will lead.
        redirect: String,
        /// What it asks for; `None`: all that the person may do.
        scope: Option<String>,
        /// What the form sends back.
        ticket: String,
        /// Value of `Set-Cookie`.
        cookie: String,
    },
    /// 303 to this URL.
    Redirect(String),
    /// 400 with this text, and no way back: nobody has agreed to be sent where the request says.
    Refused(&'static str),
}

/// A login that was begun.
#[derive(Debug)]
struct Begun {
    asked: Arc<Asked>,
    /// The trip to the provider, once consent was given.
    trip: Option<Trip>,
}

/// What a client asked for.
#[derive(Debug)]
struct Asked {
    client: Client,
    redirect: String,
    state: Option<String>,
    challenge: String,
    scope: Scope,
    resource: Option<String>,
    /// Digest of the cookie of the browser that began it.
    browser: Hash,
}

/// Why a client's request is sent back to it.
struct Denied(&'static str, &'static str);

impl Logins {
    /// Logins as the settings have them; `None` if they have none.
    ///
    /// # Errors
    /// [`SetupError::Issuer`] where the issuer of the logins is none of the settings'.
    pub fn new(settings: &Settings, verifier: Arc<Verifier>) -> Result<Option<Logins>, SetupError> {
        let Some(logins) = settings.logins.clone() else { return Ok(None) };
        let unknown = || SetupError::Issuer {
            url: logins.issuer.clone(),
            why: "people are to log in with it, and it is not configured".to_owned(),
        };
        let provider = Arc::clone(verifier.provider(&logins.issuer).ok_or_else(unknown)?);
        let clients = Clients::new(&settings.public_url, Arc::clone(provider.fetcher()), verifier.mint());
        let federation = Federation::new(provider, &logins, &settings.public_url);
        let (begun, codes) = (Shelf::default(), Shelf::default());
        Ok(Some(Logins { verifier, settings: logins, clients, federation, begun, codes }))
    }

    /// `GET /oauth/authorize`, by its query and the request's `Cookie` header.
    pub async fn authorize(&self, query: &str, cookie: Option<&str>, now: u64) -> Page {
        let Ok(form) = Form::parse(query.as_bytes()) else {
            return Page::Refused("the request cannot be read, or a parameter stands twice");
        };
        let client = match form.optional("client_id") {
            Some(id) => self.clients.find(id, now).await,
            None => None,
        };
        let Some(client) = client else { return Page::Refused("the client is not known here") };
        let redirect = form.optional("redirect_uri").filter(|redirect| client.may_lead_to(redirect));
        let Some(redirect) = redirect else {
            return Page::Refused("the client is not registered with that redirect URI");
        };
        let redirect = redirect.to_owned();
        let state = form.optional("state").map(str::to_owned);
        match self.begin(&form, client, (&redirect, cookie), now) {
            Ok(page) => page,
            // Whoever registers a client could make us send browsers to any site, unasked (RFC 9700 §4.11.2).
            Err(Denied(_, why)) if redirect.starts_with("https:") => Page::Refused(why),
            Err(denied) => self.back(&redirect, state.as_deref(), &denied),
        }
    }

    /// `POST /oauth/consent`, by its form and the request's `Cookie` header.
    pub async fn consent(&self, body: &[u8], cookie: Option<&str>, now: u64) -> Page {
        let Ok(form) = Form::parse(body) else { return Page::Refused("the form cannot be read") };
        let begun = self.take(form.optional("ticket"), cookie, now).filter(|begun| begun.trip.is_none());
        let Some(Begun { asked, .. }) = begun else { return lost() };
        if form.optional("answer") != Some("allow") {
            let denied = Denied("access_denied", "the person did not agree");
            return self.back(&asked.redirect, asked.state.as_deref(), &denied);
        }
        let sent = async {
            let trip = self.federation.depart().await?;
            let state = random::digits(DIGITS).map_err(|_| unavailable())?;
            let url = self.federation.url(&trip, &state);
            let entry = Begun { asked: Arc::clone(&asked), trip: Some(trip) };
            self.begun.put(&state, entry, now.saturating_add(LOGIN_SECONDS), now).map_err(|_| crowded())?;
            Ok(Page::Redirect(url))
        };
        let sent: Result<Page, Denied> = sent.await;
        sent.unwrap_or_else(|denied| self.back(&asked.redirect, asked.state.as_deref(), &denied))
    }

    /// `GET /oauth/callback`, where the provider sends the browser: its query and the request's `Cookie` header.
    pub async fn callback(&self, query: &str, cookie: Option<&str>, now: u64) -> Page {
        let Ok(form) = Form::parse(query.as_bytes()) else { return lost() };
        let begun = self.take(form.optional("state"), cookie, now);
        let Some(Begun { asked, trip: Some(trip) }) = begun else { return lost() };
        let person = match self.federation.arrive(&trip, &form, now).await {
            Ok(person) => person,
            Err(denied) => return self.back(&asked.redirect, asked.state.as_deref(), &denied),
        };
        match self.code(&asked, person, now) {
            Ok(code) => {
                let mut answer = vec![("code", code.as_str())];
                answer.extend(asked.state.as_deref().map(|state| ("state", state)));
                answer.push(("iss", self.verifier.mint().issuer()));
                Page::Redirect(extended(&asked.redirect, &answer))
            }
            Err(denied) => self.back(&asked.redirect, asked.state.as_deref(), &denied),
        }
    }

    fn begin(
        &self,
        form: &Form,
        client: Client,
        (redirect, cookie): (&str, Option<&str>),
        now: u64,
    ) -> Result<Page, Denied> {
        let invalid = |why| Denied("invalid_request", why);
        if form.optional("response_type") != Some("code") {
            return Err(Denied("unsupported_response_type", "only codes are given"));
        }
        if form.optional("request").is_some() || form.optional("request_uri").is_some() {
            return Err(Denied("request_not_supported", "request objects are not read"));
        }
        // OAuth 2.1 §4.1.1, and no `plain`: whoever sees the request would have the code.
        let challenge = form.optional("code_challenge").filter(|challenge| challenge.len() == DIGITS);
        let challenge = challenge.filter(|_| form.optional("code_challenge_method") == Some("S256"));
        let challenge = challenge.ok_or(invalid("PKCE with S256 is needed"))?;
        let state = form.optional("state");
        if state.is_some_and(|state| state.len() > STATE_BYTES) {
            return Err(invalid("the state is too long"));
        }
        let scope = form.optional("scope").map_or(Ok(Scope::Unlimited), Scope::parse);
        let scope = scope.map_err(|_| Denied("invalid_scope", "that is no scope"))?;
        let resource = match form.all(&["resource"]).as_slice() {
            [] => None,
            [one] if self.is_ours(one) => Some(one.clone()),
            _ => return Err(Denied("invalid_target", "the resource is not one of this gateway")),
        };
        let (name, id) = (client.name.clone(), client.id.clone());
        let ticket = secret()?;
        // Several logins may go on in one browser: a client with three servers begins three at once.
        let known = self.browser(cookie).filter(|known| known.len() == DIGITS);
        let cookie = known.map_or_else(secret, |known| Ok(known.to_owned()))?;
        let asked = Asked {
            client,
            redirect: redirect.to_owned(),
            state: state.map(str::to_owned),
            challenge: challenge.to_owned(),
            scope: scope.clone(),
            resource,
            browser: Hash::of(cookie.as_bytes()),
        };
        let begun = Begun { asked: Arc::new(asked), trip: None };
        self.begun.put(&ticket, begun, now.saturating_add(LOGIN_SECONDS), now).map_err(|_| crowded())?;
        let cookie = self.cookie(&cookie);
        Ok(Page::Consent {
            name,
            client: id,
            redirect: redirect.to_owned(),
            scope: scope.text(),
            ticket,
            cookie,
        })
    }

    fn code(&self, asked: &Asked, person: Person, now: u64) -> Result<String, Denied> {
        let code = secret()?;
        let entry = Code {
            client: asked.client.id.clone(),
            redirect: asked.redirect.clone(),
            challenge: asked.challenge.clone(),
            scope: asked.scope.clone(),
            resource: asked.resource.clone(),
            person,
            spent: None,
        };
        self.codes.put(&code, entry, now.saturating_add(CODE_SECONDS), now).map_err(|_| crowded())?;
        Ok(code)
    }

    /// The login of that ticket, if this browser began it. A ticket holds once.
    fn take(&self, ticket: Option<&str>, cookie: Option<&str>, now: u64) -> Option<Begun> {
        let begun = self.begun.take(ticket?, now)?;
        let presented = Hash::of(self.browser(cookie)?.as_bytes());
        constant_time::verify_slices_are_equal(&presented.0, &begun.asked.browser.0).ok().map(|()| begun)
    }

    /// What our cookie says in a `Cookie` header.
    fn browser<'a>(&self, cookie: Option<&'a str>) -> Option<&'a str> {
        let mut cookies = cookie?.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = cookies.find(|(name, _)| *name == self.cookie_name())?;
        value.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(value)
    }

    fn is_ours(&self, resource: &str) -> bool {
        let own = &**self.verifier.mint().issuer();
        resource == own || resource.strip_prefix(own).is_some_and(|path| path.starts_with("/mcp/"))
    }

    fn cookie_name(&self) -> &'static str {
        // The prefix demands TLS, which a gateway on the loopback need not have.
        let secure = self.verifier.mint().issuer().starts_with("https:");
        if secure { "__Host-tollbook-login" } else { "tollbook-login" }
    }

    fn cookie(&self, value: &str) -> String {
        let name = self.cookie_name();
        let secure = if name.starts_with("__Host-") { "; Secure" } else { "" };
        // Lax: the provider's redirect comes from another site.
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={LOGIN_SECONDS}{secure}")
    }

    /// Back to the client with an error (RFC 6749 §4.1.2.1, RFC 9207).
    fn back(&self, redirect: &str, state: Option<&str>, denied: &Denied) -> Page {
        let Denied(code, why) = denied;
        let mut answer = vec![("error", *code), ("error_description", *why)];
        answer.extend(state.map(|state| ("state", state)));
        answer.push(("iss", self.verifier.mint().issuer()));
        Page::Redirect(extended(redirect, &answer))
    }
}

impl From<NoRandomness> for Denied {
    fn from(_: NoRandomness) -> Denied {
        unavailable()
    }
}

fn secret() -> Result<String, NoRandomness> {
    random::digits(DIGITS)
}

fn unavailable() -> Denied {
    Denied("temporarily_unavailable", "the login cannot go on now")
}

fn crowded() -> Denied {
    Denied("temporarily_unavailable", "too many logins at a time")
}

fn lost() -> Page {
    Page::Refused("the login is not known, has taken too long, or was begun in another browser; begin again")
}

/// A URL with further parameters.
fn extended(url: &str, parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}{query}")
}
