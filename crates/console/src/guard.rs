//! Who may ask: a web page can reach a loopback port by DNS rebinding, but it cannot choose `Host` or `Origin` freely.

use http::header::{self, HeaderMap};
use http::uri::{Authority, Uri};

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Intrusion {
    #[error("the `Host` header must name this machine: use localhost or 127.0.0.1")]
    Host,
    #[error("the `Origin` header names an origin that may not read this port")]
    Origin,
}

/// Checks every `Host`, the authority of the address and every `Origin`: which one a reader would take does not matter then.
/// `public`: the https address by which browsers come too.
pub(crate) fn check(uri: &Uri, headers: &HeaderMap, public: Option<&str>) -> Result<(), Intrusion> {
    check_host(uri, headers, public)?;
    let public = public.map(|url| url.trim_end_matches('/'));
    let is_own_origin = |origin: &http::HeaderValue| {
        let text = origin.to_str().ok();
        if text.is_some() && text == public {
            return true;
        }
        let origin = text.and_then(|origin| origin.strip_prefix("http://"));
        origin.and_then(|origin| origin.parse().ok()).as_ref().is_some_and(is_own)
    };
    match headers.get_all(header::ORIGIN).iter().all(is_own_origin) {
        true => Ok(()),
        false => Err(Intrusion::Origin),
    }
}

/// The same, for what may come from any site.
pub(crate) fn check_host(uri: &Uri, headers: &HeaderMap, public: Option<&str>) -> Result<(), Intrusion> {
    let public = public.map(|url| url.trim_end_matches('/'));
    let public_host = public.and_then(|url| url.split_once("://")).map(|(_, host)| host);
    let is_own = |authority: &Authority| {
        is_own(authority) || public_host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_str()))
    };
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let mut hosts = headers.get_all(header::HOST).iter().map(text).map(|host| host?.parse().ok());
    let is_named = headers.contains_key(header::HOST) || uri.authority().is_some();
    let are_own = hosts.all(|host| host.as_ref().is_some_and(is_own)) && uri.authority().is_none_or(is_own);
    if is_named && are_own { Ok(()) } else { Err(Intrusion::Host) }
}

fn is_own(authority: &Authority) -> bool {
    matches!(authority.host().to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue, Uri};

    use super::{Intrusion, check};

    #[test]
    fn hosts_and_origins() {
        for (uri, lines, expected) in [
            ("/", vec![("host", "localhost:7801")], Ok(())),
            ("/", vec![("host", "127.0.0.1")], Ok(())),
            ("/", vec![("host", "[::1]:1"), ("origin", "http://127.0.0.1:7801")], Ok(())),
            ("/", vec![], Err(Intrusion::Host)),
            ("/", vec![("host", "evil.example:7801")], Err(Intrusion::Host)),
            ("/", vec![("host", "localhost"), ("host", "evil.example")], Err(Intrusion::Host)),
            ("http://evil.example/", vec![("host", "localhost")], Err(Intrusion::Host)),
            ("/", vec![("host", "localhost"), ("origin", "https://evil.example")], Err(Intrusion::Origin)),
            ("/", vec![("host", "localhost"), ("origin", "null")], Err(Intrusion::Origin)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &lines {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(check(&Uri::from_static(uri), &headers, None), expected, "{uri} {lines:?}");
        }
        let public = Some("https://ops.example");
        for (host, origin, expected) in [
            ("ops.example", "https://ops.example", Ok(())),
            ("localhost:7801", "http://localhost:7801", Ok(())),
            ("ops.example", "https://ops.example.evil", Err(Intrusion::Origin)),
            ("ops.example", "https://evil.example", Err(Intrusion::Origin)),
            ("ops.example.evil", "https://ops.example", Err(Intrusion::Host)),
        ] {
            let mut headers = HeaderMap::new();
            headers.append("host", HeaderValue::from_static(host));
            headers.append("origin", HeaderValue::from_static(origin));
            assert_eq!(check(&Uri::from_static("/"), &headers, public), expected, "{host} {origin}");
        }
    }
}
