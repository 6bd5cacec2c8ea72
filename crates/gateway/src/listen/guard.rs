//! What is checked of an HTTP request before its body is read, and which headers may cross.
//!
//! A web page can reach a loopback port by DNS rebinding; it cannot choose `Host` or `Origin` freely. The gateway
//! rewrites `Host` towards the upstream, so this check is the gateway's alone (MCP 2026-07-28, transports, security).

use http::header::{self, HeaderMap, HeaderName};
use http::uri::Authority;

/// Host names that a request may name.
#[derive(Debug)]
pub(crate) struct Hosts {
    allowed: Vec<String>,
}

/// Why a request was turned away before its body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Intrusion {
    #[error("the `Host` header names a host that this gateway does not serve")]
    Host,
    #[error("the `Origin` header names an origin that may not call this gateway")]
    Origin,
}

impl Hosts {
    /// The loopback names and those given.
    pub(crate) fn new(allowed: &[String]) -> Hosts {
        Hosts { allowed: allowed.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    /// Checks every `Host`, the authority of the address (HTTP/2's `:authority`) and every `Origin`: which one a reader would
    /// take does not matter then.
    pub(crate) fn check(&self, uri: &http::Uri, headers: &HeaderMap) -> Result<(), Intrusion> {
        self.check_hosts(uri, headers)?;
        for origin in headers.get_all(header::ORIGIN) {
            let authority = origin
                .to_str()
                .ok()
                .and_then(|text| text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")))
                .and_then(|text| text.parse::<Authority>().ok());
            if !authority.is_some_and(|authority| self.serves(authority.host())) {
                return Err(Intrusion::Origin);
            }
        }
        Ok(())
    }

    /// The same without `Origin`: for what pages of other sites are to send here.
    pub(crate) fn check_hosts(&self, uri: &http::Uri, headers: &HeaderMap) -> Result<(), Intrusion> {
        let hosts = headers.get_all(header::HOST).iter();
        let named: Vec<Option<Authority>> = hosts
            .map(|value| value.to_str().ok().and_then(|text| text.parse().ok()))
            .chain(uri.authority().cloned().map(Some))
            .collect();
        let serves = |host: &Option<Authority>| host.as_ref().is_some_and(|host| self.serves(host.host()));
        if named.is_empty() || !named.iter().all(serves) {
            return Err(Intrusion::Host);
        }
        Ok(())
    }

    fn serves(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") || self.allowed.contains(&host)
    }
}

/// Headers that belong to one connection (RFC 9110 §7.6.1) or that HTTP clients set themselves.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::CONTENT_LENGTH,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Headers that speak of the client's relation to the gateway and never go upstream: credentials above all
/// (MCP 2026-07-28, authorization, "Access Token Privilege Restriction").
const OF_THE_CLIENT: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::ORIGIN,
    header::REFERER,
    header::ACCEPT_ENCODING,
    header::EXPECT,
];

/// Headers of the upstream that mean nothing, or harm, at the gateway's origin.
const OF_THE_UPSTREAM: [HeaderName; 4] =
    [header::SET_COOKIE, header::WWW_AUTHENTICATE, header::ALT_SVC, header::STRICT_TRANSPORT_SECURITY];

/// The client's headers that may go upstream.
pub(crate) fn towards_upstream(headers: &HeaderMap) -> HeaderMap {
    crossing(headers, &OF_THE_CLIENT)
}

/// The upstream's headers that may go to the client.
pub(crate) fn towards_client(headers: &HeaderMap) -> HeaderMap {
    crossing(headers, &OF_THE_UPSTREAM)
}

fn crossing(headers: &HeaderMap, withheld: &[HeaderName]) -> HeaderMap {
    let named_by_connection: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let mut crossing = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let stays = OF_THE_CONNECTION.contains(name)
            || withheld.contains(name)
            || matches!(name.as_str(), "keep-alive" | "proxy-connection")
            || named_by_connection.iter().any(|named| named == name.as_str());
        if !stays {
            crossing.append(name.clone(), value.clone());
        }
    }
    crossing
}

/// Headers that the record keeps, by their value. Anything else may hold a credential and is left out.
const RECORDED: [&str; 8] = [
    "accept",
    "content-type",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "user-agent",
    "x-request-id",
];

/// The recorded headers as a JSON object text.
pub(crate) fn recorded(headers: &HeaderMap) -> String {
    let mut fields: Vec<(&str, &str)> = headers
        .iter()
        .filter(|(name, _)| RECORDED.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    fields.sort_unstable();
    fields.dedup_by_key(|(name, _)| *name);
    let members: Vec<String> = fields
        .iter()
        .map(|(name, value)| {
            format!("{}:{}", crate::account::json_text(name), crate::account::json_text(value))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hosts_and_origins() {
        let hosts = Hosts::new(&["Gate.Example".to_owned()]);
        let uri = http::Uri::from_static("/mcp/x");
        for (lines, expected) in [
            (vec![("host", "localhost:7800")], Ok(())),
            (vec![("host", "127.0.0.1")], Ok(())),
            (vec![("host", "[::1]:1")], Ok(())),
            (vec![("host", "gate.example:443")], Ok(())),
            (vec![("host", "evil.example")], Err(Intrusion::Host)),
            (vec![("host", "localhost.evil.example")], Err(Intrusion::Host)),
            (vec![("host", "a b")], Err(Intrusion::Host)),
            (vec![("host", "localhost"), ("host", "evil.example")], Err(Intrusion::Host)),
            (vec![], Err(Intrusion::Host)),
            (vec![("host", "localhost"), ("origin", "http://localhost:3000")], Ok(())),
            (vec![("host", "localhost"), ("origin", "https://evil.example")], Err(Intrusion::Origin)),
            (vec![("host", "localhost"), ("origin", "null")], Err(Intrusion::Origin)),
            (
                vec![("host", "localhost"), ("origin", "http://localhost@evil.example")],
                Err(Intrusion::Origin),
            ),
        ] {
            assert_eq!(hosts.check(&uri, &headers(&lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn credentials_and_hop_by_hop_stay() {
        let sent = headers(&[
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("content-length", "3"),
            ("mcp-session-id", "s"),
            ("x-other", "kept"),
        ]);
        let kept = towards_upstream(&sent);
        let names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["mcp-session-id", "x-other"]);
        assert_eq!(
            recorded(&headers(&[("authorization", "Bearer x"), ("accept", "a\"b")])),
            r#"{"accept":"a\"b"}"#
        );
    }
}
