//! Servers that hang, flood, lie or die: what the client hears, and how the record says the call ended.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;

use e2e::gateway::{Gateway, tollbook};
use e2e::scripted::{Act, ask, begin_events, event, hold, respond, start};
use expect_test::expect;
use serde_json::{Value, json};

use crate::console::exchange;

const LIMITS: &str = "[limits]\nanswer_seconds = 3\nsilence_seconds = 3\nmessage_bytes = 65536\n";
const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;
const NOTE: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}"#;

#[test]
fn over_http() {
    let cases: &[(&str, Act)] = &[
        ("answers", |stream, _| respond(stream, "200 OK", "application/json", RESULT.as_bytes())),
        ("hangs", |stream, _| hold(stream)),
        ("closes before it answers", |_, _| {}),
        ("speaks another protocol", |stream, _| drop(stream.write_all(b"220 mail.example ESMTP\r\n"))),
        ("ends within the body", |stream, _| {
            drop(stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
            ));
        }),
        ("falls silent within the body", |stream, _| {
            drop(stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
            ));
            hold(stream);
        }),
        ("answers with another id", |stream, _| {
            respond(stream, "200 OK", "application/json", RESULT.replace(":7,", ":8,").as_bytes());
        }),
        ("answers with the id as text", |stream, _| {
            respond(stream, "200 OK", "application/json", RESULT.replace(":7,", ":\"7\",").as_bytes());
        }),
        ("answers twice in one body", |stream, _| {
            respond(stream, "200 OK", "application/json", format!("[{RESULT},{RESULT}]").as_bytes());
        }),
        ("answers with a key twice", |stream, _| {
            respond(stream, "200 OK", "application/json", br#"{"jsonrpc":"2.0","id":7,"id":7,"result":{}}"#);
        }),
        ("answers with both result and error", |stream, _| {
            let both = br#"{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":""}}"#;
            respond(stream, "200 OK", "application/json", both);
        }),
        ("answers with a page", |stream, _| respond(stream, "200 OK", "text/html", b"<html>welcome</html>")),
        ("answers with nothing", |stream, _| respond(stream, "200 OK", "application/json", b"")),
        ("accepts a request", |stream, _| respond(stream, "202 Accepted", "application/json", b"")),
        ("fails with a page", |stream, _| respond(stream, "500 Oops", "text/html", b"<html>trace</html>")),
        ("redirects", |stream, _| {
            drop(stream.write_all(
                b"HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            ));
        }),
        ("compresses", |stream, _| {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"));
        }),
        ("answers with more than the limit", |stream, _| {
            respond(
                stream,
                "200 OK",
                "application/json",
                RESULT.replace("[]", &format!("[{}]", " ".repeat(90_000))).as_bytes(),
            );
        }),
        ("sends endless headers", |stream, _| {
            let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while sent.is_ok() {
                sent = stream.write_all(b"x-filler: 0123456789012345678901234567890123456789\r\n");
            }
        }),
    ];
    expect![[r#"
        answers
          client: {"jsonrpc":"2.0","id":7,"result":{"content":[]}} [200]
          record: call ok: -
        hangs
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server did not answer in time"}} [504]
          record: call timeout: the server did not answer in time
        closes before it answers
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server closed the connection before it answered"}} [502]
          record: call upstream_failed: the server closed the connection before it answered
        speaks another protocol
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server closed the connection before it answered"}} [502]
          record: call upstream_failed: the server closed the connection before it answered
        ends within the body
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it ended early"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it ended early
        falls silent within the body
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it ended early"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it ended early
        answers with another id
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it does not answer what was asked"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it does not answer what was asked
        answers with the id as text
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it does not answer what was asked"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it does not answer what was asked
        answers twice in one body
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it does not answer what was asked"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it does not answer what was asked
        answers with a key twice
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it does not answer what was asked"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it does not answer what was asked
        answers with both result and error
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it does not answer what was asked"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it does not answer what was asked
        answers with a page
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it does not answer what was asked"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it does not answer what was asked
        answers with nothing
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it does not answer what was asked"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it does not answer what was asked
        accepts a request
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it does not answer what was asked"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it does not answer what was asked
        fails with a page
          client: <html>trace</html> [500]
          record: call error: HTTP error
        redirects
          client:  [307]
          record: call error: HTTP error
        compresses
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it is compressed, which was not asked for"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it is compressed, which was not asked for
        answers with more than the limit
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it is larger than the limit"}} [502]
          record: call upstream_failed: the server's answer cannot be passed on: it is larger than the limit
        sends endless headers
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server closed the connection before it answered"}} [502]
          record: call upstream_failed: the server closed the connection before it answered
    "#]].assert_eq(&table(cases));
}

#[test]
fn a_client_keeps_its_run_when_a_server_without_sessions_knows_no_get() {
    let url = start(|stream, body| {
        let Ok(request) = serde_json::from_str::<Value>(body) else {
            return respond(stream, "404 Not Found", "text/html", b"Cannot GET /mcp");
        };
        let result = match request["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"},
            }),
            _ => json!({"tools": []}),
        };
        let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
        respond(stream, "200 OK", "application/json", answer.to_string().as_bytes());
    });
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), &format!("[servers.plain]\nurl = \"{url}\"\n"));
    let accepts = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";
    let post = |body: &Value| exchange(&gateway.url, "POST /mcp/plain", accepts, &body.to_string()).0;
    let client = json!({"name": "c", "version": "1"});
    let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
    assert_eq!(post(&initialize), 200);
    assert_eq!(exchange(&gateway.url, "GET /mcp/plain", "accept: text/event-stream\r\n", "").0, 404);
    assert_eq!(post(&json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})), 200);
    let data = gateway.data.clone();
    gateway.stop();
    let runs = tollbook(&data, &["run", "list", "--json"]);
    let runs = String::from_utf8_lossy(&runs.stdout).into_owned();
    assert_eq!(runs.lines().count(), 1, "{runs}");
}

