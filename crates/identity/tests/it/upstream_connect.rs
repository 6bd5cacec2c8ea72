//! Connecting a server: what is asked, what counts as an answer, and what becomes of the connection.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use identity::{
    ConnectError, ConnectionSettings, Connector, Journey, Network, TokenSource, UpstreamCredentials,
    UpstreamError, UpstreamGround, UpstreamSettings, Vault,
};
use serde_json::{Value, json};
use store::state::State;

use crate::provider::{Answer, Idp};

const NOW: u64 = 1_800_000_000;
const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
const SERVER: &str = "/.well-known/oauth-authorization-server";
const BACK: &str = "http://127.0.0.1:4711/callback";

/// A server and its authorization server at one address, and a data folder.
struct Stage {
    idp: Idp,
    folder: tempfile::TempDir,
    vault: Arc<Vault>,
}

impl Stage {
    async fn set() -> Stage {
        let idp = Idp::start(&[]).await;
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let vault = Arc::new(Vault::open(folder.path(), state).unwrap());
        let stage = Stage { idp, folder, vault };
        let url = &stage.idp.url;
        let resource = json!({ "resource": format!("{url}/mcp"), "authorization_servers": [url], "scopes_supported": ["read"] });
        stage.idp.answers(RESOURCE, Answer::Json(resource.to_string()));
        stage.server(&json!({}));
        let registered = json!({ "client_id": "registered", "client_secret": "canary-registered" });
        stage.idp.answers("/register", Answer::Refusal(201, registered.to_string()));
        stage.token("canary-access-1", "canary-refresh-1");
        stage
    }

    fn server(&self, changes: &Value) {
        let url = &self.idp.url;
        let mut document = json!({
            "issuer": url, "token_endpoint": format!("{url}/token"), "registration_endpoint": format!("{url}/register"),
            "authorization_endpoint": format!("{url}/authorize"), "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "authorization_response_iss_parameter_supported": true, "scopes_supported": ["read", "offline_access"],
        });
        for (name, value) in changes.as_object().unwrap() {
            document[name] = value.clone();
        }
        self.idp.answers(SERVER, Answer::Json(document.to_string()));
    }

    fn token(&self, access: &str, refresh: &str) {
        let answer = json!({ "access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 600 });
        self.idp.answers("/token", Answer::Json(answer.to_string()));
    }

    fn settings(&self) -> ConnectionSettings {
        ConnectionSettings {
            server: "bank".to_owned(),
            url: format!("{}/mcp", self.idp.url),
            issuer: None,
            client_id: None,
            client_secret: None,
            client_document: None,
            scopes: Vec::new(),
            network: Network::Public,
            wait: Duration::from_secs(60),
        }
    }

    fn connector(&self, settings: ConnectionSettings) -> Connector {
        Connector::new(settings, Arc::clone(&self.vault)).unwrap()
    }

    /// What a gateway shows, started now.
    fn credentials(&self, settings: ConnectionSettings) -> UpstreamCredentials {
        let token = Some(TokenSource::Connected(settings));
        let ground = UpstreamGround { verifier: None, vault: Some(Arc::clone(&self.vault)) };
        UpstreamCredentials::new(UpstreamSettings { headers: Vec::new(), token }, ground)
    }

    async fn shown(&self, now: u64) -> Result<String, UpstreamError> {
        let presented = self.credentials(self.settings()).present(None, now).await?;
        Ok(presented.headers[0].1.to_str().unwrap().to_owned())
    }

    fn answer(&self, journey: &Journey) -> String {
        format!("code=canary-code&state={}&iss={}", parameter(journey, "state"), form(&self.idp.url))
    }
}

fn parameter(journey: &Journey, name: &str) -> String {
    let query = journey.url.split_once('?').unwrap().1;
    query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap_or_default().to_owned()
}

fn form(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

#[tokio::test]
async fn a_connection_is_kept_sealed_shown_and_renewed() {
    let stage = Stage::set().await;
    assert_eq!(stage.shown(NOW).await.unwrap_err(), UpstreamError::Unconnected);
    let connector = stage.connector(stage.settings());
    let journey = connector.begin(BACK).await.unwrap();
    let resource = form(&format!("{}/mcp", stage.idp.url));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "registered"),
        ("redirect_uri", &form(BACK)),
        ("code_challenge_method", "S256"),
        ("resource", &resource),
        ("scope", "read+offline_access"),
    ] {
        assert_eq!(parameter(&journey, name), value, "{name}");
    }
    assert!(stage.idp.sent("/register").contains("\"application_type\":\"native\""));
    connector.finish(&journey, &stage.answer(&journey), NOW).await.unwrap();
    let sent = stage.idp.sent("/token");
    assert!(sent.starts_with("Basic ") && sent.contains(&format!("resource={resource}")), "{sent}");
    assert!(sent.contains("code_verifier=") && sent.contains("code=canary-code"), "{sent}");

    assert_eq!(stage.shown(NOW + 1).await.unwrap(), "Bearer canary-access-1");
    stage.token("canary-access-2", "canary-refresh-2");
    assert_eq!(stage.shown(NOW + 700).await.unwrap(), "Bearer canary-access-2");
    assert!(stage.idp.sent("/token").contains("refresh_token=canary-refresh-1"));
    stage.token("canary-access-3", "canary-refresh-3");
    assert_eq!(stage.shown(NOW + 1400).await.unwrap(), "Bearer canary-access-3");
    assert!(stage.idp.sent("/token").contains("refresh_token=canary-refresh-2"), "the newest one counts");

    for file in std::fs::read_dir(stage.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"canary"));
    }
    assert!(!format!("{journey:?} {connector:?}").contains("canary"));
    let moved = ConnectionSettings { url: format!("{}/other", stage.idp.url), ..stage.settings() };
    let error = stage.credentials(moved).present(None, NOW + 1400).await.unwrap_err();
    assert_eq!(error, UpstreamError::Unconnected, "a connection is for one address");
    let other = ConnectionSettings { issuer: Some("https://as.example".to_owned()), ..stage.settings() };
    let error = stage.credentials(other).present(None, NOW + 1400).await.unwrap_err();
    assert_eq!(error, UpstreamError::Unconnected, "and of one issuer");
}

