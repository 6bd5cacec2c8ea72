//! `[servers.NAME.credentials]`: what the gateway shows a server.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway::settings::ServerSettings;
use http::Uri;
use identity::{
    Algorithm, ClientProof, ConnectionSettings, Network, OAuthSettings, SecretSource, TokenSource,
};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::Reading;

/// How long a program may take, and how long what it printed is used, unless the file says otherwise.
const COMMAND_WAIT: Duration = Duration::from_secs(10);
const COMMAND_HOLDS: Duration = Duration::from_secs(300);

/// Longest an authorization server may take, unless the file says otherwise.
const ISSUER_WAIT: Duration = Duration::from_secs(10);

const KINDS: [&str; 4] = ["bearer", "client_credentials", "token_exchange", "authorization_code"];

/// What the gateway shows a server; never what a caller showed the gateway.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct CredentialsFile {
    /// Where the token comes from: `bearer` (it is given), `client_credentials` (the gateway gets it for itself at the server's
    /// authorization server), `token_exchange` (it gets one for each caller, in exchange for the caller's own; needs
    /// `[identity]`), `authorization_code` (an operator connects the server with `tollbook servers connect`, for all callers).
    #[cfg_attr(test, schemars(with = "String", extend("enum" = KINDS)))]
    kind: Spanned<String>,
    /// The token of `bearer`: a value, `file:PATH` (read again when it changes) or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    token: Option<Spanned<String>>,
    /// Program and arguments that print the token of `bearer`.
    command: Option<Vec<String>>,
    /// Longest that `command` may take, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    command_seconds: Option<u64>,
    /// How long what `command` printed is used before it is asked again, in seconds; a token that the server refuses is asked
    /// for anew at once.
    #[cfg_attr(test, schemars(range(min = 1)))]
    holds_seconds: Option<u64>,
    /// The server's authorization server, by its identifier. The gateway's secret goes there and nowhere else, whatever the
    /// server says.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    issuer: Option<Spanned<String>>,
    /// The gateway's client id at the issuer, which must be given with it.
    client_id: Option<String>,
    /// The gateway's secret at the issuer, which must be given with it: a value, `file:PATH` or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    client_secret: Option<Spanned<String>>,
    /// The gateway's private key at the issuer instead of a secret (`private_key_jwt`), in PEM: `file:PATH` or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    key: Option<Spanned<String>>,
    /// The name of `key` at the issuer, if it needs one.
    key_id: Option<String>,
    /// The algorithm that `key` signs with; that of its kind if not given.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    algorithm: Option<Spanned<String>>,
    /// How `client_secret` is shown: `client_secret_basic` or `client_secret_post`; as the issuer's metadata says if not given.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("enum" = ["client_secret_basic", "client_secret_post"])))]
    authentication: Option<Spanned<String>>,
    /// The address of a document that says who the gateway is, as a client id for `authorization_code`. With `[identity]`, if
    /// not given: `public_url` and `/oauth/client.json`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    client_document: Option<Spanned<String>>,
    /// Scopes to ask for, and the most that is asked for when the server wants more. Without them, those that the server wants.
    #[serde(default)]
    scopes: Vec<String>,
    /// What the token is for, if that is not what the server's metadata says, or its `url`.
    resource: Option<String>,
    /// The server's name at the issuer, for `token_exchange` with issuers that go by names.
    audience: Option<String>,
    /// Where tokens are got, if the issuer's metadata is not to be asked.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    token_endpoint: Option<Spanned<String>>,
    /// Whether the issuer may have an address of a private network.
    #[serde(default)]
    allow_private: bool,
    /// Longest an answer of the issuer may take, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    wait_seconds: Option<u64>,
}

