//! Held calls that wait as tasks of the protocol's extension, on the wire and with a client on the Rust SDK.

use std::path::Path;
use std::process::Command;
use std::thread;

use bytes::Bytes;
use e2e::gateway::tollbook;
use e2e::http::exchange;
use e2e::peers::{Peer, free_port, node, repository};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::approvals::{Office, bank as plain_bank, id, seen};
use crate::callers::printed;
use crate::peers::rust;

/// An argument that nothing but the ledger and the server may know.
const CANARY: &str = "canary-7d1f";

/// An answer that comes in more pieces than are kept for a slow reader.
const LARGE: usize = 2 << 20;

/// A bank whose `transfer` asks why, where the note says so, and which has tasks of its own.
fn bank(asked: &[u8]) -> Bytes {
    let request: Value = serde_json::from_slice(asked).expect("a request");
    let params = &request["params"];
    let asks = params["arguments"]["note"] == "ask";
    let result = match request["method"].as_str() {
        Some("server/discover") => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "bank", "version": "1"}, "ttlMs": 0, "cacheScope": "public"
        }),
        Some("tasks/get") => {
            json!({"resultType": "complete", "taskId": params["taskId"], "status": "working"})
        }
        Some("tools/call") if asks && params["requestState"] != "twice" => {
            let state = if params["requestState"] == "once" { "twice" } else { "once" };
            let why = json!({"method": "elicitation/create", "params": {"mode": "form", "message": "why?", "requestedSchema": {"type": "object", "properties": {}}}});
            json!({"resultType": "input_required", "inputRequests": {"why": why}, "requestState": state})
        }
        Some("tools/call") if params["arguments"]["note"] == "fails" => {
            return json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32011, "message": "no money"}})
                .to_string()
                .into();
        }
        Some("tools/call") if params["arguments"]["note"] == "large" => {
            json!({"resultType": "complete", "content": [{"type": "text", "text": "x".repeat(LARGE)}]})
        }
        _ => return plain_bank(asked),
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string().into()
}

/// A client on the wire.
struct Raw<'a> {
    office: &'a Office,
    token: String,
    extensions: Value,
}

impl Raw<'_> {
    fn of(office: &Office) -> Raw<'_> {
        Raw { office, token: office.mint(&[]), extensions: json!({"io.modelcontextprotocol/tasks": {}}) }
    }

    fn asks(&self, method: &str, name: &str, params: Value) -> Value {
        let mut params = params;
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities":
                {"elicitation": {"url": {}, "form": {}}, "extensions": self.extensions},
        });
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let name = if name.is_empty() { String::new() } else { format!("mcp-name: {name}\r\n") };
        let headers = format!(
            "content-type: application/json\r\naccept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
             mcp-method: {method}\r\n{name}authorization: Bearer {}\r\n",
            self.token
        );
        let (_, _, answer) = exchange(&self.office.url, "POST /mcp/bank", &headers, &body);
        serde_json::from_str(&answer).unwrap_or(Value::String(answer))
    }

    /// Calls, and is given a task.
    fn task(&self, amount: u64, note: &str) -> String {
        let arguments = json!({"amount": amount, "note": note});
        let answer = self.asks("tools/call", "transfer", json!({"name": "transfer", "arguments": arguments}));
        let made = &answer["result"];
        assert_eq!((&made["resultType"], &made["status"]), (&json!("task"), &json!("working")), "{answer}");
        assert!(made["ttlMs"].as_u64() > Some(1_800_000) && made["pollIntervalMs"].is_u64(), "{answer}");
        assert!(made["createdAt"].as_str().expect("a time").ends_with('Z'), "{answer}");
        assert!(
            made["statusMessage"].as_str().expect("words").contains("waits for the approval of"),
            "{answer}"
        );
        made["taskId"].as_str().expect("an id").to_owned()
    }

    fn about(&self, method: &str, task: &str) -> Value {
        self.asks(method, task, json!({"taskId": task}))
    }

    /// How it stands: its status, and what came of it in words.
    fn stands(&self, task: &str) -> String {
        in_words(&self.about("tasks/get", task))
    }

    /// How it ends: one answer comes within seconds in which a busy machine may still be at the call.
    fn comes(&self, task: &str) -> String {
        loop {
            let told = self.stands(task);
            if told != "working" {
                return told;
            }
        }
    }
}

fn in_words(answer: &Value) -> String {
    let result = &answer["result"];
    let text = result["result"]["content"][0]["text"].as_str().or(result["error"]["message"].as_str());
    match (result["status"].as_str(), text) {
        (Some(status), Some(text)) => format!("{status}: {text}"),
        (Some(status), None) => status.to_owned(),
        (None, _) => answer["error"]["code"].to_string(),
    }
}

