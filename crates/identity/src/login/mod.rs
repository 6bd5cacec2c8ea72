//! Logging people in: Tollbook as the authorization server of its endpoints (OAuth 2.1), for clients that the corporate
//! provider does not know. Without HTTP: queries, forms and cookies in, [`Page`]s out.
//!
//! ```text
//! authorize ─► Consent ─► consent ─► the provider ─► callback ─► back to the client with a code ─► token endpoint
//!                                                └► assertion ─► arrived ─┘
//! ```
//!
//! A SAML provider has the browser send its response, as a form of another site's, and with such a form browsers send no
//! cookie. So what it brings is judged first, and then the browser comes back with its cookie and a ticket for that.
//!
//! A login is bound to the browser that began it (cookie), to the client (exact redirect, PKCE S256 alone), and to the
//! provider's answer (state, nonce, PKCE, `iss`). Each login is a run; its refresh tokens hold once each, and one that
//! comes twice revokes the run. Nobody is sent on to the provider who has not agreed to this client.

mod asked;
mod client;
mod failures;
mod grant;
pub(crate) mod shelf;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time;
use ledger::Hash;

use self::asked::Asked;
use self::client::{Client, Clients};
use self::grant::Code;
use self::shelf::Shelf;
use crate::federation::{Denied, Federation, Oidc, Person, Stopped, Trip, extended, saml, unusable};
use crate::form::Form;
use crate::random::{self, NoRandomness};
use crate::refused::{Reason, Refused};
use crate::saml::Flaw;
use crate::settings::{LoginSettings, Settings};
use crate::verifier::{SetupError, Verifier};

/// Seconds that a login may take.
const LOGIN_SECONDS: u64 = 600;

/// Seconds from what the provider brought to the browser that brings its cookie.
const ARRIVAL_SECONDS: u64 = 60;

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
    lives: Lives,
    clients: Clients,
    federation: Federation,
    begun: Shelf<Begun>,
    codes: Shelf<Code>,
}

/// How long what is given holds.
#[derive(Debug, Clone, Copy)]
struct Lives {
    login: Duration,
    token: Duration,
}

/// What becomes of a browser that comes from the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// What it is to be shown.
    pub page: Page,
    /// What is to be recorded, where the provider's answer was refused.
    pub refused: Option<Refused>,
    /// The endpoint that the login was for, as far as that is known.
    pub resource: Option<String>,
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
    stage: Stage,
}

/// How far a login is.
#[derive(Debug)]
enum Stage {
    /// The person is asked.
    Consent,
    /// The browser is with the provider.
    Away(Trip),
    /// The provider has said who it is; the browser has yet to show that it is the one that began.
    Known(Person),
}

impl Logins {
    /// Logins as the settings have them; `None` if they have none.
    ///
    /// # Errors
    /// [`SetupError::Issuer`] where the issuer of the logins is none of the settings', or the SAML provider is one of them.
    pub fn new(settings: &Settings, verifier: Arc<Verifier>) -> Result<Option<Logins>, SetupError> {
        let (federation, lives) = match (&settings.logins, &settings.saml) {
            (None, None) => return Ok(None),
            (Some(logins), None) => {
                let lives = Lives { login: logins.lifetime, token: logins.token_lifetime };
                (oidc(settings, logins, &verifier)?, lives)
            }
            (None, Some(own)) => {
                let lives = Lives { login: own.lifetime, token: own.token_lifetime };
                (saml(own, &format!("{}/oauth", settings.public_url), &verifier)?, lives)
            }
            (Some(_), Some(own)) => {
                return Err(unusable(
                    &own.entity_id,
                    "people log in with an issuer already; choose one of both",
                ));
            }
        };
        let clients = Clients::new(&settings.public_url, Arc::clone(verifier.fetcher()), verifier.mint());
        let (begun, codes) = (Shelf::default(), Shelf::default());
        Ok(Some(Logins { verifier, lives, clients, federation, begun, codes }))
    }

    /// The metadata for the SAML provider; `None` if people log in otherwise.
    pub fn saml_metadata(&self) -> Option<String> {
        match &self.federation {
            Federation::Saml(saml) => Some(saml.metadata()),
            Federation::Oidc(_) => None,
        }
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
        match self.begin(&form, &client, (&redirect, cookie), now) {
            Ok(page) => page,
            Err(denied) if client::stays_here(&redirect) => self.back(&redirect, state.as_deref(), &denied),
            // Whoever registers a client could make us send browsers to any site, unasked (RFC 9700 §4.11.2).
            Err(Denied(_, why)) => Page::Refused(why),
        }
    }

