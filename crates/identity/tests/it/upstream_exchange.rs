//! Tokens for servers in exchange for those of callers: who gets which, and who gets none.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use identity::{
    Caller, ClientProof, Network, OAuthSettings, OnBehalf, Secret, SecretSource, TokenSource,
    UpstreamCredentials, UpstreamError, UpstreamGround, UpstreamSettings,
};
use serde_json::{Value, json};

use crate::made::{NOW, Stage};
use crate::provider::{Answer, Idp};

const SUBJECT: &str = "subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A";

/// An authorization server for a server of its own, without metadata of that server.
async fn set(stage: &Stage) -> (Idp, UpstreamCredentials) {
    let idp = Idp::start(&[]).await;
    give(&idp, "canary-1", 600);
    let oauth = OAuthSettings {
        url: format!("{}/mcp", idp.url),
        issuer: idp.url.clone(),
        token_endpoint: Some(format!("{}/token", idp.url)),
        client_id: "tollbook".to_owned(),
        proof: ClientProof::Secret(SecretSource::Fixed(Secret::new("canary-secret"))),
        scopes: vec!["orders".to_owned()],
        resource: None,
        network: Network::Public,
        wait: Duration::from_secs(60),
    };
    let token = Some(TokenSource::Exchange { oauth, audience: Some("orders".to_owned()) });
    let settings = UpstreamSettings { headers: Vec::new(), token };
    let credentials = UpstreamCredentials::new(
        settings,
        UpstreamGround { verifier: Some(Arc::clone(&stage.verifier)), vault: None },
    );
    (idp, credentials)
}

fn give(idp: &Idp, token: &str, lives: u64) {
    let answer = json!({
        "access_token": token, "token_type": "Bearer", "expires_in": lives,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    idp.answers("/token", Answer::Json(answer.to_string()));
}

fn bearing(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers
}

async fn caller(stage: &Stage, token: &str) -> Arc<Caller> {
    Arc::new(stage.at(token, NOW).await.unwrap())
}

async fn shown(
    credentials: &UpstreamCredentials,
    who: OnBehalf<'_>,
    now: u64,
) -> Result<String, UpstreamError> {
    let presented = credentials.present(Some(who), now).await?;
    Ok(presented.headers[0].1.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn each_caller_has_a_token_in_exchange_for_its_own() {
    let stage = Stage::set().await;
    let (idp, credentials) = set(&stage).await;
    let tokens =
        ["mira", "otto"].map(|sub| stage.draft().claim("sub", sub).claim("jti", sub).sign(&stage.p256));
    for (n, token) in tokens.iter().enumerate() {
        give(&idp, &format!("canary-{n}"), 600);
        let (caller, headers) = (caller(&stage, token).await, bearing(token));
        let who = OnBehalf { caller: &caller, headers: &headers };
        for _ in 0..3 {
            assert_eq!(shown(&credentials, who, NOW).await.unwrap(), format!("Bearer canary-{n}"));
        }
        let sent = idp.sent("/token");
        for part in [
            "grant-type%3Atoken-exchange",
            &format!("subject_token={token}"),
            &format!("{SUBJECT}access_token"),
            "audience=orders",
            "scope=orders",
        ] {
            assert!(sent.contains(part), "{part}: {sent}");
        }
    }
    assert_eq!(idp.asked("/token"), 2);
    assert!(!format!("{credentials:?}").contains("canary"));
}

#[tokio::test]
async fn who_has_no_token_of_an_issuer_is_vouched_for_and_dropped_when_revoked() {
    let stage = Stage::set().await;
    let (idp, credentials) = set(&stage).await;
    let minted = stage.mint.mint(stage.order(), NOW).unwrap();
    let (run, token) = (minted.run.id, minted.token.reveal().to_owned());
    let (caller, headers) = (caller(&stage, &token).await, bearing(&token));
    let who = OnBehalf { caller: &caller, headers: &headers };
    assert_eq!(shown(&credentials, who, NOW).await.unwrap(), "Bearer canary-1");
    let sent = idp.sent("/token");
    assert!(sent.contains(&format!("{SUBJECT}jwt")) && !sent.contains(&token), "{sent}");
    let statement = sent.split("subject_token=").nth(1).unwrap().split('&').next().unwrap();
    let part = |at| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(statement.split('.').nth(at).unwrap()).unwrap())
            .unwrap()
    };
    let claims = part(1);
    assert_eq!(part(0)["typ"], "JWT", "no run token has that type");
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!(idp.url), &json!("alice")));
    assert_eq!(claims["run"], json!(run.to_string()));
    assert!(stage.at(statement, NOW).await.is_err(), "it opens nothing here");

    assert!(format!("{credentials:?}").contains("Entry"));
    stage.mint.revoke(run, "test", NOW).unwrap();
    assert!(stage.at(&token, NOW).await.is_err());
    credentials.forget(NOW);
    assert!(!format!("{credentials:?}").contains("Entry"), "{credentials:?}");
}

#[tokio::test]
async fn who_is_not_verified_gets_none_and_a_failing_exchange_stops_the_call() {
    let stage = Stage::set().await;
    let (idp, credentials) = set(&stage).await;
    assert_eq!(credentials.present(None, NOW).await.unwrap_err(), UpstreamError::NoCaller);
    assert_eq!(idp.asked("/token"), 0);
    let token = stage.draft().sign(&stage.p256);
    let (caller, headers) = (caller(&stage, &token).await, bearing(&token));
    let who = OnBehalf { caller: &caller, headers: &headers };
    let refusal = format!("{{\"error\":\"invalid_target\",\"error_description\":\"{token}\"}}");
    idp.answers("/token", Answer::Refusal(400, refusal));
    let error = shown(&credentials, who, NOW).await.unwrap_err();
    assert_eq!(error.to_string(), "the authorization server refuses a token: invalid_target");
    let none = HeaderMap::new();
    let who_without = OnBehalf { caller: &caller, headers: &none };
    assert_eq!(shown(&credentials, who_without, NOW + 5).await.unwrap_err(), UpstreamError::NoCaller);

    give(&idp, "canary-1", 100_000);
    let presented = credentials.present(Some(who), NOW + 10).await.unwrap();
    give(&idp, "canary-2", 600);
    let refused = (StatusCode::UNAUTHORIZED, &none);
    let next = credentials.refused(presented, refused, (Some(who), NOW + 10)).await.unwrap().unwrap();
    assert_eq!(next.headers[0].1, "Bearer canary-2");
}

#[tokio::test]
async fn a_token_is_used_no_longer_than_the_callers_holds() {
    let stage = Stage::set().await;
    let (idp, credentials) = set(&stage).await;
    give(&idp, "canary-1", 100_000);
    let token = stage.draft().claim("exp", NOW + 300).sign(&stage.p256);
    let (caller, headers) = (caller(&stage, &token).await, bearing(&token));
    let who = OnBehalf { caller: &caller, headers: &headers };
    shown(&credentials, who, NOW).await.unwrap();
    shown(&credentials, who, caller.expires - 100).await.unwrap();
    assert_eq!(idp.asked("/token"), 1);
    shown(&credentials, who, caller.expires).await.unwrap();
    assert_eq!(idp.asked("/token"), 2);
}