fn grant(office: &Office) {
    assert_eq!(office.decides("ann", &["grant", &office.waits()]).0, 0);
}

async fn with_bank(approvals: &'static str, act: impl FnOnce(Office, Upstream) + Send + 'static) {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let office = Office::open(&upstream.url, approvals);
        // What the bank asks of the client, and its own tasks.
        office.has_policies(|policies| {
            format!("{policies}\npermit (principal, action in [Action::\"elicitation/create\", Action::\"tasks\"], resource);")
        });
        act(office, upstream);
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_runs_once_where_somebody_has_approved() {
    with_bank("wait_seconds = 0\nrefusal_seconds = 1", |mut office, upstream| {
        let token = {
            let raw = Raw::of(&office);
            let described = raw.asks("server/discover", "", json!({}));
            assert_eq!(described["result"]["capabilities"]["extensions"], raw.extensions, "{described}");

            let task = raw.task(5, CANARY);
            assert_eq!((raw.stands(&task).as_str(), seen(&upstream, "transfer")), ("working", 0));
            grant(&office);
            thread::scope(|scope| {
                let asked: Vec<_> = (0..6).map(|_| scope.spawn(|| raw.stands(&task))).collect();
                for answer in asked {
                    assert_eq!(answer.join().expect("it is answered"), "completed: done");
                }
            });
            assert_eq!(seen(&upstream, "transfer"), 1, "of many who ask one has it made");
            assert_eq!(in_words(&raw.about("tasks/cancel", &task)), "null", "it is heard");
            assert_eq!(raw.comes(&task), "completed: done", "what has ended stays");

            let refused = raw.task(6, "");
            assert_eq!(office.decides("ann", &["refuse", &office.waits(), "--reason", "not today"]).0, 0);
            assert!(
                raw.stands(&refused).starts_with("completed: denied: `hold_"),
                "{}",
                raw.stands(&refused)
            );
            assert!(raw.stands(&refused).ends_with("it was refused: not today"), "{}", raw.stands(&refused));

            let cancelled = raw.task(7, "");
            let hold = office.waits();
            raw.about("tasks/cancel", &cancelled);
            assert_eq!(raw.stands(&cancelled), "cancelled");
            assert_eq!(office.hold(|one| id(one) == hold)["status"], "withdrawn");

            let failed = raw.task(8, "fails");
            grant(&office);
            assert_eq!(raw.comes(&failed), "failed: no money");
            let large = raw.task(9, "large");
            grant(&office);
            assert_eq!(raw.comes(&large), format!("completed: {}", "x".repeat(LARGE)));
            no_plain_text(&office, &[CANARY, &task]);
            changed(&raw, &upstream);
            raw.token.clone()
        };
        restarted(&mut office, &upstream, &token);
        let (folder, _) = office.close();
        let data = folder.path().join("data");
        let told = |query: &str| recorded(&data, query);
        assert_eq!(
            told("kind:note method:tollbook/task").lines().count(),
            10,
            "each that was made is told of"
        );
        let asked = told("method:tasks/get");
        assert!(asked.lines().count() > 10 && asked.lines().all(|line| line.contains("hold_")), "{asked}");
        let all = told("kind:note") + &told("");
        assert!(!all.contains(".task-"), "no record has a task's id: {all}");
    })
    .await;
}

/// Two tasks of one hold need an approval each, and what was approved is judged anew.
fn changed(raw: &Raw<'_>, upstream: &Upstream) {
    let before = seen(upstream, "transfer");
    let [first, second] = [raw.task(9, ""), raw.task(9, "")];
    grant(raw.office);
    assert_eq!(raw.comes(&first), "completed: done");
    assert_eq!((raw.stands(&second).as_str(), seen(upstream, "transfer")), ("working", before + 1));
    grant(raw.office);
    assert_eq!(raw.comes(&second), "completed: done");
    assert_eq!(seen(upstream, "transfer"), before + 2);

    let task = raw.task(10, "");
    grant(raw.office);
    raw.office.has_policies(|policies| {
        format!("{policies}\nforbid (principal, action, resource == Tool::\"bank/transfer\");")
    });
    assert_eq!(raw.comes(&task), "failed: Unknown tool: transfer");
    raw.office.has_policies(str::to_owned);
    assert_eq!(seen(upstream, "transfer"), before + 2);
}

/// What the ledger says; perhaps nothing yet.
fn recorded(data: &Path, query: &str) -> String {
    let output = tollbook(data, &["calls", query, "--limit", "1000", "--json"]);
    String::from_utf8(output.stdout).expect("text")
}

/// Nothing in the state can be read that only the task's client may know.
fn no_plain_text(office: &Office, secrets: &[&str]) {
    for file in ["state.sqlite", "state.sqlite-wal"] {
        let bytes = std::fs::read(office.data().join(file)).expect("it is there");
        for secret in secrets {
            assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{file} has {secret}");
        }
    }
}

/// Tasks outlive the gateway; one whose call was under way is not made again.
fn restarted(office: &mut Office, upstream: &Upstream, token: &str) {
    let before = seen(upstream, "transfer");
    let with = |office: &Office, act: &dyn Fn(&Raw<'_>) -> String| {
        let extensions = json!({"io.modelcontextprotocol/tasks": {}});
        act(&Raw { office, token: token.to_owned(), extensions })
    };
    let waits = with(office, &|raw| raw.task(20, ""));
    office.restart();
    assert_eq!(with(office, &|raw| raw.stands(&waits)), "working");
    grant(office);
    office.restart();
    assert_eq!(with(office, &|raw| raw.comes(&waits)), "completed: done");
    office.restart();
    assert_eq!(with(office, &|raw| raw.comes(&waits)), "completed: done");
    assert_eq!(seen(upstream, "transfer"), before + 1);

    let lost = with(office, &|raw| raw.task(21, ""));
    grant(office);
    office.dies_at("call.answered=kill");
    // Nobody answers: the gateway dies between the server's answer and its record.
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| with(office, &|raw| raw.stands(&lost)))));
    office.has_died();
    for _ in 0..2 {
        let told = with(office, &|raw| raw.stands(&lost));
        assert!(told.starts_with("failed: the gateway ended while the call was being made"), "{told}");
    }
    assert_eq!(seen(upstream, "transfer"), before + 2, "it is not made again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_its_clients_alone() {
    with_bank("wait_seconds = 0", |office, upstream| {
        let mine = Raw::of(&office);
        let task = mine.task(5, "");
        let forged = format!("{}{}", &task[..task.len() - 32], "0".repeat(32));
        let of_another_run = Raw::of(&office);
        for (what, raw, asked) in [
            ("altered", &mine, format!("{task}x")),
            ("forged", &mine, forged),
            ("in another run", &of_another_run, task.clone()),
        ] {
            for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
                let answer = raw.about(method, &asked);
                assert_eq!(answer["error"]["code"], -32602, "{what} {method}: {answer}");
            }
        }
        let answer = mine.asks("tasks/get", "another", json!({"taskId": task}));
        assert!(answer["error"]["code"].is_i64(), "its headers say another thing: {answer}");
        let silent = Raw { token: mine.token.clone(), extensions: json!({}), office: &office };
        let answer = silent.about("tasks/get", &task);
        assert_eq!(answer["error"]["code"], -32021, "{answer}");
        assert_eq!(answer["error"]["data"]["requiredCapabilities"]["extensions"], mine.extensions);
        let arguments = json!({"name": "transfer", "arguments": {"amount": 6}});
        let asked = silent.asks("tools/call", "transfer", arguments);
        assert_eq!(
            asked["result"]["resultType"], "input_required",
            "who takes no task is led to the page: {asked}"
        );

        assert_eq!(mine.stands("the-server's-own"), "working", "the server's own tasks are the server's");
        let own =
            upstream.seen().iter().filter(|body| String::from_utf8_lossy(body).contains("tasks/get")).count();
        assert_eq!(own, 1);

        assert_eq!(office.decides("ann", &["grant", &of(&office, 5)]).0, 0);
        assert_eq!(of_another_run.about("tasks/get", &task)["error"]["code"], -32602);
        assert_eq!(seen(&upstream, "transfer"), 0, "who may not ask begins nothing");
        revoked(&office, &mine, &task);
        assert_eq!(seen(&upstream, "transfer"), 0);
        let (folder, _) = office.close();
        let data = folder.path().join("data");
        let refused = printed(&data, &["calls", "verdict:deny method:tasks/*", "--limit", "1000", "--json"]);
        assert_eq!(refused.lines().count(), 12, "each is recorded: {refused}");
        assert!(!refused.contains(&task), "no record has a task's id: {refused}");
    })
    .await;
}

