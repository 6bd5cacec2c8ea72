//! Real clients on real servers: what they get through the gateway is what they get directly.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::gateway::{Gateway, binary, tollbook};
use e2e::peers::{Peer, everything, filesystem, free_port, node, python, repository};
use e2e::rust_client;
use serde_json::{Value, json};

/// A task for the reference server: lists, calls, an error, progress, an image, a prompt, sampling.
pub(crate) fn everything_steps() -> Value {
    json!([
        ["tools/list", {}],
        ["tools/call", {"name": "echo", "arguments": {"message": "a \u{202e} b \" \\ ü"}}],
        ["tools/call", {"name": "get-sum", "arguments": {"a": 1, "b": 2}}],
        ["tools/call", {"name": "no-such-tool", "arguments": {}}],
        ["tools/call", {"name": "get-tiny-image", "arguments": {}}],
        ["tools/call", {"name": "trigger-long-running-operation", "arguments": {"duration": 1, "steps": 2}}],
        ["resources/list", {}],
        ["prompts/list", {}],
        ["prompts/get", {"name": "simple-prompt"}],
        ["tools/call", {"name": "trigger-sampling-request", "arguments": {"prompt": "x", "maxTokens": 10}}],
    ])
}

/// A task for the server of files: a list, a write, reads, what is not there and what is not allowed.
fn files_steps(project: &Path) -> Value {
    let (file, missing) = (project.join("notes.txt"), project.join("missing.txt"));
    json!([
        ["tools/list", {}],
        ["tools/call", {"name": "write_file", "arguments": {"path": file, "content": "one\ntwo\n"}}],
        ["tools/call", {"name": "read_text_file", "arguments": {"path": file}}],
        ["tools/call", {"name": "list_directory", "arguments": {"path": project}}],
        ["tools/call", {"name": "read_text_file", "arguments": {"path": missing}}],
        ["tools/call", {"name": "read_text_file", "arguments": {"path": "/etc/passwd"}}],
    ])
}

/// A task for the conformance fixture, in the stateless era: among it calls of two rounds and a mirrored argument.
pub(crate) fn modern_steps() -> Value {
    json!([
        ["tools/list", {}],
        ["tools/call", {"name": "test_tool_with_progress", "arguments": {}}],
        ["tools/call", {"name": "test_error_handling", "arguments": {}}],
        ["tools/call", {"name": "test_streaming_elicitation", "arguments": {}}],
        ["tools/call", {"name": "test_input_required_result_elicitation", "arguments": {}}],
        ["tools/call", {"name": "test_input_required_result_request_state", "arguments": {}}],
        ["tools/call", {"name": "test_input_required_result_multiple_inputs", "arguments": {}}],
        ["tools/call", {"name": "test_header_mirror", "arguments": {"region": "eu ü"}}],
        ["tools/call", {"name": "no-such-tool", "arguments": {}}],
        ["resources/read", {"uri": "test://static-text"}],
        ["prompts/get", {"name": "test_prompt_with_arguments", "arguments": {"arg1": "a", "arg2": "b"}}],
    ])
}

/// Gives what a client delivered for each step of a script.
pub(crate) type Client = fn(&Value) -> String;

#[test]
fn typescript_client_over_every_transport() {
    every_transport(typescript, &["http", "sse", "stdio"]);
}

#[test]
fn python_client_over_every_transport() {
    every_transport(python_sdk, &["http", "sse", "stdio"]);
}