impl Reading<'_> {
    /// What the credentials mean, for a server at this address.
    pub(super) fn credentials(
        &mut self,
        file: &Spanned<CredentialsFile>,
        (name, url): (&str, &Uri),
    ) -> Option<TokenSource> {
        let at = file.span().start;
        let written = file.get_ref();
        if !is_private(url) {
            self.mistake(at, "credentials are shown over https only, or over http on loopback; see `url`");
        }
        match written.kind.get_ref().as_str() {
            "bearer" => self.bearer(written, at).map(TokenSource::Bearer),
            "client_credentials" => self.oauth(written, at, url).map(TokenSource::Client),
            "token_exchange" => {
                let (oauth, audience) = (self.oauth(written, at, url)?, written.audience.clone());
                Some(TokenSource::Exchange { oauth, audience })
            }
            "authorization_code" => self.connection(written, at, (name, url)).map(TokenSource::Connected),
            _ => {
                let kinds = KINDS.map(|kind| format!("`{kind}`")).join(", ");
                self.mistake(written.kind.span().start, &format!("`kind` is one of {kinds}"));
                None
            }
        }
    }

    fn bearer(&mut self, file: &CredentialsFile, at: usize) -> Option<SecretSource> {
        match (&file.token, &file.command) {
            (Some(token), None) => self.source(token),
            (None, Some(line)) if line.first().is_some_and(|program| !program.is_empty()) => {
                Some(SecretSource::Command {
                    line: line.clone(),
                    env: self.environment.for_children.clone(),
                    wait: file.command_seconds.map_or(COMMAND_WAIT, Duration::from_secs),
                    holds: file.holds_seconds.map_or(COMMAND_HOLDS, Duration::from_secs),
                })
            }
            _ => {
                self.mistake(at, "`bearer` needs `token`, or `command` with a program; one of them");
                None
            }
        }
    }

    fn oauth(&mut self, file: &CredentialsFile, at: usize, url: &Uri) -> Option<OAuthSettings> {
        self.check_places(file);
        let proof = self.proof(file, at);
        let (Some(issuer), Some(client_id)) = (&file.issuer, &file.client_id) else {
            let kind = file.kind.get_ref();
            self.mistake(at, &format!("`{kind}` needs `issuer` and `client_id`"));
            return None;
        };
        Some(OAuthSettings {
            url: url.to_string(),
            issuer: issuer.get_ref().clone(),
            token_endpoint: file.token_endpoint.as_ref().map(|place| place.get_ref().clone()),
            client_id: client_id.clone(),
            proof: proof?,
            scopes: file.scopes.clone(),
            resource: file.resource.clone(),
            network: if file.allow_private { Network::Private } else { Network::Public },
            wait: file.wait_seconds.map_or(ISSUER_WAIT, Duration::from_secs),
        })
    }

    fn connection(
        &mut self,
        file: &CredentialsFile,
        at: usize,
        (name, url): (&str, &Uri),
    ) -> Option<ConnectionSettings> {
        self.check_places(file);
        if file.issuer.is_none() && (file.client_id.is_some() || file.client_secret.is_some()) {
            let at = file.client_secret.as_ref().map_or(at, |secret| secret.span().start);
            let text = "`client_id` and `client_secret` need `issuer`: without it, they would be shown to whatever \
                        authorization server the server names";
            self.mistake(at, text);
        }
        let secret = match &file.client_secret {
            Some(secret) => Some(self.source(secret)?),
            None => None,
        };
        Some(ConnectionSettings {
            server: name.to_owned(),
            url: url.to_string(),
            issuer: file.issuer.as_ref().map(|issuer| issuer.get_ref().clone()),
            client_id: file.client_id.clone(),
            client_secret: secret,
            client_document: file.client_document.as_ref().map(|place| place.get_ref().clone()),
            scopes: file.scopes.clone(),
            network: if file.allow_private { Network::Private } else { Network::Public },
            wait: file.wait_seconds.map_or(ISSUER_WAIT, Duration::from_secs),
        })
    }

    fn check_places(&mut self, file: &CredentialsFile) {
        for place in file.issuer.iter().chain(&file.token_endpoint).chain(&file.client_document) {
            if !place.get_ref().parse().is_ok_and(|url| is_private(&url)) {
                let text = "an address like `https://as.example`; http on loopback alone";
                self.mistake(place.span().start, text);
            }
        }
    }

    fn proof(&mut self, file: &CredentialsFile, at: usize) -> Option<ClientProof> {
        let algorithm = file.algorithm.as_ref().and_then(|algorithm| {
            let read: Result<Algorithm, _> = algorithm.get_ref().parse();
            let told = read.as_ref().err().map(ToString::to_string);
            told.iter().for_each(|told| {
                self.mistake(algorithm.span().start, &format!("`algorithm`: {told}"));
            });
            read.ok()
        });
        match (&file.client_secret, &file.key) {
            (Some(secret), None) => {
                let source = self.source(secret)?;
                let way = file.authentication.as_ref();
                match way.map(|way| (way.get_ref().as_str(), way.span().start)) {
                    None => Some(ClientProof::Secret(source)),
                    Some(("client_secret_basic", _)) => Some(ClientProof::SecretByBasic(source)),
                    Some(("client_secret_post", _)) => Some(ClientProof::SecretByPost(source)),
                    Some((_, at)) => {
                        self.mistake(at, "`authentication` is `client_secret_basic` or `client_secret_post`");
                        None
                    }
                }
            }
            (None, Some(key)) => {
                Some(ClientProof::Key { pem: self.source(key)?, id: file.key_id.clone(), algorithm })
            }
            _ => {
                let kind = file.kind.get_ref();
                self.mistake(at, &format!("`{kind}` needs `client_secret` or `key`; one of them"));
                None
            }
        }
    }

    /// Where a secret comes from. A file must be there now; what it holds later is read then.
    pub(super) fn source(&mut self, written: &Spanned<String>) -> Option<SecretSource> {
        let value = self.secret(written)?;
        match written.get_ref().strip_prefix("file:") {
            Some(path) => Some(SecretSource::File(self.environment.resolve(path.as_ref()))),
            None => Some(SecretSource::Fixed(identity::Secret::new(value))),
        }
    }
}

/// Whether nobody on the way can read what goes there.
fn is_private(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme_str() == Some("https") || is_loopback
}

/// Says who the gateway is to who wants a document for it: only one that others can read helps.
pub(super) fn name_clients(
    servers: &mut BTreeMap<String, ServerSettings>,
    identity: Option<&identity::Settings>,
) {
    let document = identity.map(identity::Settings::client_document_url);
    let document = document.filter(|url| url.starts_with("https://"));
    for settings in servers.values_mut() {
        let (ServerSettings::Http(server) | ServerSettings::Sse(server)) = settings else { continue };
        let token = server.credentials.as_mut().and_then(|credentials| credentials.token.as_mut());
        if let Some(identity::TokenSource::Connected(connection)) = token
            && connection.client_document.is_none()
        {
            connection.client_document.clone_from(&document);
        }
    }
}

/// Whether a server is shown tokens of its callers.
pub(super) fn exchanges(settings: &ServerSettings) -> bool {
    let (ServerSettings::Http(server) | ServerSettings::Sse(server)) = settings else { return false };
    let token = server.credentials.as_ref().and_then(|credentials| credentials.token.as_ref());
    matches!(token, Some(identity::TokenSource::Exchange { .. }))
}