#[tokio::test]
async fn a_connection_that_was_withdrawn_is_told_and_one_made_anew_counts_at_once() {
    let stage = Stage::set().await;
    let connector = stage.connector(stage.settings());
    let journey = connector.begin(BACK).await.unwrap();
    connector.finish(&journey, &stage.answer(&journey), NOW).await.unwrap();
    let credentials = stage.credentials(stage.settings());
    let presented = credentials.present(None, NOW).await.unwrap();
    let mut wants = HeaderMap::new();
    let text = "Bearer error=\"insufficient_scope\", scope=\"write\"";
    wants.insert(http::header::WWW_AUTHENTICATE, text.parse().unwrap());
    let forbidden = (StatusCode::FORBIDDEN, &wants);
    let error = credentials.refused(presented, forbidden, (None, NOW)).await.unwrap_err();
    assert!(error.to_string().contains("tollbook servers connect"), "{error}");

    stage.token("canary-access-2", "canary-refresh-2");
    let journey = connector.begin(BACK).await.unwrap();
    assert_eq!(parameter(&journey, "scope"), "read+offline_access+write", "what was asked for since");
    connector.finish(&journey, &stage.answer(&journey), NOW).await.unwrap();
    let presented = credentials.present(None, NOW).await.unwrap();
    let wider = credentials.refused(presented, forbidden, (None, NOW)).await.unwrap().unwrap();
    assert_eq!(wider.headers[0].1, "Bearer canary-access-2");

    stage.idp.answers("/token", Answer::Refusal(400, "{\"error\":\"invalid_grant\"}".to_owned()));
    let asked = stage.idp.asked("/token");
    for now in [NOW + 700, NOW + 701, NOW + 800] {
        assert_eq!(credentials.present(None, now).await.unwrap_err(), UpstreamError::Unconnected);
    }
    assert_eq!(stage.idp.asked("/token"), asked + 1, "what is spent is not shown again");
    stage.token("canary-access-3", "canary-refresh-3");
    let journey = connector.begin(BACK).await.unwrap();
    connector.finish(&journey, &stage.answer(&journey), NOW + 800).await.unwrap();
    let presented = credentials.present(None, NOW + 800).await.unwrap();
    assert_eq!(presented.headers[0].1, "Bearer canary-access-3");
}

