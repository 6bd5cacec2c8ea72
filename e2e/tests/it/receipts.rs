//! What agent and server get to hold against the ledger later.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use e2e::gateway::{Gateway, tollbook};
use e2e::upstream::{Upstream, echo};
use serde_json::{Value, json};

const RECEIPT: &str = "tollbook/receipt";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_name_the_records() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_owned();
    let servers = format!("receipts = true\n[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let answer = tokio::task::spawn_blocking(move || call(&data, &servers)).await.expect("an answer");

    let seen: Value = serde_json::from_slice(&upstream.seen()[0]).expect("a request");
    assert_eq!(seen["params"]["_meta"]["mine"], 1, "what the client put there stays");
    let (intent, outcome) = (&seen["params"]["_meta"][RECEIPT], &answer["result"]["_meta"][RECEIPT]);
    assert_eq!(intent["call"], outcome["call"]);
    let origin = std::fs::read_to_string(folder.path().join("log/checkpoint")).expect("a checkpoint");
    for receipt in [intent, outcome] {
        assert_eq!(receipt["origin"], origin.lines().next().expect("an origin"));
        let leaf = leaf_hash(folder.path(), receipt["index"].as_u64().expect("an index"));
        assert_eq!(receipt["leaf"], URL_SAFE_NO_PAD.encode(leaf));
    }
    let row = tollbook(folder.path(), &["calls", "method:tools/call", "--json"]);
    let row: Value = serde_json::from_slice(&row.stdout).expect("one call");
    assert_eq!([&row["call"], &row["seq"]], [&intent["call"], &intent["index"]]);
    assert_eq!(row["seq_end"], outcome["index"]);
}

fn call(data: &Path, servers: &str) -> Value {
    let gateway = Gateway::start(data, servers);
    let params = json!({"name": "work", "arguments": {}, "_meta": {"mine": 1}});
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let output = Command::new("curl")
        .args(["--silent", "--fail", "--header", "Content-Type: application/json"])
        .args(["--data", &request.to_string(), &format!("{}/mcp/echo", gateway.url)])
        .output()
        .expect("curl runs");
    gateway.stop();
    serde_json::from_slice(&output.stdout).expect("an answer")
}

/// Of a log that fits into one tile.
fn leaf_hash(data: &Path, index: u64) -> Vec<u8> {
    let checkpoint = std::fs::read_to_string(data.join("log/checkpoint")).expect("a checkpoint");
    let size = checkpoint.lines().nth(1).expect("a size");
    let tile = std::fs::read(data.join(format!("log/tile/0/000.p/{size}"))).expect("a tile");
    let at = usize::try_from(index).expect("an index of this log") * 32;
    tile[at..at + 32].to_vec()
}
