//! People are told of calls that wait: by webhooks that a library of others verifies, and by mail that a real server takes.
//! Whoever is killed and comes back, nothing is lost.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use e2e::gateway::{binary, tollbook};
use e2e::peers::{Peer, free_port, node, python, repository};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::approvals::{Office, PATIENCE, bank, call};
use crate::callers::{printed, silent};
use crate::console::exchange;
use crate::logins::certificate;

const SECRET: &str = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5";
const NEXT: &str = "whsec_bmV4dC1jYW5hcnktbmV4dC1jYW5hcnktbmV4dA==";
const PASSWORD: &str = "canary-of-the-mail";

/// Where notices go: what each has taken is a line of its file.
struct Receivers {
    folder: tempfile::TempDir,
    hook: u16,
    mail: u16,
    running: Vec<Peer>,
}

impl Receivers {
    fn new() -> Receivers {
        Receivers::within(tempfile::tempdir().expect("a folder"))
    }

    /// That speak TLS.
    fn secure() -> Receivers {
        let folder = tempfile::tempdir().expect("a folder");
        certificate(folder.path());
        Receivers::within(folder)
    }

    fn within(folder: tempfile::TempDir) -> Receivers {
        let mut receivers = Receivers { folder, hook: free_port(), mail: free_port(), running: Vec::new() };
        receivers.start();
        receivers
    }

