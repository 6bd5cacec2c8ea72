//! A recorded run as a server: what a client gets from the replay is what it got when the run was recorded.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::gateway::{Gateway, binary, tollbook};
use e2e::peers::{Peer, everything, free_port, node, repository};
use serde_json::{Value, json};

use crate::peers::{Client, everything_steps, modern_steps, python_sdk, rust, typescript};

#[test]
fn typescript_client_in_the_session_era() {
    session_era(typescript);
}

#[test]
fn python_client_in_the_session_era() {
    session_era(python_sdk);
}

#[test]
fn rust_client_in_the_session_era() {
    session_era(rust);
}

#[test]
fn typescript_client_in_the_stateless_era() {
    stateless_era(typescript);
}

#[test]
fn python_client_in_the_stateless_era() {
    stateless_era(python_sdk);
}

#[test]
fn rust_client_in_the_stateless_era() {
    stateless_era(rust);
}

/// Recorded over HTTP and over a child process, replayed over HTTP and over standard streams.
fn session_era(client: Client) {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let mut reference = Command::new(node());
    reference.arg(everything()).arg("streamableHttp").env("PORT", port.to_string());
    let reference = Peer::start(reference, &port.to_string());
    let everything = json!([node(), everything(), "stdio"]);
    let gateway = Gateway::start(
        folder.path(),
        &format!(
            "[servers.http]\nurl = \"http://127.0.0.1:{port}/mcp\"\n[servers.stdio]\ncommand = {everything}\n"
        ),
    );
    let recorded: Vec<(&str, String)> = ["http", "stdio"]
        .into_iter()
        .map(|server| (server, client(&spec(&at(&gateway, server), "legacy", &everything_steps()))))
        .collect();
    gateway.stop();
    drop(reference);
    for (server, recorded) in recorded {
        replays(client, folder.path(), (server, "legacy"), &everything_steps(), &recorded);
    }
}

fn stateless_era(client: Client) {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let mut fixture = Command::new(node());
    fixture.arg(repository().join("e2e/peers/node/everything-conformance.mjs")).arg(port.to_string());
    let fixture = Peer::start(fixture, "listening on");
    let url = format!("http://127.0.0.1:{port}/mcp");
    // A run in the stateless era is one process's calls of one server: two names keep the two runs apart.
    let gateway = Gateway::start(
        folder.path(),
        &format!("[servers.pinned]\nurl = \"{url}\"\n[servers.negotiated]\nurl = \"{url}\"\n"),
    );
    let cases = [("pinned", "2026-07-28"), ("negotiated", "auto")];
    let recorded: Vec<String> = cases
        .iter()
        .map(|(server, version)| client(&spec(&at(&gateway, server), version, &modern_steps())))
        .collect();
    gateway.stop();
    drop(fixture);
    for (case, recorded) in cases.into_iter().zip(recorded) {
        replays(client, folder.path(), case, &modern_steps(), &recorded);
    }
}

/// The same script gives the same lines: from standard streams, from HTTP, and there again in a second session.
fn replays(client: Client, data: &Path, (server, version): (&str, &str), steps: &Value, recorded: &str) {
    let run = run_of(data, server);
    let stdio =
        json!({"stdio": [binary(), "--data", data, "replay", run, "--as-server", "--strict", "--timing"]});
    same(recorded, &client(&spec(&stdio, version, steps)), &format!("{server}, stdio"));
    // The clients tell of progress only if it came some time before the result.
    let replay = Replay::start(data, &run, &["--timing"]);
    let http = json!({"http": replay.url});
    same(recorded, &client(&spec(&http, version, steps)), &format!("{server}, HTTP"));
    if version == "legacy" {
        same(recorded, &client(&spec(&http, version, steps)), &format!("{server}, HTTP again"));
    }
}

fn same(recorded: &str, replayed: &str, what: &str) {
    for (recorded, replayed) in recorded.lines().zip(replayed.lines()) {
        assert_eq!(recorded, replayed, "{what}");
    }
    assert_eq!(recorded.lines().count(), replayed.lines().count(), "{what}");
    assert_ne!(recorded, "", "{what}");
}

fn spec(transport: &Value, version: &str, steps: &Value) -> Value {
    json!({"transport": transport, "version": version, "steps": steps})
}

fn at(gateway: &Gateway, server: &str) -> Value {
    json!({"http": format!("{}/mcp/{server}", gateway.url)})
}

/// The only run that called a server with success: a client that negotiates may have left another one behind.
fn run_of(data: &Path, server: &str) -> String {
    let listed = tollbook(data, &["run", "list", "--server", server, "--json"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let runs: Vec<Value> = listed.lines().map(|run| serde_json::from_str(run).expect("a run")).collect();
    let longest = runs.iter().max_by_key(|run| run["calls"].as_u64()).expect("a run");
    longest["run"].as_str().expect("an id").to_owned()
}

/// `tollbook replay RUN --as-server --listen`, until it is dropped.
struct Replay {
    _peer: Peer,
    url: String,
}

impl Replay {
    fn start(data: &Path, run: &str, flags: &[&str]) -> Replay {
        let port = free_port();
        let mut command = Command::new(binary());
        command.arg("--data").arg(data).args(["replay", run, "--as-server", "--listen"]);
        command.arg(format!("127.0.0.1:{port}")).args(flags);
        Replay { _peer: Peer::start(command, "listening on"), url: format!("http://127.0.0.1:{port}/mcp") }
    }
}

#[test]
fn what_was_not_recorded_is_said_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let everything = json!([node(), everything(), "stdio"]);
    let gateway = Gateway::start(folder.path(), &format!("[servers.all]\ncommand = {everything}\n"));
    let sum = json!({"name": "get-sum", "arguments": {"a": 1, "b": 2}});
    rust(&spec(&at(&gateway, "all"), "legacy", &json!([["tools/call", sum]])));
    gateway.stop();
    let call = |id: u32, b: u32| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"arguments": {"b": b, "a": 1}, "name": "get-sum"}});
    let answers = lines(folder.path(), &[call(1, 2), call(2, 3), call(3, 2)]);
    let sum = json!([{"type": "text", "text": "The sum of 1 and 2 is 3."}]);
    assert_eq!(answers[&1]["result"]["content"], sum);
    assert_eq!(answers[&3]["result"]["content"], sum);
    let error =
        json!({"code": -31020, "message": "`tools/call` `get-sum` was not recorded with these parameters"});
    assert_eq!(answers[&2]["error"], error);
    for (flags, expected) in [
        (["--server", "other"], "the run did not call a server `other`; it called `all`"),
        (["--listen", "0.0.0.0:0"], "`--listen 0.0.0.0:0` is beyond loopback"),
    ] {
        let refused = tollbook(folder.path(), &[&["replay", "last", "--as-server"], &flags[..]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

/// Sends lines and closes the input at once; gives the answers by id.
fn lines(data: &Path, messages: &[Value]) -> BTreeMap<u64, Value> {
    let mut child = Command::new(binary())
        .arg("--data")
        .arg(data)
        .args(["replay", "last", "--as-server"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("tollbook starts");
    let mut stdin = child.stdin.take().expect("its input");
    messages.iter().for_each(|message| writeln!(stdin, "{message}").expect("it reads"));
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    let answers = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let answers = answers.map(|line| serde_json::from_slice::<Value>(line).expect("a message"));
    // What the server told besides is replayed too, where it came while a call was open.
    answers.filter_map(|answer| Some((answer["id"].as_u64()?, answer))).collect()
}
