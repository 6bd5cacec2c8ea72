//! Wrong turns: each is refused, each is noted, and no secret is in a note.

use std::sync::atomic::Ordering;

use crate::made::{NOW, PASSWORD, Session, Stage};

/// Every route of the API, and who is refused.
const ROUTES: [(&str, &str); 14] = [
    ("GET /api/v1/me", "nobody"),
    ("GET /api/v1/operators", "viewer"),
    ("POST /api/v1/operators", "viewer"),
    ("PUT /api/v1/operators", "viewer"),
    ("DELETE /api/v1/operators?name=mira", "viewer"),
    ("POST /api/v1/operators/links", "viewer"),
    ("GET /api/v1/actions", "viewer"),
    ("GET /api/v1/approvals", "nobody"),
    ("GET /api/v1/approvals/changes?wait=0", "nobody"),
    (HELD, "nobody"),
    ("POST /api/v1/approvals/hold_00000000000000000000000000000001/grant", "viewer"),
    ("POST /api/v1/approvals/hold_00000000000000000000000000000001/refuse", "viewer"),
    ("POST /api/v1/approvals/hold_00000000000000000000000000000001/withdraw", "viewer"),
    ("POST /api/v1/approvals/hold_00000000000000000000000000000001/prolong", "viewer"),
];

/// One that is not there.
const HELD: &str = "GET /api/v1/approvals/hold_00000000000000000000000000000001";

/// Moves on, so that what follows is noted again.
fn later() {
    NOW.fetch_add(1, Ordering::SeqCst);
}

#[tokio::test]
async fn logins_that_are_none() {
    let stage = Stage::set(None).await;
    let form = stage.form();
    let own = format!("origin: http://{}\r\n", stage.address);
    let kind = "content-type: application/x-www-form-urlencoded\r\n";
    let right = format!("name=mira&password={}", PASSWORD.replace(' ', "+"));
    let long = "x".repeat(17 << 10);
    let nearly = "x".repeat(15 << 10);
    let port = stage.address.port();
    let other = port.wrapping_add(1);
    // What is sent, what is answered, and what is noted of it.
    let cases: Vec<(&str, String, String, u16, &str)> = vec![
        (
            "a wrong password",
            form.clone(),
            "name=mira&password=wrung".into(),
            401,
            "operator:local:mira refused",
        ),
        ("no password", form.clone(), "name=mira&password=".into(), 401, "operator:local:mira refused"),
        (
            "an unknown name",
            form.clone(),
            "name=eve&password=correct+horse+battery".into(),
            401,
            "an unknown name",
        ),
        (
            "an identity as name",
            form.clone(),
            right.replace("mira", "operator:local:mira"),
            401,
            "an unknown name",
        ),
        ("a long name", form.clone(), format!("name={nearly}&password=x"), 401, "an unknown name"),
        ("a long password", form.clone(), format!("name=mira&password={nearly}"), 401, "an unknown name"),
        ("a zero in the name", form.clone(), right.replace("mira", "mira%00"), 401, "an unknown name"),
        ("no origin", kind.into(), right.clone(), 403, "POST /login refused"),
        (
            "origin null",
            format!("origin: null\r\n{kind}"),
            right.clone(),
            403,
            "nobody operators.forbidden POST /login refused",
        ),
        (
            "a stranger's origin",
            format!("origin: https://evil.example\r\n{kind}"),
            right.clone(),
            403,
            "nobody operators.forbidden POST /login refused",
        ),
        (
            "another port",
            format!("origin: http://127.0.0.1:{other}\r\n{kind}"),
            right.clone(),
            403,
            "POST /login refused",
        ),
        (
            "another name of this machine",
            format!("origin: http://localhost:{port}\r\n{kind}"),
            right.clone(),
            403,
            "POST /login refused",
        ),
        (
            "https that is none",
            format!("origin: https://{}\r\n{kind}", stage.address),
            right.clone(),
            403,
            "nobody operators.forbidden POST /login refused",
        ),
        ("two origins", format!("{own}{own}{kind}"), right.clone(), 403, "POST /login refused"),
        (
            "a stranger's host",
            format!("host: evil.example\r\norigin: http://evil.example\r\n{kind}"),
            right.clone(),
            403,
            "nobody operators.forbidden POST /login refused",
        ),
        (
            "two hosts",
            format!("host: {0}\r\nhost: evil.example\r\n{own}{kind}", stage.address),
            right.clone(),
            403,
            "nobody operators.forbidden POST /login refused",
        ),
        ("no form", own.clone(), right.clone(), 400, "nobody operators.forbidden POST /login refused"),
        (
            "plain text",
            format!("{own}content-type: text/plain\r\n"),
            right.clone(),
            400,
            "nobody operators.forbidden POST /login refused",
        ),
        (
            "JSON",
            format!("{own}content-type: application/json\r\n"),
            r#"{"name":"mira"}"#.into(),
            400,
            "nobody operators.forbidden POST /login refused",
        ),
        (
            "two names",
            form.clone(),
            format!("name=noor&{right}"),
            400,
            "nobody operators.forbidden POST /login refused",
        ),
        ("no fields", form.clone(), String::new(), 400, "nobody operators.forbidden POST /login refused"),
        ("too much", form.clone(), long, 413, "nobody operators.forbidden POST /login refused"),
    ];
    for (case, headers, body, status, expected) in cases {
        later();
        let before = stage.noted().len();
        let told = stage.send("POST /login", &headers, &body).await;
        assert_eq!(told.status, status, "{case}: {told:?}");
        assert!(!told.head.contains("set-cookie"), "{case}: {told:?}");
        let noted = stage.noted().split_off(before).join("\n");
        assert!(noted.contains(expected), "{case}: {noted}");
        assert!(
            !noted.contains("wrung") && !noted.contains("horse") && !noted.contains("xxx"),
            "{case}: {noted}"
        );
    }
    for _ in 0..6 {
        stage.send("POST /login", &form, "name=mira&password=wrung").await;
    }
    let told = stage.send("POST /login", &form, &right).await;
    assert!(told.status == 429 && told.head.contains("retry-after:"), "{told:?}");
}