#[test]
fn rust_client_over_every_transport() {
    every_transport(rust, &["http", "stdio"]);
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

/// The reference servers over the transports that the client has.
fn every_transport(client: Client, has: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let project = tempfile::tempdir().expect("a folder");
    let (http, sse) = (free_port(), free_port());
    let _http = reference_server("streamableHttp", http);
    let _sse = reference_server("sse", sse);
    let everything = json!([node(), everything(), "stdio"]);
    let files = json!(files_server(project.path()));
    let gateway = Gateway::start(
        folder.path(),
        &format!(
            "[servers.http]\nurl = \"http://127.0.0.1:{http}/mcp\"\n\
             [servers.sse]\nurl = \"http://127.0.0.1:{sse}/sse\"\ntransport = \"sse\"\n\
             [servers.stdio]\ncommand = {everything}\n\
             [servers.files]\ncommand = {files}\n"
        ),
    );
    let data = folder.path();
    let at = |path: &str| format!("{}/mcp/{path}", gateway.url);
    let (http, sse) = (format!("http://127.0.0.1:{http}/mcp"), format!("http://127.0.0.1:{sse}/sse"));
    let (all, some) = (everything_steps(), files_steps(project.path()));
    let cases = [
        ("HTTP", json!({"http": http}), json!({"http": at("http")}), &all),
        ("SSE", json!({"sse": sse}), json!({"sse": at("sse/sse")}), &all),
        ("wrap", json!({"stdio": everything}), json!({"stdio": wrapped(data, &everything)}), &all),
        ("HTTP to stdio", json!({"stdio": everything}), json!({"http": at("stdio")}), &all),
        ("SSE to stdio", json!({"stdio": everything}), json!({"sse": at("stdio/sse")}), &all),
        ("HTTP to SSE", json!({"http": http}), json!({"http": at("sse")}), &all),
        ("files, wrap", json!({"stdio": files}), json!({"stdio": wrapped(data, &files)}), &some),
        ("files, HTTP", json!({"stdio": files}), json!({"http": at("files")}), &some),
    ];
    let can = |transport: &Value| has.iter().any(|kind| transport.get(kind).is_some());
    for (name, direct, through, steps) in cases {
        if can(&direct) && can(&through) {
            compare(client, name, "legacy", [&direct, &through], steps);
        }
    }
    gateway.stop();
    verifies(folder.path());
}

/// The conformance fixture, which speaks both eras, and where it is.
pub(crate) fn conformance_fixture() -> (String, Peer) {
    let port = free_port();
    let mut fixture = Command::new(node());
    fixture.arg(repository().join("e2e/peers/node/everything-conformance.mjs")).arg(port.to_string());
    (format!("http://127.0.0.1:{port}/mcp"), Peer::start(fixture, "listening on"))
}

fn stateless_era(client: Client) {
    let folder = tempfile::tempdir().expect("a folder");
    let (direct, _fixture) = conformance_fixture();
    let gateway = Gateway::start(folder.path(), &format!("[servers.fixture]\nurl = \"{direct}\"\n"));
    let transports = [&json!({"http": direct}), &json!({"http": format!("{}/mcp/fixture", gateway.url)})];
    for version in ["2026-07-28", "auto"] {
        compare(client, version, version, transports, &modern_steps());
    }
    gateway.stop();
    verifies(folder.path());
    rounds_are_one_call(folder.path());
}

/// Each call that a server asked back for has its next round under the same call id, with or without a server's state.
fn rounds_are_one_call(data: &Path) {
    let calls = tollbook(data, &["calls", "era:stateless method:tools/call", "--json"]);
    let rows = String::from_utf8_lossy(&calls.stdout).into_owned();
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).expect("a row")).collect();
    let asked: Vec<&Value> = rows.iter().filter(|row| row["status"] == "input_required").collect();
    assert!(asked.len() >= 2 * 4, "two scripts with four such calls each: {rows:#?}");
    for row in asked {
        let next = row["round"].as_u64().expect("a round") + 1;
        let follows = |other: &&Value| other["call"] == row["call"] && other["round"] == next;
        assert_eq!(rows.iter().filter(follows).count(), 1, "{row:#}");
    }
}

/// What the client delivers is the same both ways, and something for each step.
fn compare(client: Client, name: &str, version: &str, [direct, through]: [&Value; 2], steps: &Value) {
    let spec = |transport: &Value| json!({"transport": transport, "version": version, "steps": steps});
    let (directly, through) = (client(&spec(direct)), client(&spec(through)));
    for (directly, through) in directly.lines().zip(through.lines()) {
        assert_eq!(directly, through, "{name}");
    }
    let count = steps.as_array().expect("steps").len();
    assert_eq!([directly.lines().count(), through.lines().count()], [count; 2], "{name}");
}

pub(crate) fn wrapped(data: &Path, server: &Value) -> Value {
    let mut command = vec![json!(binary()), json!("wrap"), json!("--data"), json!(data)];
    command.extend([json!("--server"), json!("wrapped"), json!("--")]);
    command.extend(server.as_array().expect("a command").iter().cloned());
    command.into()
}

