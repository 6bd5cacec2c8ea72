//! The token endpoint: forms in, runs or errors out.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use identity::{Binding, Credentials, PrincipalKind, Reason, RunName, Scope, TokenReply, TokenRequest};
use serde_json::Value;

use crate::dpop::{proof, thumbprint};
use crate::made::{FILES, GATE, MAIL, NOW, Stage, alice, logged};
use crate::signing::Pair;

const URL: &str = "https://gate.example/oauth/token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

struct Asked {
    headers: HeaderMap,
    form: Vec<(String, String)>,
}

/// A form with these parameters.
fn form(parameters: &[(&str, &str)]) -> Asked {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let form = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Asked { headers, form }
}

/// An exchange of this token, with further parameters.
fn exchange(token: &str, more: &[(&str, &str)]) -> Asked {
    let own = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    form(&[&own, more].concat())
}

impl Asked {
    fn header(mut self, name: &'static str, value: &str) -> Asked {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    fn basic(self, id: &str, secret: &str) -> Asked {
        self.header("authorization", &format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))
    }

    async fn ask(&self, stage: &Stage) -> TokenReply {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.form).finish();
        let request = TokenRequest { headers: &self.headers, body: body.as_bytes(), url: URL };
        stage.verifier.answer(request, NOW).await
    }

    /// The run's token and all of the answer.
    async fn granted(&self, stage: &Stage) -> (String, Value) {
        let reply = self.ask(stage).await;
        assert_eq!(reply.status, 200, "{} {:?}", reply.body, reply.refused);
        assert_eq!(reply.headers["cache-control"], "no-store");
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(body["run"], reply.minted.unwrap().to_string());
        (body["access_token"].as_str().unwrap().to_owned(), body)
    }
}

#[tokio::test]
async fn a_persons_token_becomes_a_run() {
    let stage = Stage::set().await;
    let more = [("scope", "files/list"), ("purpose", "tidy"), ("lifetime", "600"), ("resource", FILES)];
    let (token, body) = exchange(&stage.token(), &more).granted(&stage).await;
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["issued_token_type"], ACCESS_TOKEN);
    assert_eq!((&body["expires_in"], &body["scope"]), (&600.into(), &"files/list".into()));
    let caller = stage.bearer(&token).await.unwrap();
    assert_eq!(caller.principal, alice(&stage.idp.url));
    assert_eq!(caller.groups, ["eng", "ops"]);
    assert_eq!(caller.purpose.as_deref(), Some("tidy"));
    assert_eq!(caller.scope, Scope::parse("files/list").unwrap());
    assert_eq!(caller.actors, []);
    let row = stage.state.minted_runs(1).unwrap().remove(0);
    assert_eq!(row.minted_by, format!("user:alice ({})", stage.idp.url));
}

#[tokio::test]
async fn a_run_token_becomes_a_child_and_each_who_acts_is_named() {
    let stage = Stage::set().await;
    let agent = stage.draft().claim("sub", "agent").sign(&stage.p256);
    let acting = [("actor_token", agent.as_str()), ("actor_token_type", ACCESS_TOKEN)];
    let (parent, _) = exchange(&stage.token(), &acting).granted(&stage).await;
    let key = stage.key();
    let (child, _) = exchange(&parent, &[("scope", "files")])
        .basic(&key.key.id, key.secret.reveal())
        .granted(&stage)
        .await;
    let caller = stage.bearer(&child).await.unwrap();
    let names: Vec<&str> = caller.actors.iter().map(|actor| actor.sub.as_str()).collect();
    assert_eq!(names, ["ci-bot", "agent"], "the nearest first");
    assert_eq!(caller.principal, alice(&stage.idp.url));
    let RunName::Minted(parent) = stage.bearer(&parent).await.unwrap().run else { panic!("no run") };
    let row = stage.state.minted_runs(9).unwrap().into_iter().find(|row| row.parent == Some(parent)).unwrap();
    assert_eq!(row.minted_by, format!("service:ci-bot ({GATE}) with key {}", key.key.id));
}

#[tokio::test]
async fn a_key_becomes_a_run() {
    let stage = Stage::set().await;
    let key = stage.key();
    let (id, secret) = (key.key.id.as_str(), key.secret.reveal());
    let credentials = [("grant_type", "client_credentials"), ("scope", "files")];
    let posted = [("client_id", "ci-bot"), ("client_secret", secret)];
    for asked in [form(&credentials).basic(id, secret), form(&[&credentials[..], &posted].concat())] {
        let (token, _) = asked.granted(&stage).await;
        let caller = stage.bearer(&token).await.unwrap();
        assert_eq!(caller.principal.kind, PrincipalKind::Service);
        assert_eq!(
            (caller.principal.id.as_str(), caller.groups.as_slice()),
            ("ci-bot", &["ci".to_owned()][..])
        );
        let of_key = stage.bearer(secret).await.unwrap();
        let named = |caller: &identity::Caller| {
            let of = &caller.principal;
            stage.settings.policy_name(of.kind, &of.id, &of.issuer)
        };
        assert_eq!((named(&caller), named(&of_key)), ("key:ci-bot".to_owned(), "key:ci-bot".to_owned()));
        assert_eq!(caller.run_ends, Some(NOW + 3_600));
    }
    let (run, _) = form(&credentials).basic(id, secret).granted(&stage).await;
    let (of_person, _) = exchange(&stage.token(), &[]).basic(id, secret).granted(&stage).await;
    let (other, _) = exchange(&stage.token(), &[]).granted(&stage).await;
    assert!(stage.state.revoke_key(id, NOW).unwrap());
    for token in [&run, &of_person] {
        assert_eq!(stage.bearer(token).await.unwrap_err().reason, Reason::RunRevoked, "its key is revoked");
    }
    assert!(stage.bearer(&other).await.is_ok(), "no key had it minted");
}

