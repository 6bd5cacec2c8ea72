//! Logging a person in with somebody else: OpenID Connect and SAML behind one seam.
//!
//! Whoever logs people in has a [`Federation`], sends the browser on a [`Trip`] with a state that nobody can guess, keeps
//! the trip by that state and for that browser, and gets a [`Person`] or a reason why not when the browser is back.

mod oidc;

use std::sync::Arc;

pub(crate) use self::oidc::Oidc;
use crate::caller::Principal;
use crate::form::Form;
use crate::random::NoRandomness;
use crate::refused::{Reason, Refused};
use crate::saml::{self, Flaw, Saml};
use crate::settings::SamlSettings;
use crate::verifier::{SetupError, Verifier};

/// Who logs people in.
#[derive(Debug)]
pub(crate) enum Federation {
    /// An OpenID provider.
    Oidc(Box<Oidc>),
    /// A SAML provider.
    Saml(Box<Saml>),
}

/// What must come back from a trip to the provider.
#[derive(Debug)]
pub(crate) enum Trip {
    Oidc(oidc::Trip),
    Saml(saml::Request),
}

/// Who has logged in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// Subject and issuer.
    pub(crate) principal: Principal,
    pub(crate) groups: Vec<String>,
    /// The name for people, if the provider says one.
    pub(crate) name: Option<String>,
    /// When the provider's session ends, if it says so.
    pub(crate) until: Option<u64>,
    /// What else the provider said, for the record: a JSON object.
    pub(crate) facts: Option<String>,
}

/// Why a login does not go on: an OAuth error and a sentence.
#[derive(Debug)]
pub(crate) struct Denied(pub(crate) &'static str, pub(crate) &'static str);

/// A trip that led to nobody.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// What the client is told.
    pub(crate) denied: Denied,
    /// What is recorded, where the provider's answer was one to refuse.
    pub(crate) refused: Option<Refused>,
}

impl Federation {
    /// Makes ready for a trip; gives it, and where to send the browser, which is to bring `state` back: as `state`, or as
    /// `RelayState`.
    pub(crate) async fn depart(&self, state: &str, now: u64) -> Result<(Trip, String), Denied> {
        match self {
            Federation::Oidc(oidc) => {
                let trip = oidc.depart().await?;
                let url = oidc.url(&trip, state);
                Ok((Trip::Oidc(trip), url))
            }
            Federation::Saml(saml) => {
                let request = saml.request(now).await?.ok_or_else(unavailable)?;
                let url = request.url(state);
                Ok((Trip::Saml(request), url))
            }
        }
    }

    /// Who has logged in, by what the browser brought: a query, or a form.
    pub(crate) async fn arrive(&self, trip: &Trip, brought: &Form, now: u64) -> Result<Person, Stopped> {
        match (self, trip) {
            (Federation::Oidc(oidc), Trip::Oidc(trip)) => oidc.arrive(trip, brought, now).await,
            (Federation::Saml(saml), Trip::Saml(request)) => {
                let person = match brought.optional("SAMLResponse") {
                    Some(response) => saml.person(request, response, now).await,
                    None => Err(Flaw::Form.into()),
                };
                person.map_err(|reason| {
                    tracing::warn!(issuer = saml.issuer(), %reason, "a login's SAML response does not count");
                    stopped(saml, reason)
                })
            }
            _ => Err(unavailable().into()),
        }
    }
}

/// The SAML provider of the settings; our metadata and the place for responses are below `root`.
pub(crate) fn saml(
    settings: &SamlSettings,
    root: &str,
    verifier: &Verifier,
) -> Result<Federation, SetupError> {
    let (entity, mint) = (&settings.entity_id, verifier.mint());
    if entity.is_empty() || **entity == **mint.issuer() || verifier.provider(entity).is_some() {
        // Two that are named alike would vouch for each other's people.
        return Err(unusable(entity, "it is empty, an issuer's, or Tollbook's own"));
    }
    let (fetcher, state) = (Arc::clone(verifier.fetcher()), Arc::clone(mint.state()));
    let saml = Saml::new(settings.clone(), root, fetcher, state);
    Ok(Federation::Saml(Box::new(saml.map_err(|error| unusable(entity, &error.to_string()))?)))
}

pub(crate) fn unusable(url: &str, why: &str) -> SetupError {
    SetupError::Issuer { url: url.to_owned(), why: why.to_owned() }
}

fn stopped(saml: &Saml, reason: Reason) -> Stopped {
    let denied = match reason {
        Reason::KeysUnavailable | Reason::KeysStale | Reason::State => unavailable(),
        _ => Denied("access_denied", "the provider's SAML response does not count"),
    };
    Stopped { denied, refused: Some(Refused::from(reason).of(&Arc::from(saml.issuer()))) }
}

impl From<Denied> for Stopped {
    fn from(denied: Denied) -> Stopped {
        Stopped { denied, refused: None }
    }
}

impl From<NoRandomness> for Denied {
    fn from(_: NoRandomness) -> Denied {
        unavailable()
    }
}

pub(crate) fn unavailable() -> Denied {
    Denied("temporarily_unavailable", "the login cannot go on now")
}

/// A URL with further parameters.
pub(crate) fn extended(url: &str, parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}{query}")
}
