//! What servers and clients try to slip past policy and record: messages where none belongs, questions where none is looked for, and
//! answers that come too late.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use e2e::gateway::{Gateway, tollbook};
use e2e::http::exchange;
use e2e::scripted::{begin_events, event, respond, start};
use e2e::upstream::{Upstream, echo};
use serde_json::{Value, json};

use crate::approvals::{Office, bank};
use crate::callers::printed;

const JSON: &str = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";

/// What a server would like the client's model to do.
const SAMPLING: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1}}"#;

/// Messages that were refused for a reason. What is a note is found by its kind alone.
fn refused(data: &Path, why: &str) -> usize {
    let verified = tollbook(data, &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    // Where nothing is found it says so by its exit code.
    let listed = |kind: &str| tollbook(data, &["calls", kind, "--limit", "1000", "--json"]).stdout;
    let of = |kind: &str| String::from_utf8_lossy(&listed(kind)).matches(why).count();
    of("kind:refused") + of("kind:note")
}

#[test]
fn a_body_where_nothing_was_asked_says_nothing_to_the_client() {
    let url = start(|stream, body| {
        let request: Value = serde_json::from_str(body).unwrap_or_default();
        let poisoned =
            json!({"jsonrpc": "2.0", "id": 2, "result": {"tools": [{"name": "poisoned"}]}}).to_string();
        let error = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"poisoned"},"id":null}"#;
        let (status, answer) = match request["method"].as_str() {
            Some("notifications/initialized") => ("200 OK", SAMPLING),
            Some("notifications/progress") => ("500 Oops", SAMPLING),
            Some("notifications/cancelled") => ("400 Bad Request", error),
            _ => ("200 OK", poisoned.as_str()),
        };
        respond(stream, status, "application/json", answer.as_bytes());
    });
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), &format!("[servers.s]\nurl = \"{url}\"\n"));
    let post = |message: &str| {
        let (status, head, body) = exchange(&gateway.url, "POST /mcp/s", JSON, message);
        assert_eq!(body, "", "{message}");
        assert!(!head.to_ascii_lowercase().contains("content-type"), "{head}");
        status
    };
    let notification = |method: &str| post(&format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#));
    assert_eq!(notification("notifications/initialized"), 202);
    assert_eq!(notification("notifications/progress"), 500);
    assert_eq!(notification("notifications/cancelled"), 400);
    assert_eq!(notification("notifications/roots/list_changed"), 202);
    let data = gateway.data.clone();
    gateway.stop();
    assert_eq!(refused(&data, "nothing was asked that it could answer"), 3, "but for the mere error");
}

#[test]
fn an_error_instead_of_a_held_calls_answer_is_not_the_servers_word() {
    let url = start(|stream, body| match body.contains("tools/call") {
        true => respond(stream, "500 Oops", "application/json", SAMPLING.as_bytes()),
        false => respond(stream, "200 OK", "application/json", &bank(body.as_bytes())),
    });
    let office = Office::open(&url, "wait_seconds = 60");
    let token = office.mint(&[]);
    let address = office.url.trim_start_matches("http://");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"transfer","arguments":{"amount":5}}}"#;
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "POST /mcp/bank HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{JSON}content-length: {}\r\n\r\n",
        call.len()
    );
    stream.write_all(format!("{head}{call}").as_bytes()).expect("it reads");
    let mut begun = [0; 64];
    stream.read_exact(&mut begun).expect("it is kept waiting by a stream");
    assert_eq!(office.decides("ann", &["grant", &office.waits()]).0, 0);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("it is answered");
    assert!(!rest.contains("sampling"), "{rest}");
    assert!(rest.contains(r#""id":1,"error""#), "{rest}");
}

/// A gateway with policies before a server.
fn guarded(folder: &Path, policies: &str, server: &str) -> Gateway {
    let file = folder.join("guarded.cedar");
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(&file, policies).expect("written");
    Gateway::start(&folder.join("data"), &format!("[policy]\npath = {file:?}\n[servers.s]\n{server}\n"))
}

/// What a client of the stateless era gets for a request, and its status.
fn asks(gateway: &Gateway, (id, method): (u64, &str), params: &Value, headers: &str) -> (u16, String) {
    let mut params = params.clone();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "e2e", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities":
            {"elicitation": {}, "sampling": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
    });
    let name = params["name"].as_str().or(params["taskId"].as_str());
    let name = name.map(|name| format!("mcp-name: {name}\r\n")).unwrap_or_default();
    let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
    let headers =
        format!("{JSON}mcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n{name}{headers}");
    let (status, _, answer) = exchange(&gateway.url, "POST /mcp/s", &headers, &body);
    (status, answer)
}

