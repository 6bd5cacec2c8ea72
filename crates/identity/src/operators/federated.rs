//! Operators who log in with a provider: the trip there and back, bound to the browser that set out.
//!
//! ```text
//! depart ─► the provider ─► arrive ────────────► admit
//!                        └► assertion ─► arrived ─┘
//! ```
//!
//! What comes back is checked as for callers ([`Federation`]). Who they are then goes to [`Operators::admit`]. A SAML
//! provider has the browser send a form from another site, with which no cookie comes: what it brings is judged first,
//! and then the browser comes again with its cookie and a ticket.

use aws_lc_rs::constant_time;
use ledger::Hash;
use store::state::Deed;

use super::{DIGITS, LoginRefused, NOBODY, Operators, Vouched};
use crate::federation::{Denied, Federation, Oidc, Person, Trip, saml};
use crate::form::Form;
use crate::login::shelf::Shelf;
use crate::random;
use crate::refused::Reason;
use crate::saml::Flaw;
use crate::secret::Secret;
use crate::settings::{LoginSettings, SamlSettings};
use crate::verifier::{SetupError, Verifier};

/// Seconds that a trip may take.
const TRIP: u64 = 600;

/// Seconds from an assertion that counts to the browser that brings its cookie.
const ARRIVAL: u64 = 60;