#[test]
fn over_an_event_stream() {
    let cases: &[(&str, Act)] = &[
        ("answers after a note", |stream, _| events(stream, &[NOTE, RESULT])),
        ("answers twice", |stream, _| events(stream, &[RESULT, RESULT])),
        ("answers with another id", |stream, _| events(stream, &[&RESULT.replace(":7,", ":8,")])),
        ("answers with another id, then the right one", |stream, _| {
            events(stream, &[&RESULT.replace(":7,", ":8,"), RESULT]);
        }),
        ("sends what is no message", |stream, _| events(stream, &["hello", "{", RESULT])),
        ("answers with a key twice", |stream, _| {
            events(stream, &[r#"{"jsonrpc":"2.0","id":7,"id":7,"result":{}}"#]);
        }),
        ("ends before the answer", |stream, _| events(stream, &[NOTE])),
        ("falls silent", |stream, _| {
            begin_events(stream);
            event(stream, NOTE);
            hold(stream);
        }),
        ("ends within the answer", |stream, _| {
            begin_events(stream);
            drop(stream.write_all(format!("data: {RESULT}\n").as_bytes()));
        }),
        ("floods within an event", |stream, _| {
            begin_events(stream);
            let mut sent = stream.write_all(b"data: ");
            while sent.is_ok() {
                sent = stream.write_all(&[b'x'; 4096]);
            }
        }),
        ("floods with notes, then answers", |stream, _| {
            begin_events(stream);
            for _ in 0..500 {
                event(stream, NOTE);
            }
            event(stream, RESULT);
        }),
    ];
    expect![[r#"
        answers after a note
          client: N data: {"jsonrpc":"2.0","id":7,"result":{"content":[]}}   [200]
          record: call ok: -
        answers twice
          client: data: {"jsonrpc":"2.0","id":7,"result":{"content":[]}}   [200]
          record: call ok: -
        answers with another id
          client: event: message data: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: the stream ended before the answer"}}   [200]
          record: call upstream_failed: the server's answer cannot be passed on: the stream ended before the answer
        answers with another id, then the right one
          client: data: {"jsonrpc":"2.0","id":7,"result":{"content":[]}}   [200]
          record: call ok: -
        sends what is no message
          client: data: {"jsonrpc":"2.0","id":7,"result":{"content":[]}}   [200]
          record: call ok: -
        answers with a key twice
          client: event: message data: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: the stream ended before the answer"}}   [200]
          record: call upstream_failed: the server's answer cannot be passed on: the stream ended before the answer
        ends before the answer
          client: N event: message data: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: the stream ended before the answer"}}   [200]
          record: call upstream_failed: the server's answer cannot be passed on: the stream ended before the answer
        falls silent
          client: N event: message data: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: the stream fell silent"}}   [200]
          record: call upstream_failed: the server's answer cannot be passed on: the stream fell silent
        ends within the answer
          client: event: message data: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: the stream ended before the answer"}}   [200]
          record: call upstream_failed: the server's answer cannot be passed on: the stream ended before the answer
        floods within an event
          client: event: message data: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: a message is larger than the limit"}}   [200]
          record: call upstream_failed: the server's answer cannot be passed on: a message is larger than the limit
        floods with notes, then answers
          client: 500 notes, data: {"jsonrpc":"2.0","id":7,"result":{"content":[]}}   [200]
          record: call ok: -
    "#]].assert_eq(&table(cases));
}

#[test]
fn over_standard_streams() {
    let cases: &[(&str, &str)] = &[
        ("answers", r#"read line; echo '{"jsonrpc":"2.0","id":7,"result":{}}'; cat >/dev/null"#),
        ("ends at once", "exit 3"),
        ("ends before it answers", "read line; exit 3"),
        ("hangs", "cat >/dev/null"),
        (
            "answers with another id",
            r#"read line; echo '{"jsonrpc":"2.0","id":8,"result":{}}'; cat >/dev/null"#,
        ),
        (
            "answers with a key twice",
            r#"read line; echo '{"jsonrpc":"2.0","id":7,"result":{},"result":{}}'; cat >/dev/null"#,
        ),
        (
            "prints what is no message, then answers",
            r#"echo Welcome; read line; echo '{'; echo '{"jsonrpc":"2.0","id":7,"result":{}}'; cat >/dev/null"#,
        ),
        (
            "answers twice",
            r#"read line; echo '{"jsonrpc":"2.0","id":7,"result":{}}'; echo '{"jsonrpc":"2.0","id":7,"result":{}}'; cat >/dev/null"#,
        ),
        ("floods within a line", "read line; while :; do printf '%01000d' 0; done"),
        ("is not there", "exec /no/such/program"),
    ];
    let mut shown = String::new();
    for (name, script) in cases {
        let server = format!("{LIMITS}[servers.bad]\ncommand = [\"sh\", \"-c\", {script:?}]\n");
        // Whether the reply has begun as a stream before the server ends is chance.
        let row = row(name, &server).replace("event: message data: ", "");
        shown.push_str(&row.replace("   [200]", "").replace(" [502]", ""));
    }
    expect![[r#"
        answers
          client: {"jsonrpc":"2.0","id":7,"result":{}}
          record: call ok: -
        ends at once
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server has ended"}}
          record: call disconnected: the server has ended
        ends before it answers
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server has ended"}}
          record: call disconnected: the server has ended
        hangs
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server did not answer in time"}}
          record: call timeout: the server did not answer in time
        answers with another id
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server did not answer in time"}}
          record: call timeout: the server did not answer in time
        answers with a key twice
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"an object has the same key twice"}}
          record: call withheld: an object has the same key twice
        prints what is no message, then answers
          client: {"jsonrpc":"2.0","id":7,"result":{}}
          record: call ok: -
        answers twice
          client: {"jsonrpc":"2.0","id":7,"result":{}}
          record: call ok: -
        floods within a line
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server's answer cannot be passed on: it is larger than the limit"}}
          record: call upstream_failed: the server's answer cannot be passed on: it is larger than the limit
        is not there
          client: {"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"the server has ended"}}
          record: call disconnected: the server has ended
    "#]].assert_eq(&shown);
}

fn events(stream: &mut TcpStream, all: &[&str]) {
    begin_events(stream);
    for data in all {
        event(stream, data);
    }
}

fn table(cases: &[(&str, Act)]) -> String {
    cases
        .iter()
        .map(|(name, act)| row(name, &format!("{LIMITS}[servers.bad]\nurl = \"{}\"\n", start(*act))))
        .collect()
}

/// Calls a server once: what the client hears, and what the record says.
fn row(name: &str, servers: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), servers);
    let heard = call(&gateway.url);
    // The gateway serves on, and the record goes on.
    assert!(!call(&gateway.url).is_empty(), "{name}");
    gateway.stop();
    let verified = tollbook(folder.path(), &["verify"]);
    assert!(verified.status.success(), "{name}: {}", String::from_utf8_lossy(&verified.stdout));
    format!("{name}\n  client: {heard}\n  record: {}\n", recorded(folder.path()))
}

/// What a client hears to a call.
fn call(url: &str) -> String {
    let (body, is_whole) = ask(url);
    let text = String::from_utf8_lossy(&body).replace("\n", " ");
    let end = if is_whole { "" } else { " and the connection broke" };
    // Of a flood of notes, one tells enough.
    let once = text.replace(&format!("data: {NOTE}  "), "N ");
    format!("{}{end}", shortened(&once))
}

fn shortened(text: &str) -> String {
    let notes = text.matches("N ").count();
    if notes > 1 { format!("{notes} notes, {}", text.replace("N ", "")) } else { text.to_owned() }
}

/// How the first call ended, and why.
fn recorded(data: &Path) -> String {
    let calls = tollbook(data, &["calls", "--json", "method:tools/call"]);
    let text = String::from_utf8_lossy(&calls.stdout).into_owned();
    let row: Value =
        text.lines().next().map_or(Value::Null, |line| serde_json::from_str(line).expect("a row"));
    let word = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
    format!("{} {}: {}", word("kind"), word("status"), word("reason"))
}
