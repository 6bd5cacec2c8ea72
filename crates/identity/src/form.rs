//! The form that a token request is, and the client that it authenticates (RFC 6749 §2.3.1, §3.2).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};

use crate::credentials::single;
use crate::endpoint::TokenError;

/// Largest form: two tokens, a purpose and a list of endpoints fit.
const FORM_BYTES: usize = 64 * 1024;

/// Parameters that may stand several times (RFC 8693 §2.1).
const REPEATED: [&str; 2] = ["resource", "audience"];

/// A form whose parameters each stand once, but for those that may be repeated.
pub(crate) struct Form(BTreeMap<String, Vec<String>>);

/// What a client authenticates with.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Form {
    pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Form, TokenError> {
        let invalid = |reason: &str| TokenError::new("invalid_request", reason);
        let kind = single(&headers.get_all(CONTENT_TYPE))?.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(invalid("the request must be a form"));
        }
        Form::parse(body)
    }

    /// Reads a form, or a URL's query.
    pub(crate) fn parse(body: &[u8]) -> Result<Form, TokenError> {
        if body.len() > FORM_BYTES {
            return Err(TokenError::new("invalid_request", "the request is larger than 64 KiB"));
        }
        Form::parse_any(body)
    }

    /// Reads a form whose size was judged before.
    pub(crate) fn parse_any(body: &[u8]) -> Result<Form, TokenError> {
        let invalid = |reason: &str| TokenError::new("invalid_request", reason);
        let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            // RFC 6749 §3.2: a parameter without a value is one that is not there.
            if value.is_empty() {
                continue;
            }
            let values = parameters.entry(name.clone().into_owned()).or_default();
            if !values.is_empty() && !REPEATED.contains(&&*name) {
                return Err(invalid("a parameter stands twice"));
            }
            values.push(value.into_owned());
        }
        Ok(Form(parameters))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.first().map(String::as_str)
    }

    pub(crate) fn required(&self, name: &'static str) -> Result<&str, TokenError> {
        let missing = || TokenError::new("invalid_request", format!("`{name}` is missing"));
        self.optional(name).ok_or_else(missing)
    }

    pub(crate) fn all(&self, names: &[&str]) -> Vec<String> {
        names.iter().filter_map(|name| self.0.get(*name)).flatten().cloned().collect()
    }

    /// What the client authenticates with: by HTTP Basic or in the form, not both.
    pub(crate) fn client(&self, headers: &HeaderMap) -> Result<Option<Client>, TokenError> {
        let basic = single(&headers.get_all(AUTHORIZATION))?.map(basic).transpose()?;
        match (basic, self.optional("client_id"), self.optional("client_secret")) {
            (Some(_), _, Some(_)) => {
                Err(TokenError::new("invalid_request", "the client authenticates in two ways"))
            }
            (Some(client), Some(id), None) if client.id != id => {
                Err(TokenError::new("invalid_request", "two clients are named"))
            }
            (Some(client), _, None) => Ok(Some(client)),
            (None, Some(id), Some(secret)) => {
                Ok(Some(Client { id: id.to_owned(), secret: secret.to_owned() }))
            }
            (None, None, Some(_)) => Err(TokenError::new("invalid_client", "`client_id` is missing")),
            // A name alone proves nothing and is not used.
            (None, _, None) => Ok(None),
        }
    }
}

fn basic(value: &str) -> Result<Client, TokenError> {
    let wrong = || TokenError::new("invalid_client", "the `Authorization` header is not HTTP Basic");
    let (scheme, encoded) = value.split_once(' ').ok_or_else(wrong)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(wrong());
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| wrong())?;
    let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
    let (id, secret) = decoded.split_once(':').ok_or_else(wrong)?;
    Ok(Client { id: unescaped(id), secret: unescaped(secret) })
}

/// RFC 6749 §2.3.1: both parts are form-encoded before they are encoded again.
fn unescaped(text: &str) -> String {
    form_urlencoded::parse(text.as_bytes()).next().map_or_else(String::new, |(name, _)| name.into_owned())
}
