//! Where an issuer's keys come from: rotation, outage, hostile answers.

use std::time::Duration;

use identity::{Issuer, KeySource, Network, Reason};
use serde_json::json;

use crate::made::{NOW, Stage, logged};
use crate::provider::Answer;
use crate::signing::{Pair, set};

const METADATA: &str = "/.well-known/openid-configuration";

async fn reason(stage: &Stage, token: &str, now: u64) -> Option<Reason> {
    stage.at(token, now).await.err().map(|refused| refused.reason)
}

/// A token that is as good at any time.
fn lasting(stage: &Stage) -> crate::signing::Draft {
    stage.draft().claim("exp", NOW + 1_000_000)
}

#[tokio::test]
async fn keys_are_fetched_once_and_renewed_beside_the_calls() {
    let stage = Stage::set().await;
    assert_eq!(stage.idp.asked("/keys"), 0, "nothing is fetched before it is needed");
    for n in 0..20 {
        let token = lasting(&stage).claim("jti", format!("t-{n}")).sign(&stage.p256);
        assert_eq!(reason(&stage, &token, NOW + n).await, None);
    }
    assert_eq!((stage.idp.asked(METADATA), stage.idp.asked("/keys")), (1, 1));
    stage.verifier.tend(NOW + 599).await;
    assert_eq!(stage.idp.asked("/keys"), 1, "not old yet");
    stage.verifier.tend(NOW + 600).await;
    assert_eq!(stage.idp.asked("/keys"), 2);
}

#[tokio::test]
async fn a_new_key_counts_at_once_and_an_old_one_no_longer_than_it_is_published() {
    let stage = Stage::set().await;
    let old = lasting(&stage).sign(&stage.p256);
    assert_eq!(reason(&stage, &old, NOW).await, None);
    let next = Pair::ec("P-256");
    stage.idp.keys(&[next.published("next"), stage.p256.published("p256")]);
    let new = lasting(&stage).header("kid", "next").sign(&next);
    assert_eq!(reason(&stage, &new, NOW + 10).await, None, "fetched for the unknown `kid`");
    assert_eq!(reason(&stage, &old, NOW + 10).await, None, "both are published");
    stage.idp.keys(&[next.published("next")]);
    assert_eq!(reason(&stage, &old, NOW + 20).await, None, "nobody has looked since");
    stage.verifier.tend(NOW + 620).await;
    assert_eq!(reason(&stage, &old, NOW + 620).await, Some(Reason::KeyUnknown), "verified before or not");
    assert_eq!(reason(&stage, &new, NOW + 620).await, None);
}

#[tokio::test]
async fn a_key_replaced_under_its_name_counts_no_more() {
    let stage = Stage::set().await;
    let token = lasting(&stage).sign(&stage.p256);
    assert_eq!(reason(&stage, &token, NOW).await, None);
    stage.idp.keys(&[Pair::ec("P-256").published("p256")]);
    stage.verifier.tend(NOW + 600).await;
    assert_eq!(reason(&stage, &token, NOW + 600).await, Some(Reason::Signature));
}

#[tokio::test]
async fn where_nobody_tends_the_calls_do_and_a_clock_set_back_makes_keys_old() {
    let stage = Stage::set().await;
    let token = lasting(&stage).sign(&stage.p256);
    assert_eq!(reason(&stage, &token, NOW).await, None);
    assert_eq!(reason(&stage, &token, NOW + 1_199).await, None);
    assert_eq!(stage.idp.asked("/keys"), 1);
    stage.idp.keys(&[Pair::ec("P-256").published("p256")]);
    assert_eq!(reason(&stage, &token, NOW + 1_200).await, Some(Reason::Signature), "seen before or not");
    assert_eq!(stage.idp.asked("/keys"), 2);
    stage.verifier.tend(NOW).await;
    assert_eq!(stage.idp.asked("/keys"), 3);
}

#[tokio::test]
async fn hostile_key_names_cause_no_storm() {
    let stage = Stage::set().await;
    let stranger = Pair::ec("P-256");
    for n in 0..200_u64 {
        let token = lasting(&stage).header("kid", format!("k-{n}")).sign(&stranger);
        assert_eq!(reason(&stage, &token, NOW + n / 10).await, Some(Reason::KeyUnknown));
    }
    // 20 seconds: at the first token, and not within ten seconds of the last attempt.
    assert_eq!(stage.idp.asked("/keys"), 2);
}

