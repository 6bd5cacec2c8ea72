//! Fifty kills under load: what the upstream saw is in the ledger, once, and the ledger verifies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use e2e::gateway::{Gateway, tollbook};
use e2e::upstream::{Upstream, echo};
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

const KILLS: usize = 50;
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_forwarded_is_lost_or_doubled() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!("[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let numbers = Arc::new(AtomicUsize::new(0));
    let mut answered = BTreeSet::new();
    for round in 0..KILLS {
        let gateway = Gateway::start(folder.path(), &servers);
        let url = format!("{}/mcp/echo", gateway.url);
        let callers: Vec<_> = (0..CLIENTS)
            .map(|_| tokio::spawn(call_until_cut_off(url.clone(), Arc::clone(&numbers))))
            .collect();
        // Another moment each time: after so many calls, wherever the ninth one is.
        upstream.saw(upstream.seen().len() + 1 + (round * 7919) % 61).await;
        tokio::task::spawn_blocking(move || gateway.kill()).await.expect("killed");
        for caller in callers {
            answered.extend(caller.await.expect("the caller ends"));
        }
    }
    let data = folder.path().to_owned();
    tokio::task::spawn_blocking(move || Gateway::start(&data, &servers).stop()).await.expect("recovered");
    check(folder.path(), &upstream, &answered);
}

fn check(data: &std::path::Path, upstream: &Upstream, answered: &BTreeSet<String>) {
    let report = tollbook(data, &["verify", "--json"]);
    let report: Value = serde_json::from_slice(&report.stdout).expect("a report");
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["open"], 0, "{report}");

    let recorded = recorded(data);
    let forwarded: Vec<String> = upstream.seen().iter().filter_map(|body| marker(body)).collect();
    for call in &forwarded {
        assert_eq!(
            recorded.get(call).map(Vec::len),
            Some(1),
            "{call} was forwarded: {:?}",
            recorded.get(call)
        );
    }
    let distinct: BTreeSet<&String> = forwarded.iter().collect();
    assert_eq!(distinct.len(), forwarded.len(), "a call was forwarded twice");
    for call in answered {
        assert_eq!(
            recorded.get(call).map(Vec::as_slice),
            Some(&["ok".to_owned()][..]),
            "{call} was answered"
        );
    }
    let unknown = recorded.values().flatten().filter(|status| *status == "unknown").count();
    assert_eq!(report["unknown"], unknown, "{report}");
    assert!(unknown > 0, "no kill met an open call: the test tests nothing");
    assert!(answered.len() > KILLS, "next to nothing was answered: the test tests nothing");
}

/// Status of each recorded call by its marker.
fn recorded(data: &std::path::Path) -> BTreeMap<String, Vec<String>> {
    let calls = tollbook(data, &["calls", "--json", "--limit", "1000000", "method:tools/call"]);
    assert!(calls.status.success(), "{}", String::from_utf8_lossy(&calls.stderr));
    let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&calls.stdout).lines() {
        let call: Value = serde_json::from_str(line).expect("a line of JSON");
        let arguments = call["args"].as_str().expect("arguments");
        let arguments: Value = serde_json::from_str(arguments).expect("arguments are JSON");
        let marker = arguments["marker"].as_str().expect("a marker").to_owned();
        recorded.entry(marker).or_default().push(call["status"].as_str().unwrap_or("open").to_owned());
    }
    recorded
}

fn marker(body: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(body).ok()?;
    request["params"]["arguments"]["marker"].as_str().map(str::to_owned)
}

/// Calls one after the other until the gateway is gone; gives the markers of those that were answered.
async fn call_until_cut_off(url: String, numbers: Arc<AtomicUsize>) -> Vec<String> {
    let client =
        Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http::<Full<Bytes>>();
    let mut answered = Vec::new();
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let marker = format!("call-{number}");
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"work","arguments":{{"marker":"{marker}"}}}}}}"#
        );
        let request = Request::post(&url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .body(Full::from(body))
            .expect("a request");
        let Ok(response) = client.request(request).await else { return answered };
        let status = response.status();
        let Ok(body) = response.into_body().collect().await else { return answered };
        assert!(status.is_success(), "{status}: {:?}", body.to_bytes());
        answered.push(marker);
    }
}
