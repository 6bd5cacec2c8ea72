//! Fetching an issuer's documents: the one place where this crate speaks to the network, and the guard on where to.
//!
//! A name is resolved once, every address it has is judged, and the connection goes to an address that was judged. No
//! redirect is followed, nothing is cached, bodies and waits are bounded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::settings::Network;

/// Keys and documents are JSON, SAML's metadata is XML.
const ACCEPTED: &str = "application/json, application/samlmetadata+xml;q=0.9, */*;q=0.5";

/// Largest document.
const DOCUMENT_BYTES: usize = 256 * 1024;

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The loopback alone, also without TLS.
    Loopback,
    /// Over TLS, those of a network.
    Over(Network),
}

/// Why a document could not be fetched: for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(
        "`{0}` is no URL that may be fetched: it must be https, or http on the loopback, without user and fragment"
    )]
    Url(String),
    #[error(
        "`{0}` has an address that may not be connected to; set `allow_private` if the issuer is in a private network"
    )]
    Address(String),
    #[error("`{0}` cannot be resolved")]
    Resolve(String, #[source] std::io::Error),
    #[error("`{0}` cannot be reached")]
    Connect(String, #[source] std::io::Error),
    #[error("`{0}` broke the exchange")]
    Exchange(String, #[source] hyper::Error),
    #[error("`{0}` redirects, which is not followed; configure the address it leads to")]
    Redirect(String),
    #[error("`{0}` answers {1}")]
    Status(String, StatusCode),
    #[error("`{0}` sends more than 256 KiB, or broke off")]
    Body(String),
    #[error("`{0}` did not answer in time")]
    Slow(String),
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl FetchError {
    /// What went wrong, without where.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            FetchError::Url(_) => "no URL that may be fetched",
            FetchError::Address(_) => "an address that may not be connected to",
            FetchError::Resolve(..) => "cannot be resolved",
            FetchError::Connect(..) | FetchError::Exchange(..) => "cannot be reached",
            FetchError::Redirect(_) => "redirects",
            FetchError::Status(..) => "answers with an error",
            FetchError::Body(_) => "sends too much, or broke off",
            FetchError::Slow(_) => "did not answer in time",
            FetchError::Tls(_) => "TLS cannot be set up",
        }
    }
}

/// Where clouds keep their metadata within what are otherwise private networks.
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
];

/// Fetches documents.
#[derive(Debug)]
pub(crate) struct Fetcher {
    /// Made when it is first needed: reading the system's authorities takes a while.
    tls: OnceLock<Arc<rustls::ClientConfig>>,
    wait: Duration,
}

/// A URL that may be fetched, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    uri: Uri,
    host: String,
    port: u16,
    secure: bool,
}

impl Place {
    /// Reads a URL: https, or http on the loopback.
    pub(crate) fn parse(url: &str) -> Result<Place, FetchError> {
        let refused = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let authority = uri.authority().ok_or_else(refused)?;
        if authority.as_str().contains('@') || url.contains('#') {
            return Err(refused());
        }
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let place = Place { host, port, secure, uri };
        let plain = place.uri.scheme() == Some(&Scheme::HTTP) && place.is_loopback();
        if secure || plain { Ok(place) } else { Err(refused()) }
    }

    /// Whether the URL itself names the loopback.
    pub(crate) fn is_loopback(&self) -> bool {
        let address: Option<IpAddr> = self.host.parse().ok();
        self.host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the URL is scheme and host alone.
    pub(crate) fn is_origin(&self) -> bool {
        self.uri.path_and_query().is_none_or(|path| path.as_str() == "/")
    }

    /// Host and port, however they are written.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host.to_ascii_lowercase(), self.port)
    }

    fn name(&self) -> String {
        self.uri.to_string()
    }
}

impl Fetcher {
    pub(crate) fn new(wait: Duration) -> Fetcher {
        Fetcher { tls: OnceLock::new(), wait }
    }

