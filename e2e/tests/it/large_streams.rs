//! Results of many mebibytes as events and as lines: they cross whole, are in the record whole, and the gateway does not grow
//! with them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;

use e2e::gateway::{Gateway, binary};
use e2e::scripted::{Act, ask, begin_events, event, hold, respond, start};

use crate::large::{MEMORY, MIB, ends, is_recorded, large, peak, reset_peak};

/// Large enough to be put aside.
fn medium(tail: &str) -> String {
    let head = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":""#;
    [head, &"lorem ipsum ".repeat(2 * MIB / 12), tail].concat()
}

const TAIL: &str = r#""}],"isError":true}}"#;

/// Calls twice, each time as another client: what is heard each time, that the gateway does not grow, and that the bodies are in the record.
fn crosses(servers: &str, heard: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), servers);
    reset_peak(gateway.pid());
    for _ in 0..2 {
        let (body, is_whole) = ask(&gateway.url);
        assert!(is_whole);
        assert!(body == format!("{heard} [200]").as_bytes(), "{} bytes came", body.len());
    }
    let peak = peak(gateway.pid());
    assert!(peak < MEMORY, "{} MiB", peak / MIB);
    gateway.stop();
    assert_eq!(ends(folder.path()), ["call tool_error: -"; 2]);
    is_recorded(folder.path(), &large(TAIL));
}

#[test]
fn large_events_cross_and_are_recorded_whole() {
    let url = start(|stream, _| {
        begin_events(stream);
        event(stream, &large(TAIL));
    });
    crosses(&format!("[servers.bad]\nurl = \"{url}\"\n"), &format!("data: {}\n\n", large(TAIL)));
}

/// Id and type stand behind the data, and the data is many lines.
#[test]
fn large_events_are_written_anew() {
    let url = start(|stream, _| {
        begin_events(stream);
        let data = medium("\"\r\ndata: }\ndata:],\rdata:  \"isError\":\ndata: true}}");
        let _ = stream.write_all(format!("data: {data}\nevent: message\nid: 1\n: note\n\n").as_bytes());
    });
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), &format!("[servers.bad]\nurl = \"{url}\"\n"));
    let (body, is_whole) = ask(&gateway.url);
    let data = medium("\"\ndata: }\ndata: ],\ndata:  \"isError\":\ndata: true}}");
    assert!(is_whole && body == format!("id: 1\nevent: message\ndata: {data}\n\n [200]").as_bytes());
    gateway.stop();
    assert_eq!(ends(folder.path()), ["call tool_error: -"]);
    is_recorded(folder.path(), &medium("\"\n}\n],\n \"isError\":\ntrue}}"));
}

/// Held by the stream of events and by each message that comes beside it.
static POSTED: Barrier = Barrier::new(2);

#[test]
fn large_events_of_2024_cross_and_are_recorded_whole() {
    let url = start(|stream, body| {
        if body.is_empty() {
            begin_events(stream);
            let _ = stream.write_all(b"event: endpoint\ndata: /mcp\n\n");
            POSTED.wait();
            event(stream, &large(TAIL));
            return hold(stream);
        }
        respond(stream, "202 Accepted", "text/plain", b"");
        POSTED.wait();
    });
    crosses(
        &format!("[servers.bad]\nurl = \"{url}\"\ntransport = \"sse\"\n"),
        &format!("event: message\ndata: {}\n\n", large(TAIL)),
    );
}

/// A server that answers each line with the next of these; the files are in `folder`.
fn answering(folder: &Path, answers: &[&str]) -> String {
    let mut script = String::new();
    for (number, answer) in answers.iter().enumerate() {
        let path = folder.join(format!("answer-{number}"));
        std::fs::write(&path, format!("{answer}\n")).expect("the answer is written");
        script += &format!("read line; cat '{}'; ", path.display());
    }
    script + "cat >/dev/null"
}

#[test]
fn large_lines_cross_and_are_recorded_whole() {
    let files = tempfile::tempdir().expect("a folder");
    let result = large(TAIL);
    let script = answering(files.path(), &[result.as_str(); 2]);
    crosses(
        &format!("[servers.bad]\ncommand = [\"sh\", \"-c\", {script:?}]\n"),
        &format!("event: message\ndata: {result}\n\n"),
    );
}

