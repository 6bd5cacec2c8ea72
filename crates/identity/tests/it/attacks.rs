//! Tokens and keys that must not count, each refused for its own reason and with its own code, and nothing of them told.

use identity::{Code, Credentials, Issuer, KeySource, Reason, RunKey, Scope, TokenType, Under};
use serde_json::{Value, json};

use crate::made::{FILES, GATE, MAIL, NOW, Stage, authorization, logged};
use crate::signing::{Pair, b64, set, with};

/// What is in every token that is presented, and must be in nothing that comes out.
const CANARY: &str = "canary-5d1f";

/// A key of 1024 bits, and a token that it has signed.
const WEAK_MODULUS: &str = "wuJrOJ8dHfE2XhYuiQqm-1Usjbei2d-Rc5s11nmZ-hGdzbLRs2B6o1YV7XQkgL51mSWWQzpNzZG18Lw1gdCzZfxtb139njUGs7q7paU4dsqQz1hYf7ED4NNbWZiUWWNzyhxrTbKAq9tKVOsDDc5k_5vWzlkXatvX81WUEn29gAk";
const WEAK_TOKEN: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6IndlYWsiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL3dlYWsuZXhhbXBsZSIsInN1YiI6ImFsaWNlIiwiYXVkIjoiaHR0cHM6Ly9nYXRlLmV4YW1wbGUvbWNwL2ZpbGVzIiwiaWF0IjoxNzk5OTk5OTkwLCJleHAiOjE4MDAwMDAzMDB9.T44bC-dvDwN40CGhOlngfrfvtonRRkbmUBnwBVs1nVVxbzEK4DDpNPV4yJojHdUhf9DD08qT7esFj4xVocj6j-0KK8af0aGU3dwZeRL70q-3mlNeZy2Lg4w8_oMcYF_73hLDKhYiQuW7nV2HpyTlHKcn2rDsZiMs1Lv-PgDM2v4";

