//! What the gateway shows a server: its own credentials, never a caller's.
//!
//! * [`UpstreamCredentials::present`] gives the headers for one request; [`UpstreamCredentials::refused`] others, where the
//!   server did not accept them and there is reason to try again.
//! * Values are read again when they change.
//!
//! Invariant: what is shown is in no error, log line or `Debug`.

mod source;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::secret::Secret;
use source::Value;
pub use source::{SecretCommand, SecretSource};

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
}

/// Why a server cannot be shown anything. The texts go to clients and into the record: they name no address, and nothing that
/// somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// A secret cannot be read.
    #[error("a secret of the configuration cannot be used: {0}")]
    Secret(&'static str),
    /// The server refused what it was shown, and there is nothing else to show.
    #[error("the server does not accept it")]
    NotAccepted,
}

/// The credentials towards one server.
#[derive(Debug)]
pub struct UpstreamCredentials {
    headers: Vec<(HeaderName, Value)>,
    bearer: Option<Value>,
}

/// What a request shows.
#[derive(Debug)]
pub struct Presented {
    /// The headers; their values are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<Secret>,
    bearer: Option<Secret>,
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
        }
    }
}

impl UpstreamCredentials {
    /// The credentials as they were configured; nothing is read yet.
    pub fn new(settings: UpstreamSettings) -> UpstreamCredentials {
        let headers = settings.headers.into_iter().map(|(name, source)| (name, Value::new(source)));
        let bearer = settings.token.map(|token| match token {
            TokenSource::Bearer(source) => Value::new(source),
        });
        UpstreamCredentials { headers: headers.collect(), bearer }
    }

    /// What to show now.
    ///
    /// # Errors
    /// See [`UpstreamError`]: nothing is to be sent then.
    pub async fn present(&self, now: u64) -> Result<Presented, UpstreamError> {
        let mut presented = Presented { headers: Vec::new(), secrets: Vec::new(), bearer: None, tries: 1 };
        for (name, value) in &self.headers {
            presented.add(name, value.current(now).await?)?;
        }
        if let Some(bearer) = &self.bearer {
            presented.bear(bearer.current(now).await?)?;
        }
        Ok(presented)
    }

    /// What to show instead of what was refused with 401: that request was not carried out, and may be sent once more.
    ///
    /// # Errors
    /// [`UpstreamError::NotAccepted`] if there is nothing else to show.
    pub async fn refused(&self, before: Presented, now: u64) -> Result<Presented, UpstreamError> {
        if before.tries >= TRIES {
            return Err(UpstreamError::NotAccepted);
        }
        let mut is_other = false;
        for ((_, value), secret) in self.headers.iter().zip(&before.secrets) {
            is_other |= value.after(secret, now).await?.is_some();
        }
        if let (Some(bearer), Some(secret)) = (&self.bearer, &before.bearer) {
            is_other |= bearer.after(secret, now).await?.is_some();
        }
        if !is_other {
            return Err(UpstreamError::NotAccepted);
        }
        Ok(Presented { tries: before.tries + 1, ..self.present(now).await? })
    }
}

impl Presented {
    fn add(&mut self, name: &HeaderName, secret: Secret) -> Result<(), UpstreamError> {
        self.headers.push((name.clone(), header(secret.reveal())?));
        self.secrets.push(secret);
        Ok(())
    }

    fn bear(&mut self, token: Secret) -> Result<(), UpstreamError> {
        if !is_token(token.reveal()) {
            return Err(UpstreamError::Secret("it is no token: those are visible ASCII without spaces"));
        }
        self.headers.push((AUTHORIZATION, header(&format!("Bearer {}", token.reveal()))?));
        self.bearer = Some(token);
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

    use super::{SecretSource, TokenSource, UpstreamCredentials, UpstreamError, UpstreamSettings};
    use crate::secret::Secret;

    fn bearer(source: SecretSource) -> UpstreamCredentials {
        UpstreamCredentials::new(UpstreamSettings {
            headers: Vec::new(),
            token: Some(TokenSource::Bearer(source)),
        })
    }

    #[tokio::test]
    async fn a_token_that_was_replaced_is_tried_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "canary-1").unwrap();
        let credentials = bearer(SecretSource::File(path.clone()));
        let shown = credentials.present(1).await.unwrap();
        assert_eq!(
            shown.headers,
            [("authorization".parse().unwrap(), HeaderValue::from_static("Bearer canary-1"))]
        );
        assert!(!format!("{shown:?} {credentials:?}").contains("canary"));
        std::fs::write(&path, "canary-two").unwrap();
        let shown = credentials.refused(shown, 1).await.unwrap();
        assert_eq!(shown.headers[0].1, "Bearer canary-two");
        assert_eq!(credentials.refused(shown, 1).await.unwrap_err(), UpstreamError::NotAccepted);
    }

    #[tokio::test]
    async fn what_no_header_may_hold_is_not_shown() {
        for text in ["two words", "new\nline", "gr\u{fc}n", "tab\t", ""] {
            let credentials = bearer(SecretSource::Fixed(Secret::new(text)));
            assert!(credentials.present(1).await.is_err(), "{text:?}");
            let headers = vec![(HeaderName::from_static("x-key"), SecretSource::Fixed(Secret::new(text)))];
            let credentials = UpstreamCredentials::new(UpstreamSettings { headers, token: None });
            assert_eq!(credentials.present(1).await.is_ok(), ["two words", ""].contains(&text), "{text:?}");
        }
    }
}