    /// `POST /oauth/consent`, by its form and the request's `Cookie` header.
    pub async fn consent(&self, body: &[u8], cookie: Option<&str>, now: u64) -> Page {
        let Ok(form) = Form::parse(body) else { return Page::Refused("the form cannot be read") };
        let begun = self
            .take(form.optional("ticket"), cookie, now)
            .filter(|begun| matches!(begun.stage, Stage::Consent));
        let Some(Begun { asked, .. }) = begun else { return lost() };
        if form.optional("answer") != Some("allow") {
            let denied = Denied("access_denied", "the person did not agree");
            return self.back(&asked.redirect, asked.state.as_deref(), &denied);
        }
        let sent = async {
            let state = secret()?;
            let (trip, url) = self.federation.depart(&state, now).await?;
            let entry = Begun { asked: Arc::clone(&asked), stage: Stage::Away(trip) };
            self.begun.put(&state, entry, now.saturating_add(LOGIN_SECONDS), now).map_err(|_| crowded())?;
            Ok(Page::Redirect(url))
        };
        let sent: Result<Page, Denied> = sent.await;
        sent.unwrap_or_else(|denied| self.back(&asked.redirect, asked.state.as_deref(), &denied))
    }

    /// `GET /oauth/callback`, where an OpenID provider sends the browser: its query and the request's `Cookie` header.
    pub async fn callback(&self, query: &str, cookie: Option<&str>, now: u64) -> Landing {
        let Ok(form) = Form::parse(query.as_bytes()) else { return Landing::lost() };
        let begun = self.take(form.optional("state"), cookie, now);
        let Some(Begun { asked, stage: Stage::Away(trip) }) = begun else { return Landing::lost() };
        match self.federation.arrive(&trip, &form, now).await {
            Ok(person) => self.home(&asked, person, now),
            Err(stopped) => self.stopped(&asked, stopped),
        }
    }

    /// `POST /oauth/saml/acs`, where a SAML provider has the browser send its response: the form. The cookie does not come
    /// with it.
    pub async fn assertion(&self, body: &[u8], now: u64) -> Landing {
        let Ok(form) = Form::parse_any(body) else { return Landing::flawed(Flaw::Form) };
        // Whoever knows a state began the login, or was sent to the provider with it.
        let begun = form.optional("RelayState").and_then(|state| self.begun.take(state, now));
        let Some(Begun { asked, stage: Stage::Away(trip) }) = begun else {
            return Landing::flawed(Flaw::Login);
        };
        let person = match self.federation.arrive(&trip, &form, now).await {
            Ok(person) => person,
            Err(stopped) => return self.stopped(&asked, stopped),
        };
        let shelved = secret().map_err(Denied::from).and_then(|ticket| {
            let entry = Begun { asked: Arc::clone(&asked), stage: Stage::Known(person) };
            let until = now.saturating_add(ARRIVAL_SECONDS);
            self.begun.put(&ticket, entry, until, now).map_err(|_| crowded()).map(|()| ticket)
        });
        match shelved {
            Ok(ticket) => {
                let url = format!("{}/oauth/saml/arrived", self.verifier.mint().issuer());
                Landing::at(Page::Redirect(extended(&url, &[("ticket", &ticket)])), &asked)
            }
            Err(denied) => self.stopped(&asked, denied.into()),
        }
    }

    /// `GET /oauth/saml/arrived`, where [`Logins::assertion`] sends the browser: its query and the request's `Cookie`
    /// header.
    pub fn arrived(&self, query: &str, cookie: Option<&str>, now: u64) -> Landing {
        let Ok(form) = Form::parse(query.as_bytes()) else { return Landing::flawed(Flaw::Login) };
        let begun = form.optional("ticket").and_then(|ticket| self.begun.take(ticket, now));
        match begun {
            Some(Begun { asked, stage: Stage::Known(person) }) if self.has_begun(&asked, cookie) => {
                self.home(&asked, person, now)
            }
            // Recorded where it was tried: somebody may be brought into another's login.
            Some(Begun { asked, .. }) => {
                Landing { resource: asked.resource.clone(), ..Landing::flawed(Flaw::Login) }
            }
            None => Landing::flawed(Flaw::Login),
        }
    }

