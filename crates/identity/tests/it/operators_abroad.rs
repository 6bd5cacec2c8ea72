//! Operators who log in with a provider: one right way through, and every wrong turn, each of them noted.

use std::collections::BTreeMap;
use std::sync::Arc;

use identity::operators::{LoginRefused, Operators, Role, RoleMap};
use identity::{LoginSettings, Secret};
use serde_json::json;
use store::state::Action;

use crate::logins::{form, metadata};
use crate::made::{NOW, Stage};
use crate::provider::Answer;
use crate::signing::Draft;

const CALLBACK: &str = "http://127.0.0.1:7801/login/callback";

struct Desk {
    stage: Stage,
    operators: Operators,
}

/// A trip: what the provider is asked, and the browser's secret.
struct Trip {
    asked: BTreeMap<String, String>,
    browser: String,
}

impl Desk {
    async fn open() -> Desk {
        let stage = Stage::set().await;
        metadata(&stage, &[("authorization_response_iss_parameter_supported", json!(true))]);
        let mut roles = RoleMap::default();
        roles.give(Role::Auditor, vec!["audit".to_owned()]);
        let mut login = LoginSettings::new(&stage.idp.url, "console");
        login.client_secret = Some(Secret::new("s3cret"));
        let operators = Operators::new(Arc::clone(&stage.state), roles);
        let operators = operators.with_login(&stage.verifier, &login, CALLBACK).unwrap();
        Desk { stage, operators }
    }

    async fn depart(&self) -> Trip {
        let (url, browser) = self.operators.depart(NOW).await.unwrap();
        let (place, query) = url.split_once('?').unwrap();
        assert_eq!(place, format!("{}/authorize", self.stage.idp.url));
        let asked = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Trip { asked, browser: browser.reveal().to_owned() }
    }

    /// An ID token for that trip, of somebody who is an auditor.
    fn token(&self, trip: &Trip) -> Draft {
        let claims = json!({
            "iss": self.stage.idp.url, "sub": "alice", "aud": "console", "nonce": trip.asked["nonce"],
            "groups": ["audit"], "iat": NOW - 1, "exp": NOW + 300,
        });
        Draft::new(&json!({ "alg": "ES256", "kid": "p256", "typ": "JWT" }), &claims)
    }

    /// The provider's answer to the browser, some of its parameters changed; an empty one is taken out.
    fn answer(&self, trip: &Trip, changed: &[(&str, &str)]) -> String {
        let mut query = BTreeMap::from([
            ("code", "idp-code"),
            ("state", trip.asked["state"].as_str()),
            ("iss", &self.stage.idp.url),
        ]);
        query.extend(changed.iter().copied());
        form(query.into_iter().filter(|(_, value)| !value.is_empty()))
    }

    async fn arrive(&self, query: &str, browser: Option<&str>, token: &str) -> Result<Secret, LoginRefused> {
        let answer = json!({ "access_token": "x", "token_type": "Bearer", "id_token": token });
        self.stage.idp.answers("/token", Answer::Json(answer.to_string()));
        self.operators.arrive(query, browser, NOW).await
    }

    fn noted(&self) -> Vec<String> {
        let line = |action: Action| {
            let Action { who, what, subject, reason, outcome, .. } = action;
            format!("{who} {what} {subject} {}: {}", outcome.as_str(), reason.unwrap_or_default())
        };
        self.stage.state.unrecorded(1000).unwrap().into_iter().map(line).collect()
    }
}

#[tokio::test]
async fn who_has_a_role_gets_a_session() {
    let desk = Desk::open().await;
    let trip = desk.depart().await;
    let asked = |name: &str| trip.asked[name].as_str();
    assert_eq!((asked("redirect_uri"), asked("client_id")), (CALLBACK, "console"));
    assert_eq!((asked("code_challenge_method"), asked("response_type")), ("S256", "code"));
    let token = desk.token(&trip).sign(&desk.stage.p256);
    let session = desk.arrive(&desk.answer(&trip, &[]), Some(&trip.browser), &token).await.unwrap();
    let alice = desk.operators.operator(session.reveal(), NOW).unwrap().unwrap();
    let identity = format!("user:{}:alice", desk.stage.idp.url);
    assert_eq!((&alice.identity, alice.roles.as_slice()), (&identity, &[Role::Auditor][..]));
    assert_eq!(desk.noted(), [format!("{identity} operators.login {identity} done: ")]);
    let sent = desk.stage.idp.sent("/token");
    assert!(sent.contains("code_verifier=") && sent.starts_with("Basic "), "{sent}");
}

