//! Calls that wait for people, on their pages: what each of their ends looks like, and who is given buttons.

use std::sync::atomic::Ordering;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use identity::operators::{self, Operators, Role, RoleMap};
use ledger::Seq;
use store::state::{Bounds, HoldKey, Need, NewHold, Sought};

use crate::made::{NOW, PASSWORD, Session, Stage};

const PARAMS: &str = r#"{"name":"pay","arguments":{"to":"b\u202eob","amount":5,"<i>":"&"}}"#;

fn now() -> u64 {
    NOW.load(Ordering::SeqCst)
}

/// With approvers `ann` and `bob` in the group that is asked, and `cid` in another.
async fn stage() -> Stage {
    let stage = Stage::set(None).await;
    let operators = Operators::new(stage.state.clone(), RoleMap::default());
    for (name, group) in [("ann", "oncall"), ("bob", "oncall"), ("cid", "finance")] {
        let link = operators::add(&stage.state, name, &[Role::Approver], now()).unwrap().secret;
        operators.set_up(link.reveal(), None, identity::Secret::new(PASSWORD), now()).await.unwrap();
        operators::set_groups(&stage.state, name, &[group.to_owned()]).unwrap();
    }
    stage
}

/// A call that waits for so many people; gives its hold.
fn held(stage: &Stage, number: u128, people: u32) -> String {
    let id = format!("hold_{number:032x}");
    let seq = u64::try_from(number).unwrap();
    let params = PARAMS.replace("5", &number.to_string());
    let call = NewHold {
        id: id.clone(),
        key: HoldKey {
            principal: "user:mira (https://id.example)".to_owned(),
            run: "run_1".to_owned(),
            server: "bank".to_owned(),
            method: "tools/call".to_owned(),
            name: "pay".to_owned(),
            digest: policy::binding::digest(Some(&params), &[]).unwrap(),
        },
        needs: vec![Need { group: "oncall".to_owned(), count: people }],
        pin: None,
        requesters: vec!["bob".to_owned()],
        agent: Some("{\"name\":\"<b>bot</b>\",\"version\":\"1\"}".to_owned()),
        purpose: Some("to \u{202e}pay".to_owned()),
        reason: Some("payments move money".to_owned()),
        policies: vec!["large".to_owned()],
        deadline: now() + 1800,
    };
    let sought = stage.state.seek(&call, (|_| None, || true), &Bounds::default(), now()).unwrap();
    assert!(matches!(sought, Sought::Waits(_)), "{sought:?}");
    stage.state.hold_recorded(&id, Seq(seq)).unwrap();
    stage.gateway.0.lock().unwrap().insert(seq, params);
    id
}

async fn page(stage: &Stage, who: &Session, hold: &str) -> String {
    let told =
        stage.send(&format!("GET /approvals/{hold}"), &format!("cookie: {}\r\n", who.cookie), "").await;
    assert_eq!(told.status, 200, "{told:?}");
    assert!(told.head.contains("content-security-policy: default-src 'none'"), "{}", told.head);
    told.body
}

/// The value that a hidden field of the page has.
fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    let at = format!("name=\"{name}\" value=\"");
    page.split_once(&at).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(value, _)| value)
}

async fn press(stage: &Stage, who: &Session, hold: &str, body: &str) -> u16 {
    let headers = format!("{}cookie: {}\r\n", stage.form(), who.cookie);
    let body = format!("csrf={}&{body}", who.csrf);
    stage.send(&format!("POST /approvals/{hold}"), &headers, &body).await.status
}