#[tokio::test]
async fn links_that_do_not_hold() {
    let stage = Stage::set(None).await;
    let now = NOW.load(Ordering::SeqCst);
    let link = |name: &str| {
        let link = identity::operators::link(&stage.state, name, now).unwrap();
        link.secret.reveal().to_owned()
    };
    let body = "password=another+password&again=another+password";
    let (replaced, used) = (link("noor"), link("noor"));
    let set = stage.send(&format!("POST /setup/{used}"), &stage.form(), body).await;
    assert_eq!(set.status, 303, "{set:?}");
    let fresh = link("mira");
    let altered = format!("-{}", fresh.get(1..).unwrap());
    for (case, secret) in [
        ("replaced", replaced.as_str()),
        ("used", &used),
        ("altered", &altered),
        ("none", ""),
        ("a path", "../login"),
        ("longer", &format!("{fresh}0")),
        ("another case", &fresh.to_lowercase()),
    ] {
        later();
        let before = stage.noted().len();
        assert_eq!(stage.send(&format!("GET /setup/{secret}"), "", "").await.status, 404, "{case}");
        let told = stage.send(&format!("POST /setup/{secret}"), &stage.form(), body).await;
        assert_eq!(told.status, 404, "{case}: {told:?}");
        let noted = stage.noted().split_off(before).join("\n");
        assert!(noted.contains("nobody operators.setup an unknown link refused"), "{case}: {noted}");
        assert!(secret.is_empty() || !noted.contains(secret), "{case}: {noted}");
    }
    later();
    let strange = "origin: https://evil.example\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    assert_eq!(stage.send(&format!("POST /setup/{fresh}"), strange, body).await.status, 403);
    let no_origin = "content-type: application/x-www-form-urlencoded\r\n";
    assert_eq!(stage.send(&format!("POST /setup/{fresh}"), no_origin, body).await.status, 403);
    for (case, body) in [
        ("short", "password=short&again=short"),
        ("the name", "password=mira&again=mira"),
        ("one field", "password=another+password"),
        ("two of one", "password=another+password&password=x&again=another+password"),
    ] {
        let told = stage.send(&format!("POST /setup/{fresh}"), &stage.form(), body).await;
        assert_eq!(told.status, 400, "{case}: {told:?}");
    }
    NOW.fetch_add(3600, Ordering::SeqCst);
    let late = stage.send(&format!("POST /setup/{fresh}"), &stage.form(), body).await;
    assert_eq!(late.status, 404, "an hour later");
    let noted = stage.noted().join("\n");
    assert!(noted.contains("nobody operators.forbidden POST /setup/… refused"), "{noted}");
    assert!(!noted.contains(&fresh), "{noted}");
}

