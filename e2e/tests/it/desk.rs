//! Calls that wait, decided over the console's API and its pages: by who may, on what they were shown, once.

use std::io::Write as _;
use std::process::{Command, Stdio};

use e2e::gateway::tollbook;
use e2e::http::exchange;
use e2e::peers::{node, repository};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::approvals::{Office, bank, call, id, now, seen};
use crate::callers::printed;
use crate::console::request;
use crate::operators::form;

const PASSWORD: &str = "correct horse battery";

/// Somebody at the console, and what they were answered.
pub(crate) struct Visitor<'a> {
    console: String,
    cookie: String,
    csrf: String,
    heard: &'a std::cell::RefCell<Vec<Value>>,
}

impl<'a> Visitor<'a> {
    pub(crate) fn log_in(
        office: &Office,
        name: &str,
        heard: &'a std::cell::RefCell<Vec<Value>>,
    ) -> Visitor<'a> {
        let console = office.console();
        let body = format!("name={name}&password={}", PASSWORD.replace(' ', "+"));
        let answer = form(&console, "/login", "", &body);
        let line = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
        let cookie = line.split(';').next().expect("a cookie").to_owned();
        let mut visitor = Visitor { console, cookie, csrf: String::new(), heard };
        let (status, me) = visitor.ask("GET", "/api/v1/me", "");
        assert_eq!(status, 200, "{name}: {me}");
        visitor.csrf = me["csrf"].as_str().expect("a token").to_owned();
        visitor
    }

    /// Asks as the console's own page would.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let Visitor { console, cookie, csrf, .. } = self;
        let headers = format!("origin: {console}\r\ncookie: {cookie}\r\nx-csrf-token: {csrf}\r\n");
        self.hear(method, path, &headers, body)
    }

    /// Asks with these headers alone.
    fn hear(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let (status, text) = request(&self.console, &format!("{method} {path}"), headers, body);
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if answer.is_object() {
            let heard = json!({"method": method, "path": path, "status": status, "body": answer});
            self.heard.borrow_mut().push(heard);
        }
        (status, answer)
    }

    pub(crate) fn card(&self, hold: &str) -> Value {
        let (status, card) = self.ask("GET", &format!("/api/v1/approvals/{hold}"), "");
        assert_eq!(status, 200, "{card}");
        card
    }

    pub(crate) fn says(&self, hold: &str, what: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", &format!("/api/v1/approvals/{hold}/{what}"), &body.to_string())
    }

    fn page(&self, path: &str) -> (u16, String) {
        request(&self.console, &format!("GET {path}"), &format!("cookie: {}\r\n", self.cookie), "")
    }
}

/// What operators did, as the state has it: `who what outcome: why`.
fn noted(office: &Office) -> Vec<String> {
    let output = tollbook(&office.data(), &["operators", "actions", "--json", "--limit", "1000"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let line = |line: &str| {
        let action: Value = serde_json::from_str(line).expect("JSON");
        let part = |name: &str| action[name].as_str().unwrap_or_default().to_owned();
        let who = part("who").replace("operator:local:", "");
        format!("{who} {} {}: {}", part("what"), part("outcome"), part("reason"))
    };
    text.lines().map(line).collect()
}

/// Does `act` beside a transfer that waits; gives what the call is answered.
fn beside(office: &Office, token: &str, arguments: &Value, act: impl FnOnce(&str)) -> String {
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| call(&office.url, token, "transfer", arguments));
        act(&office.waits());
        calling.join().expect("it is answered")
    })
}

