//! The states that clients bring back with held calls, and the page that their users are led to, on the wire.

use bytes::Bytes;
use e2e::http::exchange;
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::approvals::{Office, bank, id, seen};
use crate::callers::printed;

/// A call of the stateless era by a client whose user can be led to addresses; `more` is added to its params.
fn call(office: &Office, token: &str, amount: u64, more: &Value) -> Value {
    let mut params = json!({
        "name": "transfer", "arguments": {"amount": amount},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
        },
    });
    params.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let headers = format!(
        "content-type: application/json\r\naccept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: tools/call\r\nmcp-name: transfer\r\nauthorization: Bearer {token}\r\n"
    );
    let (_, _, answer) = exchange(&office.url, "POST /mcp/bank", &headers, &body);
    serde_json::from_str(&answer).expect("JSON")
}

/// The retry that a client makes whose user has done that.
fn again(office: &Office, token: &str, amount: u64, (state, action): (&str, &str)) -> Value {
    let responses = json!({"tollbook_approval": {"action": action}});
    call(office, token, amount, &json!({"requestState": state, "inputResponses": responses}))
}

/// The state in an answer that asks back.
fn state(answer: &Value) -> String {
    assert_eq!(answer["result"]["resultType"], "input_required", "{answer}");
    answer["result"]["requestState"].as_str().expect("a state").to_owned()
}

fn text(answer: &Value) -> String {
    let text = answer["result"]["content"][0]["text"].as_str().or(answer["error"]["message"].as_str());
    text.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_for_its_call_and_counts_once() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let office = Office::open(&upstream.url, "wait_seconds = 0");
        let token = office.mint(&[]);
        let first = call(&office, &token, 5, &json!({}));
        let asked = &first["result"]["inputRequests"]["tollbook_approval"];
        assert_eq!(
            (&asked["method"], &asked["params"]["mode"]),
            (&json!("elicitation/create"), &json!("url"))
        );
        let hold = office.waits();
        look(&office, asked["params"]["url"].as_str().expect("an address"), &hold);

        // Who asks the server's own questions is not given another state.
        let of_server = call(&office, &token, 5, &json!({"requestState": "the server's"}));
        assert!(text(&of_server).contains("approval required"), "{of_server}");

        let used = state(&first);
        let fresh = state(&again(&office, &token, 5, (&used, "accept")));
        let other = office.mint(&[]);
        let altered = format!("{}x", &fresh);
        let forged = fresh.replace(&hold, "hold_00000000000000000000000000000000");
        for (what, token, amount, state) in [
            ("used", &token, 5, &used),
            ("altered", &token, 5, &altered),
            ("of no hold", &token, 5, &forged),
            ("in another run", &other, 5, &fresh),
            ("for other arguments", &token, 6, &fresh),
        ] {
            let answer = again(&office, token, amount, (state, "accept"));
            assert_eq!(answer["error"]["code"], -32602, "{what}: {answer}");
        }
        assert_eq!(office.decides("ann", &["grant", &hold]).0, 0);
        assert_eq!(seen(&upstream, "transfer"), 0, "an address and a state approve nothing");
        assert_eq!(text(&again(&office, &token, 5, (&fresh, "accept"))), "done");
        let saw: Vec<Bytes> = upstream.seen();
        assert!(
            !saw.iter().any(|body| String::from_utf8_lossy(body).contains("tollbook")),
            "it is the gateway's own"
        );
        assert_eq!(seen(&upstream, "transfer"), 1);

        let later = again(&office, &token, 7, (&state(&call(&office, &token, 7, &json!({}))), "cancel"));
        assert!(text(&later).contains("approval required"), "{later}");
        let declined = again(&office, &token, 7, (&state(&call(&office, &token, 7, &json!({}))), "decline"));
        assert!(text(&declined).contains("declined"), "{declined}");
        assert_eq!(office.holds()[0]["status"], "withdrawn");

        let refused = state(&call(&office, &token, 8, &json!({})));
        assert_eq!(office.decides("ann", &["refuse", &office.waits(), "--reason", "no"]).0, 0);
        assert!(text(&again(&office, &token, 8, (&refused, "accept"))).contains("it was refused: no"));
        assert_eq!(seen(&upstream, "transfer"), 1);

        let (folder, _) = office.close();
        let data = folder.path().join("data");
        let told = |query: &str| printed(&data, &["calls", query, "--limit", "1000", "--json"]);
        assert_eq!(told("verdict:deny").matches("`requestState`").count(), 5, "each is recorded");
        assert_eq!(told("kind:note method:operator/approvals.opened").matches(&hold).count(), 1, "once");
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// The page says how it stands to whoever follows the link, and nothing comes of it.
fn look(office: &Office, url: &str, hold: &str) {
    let path = url.strip_prefix(&office.url).expect("it is the gateway's");
    for method in ["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"] {
        let (status, head, page) = exchange(&office.url, &format!("{method} {path}"), "", "");
        let allowed = if method == "GET" { 200 } else { 405 };
        assert_eq!(status, allowed, "{method}: {head}");
        assert!(method != "GET" || page.contains("Waits for approval"), "{page}");
        assert!(
            !page.contains("form") && !page.contains("amount"),
            "nothing is decided here, nothing told: {page}"
        );
    }
    assert_eq!(exchange(&office.url, "GET /approvals/hold_00", "", "").0, 404);
    assert_eq!(id(&office.hold(|one| one["status"] == "pending")), hold, "it waits as before");
}