#[test]
fn large_lines_cross_through_wrap() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = tempfile::tempdir().expect("a folder");
    let result = large(TAIL);
    let script = answering(files.path(), &[result.as_str(); 2]);
    let gateway = Gateway::start(folder.path(), "");
    reset_peak(gateway.pid());
    assert!(wrapped(&gateway, &script, 2) == [result.as_str(); 2]);
    let peak = peak(gateway.pid());
    assert!(peak < MEMORY, "{} MiB", peak / MIB);
    gateway.stop();
    assert_eq!(ends(folder.path()), ["call tool_error: -"; 2]);
    is_recorded(folder.path(), &result);
}

/// Calls a wrapped server so many times, one after the other: the lines that answer.
fn wrapped(gateway: &Gateway, script: &str, calls: usize) -> Vec<String> {
    let mut wrap = Command::new(binary())
        .arg("--data")
        .arg(&gateway.data)
        .args(["wrap", "--server", "bad", "--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("wrap starts");
    let mut input = wrap.stdin.take().expect("it was asked for");
    let mut lines = BufReader::new(wrap.stdout.take().expect("as above")).lines();
    let mut answers = Vec::new();
    for _ in 0..calls {
        let call =
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"work","arguments":{}}}"#;
        writeln!(input, "{call}").expect("it reads");
        answers.push(lines.next().expect("an answer").expect("a line"));
    }
    drop(input);
    assert!(wrap.wait().expect("wrap can be waited for").success());
    answers
}

const TOO_LARGE: &str = "the server's answer cannot be passed on: it is larger than the limit";

/// Beyond the limit, whether or not its id can be told: who waits is told at once, and the stream goes on.
#[test]
fn lines_beyond_the_limit_end_the_call() {
    let filler = "x".repeat(3 * MIB);
    let small = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;
    for line in [
        format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"a":"{filler}"}}}}"#),
        format!(r#"{{"result":{{"a":"{filler}"}},"jsonrpc":"2.0","id":7}}"#),
        filler.clone(),
    ] {
        let files = tempfile::tempdir().expect("a folder");
        let script = answering(files.path(), &[&line, small]);
        let expected =
            format!(r#"{{"jsonrpc":"2.0","id":7,"error":{{"code":-32603,"message":"{TOO_LARGE}"}}}}"#);

        let folder = tempfile::tempdir().expect("a folder");
        let limits = "[limits]\nmessage_bytes = 2097152\n";
        let servers = format!("{limits}[servers.bad]\ncommand = [\"sh\", \"-c\", {script:?}]\n");
        let gateway = Gateway::start(folder.path(), &servers);
        let (body, _) = ask(&gateway.url);
        assert_eq!(String::from_utf8_lossy(&body), format!("event: message\ndata: {expected}\n\n [200]"));
        gateway.stop();
        let ended = format!("call upstream_failed: {TOO_LARGE}");
        assert_eq!(ends(folder.path()), [ended.as_str()]);

        let folder = tempfile::tempdir().expect("a folder");
        let gateway = Gateway::start(folder.path(), limits);
        assert_eq!(wrapped(&gateway, &script, 2), [&expected, small]);
        gateway.stop();
        assert_eq!(ends(folder.path()), [&ended, "call ok: -"]);
    }
}

#[test]
fn large_events_are_judged_to_their_end() {
    let cases: &[(&str, Act, &str, &str)] = &[
        (
            "a key twice at the end",
            |stream, _| stream_of(stream, &medium(r#""}],"content":[]}}"#)),
            "an object has the same key twice",
            "call withheld: an object has the same key twice",
        ),
        (
            "cut off",
            |stream, _| {
                begin_events(stream);
                let _ = stream.write_all(format!("data: {}", medium("")).as_bytes());
            },
            "the stream ended before the answer",
            "call upstream_failed: the server's answer cannot be passed on: the stream ended before the answer",
        ),
        (
            "beyond the limit",
            |stream, _| stream_of(stream, &[medium(""), medium("")].concat()),
            "a message is larger than the limit",
            "call upstream_failed: the server's answer cannot be passed on: a message is larger than the limit",
        ),
    ];
    for (name, act, heard, end) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = Gateway::start(
            folder.path(),
            &format!("[limits]\nmessage_bytes = 3145728\n[servers.bad]\nurl = \"{}\"\n", start(*act)),
        );
        let (body, _) = ask(&gateway.url);
        assert!(memchr::memmem::find(&body, heard.as_bytes()).is_some(), "{name}");
        assert!(body.len() < 1000, "{name}: nothing of it was passed on");
        gateway.stop();
        assert_eq!(ends(folder.path()), [*end], "{name}");
    }
}

fn stream_of(stream: &mut TcpStream, data: &str) {
    begin_events(stream);
    event(stream, data);
}