#[tokio::test]
async fn a_card_shows_all_as_text_and_buttons_to_who_may_press_them() {
    let stage = stage().await;
    let hold = held(&stage, 5, 1);
    let ann = stage.session("ann").await;
    let card = page(&stage, &ann, &hold).await;
    for part in [
        "<b>&lt;b&gt;bot&lt;/b&gt; 1</b>, for <b>user:mira (https://id.example)</b>, wants <b class=\"tool\">bank/pay</b>",
        "b‹U+202E›ob",
        "to ‹U+202E›pay",
        "&lt;i&gt;",
        "payments move money",
        "Approve once",
        "Approve for this run",
        "name=\"any.&lt;i&gt;\"",
        "Refuse: The arguments are wrong.",
        "nobody has checked it",
    ] {
        assert!(card.contains(part), "{part} in {card}");
    }
    for part in ["<script", "<i>:", "autofocus", "\u{202e}", "http-equiv"] {
        assert!(!card.contains(part), "{part} in {card}");
    }
    for (who, why, sees) in [
        ("bob", "somebody else decides", true),
        ("cid", "None of your groups is asked", true),
        ("noor", "You are no approver", false),
        ("mira", "You are no approver", false),
    ] {
        let other = stage.session(who).await;
        let card = page(&stage, &other, &hold).await;
        assert!(card.contains(why) && !card.contains("Approve once"), "{who}: {card}");
        assert_eq!(
            (card.contains("U+202E›ob"), hidden(&card, "digest").is_empty()),
            (sees, true),
            "{who}: {card}"
        );
        let body = format!("decision=once&digest={}", hidden(&page(&stage, &ann, &hold).await, "digest"));
        let expected = if sees { 409 } else { 403 };
        assert_eq!(press(&stage, &other, &hold, &body).await, expected, "{who}");
    }
    let digest = hidden(&card, "digest").to_owned();
    for (case, body, status) in [
        ("nothing", String::new(), 422),
        ("another word", format!("decision=yes&digest={digest}"), 422),
        ("no digest", "decision=once".to_owned(), 409),
        ("another digest", format!("decision=run&digest={}", "A".repeat(43)), 409),
        ("no reason", "decision=refuse&reason=+".to_owned(), 422),
        ("two digests", format!("decision=once&digest={digest}&digest={digest}"), 400),
    ] {
        assert_eq!(press(&stage, &ann, &hold, &body).await, status, "{case}");
    }
    let alone = format!("{}cookie: {}\r\n", stage.form(), ann.cookie);
    let body = format!("decision=once&digest={digest}");
    assert_eq!(stage.send(&format!("POST /approvals/{hold}"), &alone, &body).await.status, 403, "no token");
    assert!(page(&stage, &ann, &hold).await.contains("<b>Waits</b>"), "nothing of that has decided anything");
    let list = stage.send("GET /approvals", &format!("cookie: {}\r\n", ann.cookie), "").await;
    assert!(list.body.contains(&format!("href=\"/approvals/{hold}\"")), "{list:?}");
    assert_eq!(press(&stage, &ann, &hold, &body).await, 303);
    let after = page(&stage, &ann, &hold).await;
    assert!(after.contains("<b>Approved</b>") && after.contains("content=\"3\""), "{after}");
    let noted = stage.noted().join("\n");
    for line in [
        "operator:local:ann approvals.read hold_00000000000000000000000000000005 done",
        "operator:local:ann approvals.grant hold_00000000000000000000000000000005 done",
        "operator:local:bob approvals.grant hold_00000000000000000000000000000005 refused: it was asked on your own behalf",
        "operator:local:ann approvals.grant-run hold_00000000000000000000000000000005 refused: they were not shown",
    ] {
        assert!(noted.contains(line), "{line} in\n{noted}");
    }
}

