//! Whose tokens a server wants: its metadata (RFC 9728) and that of its authorization server (RFC 8414), as MCP's authorization
//! page orders the places.
//!
//! The server chooses these addresses, so each is fetched with the guard against reaching inward, and what they say must agree:
//! the metadata speaks of this server, the authorization server of itself.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::UpstreamError;
use super::challenge::words;
use crate::fetch::{FetchError, Fetcher, Place, Reach};
use crate::json;
use crate::provider::causes;
use crate::settings::Network;

/// Fetches what a server and its authorization server say of themselves.
#[derive(Debug)]
pub(super) struct Discovery {
    fetcher: Arc<Fetcher>,
    server: Place,
    url: String,
    network: Network,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceMetadata {
    /// What tokens are to be for.
    pub(super) resource: String,
    pub(super) issuers: Vec<String>,
    pub(super) scopes: Vec<String>,
}

/// What an authorization server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerMetadata {
    pub(super) issuer: String,
    pub(super) token: String,
    pub(super) authorize: Option<String>,
    pub(super) register: Option<String>,
    /// Whether codes can be bound to who asked (PKCE with S256).
    pub(super) binds_codes: bool,
    /// Whether it says `iss` in its answers (RFC 9207).
    pub(super) says_issuer: bool,
    /// Whether clients may be documents.
    pub(super) knows_documents: bool,
    /// How clients authenticate; empty if it does not say.
    pub(super) proofs: Vec<String>,
    pub(super) scopes: Vec<String>,
}

impl Discovery {
    pub(super) fn new(
        fetcher: Arc<Fetcher>,
        url: &str,
        network: Network,
    ) -> Result<Discovery, UpstreamError> {
        let server = Place::parse(url)
            .map_err(|_| UpstreamError::Metadata("the server's URL is neither https nor on loopback"))?;
        Ok(Discovery { fetcher, server, url: url.to_owned(), network })
    }

    /// The server's metadata: where its challenge says, else for its path, else for its origin. `None`: it has none.
    pub(super) async fn resource(
        &self,
        hint: Option<&str>,
    ) -> Result<Option<ResourceMetadata>, UpstreamError> {
        if let Some(hint) = hint {
            return Ok(Some(self.resource_of(&self.document(hint).await?)?));
        }
        let (origin, path) = parted(&self.url);
        let base = format!("{origin}/.well-known/oauth-protected-resource");
        let mut places = vec![format!("{base}{}", path.trim_end_matches('/'))];
        if !path.trim_end_matches('/').is_empty() {
            places.push(base);
        }
        for place in places {
            if let Some(bytes) = self.document_if_any(&place).await? {
                return Ok(Some(self.resource_of(&bytes)?));
            }
        }
        Ok(None)
    }

    /// An authorization server's metadata; its `issuer` must be the URL that it was looked for by.
    pub(super) async fn server(&self, issuer: &str) -> Result<ServerMetadata, UpstreamError> {
        let said = self.server_if_any(issuer).await?;
        said.ok_or(UpstreamError::Metadata("the authorization server has none"))
    }

    /// The authorization server at the server's own origin, for servers of 2025-03-26: without metadata, it is where that
    /// revision says.
    pub(super) async fn server_of_origin(&self) -> Result<ServerMetadata, UpstreamError> {
        let origin = parted(&self.url).0;
        Ok(self.server_if_any(origin).await?.unwrap_or_else(|| ServerMetadata::unsaid(origin)))
    }

    async fn server_if_any(&self, issuer: &str) -> Result<Option<ServerMetadata>, UpstreamError> {
        for place in server_places(issuer) {
            if let Some(bytes) = self.document_if_any(&place).await? {
                return server_of(&bytes, issuer).map(Some);
            }
        }
        Ok(None)
    }

    /// Which addresses may be connected to for a place.
    pub(super) fn reach(&self, place: &Place) -> Reach {
        match place.is_loopback() && self.server.is_loopback() {
            true => Reach::Loopback,
            false => Reach::Over(self.network),
        }
    }

    pub(super) fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// The server's own place.
    pub(super) fn place(&self) -> &Place {
        &self.server
    }

    async fn document_if_any(&self, url: &str) -> Result<Option<Bytes>, UpstreamError> {
        match self.fetch(url).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FetchError::Status(_, status)) if status.is_client_error() => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn document(&self, url: &str) -> Result<Bytes, UpstreamError> {
        self.fetch(url).await.map_err(|error| unavailable(&error))
    }

    async fn fetch(&self, url: &str) -> Result<Bytes, FetchError> {
        let place = Place::parse(url)?;
        self.fetcher.get(&place, self.reach(&place)).await
    }

    fn resource_of(&self, bytes: &Bytes) -> Result<ResourceMetadata, UpstreamError> {
        let document =
            json::object(bytes).ok_or(UpstreamError::Metadata("the server's is no JSON object"))?;
        let resource = text(&document, "resource").unwrap_or_default();
        if !speaks_of(&resource, &self.url) {
            return Err(UpstreamError::Metadata("the server's is that of another resource"));
        }
        Ok(ResourceMetadata {
            resource,
            issuers: texts(&document, "authorization_servers"),
            scopes: words(&texts(&document, "scopes_supported").join(" ")),
        })
    }
}

