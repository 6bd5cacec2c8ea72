//! What `cli` hands over: whose tokens count, and for how long things hold. Already read, not yet checked;
//! [`crate::Verifier::new`] says what is wrong with it.

use std::path::PathBuf;
use std::time::Duration;

use crate::caller::PrincipalKind;
use crate::jose::Algorithm;
use crate::secret::Secret;

/// Everything that a [`crate::Verifier`] is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Tollbook's own issuer identifier: the URL that clients use, without a path and without a slash at the end.
    pub public_url: String,
    /// Whose tokens count besides our own.
    pub issuers: Vec<Issuer>,
    /// How long runs may live, and whether they are bound.
    pub runs: RunLimits,
    /// Whether Tollbook logs people in itself, through one of the issuers. `None`: clients go to the issuers.
    pub logins: Option<LoginSettings>,
    /// Whether Tollbook logs people in itself, through a SAML provider. Not both.
    pub saml: Option<SamlSettings>,
    /// How old a proof of possession may be (RFC 9449 §11.1).
    pub proof_age: Duration,
    /// Longest an answer of an issuer may take, connection and all.
    pub fetch_wait: Duration,
}

/// An issuer of access tokens.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its identifier: equal, character for character, to `iss` in tokens and `issuer` in its metadata.
    pub url: String,
    /// Audiences that count at every endpoint, for issuers that cannot issue tokens per resource. A token whose
    /// audience is the endpoint's own URL counts without being listed.
    pub audiences: Vec<String>,
    /// Algorithms that count.
    pub algorithms: Vec<Algorithm>,
    /// Values of `typ` that count.
    pub types: Vec<TokenType>,
    /// How far clocks may differ.
    pub skew: Duration,
    /// Claim that names the principal.
    pub principal_claim: String,
    /// Claim that lists groups: an array or words parted by spaces; a path through objects is written with dots.
    pub groups_claim: Option<String>,
    /// Whether a principal is a person or a service.
    pub kind: KindRule,
    /// Words of the token's scope that begin so narrow it, less the beginning. `None`: the issuer's scopes do not narrow.
    pub scope_prefix: Option<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Which addresses it may have.
    pub network: Network,
    /// How long keys that were fetched hold while the issuer cannot be reached.
    pub stale: Duration,
}

/// A value of `typ` in a token's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068), with the claims that it demands.
    AccessToken,
    /// `JWT`.
    Jwt,
    /// No `typ`.
    Absent,
}

/// Whether a token's principal is a person or a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindRule {
    /// A service if the token was issued to a client for itself: `sub` is its `client_id` or `azp`, `idtyp` is `app`, or
    /// `gty` is `client-credentials`. Else a person.
    Detect,
    /// Always a person.
    Users,
    /// Always a service: CI systems, Kubernetes.
    Services,
    /// A service if the claim has that value, else a person.
    Claim {
        /// The claim.
        name: String,
        /// Its value, a string.
        value: String,
    },
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// From the place that its metadata names (OpenID Connect Discovery, RFC 8414).
    Discovered,
    /// From this URL.
    At(String),
    /// These: the text of a key set. They never change.
    Fixed(String),
}

/// Which addresses an issuer may have. One whose URL names the loopback may have loopback addresses and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Public ones.
    Public,
    /// Those of private networks too. Link-local ones, where clouds keep their metadata, never.
    Private,
}

/// How people log in through Tollbook.
#[derive(Debug, Clone)]
pub struct LoginSettings {
    /// The issuer that they log in with: one of [`Settings::issuers`].
    pub issuer: String,
    /// Tollbook's client id there. Its redirect URI is `{public_url}/oauth/callback`, for operators `/login/callback` on the
    /// console.
    pub client_id: String,
    /// Tollbook's secret there, if it has one.
    pub client_secret: Option<Secret>,
    /// Scopes to ask the issuer for; `openid` among them.
    pub scopes: Vec<String>,
    /// How long a login holds: a login is a run, and no run lives longer than [`RunLimits::longest`].
    pub lifetime: Duration,
    /// How long its access tokens hold before they are to be renewed.
    pub token_lifetime: Duration,
}

/// How people log in through Tollbook with SAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamlSettings {
    /// The provider's entity id: equal, character for character, to the one in its metadata and its assertions.
    pub entity_id: String,
    /// Where its metadata comes from, whose keys are the only ones that count.
    pub metadata: SamlMetadata,
    /// The attribute that names the principal; `None`: the name ID, which must not be transient.
    pub principal_attribute: Option<String>,
    /// The attribute whose values are groups.
    pub groups_attribute: Option<String>,
    /// The attribute with the person's name, for the record.
    pub name_attribute: Option<String>,
    /// The attribute with the person's address, for the record.
    pub email_attribute: Option<String>,
    /// How far clocks may differ.
    pub skew: Duration,
    /// Which addresses the place of the metadata may have.
    pub network: Network,
    /// How long metadata holds while no newer one can be had.
    pub stale: Duration,
    /// How long a login holds, as in [`LoginSettings::lifetime`]; not beyond the end of the provider's session, if it
    /// says one.
    pub lifetime: Duration,
    /// How long its access tokens hold before they are to be renewed.
    pub token_lifetime: Duration,
}