/// Why somebody is not vouched for: what they are told, and what is noted besides.
type NotVouched = (&'static str, Option<Reason>);

const LOST: NotVouched =
    ("the login is not known, has taken too long, or was begun in another browser; begin again", None);

/// The provider's side of the console.
#[derive(Debug)]
pub(super) struct Abroad {
    federation: Federation,
    underway: Shelf<Underway>,
    known: Shelf<Known>,
}

/// Somebody who set out.
#[derive(Debug)]
struct Underway {
    trip: Trip,
    /// Digest of the cookie of the browser.
    browser: Hash,
}

/// Somebody whom a SAML provider vouches for, and who has yet to show that they set out.
#[derive(Debug)]
struct Known {
    person: Vouched,
    browser: Hash,
}

impl Operators {
    /// The same, where operators log in with one of the verifier's issuers too. `callback` is where the provider sends them.
    ///
    /// # Errors
    /// [`SetupError::Issuer`] where the verifier has no such issuer.
    pub fn with_login(
        self,
        verifier: &Verifier,
        settings: &LoginSettings,
        callback: &str,
    ) -> Result<Operators, SetupError> {
        let unknown = || SetupError::Issuer {
            url: settings.issuer.clone(),
            why: "operators are to log in with it, and it is not configured".to_owned(),
        };
        let provider = verifier.provider(&settings.issuer).ok_or_else(unknown)?;
        let oidc = Oidc::new(provider.clone(), settings, callback.to_owned());
        Ok(self.abroad_with(Federation::Oidc(Box::new(oidc))))
    }

    /// The same, where operators log in with a SAML provider. Our metadata, which is our entity id, and the place for
    /// responses are `root` and `/saml/metadata`, `/saml/acs`; they must be no other service's.
    ///
    /// # Errors
    /// [`SetupError::Issuer`] where the provider is named like one of the verifier's issuers, or cannot be asked.
    pub fn with_saml(
        self,
        verifier: &Verifier,
        settings: &SamlSettings,
        root: &str,
    ) -> Result<Operators, SetupError> {
        let federation = saml(settings, root, verifier)?;
        Ok(self.abroad_with(federation))
    }

    fn abroad_with(self, federation: Federation) -> Operators {
        let abroad = Abroad { federation, underway: Shelf::default(), known: Shelf::default() };
        Operators { abroad: Some(abroad), ..self }
    }

    /// Whether operators can log in with a provider.
    pub fn has_login(&self) -> bool {
        self.abroad.is_some()
    }

    /// The metadata for the SAML provider; `None` if operators log in otherwise.
    pub fn saml_metadata(&self) -> Option<String> {
        match &self.abroad.as_ref()?.federation {
            Federation::Saml(saml) => Some(saml.metadata()),
            Federation::Oidc(_) => None,
        }
    }

    /// Sets out: where to send the browser, and the secret of its cookie.
    ///
    /// # Errors
    /// See [`LoginRefused`].
    pub async fn depart(&self, now: u64) -> Result<(String, Secret), LoginRefused> {
        let abroad = self.abroad.as_ref().ok_or(LoginRefused::NotVouched("there is no provider here"))?;
        let (state, browser) = (random::digits(DIGITS)?, random::digits(DIGITS)?);
        let departed = abroad.federation.depart(&state, now).await;
        let (trip, url) = departed.map_err(|Denied(_, why)| LoginRefused::NotVouched(why))?;
        let underway = Underway { trip, browser: Hash::of(browser.as_bytes()) };
        let put = abroad.underway.put(&state, underway, now.saturating_add(TRIP), now);
        put.map_err(|_| LoginRefused::Busy)?;
        Ok((url, Secret::new(browser)))
    }

    /// Comes back from an OpenID provider, with its answer and the secret of the browser's cookie: begins a session; gives
    /// its secret.
    ///
    /// # Errors
    /// See [`LoginRefused`]; it is noted.
    pub async fn arrive(&self, query: &str, browser: Option<&str>, now: u64) -> Result<Secret, LoginRefused> {
        match self.vouched(query, browser, now).await {
            Ok(person) => self.admit(&person, now).await,
            Err(why) => Err(self.not_vouched(why, now).await),
        }
    }

    /// A browser brings what a SAML provider says, as a form, and no cookie; gives the ticket with which it is to come
    /// again, to [`Operators::arrived`], within a minute and once.
    ///
    /// # Errors
    /// See [`LoginRefused`]; it is noted.
    pub async fn assertion(&self, body: &[u8], now: u64) -> Result<Secret, LoginRefused> {
        let (known, ticket) = match self.asserted(body, now).await {
            Ok(known) => (known, random::digits(DIGITS)?),
            Err(why) => return Err(self.not_vouched(why, now).await),
        };
        let Some(abroad) = &self.abroad else { return Err(LoginRefused::NotVouched(LOST.0)) };
        let put = abroad.known.put(&ticket, known, now.saturating_add(ARRIVAL), now);
        put.map_err(|_| LoginRefused::Busy)?;
        Ok(Secret::new(ticket))
    }

    /// Comes again, with the ticket and the secret of the browser's cookie: begins a session; gives its secret.
    ///
    /// # Errors
    /// See [`LoginRefused`]; it is noted.
    pub async fn arrived(
        &self,
        ticket: &str,
        browser: Option<&str>,
        now: u64,
    ) -> Result<Secret, LoginRefused> {
        let known = self.abroad.as_ref().and_then(|abroad| abroad.known.take(ticket, now));
        let known = known.filter(|known| is_of(&known.browser, browser));
        match known {
            Some(Known { person, .. }) => self.admit(&person, now).await,
            None => Err(self.not_vouched((LOST.0, Some(Flaw::Login.into())), now).await),
        }
    }

    /// Notes that nobody is vouched for.
    async fn not_vouched(&self, (why, more): NotVouched, now: u64) -> LoginRefused {
        let reason = more.map_or_else(|| why.to_owned(), |more| format!("{why}: {more}"));
        let deed = Deed::refused("operators.login", "a login with the provider").because(&reason);
        self.refused(NOBODY, &deed, now).await;
        LoginRefused::NotVouched(why)
    }

    /// Whom the OpenID provider vouches for.
    async fn vouched(&self, query: &str, browser: Option<&str>, now: u64) -> Result<Vouched, NotVouched> {
        let abroad = self.abroad.as_ref().ok_or(LOST)?;
        let form = Form::parse(query.as_bytes()).map_err(|_| LOST)?;
        // A state holds once, whoever presents it.
        let state = form.optional("state").ok_or(LOST)?;
        let underway = abroad.underway.take(state, now).ok_or(LOST)?;
        // What a SAML provider says comes as a form, and not this way.
        let Underway { trip: trip @ Trip::Oidc(_), browser: expected } = underway else { return Err(LOST) };
        if !is_of(&expected, browser) {
            return Err(LOST);
        }
        abroad.person(&trip, &form, now).await
    }

    /// Whom the SAML provider vouches for, if it is who set out with the browser of that cookie.
    async fn asserted(&self, body: &[u8], now: u64) -> Result<Known, NotVouched> {
        let abroad = self.abroad.as_ref().ok_or(LOST)?;
        let flawed = |flaw: Flaw| (LOST.0, Some(flaw.into()));
        let form = Form::parse_any(body).map_err(|_| flawed(Flaw::Form))?;
        // Whoever knows a state set out, or was sent to the provider with it. It holds once.
        let underway = form.optional("RelayState").and_then(|state| abroad.underway.take(state, now));
        let Some(Underway { trip: trip @ Trip::Saml(_), browser }) = underway else {
            return Err(flawed(Flaw::Login));
        };
        Ok(Known { person: abroad.person(&trip, &form, now).await?, browser })
    }
}

impl Abroad {
    async fn person(&self, trip: &Trip, form: &Form, now: u64) -> Result<Vouched, NotVouched> {
        let person = self.federation.arrive(trip, form, now).await;
        let stopped = person.map(Vouched::from);
        stopped.map_err(|stopped| (stopped.denied.1, stopped.refused.map(|refused| refused.reason)))
    }
}

impl From<Person> for Vouched {
    fn from(person: Person) -> Vouched {
        let Person { principal, groups, name, until, .. } = person;
        Vouched { issuer: principal.issuer, subject: principal.id, name, groups, until }
    }
}

/// Whether a cookie's secret is the one of that digest.
fn is_of(expected: &Hash, presented: Option<&str>) -> bool {
    let Some(presented) = presented else { return false };
    let presented = Hash::of(presented.as_bytes());
    constant_time::verify_slices_are_equal(&presented.0, &expected.0).is_ok()
}
