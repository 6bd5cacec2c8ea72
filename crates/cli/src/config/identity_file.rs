//! `[identity]`: whose tokens count.

use std::collections::BTreeMap;
use std::time::Duration;

use identity::{
    Binding, Issuer, KeySource, KindRule, LoginSettings, Network, RunLimits, SamlMetadata, SamlSettings,
    Secret, Settings, TokenType,
};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityFile {
    /// Issuers of access tokens that count besides Tollbook's own keys and runs, each under a name of your choice.
    #[serde(default)]
    issuers: BTreeMap<String, IssuerFile>,
    /// Logging people in through an issuer, for clients that it does not know.
    login: Option<LoginFile>,
    /// Logging people in through a SAML provider; not beside `login`.
    saml: Option<SamlFile>,
    /// How old a proof of possession may be, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    proof_seconds: Option<u64>,
    /// Longest an answer of an issuer may take, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    fetch_seconds: Option<u64>,
    /// How long a run lives if nothing is asked for, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    run_seconds: Option<u64>,
    /// Longest that can be asked for, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    run_longest_seconds: Option<u64>,
    /// Whether run tokens are bound to a key (DPoP): `offered` or `required`.
    run_binding: Option<BindingFile>,
}

/// An issuer of access tokens.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
struct IssuerFile {
    /// Its identifier, character for character as in `iss`; https, or http on loopback.
    #[cfg_attr(test, schemars(with = "String"))]
    url: Spanned<String>,
    /// Audiences that count at every endpoint, for issuers that cannot issue tokens per resource. A token for the
    /// endpoint's own address counts without being listed.
    #[serde(default)]
    audiences: Vec<String>,
    /// Signature algorithms that count; all with public keys if not given.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    algorithms: Option<Vec<Spanned<String>>>,
    /// Values of `typ` that count: `at+jwt`, `JWT`, and `none` for tokens without one. The first two if not given.
    types: Option<Vec<TypeFile>>,
    /// How far clocks may differ, in seconds.
    #[cfg_attr(test, schemars(range(max = 300)))]
    skew_seconds: Option<u64>,
    /// The claim that names the principal; `sub` if not given.
    principal_claim: Option<String>,
    /// The claim that lists groups; a path through objects is written with dots.
    groups_claim: Option<String>,
    /// Whether its principals are persons or services; told from the token if not given.
    kind: Option<KindFile>,
    /// Words of the token's scope that begin so narrow it, less the beginning. Without it, the issuer's scopes do not
    /// narrow.
    scope_prefix: Option<String>,
    /// The address of its keys, if its metadata is not to be asked.
    keys: Option<String>,
    /// Whether it may have an address of a private network.
    #[serde(default)]
    allow_private: bool,
    /// How long fetched keys hold while it cannot be reached, in hours.
    stale_hours: Option<u64>,
}

/// How people log in.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct LoginFile {
    /// The issuer that they log in with: a name below `issuers`.
    #[cfg_attr(test, schemars(with = "String"))]
    issuer: Spanned<String>,
    /// Tollbook's client id there. Its redirect URI is `public_url` and `/oauth/callback`.
    client_id: String,
    /// Tollbook's secret there: a value, `file:PATH` or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) client_secret: Option<Spanned<String>>,
    /// Scopes to ask the issuer for; `openid` among them.
    scopes: Option<Vec<String>>,
    /// How long a login holds, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    login_seconds: Option<u64>,
    /// How long its access tokens hold before they are to be renewed, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    token_seconds: Option<u64>,
}

/// How people log in with SAML.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
struct SamlFile {
    /// The provider's entity id, character for character as in its metadata.
    #[cfg_attr(test, schemars(with = "String"))]
    entity_id: Spanned<String>,
    /// Where its metadata is, whose keys alone count: an https address, or `file:PATH`.
    #[cfg_attr(test, schemars(with = "String"))]
    metadata: Spanned<String>,
    /// The attribute that names the principal; the name ID if not given.
    principal_attribute: Option<String>,
    /// The attribute whose values are groups.
    groups_attribute: Option<String>,
    /// The attribute with the person's name, for the record.
    name_attribute: Option<String>,
    /// The attribute with the person's address, for the record.
    email_attribute: Option<String>,
    /// How far clocks may differ, in seconds.
    #[cfg_attr(test, schemars(range(max = 300)))]
    skew_seconds: Option<u64>,
    /// Whether the place of the metadata may have an address of a private network.
    #[serde(default)]
    allow_private: bool,
    /// How long metadata holds while no newer one can be had, in hours.
    stale_hours: Option<u64>,
    /// How long a login holds, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    login_seconds: Option<u64>,
    /// How long its access tokens hold before they are to be renewed, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    token_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
enum TypeFile {
    #[serde(rename = "at+jwt")]
    AccessToken,
    #[serde(rename = "JWT")]
    Jwt,
    #[serde(rename = "none")]
    Absent,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
enum BindingFile {
    Offered,
    Required,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
enum KindFile {
    Detect,
    Users,
    Services,
}

/// A mistake is told with its place.
type Mistake<'a> = &'a mut dyn FnMut(usize, &str);

impl IdentityFile {
    /// What it means. `secret`: that of the login, read.
    pub(super) fn read(self, public_url: &str, secret: Option<String>, mistake: Mistake<'_>) -> Settings {
        let default = Settings::new(public_url.trim_end_matches('/'));
        let logins = self.login.map(|login| {
            let (name, at) = (login.issuer.get_ref(), login.issuer.span().start);
            let issuer = self.issuers.get(name).map(|issuer| issuer.url.get_ref().clone());
            if issuer.is_none() {
                mistake(at, &format!("`issuer`: there is no `[identity.issuers.{name}]`"));
            }
            login.read(issuer.unwrap_or_default(), secret)
        });
        if let (Some(saml), true) = (&self.saml, logins.is_some()) {
            let at = saml.entity_id.span().start;
            mistake(
                at,
                "`[identity.saml]` stands beside `[identity.login]`: people log in one way; remove one",
            );
        }
        let saml = self.saml.map(|saml| {
            saml.check(mistake);
            saml.settings()
        });
        let runs = RunLimits {
            lifetime: seconds(self.run_seconds, default.runs.lifetime),
            longest: seconds(self.run_longest_seconds, default.runs.longest),
            binding: match self.run_binding {
                Some(BindingFile::Required) => Binding::Required,
                Some(BindingFile::Offered) | None => Binding::Offered,
            },
        };
        Settings {
            issuers: self.issuers.into_values().map(|issuer| issuer.read(mistake)).collect(),
            runs,
            logins,
            saml,
            proof_age: seconds(self.proof_seconds, default.proof_age),
            fetch_wait: seconds(self.fetch_seconds, default.fetch_wait),
            public_url: default.public_url,
        }
    }