/// Where a SAML provider's metadata comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SamlMetadata {
    /// From this URL.
    At(String),
    /// From this file, which is read again.
    File(PathBuf),
}

/// How runs are minted.
#[derive(Debug, Clone)]
pub struct RunLimits {
    /// How long a run lives if nothing is asked for.
    pub lifetime: Duration,
    /// Longest that can be asked for.
    pub longest: Duration,
    /// Whether run tokens must be bound to a key.
    pub binding: Binding,
}

/// Whether run tokens are bound to a key (RFC 9449).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// If the client proves one.
    Offered,
    /// Without a proof, no run.
    Required,
}

impl Settings {
    /// What policies call a principal of this kind, id and issuer: two principals never have one name, and one has the same
    /// whatever credential it comes with.
    pub fn policy_name(&self, kind: PrincipalKind, id: &str, issuer: &str) -> String {
        if issuer == self.public_url && kind == PrincipalKind::Service {
            return format!("key:{id}");
        }
        if self.providers().nth(1).is_none() { id.to_owned() } else { format!("{issuer}#{id}") }
    }

    /// Who vouches for principals, besides Tollbook itself: issuers and the SAML provider.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        let saml = self.saml.iter().map(|saml| saml.entity_id.as_str());
        self.issuers.iter().map(|issuer| issuer.url.as_str()).chain(saml)
    }

    /// Where the document is that says who the gateway is, as a client of servers' authorization servers.
    pub fn client_document_url(&self) -> String {
        format!("{}/oauth/client.json", self.public_url)
    }

    /// That document (OAuth Client ID Metadata Document), as JSON.
    pub fn client_document(&self) -> String {
        serde_json::json!({
            "client_id": self.client_document_url(),
            "client_name": "Tollbook",
            "redirect_uris": ["http://127.0.0.1/callback"],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
        })
        .to_string()
    }

    /// Whether Tollbook logs people in.
    pub(crate) fn logs_in(&self) -> bool {
        self.logins.is_some() || self.saml.is_some()
    }

    /// The defaults, for a gateway at this URL.
    pub fn new(public_url: impl Into<String>) -> Settings {
        Settings {
            public_url: public_url.into(),
            issuers: Vec::new(),
            runs: RunLimits::default(),
            logins: None,
            saml: None,
            proof_age: Duration::from_secs(60),
            fetch_wait: Duration::from_secs(5),
        }
    }
}

impl Issuer {
    /// The defaults, for an issuer of this identifier.
    pub fn new(url: impl Into<String>) -> Issuer {
        Issuer {
            url: url.into(),
            audiences: Vec::new(),
            algorithms: Algorithm::ALL.to_vec(),
            types: vec![TokenType::AccessToken, TokenType::Jwt],
            skew: Duration::from_secs(60),
            principal_claim: "sub".to_owned(),
            groups_claim: None,
            kind: KindRule::Detect,
            scope_prefix: None,
            keys: KeySource::Discovered,
            network: Network::Public,
            stale: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl LoginSettings {
    /// The defaults, for logins with this issuer under this client id.
    pub fn new(issuer: impl Into<String>, client_id: impl Into<String>) -> LoginSettings {
        LoginSettings {
            issuer: issuer.into(),
            client_id: client_id.into(),
            client_secret: None,
            scopes: ["openid", "profile", "email"].map(str::to_owned).to_vec(),
            lifetime: Duration::from_secs(12 * 60 * 60),
            token_lifetime: Duration::from_secs(10 * 60),
        }
    }
}

impl SamlSettings {
    /// The defaults, for a provider of this entity id with this metadata.
    pub fn new(entity_id: impl Into<String>, metadata: SamlMetadata) -> SamlSettings {
        SamlSettings {
            entity_id: entity_id.into(),
            metadata,
            principal_attribute: None,
            groups_attribute: None,
            name_attribute: None,
            email_attribute: None,
            skew: Duration::from_secs(60),
            network: Network::Public,
            stale: Duration::from_secs(24 * 60 * 60),
            lifetime: Duration::from_secs(12 * 60 * 60),
            token_lifetime: Duration::from_secs(10 * 60),
        }
    }
}

impl Default for RunLimits {
    fn default() -> RunLimits {
        RunLimits {
            lifetime: Duration::from_secs(60 * 60),
            longest: Duration::from_secs(12 * 60 * 60),
            binding: Binding::Offered,
        }
    }
}