#[tokio::test]
async fn answers_to_other_questions_or_of_others_do_not_count() {
    let stage = Stage::set().await;
    let connector = stage.connector(stage.settings());
    let journey = connector.begin(BACK).await.unwrap();
    let (state, iss) = (parameter(&journey, "state"), form(&stage.idp.url));
    for (query, expected) in [
        (format!("code=c&iss={iss}"), "State"),
        (format!("code=c&state=x&iss={iss}"), "State"),
        (format!("code=c&state={state}x&iss={iss}"), "State"),
        (format!("code=c&state={state}&state={state}&iss={iss}"), "State"),
        (format!("code=c&state={state}"), "Issuer"),
        (format!("code=c&state={state}&iss=https%3A%2F%2Fevil.example"), "Issuer"),
        (format!("code=c&state={state}&iss={iss}%2F"), "Issuer"),
        (format!("error=access_denied&state={state}&iss=https%3A%2F%2Fevil.example"), "Issuer"),
        (format!("error=access_denied&state={state}&iss={iss}"), "Denied(\"access_denied\")"),
        (format!("error=canary&code=c&state={state}&iss={iss}"), "Denied(\"an error\")"),
        (format!("state={state}&iss={iss}"), "Denied(\"it gave no code\")"),
    ] {
        let error = connector.finish(&journey, &query, NOW).await.unwrap_err();
        assert_eq!(format!("{error:?}"), expected, "{query}");
    }
    assert_eq!(stage.idp.asked("/token"), 0);
    assert_eq!(stage.shown(NOW).await.unwrap_err(), UpstreamError::Unconnected);
}

#[tokio::test]
async fn what_cannot_be_done_safely_is_not_begun() {
    for (changes, expected) in [
        (json!({ "code_challenge_methods_supported": ["plain"] }), "NoBinding"),
        (json!({ "code_challenge_methods_supported": null }), "NoBinding"),
        (json!({ "authorization_endpoint": "http://as.example/authorize" }), "NoEndpoint"),
        (json!({ "authorization_endpoint": "javascript:alert(1)" }), "NoEndpoint"),
        (json!({ "registration_endpoint": null }), "NoClient"),
        (json!({ "issuer": "https://evil.example" }), "Upstream(Metadata("),
    ] {
        let stage = Stage::set().await;
        stage.server(&changes);
        let error = stage.connector(stage.settings()).begin(BACK).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{changes}: {error:?}");
    }
    let stage = Stage::set().await;
    let other = ConnectionSettings { issuer: Some("https://as.example".to_owned()), ..stage.settings() };
    let error = stage.connector(other).begin(BACK).await.unwrap_err();
    assert!(matches!(error, ConnectError::OtherIssuer(_)), "{error:?}");
    stage.idp.answers("/register", Answer::Status(403));
    let error = stage.connector(stage.settings()).begin(BACK).await.unwrap_err();
    assert!(matches!(error, ConnectError::NotRegistered), "{error:?}");
}

#[tokio::test]
async fn a_server_of_2025_03_26_without_metadata_has_its_endpoints_where_that_revision_says() {
    let stage = Stage::set().await;
    for place in [RESOURCE, SERVER, "/.well-known/openid-configuration"] {
        stage.idp.answers(place, Answer::Status(404));
    }
    let connector = stage.connector(stage.settings());
    let journey = connector.begin(BACK).await.unwrap();
    assert!(journey.url.starts_with(&format!("{}/authorize?", stage.idp.url)), "{}", journey.url);
    assert_eq!(parameter(&journey, "code_challenge_method"), "S256");
    connector.finish(&journey, &stage.answer(&journey), NOW).await.unwrap();
    assert_eq!(stage.shown(NOW).await.unwrap(), "Bearer canary-access-1");

    // It has none at all, or it is not guessed where it is.
    let named = ConnectionSettings { issuer: Some(stage.idp.url.clone()), ..stage.settings() };
    let error = stage.connector(named).begin(BACK).await.unwrap_err();
    assert!(matches!(error, ConnectError::Upstream(UpstreamError::Metadata(_))), "{error:?}");
    for broken in [Answer::Status(503), Answer::Json("{}".to_owned())] {
        stage.idp.answers(SERVER, broken);
        stage.connector(stage.settings()).begin(BACK).await.unwrap_err();
    }
}

#[tokio::test]
async fn the_gateway_is_who_is_configured_then_who_a_document_says_then_who_registers() {
    let stage = Stage::set().await;
    stage.server(&json!({ "client_id_metadata_document_supported": true }));
    let document = Some("https://gate.example/oauth/client.json".to_owned());
    let settings = ConnectionSettings { client_document: document, ..stage.settings() };
    let journey = stage.connector(settings.clone()).begin(BACK).await.unwrap();
    assert_eq!(parameter(&journey, "client_id"), form("https://gate.example/oauth/client.json"));
    let known = ConnectionSettings { client_id: Some("known".to_owned()), ..settings };
    let journey = stage.connector(known).begin(BACK).await.unwrap();
    assert_eq!(parameter(&journey, "client_id"), "known");
    assert_eq!(stage.idp.asked("/register"), 0);
}
