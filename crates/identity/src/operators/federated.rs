//! Operators who log in with a provider: the trip there and back, bound to the browser that set out.
//!
//! What comes back is checked as for callers ([`Federation`]): state, nonce, PKCE, `iss`. Who they are then goes to
//! [`Operators::admit`], as whatever another protocol vouches for.

use aws_lc_rs::constant_time;
use ledger::Hash;
use store::state::Deed;

use super::{DIGITS, LoginRefused, NOBODY, Operators, Vouched};
use crate::federation::{Denied, Federation, Oidc, Trip};
use crate::form::Form;
use crate::login::shelf::Shelf;
use crate::random;
use crate::refused::Reason;
use crate::secret::Secret;
use crate::settings::LoginSettings;
use crate::verifier::{SetupError, Verifier};

/// Seconds that a trip may take.
const TRIP: u64 = 600;

/// The provider's side of the console.
#[derive(Debug)]
pub(super) struct Abroad {
    federation: Federation,
    underway: Shelf<Underway>,
}

/// Somebody who set out.
#[derive(Debug)]
struct Underway {
    trip: Trip,
    /// Digest of the cookie of the browser.
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
        let federation = Federation::Oidc(Box::new(oidc));
        Ok(Operators { abroad: Some(Abroad { federation, underway: Shelf::default() }), ..self })
    }

    /// Whether operators can log in with a provider.
    pub fn has_login(&self) -> bool {
        self.abroad.is_some()
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

    /// Comes back, with the provider's answer and the secret of the browser's cookie: begins a session; gives its secret.
    ///
    /// # Errors
    /// See [`LoginRefused`]; it is noted.
    pub async fn arrive(&self, query: &str, browser: Option<&str>, now: u64) -> Result<Secret, LoginRefused> {
        let person = match self.vouched(query, browser, now).await {
            Ok(person) => person,
            Err((why, more)) => {
                let reason = more.map_or_else(|| why.to_owned(), |more| format!("{why}: {more}"));
                let deed = Deed::refused("operators.login", "a login with the provider").because(&reason);
                self.refused(NOBODY, &deed, now).await;
                return Err(LoginRefused::NotVouched(why));
            }
        };
        self.admit(&person, now).await
    }

    /// Whom the provider vouches for; or what they are told, and what is noted besides.
    async fn vouched(
        &self,
        query: &str,
        browser: Option<&str>,
        now: u64,
    ) -> Result<Vouched, (&'static str, Option<Reason>)> {
        const LOST: (&str, Option<Reason>) = (
            "the login is not known, has taken too long, or was begun in another browser; begin again",
            None,
        );
        let abroad = self.abroad.as_ref().ok_or(LOST)?;
        let form = Form::parse(query.as_bytes()).map_err(|_| LOST)?;
        // A state holds once, whoever presents it.
        let state = form.optional("state").ok_or(LOST)?;
        let Underway { trip, browser: expected } = abroad.underway.take(state, now).ok_or(LOST)?;
        let presented = Hash::of(browser.ok_or(LOST)?.as_bytes());
        constant_time::verify_slices_are_equal(&presented.0, &expected.0).map_err(|_| LOST)?;
        let person = abroad.federation.arrive(&trip, &form, now).await;
        let person =
            person.map_err(|stopped| (stopped.denied.1, stopped.refused.map(|refused| refused.reason)))?;
        let (issuer, subject) = (person.principal.issuer, person.principal.id);
        Ok(Vouched { issuer, subject, name: person.name, groups: person.groups })
    }
}
