//! Clients are told that what they may see has changed, in both eras and over every kind of stream.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use e2e::gateway::{Gateway, tollbook};
use e2e::peers::{node, repository};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::approvals::{Office, bank};
use crate::callers::printed;
use crate::peers::{verifies, wrapped};

/// A stdio server of both eras. Its tool is described by the file `$TOOL` that is its first argument.
const SERVER: &str = r#"tool=$1; while read -r line; do
    id=$(printf %s "$line" | sed 's/.*"id":\("[^"]*"\|[0-9]*\).*/\1/')
    info='"capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"s","version":"1"}'
    fresh='"resultType":"complete","ttlMs":0,"cacheScope":"private"'
    case "$line" in
        *'"method":"initialize"'*) result="{\"protocolVersion\":\"2025-11-25\",$info}" ;;
        *'"method":"server/discover"'*) result="{\"supportedVersions\":[\"2026-07-28\"],$info,$fresh}" ;;
        *'"method":"tools/list"'*)
            result="{\"tools\":[{\"name\":\"t\",\"description\":\"$(cat "$tool")\",\"inputSchema\":{\"type\":\"object\"}}],$fresh}" ;;
        *'"method":"subscriptions/listen"'*)
            printf '{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":%s},"notifications":{"toolsListChanged":true}}}\n' "$id"
            continue ;;
        *'"method":"notifications/'*) continue ;;
        *) result='{"content":[],"resultType":"complete"}' ;;
    esac
    printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done"#;

const POLICIES: &str = r#"permit (principal, action == Action::"tools/call", resource);"#;

