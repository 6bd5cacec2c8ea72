//! The operators' port, and what it says of a gateway at work.

use std::collections::{BTreeMap, BTreeSet};

use e2e::gateway::{Gateway, tollbook};
pub(crate) use e2e::http::exchange;
use e2e::load::{Numbers, call};
use e2e::upstream::{Upstream, echo};

const CONSOLE: &str = "[console]\nlisten = \"127.0.0.1:0\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_refusals_and_the_ledger_are_counted() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!("{CONSOLE}[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let gateway = Gateway::start(folder.path(), &servers);
    let console = gateway.console.clone().expect("a console");
    let url = format!("{}/mcp/echo", gateway.url);
    call(url.clone(), Numbers::default(), |heard| heard.answered.len() == 25).await;

    tokio::task::spawn_blocking(move || {
        let (status, _) = request(&url, "POST /mcp/echo", "content-type: application/json\r\n", "{}");
        assert_eq!(status, 400);
        assert_eq!(request(&console, "GET /healthz", "", ""), (200, "ok".to_owned()));
        let (status, ready) = request(&console, "GET /readyz", "", "");
        assert_eq!((status, ready.starts_with(r#"{"ready":true,"#)), (200, true), "{ready}");

        let metrics = metrics(&console);
        let value = |sample: &str| metrics.get(sample).copied().unwrap_or(-1.0);
        assert_eq!(value(r#"tollbook_calls_total{server="echo",method="tools/call",status="ok"}"#), 25.0);
        assert_eq!(value(r#"tollbook_refusals_total{server="echo",reason="malformed"}"#), 1.0);
        assert_eq!(value(r#"tollbook_calls_open{server="echo"}"#), 0.0);
        assert_eq!(value(r#"tollbook_upstream_seconds_count{server="echo"}"#), 25.0);
        for step in ["open", "close"] {
            assert_eq!(value(&format!(r#"tollbook_record_seconds_count{{step="{step}"}}"#)), 25.0);
        }
        let records = value("tollbook_ledger_records");
        assert!(value("tollbook_commit_records_sum") <= records, "the start's own commit is counted or not");
        assert!(value("tollbook_fdatasync_seconds_count") >= 50.0, "a call waits for two");
        for positive in [
            "tollbook_disk_free_bytes",
            "tollbook_wal_bytes",
            "tollbook_log_bytes",
            "tollbook_checkpoint_records",
            "tollbook_checkpoint_timestamp_seconds",
            "process_resident_memory_bytes",
            "process_open_fds",
        ] {
            assert!(value(positive) > 0.0, "{positive}");
        }
        assert_eq!(value("tollbook_ready"), 1.0);
        gateway.stop();
    })
    .await
    .expect("it is counted");
}

#[test]
fn strangers_are_turned_away() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), CONSOLE);
    let console = gateway.console.clone().expect("a console");
    for (line, headers, expected) in [
        ("GET /metrics", "origin: https://evil.example\r\n", 403),
        ("GET /metrics", "host: evil.example\r\n", 403),
        ("POST /metrics", "", 405),
        ("GET /mcp/echo", "", 404),
        ("HEAD /healthz", "", 200),
    ] {
        assert_eq!(request(&console, line, headers, "").0, expected, "{line} {headers}");
    }
    // The data path's port has no such thing.
    assert_eq!(request(&gateway.url, "GET /metrics", "", "").0, 404);
    gateway.stop();
}

#[test]
fn a_taken_port_matters_to_who_asked_for_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("[console]\nlisten = \"{address}\"\n");
    let log = Gateway::with_fault(folder.path(), &config, "").expect_err("the port is taken");
    assert!(log.contains("the console cannot listen on"), "{log}");
    assert!(!folder.path().join("log").exists(), "nothing was recorded for a gateway that does not run");

    // Only one at a time has the port that nobody asked for; both run.
    let first = Gateway::start(&folder.path().join("first"), "");
    let second = Gateway::start(&folder.path().join("second"), "");
    let without = [&first, &second].into_iter().find(|gateway| gateway.console.is_none()).expect("one");
    assert!(without.log().contains("there is no console"), "{}", without.log());
    first.stop();
    second.stop();
}

#[test]
fn what_fails_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    // More is kept free than any disk has.
    let gateway =
        Gateway::start(folder.path(), &format!("{CONSOLE}[ledger]\nreserve_bytes = 9000000000000000000\n"));
    let console = gateway.console.clone().expect("a console");
    let (status, body) = request(&console, "GET /readyz", "", "");
    assert_eq!(status, 503, "{body}");
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let failed = body["checks"].as_array().expect("checks").iter().filter(|check| check["ok"] == false);
    let failed: Vec<_> = failed.map(|check| (&check["check"], check["remedy"].is_string())).collect();
    assert_eq!(failed, [(&serde_json::Value::from("space"), true)]);
    assert_eq!(request(&console, "GET /healthz", "", "").0, 200);
    gateway.stop();
    let verified = tollbook(folder.path(), &["verify"]);
    assert!(verified.status.success());
}

/// The samples of a scrape. Checks the form strictly: one HELP and TYPE for each family, samples of a family together and each
/// once, buckets that grow up to the count.
pub(crate) fn metrics(console: &str) -> BTreeMap<String, f64> {
    let (status, text) = request(console, "GET /metrics", "", "");
    assert_eq!(status, 200);
    let (mut samples, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let (mut family, mut kind, mut bucket) = (String::new(), String::new(), 0.0);
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("a text");
            assert!(seen.insert(name.to_owned()) && !words.is_empty(), "{line}");
            family = name.to_owned();
            continue;
        }
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, word) = typed.split_once(' ').expect("a type");
            assert_eq!(name, family);
            assert_eq!(word == "counter", name.ends_with("_total"), "{line}");
            kind = word.to_owned();
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().expect("a number");
        let name = sample.split('{').next().unwrap_or_default();
        let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("`{line}` in family `{family}`"));
        match (kind.as_str(), suffix) {
            ("histogram", "_bucket") => {
                if !sample.contains(r#"le="0.0001""#) && !sample.contains(r#"le="1"}"#) {
                    assert!(value >= bucket, "{line}");
                }
                bucket = value;
            }
            ("histogram", "_count") => assert_eq!(value, bucket, "{line}"),
            ("histogram", "_sum") | ("counter" | "gauge", "") => {}
            _ => panic!("`{line}` in a {kind}"),
        }
        assert!(value >= 0.0, "{line}");
        assert!(samples.insert(sample.to_owned(), value).is_none(), "{line} twice");
    }
    samples
}

/// Status and body of one request. Blocks.
pub fn request(url: &str, line: &str, headers: &str, body: &str) -> (u16, String) {
    let (status, _, body) = exchange(url, line, headers, body);
    (status, body)
}