#[test]
fn five_wraps_share_one_ledger_and_start_their_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = tempfile::tempdir().expect("a folder");
    std::fs::write(project.path().join("a.txt"), "hello\n").expect("a file");
    let talks: Vec<_> = (0..5)
        .map(|number| {
            let (data, project) = (folder.path().to_owned(), project.path().to_owned());
            std::thread::spawn(move || {
                let server = files_server(&project);
                let mut wrapped = Command::new(binary());
                wrapped.arg("--data").arg(&data).args(["wrap", "--server", &format!("files-{number}"), "--"]);
                wrapped.args(&server);
                let mut direct = Command::new(&server[0]);
                direct.args(&server[1..]);
                // Byte for byte: lines of the server as they come.
                assert_eq!(talk(direct, &project), talk(wrapped, &project));
            })
        })
        .collect();
    for talk in talks {
        talk.join().expect("the talk is the same");
    }
    // Beside the gateway: who asks after a call sees it, on a machine that is not busy at once.
    let runs = || {
        let listed = tollbook(folder.path(), &["run", "list", "--json"]);
        String::from_utf8_lossy(&listed.stdout).lines().count()
    };
    while runs() < 5 {}
    stop_background_gateway(folder.path());
    verifies(folder.path());
}

#[test]
fn wrap_ends_as_its_server_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrap = |script: &str| {
        let mut command = Command::new(binary());
        command.arg("--data").arg(folder.path()).args(["wrap", "--server", "s", "--", "sh", "-c", script]);
        command.stdin(Stdio::null()).output().expect("wrap runs")
    };
    assert_eq!(wrap("exit 7").status.code(), Some(7));
    assert_eq!(wrap("kill -9 $$").status.code(), Some(128 + 9));
    let complains = wrap("echo trouble >&2; echo junk; exit 3");
    assert_eq!(complains.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&complains.stderr), "trouble\n");
    assert_eq!(complains.stdout, b"", "what is no message does not reach the client");
    let missing = Command::new(binary())
        .arg("--data")
        .arg(folder.path())
        .args(["wrap", "--server", "s", "--", "/no/such/program"])
        .output()
        .expect("wrap runs");
    assert_eq!(missing.status.code(), Some(127));
    stop_background_gateway(folder.path());
    verifies(folder.path());
}

fn files_server(project: &Path) -> Vec<PathBuf> {
    vec![node(), filesystem(), project.to_owned()]
}

/// Talks to a stdio server line by line and gives the lines that it answers with.
fn talk(mut command: Command, project: &Path) -> Vec<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("its input");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let file = project.join("a.txt");
    let requests = [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"talk","version":"1"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":"b","method":"tools/list"}"#.to_owned(),
        format!(r#"{{ "jsonrpc":"2.0", "id":3, "params":{{"arguments":{{"path":{file:?}}},"name":"read_text_file"}}, "method":"tools/call" }}"#),
        r#"{"jsonrpc":"2.0","id":4,"method":"no/such/method"}"#.to_owned(),
    ];
    let mut answers = Vec::new();
    for request in requests {
        writeln!(stdin, "{request}").expect("it reads");
        answers.push(lines.next().expect("it answers").expect("a line"));
        if answers.len() == 1 {
            writeln!(stdin, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#).expect("it reads");
        }
    }
    drop(stdin);
    answers.extend(lines.map_while(Result::ok));
    assert!(child.wait().expect("it ends").success());
    answers
}

fn reference_server(transport: &str, port: u16) -> Peer {
    let mut command = Command::new(node());
    command.arg(everything()).arg(transport).env("PORT", port.to_string());
    Peer::start(command, &port.to_string())
}

pub(crate) fn typescript(spec: &Value) -> String {
    run(&node(), "ts.mjs", spec)
}

pub(crate) fn python_sdk(spec: &Value) -> String {
    run(&python(), "py.py", spec)
}

pub(crate) fn rust(spec: &Value) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(rust_client::follow(spec))
}

/// What an SDK client printed for each step.
fn run(interpreter: &Path, script: &str, spec: &Value) -> String {
    let script = repository().join("e2e/peers/clients").join(script);
    let output =
        Command::new(interpreter).arg(script).arg(spec.to_string()).output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub(crate) fn verifies(data: &Path) {
    let verified = tollbook(data, &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Ends the gateway that a wrap has started: it holds the folder's lock until its ledger is closed.
fn stop_background_gateway(data: &Path) {
    let lock = std::fs::File::open(data.join("lock")).expect("the lock file");
    let gateway = format!("serve --socket-only --data {}", data.display());
    let signalled = Command::new("pkill").args(["-TERM", "-f", &gateway]).status().expect("pkill runs");
    assert!(signalled.success(), "no gateway ran");
    lock.lock().expect("the gateway ends");
}