/// The hold whose call is for that amount.
fn of(office: &Office, amount: u64) -> String {
    let wanted = format!("\\\"amount\\\":{amount}");
    let holds = office.holds();
    let shown = holds
        .iter()
        .map(id)
        .find(|hold| printed(&office.data(), &["approvals", "show", hold, "--json"]).contains(&wanted));
    shown.expect("it waits")
}

/// A run that is revoked has no tasks.
fn revoked(office: &Office, raw: &Raw<'_>, task: &str) {
    let hold = of(office, 5);
    let run = office.hold(|one| id(one) == hold)["run"].as_str().expect("a run").to_owned();
    printed(&office.data(), &["run", "revoke", &run]);
    let told = raw.stands(task);
    assert!(!told.contains("done") && !told.contains("working"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_asks_back_is_answered_within_the_task() {
    with_bank("wait_seconds = 0", |office, upstream| {
        let raw = Raw::of(&office);
        let task = raw.task(5, "ask");
        grant(&office);
        for round in 0..2 {
            let asked = raw.about("tasks/get", &task);
            let key = format!("{round}/why");
            assert_eq!(asked["result"]["status"], "input_required", "{asked}");
            assert_eq!(asked["result"]["inputRequests"][&key]["method"], "elicitation/create", "{asked}");
            let answers = |key: &str| json!({"taskId": task, "inputResponses": {key: {"action": "accept", "content": {}}}});
            raw.asks("tasks/update", &task, answers("9/other"));
            assert_eq!(raw.stands(&task), "input_required", "that was not asked");
            let heard = raw.asks("tasks/update", &task, answers(&key));
            assert_eq!(heard["result"], json!({"resultType": "complete"}));
        }
        assert_eq!(raw.comes(&task), "completed: done");
        assert_eq!(seen(&upstream, "transfer"), 3, "one call of three rounds, under one approval");
        office.close();
    })
    .await;
}

/// Answers each line under its id.
const PIPE: &str = r#"while read -r line; do id=$(printf '%s' "$line" | sed 's/.*"id":\("[^"]*"\|[0-9]*\).*/\1/'); printf '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}\n{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":[{"type":"text","text":"piped"}]}}\n' "$id"; done"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_pipes_is_called_for_a_task_too() {
    with_bank("wait_seconds = 0", |mut office, upstream| {
        let (url, command) =
            (format!("url = {:?}", upstream.url), format!("command = [\"sh\", \"-c\", {PIPE:?}]"));
        office.reconfigured(|settings| settings.replace(&url, &command));
        let raw = Raw::of(&office);
        let task = raw.task(5, "");
        assert_eq!(raw.stands(&task), "working");
        grant(&office);
        for _ in 0..2 {
            assert_eq!(raw.comes(&task), "completed: piped");
        }
        assert_eq!(seen(&upstream, "transfer"), 0);
        office.close();
    })
    .await;
}

/// A client on the Rust SDK, which polls as it is told.
#[test]
fn a_client_that_takes_tasks_waits_for_people() {
    let mut command = Command::new(node());
    let port = free_port();
    command.arg(repository().join("e2e/peers/node/bank.mjs")).arg(port.to_string());
    let _bank = Peer::start(command, "listening on");
    let bank = format!("http://127.0.0.1:{port}");
    let mut office = Office::open(&format!("{bank}/mcp"), "wait_seconds = 1");
    let mut told = String::new();
    for (amount, words) in [(1, &["grant"][..]), (2, &["refuse", "--reason", "not today"]), (3, &[])] {
        if words.is_empty() {
            office.reconfigured(|settings| {
                settings.replace("wait_seconds = 1", "wait_seconds = 1\nlasts_seconds = 30")
            });
        }
        let spec = json!({
            "transport": {"http": format!("{}/mcp/bank", office.url)}, "version": "2026-07-28", "tasks": true,
            "headers": {"authorization": format!("Bearer {}", office.mint(&[]))}, "urls": "accept",
            "steps": [["tools/call", {"name": "transfer", "arguments": {"to": "ann", "amount": amount}}]],
        });
        let answer = thread::scope(|scope| {
            let calling = scope.spawn(|| rust(&spec));
            let hold = office.waits();
            office.hold(|_| recorded(&office.data(), "method:tasks/get").contains(&hold));
            if let Some((verb, more)) = words.split_first() {
                assert_eq!(office.decides("ann", &[&[*verb, &hold], more].concat()).0, 0);
            }
            calling.join().expect("it is answered")
        });
        let line: Value = serde_json::from_str(answer.lines().last().expect("a line")).expect("JSON");
        let text = line["result"]["result"]["content"][0]["text"].as_str().expect("a text");
        let words = text.split(' ').filter(|word| !word.starts_with('`'));
        told += &format!("{}: {}\n", line["result"]["status"], words.collect::<Vec<_>>().join(" "));
    }
    expect_test::expect![[r#"
        "completed": 1 moved to ann
        "completed": denied: has ended: it was refused: not today
        "completed": denied: has ended: nobody decided in time
    "#]]
    .assert_eq(&told);
    let done: Value = serde_json::from_str(&exchange(&bank, "GET /done", "", "").2).expect("JSON");
    assert_eq!(done.as_array().map(Vec::len), Some(1), "{done}");
    office.close();
}