#[tokio::test]
async fn many_at_once_fetch_once() {
    let stage = Stage::set().await;
    let tokens: Vec<String> =
        (0..20).map(|n| lasting(&stage).claim("jti", format!("t-{n}")).sign(&stage.p256)).collect();
    let mut waiting: Vec<_> = tokens.iter().map(|token| Box::pin(stage.at(token, NOW))).collect();
    let mut done = 0;
    std::future::poll_fn(|context| {
        waiting.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(told) => {
                assert!(told.is_ok(), "{told:?}");
                done += 1;
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    assert_eq!((done, stage.idp.asked("/keys")), (20, 1));
}

#[tokio::test]
async fn keys_outlive_an_outage_for_as_long_as_is_allowed_and_no_longer() {
    const HOUR: u64 = 3_600;
    let stage = Stage::with(|all| all.issuers[0].stale = Duration::from_secs(6 * HOUR)).await;
    let token = |n: u64| lasting(&stage).claim("jti", format!("t-{n}")).sign(&stage.p256);
    assert_eq!(reason(&stage, &token(0), NOW).await, None);
    stage.idp.answers(METADATA, Answer::Status(503));
    for hours in [1, 3, 6] {
        stage.verifier.tend(NOW + hours * HOUR).await;
        assert_eq!(reason(&stage, &token(hours), NOW + hours * HOUR).await, None, "{hours} hours");
    }
    let late = NOW + 6 * HOUR + 1;
    assert_eq!(reason(&stage, &token(7), late).await, Some(Reason::KeysStale));
    assert_eq!(reason(&stage, &token(6), late).await, Some(Reason::KeysStale), "verified before or not");
    stage.idp.metadata(&stage.idp.url);
    assert_eq!(reason(&stage, &token(8), late + 10).await, None, "it is back");
}

#[tokio::test]
async fn without_keys_nothing_counts_and_the_provider_is_not_pressed() {
    let stage = Stage::set().await;
    stage.idp.answers(METADATA, Answer::Status(500));
    let token = lasting(&stage).sign(&stage.p256);
    for second in 0..10 {
        assert_eq!(reason(&stage, &token, NOW + second).await, Some(Reason::KeysUnavailable));
    }
    assert_eq!(stage.idp.asked(METADATA), 1);
    stage.idp.metadata(&stage.idp.url);
    assert_eq!(reason(&stage, &token, NOW + 10).await, None);
}

#[tokio::test]
async fn metadata_is_found_in_each_of_its_places() {
    for (path, place) in [
        ("", "/.well-known/openid-configuration"),
        ("", "/.well-known/oauth-authorization-server"),
        ("/realms/x", "/realms/x/.well-known/openid-configuration"),
        ("/realms/x", "/.well-known/oauth-authorization-server/realms/x"),
        ("/realms/x", "/.well-known/openid-configuration/realms/x"),
    ] {
        let stage = Stage::set().await;
        let issuer = format!("{}{path}", stage.idp.url);
        let stage = Stage { verifier: of_issuer(&stage, Issuer::new(&issuer), PATIENCE), ..stage };
        stage.idp.answers(METADATA, Answer::Status(404));
        let keys = format!("{}/keys", stage.idp.url);
        let document = json!({ "issuer": issuer, "jwks_uri": keys });
        stage.idp.answers(place, Answer::Json(document.to_string()));
        let token = lasting(&stage).claim("iss", issuer).sign(&stage.p256);
        assert_eq!(reason(&stage, &token, NOW).await, None, "{place}");
    }
}

/// For answers that come.
const PATIENCE: Duration = Duration::from_secs(60);

fn of_issuer(stage: &Stage, issuer: Issuer, fetch_wait: Duration) -> std::sync::Arc<identity::Verifier> {
    let mut settings = identity::Settings { fetch_wait, ..identity::Settings::new(crate::made::GATE) };
    settings.issuers.push(issuer);
    identity::Verifier::new(&settings, stage.state.clone(), stage.mint.clone()).unwrap().into()
}

/// Name, what the provider's metadata and keys answer, what the log says.
type Hostile = (&'static str, Answer, Answer, &'static str);

#[tokio::test]
async fn hostile_answers_give_no_keys_and_the_log_says_why() {
    let probe = Stage::set().await;
    let good = |stage: &Stage| Answer::Json(set(&[stage.p256.published("p256")]));
    let pointing = |url: &str| Answer::Json(json!({ "issuer": "ISSUER", "jwks_uri": url }).to_string());
    let elsewhere = Answer::Json(json!({ "issuer": "https://idp.example", "jwks_uri": "KEYS" }).to_string());
    let slash = Answer::Json(json!({ "issuer": "ISSUER/", "jwks_uri": "KEYS" }).to_string());
    let metadata = pointing("KEYS");
    let huge = set(&vec![json!({ "kty": "x", "pad": "x".repeat(1_000) }); 300]);
    let keys = good(&probe);
    let cases: Vec<Hostile> = vec![
        ("metadata of another issuer", elsewhere, keys.clone(), "must equal the configured URL"),
        ("an issuer with a slash more", slash, keys.clone(), "must equal the configured URL"),
        ("metadata that is no JSON", Answer::Json("<html>".into()), keys.clone(), "not JSON"),
        (
            "metadata with a key twice",
            Answer::Json(r#"{"issuer":"ISSUER","issuer":"ISSUER","jwks_uri":"KEYS"}"#.into()),
            keys.clone(),
            "not JSON",
        ),
        (
            "metadata without keys",
            Answer::Json(r#"{"issuer":"ISSUER"}"#.into()),
            keys.clone(),
            "not JSON with a `jwks_uri`",
        ),
        (
            "a redirect to the cloud's metadata",
            Answer::Redirect("http://169.254.169.254/latest".into()),
            keys.clone(),
            "redirects",
        ),
        ("a redirect to itself", Answer::Redirect("KEYS".into()), keys.clone(), "redirects"),
        (
            "keys at the cloud's metadata",
            pointing("http://169.254.169.254/latest"),
            keys.clone(),
            "must be https",
        ),
        (
            "keys at a link-local address",
            pointing("https://169.254.169.254/x"),
            keys.clone(),
            "may not be connected to",
        ),
        (
            "keys in a private network",
            pointing("https://10.0.0.1/x"),
            keys.clone(),
            "may not be connected to",
        ),
        ("keys in a file", pointing("file:///etc/passwd"), keys.clone(), "no URL that may be fetched"),
        (
            "keys with a user",
            pointing("https://a:b@idp.example/x"),
            keys.clone(),
            "no URL that may be fetched",
        ),
        (
            "keys redirected",
            metadata.clone(),
            Answer::Redirect("http://169.254.169.254/".into()),
            "redirects",
        ),
        ("endless keys", metadata.clone(), Answer::Json(huge), "more than 256 KiB"),
        ("keys that never come", metadata.clone(), Answer::Silence, "did not answer in time"),
        ("metadata that never comes", Answer::Silence, keys.clone(), "did not answer in time"),
        ("no keys", metadata.clone(), Answer::Json(set(&[])), "no key that can be used"),
        (
            "no key for signatures",
            metadata.clone(),
            Answer::Json(set(&[json!({ "kty": "oct", "k": "c2VjcmV0" })])),
            "no key that can be used",
        ),
        ("keys that are a list", metadata.clone(), Answer::Json("[]".into()), "no key that can be used"),
        ("keys that are gone", metadata, Answer::Status(404), "answers 404"),
    ];
    for (name, metadata, keys, expected) in cases {
        let stage = Stage::set().await;
        let is_silent = [&metadata, &keys].iter().any(|answer| matches!(answer, Answer::Silence));
        let wait = if is_silent { Duration::from_millis(500) } else { PATIENCE };
        let stage = Stage { verifier: of_issuer(&stage, Issuer::new(&stage.idp.url), wait), ..stage };
        let real = |answer: Answer| match answer {
            Answer::Json(text) => {
                let text = text.replace("ISSUER", &stage.idp.url);
                Answer::Json(text.replace("KEYS", &format!("{}/keys", stage.idp.url)))
            }
            Answer::Redirect(to) => Answer::Redirect(to.replace("KEYS", &format!("{}/keys", stage.idp.url))),
            other => other,
        };
        stage.idp.answers(METADATA, real(metadata));
        stage.idp.answers("/keys", real(keys));
        let token = stage.token();
        let (told, log) = logged(reason(&stage, &token, NOW)).await;
        assert_eq!(told, Some(Reason::KeysUnavailable), "{name}");
        assert!(log.contains(expected), "{name}: {log}");
        assert!(!log.contains(token.split('.').next().unwrap()), "{name}: {log}");
    }
}

#[tokio::test]
async fn an_issuer_beyond_the_loopback_is_not_led_into_it() {
    let stage = Stage::set().await;
    for network in [Network::Public, Network::Private] {
        let issuer = Issuer {
            url: "https://idp.example".to_owned(),
            keys: KeySource::At(stage.idp.url.replace("http://", "https://")),
            network,
            ..Issuer::new("")
        };
        let verifier = of_issuer(&stage, issuer, PATIENCE);
        let token = lasting(&stage).claim("iss", "https://idp.example").sign(&stage.p256);
        let headers = crate::made::authorization(&format!("Bearer {token}"));
        let credentials = identity::Credentials::of_request(&headers, "POST", crate::made::FILES);
        let identify = verifier.identify(&credentials, crate::made::FILES, NOW);
        let (told, log) = logged(identify).await;
        assert_eq!(told.unwrap_err().reason, Reason::KeysUnavailable);
        assert!(log.contains("may not be connected to"), "{log}");
    }
}

#[tokio::test]
async fn keys_from_a_configured_place() {
    let stage = Stage::set().await;
    stage.idp.answers(METADATA, Answer::Status(404));
    let at = KeySource::At(format!("{}/keys", stage.idp.url));
    let stage = Stage {
        verifier: of_issuer(&stage, Issuer { keys: at, ..Issuer::new(&stage.idp.url) }, PATIENCE),
        ..stage
    };
    assert_eq!(reason(&stage, &stage.token(), NOW).await, None);
    assert_eq!((stage.idp.asked(METADATA), stage.idp.asked("/keys")), (0, 1));
}