#[tokio::test]
async fn sessions_that_are_over_or_somebody_elses() {
    let stage = Stage::set(None).await;
    let (mira, noor) = (stage.session("mira").await, stage.session("noor").await);
    let me = async |cookies: &str| stage.send("GET /api/v1/me", &format!("{cookies}\r\n"), "").await.status;
    assert_eq!(me(&format!("cookie: {}", mira.cookie)).await, 200);
    let secret = mira.cookie.split_once('=').unwrap().1;
    for (case, cookies) in [
        ("none", "x-y: z".to_owned()),
        ("empty", "cookie: tollbook-console=".to_owned()),
        ("another name", format!("cookie: tollbook-login={secret}")),
        ("the name for TLS", format!("cookie: __Host-tollbook-console={secret}")),
        ("two", format!("cookie: tollbook-console=x; {}", mira.cookie)),
        ("two lines", format!("cookie: {}\r\ncookie: {}", mira.cookie, noor.cookie)),
        ("in quotes", format!("cookie: tollbook-console=\"{secret}\"")),
        ("another case", format!("cookie: {}", mira.cookie.to_uppercase())),
        ("a bearer token", format!("authorization: Bearer {secret}")),
    ] {
        assert_eq!(me(&cookies).await, 401, "{case}");
    }
    assert_eq!(stage.send(&format!("GET /api/v1/me?tollbook-console={secret}"), "", "").await.status, 401);

    let body = r#"{"name":"eve","roles":["admin"]}"#;
    let own = format!("origin: http://{}\r\ncookie: {}\r\n", stage.address, mira.cookie);
    for (case, headers) in [
        ("no token", own.clone()),
        ("an empty token", format!("{own}x-csrf-token: \r\n")),
        ("another session's token", format!("{own}x-csrf-token: {}\r\n", noor.csrf)),
        ("the session's secret", format!("{own}x-csrf-token: {secret}\r\n")),
        ("no origin", format!("cookie: {}\r\nx-csrf-token: {}\r\n", mira.cookie, mira.csrf)),
        ("another port", {
            let own = "origin: http://127.0.0.1:1\r\n";
            format!("{own}cookie: {}\r\nx-csrf-token: {}\r\n", mira.cookie, mira.csrf)
        }),
    ] {
        later();
        let told = stage.send("POST /api/v1/operators", &headers, body).await;
        assert_eq!(told.status, 403, "{case}: {told:?}");
        let noted = stage.noted().pop().unwrap();
        let expected = "operator:local:mira operators.forbidden POST /api/v1/operators refused";
        assert!(noted.starts_with(expected), "{case}: {noted}");
    }
    later();
    let out = format!("{}cookie: {}\r\n", stage.form(), mira.cookie);
    for csrf in [String::new(), format!("csrf={}", noor.csrf), "csrf=".to_owned()] {
        assert_eq!(stage.send("POST /logout", &out, &csrf).await.status, 403, "{csrf}");
    }
    assert_eq!(me(&format!("cookie: {}", mira.cookie)).await, 200, "nobody logged her out");

    assert_eq!(stage.send("POST /logout", &out, &format!("csrf={}", mira.csrf)).await.status, 303);
    assert_eq!(me(&format!("cookie: {}", mira.cookie)).await, 401, "after logout");
    identity::operators::set_roles(&stage.state, "noor", &[identity::operators::Role::Viewer]).unwrap();
    assert_eq!(me(&format!("cookie: {}", noor.cookie)).await, 401, "after a change of roles");
    let noor = stage.session("noor").await;
    identity::operators::disable(&stage.state, "noor", NOW.load(Ordering::SeqCst)).unwrap();
    assert_eq!(me(&format!("cookie: {}", noor.cookie)).await, 401, "after disabling");
    let mira = stage.session("mira").await;
    NOW.fetch_add(1800, Ordering::SeqCst);
    assert_eq!(me(&format!("cookie: {}", mira.cookie)).await, 401, "after half an hour");
    let noted = stage.noted().join("\n");
    assert!(!noted.contains(secret) && !noted.contains(&noor.csrf), "{noted}");
}

