//! Tokens in, caller out: who calls, by what can be verified.
//!
//! * [`Verifier::identify`] takes what a request presents and gives a [`Caller`] or a [`Refused`]: access tokens of
//!   configured issuers, service keys, run tokens.
//! * [`Mint`] makes runs with a credential of their own, narrows and revokes them; [`issue_key`] makes service keys. Both
//!   keep what must last in [`store::state`].
//! * [`Verifier::answer`] is the token endpoint: it gives runs for access tokens, run tokens and service keys.
//! * [`Logins`] logs people in through a provider, OpenID Connect or SAML, that does not know their clients.
//! * [`UpstreamCredentials`] is what the gateway shows a server: its own credentials, never a caller's.
//! * [`operators`] knows who may look and decide, apart from those who call.
//! * Only this crate knows JOSE, OpenID Connect and SAML. It makes no decisions about calls: that is policy.
//!
//! Invariant: nothing that was presented and not verified is in a refusal, a log line or a caller.

mod cache;
mod caller;
mod claims;
mod credentials;
mod dpop;
mod endpoint;
mod federation;
mod fetch;
mod form;
mod jose;
mod json;
mod keys;
mod login;
mod metadata;
mod mint;
pub mod operators;
mod provider;
mod random;
mod refused;
mod run_key;
mod saml;
mod scope;
mod secret;
mod settings;
mod standing;
mod upstream;
mod verifier;

pub use caller::{Actor, Caller, Principal, PrincipalKind, RunName};
pub use credentials::Credentials;
pub use endpoint::{TokenReply, TokenRequest};
pub use jose::Algorithm;
pub use keys::{IssuedKey, KEY_LIFETIME, KeyError, NewKey, issue_key, rotate_key};
pub use login::{Landing, Logins, Page};
pub use metadata::Resource;
pub use mint::{Mint, MintError, Minted, RunOrder, Under};
pub use random::NoRandomness;
pub use refused::{Code, Reason, Refused};
pub use run_key::{RunKey, RunKeyError};
pub use saml::Flaw;
pub use scope::{Scope, ScopeError};
pub use secret::Secret;
pub use settings::{
    Binding, Issuer, KeySource, KindRule, LoginSettings, Network, RunLimits, SamlMetadata, SamlSettings,
    Settings, TokenType,
};
pub use upstream::{
    ClientProof, ConnectError, ConnectionSettings, Connector, Journey, OAuthSettings, OnBehalf, Presented,
    SecretSource, TokenSource, UpstreamCredentials, UpstreamError, UpstreamGround, UpstreamSettings, Vault,
};
pub use verifier::{SetupError, Verifier};