    /// Gets a document.
    pub(crate) async fn get(&self, place: &Place, reach: Reach) -> Result<Bytes, FetchError> {
        document(place, self.ask(place, reach, Request::get("/").body(Full::default())).await?)
    }

    /// Sends a form and gets a document. `authorization`: the value of that header.
    pub(crate) async fn post(
        &self,
        place: &Place,
        reach: Reach,
        form: String,
        authorization: Option<String>,
    ) -> Result<Bytes, FetchError> {
        let mut request =
            Request::post("/").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        document(place, self.ask(place, reach, request.body(Full::from(form))).await?)
    }

    /// Sends a request and gives the answer whatever its status, but for redirects.
    pub(crate) async fn ask(
        &self,
        place: &Place,
        reach: Reach,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<Response<Bytes>, FetchError> {
        let request = request.map_err(|_| FetchError::Url(place.name()))?;
        match tokio::time::timeout(self.wait, self.exchange(place, reach, request)).await {
            Ok(done) => done,
            Err(_) => Err(FetchError::Slow(place.name())),
        }
    }

    async fn exchange(
        &self,
        place: &Place,
        reach: Reach,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, FetchError> {
        if reach != Reach::Loopback && !place.secure {
            return Err(FetchError::Url(place.name()));
        }
        let failed = |error| FetchError::Connect(place.name(), error);
        let stream = TcpStream::connect(judged(place, reach).await?.as_slice()).await.map_err(failed)?;
        if !place.secure {
            return ask(place, stream, request).await;
        }
        let name = ServerName::try_from(place.host.clone()).map_err(|_| FetchError::Url(place.name()))?;
        let stream = TlsConnector::from(self.tls()?).connect(name, stream).await.map_err(failed)?;
        ask(place, stream, request).await
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, FetchError> {
        if let Some(tls) = self.tls.get() {
            return Ok(Arc::clone(tls));
        }
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!("no certificate authorities: install `ca-certificates` or set `SSL_CERT_FILE`");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(FetchError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(tls))))
    }
}

/// The place's addresses, all of which may be connected to: one bad address among them is reason to refuse them all.
async fn judged(place: &Place, reach: Reach) -> Result<Vec<SocketAddr>, FetchError> {
    let found = tokio::net::lookup_host((place.host.as_str(), place.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|error| FetchError::Resolve(place.name(), error))?.collect();
    if found.iter().all(|address| may_reach(address.ip(), reach)) {
        return Ok(found);
    }
    Err(FetchError::Address(place.name()))
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin + 'static>(
    place: &Place,
    stream: S,
    mut request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, FetchError> {
    let broken = |error| FetchError::Exchange(place.name(), error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let wrong = || FetchError::Url(place.name());
    let path = place.uri.path_and_query().map_or("/", |path| path.as_str());
    let host = place.uri.authority().map_or("", |authority| authority.as_str());
    *request.uri_mut() = path.parse().map_err(|_| wrong())?;
    request.headers_mut().insert(header::HOST, host.parse().map_err(|_| wrong())?);
    request.headers_mut().entry(header::ACCEPT).or_insert(http::HeaderValue::from_static(ACCEPTED));
    let mut connection = pin!(connection);
    let mut answer = pin!(async { read(place, sender.send_request(request).await.map_err(broken)?).await });
    let mut is_open = true;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            // What it has read before it ended is still to come.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

async fn read(
    place: &Place,
    response: Response<hyper::body::Incoming>,
) -> Result<Response<Bytes>, FetchError> {
    if response.status().is_redirection() {
        return Err(FetchError::Redirect(place.name()));
    }
    let (head, body) = response.into_parts();
    let body = Limited::new(body, DOCUMENT_BYTES).collect().await;
    let body = body.map_err(|_| FetchError::Body(place.name()))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

fn document(place: &Place, response: Response<Bytes>) -> Result<Bytes, FetchError> {
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        status => Err(FetchError::Status(place.name(), status)),
    }
}

fn may_reach(address: IpAddr, reach: Reach) -> bool {
    let address = address.to_canonical();
    match reach {
        Reach::Loopback => address.is_loopback(),
        Reach::Over(Network::Public) => is_public(address),
        Reach::Over(Network::Private) => is_public(address) || is_private(address),
    }
}

fn is_private(address: IpAddr) -> bool {
    if METADATA.contains(&address) {
        return false;
    }
    match address {
        IpAddr::V4(v4) => v4.is_private() || is_carriers(v4),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Addresses that providers share among their customers (RFC 6598); clusters use them too.
fn is_carriers(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && (64..128).contains(&second)
}

/// Whether the address is one of the public internet, by IANA's registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || is_carriers(address)
        || first == 0
        || first >= 224
        || (first, second, third) == (192, 0, 0)
        || (first, second, third) == (192, 88, 99)
        || (first == 198 && (second == 18 || second == 19));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Only 2000::/3 is given out. Within it: protocols (2001::/23, Teredo among them), documentation, 6to4, which embeds
    // an IPv4 address.
    let special = (first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        || first == 0x2002
        || (first == 0x3fff && second < 0x1000);
    first & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Place, Reach, may_reach};
    use crate::settings::Network;

    #[test]
    fn which_addresses_may_be_reached() {
        for (address, public, private, loopback) in [
            ("93.184.215.14", true, true, false),
            ("2606:2800:21f:cb07::1", true, true, false),
            ("10.1.2.3", false, true, false),
            ("172.16.0.1", false, true, false),
            ("192.168.1.1", false, true, false),
            ("100.64.0.1", false, true, false),
            ("fd00::1", false, true, false),
            ("127.0.0.1", false, false, true),
            ("127.9.9.9", false, false, true),
            ("::1", false, false, true),
            ("::ffff:127.0.0.1", false, false, true),
            ("::ffff:10.0.0.1", false, true, false),
            ("::ffff:169.254.169.254", false, false, false),
            ("169.254.169.254", false, false, false),
            ("fe80::1", false, false, false),
            ("fd00:ec2::254", false, false, false),
            ("100.100.100.200", false, false, false),
            ("0.0.0.0", false, false, false),
            ("0.1.2.3", false, false, false),
            ("::", false, false, false),
            ("224.0.0.1", false, false, false),
            ("255.255.255.255", false, false, false),
            ("192.0.0.192", false, false, false),
            ("198.18.0.1", false, false, false),
            ("203.0.113.9", false, false, false),
            ("2001:db8::1", false, false, false),
            ("2002:7f00:1::", false, false, false),
            ("64:ff9b::7f00:1", false, false, false),
            ("2001::1", false, false, false),
            ("ff02::1", false, false, false),
        ] {
            let ip: IpAddr = address.parse().unwrap();
            assert_eq!(may_reach(ip, Reach::Over(Network::Public)), public, "{address}, public");
            assert_eq!(may_reach(ip, Reach::Over(Network::Private)), private, "{address}, private");
            assert_eq!(may_reach(ip, Reach::Loopback), loopback, "{address}, loopback");
        }
    }

    #[test]
    fn which_urls_may_be_fetched() {
        for (url, may) in [
            ("https://idp.example/x", true),
            ("https://10.0.0.1/x", true),
            ("http://127.0.0.1:99/x", true),
            ("http://[::1]:99/x", true),
            ("http://localhost/x", true),
            ("http://idp.example/x", false),
            ("http://localhost.idp.example/x", false),
            ("http://127.0.0.1.idp.example/x", false),
            ("https://user@idp.example/x", false),
            ("https://idp.example/x#y", false),
            ("file:///etc/passwd", false),
            ("ftp://idp.example/x", false),
            ("/x", false),
            ("", false),
        ] {
            assert_eq!(Place::parse(url).is_ok(), may, "{url}");
        }
    }
}