/// The TypeScript client on a script.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(transport: &Value, version: &str) -> Follower {
        let steps = json!([
            ["tools/list", {}],
            ["told", {"method": "notifications/tools/list_changed"}],
            ["tools/list", {}],
        ]);
        Follower::run(&json!({"transport": transport, "version": version, "steps": steps, "listens": true}))
    }

    fn run(spec: &Value) -> Follower {
        let script = repository().join("e2e/peers/clients/ts.mjs");
        let mut command = Command::new(node());
        command.arg(script).arg(spec.to_string()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the client runs");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Follower { child, lines }
    }

    fn next(&mut self) -> Value {
        let line = self.lines.next().expect("a line").expect("a line");
        serde_json::from_str(&line).expect("an answer")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn names(answer: &Value) -> Vec<&str> {
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {answer}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name")).collect()
}

/// What an operator types.
fn accept(data: &Path) {
    let config = data.join("tollbook.toml");
    let config = config.to_str().expect("a path");
    let waiting = tollbook(data, &["policy", "--config", config, "tools", "--waiting", "--json"]);
    let row: Value = serde_json::from_slice(&waiting.stdout).expect("one tool waits");
    let tool = format!("{}/t", row["server"].as_str().expect("a server"));
    let accepted = tollbook(data, &["policy", "--config", config, "accept", &tool, "--yes"]);
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
}

/// The tool changes before a client comes; the client does not see it until somebody accepts it, and is told then.
fn told_of_an_accepted_tool(version: &str, transport: fn(&str, &Path, &Value) -> Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let (policies, tool) = (folder.path().join("all.cedar"), folder.path().join("tool"));
    std::fs::write(&policies, POLICIES).expect("written");
    std::fs::write(&tool, "First.").expect("written");
    let data = folder.path().join("data");
    let server = json!(["sh", "-c", SERVER, "server", tool]);
    let path = policies.to_str().expect("a path");
    let settings = format!("[policy]\npath = {path:?}\n[servers.news]\ncommand = {server}\n");
    let gateway = Gateway::start(&data, &settings);
    let transport = transport(&gateway.url, &data, &server);
    let first = Follower::start(&transport, version).next();
    assert_eq!(names(&first), ["t"], "it is pinned at first sight");
    std::fs::write(&tool, "Second.").expect("written");
    assert_eq!(names(&Follower::start(&transport, version).next()), [""; 0], "it has changed and waits");
    let mut client = Follower::start(&transport, version);
    assert_eq!(names(&client.next()), [""; 0], "it waits still");
    accept(&data);
    let told = client.next();
    assert_eq!(told["result"]["method"], "notifications/tools/list_changed", "{told}");
    assert_eq!(names(&client.next()), ["t"]);
    drop(client);
    gateway.stop();
    verifies(&data);
    let calls = tollbook(&data, &["calls", "--json", "--limit", "200", "kind:note"]);
    let calls = String::from_utf8(calls.stdout).expect("text");
    assert!(calls.contains("the gateway itself says so"), "{calls}");
}

#[test]
fn of_an_accepted_tool_on_the_stream_of_a_session() {
    told_of_an_accepted_tool("legacy", |url, _, _| json!({"http": format!("{url}/mcp/news")}));
}

#[test]
fn of_an_accepted_tool_over_http_and_sse() {
    told_of_an_accepted_tool("legacy", |url, _, _| json!({"sse": format!("{url}/mcp/news/sse")}));
}

#[test]
fn of_an_accepted_tool_behind_wrap() {
    told_of_an_accepted_tool("legacy", |_, data, server| json!({"stdio": wrapped(data, server)}));
}

#[test]
fn of_an_accepted_tool_by_a_subscription() {
    told_of_an_accepted_tool("2026-07-28", |url, _, _| json!({"http": format!("{url}/mcp/news")}));
}

#[test]
fn of_an_accepted_tool_by_a_subscription_behind_wrap() {
    told_of_an_accepted_tool("2026-07-28", |_, data, server| json!({"stdio": wrapped(data, server)}));
}

/// Policies that are read again at SIGHUP show the tool that those before hid.
#[test]
fn of_other_policies_by_a_subscription() {
    let folder = tempfile::tempdir().expect("a folder");
    let (policies, tool) = (folder.path().join("all.cedar"), folder.path().join("tool"));
    std::fs::write(&policies, POLICIES.replace("principal", "principal == User::\"nobody\""))
        .expect("written");
    std::fs::write(&tool, "First.").expect("written");
    let data = folder.path().join("data");
    let server = json!(["sh", "-c", SERVER, "server", tool]);
    let path = policies.to_str().expect("a path");
    let settings = format!("[policy]\npath = {path:?}\n[servers.news]\ncommand = {server}\n");
    let gateway = Gateway::start(&data, &settings);
    let transport = json!({"http": format!("{}/mcp/news", gateway.url)});
    assert_eq!(names(&Follower::start(&transport, "2026-07-28").next()), [""; 0], "it is pinned, and hidden");
    let mut client = Follower::start(&transport, "2026-07-28");
    assert_eq!(names(&client.next()), [""; 0]);
    std::fs::write(&policies, POLICIES).expect("written");
    gateway.reload(&settings);
    let told = client.next();
    assert_eq!(told["result"]["method"], "notifications/tools/list_changed", "{told}");
    assert_eq!(names(&client.next()), ["t"]);
    drop(client);
    gateway.stop();
    verifies(&data);
}

/// A call ends while nobody has decided. Its client, whose user was led to the page meanwhile, is told of the decision on the stream
/// of its session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_end_of_a_wait_that_has_outlasted_its_call() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let folder = tempfile::tempdir().expect("a folder");
        let tool = folder.path().join("tool");
        std::fs::write(&tool, "First.").expect("written");
        let server = json!(["sh", "-c", SERVER, "server", tool]);
        let office =
            Office::open(&upstream.url, &format!("wait_seconds = 30\n[servers.till]\ncommand = {server}\n"));
        office.has_policies(|policies| {
            let till = r#"@hold("oncall") permit (principal, action == Action::"tools/call", resource == Tool::"till/t");"#;
            format!("{policies}\n{till}\n")
        });
        let token = office.mint(&[]);
        let mut client = Follower::run(&json!({
            "transport": {"http": format!("{}/mcp/till", office.url)}, "version": "legacy", "urls": "accept",
            "headers": {"authorization": format!("Bearer {token}")},
            "steps": [["tools/list", {}], ["tools/call", {"name": "t", "arguments": {}}], ["over", {}]],
        }));
        assert_eq!(names(&client.next()), ["t"]);
        assert_eq!(client.next()["step"], "led");
        let ended = client.next();
        assert!(ended.to_string().contains("approval required"), "{ended}");
        let hold = office.waits();
        assert_eq!(office.decides("ann", &["grant", &hold]).0, 0);
        let over = client.next();
        assert_eq!(over["result"]["elicitationId"], *hold, "{over}");
        drop(client);
        let data = office.data();
        let (_folder, _) = office.close();
        let notes = printed(&data, &["calls", "--json", "--limit", "200", "kind:note server:till"]);
        let told = notes.lines().filter(|line| line.contains("notifications/elicitation/complete")).count();
        assert_eq!(told, 1, "it is recorded, once: {notes}");
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}
