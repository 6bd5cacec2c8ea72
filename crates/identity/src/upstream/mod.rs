//! What the gateway shows a server: its own credentials, never a caller's.
//!
//! * [`UpstreamCredentials::present`] gives the headers for one request; [`UpstreamCredentials::refused`] others, where the
//!   server did not accept them and there is reason to try again.
//! * Values are read again when they change; tokens are got from the server's authorization server and renewed before they end.
//!
//! Invariant: what is shown is in no error, log line or `Debug`.

mod challenge;
mod client;
mod connect;
mod connected;
mod discovery;
mod exchange;
mod oauth;
mod slot;
mod source;
mod token;
mod vault;

use std::sync::Arc;

use challenge::Challenge;
pub use client::ClientProof;
pub use connect::{ConnectError, Connector, Journey};
use connected::Connected;
pub use connected::ConnectionSettings;
use exchange::Exchange;
pub use exchange::OnBehalf;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
pub use oauth::OAuthSettings;
use oauth::{Grant, OAuth};
use slot::Slot;
pub use source::SecretSource;
use source::Value;
use token::Token;
pub use vault::Vault;

use crate::secret::Secret;
use crate::verifier::Verifier;

/// What a server is shown, and where the gateway has it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Headers whose values may change while the gateway runs.
    pub headers: Vec<(HeaderName, SecretSource)>,
    /// The token for `Authorization`.
    pub token: Option<TokenSource>,
}

/// Where the token for a server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenSource {
    /// It is given.
    Bearer(SecretSource),
    /// The gateway gets it for itself (`client_credentials`).
    Client(OAuthSettings),
    /// The gateway gets one for each caller, in exchange for the caller's own.
    Exchange {
        /// Where, and as whom.
        oauth: OAuthSettings,
        /// The server's name at the authorization server, if it goes by names.
        audience: Option<String>,
    },
    /// An operator has connected the server (authorization code).
    Connected(ConnectionSettings),
}

/// What all credentials are made with.
#[derive(Debug, Clone, Default)]
pub struct UpstreamGround {
    /// Who says whether callers still stand. `None`: nobody is verified.
    pub verifier: Option<Arc<Verifier>>,
    /// Where connections are kept. `None`: nowhere.
    pub vault: Option<Arc<Vault>>,
}