/// Name, value of the `Authorization` header, expected reason.
struct Case(&'static str, String, Reason);

/// The stage, with two further issuers whose keys are fixed.
async fn stage(other: &Pair, p384: &Pair) -> Stage {
    let weak = json!({ "kty": "RSA", "kid": "weak", "n": WEAK_MODULUS, "e": "AQAB" });
    let keys = set(&[
        weak,
        p384.published("p384"),
        with(other.published("enc"), &[("use", json!("enc"))]),
        with(other.published("bound"), &[("alg", json!("PS256"))]),
        with(other.published("listed"), &[("key_ops", json!(["sign"]))]),
        json!({ "kty": "oct", "kid": "shared", "k": b64("secret") }),
    ]);
    Stage::with(|settings| {
        let first = settings.issuers[0].clone();
        settings.issuers.push(Issuer { keys: KeySource::Fixed(keys), ..Issuer::new("https://weak.example") });
        settings.issuers.push(Issuer {
            algorithms: vec![identity::Algorithm::Rs256],
            types: vec![TokenType::AccessToken],
            principal_claim: "email".to_owned(),
            keys: KeySource::Fixed(set(&[p384.published("p384"), other.published("rsa")])),
            ..first
        });
        settings.issuers[2].url = "https://strict.example".to_owned();
    })
    .await
}

#[tokio::test]
async fn every_attack_is_refused_for_its_own_reason_and_nothing_of_it_is_told() {
    let (other, p384) = (Pair::rsa(), Pair::ec("P-384"));
    let stage = stage(&other, &p384).await;
    let mut cases = malformed(&stage);
    cases.extend(signed_wrongly(&stage, &other, &p384));
    cases.extend(claimed_wrongly(&stage));
    cases.extend(of_strict_issuers(&stage, &other, &p384));
    cases.extend(keys_and_runs(&stage));
    assert!(cases.len() >= 75, "{}", cases.len());
    for Case(name, value, expected) in cases {
        let headers = authorization(&value);
        let credentials = Credentials::of_request(&headers, "POST", FILES);
        let (told, log) = logged(stage.verifier.identify(&credentials, FILES, NOW)).await;
        let refused = match told {
            Err(refused) => refused,
            Ok(caller) => panic!("{name}: taken for {caller:?}"),
        };
        assert_eq!(refused.reason, expected, "{name}");
        let status = refused.code().status().as_u16();
        assert!([400, 401].contains(&status), "{name}: {status}");
        let text = format!("{refused} {refused:?} {log}");
        assert!(!text.contains(CANARY), "{name}: {text}");
        let secrets = value.split([' ', '.', '_']).skip(1).filter(|part| part.len() > 12);
        for part in secrets {
            assert!(!text.contains(part), "{name}: {part} in {text}");
        }
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn malformed(stage: &Stage) -> Vec<Case> {
    let good = stage.draft().claim("x", CANARY);
    let token = good.sign(&stage.p256);
    let mut parts = token.split('.');
    let (header, claims, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let long = "a".repeat(17 * 1024);
    let case = |name, token: String, reason| Case(name, bearer(&token), reason);
    vec![
        Case("no token", "Bearer ".to_owned(), Reason::Scheme),
        Case("no scheme", token.clone(), Reason::Scheme),
        Case("another scheme", format!("Basic {}", b64(CANARY)), Reason::Scheme),
        Case("two tokens", format!("Bearer {token} {token}"), Reason::Scheme),
        Case("a list", format!("Bearer {token},{token}"), Reason::Scheme),
        case("oversized", good.clone().claim("x", long).sign(&stage.p256), Reason::Oversized),
        case("one part", CANARY.to_owned(), Reason::Malformed),
        case("two parts", format!("{header}.{claims}"), Reason::Malformed),
        case("four parts", format!("{token}.{CANARY}"), Reason::Malformed),
        case("five parts, encrypted", format!("{token}.{CANARY}.x"), Reason::Malformed),
        case("padded", format!("{header}=.{claims}.{signature}"), Reason::Malformed),
        case("the other alphabet", format!("{header}.{claims}+/.{signature}"), Reason::Malformed),
        case("an empty part", format!(".{claims}.{signature}"), Reason::Json),
        case("no signature", format!("{header}.{claims}."), Reason::Signature),
        case("header is a list", format!("{}.{claims}.{signature}", b64("[]")), Reason::Json),
        case("claims are a text", format!("{header}.{}.{signature}", b64("\"x\"")), Reason::Json),
        case("`alg` twice", good.clone().header_twice("alg", &json!("none")).sign(&stage.p256), Reason::Json),
        case("`sub` twice", good.clone().claim_twice("sub", &json!("root")).sign(&stage.p256), Reason::Json),
        case("`aud` twice", good.clone().claim_twice("aud", &json!(FILES)).sign(&stage.p256), Reason::Json),
        case("not UTF-8", good.clone().raw_claims("{\"sub\":\"\\ud800\"}").sign(&stage.p256), Reason::Json),
        case("`crit`", good.clone().header("crit", json!(["exp"])).sign(&stage.p256), Reason::Critical),
        case("`crit`, empty", good.clone().header("crit", json!([])).sign(&stage.p256), Reason::Critical),
        case("`b64`", good.clone().header("b64", false).sign(&stage.p256), Reason::Critical),
        case("compressed", good.clone().header("zip", "DEF").sign(&stage.p256), Reason::Header),
        case("nested", good.clone().header("cty", "application/JWT").sign(&stage.p256), Reason::Header),
        case("`kid` is a number", good.clone().header("kid", 7).sign(&stage.p256), Reason::Header),
        case("`typ` is a list", good.clone().header("typ", json!(["JWT"])).sign(&stage.p256), Reason::Header),
        case("endless `kid`", good.header("kid", "k".repeat(300)).sign(&stage.p256), Reason::Header),
    ]
}

fn signed_wrongly(stage: &Stage, other: &Pair, p384: &Pair) -> Vec<Case> {
    let good = stage.draft().claim("x", CANARY);
    let rsa = good.clone().header("alg", "RS256").header("kid", "rsa");
    let weak = good.clone().claim("iss", "https://weak.example").header("alg", "RS256");
    let mallory = Pair::ec("P-256");
    let public = Pair::Hmac(stage.rsa.jwk().to_string().into_bytes());
    let case = |name, token: String, reason| Case(name, bearer(&token), reason);
    let signed = |name, draft: crate::signing::Draft, pair: &Pair, reason| {
        Case(name, bearer(&draft.sign(pair)), reason)
    };
    let unsigned = good.clone().header("alg", "none").sign(&stage.p256);
    let altered = {
        let token = good.sign(&stage.p256);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let claims = json!({ "iss": stage.idp.url, "sub": "root", "aud": FILES, "exp": NOW + 300 });
        format!("{header}.{}.{signature}", b64(claims.to_string()))
    };
    let ours = json!(mallory.jwk());
    let jku = format!("{}/mallory", stage.idp.url);
    vec![
        case("`alg` none", unsigned.clone(), Reason::AlgorithmUnknown),
        case(
            "`alg` none, no signature",
            unsigned.rsplit_once('.').unwrap().0.to_owned() + ".",
            Reason::AlgorithmUnknown,
        ),
        signed("`alg` NoNe", good.clone().header("alg", "NoNe"), &mallory, Reason::AlgorithmUnknown),
        signed("`alg` missing", good.clone().header("alg", Value::Null), &mallory, Reason::AlgorithmUnknown),
        signed(
            "HMAC with the public key",
            rsa.clone().header("alg", "HS256"),
            &public,
            Reason::AlgorithmUnknown,
        ),
        signed("RS256 claimed of HMAC", rsa.clone(), &public, Reason::Signature),
        signed("ES256K", good.clone().header("alg", "ES256K"), &mallory, Reason::AlgorithmUnknown),
        signed("a stranger's key", good.clone(), &mallory, Reason::Signature),
        signed("a stranger's RSA key", rsa.clone(), other, Reason::Signature),
        case("claims exchanged", altered, Reason::Signature),
        signed("PKCS#1 called PSS", rsa.clone().header("alg", "PS256"), &Pair::rsa(), Reason::Signature),
        signed("EC key for RSA", good.clone().header("alg", "RS256"), stage.rsa, Reason::KeyUnfit),
        signed("curve of another algorithm", good.clone().header("alg", "ES384"), p384, Reason::KeyUnfit),
        signed("Ed25519 key for ES256", good.clone().header("kid", "ed"), &stage.p256, Reason::KeyUnfit),
        signed("unknown `kid`", good.clone().header("kid", CANARY), &mallory, Reason::KeyUnknown),
        signed(
            "`kid` is a path",
            good.clone().header("kid", "../../../../dev/null"),
            &mallory,
            Reason::KeyUnknown,
        ),
        signed(
            "`kid` is SQL",
            good.clone().header("kid", "x' UNION SELECT 'k"),
            &mallory,
            Reason::KeyUnknown,
        ),
        signed("`kid` is a URL", good.clone().header("kid", jku.clone()), &mallory, Reason::KeyUnknown),
        signed("`kid` is empty", good.clone().header("kid", ""), &mallory, Reason::KeyUnknown),
        signed("`jwk` in the header", good.clone().header("jwk", ours), &mallory, Reason::KeyInHeader),
        signed("`jku` in the header", good.clone().header("jku", jku.clone()), &mallory, Reason::KeyInHeader),
        signed("`x5u` in the header", good.clone().header("x5u", jku), &mallory, Reason::KeyInHeader),
        case("RSA of 1024 bits", WEAK_TOKEN.to_owned(), Reason::KeyUnknown),
        signed("a key for encryption", weak.clone().header("kid", "enc"), other, Reason::KeyUnknown),
        signed("a key of another `alg`", weak.clone().header("kid", "bound"), other, Reason::KeyUnfit),
        signed("a key that may not verify", weak.clone().header("kid", "listed"), other, Reason::KeyUnknown),
        signed("a shared secret", weak.header("kid", "shared"), other, Reason::KeyUnknown),
    ]
}

fn claimed_wrongly(stage: &Stage) -> Vec<Case> {
    let good = stage.draft().claim("x", CANARY);
    let with = |name, claim, value: Value, reason| {
        Case(name, bearer(&good.clone().claim(claim, value).sign(&stage.p256)), reason)
    };
    let idp = &stage.idp.url;
    vec![
        with("no issuer", "iss", Value::Null, Reason::Issuer),
        with("another issuer", "iss", json!(format!("https://{CANARY}.example")), Reason::Issuer),
        with("an issuer that begins so", "iss", json!(format!("{idp}.evil.example")), Reason::Issuer),
        with("an issuer with a slash more", "iss", json!(format!("{idp}/")), Reason::Issuer),
        with("an issuer that is a list", "iss", json!([idp]), Reason::Issuer),
        with("no audience", "aud", Value::Null, Reason::Claim("aud")),
        with("no audience in the list", "aud", json!([]), Reason::Claim("aud")),
        with("an audience that is a number", "aud", json!([FILES, 7]), Reason::Claim("aud")),
        with("another resource's token", "aud", json!(MAIL), Reason::Audience),
        with("an audience that begins so", "aud", json!(format!("{FILES}2")), Reason::Audience),
        with("the audience's beginning", "aud", json!(GATE), Reason::Audience),
        with("the audience in capitals", "aud", json!(FILES.to_uppercase()), Reason::Audience),
        with("the client as audience", "aud", json!("editor"), Reason::Audience),
        with("expired", "exp", json!(NOW - 60), Reason::Expired),
        with("no end", "exp", Value::Null, Reason::Claim("exp")),
        with("an end that is a text", "exp", json!("1900000000"), Reason::Claim("exp")),
        with("an end before all time", "exp", json!(-1), Reason::Claim("exp")),
        with("an end beyond all time", "exp", json!(1e300), Reason::Claim("exp")),
        with("not valid yet", "nbf", json!(NOW + 61), Reason::NotYet),
        with("issued in the future", "iat", json!(NOW + 61), Reason::IssuedInFuture),
        with("no principal", "sub", Value::Null, Reason::PrincipalClaim),
        with("an empty principal", "sub", json!(" "), Reason::PrincipalClaim),
        with("a principal that is a number", "sub", json!(7), Reason::Claim("sub")),
        with("a principal with a line end", "sub", json!("alice\nroot"), Reason::PrincipalClaim),
        with("a principal written backwards", "sub", json!("ecila\u{202e}"), Reason::PrincipalClaim),
        with("an endless principal", "sub", json!("a".repeat(300)), Reason::PrincipalClaim),
        with("groups that are a number", "groups", json!(7), Reason::GroupsClaim),
        with("groups of groups", "groups", json!([["eng"]]), Reason::GroupsClaim),
        with("endless actors", "act", endless(20), Reason::Claim("act")),
        with("an actor without a name", "act", json!({ "iss": "x" }), Reason::Claim("act")),
        with("bound by certificate", "cnf", json!({ "x5t#S256": "x" }), Reason::Confirmation),
        with("bound in two ways", "cnf", json!({ "jkt": "x", "x5t#S256": "x" }), Reason::Confirmation),
        with("bound, without a proof", "cnf", json!({ "jkt": "x" }), Reason::ProofMissing),
        with("an ID token", "at_hash", json!("x"), Reason::NotAccessToken),
        with("an ID token with a nonce", "nonce", json!("x"), Reason::NotAccessToken),
        with("a token that calls itself ID", "typ", json!("ID"), Reason::NotAccessToken),
        with("a refresh token", "typ", json!("Refresh"), Reason::NotAccessToken),
        with("a logout token", "events", json!({}), Reason::NotAccessToken),
    ]
}

fn of_strict_issuers(stage: &Stage, other: &Pair, p384: &Pair) -> Vec<Case> {
    let good = stage
        .draft()
        .claim("iss", "https://strict.example")
        .claim("email", "alice@corp.example")
        .header("typ", "at+jwt")
        .header("alg", "RS256")
        .header("kid", "rsa");
    let signed = |name, draft: crate::signing::Draft, reason| Case(name, bearer(&draft.sign(other)), reason);
    vec![
        Case(
            "an algorithm that is not listed",
            bearer(&good.clone().header("alg", "ES384").header("kid", "p384").sign(p384)),
            Reason::AlgorithmNotAllowed,
        ),
        signed("a type that is not listed", good.clone().header("typ", "JWT"), Reason::Type),
        signed("no type", good.clone().header("typ", Value::Null), Reason::Type),
        signed("a proof as a token", good.clone().header("typ", "dpop+jwt"), Reason::Type),
        signed("no `jti` in an `at+jwt`", good.clone().claim("jti", Value::Null), Reason::Claim("jti")),
        signed("no `iat` in an `at+jwt`", good.clone().claim("iat", Value::Null), Reason::Claim("iat")),
        signed(
            "no client in an `at+jwt`",
            good.clone().claim("client_id", Value::Null),
            Reason::Claim("client_id"),
        ),
        signed("an address not verified", good.clone().claim("email_verified", false), Reason::Unverified),
        signed("no address", good.clone().claim("email", Value::Null), Reason::PrincipalClaim),
        signed(
            "groups left out as too many",
            good.clone().claim("groups", Value::Null).claim("_claim_names", json!({ "groups": "src1" })),
            Reason::GroupsElsewhere,
        ),
        signed(
            "groups left out, older form",
            good.claim("groups", Value::Null).claim("hasgroups", true),
            Reason::GroupsElsewhere,
        ),
    ]
}

fn keys_and_runs(stage: &Stage) -> Vec<Case> {
    let mint = |order| stage.mint.mint(order, NOW).unwrap();
    let key = stage.key();
    let text = key.secret.reveal().to_owned();
    let gone = stage.key();
    stage.state.revoke_key(&gone.key.id, NOW).unwrap();
    let stranger = {
        let folder = tempfile::tempdir().unwrap();
        let state = std::sync::Arc::new(store::state::State::open(folder.path()).unwrap());
        let key = RunKey::open(folder.path()).unwrap();
        identity::Mint::new(state, key, GATE, identity::RunLimits::default())
            .mint(stage.order(), NOW)
            .unwrap()
    };
    let forgotten = {
        // The same key, another state: a run that the state does not know.
        let folder = tempfile::tempdir().unwrap();
        let state = std::sync::Arc::new(store::state::State::open(folder.path()).unwrap());
        let key = RunKey::open(stage.folder.path()).unwrap();
        identity::Mint::new(state, key, GATE, identity::RunLimits::default())
            .mint(stage.order(), NOW)
            .unwrap()
    };
    let revoked = mint(stage.order());
    stage.mint.revoke(revoked.run.id, "ops", NOW).unwrap();
    let parent = mint(stage.order());
    let child = mint(identity::RunOrder { under: Under::Run(parent.run.id), ..stage.order() });
    stage.mint.revoke(parent.run.id, "ops", NOW).unwrap();
    let elsewhere = mint(identity::RunOrder { audience: vec![MAIL.to_owned()], ..stage.order() });
    let bound = mint(identity::RunOrder { bound: Some("x".to_owned()), ..stage.order() });
    let nothing = mint(identity::RunOrder { scope: Scope::parse("").unwrap(), ..stage.order() });
    let forged = stage.draft().claim("iss", GATE).claim("run", nothing.run.id.to_string());
    let case = |name, token: &str, reason| Case(name, bearer(token), reason);
    vec![
        case("a key without its end", text.split_at(text.len() - 1).0, Reason::KeyForm),
        case("a key mistyped", &text.replace("tbk_", "tbk_x"), Reason::KeyForm),
        case("half a key", "tbk_aaaaaaaa", Reason::KeyForm),
        case("a key revoked", gone.secret.reveal(), Reason::KeyRevoked),
        Case("a key with the `DPoP` scheme", format!("DPoP {text}"), Reason::NotBound),
        Case("no proof, `DPoP` scheme", format!("DPoP {}", stage.token()), Reason::NotBound),
        case("another gateway's run", stranger.token.reveal(), Reason::KeyUnknown),
        case("a run that is not kept", forgotten.token.reveal(), Reason::RunUnknown),
        case("a run revoked", revoked.token.reveal(), Reason::RunRevoked),
        case("a child of a run revoked", child.token.reveal(), Reason::ParentEnded),
        case("a run for another endpoint", elsewhere.token.reveal(), Reason::Audience),
        case("a bound run without a proof", bound.token.reveal(), Reason::ProofMissing),
        case("a run of the provider's making", &forged.sign(&stage.p256), Reason::Type),
        case("the same, as `at+jwt`", &forged.header("typ", "at+jwt").sign(&stage.p256), Reason::KeyUnknown),
    ]
}

/// Actors behind each other.
fn endless(depth: usize) -> Value {
    (0..depth).fold(json!({ "sub": "a" }), |within, _| json!({ "sub": "a", "act": within }))
}

#[tokio::test]
async fn requests_that_present_nothing_or_too_much() {
    let stage = Stage::set().await;
    let good = format!("Bearer {}", stage.token());
    let twice = {
        let mut headers = authorization(&good);
        headers.append("authorization", good.parse().unwrap());
        headers
    };
    let proofs = {
        let mut headers = authorization(&good);
        headers.append("dpop", "a".parse().unwrap());
        headers.append("dpop", "b".parse().unwrap());
        headers
    };
    let query = format!("{FILES}?x=1&access%5ftoken={}", stage.token());
    for (name, headers, url, reason, code) in [
        ("nothing", http::HeaderMap::new(), FILES, Reason::NoCredentials, Code::Missing),
        ("two tokens", twice, FILES, Reason::SeveralCredentials, Code::InvalidRequest),
        ("two proofs", proofs, FILES, Reason::SeveralCredentials, Code::InvalidRequest),
        ("in the query", http::HeaderMap::new(), query.as_str(), Reason::TokenInQuery, Code::InvalidRequest),
        (
            "in the query too",
            authorization(&good),
            query.as_str(),
            Reason::TokenInQuery,
            Code::InvalidRequest,
        ),
    ] {
        let credentials = Credentials::of_request(&headers, "POST", url);
        let refused = stage.verifier.identify(&credentials, FILES, NOW).await.unwrap_err();
        assert_eq!((refused.reason, refused.code()), (reason, code), "{name}");
    }
}
