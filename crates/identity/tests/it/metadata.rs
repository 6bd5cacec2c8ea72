//! What clients read to find out how to log in.

use identity::{Credentials, Reason, Resource, Settings};
use serde_json::{Value, json};

use crate::made::{FILES, GATE, NOW, Stage};

fn resource(scopes: &[String]) -> Resource<'_> {
    Resource { url: FILES, name: "files", scopes }
}

#[test]
fn an_endpoint_says_who_gives_tokens_for_it() {
    let mut settings = Settings::new(GATE);
    settings.issuers.push(identity::Issuer::new("https://idp.example"));
    let scopes = ["files".to_owned()];
    let document: Value = serde_json::from_str(&settings.resource_metadata(&resource(&scopes))).unwrap();
    assert_eq!(document["resource"], FILES);
    assert_eq!(document["authorization_servers"], json!(["https://idp.example"]));
    assert_eq!(document["scopes_supported"], json!(["files"]));
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    let bare: Value = serde_json::from_str(&settings.resource_metadata(&resource(&[]))).unwrap();
    assert_eq!(bare.get("scopes_supported"), None);
    let own: Value = serde_json::from_str(&settings.server_metadata()).unwrap();
    assert_eq!(own["issuer"], GATE);
    assert_eq!(own["token_endpoint"], "https://gate.example/oauth/token");
}

#[test]
fn the_metadata_stands_between_host_and_path() {
    for (url, expected) in [
        (FILES, "https://gate.example/.well-known/oauth-protected-resource/mcp/files"),
        ("http://127.0.0.1:7800/mcp/a", "http://127.0.0.1:7800/.well-known/oauth-protected-resource/mcp/a"),
        (GATE, "https://gate.example/.well-known/oauth-protected-resource"),
    ] {
        assert_eq!(Resource { url, name: "x", scopes: &[] }.metadata_url(), expected);
    }
}

#[test]
fn challenges_say_what_is_missing() {
    const METADATA: &str =
        r#"resource_metadata="https://gate.example/.well-known/oauth-protected-resource/mcp/files""#;
    let scopes = ["files".to_owned(), "mail".to_owned()];
    let shown = |reason: Reason, scope| -> Vec<String> {
        let challenges = resource(&scopes).challenges(&reason.into(), scope);
        challenges.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let bare = shown(Reason::NoCredentials, None);
    assert_eq!(bare[0], format!(r#"Bearer {METADATA}, scope="files mail""#));
    assert!(
        bare[1].starts_with(&format!(r#"DPoP {METADATA}, scope="files mail", algs="RS256 "#)),
        "{}",
        bare[1]
    );
    let expired = shown(Reason::Expired, None);
    assert!(expired[0].ends_with(r#"error="invalid_token", error_description="the token has expired""#));
    let narrow = shown(Reason::Scope, Some("files mail/send"));
    assert!(narrow[0].contains(r#"scope="files mail/send", error="insufficient_scope""#), "{}", narrow[0]);
    let proof = shown(Reason::ProofReplayed, None);
    assert!(proof.len() == 1 && proof[0].starts_with("DPoP ") && proof[0].contains("invalid_dpop_proof"));
    assert_eq!(shown(Reason::KeysUnavailable, None), Vec::<String>::new());
}

#[test]
fn every_reason_has_a_status_that_fits_its_code() {
    for (reason, status) in [
        (Reason::NoCredentials, 401),
        (Reason::Scheme, 400),
        (Reason::Signature, 401),
        (Reason::RunRevoked, 401),
        (Reason::ProofUrl, 401),
        (Reason::Scope, 403),
        (Reason::KeysUnavailable, 503),
        (Reason::KeysStale, 503),
        (Reason::State, 503),
    ] {
        assert_eq!(reason.code().status().as_u16(), status, "{reason}");
    }
}

#[tokio::test]
async fn run_tokens_can_be_verified_with_the_published_keys_alone() {
    let stage = Stage::set().await;
    let keys = stage.verifier.run_keys();
    let token = stage.mint.mint(stage.order(), NOW).unwrap().token;
    // Another gateway that takes this one for an issuer like any other.
    let mut settings = Settings::new("https://other.example");
    settings.issuers.push(identity::Issuer {
        keys: identity::KeySource::Fixed(keys),
        audiences: vec![GATE.to_owned()],
        ..identity::Issuer::new(GATE)
    });
    let folder = tempfile::tempdir().unwrap();
    let state = std::sync::Arc::new(store::state::State::open(folder.path()).unwrap());
    let key = identity::RunKey::open(folder.path()).unwrap();
    let limits = identity::RunLimits::default();
    let mint = identity::Mint::new(state.clone(), key, &settings.public_url, limits);
    let other = identity::Verifier::new(&settings, state, mint.into()).unwrap();
    let headers = crate::made::authorization(&format!("Bearer {}", token.reveal()));
    let credentials = Credentials::of_request(&headers, "POST", "https://other.example/mcp/x");
    let caller = other.identify(&credentials, "https://other.example/mcp/x", NOW).await.unwrap();
    assert_eq!((caller.principal.id.as_str(), caller.principal.issuer.as_str()), ("alice", GATE));
}
