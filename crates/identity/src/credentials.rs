//! What a request presents: the `Authorization` and `DPoP` headers, and the request that they are for.

use http::HeaderMap;
use http::header::{AUTHORIZATION, GetAll};

use crate::refused::Reason;

/// What a request presents.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    headers: &'a HeaderMap,
    method: &'a str,
    url: &'a str,
    query: Option<&'a str>,
}

/// How a token is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Dpop,
}

impl<'a> Credentials<'a> {
    /// Of a request with these headers and method for this URL: the public one, as clients use it, with its query.
    pub fn of_request(headers: &'a HeaderMap, method: &'a str, url: &'a str) -> Credentials<'a> {
        Credentials { headers, method, url, query: url.split_once('?').map(|(_, query)| query) }
    }

    /// The token and how it is presented (RFC 6750 §2.1, RFC 9449 §7.1); only ever by a header.
    pub(crate) fn token(&self) -> Result<(Scheme, &'a str), Reason> {
        let query = self.query.unwrap_or_default();
        if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token") {
            return Err(Reason::TokenInQuery);
        }
        if self.headers.get_all("dpop").iter().count() > 1 {
            return Err(Reason::SeveralCredentials);
        }
        let Some(value) = single(&self.headers.get_all(AUTHORIZATION))? else {
            return Err(Reason::NoCredentials);
        };
        let (scheme, token) = value.split_once(' ').ok_or(Reason::Scheme)?;
        let token = token.trim_matches(' ');
        let scheme = if scheme.eq_ignore_ascii_case("bearer") {
            Scheme::Bearer
        } else if scheme.eq_ignore_ascii_case("dpop") {
            Scheme::Dpop
        } else {
            return Err(Reason::Scheme);
        };
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.is_empty() || !token.bytes().all(sound) {
            return Err(Reason::Scheme);
        }
        Ok((scheme, token))
    }

    pub(crate) fn proof(&self) -> Option<&'a str> {
        self.headers.get("dpop")?.to_str().ok()
    }

    pub(crate) fn method(&self) -> &'a str {
        self.method
    }

    pub(crate) fn url(&self) -> &'a str {
        self.url
    }
}

/// A header that must not stand twice.
pub(crate) fn single<'a>(values: &GetAll<'a, http::HeaderValue>) -> Result<Option<&'a str>, Reason> {
    let mut values = values.iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Reason::SeveralCredentials);
    }
    first.map(|value| value.to_str().map_err(|_| Reason::Scheme)).transpose()
}