    /// The identifier of an issuer.
    pub(super) fn issuer(&self, name: &str) -> Option<&str> {
        self.issuers.get(name).map(|issuer| issuer.url.get_ref().as_str())
    }

    /// The SAML provider.
    pub(super) fn saml(&self) -> Option<SamlSettings> {
        self.saml.as_ref().map(SamlFile::settings)
    }

    /// The login, for its secret.
    pub(super) fn login(&self) -> Option<&LoginFile> {
        self.login.as_ref()
    }
}

impl LoginFile {
    fn read(self, issuer: String, secret: Option<String>) -> LoginSettings {
        let default = LoginSettings::new(issuer, self.client_id);
        LoginSettings {
            client_secret: secret.map(Secret::new),
            scopes: self.scopes.unwrap_or(default.scopes),
            lifetime: seconds(self.login_seconds, default.lifetime),
            token_lifetime: seconds(self.token_seconds, default.token_lifetime),
            issuer: default.issuer,
            client_id: default.client_id,
        }
    }
}

impl SamlFile {
    fn check(&self, mistake: Mistake<'_>) {
        let (metadata, entity) = (&self.metadata, &self.entity_id);
        if !["file:", "https://", "http://"].iter().any(|kind| metadata.get_ref().starts_with(kind)) {
            let why = "`metadata` is an address like `https://idp.example/metadata`, or `file:PATH`";
            mistake(metadata.span().start, why);
        }
        if entity.get_ref().trim().is_empty() {
            mistake(entity.span().start, "`entity_id` is empty; it stands in the provider's metadata");
        }
    }

    fn settings(&self) -> SamlSettings {
        let written = self.metadata.get_ref();
        let metadata = match written.strip_prefix("file:") {
            Some(path) => SamlMetadata::File(path.into()),
            None => SamlMetadata::At(written.clone()),
        };
        let default = SamlSettings::new(self.entity_id.get_ref().clone(), metadata);
        SamlSettings {
            principal_attribute: self.principal_attribute.clone(),
            groups_attribute: self.groups_attribute.clone(),
            name_attribute: self.name_attribute.clone(),
            email_attribute: self.email_attribute.clone(),
            skew: seconds(self.skew_seconds, default.skew),
            network: if self.allow_private { Network::Private } else { Network::Public },
            stale: hours(self.stale_hours, default.stale),
            lifetime: seconds(self.login_seconds, default.lifetime),
            token_lifetime: seconds(self.token_seconds, default.token_lifetime),
            entity_id: default.entity_id,
            metadata: default.metadata,
        }
    }
}

fn hours(given: Option<u64>, default: Duration) -> Duration {
    given.map_or(default, |hours| Duration::from_secs(hours.saturating_mul(3600)))
}

fn seconds(given: Option<u64>, default: Duration) -> Duration {
    given.map_or(default, Duration::from_secs)
}

impl IssuerFile {
    fn read(self, mistake: Mistake<'_>) -> Issuer {
        let default = Issuer::new(self.url.get_ref().clone());
        let mut algorithms = Vec::new();
        for algorithm in self.algorithms.iter().flatten() {
            match algorithm.get_ref().parse() {
                Ok(known) => algorithms.push(known),
                Err(error) => mistake(algorithm.span().start, &format!("`algorithms`: {error}")),
            }
        }
        let url = self.url.get_ref();
        if !(url.starts_with("https://") || url.starts_with("http://")) {
            mistake(self.url.span().start, "`url` of an issuer is an address like `https://idp.example`");
        }
        let types = self.types.map(|types| types.into_iter().map(TypeFile::read).collect());
        Issuer {
            audiences: self.audiences,
            algorithms: if self.algorithms.is_some() { algorithms } else { default.algorithms },
            types: types.unwrap_or(default.types),
            skew: seconds(self.skew_seconds, default.skew),
            principal_claim: self.principal_claim.unwrap_or(default.principal_claim),
            groups_claim: self.groups_claim,
            kind: match self.kind {
                None | Some(KindFile::Detect) => KindRule::Detect,
                Some(KindFile::Users) => KindRule::Users,
                Some(KindFile::Services) => KindRule::Services,
            },
            scope_prefix: self.scope_prefix,
            keys: self.keys.map_or(KeySource::Discovered, KeySource::At),
            network: if self.allow_private { Network::Private } else { Network::Public },
            stale: hours(self.stale_hours, default.stale),
            url: default.url,
        }
    }
}

impl TypeFile {
    fn read(self) -> TokenType {
        match self {
            TypeFile::AccessToken => TokenType::AccessToken,
            TypeFile::Jwt => TokenType::Jwt,
            TypeFile::Absent => TokenType::Absent,
        }
    }
}