fn calls(gateway: &Gateway, tool: &str) -> String {
    asks(gateway, (1, "tools/call"), &json!({"name": tool, "arguments": {}}), "").1
}

/// More than a large message leaves of a member.
const LONG: usize = 600 << 10;

/// A server that asks its client in every way that there is.
fn curious(asked: &[u8]) -> Bytes {
    let request: Value = serde_json::from_slice(asked).expect("a request");
    let (method, params) = (request["method"].as_str().unwrap_or_default(), &request["params"]);
    let asking = |method: &str, text: &str| json!({"a": {"method": method, "params": {"text": text}}});
    let rounds = |requests: Value, state: &str| json!({"resultType": "input_required", "inputRequests": requests, "requestState": state});
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let long = "x".repeat(LONG);
    let result = match (method, params["name"].as_str().or(params["taskId"].as_str()).unwrap_or_default()) {
        ("tools/list", _) => {
            let tools: Vec<Value> =
                ["long", "state", "hidden", "task", "leads", "leads far"].map(tool).into();
            json!({"tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"})
        }
        (_, "long") => rounds(asking("sampling/createMessage", &long), "s"),
        (_, "state") => rounds(asking("elicitation/create", ""), &long),
        (_, tool @ ("leads" | "leads far")) => {
            let text = if tool == "leads far" { &long } else { tool };
            let leads =
                json!({"mode": "url", "elicitationId": "e", "url": "https://s.example", "message": text});
            let error =
                json!({"code": -32042, "message": "Go there first.", "data": {"elicitations": [leads]}});
            return json!({"jsonrpc": "2.0", "id": request["id"], "error": error}).to_string().into();
        }
        (_, "hidden") => rounds(asking("sampling/createMessage", ""), &long),
        ("tasks/get", "done") => json!({"resultType": "complete", "taskId": "done", "status": "completed",
            "inputRequests": {}, "result": {"content": [{"type": "text", "text": long}]}}),
        ("tasks/get", "elicits") => {
            json!({"resultType": "complete", "taskId": "elicits", "status": "input_required",
                "inputRequests": asking("elicitation/create", "")})
        }
        ("tasks/get", task) => {
            json!({"resultType": "complete", "taskId": task, "status": "input_required",
                "inputRequests": asking("sampling/createMessage", "")})
        }
        _ => json!({"resultType": "task", "taskId": "samples", "status": "working"}),
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string().into()
}

const CURIOUS: &str = r#"
permit (principal, action == Action::"tools/call", resource in Server::"s");
permit (principal, action == Action::"tasks", resource);
permit (principal, action == Action::"elicitation/create", resource in Server::"s");
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_way_a_server_asks_its_client_it_is_judged() {
    let upstream = Upstream::start(curious).await;
    let act = move || {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = guarded(folder.path(), CURIOUS, &format!("url = {:?}", upstream.url));
        assert!(asks(&gateway, (1, "tools/list"), &json!({}), "").1.contains("hidden"));
        let denied = "the server asks something of the client that is denied";
        let long = calls(&gateway, "long");
        assert!(long.contains(denied) && long.contains("too large to be judged"), "{}", long.len());
        assert!(calls(&gateway, "hidden").contains(denied), "what is large otherwise is judged");
        assert!(calls(&gateway, "state").contains(r#""resultType":"input_required""#), "and may go on");
        assert!(calls(&gateway, "task").contains(r#""taskId":"samples""#));
        let about = |task: &str| asks(&gateway, (1, "tasks/get"), &json!({"taskId": task}), "").1;
        assert!(about("elicits").contains("inputRequests"), "{}", about("elicits"));
        assert!(about("done").len() > LONG, "nothing is asked");
        assert!(calls(&gateway, "leads").contains("-32042"), "by an error, too");
        let far = calls(&gateway, "leads far");
        assert!(far.contains(denied) && far.contains("too large to be judged"), "{}", far.len());
        let samples = about("samples");
        assert!(samples.contains(denied) && !samples.contains("inputRequests"), "{samples}");
        gateway.stop();
        let withheld = ["calls", "status:withheld", "--limit", "100", "--json"];
        let withheld = printed(&folder.path().join("data"), &withheld);
        assert_eq!(withheld.lines().count(), 4, "each is recorded: {withheld}");

        let calls_alone = CURIOUS.lines().find(|line| line.contains("tools/call")).expect("a policy");
        let gateway =
            guarded(&folder.path().join("other"), calls_alone, &format!("url = {:?}", upstream.url));
        assert!(asks(&gateway, (1, "tools/list"), &json!({}), "").1.contains("leads"));
        let leads = calls(&gateway, "leads");
        assert!(leads.contains(denied) && !leads.contains("https://s.example"), "{leads}");
        gateway.stop();
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

#[test]
fn a_server_asks_nothing_by_notifications() {
    let url = start(|stream, body| {
        if body.contains("tools/list") {
            let tools = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}}"#;
            return respond(stream, "200 OK", "application/json", tools.as_bytes());
        }
        begin_events(stream);
        let task = |id: &str, method: &str| {
            let asked = json!({"a": {"method": method, "params": {}}});
            let params = json!({"taskId": id, "status": "input_required", "inputRequests": asked});
            json!({"jsonrpc": "2.0", "method": "notifications/tasks", "params": params}).to_string()
        };
        event(stream, &task("samples", "sampling/createMessage"));
        event(stream, &task("elicits", "elicitation/create"));
        event(stream, r#"{"jsonrpc":"2.0","method":"sampling/createMessage","params":{"messages":[]}}"#);
        event(stream, r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#);
    });
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = guarded(folder.path(), CURIOUS, &format!("url = {url:?}"));
    assert_eq!(asks(&gateway, (1, "tools/list"), &json!({}), "").0, 200);
    let told = calls(&gateway, "t");
    assert!(told.contains("elicits") && told.contains(r#""result""#), "{told}");
    assert!(!told.contains("samples") && !told.contains("sampling"), "{told}");
    gateway.stop();
    let data = folder.path().join("data");
    assert_eq!(refused(&data, "the server asks something of the client that is denied"), 1);
    assert_eq!(refused(&data, "may come without an `id`"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_calls_nothing_by_notifications() {
    let upstream = Upstream::start(echo).await;
    let act = move || {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = Gateway::start(folder.path(), &format!("[servers.s]\nurl = \"{}\"\n", upstream.url));
        for method in ["tools/call", "resources/read", "made/up", "notificationsX"] {
            let body =
                json!({"jsonrpc": "2.0", "method": method, "params": {"name": "wipe", "arguments": {}}});
            let (status, _, answer) = exchange(&gateway.url, "POST /mcp/s", JSON, &body.to_string());
            assert_eq!(status, 400, "{method}: {answer}");
        }
        assert_eq!(upstream.seen().len(), 0, "none goes on");
        gateway.stop();
        assert_eq!(refused(folder.path(), "may come without an `id`"), 4);
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// Whether `balance` has changed.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// A server whose tools want a header each.
fn mirrored(asked: &[u8]) -> Bytes {
    let request: Value = serde_json::from_slice(asked).expect("a request");
    let tool = |name: &str, header: &str| {
        let schema =
            json!({"type": "object", "properties": {"r": {"type": "string", "x-mcp-header": header}}});
        json!({"name": name, "inputSchema": schema})
    };
    let balance = if CHANGED.load(Ordering::SeqCst) { "Zone" } else { "Region" };
    let result = match request["method"].as_str() {
        Some("tools/list") => json!({"tools": [tool("balance", balance), tool("deploy", "Region")],
            "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}),
        _ => json!({"resultType": "complete", "content": []}),
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_headers_of_a_hidden_tool_tell_nothing_of_it() {
    let upstream = Upstream::start(mirrored).await;
    let act = move || {
        let folder = tempfile::tempdir().expect("a folder");
        let policies =
            r#"permit (principal, action == Action::"tools/call", resource == Tool::"s/balance");"#;
        let gateway = guarded(folder.path(), policies, &format!("url = {:?}", upstream.url));
        let lists = || asks(&gateway, (1, "tools/list"), &json!({}), "").1;
        let call = |tool: &str, header: &str| {
            let params = json!({"name": tool, "arguments": {}});
            asks(&gateway, (1, "tools/call"), &params, &format!("mcp-param-{header}: x\r\n"))
        };
        let unknown = |tool: &str| {
            let error = json!({"code": -32602, "message": format!("Unknown tool: {tool}")});
            (200, json!({"jsonrpc": "2.0", "id": 1, "error": error}))
        };
        let told = |(status, answer): (u16, String)| (status, serde_json::from_str(&answer).expect("JSON"));
        assert!(lists().contains("balance") && !lists().contains("deploy"));
        for tool in ["deploy", "made-up"] {
            assert_eq!(told(call(tool, "region")), unknown(tool));
        }
        let (status, said) = call("balance", "region");
        assert!(status == 400 && said.contains("-32020"), "a tool that is shown is checked: {said}");

        CHANGED.store(true, Ordering::SeqCst);
        assert!(!lists().contains("balance"), "it is in quarantine");
        for header in ["zone", "region"] {
            assert_eq!(told(call("balance", header)), unknown("balance"));
        }
        gateway.stop();
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// A server that says too late, or to nobody in particular, what a policy keeps out of the record. `slow` is answered with the next
/// list, once in two parts of which one is no message; two calls of `pair` go on together.
const LATE: &str = r#"n=0; while read -r line; do
    id=$(printf %s "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
    case "$line" in
        *'"method":"tools/list"'*)
            tool='"inputSchema":{"type":"object"}'
            printf '{"jsonrpc":"2.0","id":1,"id":1,"result":{"content":[{"type":"text","text":"canary-broken"}]}}\n'
            printf '{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"canary-late"}]}}\n'
            printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"slow",%s},{"name":"pair",%s}],"resultType":"complete"}}\n' "$id" "$tool" "$tool" ;;
        *'"name":"pair"'*)
            n=$((n+1)); test $n = 2 || continue
            printf '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"canary-note"}}\n'
            for id in 2 3; do printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[],"resultType":"complete"}}\n' $id; done ;;
    esac
done"#;

#[test]
fn what_comes_too_late_is_recorded_no_further_than_its_call() {
    let policies = r#"@record("none") permit (principal, action == Action::"tools/call", resource);"#;
    let folder = tempfile::tempdir().expect("a folder");
    let server = format!("command = [\"sh\", \"-c\", {LATE:?}]\n[limits]\nanswer_seconds = 4");
    let gateway = guarded(folder.path(), policies, &server);
    let lists = |id| asks(&gateway, (id, "tools/list"), &json!({}), "").1;
    let call = |id, tool| asks(&gateway, (id, "tools/call"), &json!({"name": tool, "arguments": {}}), "").1;
    assert!(lists(9).contains("slow"));
    assert!(call(1, "slow").contains("did not answer in time"));
    assert!(lists(4).contains("slow"));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| call(2, "pair"));
        assert!(call(3, "pair").contains(r#""id":3,"result""#));
        assert!(first.join().expect("it is answered").contains(r#""id":2,"result""#));
    });
    gateway.stop();
    let data = folder.path().join("data");
    assert_eq!(refused(&data, "no request with this id waits"), 2, "before and after the call");
    let document: Value = serde_json::from_str(&printed(&data, &["evidence", "last"])).expect("a document");
    let records = document["records"].as_array().expect("records");
    let body = |record: &Value| URL_SAFE_NO_PAD.decode(record["body"].as_str().unwrap_or_default());
    let bodies: Vec<String> = records
        .iter()
        .map(|record| String::from_utf8_lossy(&body(record).expect("base64")).into_owned())
        .collect();
    assert!(bodies.iter().any(|body| body.contains(r#""name":"slow""#)), "what no policy reduces is there");
    for canary in ["canary-broken", "canary-late", "canary-note"] {
        assert!(!bodies.iter().any(|body| body.contains(canary)), "{canary}: {bodies:?}");
    }
}