#[tokio::test]
async fn each_end_has_words_of_its_own() {
    let stage = stage().await;
    let ann = stage.session("ann").await;
    let [two, refused, withdrawn, revoked, wide, expired] = [11, 12, 13, 14, 15, 16].map(|number| {
        let people = if number == 11 { 2 } else { 1 };
        held(&stage, number, people)
    });
    let digest = async |hold: &str| hidden(&page(&stage, &ann, hold).await, "digest").to_owned();
    let once = format!("decision=once&digest={}", digest(&two).await);
    assert_eq!(press(&stage, &ann, &two, &once).await, 303);
    assert_eq!(press(&stage, &ann, &refused, "decision=refuse&ready=The+arguments+are+wrong.").await, 303);
    assert_eq!(press(&stage, &ann, &withdrawn, "decision=withdraw&reason=not+today").await, 303);
    let run = format!("decision=run&digest={}&any.to=on", digest(&wide).await);
    assert_eq!(press(&stage, &ann, &wide, &run).await, 303);
    assert_eq!(stage.state.hold(&wide).unwrap().unwrap().run_wide, Some(vec!["to".to_owned()]));
    stage.state.acting("tollbook", now()).end_holds_of("run_1", "the run was revoked", now()).unwrap();
    let late = held(&stage, 17, 1);
    NOW.fetch_add(1700, Ordering::SeqCst);
    let ann = stage.session("ann").await;
    NOW.fetch_add(100, Ordering::SeqCst);
    for (hold, words) in [
        (&two, "<b>Withdrawn</b>"),
        (&refused, "<b>Refused</b>"),
        (&withdrawn, "not today"),
        (&revoked, "the run was revoked"),
        (&expired, "the run was revoked"),
        (&late, "<b>Expired.</b> Nobody decided in time"),
    ] {
        let card = page(&stage, &ann, hold).await;
        assert!(card.contains(words) && !card.contains("Approve once"), "{words}: {card}");
        let body = format!("decision=once&digest={}", hidden(&card, "digest"));
        assert_eq!(press(&stage, &ann, hold, &body).await, 409, "{words}");
    }
    let late = format!("POST /api/v1/approvals/{late}/refuse");
    let told = stage.write(&late, &ann, r#"{"reason":"no"}"#).await;
    assert!(told.status == 409 && told.body.contains(r#""standing":"expired""#), "{told:?}");
    assert!(told.body.contains("it is expired already"), "{told:?}");
}

#[tokio::test]
async fn people_are_given_more_time_six_times() {
    let stage = stage().await;
    let [ann, bob] = [stage.session("ann").await, stage.session("bob").await];
    let hold = held(&stage, 18, 2);
    let ends = || stage.state.hold(&hold).unwrap().unwrap().deadline;
    let before = ends();
    assert!(!page(&stage, &bob, &hold).await.contains("more minutes"), "it is asked on their behalf");
    assert_eq!(press(&stage, &bob, &hold, "decision=prolong").await, 409);
    assert_eq!(ends(), before);
    assert_eq!(press(&stage, &ann, &hold, "decision=prolong").await, 303);
    assert_eq!(ends(), before + 600);
    let card = page(&stage, &ann, &hold).await;
    let body = format!("decision=once&digest={}", hidden(&card, "digest"));
    assert_eq!(press(&stage, &ann, &hold, &body).await, 303);
    let path = format!("POST /api/v1/approvals/{hold}/prolong");
    for wrong in ["", "10", r#"{"minutes":60}"#] {
        assert_eq!(stage.write(&path, &ann, wrong).await.status, 422, "{wrong}");
    }
    for times in 2..=6 {
        let card = page(&stage, &ann, &hold).await;
        assert!(card.contains("Give me 10 more minutes"), "who has approved may wait for others: {card}");
        let told = stage.write(&path, &ann, "{}").await;
        assert!(told.status == 200 && told.body.contains(r#""came":"prolonged""#), "{told:?}");
        assert!(told.body.contains(&format!(r#""prolonged":{times}"#)), "{told:?}");
    }
    assert_eq!(ends(), before + 3_600);
    assert!(!page(&stage, &ann, &hold).await.contains("more minutes"));
    let told = stage.write(&path, &ann, "{}").await;
    assert!(told.status == 409 && told.body.contains("as far as it can be"), "{told:?}");
    let noted = stage.noted().join("\n");
    assert!(noted.contains(&format!("ann approvals.prolong {hold} done: there is time until")), "{noted}");
    assert!(noted.contains(&format!("bob approvals.prolong {hold} refused")), "{noted}");
}

#[tokio::test]
async fn a_login_leads_back_to_what_was_wanted_and_nowhere_else() {
    let stage = stage().await;
    let path = format!("/approvals/{}", held(&stage, 5, 1));
    let away = stage.send(&format!("GET {path}"), "", "").await;
    let next = format!("/login?next={path}");
    assert!(away.status == 401 && away.body.contains(&format!("content=\"0;url={next}\"")), "{away:?}");
    let login = stage.send(&format!("GET {next}"), "", "").await;
    let cookie = format!("tollbook-way-back={path}");
    let line = format!("set-cookie: {cookie}; path=/; httponly; samesite=strict; max-age=600");
    assert!(login.status == 200 && login.head.contains(&line), "{login:?}");
    let ann = stage.session("ann").await;
    let home = stage.send("GET /", &format!("cookie: {}; {cookie}\r\n", ann.cookie), "").await;
    assert!(home.status == 303 && home.head.contains(&format!("location: {path}")), "{home:?}");
    assert!(
        home.head.contains("tollbook-way-back=; path=/; httponly; samesite=strict; max-age=0"),
        "{home:?}"
    );
    let known = stage.send(&format!("GET {next}"), &format!("cookie: {}\r\n", ann.cookie), "").await;
    assert!(known.status == 303 && known.head.contains(&format!("location: {path}")), "who has a session");
    for wrong in
        ["//evil.example", "https://evil.example", "/approvals/../logout", "/login", "%2f%2fevil.example"]
    {
        let login = stage.send(&format!("GET /login?next={wrong}"), "", "").await;
        assert!(login.status == 200 && !login.head.contains("set-cookie"), "{wrong}: {login:?}");
        let cookies = format!("cookie: {}; tollbook-way-back={wrong}\r\n", ann.cookie);
        let home = stage.send("GET /", &cookies, "").await;
        assert!(home.status == 200 && !home.head.contains("location"), "{wrong}: {home:?}");
    }
    for (line, allowed) in [("POST /approvals", "get, head"), (&*format!("PUT {path}"), "get, head, post")] {
        let told = stage.write(line, &ann, "").await;
        assert!(told.status == 405 && told.head.contains(&format!("allow: {allowed}\r\n")), "{told:?}");
    }
}

#[tokio::test]
async fn pages_and_changes_are_bounded() {
    let stage = stage().await;
    let ann = stage.session("ann").await;
    let ask = async |path: &str| {
        let told = stage.write(&format!("GET /api/v1/approvals{path}"), &ann, "").await;
        let value: serde_json::Value = serde_json::from_str(&told.body).unwrap();
        (told.status, value)
    };
    let since = ask("/changes").await.1["since"].as_u64().unwrap();
    assert_eq!(ask(&format!("/changes?since={since}&wait=0")).await.1["approvals"], serde_json::json!([]));
    let mut made: Vec<String> = (1..=5).map(|number| held(&stage, number, 1)).collect();
    let (_, changed) = ask(&format!("/changes?since={since}")).await;
    assert_eq!(changed["approvals"].as_array().unwrap().len(), 5);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = ask(&format!("?limit=2{after}")).await;
        let ids = page["approvals"].as_array().unwrap().iter();
        seen.extend(ids.map(|hold| hold["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    made.reverse();
    assert_eq!(seen, made, "newest first, each once");
    for path in
        ["?after=x", "?limit=many", "?which=none", "?limit=1&limit=2", "/changes?since=-1", "/changes?wait=x"]
    {
        assert_eq!(ask(path).await.0, 400, "{path}");
    }
    // As many as may wait do; the others are told to come again, at once.
    let now = ask("/changes").await.1["since"].as_u64().unwrap();
    let path = format!("GET /api/v1/approvals/changes?since={now}&wait=25");
    let mut answers: FuturesUnordered<_> = (0..20).map(|_| stage.write(&path, &ann, "")).collect();
    for _ in 0..4 {
        let told = answers.next().await.unwrap();
        assert!(told.status == 429 && told.head.contains("retry-after: 5"), "{told:?}");
    }
    held(&stage, 6, 1);
    while let Some(told) = answers.next().await {
        assert!(
            told.status == 200 && told.body.contains("hold_00000000000000000000000000000006"),
            "{told:?}"
        );
    }
}