#[tokio::test]
async fn answers_that_are_not_for_this_trip_and_browser() {
    let desk = Desk::open().await;
    let other = desk.depart().await;
    let provider = desk.stage.idp.url.clone();
    let slash = format!("{provider}/");
    for (case, changed, browser) in [
        ("no state", vec![("state", "")], None),
        ("an unknown state", vec![("state", "x")], None),
        ("another trip's state", vec![("state", other.asked["state"].as_str())], None),
        ("no cookie", vec![], Some("")),
        ("another browser's cookie", vec![], Some(other.browser.as_str())),
        ("another provider", vec![("iss", "https://evil.example")], None),
        ("another provider's error", vec![("iss", "https://evil.example"), ("error", "access_denied")], None),
        ("nearly the provider", vec![("iss", slash.as_str())], None),
        ("no provider, though it says itself", vec![("iss", "")], None),
        ("an error", vec![("error", "access_denied"), ("code", "")], None),
        ("no code", vec![("code", "")], None),
    ] {
        let before = desk.noted().len();
        let trip = desk.depart().await;
        let asked = desk.stage.idp.asked("/token");
        let token = desk.token(&trip).sign(&desk.stage.p256);
        let browser = browser.unwrap_or(&trip.browser);
        let browser = (!browser.is_empty()).then_some(browser);
        let query = desk.answer(&trip, &changed);
        let refused = desk.arrive(&query, browser, &token).await;
        assert!(matches!(refused, Err(LoginRefused::NotVouched(_))), "{case}: {refused:?}");
        assert_eq!(desk.stage.idp.asked("/token"), asked, "{case}: no code is sent anywhere");
        let noted = desk.noted().split_off(before);
        // Of one second five are noted.
        assert!(
            noted.iter().all(|line| line.starts_with("nobody operators.login a login with")),
            "{noted:?}"
        );
        assert!(!noted.join("").contains(&trip.browser), "{case}: {noted:?}");
    }
    assert_eq!(desk.noted().len(), 5);
    assert_eq!(desk.operators.unnoted(), 6);

    let trip = desk.depart().await;
    let token = desk.token(&trip).sign(&desk.stage.p256);
    let query = desk.answer(&trip, &[]);
    desk.arrive(&query, Some(&trip.browser), &token).await.unwrap();
    let again = desk.arrive(&query, Some(&trip.browser), &token).await;
    assert!(matches!(again, Err(LoginRefused::NotVouched(_))), "once");
    let twice = format!("{}&state=x", desk.answer(&desk.depart().await, &[]));
    assert!(desk.arrive(&twice, Some(&trip.browser), &token).await.is_err(), "two states");
    let slow = desk.depart().await;
    let late = desk.operators.arrive(&desk.answer(&slow, &[]), Some(&slow.browser), NOW + 600).await;
    assert!(matches!(late, Err(LoginRefused::NotVouched(_))), "ten minutes later");
}

#[tokio::test]
async fn id_tokens_that_do_not_count_and_people_without_a_role() {
    type Change = fn(Draft) -> Draft;
    let desk = Desk::open().await;
    let none: [(&str, Change); 8] = [
        ("another nonce", |token| token.claim("nonce", "x")),
        ("no nonce", |token| token.claim("nonce", serde_json::Value::Null)),
        ("another issuer", |token| token.claim("iss", "https://evil.example")),
        ("another audience", |token| token.claim("aud", "tollbook")),
        ("another party", |token| token.claim("azp", "tollbook")),
        ("expired", |token| token.claim("exp", NOW - 300)),
        ("no algorithm", |token| token.header("alg", "none")),
        ("another key", |token| token.header("kid", "rsa")),
    ];
    for (case, change) in none {
        let trip = desk.depart().await;
        let token = change(desk.token(&trip)).sign(&desk.stage.p256);
        let refused = desk.arrive(&desk.answer(&trip, &[]), Some(&trip.browser), &token).await;
        assert!(matches!(refused, Err(LoginRefused::NotVouched(_))), "{case}: {refused:?}");
    }
    let no_role: [(&str, Change); 4] = [
        ("no groups", |token| token.claim("groups", serde_json::Value::Null)),
        ("other groups", |token| token.claim("groups", json!(["eng", "Audit"]))),
        ("part of a name", |token| token.claim("groups", json!(["audit-readers"]))),
        ("groups elsewhere", |token| token.claim("groups", json!([])).claim("roles", json!(["audit"]))),
    ];
    for (case, change) in no_role {
        let trip = desk.depart().await;
        let token = change(desk.token(&trip)).sign(&desk.stage.p256);
        let refused = desk.arrive(&desk.answer(&trip, &[]), Some(&trip.browser), &token).await;
        assert!(matches!(refused, Err(LoginRefused::NoRole)), "{case}: {refused:?}");
    }
    assert_eq!(desk.noted().len() as u64 + desk.operators.unnoted(), 12, "each is noted or counted");
    let stranger = LoginSettings::new("https://other.example", "console");
    let operators = Operators::new(Arc::clone(&desk.stage.state), RoleMap::default());
    assert!(operators.with_login(&desk.stage.verifier, &stranger, CALLBACK).is_err(), "an unknown issuer");
}
