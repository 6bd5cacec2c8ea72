//! What servers and clients try to slip past policy and record: messages where none belongs.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use e2e::gateway::{Gateway, tollbook};
use e2e::http::exchange;
use e2e::scripted::{respond, start};
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
    let of = |kind: &str| printed(data, &["calls", kind, "--limit", "1000", "--json"]).matches(why).count();
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
