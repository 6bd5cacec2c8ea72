//! The gateway's own pages, as HTML. Nothing runs in them and nothing may frame them.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::listen::reply::Body;

/// The whole style of the pages.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1rem;color:#1c1c1a;\
    background:#fbfaf7}dt{color:#6b6860;font-size:.85rem}dd{margin:0 0 .8rem;overflow-wrap:anywhere}\
    button{font:inherit;padding:.5rem 1.2rem;margin-right:.6rem;border:1px solid #1c1c1a;border-radius:4px;background:#fff}\
    button.yes{background:#1c1c1a;color:#fff}";

/// A page. `html` is escaped already.
pub(crate) fn page(
    status: StatusCode,
    (title, html): (&str, &str),
    headers: Vec<(HeaderName, String)>,
) -> Response<Body> {
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

/// Facts, each under its name.
pub(crate) fn facts(facts: &[(&str, &str)]) -> String {
    let facts: String =
        facts.iter().map(|(term, value)| format!("<dt>{term}</dt><dd>{}</dd>", escaped(value))).collect();
    format!("<dl>{facts}</dl>")
}

pub(crate) fn escaped(text: &str) -> String {
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
