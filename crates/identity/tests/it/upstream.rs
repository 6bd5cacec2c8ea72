//! Tokens for servers: where they are got, for what, and what does not count.

use std::sync::Arc;
use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};
use identity::{
    ClientProof, Network, OAuthSettings, Presented, Secret, SecretSource, TokenSource, UpstreamCredentials,
    UpstreamError, UpstreamGround, UpstreamSettings,
};
use serde_json::{Value, json};

use crate::provider::{Answer, Idp};

const NOW: u64 = 1_800_000_000;
const RESOURCE: &str = "/.well-known/oauth-protected-resource/mcp";
const SERVER: &str = "/.well-known/oauth-authorization-server";
const SECRET: &str = "canary-secret";

/// A server and its authorization server, at one address.
struct Stage {
    idp: Idp,
}

impl Stage {
    async fn set() -> Stage {
        let stage = Stage { idp: Idp::start(&[]).await };
        stage.resource(&json!({}));
        stage.server(&json!({}));
        stage.token("canary-1", 600);
        stage
    }

    /// Publishes the server's metadata, with these changes.
    fn resource(&self, changes: &Value) {
        let url = &self.idp.url;
        let document = json!({
            "resource": format!("{url}/mcp"), "authorization_servers": [url], "scopes_supported": ["all"],
        });
        self.idp.answers(RESOURCE, Answer::Json(merged(document, changes)));
    }

    /// Publishes the authorization server's metadata, with these changes.
    fn server(&self, changes: &Value) {
        let url = &self.idp.url;
        let document = json!({ "issuer": url, "token_endpoint": format!("{url}/token") });
        self.idp.answers(SERVER, Answer::Json(merged(document, changes)));
    }

    fn token(&self, token: &str, lives: u64) {
        let answer = json!({ "access_token": token, "token_type": "Bearer", "expires_in": lives });
        self.idp.answers("/token", Answer::Json(answer.to_string()));
    }

    fn settings(&self) -> OAuthSettings {
        OAuthSettings {
            url: format!("{}/mcp", self.idp.url),
            issuer: self.idp.url.clone(),
            token_endpoint: None,
            client_id: "tollbook".to_owned(),
            proof: ClientProof::Secret(SecretSource::Fixed(Secret::new(SECRET))),
            scopes: Vec::new(),
            resource: None,
            network: Network::Public,
            wait: Duration::from_secs(60),
        }
    }

    fn credentials(&self) -> UpstreamCredentials {
        made(self.settings())
    }
}

fn made(settings: OAuthSettings) -> UpstreamCredentials {
    let token = Some(TokenSource::Client(settings));
    UpstreamCredentials::new(UpstreamSettings { headers: Vec::new(), token }, UpstreamGround::default())
}

fn merged(mut document: Value, changes: &Value) -> String {
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    document.to_string()
}

fn shown(presented: &Presented) -> &str {
    presented.headers[0].1.to_str().unwrap()
}

fn challenge(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
    headers
}

#[tokio::test]
async fn a_token_is_got_once_for_this_server_and_shown_until_it_is_due() {
    let stage = Stage::set().await;
    let credentials = stage.credentials();
    for now in [NOW, NOW + 1, NOW + 539] {
        assert_eq!(shown(&credentials.present(None, now).await.unwrap()), "Bearer canary-1");
    }
    assert_eq!(stage.idp.asked("/token"), 1);
    let sent = stage.idp.sent("/token");
    let resource = format!("resource={}", form(&format!("{}/mcp", stage.idp.url)));
    assert!(sent.starts_with("Basic ") && !sent.contains("canary"), "{sent}");
    for part in ["grant_type=client_credentials", &resource, "scope=all"] {
        assert!(sent.contains(part), "{part}: {sent}");
    }
    assert!(!format!("{credentials:?}").contains("canary"));
}

fn form(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F")
}

#[tokio::test]
async fn many_calls_get_one_token_and_a_due_one_is_renewed_beside_them() {
    let stage = Stage::set().await;
    let credentials = Arc::new(stage.credentials());
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let credentials = Arc::clone(&credentials);
            tokio::spawn(
                async move { credentials.present(None, NOW).await.map(|one| shown(&one).to_owned()) },
            )
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap().unwrap(), "Bearer canary-1");
    }
    assert_eq!(stage.idp.asked("/token"), 1);
    stage.token("canary-2", 600);
    assert_eq!(
        shown(&credentials.present(None, NOW + 550).await.unwrap()),
        "Bearer canary-1",
        "it still holds"
    );
    while shown(&credentials.present(None, NOW + 551).await.unwrap()) == "Bearer canary-1" {
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.idp.asked("/token"), 2);
}

