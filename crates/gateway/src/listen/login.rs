//! The pages of a login, as HTML: what `identity` decides, shown to a browser.
//!
//! Nothing runs in them and nothing may frame them; what clients say of themselves is escaped.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use identity::{Landing, Logins, Page, Refused, TokenReply};

use crate::callers::ASSERTIONS;
use crate::clock;
use crate::listen::body;
use crate::listen::reply::{self, Body};
use crate::settings::Limits;

/// Largest form, the token endpoint's too, and largest registration.
pub(crate) const FORM_BYTES: usize = 64 << 10;

/// The whole style of the pages.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem;color:#1c1c1a;\
    background:#fbfaf7}dt{color:#6b6860;font-size:.85rem}dd{margin:0 0 .8rem;overflow-wrap:anywhere}\
    button{font:inherit;padding:.5rem 1.2rem;margin-right:.6rem;border:1px solid #1c1c1a;border-radius:4px;background:#fff}\
    button.yes{background:#1c1c1a;color:#fff}";

/// Largest form with a SAML response: base64 of 256 KiB, its signs escaped.
const RESPONSE_BYTES: usize = 512 << 10;

/// What a path of a login was answered.
pub(crate) struct Served {
    pub(crate) response: Response<Body>,
    /// What is to be recorded.
    pub(crate) refused: Option<Refused>,
    /// The endpoint that the login was for.
    pub(crate) resource: Option<String>,
}

/// The method of a login's path; `None`: it is none.
pub(crate) fn wanted(path: &str) -> Option<Method> {
    match path {
        "/oauth/authorize" | "/oauth/callback" | "/oauth/saml/arrived" | "/oauth/saml/metadata" => {
            Some(Method::GET)
        }
        "/oauth/consent" | "/oauth/register" | ASSERTIONS => Some(Method::POST),
        _ => None,
    }
}

/// Serves the paths of logins, each with its method.
pub(crate) async fn serve(logins: &Logins, request: Request<Incoming>, limits: &Limits) -> Served {
    let (parts, incoming) = request.into_parts();
    let now = clock::unix_seconds();
    let cookie = parts.headers.get(COOKIE).and_then(|cookie| cookie.to_str().ok());
    let query = parts.uri.query().unwrap_or_default();
    match parts.uri.path() {
        "/oauth/authorize" => return shown(logins.authorize(query, cookie, now).await).into(),
        "/oauth/callback" => return logins.callback(query, cookie, now).await.into(),
        "/oauth/saml/arrived" => return logins.arrived(query, cookie, now).into(),
        "/oauth/saml/metadata" => return metadata(logins).into(),
        _ => {}
    }
    let most = if parts.uri.path() == ASSERTIONS { RESPONSE_BYTES } else { FORM_BYTES };
    let form = match body::read_within(incoming, most, limits.request_wait).await {
        Ok(form) => form,
        Err(error) => return reply::text(StatusCode::BAD_REQUEST, &error.to_string()).into(),
    };
    match parts.uri.path() {
        "/oauth/consent" => shown(logins.consent(&form, cookie, now).await).into(),
        ASSERTIONS => logins.assertion(&form, now).await.into(),
        _ => told(logins.register(&form, now).await).into(),
    }
}

fn metadata(logins: &Logins) -> Response<Body> {
    let Some(text) = logins.saml_metadata() else { return reply::empty(StatusCode::NOT_FOUND) };
    let mut response = Response::new(Body::Whole(Some(Bytes::from(text))));
    let kind = HeaderValue::from_static("application/samlmetadata+xml");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

impl From<Response<Body>> for Served {
    fn from(response: Response<Body>) -> Served {
        Served { response, refused: None, resource: None }
    }
}

impl From<Landing> for Served {
    fn from(landing: Landing) -> Served {
        let Landing { page, refused, resource } = landing;
        Served { response: shown(page), refused, resource }
    }
}

/// An answer of the token endpoint or of the registration.
pub(crate) fn told(answer: TokenReply) -> Response<Body> {
    let mut response = reply::json(answer.status, Bytes::from(answer.body));
    response.headers_mut().extend(answer.headers);
    response
}

fn shown(page: Page) -> Response<Body> {
    let (status, title, html, headers): (_, _, String, Vec<(HeaderName, String)>) = match page {
        Page::Redirect(url) => (StatusCode::SEE_OTHER, "", String::new(), vec![(LOCATION, url)]),
        Page::Refused(text) => (
            StatusCode::BAD_REQUEST,
            "This login cannot go on",
            format!("<p>{}</p>", escaped(text)),
            Vec::new(),
        ),
        Page::Consent { name, client, redirect, scope, ticket, cookie } => {
            let scope = scope.unwrap_or_else(|| "all that you may do".to_owned());
            let facts = [
                ("Calls itself", &name),
                ("Its id", &client),
                ("You will be led to", &redirect),
                ("It asks for", &scope),
            ];
            let facts: String = facts
                .iter()
                .map(|(term, value)| format!("<dt>{term}</dt><dd>{}</dd>", escaped(value)))
                .collect();
            let html = format!(
                "<p>A program wants to call tools on your behalf. Go on only if you have just started this yourself.</p>\
                 <dl>{facts}</dl><form method=\"post\" action=\"/oauth/consent\">\
                 <input type=\"hidden\" name=\"ticket\" value=\"{}\">\
                 <button class=\"yes\" name=\"answer\" value=\"allow\">Log in and allow</button>\
                 <button name=\"answer\" value=\"deny\">Deny</button></form>",
                escaped(&ticket)
            );
            (StatusCode::OK, "Log in", html, vec![(SET_COOKIE, cookie)])
        }
    };
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} · Tollbook</title><style>{STYLE}</style><h1>{title}</h1>{html}</html>"
    );
    let mut response = Response::new(Body::Whole(Some(Bytes::from(html))));
    *response.status_mut() = status;
    let fixed = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        // With `no-referrer` browsers send the form without saying that it comes from here, and it would be turned away.
        (REFERRER_POLICY, "same-origin".to_owned()),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
                .to_owned(),
        ),
    ];
    for (name, value) in fixed.into_iter().chain(headers) {
        // A URL that is no header value was refused where it was parsed.
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(character),
        }
    }
    out
}
