//! Tokens that count, and who they say it is.

use identity::{
    Algorithm, Caller, Issuer, KeySource, KindRule, Principal, PrincipalKind, Reason, RunName, Scope,
};
use serde_json::{Value, json};

use crate::made::{GATE, NOW, Stage, alice};
use crate::signing::{Draft, Pair, set};

#[tokio::test]
async fn a_token_says_who_calls() {
    let stage = Stage::set().await;
    let caller = stage.bearer(&stage.token()).await.unwrap();
    assert_eq!(caller.principal, alice(&stage.idp.url));
    assert_eq!(caller.principal.to_string(), format!("user:alice ({})", stage.idp.url));
    assert_eq!(caller.groups, ["eng", "ops"]);
    assert_eq!(caller.scope, Scope::Unlimited);
    assert_eq!(caller.client.as_deref(), Some("editor"));
    assert_eq!(caller.expires, NOW + 300 + 60);
    assert!(matches!(caller.run, RunName::Token(_)), "{:?}", caller.run);
}

#[tokio::test]
async fn every_algorithm_of_the_list_and_only_with_its_key() {
    let pairs = [
        ("rsa", Pair::rsa(), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        ("p256", Pair::ec("P-256"), &["ES256"]),
        ("p384", Pair::ec("P-384"), &["ES384"]),
        ("p521", Pair::ec("P-521"), &["ES512"]),
        ("ed", Pair::ed(), &["EdDSA", "Ed25519"]),
    ];
    let published: Vec<Value> = pairs.iter().map(|(id, pair, _)| pair.published(id)).collect();
    let stage = Stage::with(|settings| settings.issuers[0].keys = KeySource::Fixed(set(&published))).await;
    let names = Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()).chain(["Ed25519"]);
    for algorithm in names {
        for (id, pair, own) in &pairs {
            let token = stage.draft().header("alg", algorithm).header("kid", *id).sign(pair);
            let told = stage.bearer(&token).await;
            match own.contains(&algorithm) {
                true => assert!(told.is_ok(), "{algorithm} with {id}: {told:?}"),
                false => assert_eq!(told.unwrap_err().reason, Reason::KeyUnfit, "{algorithm} with {id}"),
            }
        }
    }
}

#[tokio::test]
async fn times_are_looked_at_each_time_also_of_a_token_that_was_seen_before() {
    let stage = Stage::set().await;
    let token = stage.draft().claim("nbf", NOW).sign(&stage.p256);
    for (now, expected) in [
        (NOW - 61, Some(Reason::NotYet)),
        (NOW, None),
        (NOW + 100, None),
        (NOW + 359, None),
        (NOW + 360, Some(Reason::Expired)),
        (NOW - 61, Some(Reason::NotYet)),
    ] {
        assert_eq!(stage.at(&token, now).await.err().map(|refused| refused.reason), expected, "{now}");
    }
}

/// A change of the issuer's settings, a change of the token, and what is to come of both.
struct Mapping {
    name: &'static str,
    settings: fn(&mut Issuer),
    token: fn(Draft) -> Draft,
    expected: fn(&Caller) -> bool,
}

const MAPPINGS: [Mapping; 17] = [
    Mapping {
        name: "the principal is an address",
        settings: |issuer| issuer.principal_claim = "email".to_owned(),
        token: |draft| draft.claim("email", "alice@corp.example").claim("email_verified", true),
        expected: |caller| caller.principal.id == "alice@corp.example",
    },
    Mapping {
        name: "a client for itself has no address and is named by `sub`",
        settings: |issuer| issuer.principal_claim = "email".to_owned(),
        token: |draft| draft.claim("sub", "editor"),
        expected: |caller| acts_for_itself(caller, "editor"),
    },
    Mapping {
        name: "groups below other claims",
        settings: |issuer| issuer.groups_claim = Some("realm_access.roles".to_owned()),
        token: |draft| draft.claim("realm_access", json!({ "roles": ["a b", "c"] })),
        expected: |caller| caller.groups == ["a b", "c"],
    },
    Mapping {
        name: "groups in a claim whose name has dots",
        settings: |issuer| issuer.groups_claim = Some("https://corp.example/groups".to_owned()),
        token: |draft| draft.claim("https://corp.example/groups", json!(["a"])),
        expected: |caller| caller.groups == ["a"],
    },
    Mapping {
        name: "groups as words",
        settings: |_| {},
        token: |draft| draft.claim("groups", "a b"),
        expected: |caller| caller.groups == ["a", "b"],
    },
    Mapping {
        name: "no groups",
        settings: |_| {},
        token: |draft| draft.claim("groups", Value::Null),
        expected: |caller| caller.groups.is_empty(),
    },
    Mapping {
        name: "`sub` is the client",
        settings: |_| {},
        token: |draft| draft.claim("sub", "editor"),
        expected: |caller| acts_for_itself(caller, "editor"),
    },
    Mapping {
        name: "`idtyp` says app",
        settings: |_| {},
        token: |draft| draft.claim("idtyp", "app"),
        expected: |caller| acts_for_itself(caller, "alice"),
    },
    Mapping {
        name: "all are services",
        settings: |issuer| issuer.kind = KindRule::Services,
        token: |draft| draft,
        expected: |caller| acts_for_itself(caller, "alice"),
    },
    Mapping {
        name: "a claim says which are services",
        settings: |issuer| {
            issuer.kind = KindRule::Claim { name: "a.kind".to_owned(), value: "robot".to_owned() };
        },
        token: |draft| draft.claim("a", json!({ "kind": "robot" })),
        expected: |caller| acts_for_itself(caller, "alice"),
    },
    Mapping {
        name: "a login names the run",
        settings: |_| {},
        token: |draft| draft.claim("sid", "s-1"),
        expected: |caller| matches!(caller.run, RunName::Login(_)),
    },
    Mapping {
        name: "nothing names the run",
        settings: |_| {},
        token: |draft| draft.claim("jti", Value::Null),
        expected: |caller| caller.run == RunName::Unnamed,
    },
    Mapping {
        name: "scopes narrow if a prefix says so",
        settings: |issuer| issuer.scope_prefix = Some("tb:".to_owned()),
        token: |draft| draft.claim("scope", "openid tb:files tb:mail/read email"),
        expected: |caller| caller.scope == Scope::parse("files mail/read").unwrap(),
    },
    Mapping {
        name: "scopes of which none is ours allow nothing",
        settings: |issuer| issuer.scope_prefix = Some("tb:".to_owned()),
        token: |draft| draft.claim("scp", json!(["openid"])),
        expected: |caller| caller.scope == Scope::parse("").unwrap(),
    },
    Mapping {
        name: "an audience for all endpoints",
        settings: |issuer| issuer.audiences.push("api://tollbook".to_owned()),
        token: |draft| draft.claim("aud", json!(["x", "api://tollbook"])),
        expected: |_| true,
    },
    Mapping {
        name: "actors, the nearest first",
        settings: |_| {},
        token: |draft| {
            let act = json!({ "sub": "agent", "iss": "https://b.example", "act": { "sub": "cron" } });
            draft.claim("act", act)
        },
        expected: |caller| {
            let names: Vec<&str> = caller.actors.iter().map(|actor| actor.sub.as_str()).collect();
            names == ["agent", "cron"] && caller.actors[0].iss == "https://b.example"
        },
    },
    Mapping {
        name: "a nonce in an access token that has a scope",
        settings: |_| {},
        token: |draft| draft.claim("nonce", "x").claim("scope", "openid"),
        expected: |_| true,
    },
];