#[tokio::test]
async fn a_token_in_hand_outlasts_an_outage_to_its_own_end() {
    let stage = Stage::set().await;
    let credentials = stage.credentials();
    assert_eq!(shown(&credentials.present(None, NOW).await.unwrap()), "Bearer canary-1");
    stage.idp.answers("/token", Answer::Status(503));
    for now in [NOW + 551, NOW + 570, NOW + 596] {
        assert_eq!(shown(&credentials.present(None, now).await.unwrap()), "Bearer canary-1", "{now}");
    }
    assert!(credentials.present(None, NOW + 598).await.is_err(), "it would end on the way");
    stage.token("canary-2", 600);
    assert_eq!(shown(&credentials.present(None, NOW + 610).await.unwrap()), "Bearer canary-2", "well again");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_in_a_while_and_more_scope_is_asked_for_once() {
    let stage = Stage::set().await;
    let credentials = stage.credentials();
    let none = HeaderMap::new();
    let refused = (StatusCode::UNAUTHORIZED, &none);
    let first = credentials.present(None, NOW).await.unwrap();
    stage.token("canary-2", 600);
    let second = credentials.refused(first, refused, (None, NOW)).await.unwrap().unwrap();
    assert_eq!(shown(&second), "Bearer canary-2");
    stage.token("canary-3", 600);
    assert_eq!(
        credentials.refused(second, refused, (None, NOW)).await.unwrap_err(),
        UpstreamError::NotAccepted
    );
    assert_eq!(stage.idp.asked("/token"), 2, "no storm");

    let wants = challenge("Bearer error=\"insufficient_scope\", scope=\"write admin\"");
    let shown_now = credentials.present(None, NOW + 20).await.unwrap();
    let forbidden = (StatusCode::FORBIDDEN, &wants);
    let wider = credentials.refused(shown_now, forbidden, (None, NOW + 20)).await.unwrap().unwrap();
    assert!(stage.idp.sent("/token").contains("scope=all+write+admin"), "{}", stage.idp.sent("/token"));
    let error = credentials.refused(wider, forbidden, (None, NOW + 20)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Scope(_)), "{error}");
    let presented = credentials.present(None, NOW + 20).await.unwrap();
    let plain = (StatusCode::FORBIDDEN, &none);
    assert!(
        credentials.refused(presented, plain, (None, NOW + 20)).await.unwrap().is_none(),
        "no matter of ours"
    );
}

#[tokio::test]
async fn no_more_scope_than_is_configured() {
    let stage = Stage::set().await;
    let credentials = made(OAuthSettings { scopes: vec!["read".to_owned()], ..stage.settings() });
    let presented = credentials.present(None, NOW).await.unwrap();
    assert!(stage.idp.sent("/token").contains("scope=read"));
    let wants = challenge("Bearer error=\"insufficient_scope\", scope=\"admin\"");
    let error =
        credentials.refused(presented, (StatusCode::FORBIDDEN, &wants), (None, NOW)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Scope(_)), "{error}");
    assert_eq!(stage.idp.asked("/token"), 1);
}

#[tokio::test]
async fn metadata_is_looked_for_where_the_challenge_says_then_for_the_path_then_for_the_origin() {
    let stage = Stage::set().await;
    let url = stage.idp.url.clone();
    let there = json!({ "resource": url, "authorization_servers": [url], "scopes_supported": ["there"] });
    stage.idp.answers("/there", Answer::Json(there.to_string()));
    let root = json!({ "resource": url, "authorization_servers": [url], "scopes_supported": ["root"] });
    stage.idp.answers("/.well-known/oauth-protected-resource", Answer::Json(root.to_string()));
    let credentials = stage.credentials();
    let presented = credentials.present(None, NOW).await.unwrap();
    assert!(stage.idp.sent("/token").contains("scope=all"), "for the path");
    stage.token("canary-2", 600);
    let said = challenge(&format!("Bearer resource_metadata=\"{url}/there\""));
    credentials.refused(presented, (StatusCode::UNAUTHORIZED, &said), (None, NOW)).await.unwrap();
    assert!(stage.idp.sent("/token").contains("scope=there"), "{}", stage.idp.sent("/token"));
    stage.idp.answers(RESOURCE, Answer::Status(404));
    stage.credentials().present(None, NOW).await.unwrap();
    assert!(stage.idp.sent("/token").contains("scope=root"), "{}", stage.idp.sent("/token"));
}

