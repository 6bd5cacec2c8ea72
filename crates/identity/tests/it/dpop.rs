//! Proofs of possession: one right proof, and every way to be a wrong one.

use http::HeaderMap;
use identity::{Credentials, Reason, RunOrder};
use serde_json::{Value, json};

use crate::made::{FILES, MAIL, NOW, Stage};
use crate::signing::{Draft, Pair, b64, sha256, with};

/// The thumbprint of an EC key (RFC 7638).
pub(crate) fn thumbprint(pair: &Pair) -> String {
    let jwk = pair.jwk();
    let canonical = format!(r#"{{"crv":{},"kty":"EC","x":{},"y":{}}}"#, jwk["crv"], jwk["x"], jwk["y"]);
    b64(sha256(canonical.as_bytes()))
}

pub(crate) fn proof(pair: &Pair, url: &str, token: Option<&str>) -> Draft {
    let header = json!({ "alg": "ES256", "typ": "dpop+jwt", "jwk": pair.jwk() });
    let claims = json!({ "jti": "p-1", "htm": "POST", "htu": url, "iat": NOW });
    let draft = Draft::new(&header, &claims);
    match token {
        Some(token) => draft.claim("ath", b64(sha256(token.as_bytes()))),
        None => draft,
    }
}

pub(crate) fn headers(token: &str, proof: &str) -> HeaderMap {
    let mut headers = crate::made::authorization(&format!("DPoP {token}"));
    headers.insert("dpop", proof.parse().unwrap());
    headers
}

async fn present(stage: &Stage, token: &str, proof: &str, now: u64) -> Option<Reason> {
    let headers = headers(token, proof);
    let credentials = Credentials::of_request(&headers, "POST", FILES);
    stage.verifier.identify(&credentials, FILES, now).await.err().map(|refused| refused.reason)
}

#[tokio::test]
async fn a_proof_counts_once() {
    let (stage, pair) = (Stage::set().await, Pair::ec("P-256"));
    let order = RunOrder { bound: Some(thumbprint(&pair)), ..stage.order() };
    let minted = stage.mint.mint(order, NOW).unwrap();
    let token = minted.token.reveal();
    let first = proof(&pair, FILES, Some(token)).sign(&pair);
    assert_eq!(present(&stage, token, &first, NOW).await, None);
    for later in [0, 1, 60] {
        assert_eq!(present(&stage, token, &first, NOW + later).await, Some(Reason::ProofReplayed), "{later}");
    }
    assert_eq!(present(&stage, token, &first, NOW + 61).await, Some(Reason::ProofTime));
    let again = proof(&pair, FILES, Some(token)).sign(&pair);
    assert_eq!(
        present(&stage, token, &again, NOW).await,
        Some(Reason::ProofReplayed),
        "signed anew, same `jti`"
    );
    let next = proof(&pair, FILES, Some(token)).claim("jti", "p-2").sign(&pair);
    assert_eq!(present(&stage, token, &next, NOW).await, None);
}

#[tokio::test]
async fn what_may_have_been_seen_before_a_restart_does_not_count() {
    let (stage, pair) = (Stage::set().await, Pair::ec("P-256"));
    let order = RunOrder { bound: Some(thumbprint(&pair)), ..stage.order() };
    let minted = stage.mint.mint(order, NOW).unwrap();
    let token = minted.token.reveal();
    let made = |issued: u64| {
        let draft = proof(&pair, FILES, Some(token)).claim("iat", issued).claim("jti", format!("p-{issued}"));
        draft.sign(&pair)
    };
    // The latest that counts: its client's clock is ahead.
    let used = made(NOW + 5);
    assert_eq!(present(&stage, token, &used, NOW).await, None);
    let after = stage.restarted(NOW + 1);
    for issued in [NOW - 1, NOW, NOW + 5, NOW + 6] {
        let refused = present(&after, token, &made(issued), NOW + 6).await;
        assert_eq!(refused, Some(Reason::ProofEarly), "{}", issued - NOW);
    }
    assert_eq!(present(&after, token, &used, NOW + 6).await, Some(Reason::ProofEarly), "it was used before");
    let next = made(NOW + 7);
    assert_eq!(present(&after, token, &next, NOW + 7).await, None, "the client makes another one");
    assert_eq!(present(&after, token, &next, NOW + 7).await, Some(Reason::ProofReplayed));
}

#[tokio::test]
async fn a_providers_bound_token_needs_its_proof_too() {
    let (stage, pair) = (Stage::set().await, Pair::ec("P-256"));
    let token = stage.draft().claim("cnf", json!({ "jkt": thumbprint(&pair) })).sign(&stage.p256);
    assert_eq!(stage.bearer(&token).await.unwrap_err().reason, Reason::ProofMissing);
    let right = proof(&pair, FILES, Some(&token)).sign(&pair);
    assert_eq!(present(&stage, &token, &right, NOW).await, None);
}

#[tokio::test]
async fn every_wrong_proof_is_refused_and_none_is_remembered() {
    let (stage, pair, other) = (Stage::set().await, Pair::ec("P-256"), Pair::ec("P-256"));
    let order = RunOrder { bound: Some(thumbprint(&pair)), ..stage.order() };
    let minted = stage.mint.mint(order, NOW).unwrap();
    let token = minted.token.reveal();
    let right = || proof(&pair, FILES, Some(token));
    let foreign = stage.token();
    let secret = with(pair.jwk(), &[("d", json!("AQ"))]);
    let shared = Pair::Hmac(b"x".to_vec());
    let cases: Vec<(&str, String, Reason)> = vec![
        ("no JWT", "x".to_owned(), Reason::ProofForm),
        ("another method", right().claim("htm", "GET").sign(&pair), Reason::ProofMethod),
        ("the method in lower case", right().claim("htm", "post").sign(&pair), Reason::ProofMethod),
        ("no method", right().claim("htm", Value::Null).sign(&pair), Reason::ProofMethod),
        ("another URL", right().claim("htu", MAIL).sign(&pair), Reason::ProofUrl),
        (
            "another host",
            right().claim("htu", "https://evil.example/mcp/files").sign(&pair),
            Reason::ProofUrl,
        ),
        ("no URL", right().claim("htu", Value::Null).sign(&pair), Reason::ProofUrl),
        (
            "another token",
            right().claim("ath", b64(sha256(foreign.as_bytes()))).sign(&pair),
            Reason::ProofToken,
        ),
        ("no token", right().claim("ath", Value::Null).sign(&pair), Reason::ProofToken),
        ("too old", right().claim("iat", NOW - 61).sign(&pair), Reason::ProofTime),
        ("from the future", right().claim("iat", NOW + 6).sign(&pair), Reason::ProofTime),
        ("no time", right().claim("iat", Value::Null).sign(&pair), Reason::ProofForm),
        ("no `jti`", right().claim("jti", Value::Null).sign(&pair), Reason::ProofForm),
        ("an empty `jti`", right().claim("jti", "").sign(&pair), Reason::ProofForm),
        ("an endless `jti`", right().claim("jti", "x".repeat(300)).sign(&pair), Reason::ProofForm),
        ("another type", right().header("typ", "JWT").sign(&pair), Reason::ProofForm),
        ("no type", right().header("typ", Value::Null).sign(&pair), Reason::ProofForm),
        ("`alg` none", right().header("alg", "none").sign(&pair), Reason::ProofForm),
        ("HMAC", right().header("alg", "HS256").header("jwk", shared.jwk()).sign(&shared), Reason::ProofKey),
        ("`crit`", right().header("crit", json!(["x"])).sign(&pair), Reason::ProofForm),
        ("no key", right().header("jwk", Value::Null).sign(&pair), Reason::ProofKey),
        ("a private key", right().header("jwk", secret).sign(&pair), Reason::ProofKey),
        ("a key of another algorithm", right().header("alg", "ES384").sign(&pair), Reason::ProofKey),
        ("somebody else's signature", right().sign(&other), Reason::ProofSignature),
        ("somebody else's key", proof(&other, FILES, Some(token)).sign(&other), Reason::OtherKey),
        ("a claim twice", right().claim_twice("htu", &json!(FILES)).sign(&pair), Reason::ProofForm),
    ];
    for (name, wrong, expected) in cases {
        assert_eq!(present(&stage, token, &wrong, NOW).await, Some(expected), "{name}");
    }
    let bare = headers(token, "x");
    let mut bearer = bare.clone();
    bearer.insert("authorization", format!("Bearer {token}").parse().unwrap());
    bearer.insert("dpop", right().sign(&pair).parse().unwrap());
    let credentials = Credentials::of_request(&bearer, "POST", FILES);
    let refused = stage.verifier.identify(&credentials, FILES, NOW).await.unwrap_err();
    assert_eq!(refused.reason, Reason::ProofMissing, "a bound token is no bearer token");
    assert_eq!(present(&stage, token, &right().sign(&pair), NOW).await, None, "the right one still counts");
}