impl ServerMetadata {
    /// An authorization server whose metadata is not asked.
    pub(super) fn at(issuer: &str, token: &str) -> ServerMetadata {
        ServerMetadata {
            issuer: issuer.to_owned(),
            token: token.to_owned(),
            authorize: None,
            register: None,
            binds_codes: false,
            says_issuer: false,
            knows_documents: false,
            proofs: Vec::new(),
            scopes: Vec::new(),
        }
    }

    /// An authorization server of 2025-03-26 that has no metadata. That revision demands PKCE of it.
    fn unsaid(origin: &str) -> ServerMetadata {
        ServerMetadata {
            authorize: Some(format!("{origin}/authorize")),
            register: Some(format!("{origin}/register")),
            binds_codes: true,
            ..ServerMetadata::at(origin, &format!("{origin}/token"))
        }
    }
}

/// Logs what went wrong where, and says less.
pub(super) fn unavailable(error: &FetchError) -> UpstreamError {
    tracing::warn!(error = causes(error), "what a credential for a server needs cannot be fetched");
    UpstreamError::Unavailable(error.kind())
}

fn server_of(bytes: &Bytes, issuer: &str) -> Result<ServerMetadata, UpstreamError> {
    let wrong = |why| UpstreamError::Metadata(why);
    let document = json::object(bytes).ok_or(wrong("the authorization server's is no JSON object"))?;
    if text(&document, "issuer").as_deref() != Some(issuer) {
        return Err(wrong("the authorization server's names another issuer"));
    }
    let place = |name: &str| text(&document, name).filter(|url| Place::parse(url).is_ok());
    let says = |name: &str| document.get(name).and_then(Value::as_bool) == Some(true);
    Ok(ServerMetadata {
        issuer: issuer.to_owned(),
        token: place("token_endpoint").ok_or(wrong("the authorization server's has no token endpoint"))?,
        authorize: place("authorization_endpoint"),
        register: place("registration_endpoint"),
        binds_codes: texts(&document, "code_challenge_methods_supported").iter().any(|one| one == "S256"),
        says_issuer: says("authorization_response_iss_parameter_supported"),
        knows_documents: says("client_id_metadata_document_supported"),
        proofs: texts(&document, "token_endpoint_auth_methods_supported"),
        scopes: texts(&document, "scopes_supported"),
    })
}

/// Whether metadata of that resource is a server's: its URL, or what the URL is below, at the same origin.
fn speaks_of(resource: &str, url: &str) -> bool {
    let ((origin, path), (of_server, below)) = (parted(resource), parted(url));
    let path = path.trim_end_matches('/');
    let rest = below.strip_prefix(path);
    origin.eq_ignore_ascii_case(of_server)
        && !resource.contains(['?', '#'])
        && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// Where an authorization server's metadata may be: RFC 8414 §3.1 and OpenID Connect Discovery, inserted before the path and
/// appended to it.
fn server_places(issuer: &str) -> Vec<String> {
    let (origin, path) = parted(issuer);
    let path = path.trim_end_matches('/');
    let mut places = vec![
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
        format!("{origin}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        places.push(format!("{origin}{path}/.well-known/openid-configuration"));
    }
    places
}

/// Origin and the rest of a URL.
pub(super) fn parted(url: &str) -> (&str, &str) {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(authority..).and_then(|rest| rest.find(['/', '?', '#'])).map(|at| authority + at);
    url.split_at(end.unwrap_or(url.len()))
}

fn text(document: &Map<String, Value>, name: &str) -> Option<String> {
    document.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn texts(document: &Map<String, Value>, name: &str) -> Vec<String> {
    let listed = document.get(name).and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{server_places, speaks_of};

    #[test]
    fn metadata_is_that_of_the_server_or_of_what_it_is_below() {
        for (resource, url, speaks) in [
            ("https://a.example/mcp", "https://a.example/mcp", true),
            ("https://a.example", "https://a.example/mcp", true),
            ("https://a.example/", "https://a.example/mcp", true),
            ("https://A.example/mcp/", "https://a.example/mcp", true),
            ("https://a.example/mcp", "https://a.example/mcp?x=1", true),
            ("https://a.example/mc", "https://a.example/mcp", false),
            ("https://a.example/mcp/x", "https://a.example/mcp", false),
            ("https://a.example/other", "https://a.example/mcp", false),
            ("https://a.example:8443/mcp", "https://a.example/mcp", false),
            ("http://a.example/mcp", "https://a.example/mcp", false),
            ("https://a.example.evil/mcp", "https://a.example/mcp", false),
            ("https://a.example@evil/mcp", "https://a.example/mcp", false),
            ("https://a.example/mcp#x", "https://a.example/mcp", false),
            ("", "https://a.example/mcp", false),
        ] {
            assert_eq!(speaks_of(resource, url), speaks, "{resource} {url}");
        }
    }

    #[test]
    fn where_metadata_may_be_in_the_order_of_the_specification() {
        assert_eq!(
            server_places("https://as.example/tenant"),
            [
                "https://as.example/.well-known/oauth-authorization-server/tenant",
                "https://as.example/.well-known/openid-configuration/tenant",
                "https://as.example/tenant/.well-known/openid-configuration",
            ]
        );
        assert_eq!(server_places("https://as.example").len(), 2);
    }
}
