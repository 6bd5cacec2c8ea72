//! Logging people in with a SAML 2.0 provider: the service provider's part of web browser SSO.
//!
//! A request goes by HTTP-Redirect, a response comes by HTTP-POST through the browser and is read by [`response`]. Keys
//! are those of the provider's metadata and no others; each assertion answers one request of one login and counts once,
//! which `state.sqlite` remembers.
//!
//! Only signed and readable assertions are read. Requests are not signed: nothing in one is worth forging, as whoever
//! sends another one gets a response that answers no login here. There is no single logout: a run is revoked.

mod document;
mod flaw;
mod metadata;
mod response;
mod signature;
mod source;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ledger::Hash;
use serde_json::{Map, Value};
use store::state::State;

use self::document::{ASSERTION, DOCUMENT_BYTES, PROTOCOL};
pub use self::flaw::Flaw;
use self::response::{Expected, Said, Wanted};
use self::source::Source;
use crate::caller::{Principal, PrincipalKind};
use crate::federation::{Person, extended};
use crate::fetch::{FetchError, Fetcher};
use crate::random::{self, NoRandomness};
use crate::refused::Reason;
use crate::settings::SamlSettings;

/// Digits of a request's id: more than 256 random bits.
const DIGITS: usize = 43;

/// A provider, and what we are to it.
#[derive(Debug)]
pub(crate) struct Saml {
    settings: SamlSettings,
    source: Source,
    state: Arc<State>,
    /// Our entity id, which is where our metadata is.
    entity: String,
    /// Where responses are to be sent.
    place: String,
}

/// A request that was made.
#[derive(Debug)]
pub(crate) struct Request {
    id: String,
    /// Where the browser is to be sent, less what it is to bring back.
    url: String,
}

impl Saml {
    /// `root`: the URL below which responses and metadata have their places.
    pub(crate) fn new(
        settings: SamlSettings,
        root: &str,
        fetcher: Arc<Fetcher>,
        state: Arc<State>,
    ) -> Result<Saml, FetchError> {
        let source = Source::new(&settings, fetcher)?;
        let (entity, place) = (format!("{root}/saml/metadata"), format!("{root}/saml/acs"));
        Ok(Saml { settings, source, state, entity, place })
    }

    /// Our metadata.
    pub(crate) fn metadata(&self) -> String {
        metadata::own(&self.entity, &self.place)
    }

    /// The provider's entity id.
    pub(crate) fn issuer(&self) -> &str {
        &self.settings.entity_id
    }

    /// Makes a request; `None`: the provider's metadata cannot be had.
    pub(crate) async fn request(&self, now: u64) -> Result<Option<Request>, NoRandomness> {
        let Ok(peer) = self.source.current(now).await else { return Ok(None) };
        let id = format!("_{}", random::digits(DIGITS)?);
        let Ok(issued) = Timestamp::from_second(i64::try_from(now).unwrap_or(i64::MAX)) else {
            return Ok(None);
        };
        let (login, place, entity) =
            (metadata::escaped(&peer.login), metadata::escaped(&self.place), metadata::escaped(&self.entity));
        let text = format!(
            "<samlp:AuthnRequest xmlns:samlp=\"{PROTOCOL}\" xmlns:saml=\"{ASSERTION}\" ID=\"{id}\" Version=\"2.0\" \
             IssueInstant=\"{issued}\" Destination=\"{login}\" AssertionConsumerServiceURL=\"{place}\" \
             ProtocolBinding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST\"><saml:Issuer>{entity}</saml:Issuer>\
             <samlp:NameIDPolicy AllowCreate=\"true\"/></samlp:AuthnRequest>"
        );
        let Ok(packed) = saml_rs::binding::deflate_raw_encode(text.as_bytes()) else { return Ok(None) };
        let url = extended(&peer.login, &[("SAMLRequest", &STANDARD.encode(packed))]);
        Ok(Some(Request { id, url }))
    }

    /// Who has logged in, by what the browser brought for that request: the value of `SAMLResponse`.
    pub(crate) async fn person(&self, request: &Request, brought: &str, now: u64) -> Result<Person, Reason> {
        let text = decoded(brought)?;
        let peer = self.source.current(now).await?;
        let read = |certificates: &[String]| {
            response::read(&text, certificates, self.expected(request, now), self.wanted())
        };
        let mut said = read(&peer.certificates);
        // The provider may have changed its keys just now.
        if matches!(said, Err(Flaw::Signature | Flaw::Certificate))
            && let Some(newer) = self.source.newer(&peer, now).await
        {
            said = read(&newer.certificates);
        }
        let said = said?;
        self.spend(&said, now).await?;
        Ok(self.mapped(said))
    }

    fn expected<'a>(&'a self, request: &'a Request, now: u64) -> Expected<'a> {
        Expected {
            request: &request.id,
            issuer: &self.settings.entity_id,
            audience: &self.entity,
            place: &self.place,
            skew: self.settings.skew.as_secs(),
            now,
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            principal: self.settings.principal_attribute.as_deref(),
            groups: self.settings.groups_attribute.as_deref(),
            name: self.settings.name_attribute.as_deref(),
            email: self.settings.email_attribute.as_deref(),
        }
    }

    /// Makes the assertion count no more, durably, before it counts.
    async fn spend(&self, said: &Said, now: u64) -> Result<(), Reason> {
        let issuer = &self.settings.entity_id;
        let digest = Hash::of(format!("{}:{issuer}{}", issuer.len(), said.id).as_bytes());
        let (state, until) = (Arc::clone(&self.state), said.until);
        let spent = tokio::task::spawn_blocking(move || state.spend_assertion(digest, until, now)).await;
        let spent = spent.map_err(|_| Reason::State)?.map_err(|error| {
            tracing::error!(%error, "spent assertions cannot be remembered; nobody can log in");
            Reason::State
        })?;
        if spent { Ok(()) } else { Err(Flaw::Replayed.into()) }
    }

    fn mapped(&self, said: Said) -> Person {
        let facts = [
            ("authn_context", said.authentication.context),
            ("session_index", said.authentication.session),
            ("name", said.name.clone()),
            ("email", said.email),
        ];
        let facts: Map<String, Value> =
            facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
        let issuer = self.settings.entity_id.clone();
        Person {
            principal: Principal { kind: PrincipalKind::User, id: said.principal, issuer },
            groups: said.groups,
            name: said.name,
            until: said.authentication.until,
            facts: (!facts.is_empty()).then(|| Value::from(facts).to_string()),
        }
    }
}

impl Request {
    /// Where to send the browser, which is to bring `state` back.
    pub(crate) fn url(&self, state: &str) -> String {
        extended(&self.url, &[("RelayState", state)])
    }
}

/// The text of a response as a form has it. Lines may be broken (RFC 2045).
fn decoded(brought: &str) -> Result<String, Flaw> {
    if brought.len() > DOCUMENT_BYTES * 3 / 2 {
        return Err(Flaw::Oversized);
    }
    let whole: String = brought.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(whole).map_err(|_| Flaw::Encoding)?;
    if bytes.len() > DOCUMENT_BYTES {
        return Err(Flaw::Oversized);
    }
    String::from_utf8(bytes).map_err(|_| Flaw::Encoding)
}