    fn start(&mut self) {
        let mut hook = Command::new(node());
        hook.arg(repository().join("e2e/peers/node/hook.mjs")).arg(self.hook.to_string());
        hook.arg(self.file("hook")).arg(SECRET);
        let mut mail = Command::new(python());
        mail.arg(repository().join("e2e/peers/python/mailbox.py")).arg(self.mail.to_string());
        mail.arg(self.file("mail"));
        if self.file("cert.pem").exists() {
            hook.arg(self.folder.path());
            mail.arg(self.folder.path());
        }
        self.running = vec![Peer::start(hook, "listening on"), Peer::start(mail, "listening on")];
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.running.clear();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn taken(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// A section of the configuration: a webhook that signs with two keys, mail, and one where nobody is.
    fn settings(&self) -> String {
        let Receivers { hook, mail, .. } = self;
        let void = free_port();
        format!(
            "wait_seconds = 0\n\
             [export.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{hook}/\"\nsecrets = [{NEXT:?}, {SECRET:?}]\n\
             arguments = true\nevents = [\"asked\", \"approved\", \"refused\", \"expired\", \"withdrawn\", \"used\", \"outcome\"]\n\
             [export.mail]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {mail}\ntls = \"none\"\nuser = \"tollbook\"\n\
             password = {PASSWORD:?}\nfrom = \"Tollbook <tollbook@example.com>\"\nto = [\"oncall@example.com\"]\n\
             groups = [\"oncall\"]\n\
             [export.board]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{hook}/\"\nsecrets = [{SECRET:?}]\n\
             groups = [\"board\"]\n\
             [export.stranger]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{hook}/\"\nsecrets = [{NEXT:?}]\n\
             events = [\"outcome\"]\n\
             [export.void]\nkind = \"slack\"\nurl = \"http://127.0.0.1:{void}/\"\n"
        )
    }
}

/// How it stands with a destination.
fn standing(data: &Path, name: &str) -> Value {
    let output = tollbook(data, &["export", "list", "--json"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    all.into_iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Waits until it stands so with a destination.
fn stands(data: &Path, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let row = standing(data, name);
        if wanted(&row) {
            return row;
        }
        assert!(begun.elapsed() < PATIENCE, "{row}");
    }
}

fn all_told(row: &Value) -> bool {
    row["waiting"] == 0 && row["delivered"] != 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_are_told_and_nothing_is_lost() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let mut receivers = Receivers::new();
        let mut office = Office::open(&upstream.url, &receivers.settings());
        let data = office.data();
        let token = office.mint(&["--purpose", "pay the \u{202e}plumber"]);
        let pay = |office: &Office, amount: u64| {
            let said = call(&office.url, &token, "transfer", &json!({"amount": amount}));
            assert!(said.contains("approval required"), "{said}");
            office.waits()
        };

        let first = pay(&office, 1);
        pay(&office, 1);
        for name in ["hook", "mail"] {
            stands(&data, name, all_told);
        }
        asked(&receivers, &office, &first);

        receivers.kill();
        assert_eq!(office.decides("ann", &["refuse", &first, "--reason", "not today"]).0, 0);
        let second = pay(&office, 2);
        stands(&data, "hook", |row| row["failing"] != 0);
        stands(&data, "mail", |row| row["failing"] != 0);
        // Nobody approves what is not published: three tries were held.
        while printed(&data, &["calls", "verdict:hold", "--json"]).lines().count() < 3 {}
        office.gateway.take().expect("it runs").kill();
        // Decided while no gateway runs.
        assert_eq!(office.decides("ann", &["grant", &second]).0, 0);
        receivers.start();
        office.start();
        assert_eq!(call(&office.url, &token, "transfer", &json!({"amount": 2})), "done");
        stands(&data, "hook", |row| row["waiting"] == 0 && row["delivered"].as_u64() >= Some(6));
        stands(&data, "mail", |row| row["waiting"] == 0 && row["delivered"].as_u64() >= Some(4));
        nothing_is_lost(&receivers, [&first, &second]);
        operated(&receivers, &office, &data);
        let (_folder, log) = office.close();
        let rest = printed(&data, &["calls", "", "--json", "--limit", "1000"]);
        let told = std::fs::read_to_string(receivers.file("mail")).expect("mail");
        silent(&[SECRET.to_owned(), NEXT.to_owned()], &[&log, &rest, &told]);
        assert!(!log.contains(PASSWORD) && !rest.contains(PASSWORD) && !told.contains(PASSWORD));
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// What people are told first.
fn asked(receivers: &Receivers, office: &Office, hold: &str) {
    let console = office.gateway.as_ref().and_then(|gateway| gateway.console.clone()).expect("a console");
    let link = format!("{console}/approvals/{hold}");
    let (status, _, page) = exchange(&console, &format!("GET /approvals/{hold}"), "", "");
    assert!(status == 401 && page.contains("/login"), "who follows it logs in first: {page}");
    let hooks = receivers.taken("hook");
    assert_eq!(hooks.len(), 1, "the same call asks once: {hooks:?}");
    let data = &hooks[0]["data"];
    assert_eq!((&hooks[0]["type"], &data["hold"]), (&json!("hold.asked"), &json!(hold)));
    assert_eq!((&data["arguments"], &data["link"]), (&json!("{\"amount\":1}"), &json!(link)));
    assert_eq!(data["purpose_claimed"], "pay the ‹U+202E›plumber");
    let mails = receivers.taken("mail");
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(
        (&mails[0]["from"], &mails[0]["to"]),
        (&json!("tollbook@example.com"), &json!(["oncall@example.com"]))
    );
    assert_eq!(mails[0]["headers"]["Auto-Submitted"], "auto-generated");
    let text = mails[0]["text"].as_str().expect("a text");
    for part in
        ["bank/transfer", "mira", "1 of oncall", "transfers move money", "large transfers", hold, &link]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("amount"), "no arguments unless somebody wants it");
}

/// Each event has arrived, under one id, and of each hold in order.
fn nothing_is_lost(receivers: &Receivers, [first, second]: [&str; 2]) {
    let of = |all: &[Value], hold: &str| {
        let mut seen: Vec<(String, String)> = Vec::new();
        for one in all.iter().filter(|one| one["data"]["hold"] == hold) {
            let word = |name: &str| one[name].as_str().expect("a text").to_owned();
            if !seen.contains(&(word("type"), word("id"))) {
                seen.push((word("type"), word("id")));
            }
        }
        seen.into_iter().map(|(kind, _)| kind).collect::<Vec<_>>()
    };
    let hooks = receivers.taken("hook");
    assert_eq!(of(&hooks, first), ["hold.asked", "hold.refused"]);
    assert_eq!(of(&hooks, second), ["hold.asked", "hold.approved", "hold.used", "hold.outcome"]);
    let mails = receivers.taken("mail");
    let subjects = |hold: &str| {
        let of_hold =
            mails.iter().filter(|mail| mail["text"].as_str().is_some_and(|text| text.contains(hold)));
        let mut ids: Vec<&str> = of_hold.filter_map(|mail| mail["headers"]["Message-ID"].as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    };
    assert_eq!((subjects(first), subjects(second)), (2, 2));
}

/// What an operator sees and does.
fn operated(receivers: &Receivers, office: &Office, data: &Path) {
    let board = standing(data, "board");
    assert_eq!((&board["waiting"], &board["delivered"]), (&json!(0), &json!(0)), "it is not asked");
    let void = stands(data, "void", |row| row["failing"] != 0);
    assert_eq!(
        (&void["delivered"], &void["error"]),
        (&json!(0), &json!("it cannot be reached: connection refused"))
    );
    let console = office.gateway.as_ref().and_then(|gateway| gateway.console.clone()).expect("a console");
    let metrics = exchange(&console, "GET /metrics", "", "").2;
    for line in [
        "tollbook_export_waiting{destination=\"hook\"} 0",
        "tollbook_export_dead{destination=\"void\"} 0",
        "tollbook_export_oldest_seconds{destination=\"mail\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let config = data.join("tollbook.toml");
    let config = config.to_str().expect("a path");
    let before = receivers.taken("hook").len();
    let tested = printed(data, &["export", "test", "hook", "--config", config]);
    assert_eq!(tested, "the test arrived: it answers 204");
    assert_eq!(receivers.taken("hook")[before]["type"], "test");
    printed(data, &["export", "test", "mail", "--config", config]);
    let failed = tollbook(data, &["export", "test", "void", "--config", config]);
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(tollbook(data, &["export", "retry", "nobody"]).status.code(), Some(2));
    printed(data, &["export", "retry", "void"]);
    let dead = || {
        let dead = printed(data, &["export", "dead", "stranger", "--json"]);
        serde_json::from_str::<Value>(&dead).expect("one alone")
    };
    stands(data, "stranger", |row| row["dead"] == 1);
    assert_eq!((&dead()["kind"], &dead()["error"]), (&json!("outcome"), &json!("it answers 401")));
    assert_eq!(printed(data, &["export", "retry", "stranger"]), "1 are tried again, by the gateway");
    stands(data, "stranger", |row| row["failed"] == 2 && row["dead"] == 1);
    let listed = printed(data, &["export", "list"]);
    assert!(listed.lines().any(|line| line.starts_with("stranger") && line.contains("1 dead")), "{listed}");
    let actions = printed(data, &["operators", "actions"]);
    for action in ["export.test", "export.retry"] {
        assert!(actions.contains(action), "{action}: {actions}");
    }
}

/// What one refuses is not kept from the others; secrets and addresses are those of the last reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_who_gets_mail_has_an_outcome_of_their_own() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let receivers = Receivers::new();
        let (busy, secret) = (receivers.file("mail.busy"), receivers.file("password"));
        std::fs::write(&busy, "").expect("written");
        std::fs::write(&secret, "another").expect("written");
        let settings = format!(
            "wait_seconds = 0\n\
             [export.team]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"tollbook\"\n\
             password = \"file:{}\"\nfrom = \"tollbook@example.com\"\n\
             to = [\"ann@example.com\", \"nobody@example.com\", \"busy@example.com\"]\n",
            receivers.mail,
            secret.display()
        );
        let office = Office::open(&upstream.url, &settings);
        let data = office.data();
        let token = office.mint(&[]);
        assert!(call(&office.url, &token, "transfer", &json!({"amount": 1})).contains("approval required"));
        for who in ["ann", "nobody", "busy"] {
            let row = stands(&data, &format!("team/{who}@example.com"), |row| row["dead"] == 1);
            assert_eq!(row["error"], "the mail server says 535", "{row}");
        }
        std::fs::write(&secret, PASSWORD).expect("written");
        let gateway = office.gateway.as_ref().expect("it runs");
        gateway.signal_reload();
        gateway.logged("configuration reloaded", 1);
        assert!(!gateway.log().contains("used after a restart"), "{}", gateway.log());
        assert_eq!(printed(&data, &["export", "retry", "team"]), "3 are tried again, by the gateway");
        stands(&data, "team/ann@example.com", all_told);
        let nobody = stands(&data, "team/nobody@example.com", |row| row["dead"] == 1);
        assert_eq!(nobody["error"], "the mail server says 550");
        let waits = stands(&data, "team/busy@example.com", |row| row["failing"] == 1);
        assert_eq!(waits["error"], "the mail server says 450");
        std::fs::remove_file(&busy).expect("it was there");
        stands(&data, "team/busy@example.com", all_told);
        let mails = receivers.taken("mail");
        let to: Vec<&Value> = mails.iter().map(|mail| &mail["to"]).collect();
        assert_eq!(to, [&json!(["ann@example.com"]), &json!(["busy@example.com"])]);
        assert_eq!(mails[0]["headers"]["To"], mails[1]["headers"]["To"], "each sees who is told");
        assert_eq!(mails[0]["headers"]["Message-ID"], mails[1]["headers"]["Message-ID"]);
        let dead = printed(&data, &["export", "dead", "team"]);
        assert!(dead.lines().count() == 1 && dead.contains("550"), "{dead}");
        let console = office.gateway.as_ref().and_then(|gateway| gateway.console.clone()).expect("a console");
        let metrics = exchange(&console, "GET /metrics", "", "").2;
        assert!(metrics.contains("tollbook_export_delivered_total{destination=\"team\"} 2"), "{metrics}");
        assert!(metrics.contains("tollbook_export_dead{destination=\"team\"} 1"), "{metrics}");
        office.close();
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

#[test]
fn what_goes_over_tls_goes_to_nobody_else() {
    let receivers = Receivers::secure();
    let Receivers { hook, mail, .. } = &receivers;
    let mailbox = |name: &str, tls: &str| {
        format!(
            "[export.{name}]\nkind = \"email\"\nhost = \"127.0.0.1\"\nport = {mail}\ntls = \"{tls}\"\nuser = \"tollbook\"\n\
             password = {PASSWORD:?}\nfrom = \"tollbook@example.com\"\nto = [\"oncall@example.com\"]\n"
        )
    };
    let settings = format!(
        "[export.hook]\nkind = \"webhook\"\nurl = \"https://127.0.0.1:{hook}/\"\nsecrets = [{SECRET:?}]\n{}{}",
        mailbox("mail", "starttls"),
        mailbox("plain", "none")
    );
    let config = receivers.file("tollbook.toml");
    std::fs::write(&config, settings).expect("written");
    let test = |name: &str, roots: Option<PathBuf>| {
        let mut command = Command::new(binary());
        command
            .arg("--data")
            .arg(receivers.file("data"))
            .args(["export", "test", name, "--config"])
            .arg(&config);
        command.envs(roots.map(|roots| ("SSL_CERT_FILE", roots)));
        let output = command.output().expect("it runs");
        String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr)
    };
    let roots = Some(receivers.file("cert.pem"));
    for name in ["hook", "mail"] {
        let said = test(name, None);
        assert!(said.starts_with("the test did not arrive: TLS failed"), "{name}: {said}");
        let said = test(name, roots.clone());
        assert!(said.starts_with("the test arrived: "), "{name}: {said}");
        assert_eq!(receivers.taken(name).len(), 1);
    }
    let said = test("plain", roots);
    let expected = "the test did not arrive: the mail server does not offer what is needed";
    assert!(said.starts_with(expected), "no password goes out in the clear: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_time_lose_nothing() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let mut receivers = Receivers::new();
        let settings = format!("pending_of_run = 100\n{}", receivers.settings());
        let mut office = Office::open(&upstream.url, &settings);
        let data = office.data();
        let token = office.mint(&[]);
        for round in 0..6_u64 {
            for number in 0..6 {
                let said = call(&office.url, &token, "transfer", &json!({"amount": round * 10 + number}));
                assert!(said.contains("approval required"), "{said}");
                // In the midst of what is under way.
                match (round % 3, number) {
                    (0 | 2, 3) => receivers.kill(),
                    (1 | 2, 4) => {
                        office.gateway.take().expect("it runs").kill();
                        office.start();
                    }
                    (0 | 2, 5) => receivers.start(),
                    _ => {}
                }
            }
        }
        for name in ["hook", "mail"] {
            stands(&data, name, |row| row["waiting"] == 0 && row["dead"] == 0);
        }
        let listed = printed(&data, &["approvals", "list", "--json", "--limit", "1000"]);
        let holds: BTreeSet<String> = listed
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("JSON")["id"].as_str().expect("an id").to_owned()
            })
            .collect();
        assert_eq!(holds.len(), 36);
        let hooks: BTreeSet<String> = receivers
            .taken("hook")
            .iter()
            .map(|event| event["data"]["hold"].as_str().expect("a hold").to_owned())
            .collect();
        assert_eq!(hooks, holds);
        let mails = receivers.taken("mail");
        let texts: String = mails.iter().filter_map(|mail| mail["text"].as_str()).collect();
        assert!(holds.iter().all(|hold| texts.contains(hold)), "{texts}");
        office.close();
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}