    /// Back to the client with a code.
    fn home(&self, asked: &Asked, person: Person, now: u64) -> Landing {
        match self.code(asked, person, now) {
            Ok(code) => {
                let mut answer = vec![("code", code.as_str())];
                answer.extend(asked.state.as_deref().map(|state| ("state", state)));
                answer.push(("iss", self.verifier.mint().issuer()));
                Landing::at(Page::Redirect(extended(&asked.redirect, &answer)), asked)
            }
            Err(denied) => self.stopped(asked, denied.into()),
        }
    }

    fn stopped(&self, asked: &Asked, stopped: Stopped) -> Landing {
        let page = self.back(&asked.redirect, asked.state.as_deref(), &stopped.denied);
        Landing { refused: stopped.refused, ..Landing::at(page, asked) }
    }

    fn begin(
        &self,
        form: &Form,
        client: &Client,
        (redirect, cookie): (&str, Option<&str>),
        now: u64,
    ) -> Result<Page, Denied> {
        // Several logins may go on in one browser: a client with three servers begins three at once.
        let known = self.browser(cookie).filter(|known| known.len() == DIGITS);
        let cookie = known.map_or_else(secret, |known| Ok(known.to_owned()))?;
        let browser = Hash::of(cookie.as_bytes());
        let asked = Asked::read(form, self.verifier.mint().issuer(), (client, redirect), browser)?;
        let (scope, ticket) = (asked.scope.clone(), secret()?);
        let begun = Begun { asked: Arc::new(asked), stage: Stage::Consent };
        self.begun.put(&ticket, begun, now.saturating_add(LOGIN_SECONDS), now).map_err(|_| crowded())?;
        Ok(Page::Consent {
            name: client.name.clone(),
            client: client.id.clone(),
            redirect: redirect.to_owned(),
            scope,
            ticket,
            cookie: self.cookie(&cookie),
        })
    }

    fn code(&self, asked: &Asked, person: Person, now: u64) -> Result<String, Denied> {
        let code = secret()?;
        let scope = asked.scope().map_err(|_| Denied("invalid_scope", "that is no scope"))?;
        let entry = Code {
            client: asked.client.clone(),
            redirect: asked.redirect.clone(),
            challenge: asked.challenge.clone(),
            scope,
            resource: asked.resource.clone(),
            person,
            spent: None,
        };
        self.codes.put(&code, entry, now.saturating_add(CODE_SECONDS), now).map_err(|_| crowded())?;
        Ok(code)
    }

    /// The login of that ticket, if this browser began it. A ticket holds once.
    fn take(&self, ticket: Option<&str>, cookie: Option<&str>, now: u64) -> Option<Begun> {
        self.begun.take(ticket?, now).filter(|begun| self.has_begun(&begun.asked, cookie))
    }

    /// Whether a browser with that cookie began a login.
    fn has_begun(&self, asked: &Asked, cookie: Option<&str>) -> bool {
        let Some(presented) = self.browser(cookie).map(|cookie| Hash::of(cookie.as_bytes())) else {
            return false;
        };
        constant_time::verify_slices_are_equal(&presented.0, &asked.browser.0).is_ok()
    }

    /// What our cookie says in a `Cookie` header.
    fn browser<'a>(&self, cookie: Option<&'a str>) -> Option<&'a str> {
        let mut cookies = cookie?.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = cookies.find(|(name, _)| *name == self.cookie_name())?;
        value.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(value)
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

impl Landing {
    fn at(page: Page, asked: &Asked) -> Landing {
        Landing { page, refused: None, resource: asked.resource.clone() }
    }

    fn lost() -> Landing {
        Landing { page: lost(), refused: None, resource: None }
    }

    /// Who brings what belongs to no login is sent nowhere.
    fn flawed(flaw: Flaw) -> Landing {
        Landing { refused: Some(Reason::from(flaw).into()), ..Landing::lost() }
    }
}

fn oidc(settings: &Settings, logins: &LoginSettings, verifier: &Verifier) -> Result<Federation, SetupError> {
    let unknown = || unusable(&logins.issuer, "people are to log in with it, and it is not configured");
    let provider = Arc::clone(verifier.provider(&logins.issuer).ok_or_else(unknown)?);
    let callback = format!("{}/oauth/callback", settings.public_url);
    Ok(Federation::Oidc(Box::new(Oidc::new(provider, logins, callback))))
}

fn secret() -> Result<String, NoRandomness> {
    random::digits(DIGITS)
}

fn crowded() -> Denied {
    Denied("temporarily_unavailable", "too many logins at a time")
}

fn lost() -> Page {
    Page::Refused("the login is not known, has taken too long, or was begun in another browser; begin again")
}