/// Why a server cannot be shown anything. The texts go to clients and into the record: they name no address, and nothing that
/// somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// The server is shown tokens of its callers, and this one has none.
    #[error("the server is shown tokens of its callers, and who calls was not verified by one")]
    NoCaller,
    /// The server is to be connected.
    #[error("an operator has to run `tollbook servers connect` for it")]
    Unconnected,
    /// A secret cannot be read.
    #[error("a secret of the configuration cannot be used: {0}")]
    Secret(&'static str),
    /// The authorization server, or metadata, cannot be had.
    #[error("what it needs cannot be fetched: {0}")]
    Unavailable(&'static str),
    /// Metadata that is not to be believed.
    #[error("metadata does not count: {0}")]
    Metadata(&'static str),
    /// The authorization server gave no token.
    #[error("the authorization server refuses a token: {0}")]
    Refused(&'static str),
    /// What the authorization server answered is no token.
    #[error("the authorization server's answer does not count: {0}")]
    Answer(&'static str),
    /// The server wants more scope than there is.
    #[error("the server asks for more scope: {0}")]
    Scope(&'static str),
    /// The server refused what it was shown, and there is nothing else to show.
    #[error("the server does not accept it")]
    NotAccepted,
}

/// The credentials towards one server.
#[derive(Debug)]
pub struct UpstreamCredentials {
    headers: Vec<(HeaderName, Value)>,
    token: Option<Source>,
}

#[derive(Debug)]
enum Source {
    Bearer(Value),
    Client(Arc<OAuth>, Arc<Slot>),
    Exchange(Box<Exchange>),
    Connected(Arc<Connected>),
}

/// A token as it was shown.
#[derive(Debug)]
enum Shown {
    Bearer(Secret),
    Token(Arc<Token>),
}

/// What a request shows.
#[derive(Debug)]
pub struct Presented {
    /// The headers; their values are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<Secret>,
    token: Option<Shown>,
    tries: u8,
}

/// How often a request may be sent: a server that refuses everything is not asked forever.
const TRIES: u8 = 3;

impl UpstreamSettings {
    /// How the record calls what is shown; nothing of its value.
    pub fn kind(&self) -> &'static str {
        match &self.token {
            None => "headers",
            Some(TokenSource::Bearer(_)) => "bearer",
            Some(TokenSource::Client(_)) => "client_credentials",
            Some(TokenSource::Exchange { .. }) => "token_exchange",
            Some(TokenSource::Connected(_)) => "authorization_code",
        }
    }
}

impl UpstreamCredentials {
    /// The credentials as they were configured; nothing is read yet.
    pub fn new(settings: UpstreamSettings, ground: UpstreamGround) -> UpstreamCredentials {
        let headers = settings.headers.into_iter().map(|(name, source)| (name, Value::new(source)));
        let token = settings.token.map(|token| match token {
            TokenSource::Bearer(source) => Source::Bearer(Value::new(source)),
            TokenSource::Client(settings) => Source::Client(Arc::new(OAuth::new(settings)), Arc::default()),
            TokenSource::Exchange { oauth, audience } => {
                Source::Exchange(Box::new(Exchange::new(OAuth::new(oauth), audience, ground.verifier)))
            }
            TokenSource::Connected(settings) => {
                Source::Connected(Arc::new(Connected::new(settings, ground.vault)))
            }
        });
        UpstreamCredentials { headers: headers.collect(), token }
    }

    /// What to show now.
    ///
    /// # Errors
    /// See [`UpstreamError`]: nothing is to be sent then.
    pub async fn present(&self, who: Option<OnBehalf<'_>>, now: u64) -> Result<Presented, UpstreamError> {
        let mut presented = self.presented(now).await?;
        match &self.token {
            None => {}
            Some(Source::Bearer(value)) => presented.bear(Shown::Bearer(value.current(now).await?))?,
            Some(Source::Client(oauth, slot)) => presented.bear(Shown::Token(oauth.own(slot, now).await?))?,
            Some(Source::Connected(connected)) => {
                presented.bear(Shown::Token(connected.token(now).await?))?;
            }
            Some(Source::Exchange(exchange)) => {
                presented.bear(Shown::Token(exchange.token(who, now).await?))?;
            }
        }
        Ok(presented)
    }

    /// What to show instead of what was refused with 401, or with 403 for want of scope: that request was not carried out, and
    /// may be sent once more. `None`: the answer is no matter of credentials.
    ///
    /// # Errors
    /// [`UpstreamError::NotAccepted`] if there is nothing else to show.
    pub async fn refused(
        &self,
        before: Presented,
        answer: (StatusCode, &HeaderMap),
        (who, now): (Option<OnBehalf<'_>>, u64),
    ) -> Result<Option<Presented>, UpstreamError> {
        let challenge = Challenge::of(answer.1);
        match answer.0 {
            StatusCode::UNAUTHORIZED => {}
            StatusCode::FORBIDDEN if challenge.wants_scope => {}
            _ => return Ok(None),
        }
        if before.tries >= TRIES {
            return Err(UpstreamError::NotAccepted);
        }
        let tries = before.tries + 1;
        let is_other = self.has_other_headers(&before, now).await?;
        let next = match (&self.token, before.token) {
            (Some(Source::Bearer(value)), Some(Shown::Bearer(secret))) => {
                value.after(&secret, now).await?.map(Shown::Bearer)
            }
            (Some(Source::Client(oauth, slot)), Some(Shown::Token(token))) => {
                let refused = (&*token, &challenge);
                Some(Shown::Token(oauth.after((slot, Grant::Own), refused, now).await?))
            }
            (Some(Source::Connected(connected)), Some(Shown::Token(token))) => {
                Some(Shown::Token(connected.after(&token, &challenge, now).await?))
            }
            (Some(Source::Exchange(exchange)), Some(Shown::Token(token))) => {
                Some(Shown::Token(exchange.after(who, (&token, &challenge), now).await?))
            }
            _ => None,
        };
        match next {
            Some(next) => {
                let mut presented = Presented { tries, ..self.presented(now).await? };
                presented.bear(next)?;
                Ok(Some(presented))
            }
            None if is_other => Ok(Some(Presented { tries, ..self.present(who, now).await? })),
            None => Err(UpstreamError::NotAccepted),
        }
    }

    /// Drops what was got for callers that no longer stand.
    pub fn forget(&self, now: u64) {
        if let Some(Source::Exchange(exchange)) = &self.token {
            exchange.forget(now);
        }
    }

    /// The headers without the token.
    async fn presented(&self, now: u64) -> Result<Presented, UpstreamError> {
        let mut presented = Presented { headers: Vec::new(), secrets: Vec::new(), token: None, tries: 1 };
        for (name, value) in &self.headers {
            presented.add(name, value.current(now).await?)?;
        }
        Ok(presented)
    }

    async fn has_other_headers(&self, before: &Presented, now: u64) -> Result<bool, UpstreamError> {
        let mut is_other = false;
        for ((_, value), secret) in self.headers.iter().zip(&before.secrets) {
            is_other |= value.after(secret, now).await?.is_some();
        }
        Ok(is_other)
    }
}

impl Presented {
    fn add(&mut self, name: &HeaderName, secret: Secret) -> Result<(), UpstreamError> {
        self.headers.push((name.clone(), header(secret.reveal())?));
        self.secrets.push(secret);
        Ok(())
    }

    fn bear(&mut self, shown: Shown) -> Result<(), UpstreamError> {
        let token = match &shown {
            Shown::Bearer(secret) => secret,
            Shown::Token(token) => &token.access,
        };
        if !is_token(token.reveal()) {
            return Err(UpstreamError::Secret("it is no token: those are visible ASCII without spaces"));
        }
        self.headers.push((AUTHORIZATION, header(&format!("Bearer {}", token.reveal()))?));
        self.token = Some(shown);
        Ok(())
    }
}

/// Whether a text can be a token: visible ASCII.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn header(text: &str) -> Result<HeaderValue, UpstreamError> {
    let is_sound = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let wrong = UpstreamError::Secret("it holds what no header may: only visible ASCII and spaces");
    let mut value = HeaderValue::from_str(text).ok().filter(|_| is_sound).ok_or(wrong)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::{
        SecretSource, TokenSource, UpstreamCredentials, UpstreamError, UpstreamGround, UpstreamSettings,
    };
    use crate::secret::Secret;

    fn bearer(source: SecretSource) -> UpstreamCredentials {
        UpstreamCredentials::new(
            UpstreamSettings { headers: Vec::new(), token: Some(TokenSource::Bearer(source)) },
            UpstreamGround::default(),
        )
    }

    #[tokio::test]
    async fn a_token_that_was_replaced_is_tried_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "canary-1").unwrap();
        let credentials = bearer(SecretSource::File(path.clone()));
        let shown = credentials.present(None, 1).await.unwrap();
        assert_eq!(
            shown.headers,
            [("authorization".parse().unwrap(), HeaderValue::from_static("Bearer canary-1"))]
        );
        assert!(!format!("{shown:?} {credentials:?}").contains("canary"));
        std::fs::write(&path, "canary-two").unwrap();
        let none = http::HeaderMap::new();
        let answer = (http::StatusCode::UNAUTHORIZED, &none);
        let shown = credentials.refused(shown, answer, (None, 1)).await.unwrap().unwrap();
        assert_eq!(shown.headers[0].1, "Bearer canary-two");
        assert_eq!(
            credentials.refused(shown, answer, (None, 1)).await.unwrap_err(),
            UpstreamError::NotAccepted
        );
    }

    #[tokio::test]
    async fn what_no_header_may_hold_is_not_shown() {
        for text in ["two words", "new\nline", "gr\u{fc}n", "tab\t", ""] {
            let credentials = bearer(SecretSource::Fixed(Secret::new(text)));
            assert!(credentials.present(None, 1).await.is_err(), "{text:?}");
            let headers = vec![(HeaderName::from_static("x-key"), SecretSource::Fixed(Secret::new(text)))];
            let credentials = UpstreamCredentials::new(
                UpstreamSettings { headers, token: None },
                UpstreamGround::default(),
            );
            assert_eq!(
                credentials.present(None, 1).await.is_ok(),
                ["two words", ""].contains(&text),
                "{text:?}"
            );
        }
    }
}
