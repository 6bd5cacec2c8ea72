//! Calls that wait for people: what clients see, what the server sees, and what the ledger says, whatever happens meanwhile.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use e2e::gateway::{Gateway, tollbook};
use e2e::peers::{Peer, free_port, node, repository};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::callers::{post, printed};
use crate::console::exchange;
use crate::operators::form;
use crate::peers::{Client, python_sdk, typescript};

const POLICIES: &str = r#"
permit (principal, action == Action::"tools/call", resource == Tool::"bank/balance");

@id("large transfers")
@hold("oncall")
@reason("transfers move money")
permit (principal, action == Action::"tools/call", resource == Tool::"bank/transfer");

@id("closing")
@hold("oncall 2")
permit (principal, action == Action::"tools/call", resource == Tool::"bank/close_account");
"#;

/// What the gateway logs when it has taken over another configuration.
const APPLIED: &str = "configuration reloaded";

/// Long enough for a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// A bank that offers three tools. `balance` has another description after `POST` of a note that says so.
pub(crate) fn bank(asked: &[u8]) -> Bytes {
    let request: Value = serde_json::from_slice(asked).expect("a request");
    let amount =
        json!({"type": "object", "properties": {"amount": {"type": "integer"}, "note": {"type": "string"}}});
    let tool = |name: &str| json!({"name": name, "inputSchema": amount});
    let result = match request["method"].as_str() {
        Some("tools/list") => json!({"tools": [tool("balance"), tool("close_account"), tool("transfer")]}),
        Some("initialize") => json!({
            "protocolVersion": request["params"]["protocolVersion"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "bank", "version": "1"}
        }),
        _ => json!({"resultType": "complete", "content": [{"type": "text", "text": "done"}]}),
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string().into()
}

/// A gateway before the bank, with operators.
pub(crate) struct Office {
    folder: tempfile::TempDir,
    settings: String,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) url: String,
}

impl Office {
    /// `approvals`: that section of the configuration.
    pub(crate) fn open(bank: &str, approvals: &str) -> Office {
        let folder = tempfile::tempdir().expect("a folder");
        let policies = folder.path().join("bank.cedar");
        std::fs::write(&policies, POLICIES).expect("written");
        let url = format!("http://127.0.0.1:{}", free_port());
        let settings = format!(
            "listen = {:?}\npublic_url = {url:?}\n[identity]\n[console]\nlisten = \"127.0.0.1:0\"\n[policy]\npath = {policies:?}\n\
             [servers.bank]\nurl = {:?}\n[approvals]\n{approvals}\n",
            url.trim_start_matches("http://"),
            bank
        );
        let mut office = Office { folder, settings, gateway: None, url };
        office.start();
        for (name, roles, groups) in [
            ("ann", "approver", "oncall"),
            ("bob", "approver", "oncall,finance"),
            ("cid", "approver", "finance"),
            ("dora", "admin", "oncall"),
            ("mira", "approver", "oncall"),
        ] {
            office.enrol(name, roles, groups);
        }
        let token = office.mint(&[]);
        assert_eq!(
            post(&office.url, Some(&token), "tools/list", &json!({})).0,
            200,
            "the tools are known then"
        );
        office
    }

    pub(crate) fn start(&mut self) {
        let data = self.data();
        self.gateway = Some(Gateway::with_environment(&data, &self.settings, &[]).expect("it starts"));
    }

    pub(crate) fn restart(&mut self) {
        self.gateway.take().expect("it runs").stop();
        self.start();
    }

    /// Starts it anew with another configuration, made of the one that it has.
    pub(crate) fn reconfigured(&mut self, change: impl FnOnce(&str) -> String) {
        self.settings = change(&self.settings);
        self.restart();
    }

    /// Starts it anew with a fault plan (`recorder::faults`).
    pub(crate) fn dies_at(&mut self, plan: &str) {
        self.gateway.take().expect("it runs").stop();
        let started = Gateway::with_environment(&self.data(), &self.settings, &[("TOLLBOOK_FAULT", plan)]);
        self.gateway = Some(started.expect("it starts"));
    }

