//! Results of many mebibytes: they cross whole, are in the record whole, and the gateway does not grow with them.

use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::gateway::{Gateway, tollbook};
use e2e::scripted::{Act, ask, respond, start};
use serde_json::Value;

use crate::folders::Mount;

pub(crate) const MIB: usize = 1 << 20;
const LARGE: usize = 40 * MIB;
/// What the gateway may take: a debug build, and several large answers in a row.
pub(crate) const MEMORY: usize = 88 * MIB;

const HEAD: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":""#;

pub(crate) fn large(tail: &str) -> String {
    [HEAD, &"lorem ipsum ".repeat(LARGE / 12), tail].concat()
}

fn answer(stream: &mut TcpStream, status: &str, media_type: &str, body: &str) {
    respond(stream, status, media_type, body.as_bytes());
}

#[test]
fn large_results_cross_and_are_recorded_whole() {
    let result = large(r#""}],"isError":true}}"#);
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = serve(folder.path(), |stream, _| {
        answer(stream, "200 OK", "application/json", &large(r#""}],"isError":true}}"#));
    });
    reset_peak(gateway.pid());
    for _ in 0..2 {
        let (heard, is_whole) = ask(&gateway.url);
        assert!(is_whole);
        assert!(heard == format!("{result} [200]").as_bytes(), "{} bytes came", heard.len());
    }
    let peak = peak(gateway.pid());
    assert!(peak < MEMORY, "{} MiB", peak / MIB);
    gateway.stop();
    assert_eq!(ends(folder.path()), ["call tool_error: -"; 2]);
    is_recorded(folder.path(), &result);
}

/// Whether the last run holds the whole body.
pub(crate) fn is_recorded(folder: &std::path::Path, body: &str) {
    let evidence = tollbook(folder, &["evidence", "last"]);
    assert!(evidence.status.success());
    let shown = format!("\"body\": \"{}\"", URL_SAFE_NO_PAD.encode(body));
    assert!(memchr::memmem::find(&evidence.stdout, shown.as_bytes()).is_some(), "the body is in the record");
}

#[test]
fn large_answers_are_judged_to_their_end() {
    let cases: &[(&str, Act, &str, &str)] = &[
        (
            "a key twice at the end",
            |stream, _| answer(stream, "200 OK", "application/json", &large(r#""}],"content":[]}}"#)),
            "it does not answer what was asked",
            "call upstream_failed",
        ),
        (
            "cut off",
            |stream, _| answer(stream, "200 OK", "application/json", &large("")),
            "it does not answer what was asked",
            "call upstream_failed",
        ),
        (
            "an HTTP error that is no JSON",
            |stream, _| answer(stream, "500 Oops", "text/html", &large("")),
            "lorem ipsum",
            "call error",
        ),
        (
            "beyond the limit",
            |stream, _| {
                answer(
                    stream,
                    "200 OK",
                    "application/json",
                    &[large(""), large(""), large(""), large("")].concat(),
                );
            },
            "it is larger than the limit",
            "call upstream_failed",
        ),
    ];
    for (name, act, heard, end) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let gateway = serve(folder.path(), *act);
        let (body, _) = ask(&gateway.url);
        assert!(memchr::memmem::find(&body, heard.as_bytes()).is_some(), "{name}");
        gateway.stop();
        let ends = ends(folder.path());
        assert!(ends[0].starts_with(end), "{name}: {ends:?}");
    }
}

/// The room that the record keeps for itself is not given to what is put aside.
#[test]
fn a_large_result_leaves_the_record_its_room() {
    let disk = Mount::new(64);
    let data = disk.path().join("data");
    let act: Act = |stream, _| answer(stream, "200 OK", "application/json", &large(r#""}]}}"#));
    let ledger = "[ledger]\nsegment_bytes = 1048576\nreserve_bytes = 33554432\nreserve_percent = 0\n";
    let gateway = Gateway::start(&data, &format!("{ledger}[servers.bad]\nurl = \"{}\"\n", start(act)));
    let (body, _) = ask(&gateway.url);
    let heard = String::from_utf8_lossy(&body).into_owned();
    assert!(heard.contains("is nearly full; free some space") && heard.contains("\"id\":7"), "{heard}");
    let log = gateway.stop();
    assert!(log.contains("a large message was not taken in"), "{log}");
    let why = "call upstream_failed: the server's answer cannot be passed on: it is large, and the disk that holds the record is \
               nearly full; free some space";
    assert_eq!(ends(&data), [why]);
}

fn serve(folder: &std::path::Path, act: Act) -> Gateway {
    Gateway::start(folder, &format!("[servers.bad]\nurl = \"{}\"\n", start(act)))
}

/// How the calls ended; the folder verifies.
pub(crate) fn ends(folder: &std::path::Path) -> Vec<String> {
    let verified = tollbook(folder, &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let calls = tollbook(folder, &["calls", "--json", "method:tools/call"]);
    let rows = String::from_utf8_lossy(&calls.stdout).into_owned();
    let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).expect("a row"));
    let word = |row: &Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    rows.map(|row| format!("{} {}: {}", word(&row, "kind"), word(&row, "status"), word(&row, "reason")))
        .collect()
}

pub(crate) fn reset_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak is reset");
}

/// The most memory that a process had at once, in bytes.
pub(crate) fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}
