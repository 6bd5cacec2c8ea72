//! The right ways: log in, look, add somebody, log out.

use crate::made::{PASSWORD, Stage};

#[tokio::test]
async fn an_operator_logs_in_adds_another_one_and_logs_out() {
    let stage = Stage::set(None).await;
    let away = stage.send("GET /", "", "").await;
    assert!(away.status == 303 && away.head.contains("location: /login"), "{away:?}");
    let login = stage.send("GET /login", "", "").await;
    assert_eq!(login.status, 200);
    for header in [
        "content-security-policy: default-src 'none'; style-src 'self'; form-action 'self'",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "referrer-policy: same-origin",
    ] {
        assert!(login.head.contains(header), "{header}: {}", login.head);
    }
    assert!(!login.body.contains("<script") && login.body.contains("action=\"/login\""), "{}", login.body);
    assert_eq!(stage.send("GET /style.css", "", "").await.status, 200);

    let mira = stage.session("mira").await;
    let home = stage.send("GET /", &format!("cookie: {}\r\n", mira.cookie), "").await;
    assert!(home.status == 200 && home.body.contains("<b>mira</b>: admin."), "{home:?}");
    let added = stage.write("POST /api/v1/operators", &mira, r#"{"name":"ada","roles":["auditor"]}"#).await;
    assert_eq!(added.status, 201, "{added:?}");
    let added: serde_json::Value = serde_json::from_str(&added.body).unwrap();
    let link = added["link"].as_str().unwrap();
    let page = stage.send(&format!("GET {link}"), "", "").await;
    assert!(page.status == 200 && page.body.contains("<b>ada</b>"), "{page:?}");
    let body = "password=a+long+password&again=a+long+password";
    let differ = stage.send(&format!("POST {link}"), &stage.form(), "password=a+long+password&again=x").await;
    assert!(differ.status == 400 && differ.body.contains("differ"), "{differ:?}");
    let set = stage.send(&format!("POST {link}"), &stage.form(), body).await;
    assert!(set.status == 303 && set.head.contains("location: /login"), "{set:?}");
    let entered = stage.send("POST /login", &stage.form(), "name=Ada&password=a+long+password").await;
    assert!(entered.status == 303, "{entered:?}");
    assert!(entered.head.contains("; path=/; httponly; samesite=strict"), "{}", entered.head);

    let changed = stage.write("PUT /api/v1/operators", &mira, r#"{"name":"ada","roles":["viewer"]}"#).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(stage.write("POST /api/v1/operators/links", &mira, r#"{"name":"ada"}"#).await.status, 201);
    assert_eq!(stage.write("DELETE /api/v1/operators?name=ada", &mira, "").await.status, 200);
    let list = stage.send("GET /api/v1/operators", &format!("cookie: {}\r\n", mira.cookie), "").await;
    assert!(list.body.contains(r#""name":"ada""#) && !list.body.contains("argon2"), "{}", list.body);
    let actions =
        stage.send("GET /api/v1/actions?limit=3", &format!("cookie: {}\r\n", mira.cookie), "").await;
    let actions: serde_json::Value = serde_json::from_str(&actions.body).unwrap();
    let what: Vec<&str> =
        actions["actions"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["operators.disable", "operators.link", "operators.roles"]);

    let out = format!("{}cookie: {}\r\n", stage.form(), mira.cookie);
    let left = stage.send("POST /logout", &out, &format!("csrf={}", mira.csrf)).await;
    assert!(left.status == 303 && left.head.contains("max-age=0"), "{left:?}");
    assert_eq!(stage.send("GET /", &format!("cookie: {}\r\n", mira.cookie), "").await.status, 303);
    let noted = stage.noted().join("\n");
    for expected in [
        "operator:local:mira operators.login operator:local:mira done",
        "operator:local:mira operators.add operator:local:ada done: auditor",
        "operator:local:ada operators.setup operator:local:ada done",
        "operator:local:mira operators.roles operator:local:ada done: viewer",
        "operator:local:mira operators.disable operator:local:ada done",
        "operator:local:mira operators.logout operator:local:mira done",
    ] {
        assert!(noted.contains(expected), "{expected} in\n{noted}");
    }
    assert!(!noted.contains(PASSWORD) && !noted.contains("a long password"), "{noted}");
}

#[tokio::test]
async fn behind_tls_the_cookie_is_bound_to_it() {
    let stage = Stage::set(Some("https://ops.example")).await;
    let headers = "host: ops.example\r\norigin: https://ops.example\r\n\
                   content-type: application/x-www-form-urlencoded\r\n";
    let body = format!("name=mira&password={}", PASSWORD.replace(' ', "+"));
    let told = stage.send("POST /login", headers, &body).await;
    assert!(told.head.contains("set-cookie: __host-tollbook-console="), "{told:?}");
    assert!(told.head.contains("; path=/; httponly; samesite=strict; secure"), "{told:?}");
    assert_eq!(stage.send("GET /healthz", "", "").await.status, 200, "its own address still does");
}