#[tokio::test]
async fn lies_and_outages_give_no_token_and_say_nothing_that_others_wrote() {
    let stage = Stage::set().await;
    let url = stage.idp.url.clone();
    let json = |value: Value| Answer::Json(value.to_string());
    let huge = Answer::Json(format!("{{\"issuer\":\"{url}\",\"x\":\"{}\"}}", "y".repeat(300_000)));
    for (path, answer, asks_token) in [
        (
            RESOURCE,
            json(json!({ "resource": "https://other.example/mcp", "authorization_servers": [url] })),
            false,
        ),
        (
            RESOURCE,
            json(
                json!({ "resource": format!("{url}/mcp"), "authorization_servers": ["https://evil.example"] }),
            ),
            false,
        ),
        (RESOURCE, json(json!({ "resource": format!("{url}/mcp") })), false),
        (RESOURCE, Answer::Json("[]".to_owned()), false),
        (RESOURCE, Answer::Redirect(format!("{url}/elsewhere")), false),
        (RESOURCE, Answer::Status(500), false),
        (RESOURCE, Answer::Silence, false),
        (RESOURCE, Answer::Endless, false),
        (
            SERVER,
            json(json!({ "issuer": "https://evil.example", "token_endpoint": format!("{url}/token") })),
            false,
        ),
        (
            SERVER,
            json(json!({ "issuer": format!("{url}/"), "token_endpoint": format!("{url}/token") })),
            false,
        ),
        (SERVER, json(json!({ "issuer": url, "token_endpoint": "http://as.example/token" })), false),
        (SERVER, json(json!({ "issuer": url, "token_endpoint": "file:///etc/passwd" })), false),
        (SERVER, json(json!({ "issuer": url, "token_endpoint": "https://169.254.169.254/token" })), false),
        (SERVER, json(json!({ "issuer": url })), false),
        (SERVER, Answer::Redirect("http://127.0.0.1:1/x".to_owned()), false),
        (SERVER, huge, false),
        (SERVER, Answer::Endless, false),
        (SERVER, Answer::Silence, false),
        ("/token", Answer::Silence, true),
        ("/token", Answer::Endless, true),
        ("/token", Answer::Status(503), true),
        ("/token", Answer::Redirect(format!("{url}/elsewhere")), true),
        ("/token", Answer::Json(format!("<html>{SECRET}</html>")), true),
        (
            "/token",
            Answer::Refusal(400, format!("{{\"error\":\"{SECRET}\",\"error_description\":\"{SECRET}\"}}")),
            true,
        ),
        (
            "/token",
            json(json!({ "access_token": format!("{SECRET}\r\nx: y"), "token_type": "Bearer" })),
            true,
        ),
    ] {
        let stage = Stage::set().await;
        let text = |answer: &Answer| match answer {
            Answer::Json(text) => Answer::Json(text.replace(&url, &stage.idp.url)),
            Answer::Redirect(to) => Answer::Redirect(to.replace(&url, &stage.idp.url)),
            other => other.clone(),
        };
        stage.idp.answers(path, text(&answer));
        let wait = Duration::from_secs(if matches!(answer, Answer::Silence) { 2 } else { 60 });
        let credentials = made(OAuthSettings { wait, ..stage.settings() });
        let error = credentials.present(None, NOW).await.unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(!told.contains("canary") && !told.contains("evil") && !told.contains("127.0.0.1"), "{told}");
        assert_eq!(stage.idp.asked("/token") > 0, asks_token, "{path}: {told}");
        assert_eq!(stage.idp.asked("/elsewhere"), 0, "redirects are not followed");
        let again = credentials.present(None, NOW + 1).await.unwrap_err();
        assert_eq!(again, error, "who asks again is answered at once");
        assert!(stage.idp.asked(path) <= 2, "{path}");
        stage.resource(&json!({}));
        stage.server(&json!({}));
        stage.token("canary-1", 600);
        assert_eq!(
            shown(&credentials.present(None, NOW + 5).await.unwrap()),
            "Bearer canary-1",
            "{path} is well again"
        );
    }
}

#[tokio::test]
async fn a_key_signs_for_the_issuer_alone() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let stage = Stage::set().await;
    let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
    let der = STANDARD.encode(pair.to_pkcs8v1().unwrap());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----");
    let pem = SecretSource::Fixed(Secret::new(pem));
    let proof = ClientProof::Key { pem, id: Some("k".to_owned()), algorithm: None };
    made(OAuthSettings { proof, ..stage.settings() }).present(None, NOW).await.unwrap();
    let sent = stage.idp.sent("/token");
    let assertion = sent.split("client_assertion=").nth(1).unwrap().split('&').next().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], json!(stage.idp.url));
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("tollbook"), &json!("tollbook")));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
    let broken =
        ClientProof::Key { pem: SecretSource::Fixed(Secret::new("canary")), id: None, algorithm: None };
    let error =
        made(OAuthSettings { proof: broken, ..stage.settings() }).present(None, NOW).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Secret(_)) && !error.to_string().contains("canary"));
}

#[tokio::test]
async fn a_public_server_cannot_lead_inward() {
    let stage = Stage::set().await;
    // What the metadata of a server beyond the loopback names is not looked for on it.
    let url = "https://203.0.113.7/mcp".to_owned();
    let token_endpoint = Some(format!("{}/token", stage.idp.url));
    let settings = OAuthSettings { url, token_endpoint, ..stage.settings() };
    assert!(made(settings).present(None, NOW).await.is_err());
    assert_eq!(stage.idp.asked("/token"), 0);
}
