//! Logging people in: one right way through, and every wrong turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use identity::{LoginSettings, Logins, Page, Reason, RunName, Scope, Secret, TokenReply, TokenRequest};
use serde_json::{Value, json};
use store::state::RegisteredClient;

use crate::dpop::proof;
use crate::made::{FILES, GATE, MAIL, NOW, Stage, alice, logged};
use crate::provider::Answer;
use crate::signing::{Draft, Pair, b64, sha256};

pub(crate) const BACK: &str = "http://127.0.0.1/cb";
pub(crate) const HERE: &str = "http://127.0.0.1:33418/cb";
pub(crate) const VERIFIER: &str = "verifier-of-a-client-verifier-of-a-client-0";

struct Door {
    stage: Stage,
    logins: Logins,
    client: String,
}

pub(crate) type Query = BTreeMap<String, String>;

impl Door {
    async fn open() -> Door {
        let stage = Stage::with(|settings| {
            let issuer = settings.issuers[0].url.clone();
            let mut logins = LoginSettings::new(issuer, "tollbook");
            logins.client_secret = Some(Secret::new("s3cret:x"));
            settings.logins = Some(logins);
        })
        .await;
        metadata(&stage, &[]);
        let logins = Logins::new(&stage.settings, Arc::clone(&stage.verifier)).unwrap().unwrap();
        let mut door = Door { stage, logins, client: String::new() };
        door.client = door.registered(&[BACK]).await;
        door
    }

    /// Registers another client; gives its id.
    async fn registered(&self, redirects: &[&str]) -> String {
        let document = json!({ "client_name": "Editor", "redirect_uris": redirects });
        let reply = self.logins.register(document.to_string().as_bytes(), NOW).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        body["client_id"].as_str().unwrap().to_owned()
    }