#[tokio::test]
async fn a_proof_binds_the_run() {
    let stage = Stage::with(|settings| settings.runs.binding = Binding::Required).await;
    let pair = Pair::ec("P-256");
    let unbound = exchange(&stage.token(), &[]).ask(&stage).await;
    assert!(unbound.body.contains("invalid_dpop_proof"), "{}", unbound.body);
    let asked = exchange(&stage.token(), &[]).header("dpop", &proof(&pair, URL, None).sign(&pair));
    let (token, body) = asked.granted(&stage).await;
    assert_eq!(body["token_type"], "DPoP");
    let headers =
        crate::dpop::headers(&token, &proof(&pair, FILES, Some(&token)).claim("jti", "p-2").sign(&pair));
    let credentials = Credentials::of_request(&headers, "POST", FILES);
    let caller = stage.verifier.identify(&credentials, FILES, NOW).await.unwrap();
    assert!(matches!(caller.run, RunName::Minted(_)));
    let again = asked.ask(&stage).await;
    assert!(again.body.contains("used before"), "{}", again.body);
    let other = Pair::ec("P-256");
    for (name, proved, expected) in [
        ("a bound token without its key", None, "without a proof"),
        ("with another key", Some(proof(&other, URL, None).sign(&other)), "another key"),
    ] {
        let mut asked = exchange(&token, &[]);
        if let Some(proved) = &proved {
            asked = asked.header("dpop", proved);
        }
        let reply = asked.ask(&stage).await;
        assert!(
            reply.body.contains("invalid_dpop_proof") && reply.body.contains(expected),
            "{name}: {}",
            reply.body
        );
    }
    assert_eq!(stage.state.minted_runs(9).unwrap()[0].bound, Some(thumbprint(&pair)));
}

