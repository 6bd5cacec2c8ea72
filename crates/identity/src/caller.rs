//! Who calls, by what was verified. Nothing here is what a client merely says of itself.

use std::fmt;

use ledger::{Hash, RunId};
use serde::{Deserialize, Serialize};

use crate::refused::{Reason, Refused};
use crate::scope::Scope;

/// A verified caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// On whose behalf.
    pub principal: Principal,
    /// The principal's groups: of the token, or of a run at the time it was minted.
    pub groups: Vec<String>,
    /// Which run this is, and by which rule.
    pub run: RunName,
    /// What it is narrowed to, by its own credential and by every run above it.
    pub scope: Scope,
    /// The run's task in words, as whoever had it minted said it.
    pub purpose: Option<String>,
    /// Who acts for the principal, the nearest first (RFC 8693 §4.1).
    pub actors: Vec<Actor>,
    /// The OAuth client that the token was issued to.
    pub client: Option<String>,
    /// What the provider said of the login that the run is, as a JSON object: how, in which session, who. It is the
    /// login's own run that says it, no child of it.
    pub login: Option<String>,
    /// The service key that was presented, by the part of it that may be shown.
    pub key: Option<String>,
    /// When the credential ends, in seconds since the Unix epoch; what clocks may differ is in it.
    pub expires: u64,
    /// When the run ends that has a credential of its own, in seconds since the Unix epoch: not before its tokens do, which
    /// can be renewed.
    pub run_ends: Option<u64>,
    /// SHA-256 of the credential: tells credentials apart, opens nothing.
    pub fingerprint: Hash,
}

/// A person or a service, as an issuer vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// What it is.
    pub kind: PrincipalKind,
    /// Its name with the issuer.
    pub id: String,
    /// Who vouches for it: an issuer's URL; Tollbook's own for service keys.
    pub issuer: String,
}

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// A person.
    User,
    /// A program in its own right: a service key, a client-credentials token, a workload.
    Service,
}

/// Who acts for a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Its name with the issuer.
    pub sub: String,
    /// Who vouches for it.
    pub iss: String,
}

/// Which rule names the run. The digests are of issuer, principal, client and the token's `sid` or `jti`: equal for the
/// same run, and they name nobody.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RunName {
    /// A run token: the run is in it.
    Minted(RunId),
    /// One login: all tokens of a `sid` and a client.
    Login(Hash),
    /// One token, by its `jti`.
    Token(Hash),
    /// Nothing in the credential names a run: the MCP session or the client's process does.
    Unnamed,
}

impl Caller {
    /// Refuses what the scope does not cover, as `insufficient_scope`.
    ///
    /// # Errors
    /// [`Reason::Scope`].
    pub fn require(&self, word: &str) -> Result<(), Refused> {
        if self.scope.covers(word) {
            return Ok(());
        }
        let run = match self.run {
            RunName::Minted(run) => Some(run),
            _ => None,
        };
        Err(Refused { reason: Reason::Scope, issuer: None, run })
    }
}

impl RunName {
    /// The rule, as the record says it.
    pub fn rule(&self) -> &'static str {
        match self {
            RunName::Minted(_) => "one run token",
            RunName::Login(_) => "one login",
            RunName::Token(_) => "one access token",
            RunName::Unnamed => "not named by the credential",
        }
    }
}

impl PrincipalKind {
    /// `user` or `service`.
    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::User => "user",
            PrincipalKind::Service => "service",
        }
    }

    /// The kind that is called so.
    pub fn named(name: &str) -> Option<PrincipalKind> {
        [PrincipalKind::User, PrincipalKind::Service].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One text for each principal, for the record: `user:alice (https://idp.example)`.
impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{} ({})", self.kind.as_str(), self.id, self.issuer)
    }
}
