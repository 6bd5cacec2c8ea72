//! `[identity]`: whose tokens count.

use std::collections::BTreeMap;
use std::time::Duration;

use identity::{Binding, Issuer, KeySource, KindRule, Network, RunLimits, Settings, TokenType};
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
    /// How runs are minted.
    runs: Option<RunsFile>,
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
    /// Whether tokens without a `typ` count too.
    #[serde(default)]
    untyped: bool,
    /// How far clocks may differ, in seconds.
    #[cfg_attr(test, schemars(range(max = 300)))]
    skew_seconds: Option<u64>,
    /// The claim that names the principal; `sub` if not given.
    principal: Option<String>,
    /// The claim that lists groups; a path through objects is written with dots.
    groups: Option<String>,
    /// Whether its principals are persons or services; told from the token if not given.
    kind: Option<KindFile>,
    /// Words of the token's scope that begin so narrow it, less the beginning. Without it, the issuer's scopes do not
    /// narrow.
    scope_prefix: Option<String>,
    /// Where its keys are, if its metadata is not to be asked.
    keys_url: Option<String>,
    /// Whether it may have an address of a private network.
    #[serde(default)]
    private_network: bool,
    /// How long fetched keys hold while it cannot be reached, in seconds.
    stale_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
enum KindFile {
    User,
    Service,
}

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
struct RunsFile {
    /// How long a run lives if nothing is asked for, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    lifetime_seconds: Option<u64>,
    /// Longest that can be asked for, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    longest_seconds: Option<u64>,
    /// Whether a run must be bound to a key (DPoP).
    #[serde(default)]
    bound: bool,
}

impl IdentityFile {
    /// What it means; `mistake` is told where something is wrong.
    pub(super) fn read(self, public_url: &str, mistake: &mut dyn FnMut(usize, &str)) -> Settings {
        let default = Settings::new(public_url.trim_end_matches('/'));
        let issuers = self.issuers.into_values().map(|issuer| issuer.read(mistake)).collect();
        let runs = self.runs.map_or(default.runs.clone(), |runs| runs.read());
        Settings { issuers, runs, ..default }
    }
}

impl IssuerFile {
    fn read(self, mistake: &mut dyn FnMut(usize, &str)) -> Issuer {
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
        let mut types = default.types.clone();
        if self.untyped {
            types.push(TokenType::Absent);
        }
        let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
        Issuer {
            audiences: self.audiences,
            algorithms: if self.algorithms.is_some() { algorithms } else { default.algorithms },
            types,
            skew: seconds(self.skew_seconds, default.skew),
            principal_claim: self.principal.unwrap_or(default.principal_claim),
            groups_claim: self.groups,
            kind: match self.kind {
                None => KindRule::Detect,
                Some(KindFile::User) => KindRule::Users,
                Some(KindFile::Service) => KindRule::Services,
            },
            scope_prefix: self.scope_prefix,
            keys: self.keys_url.map_or(KeySource::Discovered, KeySource::At),
            network: if self.private_network { Network::Private } else { Network::Public },
            stale: seconds(self.stale_seconds, default.stale),
            url: default.url,
        }
    }
}

impl RunsFile {
    fn read(&self) -> RunLimits {
        let default = RunLimits::default();
        let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
        RunLimits {
            lifetime: seconds(self.lifetime_seconds, default.lifetime),
            longest: seconds(self.longest_seconds, default.longest),
            binding: if self.bound { Binding::Required } else { Binding::Offered },
        }
    }
}
