//! Logging people in with SAML: the right ways through.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use identity::{
    Flaw, Issuer, Landing, Logins, Page, Principal, PrincipalKind, Reason, SamlMetadata, Settings,
    TokenRequest,
};
use serde_json::{Value, json};

use crate::logins::{HERE, VERIFIER, form, redirected};
use crate::made::{GATE, NOW};
use crate::provider::Answer;
use crate::saml_made::{
    Door, ENTITY, How, KEY, OTHER, OURS, PLACE, assertion, certificate, good, key_info, metadata, response,
    short_certificate, signed,
};
use crate::signing::Pair;

impl Door {
    /// Redeems the code that a browser came home with.
    async fn redeem(&self, landing: Landing) -> (Value, u64) {
        let (url, query) = redirected(landing.page);
        assert_eq!((url.as_str(), query["state"].as_str(), query["iss"].as_str()), (HERE, "st", GATE));
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let body = form([
            ("grant_type", "authorization_code"),
            ("code", query["code"].as_str()),
            ("client_id", self.client.as_str()),
            ("redirect_uri", HERE),
            ("code_verifier", VERIFIER),
        ]);
        let url = "https://gate.example/oauth/token";
        let request = TokenRequest { headers: &headers, body: body.as_bytes(), url };
        let reply = self.logins.answer(request, NOW).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let run = self.stage.state.minted_runs(1).unwrap().remove(0);
        (serde_json::from_str(&reply.body).unwrap(), run.expires)
    }

    /// The caller that a document logs in.
    async fn caller(&self, document: impl FnOnce(&str) -> String) -> identity::Caller {
        let away = self.away().await;
        let landing = self.bring(&away, &document(&away.id)).await;
        let (tokens, _) = self.redeem(self.home(landing, &away.cookie)).await;
        self.stage.bearer(tokens["access_token"].as_str().unwrap()).await.unwrap()
    }
}

#[tokio::test]
async fn a_login_is_a_run_that_says_who_and_how() {
    let door = Door::with(|saml| {
        saml.name_attribute = Some("none".to_owned());
        saml.email_attribute = Some("mail".to_owned());
    })
    .await;
    let caller = door.caller(good).await;
    let alice = Principal { kind: PrincipalKind::User, id: "alice".to_owned(), issuer: ENTITY.to_owned() };
    assert_eq!((caller.principal, caller.groups), (alice, vec!["eng".to_owned(), "on call".to_owned()]));
    let login: Value = serde_json::from_str(&caller.login.unwrap()).unwrap();
    let expected = json!({
        "authn_context": "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken",
        "session_index": "s-1",
        "email": "alice@corp.example",
    });
    assert_eq!(login, expected);
    assert_eq!(door.stage.idp.asked("/saml"), 1, "metadata is kept");
}

#[tokio::test]
async fn requests_say_who_asks_and_where_answers_go() {
    let door = Door::open().await;
    let (one, two) = (door.away().await, door.away().await);
    assert!(one.id != two.id && one.id.len() == 44 && one.state.len() == 43, "{} {}", one.id, one.state);
    for part in [
        "Destination=\"https://idp.example/login\"",
        &format!("AssertionConsumerServiceURL=\"{PLACE}\""),
        &format!("<saml:Issuer>{OURS}</saml:Issuer>"),
        "IssueInstant=\"2027-01-15T08:00:00Z\"",
        "HTTP-POST",
    ] {
        assert!(one.request.contains(part), "{part}: {}", one.request);
    }
    let own = door.logins.saml_metadata().unwrap();
    for part in [OURS, PLACE, "WantAssertionsSigned=\"true\""] {
        assert!(own.contains(part), "{part}: {own}");
    }
}

