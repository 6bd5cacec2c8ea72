//! What clients read to find out how to log in: documents and challenges. All of it is public.

use http::HeaderValue;
use serde_json::json;

use crate::endpoint::EXCHANGE;
use crate::jose::Algorithm;
use crate::refused::{Code, Refused};
use crate::settings::Settings;

/// An endpoint as an OAuth resource (RFC 9728).
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    /// Its URL, as clients use it.
    pub url: &'a str,
    /// Its name for people.
    pub name: &'a str,
    /// The scopes that a client should ask for: all that are needed, and no others.
    pub scopes: &'a [String],
}

impl Settings {
    /// The protected-resource metadata of an endpoint (RFC 9728 §2), to be served at [`Resource::metadata_url`].
    pub fn resource_metadata(&self, resource: &Resource<'_>) -> String {
        let issuers: Vec<&str> = match self.logs_in() {
            // Clients take the first; it is the one that knows them.
            true => vec![&self.public_url],
            false => self.issuers.iter().map(|issuer| issuer.url.as_str()).collect(),
        };
        let mut document = json!({
            "resource": resource.url,
            "resource_name": resource.name,
            "authorization_servers": issuers,
            "bearer_methods_supported": ["header"],
            "dpop_signing_alg_values_supported": algorithms(),
        });
        if let (Some(document), false) = (document.as_object_mut(), resource.scopes.is_empty()) {
            document.insert("scopes_supported".to_owned(), json!(resource.scopes));
        }
        document.to_string()
    }

    /// The metadata of our own token endpoint (RFC 8414 §2), to be served at
    /// `/.well-known/oauth-authorization-server`: how to log in, if that is configured, and how to get runs for tokens and
    /// keys.
    pub fn server_metadata(&self) -> String {
        let own = &self.public_url;
        let mut document = json!({
            "issuer": own,
            "token_endpoint": format!("{own}/oauth/token"),
            "jwks_uri": format!("{own}/oauth/keys"),
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials", EXCHANGE],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "dpop_signing_alg_values_supported": algorithms(),
        });
        if let (true, Some(document)) = (self.logs_in(), document.as_object_mut()) {
            let grants = ["authorization_code", "refresh_token", "client_credentials", EXCHANGE];
            document.extend([
                ("authorization_endpoint".to_owned(), json!(format!("{own}/oauth/authorize"))),
                ("registration_endpoint".to_owned(), json!(format!("{own}/oauth/register"))),
                ("response_types_supported".to_owned(), json!(["code"])),
                ("grant_types_supported".to_owned(), json!(grants)),
                ("code_challenge_methods_supported".to_owned(), json!(["S256"])),
                ("client_id_metadata_document_supported".to_owned(), json!(true)),
                ("authorization_response_iss_parameter_supported".to_owned(), json!(true)),
            ]);
        }
        document.to_string()
    }
}

impl Resource<'_> {
    /// Where its metadata is (RFC 9728 §3.1): the well-known path stands between host and path.
    pub fn metadata_url(&self) -> String {
        let authority = self.url.find("://").map_or(0, |at| at + 3);
        let path = self.url.get(authority..).and_then(|rest| rest.find('/')).map(|at| authority + at);
        let (origin, path) = self.url.split_at(path.unwrap_or(self.url.len()));
        format!("{origin}/.well-known/oauth-protected-resource{path}")
    }

    /// The `WWW-Authenticate` headers that go with a refusal, one for each scheme (RFC 6750 §3, RFC 9449 §7.1, RFC 9728
    /// §5.1). `scope`: all that is needed at once; else the scopes of the endpoint. None where trying again is all there
    /// is to do.
    pub fn challenges(&self, refused: &Refused, scope: Option<&str>) -> Vec<HeaderValue> {
        let code = refused.code();
        let schemes: &[&str] = match code {
            Code::Unavailable => &[],
            Code::InvalidProof => &["DPoP"],
            _ => &["Bearer", "DPoP"],
        };
        let schemes = schemes.iter().map(|scheme| self.challenge(scheme, refused, scope));
        // What is not ASCII is in no header: the URL and scopes of settings are.
        schemes.filter_map(|text| HeaderValue::from_str(&text).ok()).collect()
    }

    fn challenge(&self, scheme: &str, refused: &Refused, scope: Option<&str>) -> String {
        let mut parts = vec![format!("resource_metadata={}", quoted(&self.metadata_url()))];
        let scope = scope.map_or_else(|| self.scopes.join(" "), str::to_owned);
        if !scope.is_empty() {
            parts.push(format!("scope={}", quoted(&scope)));
        }
        if let Some(error) = refused.code().as_str() {
            parts.push(format!("error={}", quoted(error)));
            parts.push(format!("error_description={}", quoted(&refused.to_string())));
        }
        if scheme == "DPoP" {
            parts.push(format!("algs={}", quoted(&algorithms().join(" "))));
        }
        format!("{scheme} {}", parts.join(", "))
    }
}

/// A quoted string (RFC 9110 §5.6.4) of visible ASCII.
fn quoted(text: &str) -> String {
    let visible = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    let escaped: String =
        visible.flat_map(|c| ['\\'].into_iter().filter(move |_| "\"\\".contains(c)).chain([c])).collect();
    format!("\"{escaped}\"")
}

fn algorithms() -> Vec<&'static str> {
    Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect()
}