    /// Starts it anew once its fault has ended it.
    pub(crate) fn has_died(&mut self) {
        self.gateway.take().expect("it ran").ended();
        self.start();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn console(&self) -> String {
        self.gateway.as_ref().and_then(|gateway| gateway.console.clone()).expect("a console")
    }

    pub(crate) fn enrol(&self, name: &str, roles: &str, groups: &str) {
        let link = printed(&self.data(), &["operators", "add", name, "--roles", roles]);
        self.chooses(&link);
        printed(&self.data(), &["operators", "groups", name, groups]);
        std::fs::write(self.folder.path().join("password"), "correct horse battery\n").expect("written");
    }

    /// Somebody chooses a password by a link.
    pub(crate) fn chooses(&self, link: &str) {
        let body = "password=correct+horse+battery&again=correct+horse+battery";
        let answer = form(&self.console(), link, "", body);
        assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    }

    /// Has the gateway judge by other policies, made of those that it began with.
    pub(crate) fn has_policies(&self, change: impl FnOnce(&str) -> String) {
        std::fs::write(self.folder.path().join("bank.cedar"), change(POLICIES)).expect("written");
        let gateway = self.gateway.as_ref().expect("it runs");
        let applied = gateway.log().matches(APPLIED).count();
        gateway.signal_reload();
        gateway.logged(APPLIED, applied + 1);
    }

    /// A run of mira's.
    pub(crate) fn mint(&self, more: &[&str]) -> String {
        let config = self.data().join("tollbook.toml").to_str().expect("a path").to_owned();
        let fixed = ["run", "mint", "--config", &config, "--user", "mira"];
        printed(&self.data(), &[&fixed, more].concat())
    }

    /// Somebody decides; gives the exit code and what is said.
    pub(crate) fn decides(&self, who: &str, arguments: &[&str]) -> (i32, String) {
        let password = self.folder.path().join("password");
        let known = ["--operator", who, "--password-file", password.to_str().expect("a path")];
        let output = tollbook(&self.data(), &[&["approvals"], arguments, &known].concat());
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().expect("it ends"), text)
    }

