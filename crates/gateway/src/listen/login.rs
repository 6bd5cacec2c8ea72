//! The pages of a login, as HTML: what `identity` decides, shown to a browser.
//!
//! Nothing runs in them and nothing may frame them; what clients say of themselves is escaped.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use identity::{Landing, Logins, Page, Refused, TokenReply};

use crate::callers::ASSERTIONS;
use crate::clock;
use crate::listen::body;
use crate::listen::page::{escaped, facts, page};
use crate::listen::reply::{self, Body};
use crate::settings::Limits;

/// Largest form, the token endpoint's too, and largest registration.
pub(crate) const FORM_BYTES: usize = 64 << 10;

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

fn shown(answer: Page) -> Response<Body> {
    match answer {
        Page::Redirect(url) => page(StatusCode::SEE_OTHER, ("", ""), vec![(LOCATION, url)]),
        Page::Refused(text) => {
            let html = format!("<p>{}</p>", escaped(text));
            page(StatusCode::BAD_REQUEST, ("This login cannot go on", &html), Vec::new())
        }
        Page::Consent { name, client, redirect, scope, ticket, cookie } => {
            let scope = scope.unwrap_or_else(|| "all that you may do".to_owned());
            let facts = facts(&[
                ("Calls itself", &name),
                ("Its id", &client),
                ("You will be led to", &redirect),
                ("It asks for", &scope),
            ]);
            let html = format!(
                "<p>A program wants to call tools on your behalf. Go on only if you have just started this yourself.</p>\
                 {facts}<form method=\"post\" action=\"/oauth/consent\">\
                 <input type=\"hidden\" name=\"ticket\" value=\"{}\">\
                 <button class=\"yes\" name=\"answer\" value=\"allow\">Log in and allow</button>\
                 <button name=\"answer\" value=\"deny\">Deny</button></form>",
                escaped(&ticket)
            );
            page(StatusCode::OK, ("Log in", &html), vec![(SET_COOKIE, cookie)])
        }
    }
}