#[tokio::test]
async fn what_providers_do_differently_counts() {
    let curve = Pair::ec("P-256");
    let door = Door::open().await;
    let certificates = [certificate(&OTHER), certificate(&curve), short_certificate(), certificate(&KEY)];
    let listed: Vec<&str> = certificates.iter().map(String::as_str).collect();
    door.stage.idp.answers("/saml", Answer::Json(metadata(&listed)));
    let ecdsa = How {
        algorithm: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        jose: "ES256",
        ..How::default()
    };
    let sha512 = How {
        algorithm: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
        jose: "RS512",
        ..How::default()
    };
    let with_key = || How { key_info: key_info(&certificate(&KEY)), ..How::default() };
    let right = How::default();
    let whole = |request: &str| signed(&response(request, &assertion(request)), &KEY, &right);
    let both =
        |request: &str| signed(&response(request, &signed(&assertion(request), &KEY, &right)), &KEY, &right);
    let once = |request: &str| {
        let once = "<saml:OneTimeUse></saml:OneTimeUse></saml:Conditions>";
        assertion(request).replace("</saml:Conditions>", once)
    };
    type Document<'a> = Box<dyn Fn(&str) -> String + 'a>;
    let documents: Vec<(&str, Document<'_>)> = vec![
        ("the response is signed", Box::new(whole)),
        ("both are signed", Box::new(both)),
        ("by another of the keys", Box::new(|id| response(id, &signed(&assertion(id), &OTHER, &right)))),
        ("with a curve", Box::new(|id| response(id, &signed(&assertion(id), &curve, &ecdsa)))),
        ("with SHA-512", Box::new(|id| response(id, &signed(&assertion(id), &KEY, &sha512)))),
        ("with the certificate", Box::new(|id| response(id, &signed(&assertion(id), &KEY, &with_key())))),
        ("to be used once", Box::new(|id| response(id, &signed(&once(id), &KEY, &right)))),
        ("with a declaration", Box::new(|id| format!("<?xml version=\"1.0\"?>\n{}", good(id)))),
    ];
    for (name, document) in documents {
        let away = door.away().await;
        let landing = door.bring(&away, &document(&away.id)).await;
        assert_eq!(landing.refused, None, "{name}");
        door.redeem(door.home(landing, &away.cookie)).await;
    }
}

#[tokio::test]
async fn an_attribute_may_name_the_principal() {
    let door = Door::with(|saml| {
        saml.principal_attribute = Some("mail".to_owned());
        saml.groups_attribute = None;
    })
    .await;
    let transient = |id: &str| {
        let text = assertion(id).replace("1.1:nameid-format:unspecified", "2.0:nameid-format:transient");
        response(id, &signed(&text, &KEY, &How::default()))
    };
    let caller = door.caller(transient).await;
    assert_eq!((caller.principal.id.as_str(), caller.groups), ("alice@corp.example", vec![]));
}

#[tokio::test]
async fn a_login_ends_with_the_providers_session() {
    let door = Door::open().await;
    let away = door.away().await;
    let ends = assertion(&away.id)
        .replace("SessionIndex=\"s-1\"", "SessionIndex=\"s-1\" SessionNotOnOrAfter=\"2027-01-15T08:30:00Z\"");
    let document = response(&away.id, &signed(&ends, &KEY, &How::default()));
    let landing = door.bring(&away, &document).await;
    let (_, expires) = door.redeem(door.home(landing, &away.cookie)).await;
    assert_eq!(expires, NOW + 1800);
}

#[tokio::test]
async fn keys_are_those_of_the_newest_metadata() {
    let door = Door::open().await;
    door.caller(good).await;
    door.stage.idp.answers("/saml", Answer::Json(metadata(&[&certificate(&OTHER)])));
    let by_other = |id: &str| response(id, &signed(&assertion(id), &OTHER, &How::default()));
    let away = door.away().await;
    let soon = door.bring(&away, &by_other(&away.id)).await;
    assert_eq!(soon.refused.unwrap().reason, Reason::Saml(Flaw::Signature), "tried again too soon");
    let away = door.away_at(NOW + 700).await;
    let landing = door.bring(&away, &good(&away.id)).await;
    assert_eq!(landing.refused.unwrap().reason, Reason::Saml(Flaw::Signature), "withdrawn");
}

#[tokio::test]
async fn metadata_holds_while_its_place_is_out_of_reach_and_no_longer() {
    let door = Door::with(|saml| saml.stale = Duration::from_secs(3600)).await;
    door.away().await;
    door.stage.idp.answers("/saml", Answer::Status(503));
    door.away_at(NOW + 3600).await;
    let (url, query, _) = door.sent(NOW + 3701).await;
    assert_eq!((url.as_str(), query["error"].as_str()), (HERE, "temporarily_unavailable"));

    let door = Door::open().await;
    let ends = "validUntil=\"2027-01-15T08:05:00Z\" entityID";
    let text = metadata(&[&certificate(&KEY)]).replace("entityID", ends);
    door.stage.idp.answers("/saml", Answer::Json(text));
    door.away_at(NOW + 299).await;
    assert_eq!(door.sent(NOW + 300).await.1["error"], "temporarily_unavailable", "it says when it ends");
}

