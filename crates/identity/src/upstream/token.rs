//! Asking an authorization server for a token, and reading what it answers (RFC 6749 §5).

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Map, Value};

use super::client::Introduced;
use super::discovery::{Discovery, unavailable};
use super::vault::Connection;
use super::{UpstreamError, is_token};
use crate::fetch::Place;
use crate::json;
use crate::secret::Secret;

/// How long a token is used whose end is not said, and longest that any is.
const USUAL_SECONDS: u64 = 3600;
const LONGEST_SECONDS: u64 = 24 * 3600;

/// A token is renewed when a fifth of its life is left, or a minute if that is less; and not used in the last of these seconds.
const RENEWED_BEFORE: u64 = 60;
const UNUSED_BEFORE: u64 = 3;

/// Words of errors that may be told: those of RFC 6749 §5.2, RFC 8693 §2.2.2, RFC 8707 §2.
const KNOWN: [&str; 8] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "temporarily_unavailable",
];

/// A token that an authorization server gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) access: Secret,
    pub(super) refresh: Option<Secret>,
    pub(super) given: u64,
    pub(super) expires: u64,
    /// What was asked for.
    pub(super) asked: Vec<String>,
}

impl Token {
    /// The token of a connection.
    pub(super) fn kept(stored: &Connection) -> Token {
        Token {
            access: Secret::new(stored.access.as_str()),
            refresh: stored.refresh.as_deref().map(Secret::new),
            given: stored.given,
            expires: stored.expires,
            asked: stored.scopes.clone(),
        }
    }

    pub(super) fn is_usable(&self, now: u64) -> bool {
        // A clock that was set back makes tokens old, not young.
        now.saturating_add(UNUSED_BEFORE) < self.expires && self.given <= now.saturating_add(RENEWED_BEFORE)
    }

    /// Whether it is time for the next one.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let margin = (self.expires.saturating_sub(self.given) / 5).min(RENEWED_BEFORE);
        now.saturating_add(margin) >= self.expires
    }

    /// The same, to be used no longer than until then.
    pub(super) fn until(self, end: u64) -> Token {
        Token { expires: self.expires.min(end), ..self }
    }
}

/// Sends a token request.
pub(super) async fn request(
    discovery: &Discovery,
    endpoint: &str,
    introduced: Introduced,
    (asked, now): (&[String], u64),
) -> Result<Token, UpstreamError> {
    let place = Place::parse(endpoint).map_err(|error| unavailable(&error))?;
    let mut request = Request::post("/").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(value) = &introduced.authorization {
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Full::from(introduced.encoded()));
    let answer = discovery.fetcher().ask(&place, discovery.reach(&place), request).await;
    read(&answer.map_err(|error| unavailable(&error))?, asked, now)
}

fn read(answer: &Response<Bytes>, asked: &[String], now: u64) -> Result<Token, UpstreamError> {
    let object = json::object(answer.body());
    if !answer.status().is_success() {
        let text = |name| object.as_ref().and_then(|object| object.get(name)).and_then(Value::as_str);
        // Nothing of the answer but a known word is told: it may hold what was sent.
        let known = text("error").and_then(|error| KNOWN.iter().find(|known| **known == error));
        tracing::warn!(status = answer.status().as_u16(), error = known, "a token was refused");
        return Err(UpstreamError::Refused(known.copied().unwrap_or("for no reason that is known")));
    }
    let object = object.ok_or(UpstreamError::Answer("it is no JSON object"))?;
    let access = token(&object, "access_token").ok_or(UpstreamError::Answer("it holds no access token"))?;
    let kind = object.get("token_type").and_then(Value::as_str).unwrap_or_default();
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(UpstreamError::Answer("the token is of another type than `Bearer`"));
    }
    let lives = match object.get("expires_in") {
        None | Some(Value::Null) => USUAL_SECONDS,
        Some(Value::String(text)) => {
            text.parse().map_err(|_| UpstreamError::Answer("`expires_in` is no number"))?
        }
        Some(number) => {
            let seconds = number.as_u64().or_else(|| number.as_f64().map(whole));
            seconds.ok_or(UpstreamError::Answer("`expires_in` is no number"))?
        }
    };
    Ok(Token {
        access,
        refresh: token(&object, "refresh_token"),
        given: now,
        expires: now.saturating_add(lives.min(LONGEST_SECONDS)),
        asked: asked.to_vec(),
    })
}

/// Seconds that are written with a fraction, cut off.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that is too large or negative becomes the nearest number that fits"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

fn token(object: &Map<String, Value>, name: &str) -> Option<Secret> {
    object.get(name).and_then(Value::as_str).filter(|text| is_token(text)).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Response;

    use super::read;

    #[test]
    fn only_what_is_a_token_is_one_and_nothing_of_an_answer_is_told() {
        for (status, body, told) in [
            (200, r#"{"access_token":"canary","token_type":"bearer"}"#, ""),
            (200, r#"{"access_token":"canary","token_type":"Bearer","expires_in":"60"}"#, ""),
            (200, r#"{"access_token":"canary","token_type":"DPoP"}"#, "another type than `Bearer`"),
            (200, r#"{"access_token":"canary"}"#, "another type than `Bearer`"),
            (200, r#"{"access_token":"can ary","token_type":"Bearer"}"#, "it holds no access token"),
            (200, r#"{"access_token":"canary\n","token_type":"Bearer"}"#, "it holds no access token"),
            (200, r#"{"access_token":"","token_type":"Bearer"}"#, "it holds no access token"),
            (200, r#"{"access_token":["canary"],"token_type":"Bearer"}"#, "it holds no access token"),
            (
                200,
                r#"{"access_token":"canary","access_token":"x","token_type":"Bearer"}"#,
                "it is no JSON object",
            ),
            (
                200,
                r#"{"access_token":"canary","token_type":"Bearer","expires_in":{}}"#,
                "`expires_in` is no number",
            ),
            (200, "<html>canary</html>", "it is no JSON object"),
            (400, r#"{"error":"invalid_client","error_description":"canary"}"#, "invalid_client"),
            (400, r#"{"error":"canary"}"#, "for no reason that is known"),
            (500, "canary", "for no reason that is known"),
        ] {
            let answer = Response::builder().status(status).body(Bytes::from(body)).unwrap();
            let error = read(&answer, &[], 0).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.ends_with(told) && error.is_empty() == told.is_empty(), "{body}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn tokens_are_renewed_before_they_end() {
        let body = Bytes::from(r#"{"access_token":"a","token_type":"Bearer","expires_in":100.9}"#);
        let token = read(&Response::new(body), &[], 1000).unwrap();
        for (now, usable, due) in [
            (1000, true, false),
            (1079, true, false),
            (1080, true, true),
            (1096, true, true),
            (1097, false, true),
            (5000, false, true),
            (900, false, false),
        ] {
            assert_eq!((token.is_usable(now), token.is_due(now)), (usable, due), "{now}");
        }
    }
}