    /// The holds, newest first.
    pub(crate) fn holds(&self) -> Vec<Value> {
        let output = tollbook(&self.data(), &["approvals", "list", "--all", "--json"]);
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("a hold")).collect()
    }

    /// A hold, once there is one as it should be.
    pub(crate) fn hold(&self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let holds = self.holds();
            if let Some(hold) = holds.iter().find(|hold| wanted(hold)) {
                return hold.clone();
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{holds:?}\n{}",
                self.gateway.as_ref().map(Gateway::log).unwrap_or_default()
            );
        }
    }

    /// The id of the hold that waits, once its record is noted.
    pub(crate) fn waits(&self) -> String {
        id(&self.hold(|hold| hold["status"] == "pending" && hold["asked"].is_u64()))
    }

    pub(crate) fn close(mut self) -> (tempfile::TempDir, String) {
        let gateway = self.gateway.take().expect("it runs");
        let log = gateway.stop();
        let verified = tollbook(&self.data(), &["verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        (self.folder, log)
    }
}

/// Calls of a tool that the server saw.
pub(crate) fn seen(upstream: &Upstream, tool: &str) -> usize {
    let name = format!("\"name\":\"{tool}\"");
    let called = |body: &&Bytes| {
        let text = String::from_utf8_lossy(body);
        text.contains("\"tools/call\"") && text.contains(&name)
    };
    upstream.seen().iter().filter(called).count()
}

pub(crate) fn id(hold: &Value) -> String {
    hold["id"].as_str().expect("an id").to_owned()
}

/// What a call is answered, in words.
pub(crate) fn call(url: &str, token: &str, tool: &str, arguments: &Value) -> String {
    let params = json!({"name": tool, "arguments": arguments});
    let (_, _, answer) = post(url, Some(token), "tools/call", &params);
    let text = answer["result"]["content"][0]["text"].as_str().or(answer["error"]["message"].as_str());
    text.unwrap_or_default().to_owned()
}

/// Does `act` beside a call that waits; gives what the call is answered.
fn beside(office: &Office, token: &str, tool: &str, act: impl FnOnce(&str)) -> String {
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| call(&office.url, token, tool, &json!({"amount": 5})));
        act(&office.waits());
        calling.join().expect("it is answered")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_call_runs_once_where_somebody_else_has_approved() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let mut office = Office::open(&upstream.url, "refusal_seconds = 1\npending_of_run = 3");
        let token = office.mint(&["--purpose", "pay the plumber"]);
        assert_eq!(call(&office.url, &token, "balance", &json!({})), "done", "others do not wait");

        let granted = beside(&office, &token, "transfer", |hold| {
            for (who, why) in [
                ("mira", "on your own behalf"),
                ("cid", "none of your groups"),
                ("dora", "no approver"),
                ("eve", "wrong"),
            ] {
                let (code, said) = office.decides(who, &["grant", hold]);
                assert!(code != 0 && said.contains(why), "{who}: {said}");
            }
            assert_eq!(office.decides("ann", &["grant", "hold_00"]).0, 2, "there is none of that id");
            let shown = printed(&office.data(), &["approvals", "show", hold, "--json"]);
            for part in ["{\\\"amount\\\":5}", "pay the plumber", "transfers move money", "large transfers"] {
                assert!(shown.contains(part), "{part}: {shown}");
            }
            assert!(
                office.decides("eve", &["show", hold]).1.contains("wrong"),
                "nobody reads in another's name"
            );
            let (code, read) = office.decides("ann", &["show", hold]);
            assert!(code == 0 && read.contains("amount"), "{read}");
            assert_eq!(office.decides("ann", &["grant", hold]).0, 0);
        });
        assert_eq!((granted.as_str(), seen(&upstream, "transfer")), ("done", 1));
        let used = office.hold(|hold| hold["outcome"] == "ok");
        assert_eq!(used["status"], "used");
        assert!(office.decides("bob", &["grant", &id(&used)]).1.contains("used already"), "once");

        let refused = beside(&office, &token, "transfer", |hold| {
            assert_eq!(office.decides("bob", &["refuse", hold, "--reason", "not today"]).0, 0);
        });
        assert!(refused.contains("was refused: not today"), "{refused}");
        assert_eq!(seen(&upstream, "transfer"), 1);

        let two = beside(&office, &token, "close_account", |hold| {
            assert!(office.decides("ann", &["grant", hold]).1.contains("more people"));
            assert!(office.decides("ann", &["grant", hold]).1.contains("decided on it already"));
            assert_eq!(seen(&upstream, "close_account"), 0, "one of two");
            assert_eq!(office.decides("bob", &["grant", hold]).0, 0);
        });
        assert_eq!((two.as_str(), seen(&upstream, "close_account")), ("done", 1));

        let other = office.mint(&[]);
        let revoked = beside(&office, &other, "transfer", |hold| {
            let run =
                office.hold(|hold| hold["status"] == "pending")["run"].as_str().expect("a run").to_owned();
            printed(&office.data(), &["run", "revoke", &run]);
            assert!(office.decides("ann", &["grant", hold]).1.contains("withdrawn already"));
        });
        assert!(!revoked.contains("done"), "{revoked}");
        assert_eq!(seen(&upstream, "transfer"), 1, "its run is over");

        restarted(&mut office, &upstream, &token);
        recorded(office);
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// An approval outlives the gateway, and is for these arguments alone.
fn restarted(office: &mut Office, upstream: &Upstream, token: &str) {
    let ended = std::thread::scope(|scope| {
        let calling = scope.spawn(|| call(&office.url, token, "transfer", &json!({"amount": 7})));
        let hold = office.waits();
        assert_eq!(office.decides("ann", &["withdraw", &hold, "--reason", "wrong one"]).0, 0);
        calling.join().expect("it is answered")
    });
    assert!(ended.contains("has ended: wrong one"), "{ended}");
    let seven = json!({"amount": 7});
    let cut_short = std::thread::scope(|scope| {
        let url = office.url.clone();
        let calling = scope.spawn(move || call(&url, token, "transfer", &json!({"amount": 7})));
        office.waits();
        office.settings = office.settings.replace("[approvals]", "[approvals]\nwait_seconds = 0");
        office.restart();
        calling.join().expect("it is answered")
    });
    assert!(cut_short.contains("repeat the same call"), "who waits when the gateway ends: {cut_short}");
    let waits = call(&office.url, token, "transfer", &seven);
    assert!(waits.contains("approval required") && waits.contains("repeat the same call"), "{waits}");
    let hold = office.waits();
    let short = office.mint(&["--lives", "10m"]);
    call(&office.url, &short, "transfer", &seven);
    let of_short = office.hold(|one| one["status"] == "pending" && id(one) != hold);
    let [made, ends] = ["created", "deadline"].map(|key| of_short[key].as_u64().expect("a time"));
    assert!(ends <= made + 600, "a hold ends with its run: {of_short}");
    assert_eq!(office.decides("ann", &["refuse", &id(&of_short), "--reason", "no"]).0, 0);
    assert_eq!(office.decides("ann", &["grant", &hold]).0, 0);
    office.restart();
    let before = seen(upstream, "transfer");
    assert!(
        call(&office.url, token, "transfer", &json!({"amount": 8})).contains("approval required"),
        "other arguments"
    );
    assert_eq!(seen(upstream, "transfer"), before);
    let eight = office.waits();
    assert_eq!(call(&office.url, token, "transfer", &seven), "done");
    assert!(call(&office.url, token, "transfer", &seven).contains("approval required"), "it is used");
    assert_eq!(seen(upstream, "transfer"), before + 1);

    let is_asked = |one: &Value| one["status"] == "pending" && one["asked"].is_u64() && id(one) != eight;
    let hold = id(&office.hold(is_asked));
    assert_eq!(office.decides("ann", &["grant", &hold, "--for-run", "--any", "note"]).0, 0);
    for note in ["a", "b"] {
        assert_eq!(
            call(&office.url, token, "transfer", &json!({"amount": 7, "note": note})),
            "done",
            "for the run"
        );
    }
    assert!(
        call(&office.url, token, "transfer", &json!({"amount": 9, "note": "a"}))
            .contains("approval required")
    );

    let policies = office.folder.path().join("bank.cedar");
    std::fs::write(&policies, POLICIES.replace("@hold(\"oncall\")", "@hold(\"oncall 2\")")).expect("written");
    office.restart();
    assert!(call(&office.url, token, "transfer", &seven).contains("2 of oncall"), "policy asks for more now");
}

/// What the ledger says of all that.
fn recorded(office: Office) {
    let used = office.holds().into_iter().filter(|hold| hold["status"] == "used").map(|hold| id(&hold));
    let used: Vec<String> = used.collect();
    assert_eq!(used.len(), 3);
    let (folder, log) = office.close();
    let data = folder.path().join("data");
    let told = |query: &str| printed(&data, &["calls", query, "--limit", "1000", "--json"]);
    let actions = told("kind:note method:operator/approvals.*");
    for hold in &used {
        assert!(actions.contains(hold), "who approved {hold} is recorded: {actions}");
    }
    let read = told("kind:note method:operator/approvals.read");
    assert!(
        read.contains("\"os:") && read.contains("operator:local:ann"),
        "who read arguments is recorded: {read}"
    );
    assert!(told("verdict:hold").lines().count() >= 6, "each try that was held");
    let released = told("tool:transfer verdict:allow");
    assert!(released.contains("approved by operator:local:ann"), "{released}");
    let all = told("") + &log;
    assert!(!all.contains("horse"), "no password is told");
    assert!(used.iter().any(|hold| released.contains(hold)), "the release names the hold: {released}");
}

/// Clients with their default settings wait in line, in both eras.
#[test]
fn clients_wait_for_people() {
    let mut command = Command::new(node());
    let port = free_port();
    command.arg(repository().join("e2e/peers/node/bank.mjs")).arg(port.to_string());
    let _bank = Peer::start(command, "listening on");
    let bank = format!("http://127.0.0.1:{port}");
    let office = Office::open(&format!("{bank}/mcp"), "");
    let clients: [(Client, &str); 4] = [
        (typescript, "legacy"),
        (typescript, "2026-07-28"),
        (python_sdk, "legacy"),
        (python_sdk, "2026-07-28"),
    ];
    for (number, (client, version)) in clients.into_iter().enumerate() {
        let token = office.mint(&[]);
        let spec = json!({
            "transport": {"http": format!("{}/mcp/bank", office.url)}, "version": version,
            "headers": {"authorization": format!("Bearer {token}")},
            "steps": [["tools/call", {"name": "transfer", "arguments": {"to": "ann", "amount": number}}]],
        });
        let answer = std::thread::scope(|scope| {
            let calling = scope.spawn(|| client(&spec));
            let hold = office.waits();
            // The answer begins as a stream meanwhile.
            let made = office.hold(|one| id(one) == hold)["created"].as_u64().expect("a time");
            while now() < made + 7 {
                std::thread::yield_now();
            }
            assert_eq!(office.decides("ann", &["grant", &hold]).0, 0);
            calling.join().expect("it is answered")
        });
        assert!(answer.contains("moved to ann"), "{version}: {answer}");
        let done: Value = serde_json::from_str(&exchange(&bank, "GET /done", "", "").2).expect("JSON");
        assert_eq!(done.as_array().map(Vec::len), Some(number + 1), "{version}: {done}");
    }
    office.close();
}

#[expect(clippy::disallowed_methods, reason = "holds say when they were made")]
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a time").as_secs()
}
