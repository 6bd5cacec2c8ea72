//! Callers that number their calls, and what must hold of the ledger afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::gateway::tollbook;
use crate::upstream::Upstream;

/// A call in eight has this many bytes of arguments more, which is too large for a small write-ahead segment.
const LARGE: usize = 40 << 10;

/// Gives each call a number that no other has.
#[derive(Debug, Clone, Default)]
pub struct Numbers(Arc<AtomicUsize>);

/// What callers heard, by marker.
#[derive(Debug, Default)]
pub struct Heard {
    /// Calls with a result.
    pub answered: BTreeSet<String>,
    /// Calls that the gateway refused since it could not record them.
    pub refused: BTreeSet<String>,
    /// Results in a row since the last refusal.
    pub in_a_row: usize,
}

impl Heard {
    fn hear(&mut self, marker: String, status: StatusCode) {
        if status == StatusCode::SERVICE_UNAVAILABLE {
            self.refused.insert(marker);
            self.in_a_row = 0;
        } else {
            assert!(status.is_success(), "{marker}: {status}");
            self.answered.insert(marker);
            self.in_a_row += 1;
        }
    }

    /// Adds what another caller heard.
    pub fn add(&mut self, other: Heard) {
        self.answered.extend(other.answered);
        self.refused.extend(other.refused);
    }
}

/// Calls one after the other until the gateway is gone, or `enough` says so of what was heard.
///
/// # Panics
/// On any answer but a result or the refusal to go on without a record.
pub async fn call(url: String, numbers: Numbers, enough: fn(&Heard) -> bool) -> Heard {
    let client =
        Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http::<Full<Bytes>>();
    let mut heard = Heard::default();
    while !enough(&heard) {
        let number = numbers.0.fetch_add(1, Ordering::Relaxed);
        let marker = format!("call-{number}");
        let request = Request::post(&url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .body(Full::from(body(number, &marker)))
            .expect("a request");
        let Ok(response) = client.request(request).await else { break };
        let status = response.status();
        let Ok(_) = response.into_body().collect().await else { break };
        heard.hear(marker, status);
    }
    heard
}

fn body(number: usize, marker: &str) -> String {
    let filler = noise(number, if number % 8 == 5 { LARGE } else { 0 });
    format!(
        r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"work","arguments":{{"marker":"{marker}","filler":"{filler}"}}}}}}"#
    )
}

/// Digits that do not compress to less than half.
fn noise(seed: usize, length: usize) -> String {
    let mut state = seed;
    let mut digit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from_digit(u32::try_from(state >> 60).unwrap_or_default(), 16).unwrap_or_default()
    };
    (0..length).map(|_| digit()).collect()
}

/// What a ledger holds of the calls.
#[derive(Debug)]
pub struct Account {
    /// Calls whose end is not known.
    pub unknown: usize,
}

/// Checks a folder whose gateway has ended: it verifies; what the upstream saw is there once, what was answered is there with
/// its answer, what was refused was not made or has no known end.
///
/// # Panics
/// When anything of that does not hold.
pub fn check(data: &Path, upstream: &Upstream, heard: &Heard) -> Account {
    let report = tollbook(data, &["verify", "--json"]);
    let report: Value = serde_json::from_slice(&report.stdout).expect("a report");
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["open"], 0, "{report}");

    let recorded = recorded(data);
    let forwarded: Vec<String> = upstream.seen().iter().filter_map(|body| marker(body)).collect();
    for call in &forwarded {
        let found = recorded.get(call);
        assert_eq!(found.map(Vec::len), Some(1), "{call} was forwarded: {found:?}");
    }
    let distinct: BTreeSet<&String> = forwarded.iter().collect();
    assert_eq!(distinct.len(), forwarded.len(), "a call was forwarded twice");
    for call in &heard.answered {
        let found = recorded.get(call).map(Vec::as_slice);
        assert_eq!(found, Some(&["ok".to_owned()][..]), "{call} was answered");
    }
    // Either it was not made, or it was and its answer was withheld for want of a record.
    for call in heard.refused.iter().filter(|call| distinct.contains(call)) {
        let found = recorded.get(call).map(Vec::as_slice);
        assert_eq!(found, Some(&["unknown".to_owned()][..]), "{call} was refused and forwarded");
    }
    let unknown = recorded.values().flatten().filter(|status| *status == "unknown").count();
    assert_eq!(report["unknown"], unknown, "{report}");
    Account { unknown }
}

/// Status of each recorded call by its marker.
fn recorded(data: &Path) -> BTreeMap<String, Vec<String>> {
    let calls = tollbook(data, &["calls", "--json", "--limit", "1000000", "method:tools/call"]);
    // None found is 1, as grep has it.
    assert!(matches!(calls.status.code(), Some(0 | 1)) && calls.stderr.is_empty(), "{calls:?}");
    let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&calls.stdout).lines() {
        let call: Value = serde_json::from_str(line).expect("a line of JSON");
        // A large text is cut in the index; the marker comes first.
        let arguments = call["args"].as_str().expect("arguments");
        let marker = arguments.split('"').nth(3).expect("a marker").to_owned();
        recorded.entry(marker).or_default().push(call["status"].as_str().unwrap_or("open").to_owned());
    }
    recorded
}

fn marker(body: &[u8]) -> Option<String> {
    let request: Value = serde_json::from_slice(body).ok()?;
    request["params"]["arguments"]["marker"].as_str().map(str::to_owned)
}
