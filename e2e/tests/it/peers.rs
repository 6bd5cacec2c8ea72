//! Real clients on real servers: what they get through the gateway is what they get directly.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::gateway::{Gateway, binary, tollbook};
use e2e::peers::{Peer, everything, filesystem, free_port, node, python, repository};
use serde_json::{Value, json};

/// A task for the reference server: lists, calls, an error, progress, a large resource, a prompt, sampling.
fn steps() -> Value {
    json!([
        ["tools/list", {}],
        ["tools/call", {"name": "echo", "arguments": {"message": "a \u{202e} b \" \\ ü"}}],
        ["tools/call", {"name": "get-sum", "arguments": {"a": 1, "b": 2}}],
        ["tools/call", {"name": "no-such-tool", "arguments": {}}],
        ["tools/call", {"name": "get-tiny-image", "arguments": {}}],
        ["resources/list", {}],
        ["prompts/list", {}],
        ["prompts/get", {"name": "simple-prompt"}],
        ["tools/call", {"name": "trigger-sampling-request", "arguments": {"prompt": "x", "maxTokens": 10}}],
    ])
}

#[test]
fn typescript_client_over_every_transport() {
    every_transport(&|spec| run(&node(), "ts.mjs", spec));
}

#[test]
fn python_client_over_every_transport() {
    every_transport(&|spec| run(&python(), "py.py", spec));
}

fn every_transport(client: &dyn Fn(&Value) -> String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (http, sse) = (free_port(), free_port());
    let _http = reference_server("streamableHttp", http);
    let _sse = reference_server("sse", sse);
    let (node, server) = (node(), everything());
    let gateway = Gateway::start(
        folder.path(),
        &format!(
            "[servers.http]\nurl = \"http://127.0.0.1:{http}/mcp\"\n\
             [servers.sse]\nurl = \"http://127.0.0.1:{sse}/sse\"\ntransport = \"sse\"\n\
             [servers.stdio]\ncommand = [{node:?}, {server:?}, \"stdio\"]\n"
        ),
    );
    let data = folder.path().to_str().expect("a path");
    let stdio = json!([node, server, "stdio"]);
    let wrapped =
        json!([binary(), "wrap", "--data", data, "--server", "wrapped", "--", node, server, "stdio"]);
    let at = |server: &str| format!("{}/mcp/{server}", gateway.url);

    let cases = [
        ("HTTP", json!({"http": format!("http://127.0.0.1:{http}/mcp")}), json!({"http": at("http")})),
        ("SSE", json!({"sse": format!("http://127.0.0.1:{sse}/sse")}), json!({"sse": at("sse/sse")})),
        ("wrap", json!({"stdio": stdio}), json!({"stdio": wrapped})),
        ("HTTP to stdio", json!({"stdio": stdio}), json!({"http": at("stdio")})),
        ("SSE to stdio", json!({"stdio": stdio}), json!({"sse": at("stdio/sse")})),
        ("HTTP to SSE", json!({"sse": format!("http://127.0.0.1:{sse}/sse")}), json!({"http": at("sse")})),
    ];
    for (name, direct, through) in cases {
        let spec = |transport: &Value| json!({"transport": transport, "version": "legacy", "steps": steps()});
        assert_eq!(client(&spec(&direct)), client(&spec(&through)), "{name}");
    }
    gateway.stop();
    verifies(folder.path());
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
    stop_background_gateway(folder.path());
    verifies(folder.path());
    let runs = tollbook(folder.path(), &["run", "list", "--json"]);
    assert_eq!(String::from_utf8_lossy(&runs.stdout).lines().count(), 5);
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

/// What an SDK client printed for each step.
fn run(interpreter: &Path, script: &str, spec: &Value) -> String {
    let script = repository().join("e2e/peers/clients").join(script);
    let output =
        Command::new(interpreter).arg(script).arg(spec.to_string()).output().expect("the client runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), steps().as_array().expect("steps").len(), "{text}");
    text
}

fn verifies(data: &Path) {
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