/// The answers by the document, and the document by its own schema, as other people's programs see them.
fn check_document(heard: &[Value]) {
    let mut child = Command::new(node())
        .arg(repository().join("e2e/peers/clients/openapi.mjs"))
        .arg(repository().join("docs/openapi.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let text = Value::from(heard).to_string();
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect("JSON")["answers"], heard.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvers_decide_over_the_api_on_what_they_were_shown() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let office = Office::open(&upstream.url, "");
        office.enrol("vera", "viewer", "oncall");
        office.enrol("carl", "auditor", "oncall");
        let heard = std::cell::RefCell::default();
        let log_in = |name| Visitor::log_in(&office, name, &heard);
        let [ann, bob, vera] = ["ann", "bob", "vera"].map(log_in);
        let strangers = ["cid", "mira", "dora", "vera", "carl"].map(|name| (name, log_in(name)));
        let token = office.mint(&["--purpose", "pay the plumber"]);
        for _ in 0..2 {
            assert_eq!(call(&office.url, &token, "balance", &json!({})), "done");
        }
        let (_, began) = ann.ask("GET", "/api/v1/approvals/changes", "");
        let since = began["since"].as_u64().expect("a number");

        let arguments = json!({"amount": 5, "note": "\u{202e}rebmulp eht yap"});
        let granted = beside(&office, &token, &arguments, |hold| {
            let follow = format!("/api/v1/approvals/changes?since={since}");
            let (status, changed) = ann.ask("GET", &follow, "");
            assert_eq!((status, &changed["approvals"][0]["id"]), (200, &json!(hold)), "{changed}");
            let (_, listed) = vera.ask("GET", "/api/v1/approvals", "");
            assert_eq!(listed["approvals"][0]["id"], json!(hold), "{listed}");
            assert!(!listed.to_string().contains("rebmulp"), "a list tells no arguments: {listed}");
            shown(&office, (&ann, &vera), hold);
            turned_away(&office, (&ann, &strangers), hold);
            assert_eq!((id(&office.hold(|_| true)), seen(&upstream, "transfer")), (hold.to_owned(), 0));
            assert_eq!(office.holds()[0]["status"], "pending", "nobody has decided anything");
            let digest = ann.card(hold)["digest"].clone();
            let (status, said) = ann.says(hold, "grant", &json!({"digest": digest}));
            assert_eq!((status, &said["came"]), (200, &json!("approved")), "{said}");
        });
        assert_eq!((granted.as_str(), seen(&upstream, "transfer")), ("done", 1));
        afterwards(&office, (&ann, &bob));
        refused_and_taken_back(&office, &token, (&ann, &bob));
        measured(&office);

        let (status, _, served) = exchange(&office.console(), "GET /api/v1/openapi.json", "", "");
        let published = std::fs::read_to_string(repository().join("docs/openapi.json")).expect("it is there");
        assert!(status == 200 && served == published, "the document that is served is the one of the docs");
        for (line, body) in [
            ("POST /api/v1/operators", r#"{"name":"eve","roles":["viewer"]}"#),
            ("POST /api/v1/operators/links", r#"{"name":"eve"}"#),
            ("PUT /api/v1/operators", r#"{"name":"eve","roles":["auditor"]}"#),
            ("DELETE /api/v1/operators?name=eve", ""),
            ("DELETE /api/v1/operators", ""),
            ("GET /api/v1/operators", ""),
            ("GET /api/v1/actions?limit=5", ""),
            ("GET /api/v1/approvals?which=all&limit=1", ""),
            ("GET /api/v1/approvals?which=some", ""),
        ] {
            let (method, path) = line.split_once(' ').expect("two words");
            strangers[2].1.ask(method, path, body);
        }
        check_document(&heard.borrow());
        let (folder, log) = office.close();
        let told = printed(&folder.path().join("data"), &["calls", "kind:note", "--limit", "1000", "--json"]);
        for secret in ["horse", ann.csrf.as_str(), ann.cookie.split_once('=').expect("a cookie").1] {
            assert!(!(told.clone() + &log).contains(secret), "no secret is told");
        }
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// All that an approver needs, and a viewer sees nothing that was sent.
fn shown(office: &Office, (ann, vera): (&Visitor<'_>, &Visitor<'_>), hold: &str) {
    // What the run did before comes from the index, which may lag.
    let mut card = ann.card(hold);
    while card["just_before"].as_array().is_none_or(|before| before.len() < 2) {
        card = ann.card(hold);
    }
    let sent = "{\"amount\":5,\"note\":\"\u{202e}rebmulp eht yap\"}";
    assert_eq!(card["arguments"], sent);
    assert_eq!(card["arguments_shown"], sent.replace('\u{202e}', "‹U+202E›"));
    assert_eq!(card["reason"], "transfers move money");
    assert_eq!(card["purpose"], "pay the plumber");
    assert_eq!(card["needs"], json!([{"group": "oncall", "count": 1}]));
    assert_eq!(card["before"]["approved"], 0);
    assert_eq!(card["tool"]["is_as_asked"], true);
    let before = card["just_before"].as_array().expect("what the run did before");
    let names: Vec<&Value> = before.iter().map(|call| &call["name"]).collect();
    assert_eq!(names[..2], [&json!("balance"), &json!("balance")], "{card}");
    let outline = vera.card(hold);
    assert!(outline["arguments"].is_null() && outline["digest"].is_null(), "{outline}");
    assert!(!outline.to_string().contains("rebmulp"), "{outline}");
    let read = |who: &str| {
        noted(office).iter().filter(|line| line.starts_with(&format!("{who} approvals.read done"))).count()
    };
    ann.card(hold);
    assert_eq!((read("ann"), read("vera")), (1, 0), "who reads what was sent is noted, once in a while");
    let text = printed(&office.data(), &["approvals", "show", hold]);
    for part in ["‹U+202E›rebmulp", "bank/balance", "at first sight", "0 approved"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Wrong people, wrong words, wrong holds; and who follows links by machine.
fn turned_away(office: &Office, (ann, strangers): (&Visitor<'_>, &[(&str, Visitor<'_>)]), hold: &str) {
    let grant = format!("/api/v1/approvals/{hold}/grant");
    let digest = ann.card(hold)["digest"].as_str().expect("a digest").to_owned();
    let body = json!({"digest": digest}).to_string();
    for (name, stranger) in strangers {
        let (status, said) = stranger.ask("POST", &grant, &body);
        assert_eq!(status, 403, "{name}: {said}");
        let expected = match *name {
            "cid" => "approvals.grant refused: none of your groups is asked",
            "mira" => "approvals.grant refused: it was asked on your own behalf",
            _ => "operators.forbidden refused: no role of theirs permits to decide on calls that wait",
        };
        let last = noted(office);
        assert!(last.iter().any(|line| line == &format!("{name} {expected}")), "{name}: {last:?}");
    }
    let own = format!("cookie: {}\r\n", ann.cookie);
    let origin = format!("origin: {}\r\n", ann.console);
    for (case, headers, status) in [
        ("no session", origin.clone(), 401),
        ("no token", format!("{own}{origin}"), 403),
        ("another's token", format!("{own}{origin}x-csrf-token: {}\r\n", strangers[0].1.csrf), 403),
        ("no origin", format!("{own}x-csrf-token: {}\r\n", ann.csrf), 403),
        (
            "another origin",
            format!("{own}origin: https://evil.example\r\nx-csrf-token: {}\r\n", ann.csrf),
            403,
        ),
    ] {
        next_second();
        let (found, _) = request(&ann.console, &format!("POST {grant}"), &headers, &body);
        assert_eq!(found, status, "{case}");
    }
    let forged = format!("hold_{}", "0".repeat(32));
    for (case, hold, what, body, status) in [
        ("another digest", hold, "grant", json!({"digest": "A".repeat(43)}), 409),
        ("no digest", hold, "grant", json!({}), 422),
        ("an empty digest", hold, "grant", json!({"digest": ""}), 409),
        ("more than is known", hold, "grant", json!({"digest": digest, "all": true}), 422),
        ("for more than a run", hold, "grant", json!({"digest": digest, "for": "ever"}), 422),
        ("what may differ in one call", hold, "grant", json!({"digest": digest, "any": ["note"]}), 422),
        ("no reason", hold, "refuse", json!({"reason": "  "}), 422),
        ("a long reason", hold, "withdraw", json!({"reason": "x".repeat(501)}), 422),
        ("a forged id", &forged, "grant", json!({"digest": digest}), 404),
        ("no id", "hold_1'--", "refuse", json!({"reason": "no"}), 404),
    ] {
        let (found, said) = ann.says(hold, what, &body);
        assert_eq!(found, status, "{case}: {said}");
    }
    for path in [format!("/api/v1/approvals/{forged}"), "/api/v1/approvals/x".to_owned()] {
        assert_eq!(ann.ask("GET", &path, "").0, 404, "{path}");
    }
    next_second();
    scanned(ann, hold, &digest);
    let notes = noted(office).join("\n");
    for expected in [
        "ann approvals.grant refused: they were not shown what is held",
        "ann approvals.grant refused: there is no such hold",
        "ann approvals.read refused: there is no such hold",
        "ann approvals.refuse refused: there is no such hold",
        "ann operators.forbidden refused: the `x-csrf-token` header is missing or wrong",
        "ann operators.forbidden refused: the request names no `Origin`, or another one",
        "nobody operators.forbidden refused: nobody is logged in",
    ] {
        assert!(notes.contains(expected), "{expected}: {notes}");
    }
}

/// Refusals of strangers are noted up to a number a second.
fn next_second() {
    let begun = now();
    while now() <= begun {
        std::thread::yield_now();
    }
}

/// GETs, with a session and without one, whatever they say.
fn scanned(ann: &Visitor<'_>, hold: &str, digest: &str) {
    let own = format!("cookie: {}\r\n", ann.cookie);
    for (line, with, without) in [
        (format!("GET /approvals/{hold}"), 200, 401),
        (format!("HEAD /approvals/{hold}"), 200, 401),
        (format!("GET /approvals/{hold}?decision=once&digest={digest}&csrf={}", ann.csrf), 200, 401),
        (format!("GET /api/v1/approvals/{hold}/grant?digest={digest}"), 405, 401),
        ("GET /approvals".to_owned(), 200, 401),
        ("GET /approvals/hold_1".to_owned(), 404, 404),
        ("GET /login?next=//evil.example".to_owned(), 200, 200),
    ] {
        let (status, head, page) = exchange(&ann.console, &line, &own, "");
        assert_eq!(status, with, "{line}");
        assert!(!head.contains("evil") && !page.contains("evil"), "{line}: {head}");
        let (status, head, page) = exchange(&ann.console, &line, "", "");
        assert_eq!(status, without, "{line}");
        assert!(!page.contains("rebmulp") && !head.contains("evil"), "{line}: {page}");
    }
}

/// What an approver sees of what they approved, and that it is over.
fn afterwards(office: &Office, (ann, bob): (&Visitor<'_>, &Visitor<'_>)) {
    let used = id(&office.hold(|hold| hold["outcome"] == "ok"));
    let released = |card: &Value| card["releases"][0]["seq_end"].is_u64();
    let mut card = ann.card(&used);
    while !released(&card) {
        card = ann.card(&used);
    }
    assert_eq!(card["status"], "used");
    assert_eq!(card["said"][0]["who"], "operator:local:ann");
    let release = &card["releases"][0];
    assert_eq!((&release["status"], &release["name"]), (&json!("ok"), &json!("transfer")));
    assert!(release["seq"].as_u64() > card["asked"].as_u64() && release["duration_us"].is_i64(), "{card}");
    let (status, said) = bob.says(&used, "grant", &json!({"digest": card["digest"]}));
    assert_eq!((status, &said["standing"]), (409, &json!("used")), "approved twice: {said}");
    let (status, said) = bob.says(&used, "refuse", &json!({"reason": "too late"}));
    assert_eq!((status, &said["detail"]), (409, &json!("it is used already")), "{said}");
    let (status, page) = ann.page(&format!("/approvals/{used}"));
    assert!(status == 200 && page.contains("The call ended well after"), "{page}");
    let text = printed(&office.data(), &["approvals", "show", &used]);
    assert!(text.contains("released") && text.contains("allow ok"), "{text}");
}

fn refused_and_taken_back(office: &Office, token: &str, (ann, bob): (&Visitor<'_>, &Visitor<'_>)) {
    let refused = beside(office, token, &json!({"amount": 6}), |hold| {
        let before = &ann.card(hold)["before"];
        assert_eq!(
            (&before["approved"], &before["last"][0]["status"]),
            (&json!(1), &json!("used")),
            "{before}"
        );
        let (status, said) = bob.says(hold, "refuse", &json!({"reason": "not to him"}));
        assert_eq!((status, &said["came"]), (200, &json!("refused")), "{said}");
        let (status, page) = ann.page(&format!("/approvals/{hold}"));
        assert!(status == 200 && page.contains("<b>Refused</b>") && !page.contains("Approve once"), "{page}");
    });
    assert!(refused.contains("was refused: not to him"), "{refused}");
    let ended = beside(office, token, &json!({"amount": 7}), |hold| {
        let (status, said) = ann.says(hold, "withdraw", &json!({"reason": "not today"}));
        assert_eq!((status, &said["came"]), (200, &json!("withdrawn")), "{said}");
    });
    assert!(ended.contains("has ended: not today"), "{ended}");
    let arguments = json!({"amount": 8, "note": "a"});
    let answered = beside(office, token, &arguments, |hold| {
        let digest = ann.card(hold)["digest"].clone();
        let body = json!({"digest": digest, "for": "run", "any": ["note"]});
        assert_eq!(ann.says(hold, "grant", &body).0, 200);
    });
    assert_eq!(answered, "done");
    assert_eq!(
        call(&office.url, token, "transfer", &json!({"amount": 8, "note": "b"})),
        "done",
        "for the run"
    );
}

fn measured(office: &Office) {
    let (status, text) = request(&office.console(), "GET /metrics", "", "");
    assert_eq!(status, 200);
    for line in [
        "tollbook_holds_pending 0",
        "tollbook_hold_decisions_total{decision=\"approved\"} 2",
        "tollbook_hold_decisions_total{decision=\"refused\"} 1",
        "tollbook_hold_decisions_total{decision=\"withdrawn\"} 1",
        "tollbook_hold_decisions_total{decision=\"expired\"} 0",
        "tollbook_hold_decision_seconds_count 3",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    for name in ["tollbook_operator_actions_unrecorded ", "tollbook_operator_refusals_unnoted_total "] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
    }
}

/// A link in a mail, opened without a session: login, the card, one button, the outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_leads_over_the_login_to_the_card_and_the_outcome() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let office = Office::open(&upstream.url, "");
        let token = office.mint(&[]);
        let arguments = json!({"amount": 5, "note": "<script>alert(1)</script>"});
        let answered = beside(&office, &token, &arguments, |hold| {
            let link = format!("{}/approvals/{hold}", office.console());
            let person = json!({"name": "ann", "password": PASSWORD}).to_string();
            let browser = repository().join("e2e/peers/clients/browser.mjs");
            // The first page that follows a decision has no buttons any more.
            let output = Command::new(node()).arg(browser).args([&link, "", &person, "once"]).output();
            let output = output.expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let pages: Vec<&str> =
                seen["pages"].as_array().expect("pages").iter().filter_map(Value::as_str).collect();
            assert_eq!(pages.len(), 4, "to the login, login, card, outcome: {pages:?}");
            assert!(pages[1].contains("name=\"password\""), "{}", pages[1]);
            assert!(pages[2].contains("Approve once") && pages[2].contains("&lt;script&gt;"), "{}", pages[2]);
            assert!(!pages[2].contains("<script"), "{}", pages[2]);
            assert!(
                pages[3].contains("<b>Approved</b>") && !pages[3].contains("Approve once"),
                "{}",
                pages[3]
            );
        });
        assert_eq!((answered.as_str(), seen(&upstream, "transfer")), ("done", 1));
        office.close();
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}