    /// A right request, with some parameters changed; an empty one is taken out.
    fn query(&self, changed: &[(&str, &str)]) -> String {
        let challenge = b64(sha256(VERIFIER.as_bytes()));
        let mut query: BTreeMap<&str, &str> = BTreeMap::from([
            ("response_type", "code"),
            ("client_id", self.client.as_str()),
            ("redirect_uri", HERE),
            ("state", "st"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
            ("resource", FILES),
        ]);
        query.extend(changed.iter().copied());
        form(query.into_iter().filter(|(_, value)| !value.is_empty()))
    }

    /// Begins a login; gives ticket and cookie.
    async fn begin(&self, query: &str) -> (String, String) {
        match self.logins.authorize(query, None, NOW).await {
            Page::Consent { ticket, cookie, name, client, redirect, .. } => {
                assert_eq!(
                    (name.as_str(), client.as_str(), redirect.as_str()),
                    ("Editor", &*self.client, HERE)
                );
                assert!(
                    cookie.contains("; HttpOnly; SameSite=Lax") && cookie.ends_with("; Secure"),
                    "{cookie}"
                );
                assert!(cookie.starts_with("__Host-tollbook-login="), "{cookie}");
                (ticket, cookie.split(';').next().unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Agrees; gives what the provider is asked.
    async fn agree(&self, ticket: &str, cookie: &str) -> Query {
        let form = form([("ticket", ticket), ("answer", "allow")]);
        let page = self.logins.consent(form.as_bytes(), Some(cookie), NOW).await;
        let (url, query) = redirected(page);
        assert_eq!(url, format!("{}/authorize", self.stage.idp.url));
        query
    }

    /// An ID token for that trip.
    fn id_token(&self, trip: &Query) -> Draft {
        let claims = json!({
            "iss": self.stage.idp.url, "sub": "alice", "aud": "tollbook", "nonce": trip["nonce"],
            "groups": ["eng"], "iat": NOW - 1, "exp": NOW + 300, "at_hash": "x",
        });
        Draft::new(&json!({ "alg": "ES256", "kid": "p256", "typ": "JWT" }), &claims)
    }

    /// The provider's answer to the browser, and to the code.
    async fn arrive(&self, trip: &Query, cookie: &str, token: &str) -> Page {
        let answer = json!({ "access_token": "x", "token_type": "Bearer", "id_token": token });
        self.stage.idp.answers("/token", Answer::Json(answer.to_string()));
        let query = form([("code", "idp-code"), ("state", &trip["state"]), ("iss", &self.stage.idp.url)]);
        self.logins.callback(&query, Some(cookie), NOW).await.page
    }

    /// All the way to a code.
    async fn code(&self, changed: &[(&str, &str)]) -> String {
        let (ticket, cookie) = self.begin(&self.query(changed)).await;
        let trip = self.agree(&ticket, &cookie).await;
        let page = self.arrive(&trip, &cookie, &self.id_token(&trip).sign(&self.stage.p256)).await;
        let (url, query) = redirected(page);
        assert_eq!((url.as_str(), query["state"].as_str(), query["iss"].as_str()), (HERE, "st", GATE));
        query["code"].clone()
    }

    async fn ask(&self, parameters: &[(&str, &str)], proof: Option<&str>) -> TokenReply {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        if let Some(proof) = proof {
            headers.insert("dpop", proof.parse().unwrap());
        }
        let body = form(parameters.iter().copied());
        let request = TokenRequest {
            headers: &headers,
            body: body.as_bytes(),
            url: "https://gate.example/oauth/token",
        };
        self.logins.answer(request, NOW).await
    }

    async fn redeem(&self, code: &str, changed: &[(&str, &str)]) -> TokenReply {
        let mut parameters = BTreeMap::from([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", self.client.as_str()),
            ("redirect_uri", HERE),
            ("code_verifier", VERIFIER),
        ]);
        parameters.extend(changed.iter().copied());
        let parameters: Vec<_> = parameters.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        self.ask(&parameters, None).await
    }

    async fn refresh(&self, token: &str, client: &str) -> TokenReply {
        let parameters = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", client)];
        self.ask(&parameters, None).await
    }
}

pub(crate) fn metadata(stage: &Stage, more: &[(&str, Value)]) {
    let url = &stage.idp.url;
    let document = json!({
        "issuer": url, "jwks_uri": format!("{url}/keys"),
        "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
    });
    let document = crate::signing::with(document, more);
    stage.idp.answers("/.well-known/openid-configuration", Answer::Json(document.to_string()));
}

pub(crate) fn form<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// Where a page leads, and with which parameters.
pub(crate) fn redirected(page: Page) -> (String, Query) {
    let Page::Redirect(url) = page else { panic!("{page:?}") };
    let (url, query) = url.split_once('?').unwrap();
    (url.to_owned(), form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

fn granted(reply: &TokenReply) -> (String, String) {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["expires_in"], 600);
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    (text("access_token"), text("refresh_token"))
}

/// What is recorded of an answer to what was stolen.
fn reused(reply: &TokenReply, reason: Reason, run: &RunName) {
    let refused = reply.reused.as_ref().unwrap();
    assert_eq!((refused.reason, refused.run.map(RunName::Minted)), (reason, Some(run.clone())));
    assert_eq!(reply.resource.as_deref(), Some(FILES));
}

fn error(reply: &TokenReply) -> String {
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_login_is_a_run_and_renews_its_tokens() {
    let door = Door::open().await;
    let (first, refresh) = granted(&door.redeem(&door.code(&[("scope", "files")]).await, &[]).await);
    let sent = door.stage.idp.sent("/token");
    assert!(
        sent.starts_with("Basic ") && sent.contains("code=idp-code") && sent.contains("code_verifier="),
        "{sent}"
    );
    let caller = door.stage.bearer(&first).await.unwrap();
    assert_eq!(caller.principal, alice(&door.stage.idp.url));
    assert_eq!(caller.groups, ["eng"]);
    assert_eq!(caller.scope, Scope::parse("files").unwrap());
    assert_eq!(caller.actors[0].sub, door.client);
    assert_eq!(caller.client.as_deref(), Some(door.client.as_str()));
    assert_eq!(door.stage.at(&first, NOW + 605).await.unwrap_err().reason, Reason::Expired);
    let (second, next) = granted(&door.refresh(&refresh, &door.client).await);
    assert_ne!((&first, &refresh), (&second, &next));
    let run = caller.run.clone();
    assert!(matches!(run, RunName::Minted(_)));
    assert_eq!(door.stage.bearer(&second).await.unwrap().run, run, "the same run");
    assert_eq!(error(&door.refresh(&next, "other").await), "invalid_grant", "another client");
    granted(&door.refresh(&next, &door.client).await);
    let (stolen, log) = logged(door.refresh(&refresh, &door.client)).await;
    assert_eq!(error(&stolen), "invalid_grant", "spent");
    reused(&stolen, Reason::RefreshReused, &run);
    assert!(log.contains("WARN") && log.contains("a refresh token came a second time"), "{log}");
    assert!(!log.contains(&refresh), "{log}");
    assert_eq!(door.stage.bearer(&second).await.unwrap_err().reason, Reason::RunRevoked, "a stolen token");
    assert_eq!(error(&door.refresh(&next, &door.client).await), "invalid_grant");
}

#[tokio::test]
async fn a_code_that_comes_twice_revokes_what_it_gave() {
    let door = Door::open().await;
    let code = door.code(&[]).await;
    let (token, _) = granted(&door.redeem(&code, &[]).await);
    assert_eq!(door.stage.bearer(&token).await.unwrap().scope, Scope::Unlimited);
    let run = door.stage.bearer(&token).await.unwrap().run;
    let (stolen, log) = logged(door.redeem(&code, &[])).await;
    assert_eq!(error(&stolen), "invalid_grant");
    reused(&stolen, Reason::CodeReused, &run);
    assert!(
        log.contains("WARN") && log.contains("a code came a second time") && !log.contains(&code),
        "{log}"
    );
    assert_eq!(door.stage.bearer(&token).await.unwrap_err().reason, Reason::RunRevoked);
}

#[tokio::test]
async fn scopes_of_openid_connect_do_not_narrow_a_login() {
    let door = Door::open().await;
    for (asked, given) in [
        ("openid email profile", None),
        ("openid email profile address phone offline_access", None),
        ("openid files email", Some("files")),
    ] {
        let page = door.logins.authorize(&door.query(&[("scope", asked)]), None, NOW).await;
        let Page::Consent { scope, .. } = page else { panic!("{page:?}") };
        assert_eq!(scope.as_deref(), given, "what the person is shown for {asked}");
        let (token, _) = granted(&door.redeem(&door.code(&[("scope", asked)]).await, &[]).await);
        assert_eq!(door.stage.bearer(&token).await.unwrap().scope.text().as_deref(), given, "{asked}");
    }
}

#[tokio::test]
async fn a_login_bound_to_a_key_is_renewed_with_it_alone() {
    let door = Door::open().await;
    let pair = Pair::ec("P-256");
    let at = |id: &str| proof(&pair, "https://gate.example/oauth/token", None).claim("jti", id).sign(&pair);
    let code = door.code(&[]).await;
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("client_id", &door.client),
        ("redirect_uri", HERE),
        ("code_verifier", VERIFIER),
    ];
    let (token, refresh) = granted(&door.ask(&redeem, Some(&at("1"))).await);
    assert_eq!(door.stage.bearer(&token).await.unwrap_err().reason, Reason::ProofMissing);
    let renew = [("grant_type", "refresh_token"), ("refresh_token", &*refresh), ("client_id", &door.client)];
    assert_eq!(error(&door.ask(&renew, None).await), "invalid_dpop_proof");
    granted(&door.ask(&renew, Some(&at("2"))).await);
}

#[tokio::test]
async fn a_proof_is_remembered_for_who_has_a_token_alone() {
    let door = Door::open().await;
    let pair = Pair::ec("P-256");
    let one = proof(&pair, "https://gate.example/oauth/token", None).sign(&pair);
    for unknown in ["x", "tbr_x"] {
        let asked =
            [("grant_type", "refresh_token"), ("refresh_token", unknown), ("client_id", &*door.client)];
        for _ in 0..2 {
            assert_eq!(error(&door.ask(&asked, Some(&one)).await), "invalid_grant", "{unknown}");
        }
    }
    let code = door.code(&[]).await;
    let asked = |code| {
        [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", &*door.client),
            ("code_verifier", VERIFIER),
        ]
    };
    assert_eq!(error(&door.ask(&asked("x"), Some(&one)).await), "invalid_grant");
    let (_, refresh) = granted(&door.ask(&asked(&code), Some(&one)).await);
    let renew = [("grant_type", "refresh_token"), ("refresh_token", &*refresh), ("client_id", &*door.client)];
    assert_eq!(error(&door.ask(&renew, Some(&one)).await), "invalid_dpop_proof", "now it is remembered");
    let next = proof(&pair, "https://gate.example/oauth/token", None).claim("jti", "p-2").sign(&pair);
    granted(&door.ask(&renew, Some(&next)).await);
}

#[tokio::test]
async fn requests_of_clients_that_are_not_known_lead_nowhere() {
    let door = Door::open().await;
    for (name, changed) in [
        ("no client", ("client_id", "")),
        ("an unknown client", ("client_id", "dcr-x")),
        ("a client by http", ("client_id", "http://app.example/client")),
        ("a client on the loopback", ("client_id", "http://127.0.0.1:9/client")),
        ("a client in the cloud's metadata", ("client_id", "https://169.254.169.254/client")),
        ("a client that is an origin", ("client_id", "https://app.example/")),
        ("no redirect", ("redirect_uri", "")),
        ("another path", ("redirect_uri", "http://127.0.0.1:33418/other")),
        ("a path below", ("redirect_uri", "http://127.0.0.1:33418/cb/x")),
        ("a query more", ("redirect_uri", "http://127.0.0.1:33418/cb?x=1")),
        ("a fragment", ("redirect_uri", "http://127.0.0.1:33418/cb#x")),
        ("another host", ("redirect_uri", "http://127.0.0.1.evil.example/cb")),
        ("a user", ("redirect_uri", "http://127.0.0.1@evil.example/cb")),
        ("another scheme", ("redirect_uri", "https://127.0.0.1:33418/cb")),
        ("a script", ("redirect_uri", "javascript:alert(1)")),
    ] {
        let page = door.logins.authorize(&door.query(&[changed]), None, NOW).await;
        assert!(matches!(page, Page::Refused(_)), "{name}: {page:?}");
    }
    let twice = format!("{}&redirect_uri=https%3A%2F%2Fevil.example", door.query(&[]));
    assert!(matches!(door.logins.authorize(&twice, None, NOW).await, Page::Refused(_)), "twice");
}

#[tokio::test]
async fn wrong_requests_of_known_clients_go_back_to_them() {
    let door = Door::open().await;
    let (long, endless) = ("x".repeat(3_000), format!("{FILES}/{}", "x".repeat(50_000)));
    for (name, changed, expected) in [
        ("no PKCE", ("code_challenge", ""), "invalid_request"),
        ("PKCE plain", ("code_challenge_method", "plain"), "invalid_request"),
        ("PKCE without a method", ("code_challenge_method", ""), "invalid_request"),
        ("a short challenge", ("code_challenge", "short"), "invalid_request"),
        ("the implicit flow", ("response_type", "token"), "unsupported_response_type"),
        ("a hybrid flow", ("response_type", "code id_token"), "unsupported_response_type"),
        ("no flow", ("response_type", ""), "unsupported_response_type"),
        ("a request object", ("request", "x"), "request_not_supported"),
        ("a request URI", ("request_uri", "https://evil.example"), "request_not_supported"),
        ("another gateway", ("resource", "https://evil.example/mcp/files"), "invalid_target"),
        ("a gateway that begins so", ("resource", "https://gate.example.evil/mcp/x"), "invalid_target"),
        ("no server's name", ("resource", "https://gate.example/mcp/files/x"), "invalid_target"),
        ("an endless resource", ("resource", endless.as_str()), "invalid_target"),
        ("no scope", ("scope", "a\"b"), "invalid_scope"),
        ("an endless state", ("state", long.as_str()), "invalid_request"),
    ] {
        let page = door.logins.authorize(&door.query(&[changed]), None, NOW).await;
        let (url, query) = redirected(page);
        assert_eq!(
            (url.as_str(), query["error"].as_str(), query["iss"].as_str()),
            (HERE, expected, GATE),
            "{name}"
        );
        assert!(!query.contains_key("code"), "{name}");
    }
}

#[tokio::test]
async fn a_login_is_the_browsers_that_began_it_and_holds_once() {
    let door = Door::open().await;
    let agreed = |ticket: &str| form([("ticket", ticket), ("answer", "allow")]);
    for (name, cookie) in [
        ("no cookie", None),
        ("an empty one", Some("__Host-tollbook-login=")),
        ("another", Some("__Host-tollbook-login=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ("one without the prefix", Some("tollbook-login=x")),
    ] {
        let (ticket, _) = door.begin(&door.query(&[])).await;
        let page = door.logins.consent(agreed(&ticket).as_bytes(), cookie, NOW).await;
        assert!(matches!(page, Page::Refused(_)), "{name}");
        let (ticket, own) = door.begin(&door.query(&[])).await;
        let trip = door.agree(&ticket, &own).await;
        let query = form([("code", "x"), ("state", &trip["state"])]);
        assert!(matches!(door.logins.callback(&query, cookie, NOW).await.page, Page::Refused(_)), "{name}");
    }
    let (ticket, cookie) = door.begin(&door.query(&[])).await;
    let late = door.logins.consent(agreed(&ticket).as_bytes(), Some(&cookie), NOW + 600).await;
    assert!(matches!(late, Page::Refused(_)), "too late");
    let (ticket, cookie) = door.begin(&door.query(&[])).await;
    let callback = form([("code", "x"), ("state", &ticket)]);
    let page = door.logins.callback(&callback, Some(&cookie), NOW).await.page;
    assert!(matches!(page, Page::Refused(_)), "without consent");
    let (ticket, cookie) = door.begin(&door.query(&[])).await;
    let trip = door.agree(&ticket, &cookie).await;
    let page = door.logins.consent(agreed(&ticket).as_bytes(), Some(&cookie), NOW).await;
    assert!(matches!(page, Page::Refused(_)), "consent twice");
    let token = door.id_token(&trip).sign(&door.stage.p256);
    let both = format!("a=b; {cookie}; c=d");
    assert!(matches!(door.arrive(&trip, &both, &token).await, Page::Redirect(_)));
    assert!(matches!(door.arrive(&trip, &cookie, &token).await, Page::Refused(_)), "back twice");
}

#[tokio::test]
async fn several_logins_go_on_in_one_browser() {
    let door = Door::open().await;
    let (first, cookie) = door.begin(&door.query(&[])).await;
    let Page::Consent { ticket, cookie: again, .. } =
        door.logins.authorize(&door.query(&[("resource", MAIL)]), Some(&cookie), NOW).await
    else {
        panic!("no consent");
    };
    assert!(again.starts_with(&cookie), "the same");
    for ticket in [first, ticket] {
        assert!(door.agree(&ticket, &cookie).await.contains_key("state"));
    }
}

#[tokio::test]
async fn who_does_not_agree_is_not_sent_on() {
    let door = Door::open().await;
    for answer in ["deny", "", "Allow"] {
        let (ticket, cookie) = door.begin(&door.query(&[])).await;
        let form = form([("ticket", &*ticket), ("answer", answer)]);
        let (url, query) = redirected(door.logins.consent(form.as_bytes(), Some(&cookie), NOW).await);
        assert_eq!((url.as_str(), query["error"].as_str()), (HERE, "access_denied"));
    }
}

#[tokio::test]
async fn answers_that_are_not_the_providers_log_nobody_in() {
    let door = Door::open().await;
    let stranger = Pair::ec("P-256");
    type Change = fn(Draft) -> Draft;
    let changes: Vec<(&str, Change)> = vec![
        ("another nonce", |token| token.claim("nonce", "x")),
        ("no nonce", |token| token.claim("nonce", Value::Null)),
        ("another audience", |token| token.claim("aud", "other")),
        ("several audiences", |token| token.claim("aud", json!(["tollbook", "other"]))),
        ("issued to another party", |token| token.claim("azp", "other")),
        ("another issuer", |token| token.claim("iss", "https://evil.example")),
        ("expired", |token| token.claim("exp", NOW - 61)),
        ("of the future", |token| token.claim("iat", NOW + 61)),
        ("no subject", |token| token.claim("sub", Value::Null)),
        ("`alg` none", |token| token.header("alg", "none")),
        ("HMAC with our secret", |token| token.header("alg", "HS256")),
    ];
    let denied = async |name: &str, token: String| {
        let (ticket, cookie) = door.begin(&door.query(&[])).await;
        let trip = door.agree(&ticket, &cookie).await;
        let token = if token.is_empty() { door.id_token(&trip).sign(&stranger) } else { token };
        let (page, log) = logged(door.arrive(&trip, &cookie, &token)).await;
        let (url, query) = redirected(page);
        assert_eq!((url.as_str(), query["error"].as_str()), (HERE, "access_denied"), "{name}");
        assert!(!log.contains(token.rsplit('.').next().unwrap()), "{name}: {log}");
    };
    for (name, change) in changes {
        let (ticket, cookie) = door.begin(&door.query(&[])).await;
        let trip = door.agree(&ticket, &cookie).await;
        let page = door.arrive(&trip, &cookie, &change(door.id_token(&trip)).sign(&door.stage.p256)).await;
        let (url, query) = redirected(page);
        assert_eq!((url.as_str(), query["error"].as_str()), (HERE, "access_denied"), "{name}");
    }
    denied("a stranger's signature", String::new()).await;
    denied("an access token", door.stage.token()).await;
    for (name, answer, expected) in [
        ("another provider", vec![("code", "x"), ("iss", "https://evil.example")], "access_denied"),
        ("another provider's error", vec![("error", "x"), ("iss", "https://evil.example")], "access_denied"),
        ("an error", vec![("error", "login_required")], "access_denied"),
        ("no code", vec![("x", "y")], "server_error"),
    ] {
        let (ticket, cookie) = door.begin(&door.query(&[])).await;
        let trip = door.agree(&ticket, &cookie).await;
        let query = form([("state", trip["state"].as_str())].into_iter().chain(answer));
        let (_, query) = redirected(door.logins.callback(&query, Some(&cookie), NOW).await.page);
        assert_eq!(query["error"], expected, "{name}");
    }
}

#[tokio::test]
async fn a_provider_that_says_who_it_is_must_say_so() {
    let door = Door::open().await;
    metadata(&door.stage, &[("authorization_response_iss_parameter_supported", json!(true))]);
    let (ticket, cookie) = door.begin(&door.query(&[])).await;
    let trip = door.agree(&ticket, &cookie).await;
    let silent = form([("code", "x"), ("state", &trip["state"])]);
    let (_, query) = redirected(door.logins.callback(&silent, Some(&cookie), NOW).await.page);
    assert_eq!(
        (query["error"].as_str(), query["error_description"].as_str()),
        ("access_denied", "the answer is another provider's")
    );
}

#[tokio::test]
async fn a_provider_that_is_down_sends_nobody_anywhere() {
    let door = Door::open().await;
    door.stage.idp.answers("/.well-known/openid-configuration", Answer::Status(503));
    let (ticket, cookie) = door.begin(&door.query(&[])).await;
    let agreed = form([("ticket", &*ticket), ("answer", "allow")]);
    let (url, query) = redirected(door.logins.consent(agreed.as_bytes(), Some(&cookie), NOW).await);
    assert_eq!((url.as_str(), query["error"].as_str()), (HERE, "temporarily_unavailable"));
}

#[tokio::test]
async fn codes_are_redeemed_by_who_began_and_for_what() {
    let door = Door::open().await;
    for (name, changed, expected) in [
        ("no code", ("code", ""), "invalid_request"),
        ("another code", ("code", "x"), "invalid_grant"),
        ("another client", ("client_id", "other"), "invalid_grant"),
        ("no client", ("client_id", ""), "invalid_request"),
        ("another redirect", ("redirect_uri", BACK), "invalid_grant"),
        ("no verifier", ("code_verifier", ""), "invalid_request"),
        (
            "another verifier",
            ("code_verifier", "verifier-of-a-client-verifier-of-a-client-1"),
            "invalid_grant",
        ),
        ("the challenge itself", ("code_verifier", "x"), "invalid_grant"),
        ("another resource", ("resource", MAIL), "invalid_target"),
    ] {
        let code = door.code(&[]).await;
        let reply = door.redeem(&code, &[changed]).await;
        assert_eq!(error(&reply), expected, "{name}");
        assert!(!format!("{} {:?}", reply.body, reply.refused).contains(&code), "{name}");
        if changed.0 != "code" {
            assert_eq!(error(&door.redeem(&code, &[]).await), "invalid_grant", "{name}: the code is gone");
        }
    }
    assert_eq!(door.stage.state.minted_runs(9).unwrap(), []);
    for token in ["", "tbr_x", "x"] {
        let reply = door.refresh(token, &door.client).await;
        assert!(["invalid_grant", "invalid_request"].contains(&error(&reply).as_str()), "{token}");
    }
}

#[tokio::test]
async fn a_code_needs_no_redirect() {
    let door = Door::open().await;
    granted(&door.redeem(&door.code(&[]).await, &[("redirect_uri", "")]).await);
}

#[tokio::test]
async fn clients_register_with_redirects_that_may_be() {
    let door = Door::open().await;
    for (document, status) in [
        (json!({ "redirect_uris": ["https://app.example/cb"] }).to_string(), 201),
        (json!({ "redirect_uris": ["cursor://x/cb", BACK] }).to_string(), 201),
        (json!({ "redirect_uris": [] }).to_string(), 400),
        (json!({ "redirect_uris": ["https://app.example/cb", "javascript:x"] }).to_string(), 400),
        (json!({ "redirect_uris": ["http://app.example/cb"] }).to_string(), 400),
        (json!({ "redirect_uris": "https://app.example/cb" }).to_string(), 400),
        (json!({ "redirect_uris": vec!["https://app.example/cb"; 17] }).to_string(), 400),
        (json!({}).to_string(), 400),
        ("x".to_owned(), 400),
        (r#"{"redirect_uris":[],"redirect_uris":["https://app.example/cb"]}"#.to_owned(), 400),
        (format!(r#"{{"redirect_uris":["https://app.example/cb"],"x":"{}"}}"#, "x".repeat(70_000)), 400),
    ] {
        let reply = door.logins.register(document.as_bytes(), NOW).await;
        assert_eq!(reply.status, status, "{document}");
    }
}

#[tokio::test]
async fn too_many_clients_at_a_time_are_turned_away_and_told_so() {
    let door = Door::open().await;
    for number in 0..999 {
        let id = format!("dcr-{number}");
        let row = RegisteredClient { id, name: String::new(), redirects: vec![], created: NOW };
        assert!(door.stage.state.add_client(&row).unwrap());
    }
    let document = json!({ "redirect_uris": [BACK] }).to_string();
    let reply = door.logins.register(document.as_bytes(), NOW + 599).await;
    assert_eq!((reply.status.as_u16(), error(&reply).as_str()), (503, "temporarily_unavailable"));
    assert!(reply.body.contains("too many clients have registered"), "{}", reply.body);
    let page = door.logins.authorize(&door.query(&[]), None, NOW + 599).await;
    assert!(matches!(page, Page::Consent { .. }), "who came before is known still: {page:?}");
    assert_eq!(door.logins.register(document.as_bytes(), NOW + 600).await.status, 201);
}

#[tokio::test]
async fn nobody_is_sent_anywhere_unasked_but_to_a_program_on_their_machine() {
    let door = Door::open().await;
    for redirect in [
        "https://evil.example/phish",
        "HTTPS://evil.example/phish",
        "hTTps://evil.example/phish",
        "microsoft-edge:https://evil.example/phish",
        "cursor://anysphere.cursor/callback",
    ] {
        let client = door.registered(&[redirect]).await;
        let own = [("client_id", client.as_str()), ("redirect_uri", redirect)];
        for wrong in [("response_type", "x"), ("code_challenge", ""), ("resource", "https://evil.example")] {
            let page = door.logins.authorize(&door.query(&[own[0], own[1], wrong]), None, NOW).await;
            assert!(matches!(page, Page::Refused(_)), "{redirect}: {page:?}");
        }
        let page = door.logins.authorize(&door.query(&own), None, NOW).await;
        assert!(matches!(page, Page::Consent { .. }), "{redirect}: {page:?}");
    }
}

#[tokio::test]
async fn a_client_may_be_known_by_its_document() {
    let door = Door::open().await;
    // A gateway on the loopback may read documents there; no other gateway may.
    let id = format!("{}/client", door.stage.idp.url);
    let document = json!({ "client_id": id, "client_name": "Editor", "redirect_uris": [BACK] });
    door.stage.idp.answers("/client", Answer::Json(document.to_string()));
    let page = door.logins.authorize(&door.query(&[("client_id", &id)]), None, NOW).await;
    assert!(matches!(page, Page::Refused(_)), "{page:?}");
    assert_eq!(door.stage.idp.asked("/client"), 0);
    let mut settings = door.stage.settings.clone();
    settings.public_url = "http://127.0.0.1:7800".to_owned();
    let key = identity::RunKey::open(door.stage.folder.path()).unwrap();
    let state = Arc::clone(&door.stage.state);
    let mint = identity::Mint::new(Arc::clone(&state), key, &settings.public_url, settings.runs.clone());
    let verifier = identity::Verifier::new(&settings, state, Arc::new(mint)).unwrap();
    let logins = Logins::new(&settings, Arc::new(verifier)).unwrap().unwrap();
    let query = door.query(&[("client_id", &id), ("resource", "")]);
    for _ in 0..3 {
        let page = logins.authorize(&query, None, NOW).await;
        let Page::Consent { client, cookie, .. } = page else { panic!("{page:?}") };
        assert_eq!(client, id);
        assert!(cookie.starts_with("tollbook-login=") && !cookie.contains("Secure"), "{cookie}");
    }
    assert_eq!(door.stage.idp.asked("/client"), 1, "kept");
    let (mut now, mut asked) = (NOW + 600, 1);
    for (name, answer) in [
        ("of another client", Answer::Json(document.to_string().replace("/client", "/other"))),
        ("redirected", Answer::Redirect(id.clone())),
        ("no JSON", Answer::Json("<html>".to_owned())),
        ("gone", Answer::Status(404)),
    ] {
        door.stage.idp.answers("/client", answer);
        for later in [0, 29] {
            let page = logins.authorize(&query, None, now + later).await;
            assert!(matches!(page, Page::Refused(_)), "{name}: {page:?}");
        }
        asked += 1;
        assert_eq!(door.stage.idp.asked("/client"), asked, "{name}: not asked again at once");
        now += 30;
    }
    door.stage.idp.answers("/client", Answer::Json(document.to_string()));
    let page = logins.authorize(&query, None, now).await;
    assert!(matches!(page, Page::Consent { .. }), "after a while: {page:?}");
}

#[tokio::test]
async fn metadata_leads_clients_here() {
    let door = Door::open().await;
    let own: Value = serde_json::from_str(&door.stage.settings.server_metadata()).unwrap();
    assert_eq!(own["authorization_endpoint"], "https://gate.example/oauth/authorize");
    assert_eq!(own["registration_endpoint"], "https://gate.example/oauth/register");
    assert_eq!(own["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(own["authorization_response_iss_parameter_supported"], true);
    let resource = identity::Resource { url: FILES, name: "files", scopes: &[] };
    let document: Value = serde_json::from_str(&door.stage.settings.resource_metadata(&resource)).unwrap();
    assert_eq!(document["authorization_servers"], json!([GATE]));
    let mut settings = door.stage.settings.clone();
    settings.logins = Some(LoginSettings::new("https://other.example", "tollbook"));
    assert!(
        Logins::new(&settings, Arc::clone(&door.stage.verifier)).is_err(),
        "an issuer that is not configured"
    );
    settings.logins = None;
    assert!(Logins::new(&settings, Arc::clone(&door.stage.verifier)).unwrap().is_none());
}