#[tokio::test]
async fn every_wrong_request_is_refused_with_its_code() {
    let stage = Stage::with(|settings| {
        let prefixed =
            identity::Issuer { scope_prefix: Some("tb:".to_owned()), ..settings.issuers[0].clone() };
        settings.issuers[0] = prefixed;
    })
    .await;
    let token = stage.draft().claim("scope", "tb:files tb:mail/read").sign(&stage.p256);
    let key = stage.key();
    let (id, secret) = (key.key.id.as_str(), key.secret.reveal());
    let (parent, _) = exchange(&token, &[("scope", "files")]).granted(&stage).await;
    let revoked = exchange(&token, &[]).granted(&stage).await.0;
    let RunName::Minted(run) = stage.bearer(&revoked).await.unwrap().run else { panic!("no run") };
    stage.mint.revoke(run, "ops", NOW).unwrap();
    let expired = stage.draft().claim("exp", NOW - 100).sign(&stage.p256);
    let elsewhere = stage.draft().claim("aud", "https://other.example/mcp/x").sign(&stage.p256);
    let identity_token = stage.draft().claim("at_hash", "x").sign(&stage.p256);
    let bound = stage.draft().claim("cnf", serde_json::json!({ "jkt": "x" })).sign(&stage.p256);
    let forged = stage.draft().sign(&Pair::ec("P-256"));
    let credentials = || form(&[("grant_type", "client_credentials")]);
    let stranger = Stage::set().await.key();
    let mut text = exchange(&token, &[]);
    text.headers.insert("content-type", "application/json".parse().unwrap());
    let kind = ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token");
    let one_type = [("grant_type", EXCHANGE), ("subject_token", &token), kind];
    let actor = |token| [("actor_token", token), ("actor_token_type", ACCESS_TOKEN)];
    let cases: Vec<(&str, Asked, u16, &str)> = vec![
        ("no form", text, 400, "invalid_request"),
        ("nothing", form(&[]), 400, "invalid_request"),
        (
            "a parameter twice",
            exchange(&token, &[("scope", "files"), ("scope", "mail")]),
            400,
            "invalid_request",
        ),
        ("another grant", form(&[("grant_type", "password")]), 400, "unsupported_grant_type"),
        (
            "no token",
            form(&[("grant_type", EXCHANGE), ("subject_token_type", ACCESS_TOKEN)]),
            400,
            "invalid_request",
        ),
        ("no type", form(&[("grant_type", EXCHANGE), ("subject_token", &token)]), 400, "invalid_request"),
        ("an ID token's type", form(&one_type), 400, "invalid_request"),
        ("an ID token", exchange(&identity_token, &[]), 400, "invalid_request"),
        (
            "another kind of answer",
            exchange(&token, &[("requested_token_type", "urn:x")]),
            400,
            "invalid_request",
        ),
        ("an expired token", exchange(&expired, &[]), 400, "invalid_request"),
        ("a forged token", exchange(&forged, &[]), 400, "invalid_request"),
        ("a token for nobody here", exchange(&elsewhere, &[]), 400, "invalid_request"),
        ("a bound token alone", exchange(&bound, &[]), 400, "invalid_dpop_proof"),
        ("a run revoked", exchange(&revoked, &[]), 400, "invalid_request"),
        ("a service key as a token", exchange(secret, &[]), 400, "invalid_request"),
        ("wider than the token", exchange(&token, &[("scope", "other")]), 400, "invalid_scope"),
        ("wider than the parent", exchange(&parent, &[("scope", "mail/read")]), 400, "invalid_scope"),
        ("no scope at all", exchange(&token, &[("scope", "a\"b")]), 400, "invalid_scope"),
        ("another endpoint than the token's", exchange(&token, &[("resource", MAIL)]), 400, "invalid_target"),
        ("the whole gateway", exchange(&token, &[("audience", GATE)]), 400, "invalid_target"),
        (
            "another gateway",
            exchange(&parent, &[("resource", "https://evil.example/")]),
            400,
            "invalid_target",
        ),
        ("a lifetime in words", exchange(&token, &[("lifetime", "long")]), 400, "invalid_request"),
        ("no lifetime", exchange(&token, &[("lifetime", "0")]), 400, "invalid_request"),
        ("a purpose with a line end", exchange(&token, &[("purpose", "a\nb")]), 400, "invalid_request"),
        (
            "an actor's type alone",
            exchange(&token, &[("actor_token_type", ACCESS_TOKEN)]),
            400,
            "invalid_request",
        ),
        ("a forged actor", exchange(&token, &actor(&forged)), 400, "invalid_request"),
        ("a bound actor", exchange(&token, &actor(&bound)), 400, "invalid_request"),
        ("no client", credentials(), 401, "invalid_client"),
        (
            "half a client",
            form(&[("grant_type", "client_credentials"), ("client_secret", secret)]),
            401,
            "invalid_client",
        ),
        (
            "another's key",
            credentials().basic(&stranger.key.id, stranger.secret.reveal()),
            401,
            "invalid_client",
        ),
        ("a key under another name", credentials().basic("admin", secret), 401, "invalid_client"),
        ("a mistyped key", credentials().basic(id, &secret.replace("tbk_", "tbk-")), 401, "invalid_client"),
        (
            "not Basic",
            credentials().header("authorization", &format!("Bearer {secret}")),
            401,
            "invalid_client",
        ),
        (
            "two ways",
            exchange(&token, &[("client_id", id), ("client_secret", secret)]).basic(id, secret),
            400,
            "invalid_request",
        ),
        (
            "two clients",
            exchange(&token, &[("client_id", "other")]).basic(id, secret),
            400,
            "invalid_request",
        ),
        ("two headers", credentials().basic(id, secret).basic(id, secret), 400, "invalid_request"),
        ("a proof that is none", exchange(&token, &[]).header("dpop", "x"), 400, "invalid_dpop_proof"),
    ];
    let before = stage.state.minted_runs(99).unwrap().len();
    for (name, asked, status, code) in cases {
        let (reply, log) = logged(asked.ask(&stage)).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(
            (reply.status.as_u16(), body["error"].as_str().unwrap()),
            (status, code),
            "{name}: {body}"
        );
        assert_eq!(reply.headers["cache-control"], "no-store", "{name}");
        assert!(reply.minted.is_none() && reply.refused.is_some(), "{name}");
        let told = format!("{body} {:?} {log}", reply.refused);
        for (_, value) in
            asked.form.iter().filter(|(_, value)| value.len() > 60 && !value.starts_with("urn:"))
        {
            for part in value.split('.').filter(|part| part.len() > 20) {
                assert!(!told.contains(part), "{name}: {told}");
            }
        }
        let challenged = reply.headers.contains_key("www-authenticate");
        assert_eq!(challenged, status == 401 && asked.headers.contains_key("authorization"), "{name}");
    }
    assert_eq!(stage.state.minted_runs(99).unwrap().len(), before, "no run was minted");
}

#[tokio::test]
async fn a_form_that_is_too_large_is_not_read() {
    let stage = Stage::set().await;
    let large = "x".repeat(65 * 1024);
    let reply = exchange(&stage.token(), &[("purpose", &large)]).ask(&stage).await;
    assert!(reply.body.contains("64 KiB"), "{}", reply.body);
}

#[tokio::test]
async fn a_run_may_outlive_the_token_that_it_was_minted_for_but_not_the_limit() {
    let stage = Stage::with(|settings| settings.runs.longest = Duration::from_secs(7_200)).await;
    let (token, body) = exchange(&stage.token(), &[("lifetime", "999999")]).granted(&stage).await;
    assert_eq!(body["expires_in"], 7_200);
    assert!(stage.at(&token, NOW + 7_199).await.is_ok());
}