#[tokio::test]
async fn metadata_that_cannot_be_used_logs_nobody_in() {
    let good = metadata(&[&certificate(&KEY)]);
    for (name, text) in [
        ("another entity", good.replace(ENTITY, "https://evil.example")),
        ("no keys", metadata(&[])),
        ("a short key", metadata(&[&short_certificate()])),
        ("a key for encryption", good.replace("use=\"signing\"", "use=\"encryption\"")),
        ("ended", good.replace("entityID", "validUntil=\"2027-01-15T07:00:00Z\" entityID")),
        ("ends nobody knows when", good.replace("entityID", "validUntil=\"soon\" entityID")),
        ("a place without TLS", good.replace("https://idp.example/login", "http://idp.example/login")),
        ("a place that is a script", good.replace("https://idp.example/login", "javascript:alert(1)")),
        ("no place", good.replace("HTTP-Redirect", "HTTP-Artifact")),
        ("a document type", good.replace("<md:EntityDescriptor", "<!DOCTYPE x><md:EntityDescriptor")),
        ("no XML", "{}".to_owned()),
        ("of a service", good.replace("IDPSSODescriptor", "SPSSODescriptor")),
    ] {
        let door = Door::open().await;
        door.stage.idp.answers("/saml", Answer::Json(text));
        let (url, query, _) = door.sent(NOW).await;
        assert_eq!((url.as_str(), query["error"].as_str()), (HERE, "temporarily_unavailable"), "{name}");
    }
}

#[tokio::test]
async fn metadata_may_be_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("idp.xml");
    let door = Door::with(|saml| saml.metadata = SamlMetadata::File(path.clone())).await;
    assert_eq!(door.sent(NOW).await.1["error"], "temporarily_unavailable", "it is not there");
    std::fs::write(&path, metadata(&[&certificate(&KEY)])).unwrap();
    let away = door.away_at(NOW + 10).await;
    assert_eq!(door.bring(&away, &good(&away.id)).await.refused, None);
}

#[tokio::test]
async fn a_provider_is_named_like_no_other() {
    let door = Door::open().await;
    let with = |change: &dyn Fn(&mut identity::Settings)| {
        let mut settings = door.stage.settings.clone();
        change(&mut settings);
        Logins::new(&settings, Arc::clone(&door.stage.verifier))
    };
    let named = |settings: &mut identity::Settings, entity: &str| {
        settings.saml.as_mut().unwrap().entity_id = entity.to_owned();
    };
    let issuer = door.stage.idp.url.clone();
    assert!(with(&|settings| named(settings, &issuer)).is_err(), "an issuer's");
    assert!(with(&|settings| named(settings, GATE)).is_err(), "our own");
    assert!(with(&|settings| named(settings, "")).is_err(), "none");
    let own = identity::LoginSettings::new(issuer.clone(), "tollbook");
    assert!(with(&|settings| settings.logins = Some(own.clone())).is_err(), "two ways");
    let mut settings = door.stage.settings.clone();
    settings.issuers = vec![Issuer::new("https://idp.example")];
    let named = |settings: &Settings, kind, issuer: &str| settings.policy_name(kind, "alice", issuer);
    let user = PrincipalKind::User;
    assert_eq!(named(&settings, user, ENTITY), format!("{ENTITY}#alice"), "two vouch for people");
    assert_eq!(named(&settings, PrincipalKind::Service, GATE), "key:alice");
    settings.issuers.clear();
    assert_eq!(named(&settings, user, ENTITY), "alice");
    assert_eq!(named(&settings, PrincipalKind::Service, ENTITY), "alice");
    assert_eq!(
        named(&settings, PrincipalKind::Service, GATE),
        "key:alice",
        "a key's own run is called so, too"
    );
    let metadata: Value = serde_json::from_str(&settings.server_metadata()).unwrap();
    assert_eq!(metadata["authorization_endpoint"], "https://gate.example/oauth/authorize");
    assert!(matches!(door.logins.arrived("", None, NOW).page, Page::Refused(_)));
}
