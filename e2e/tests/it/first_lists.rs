//! `pins = "quarantine"` without policies: what the first list of a server pins, page by page, and what no list has shown.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use e2e::gateway::{Gateway, tollbook};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::approvals::seen;
use crate::callers::{post, printed};
use crate::peers::verifies;

/// Whether the server lists what it has had all along.
static SHOWS_ALL: AtomicBool = AtomicBool::new(false);

/// A server whose list has two pages, and which does whatever it is asked.
fn library(asked: &[u8]) -> Bytes {
    let request: Value = serde_json::from_slice(asked).expect("a request");
    let tools = |names: &[&str]| {
        let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
        Value::from_iter(names.iter().map(tool))
    };
    let result = match (request["method"].as_str(), request["params"]["cursor"].as_str()) {
        (Some("tools/list"), None) => json!({"tools": tools(&["find", "read"]), "nextCursor": "2"}),
        (Some("tools/list"), Some(_)) if SHOWS_ALL.load(Ordering::SeqCst) => {
            json!({"tools": tools(&["lend", "wipe"])})
        }
        (Some("tools/list"), Some(_)) => json!({"tools": tools(&["lend"])}),
        _ => json!({"content": [{"type": "text", "text": "done"}]}),
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string().into()
}

/// Names of the tools that a client sees on a page.
fn page(url: &str, params: &Value) -> Vec<String> {
    let answer = post(url, None, "tools/list", params).2;
    let tools = answer["result"]["tools"].as_array().expect("a list");
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

fn call(url: &str, tool: &str) -> Value {
    post(url, None, "tools/call", &json!({"name": tool, "arguments": {}})).2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_list_pins_and_nothing_else_is_called() {
    let upstream = Upstream::start(library).await;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let settings = format!("[policy]\npins = \"quarantine\"\n[servers.bank]\nurl = \"{}\"\n", upstream.url);
    let act = move || {
        let gateway = Gateway::start(&data, &settings);
        let url = gateway.url.clone();
        assert!(call(&url, "read")["result"].is_object(), "the server was never asked for its tools");
        let (first, second) = (json!({}), json!({"cursor": "2"}));
        assert_eq!(page(&url, &first), ["find", "read"]);
        assert_eq!(page(&url, &second), ["lend"], "the second page of the first list");
        for tool in ["find", "lend"] {
            assert!(call(&url, tool)["result"].is_object(), "{tool}");
        }
        let unknown = call(&url, "wipe");
        assert_eq!(unknown["error"]["message"], "Unknown tool: wipe", "{unknown}");
        SHOWS_ALL.store(true, Ordering::SeqCst);
        assert_eq!(page(&url, &second), ["lend"], "the first list has ended");
        assert_eq!(call(&url, "wipe"), unknown, "that it waits shows nowhere");
        assert_eq!(seen(&upstream, "wipe"), 0);
        printed(&data, &["policy", "accept", "bank/wipe", "--yes"]);
        assert_eq!(page(&url, &second), ["lend", "wipe"]);
        assert!(call(&url, "wipe")["result"].is_object(), "it is accepted");
        gateway.stop();
        verifies(&data);
        let denied = tollbook(&data, &["calls", "--json", "verdict:deny method:tools/call"]);
        let denied = String::from_utf8(denied.stdout).expect("text");
        for why in ["no list of its server has shown the tool", "waits to be accepted"] {
            assert_eq!(denied.lines().filter(|line| line.contains(why)).count(), 1, "{why}: {denied}");
        }
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}