#[tokio::test]
async fn every_route_asks_for_a_session_and_its_role() {
    let stage = Stage::set(None).await;
    let noor = stage.session("noor").await;
    let nobody = Session { cookie: String::new(), csrf: noor.csrf.clone() };
    let body = r#"{"name":"noor","roles":["admin"]}"#;
    for (line, refused) in ROUTES {
        later();
        let told = stage.write(line, &nobody, body).await;
        assert_eq!(told.status, 401, "{line}: {told:?}");
        assert!(told.head.contains("application/problem+json"), "{line}: {told:?}");
        let told = stage.write(line, &noor, body).await;
        let permitted = if line == HELD { 404 } else { 200 };
        assert_eq!(told.status, if refused == "viewer" { 403 } else { permitted }, "{line}: {told:?}");
        if refused == "viewer" {
            let noted = stage.noted().pop().unwrap();
            assert!(noted.starts_with("operator:local:noor operators.forbidden "), "{line}: {noted}");
        }
    }
    let mira = stage.session("mira").await;
    for (case, line, body, status) in [
        ("an unknown role", "POST /api/v1/operators", r#"{"name":"eve","roles":["root"]}"#, 400),
        ("no role", "POST /api/v1/operators", r#"{"name":"eve"}"#, 400),
        (
            "another member",
            "POST /api/v1/operators",
            r#"{"name":"eve","roles":["viewer"],"password":"x"}"#,
            400,
        ),
        ("no JSON", "POST /api/v1/operators", "name=eve", 400),
        ("a name with a colon", "POST /api/v1/operators", r#"{"name":"user:x:y","roles":["viewer"]}"#, 400),
        ("one that is there", "POST /api/v1/operators", r#"{"name":"NOOR","roles":["admin"]}"#, 409),
        ("nobody's roles", "PUT /api/v1/operators", r#"{"name":"eve","roles":["viewer"]}"#, 404),
        ("nobody", "DELETE /api/v1/operators?name=eve", "", 404),
        ("not said whom", "DELETE /api/v1/operators", "", 400),
        ("two at once", "DELETE /api/v1/operators?name=noor&name=mira", "", 400),
        ("nobody's link", "POST /api/v1/operators/links", r#"{"name":"eve"}"#, 404),
        ("another method", "PATCH /api/v1/operators", "", 405),
        ("another path", "GET /api/v1/nothing", "", 404),
        ("a path beneath", "GET /api/v1/operators/", "", 404),
        ("a path in other words", "GET /api/v1/../v1/me", "", 404),
    ] {
        let told = stage.write(line, &mira, body).await;
        assert_eq!(told.status, status, "{case}: {told:?}");
    }
    let long = format!("GET /api/v1/me?{}", "x".repeat(3 << 10));
    assert_eq!(stage.send(&long, "", "").await.status, 414);
    for (line, status) in
        [("POST /", 405), ("DELETE /login", 405), ("GET /logout", 405), ("GET /nothing", 404)]
    {
        let told = stage.write(line, &mira, "").await;
        assert_eq!(told.status, status, "{line}: {told:?}");
    }
    assert!(stage.state.operator("operator:local:eve").unwrap().is_none());
}