fn acts_for_itself(caller: &Caller, id: &str) -> bool {
    let Principal { kind, id: named, .. } = &caller.principal;
    *kind == PrincipalKind::Service && named == id
}

#[tokio::test]
async fn claims_are_read_as_the_issuer_is_configured() {
    for Mapping { name, settings, token, expected } in MAPPINGS {
        let stage = Stage::with(|all| settings(&mut all.issuers[0])).await;
        let caller = stage.bearer(&token(stage.draft()).sign(&stage.p256)).await;
        let caller = caller.unwrap_or_else(|refused| panic!("{name}: {refused}"));
        assert!(expected(&caller), "{name}: {caller:?}");
    }
}

#[tokio::test]
async fn a_login_is_one_run_for_a_client_and_another_for_another() {
    let stage = Stage::set().await;
    let run = async |sid: &str, jti: &str, client: &str| {
        let draft = stage.draft().claim("sid", sid).claim("jti", jti).claim("client_id", client);
        stage.bearer(&draft.sign(&stage.p256)).await.unwrap().run
    };
    let first = run("s-1", "t-1", "editor").await;
    assert_eq!(first, run("s-1", "t-2", "editor").await, "renewed");
    assert_ne!(first, run("s-2", "t-1", "editor").await, "another login");
    assert_ne!(first, run("s-1", "t-1", "shell").await, "another client");
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused_by_name() {
    let stage = Stage::set().await;
    for (change, expected) in [
        (
            (|s| s.public_url = "http://gate.example".to_owned()) as fn(&mut identity::Settings),
            "cannot be an issuer",
        ),
        (|s| s.public_url = format!("{GATE}/"), "cannot be an issuer"),
        (|s| s.public_url = format!("{GATE}/x"), "cannot be an issuer"),
        (|s| s.issuers.push(Issuer::new("http://idp.example")), "must be https"),
        (|s| s.issuers.push(Issuer::new("https://idp.example?x")), "neither a query"),
        (|s| s.issuers.push(Issuer::new("idp.example")), "no URL"),
        (|s| s.issuers.push(Issuer::new(GATE)), "Tollbook's own"),
        (|s| s.issuers.extend([Issuer::new("https://a.example"), Issuer::new("https://a.example")]), "twice"),
        (
            |s| s.issuers.push(Issuer { algorithms: vec![], ..Issuer::new("https://a.example") }),
            "must not be empty",
        ),
        (
            |s| s.issuers.push(Issuer { audiences: vec![" ".into()], ..Issuer::new("https://a.example") }),
            "audience",
        ),
        (
            |s| {
                s.issuers
                    .push(Issuer { keys: KeySource::Fixed("{}".into()), ..Issuer::new("https://a.example") });
            },
            "no key set",
        ),
        (
            |s| {
                s.issuers.push(Issuer {
                    keys: KeySource::At("http://a.example".into()),
                    ..Issuer::new("https://a.example")
                });
            },
            "must be https",
        ),
    ] {
        let mut settings = identity::Settings::new(GATE);
        change(&mut settings);
        let made = identity::Verifier::new(&settings, stage.state.clone(), stage.mint.clone());
        let text = made.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains(expected), "{expected}: {text}");
    }
}
