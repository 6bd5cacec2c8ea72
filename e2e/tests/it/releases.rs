//! What lets a held call go on: an approval by people who were shown it, and which is not used up by what is not made.

use std::sync::{Condvar, Mutex};

use bytes::Bytes;
use e2e::http::exchange;
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::approvals::{Office, PATIENCE, bank, call, id, seen};
use crate::callers::printed;
use crate::desk::Visitor;

/// Whatever a policy says of recording, people are shown what they decide on, and what goes on is recorded as it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_shown_however_little_is_recorded() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let office = Office::open(&upstream.url, "wait_seconds = 0");
        let heard = std::cell::RefCell::default();
        let ann = Visitor::log_in(&office, "ann", &heard);
        for (amount, recording) in [(5, "none"), (6, "metadata")] {
            office.has_policies(|before| {
                before.replace("@id(\"large transfers\")", &format!("@id(\"large\")\n@record({recording:?})"))
            });
            let token = office.mint(&[]);
            let arguments = json!({"amount": amount});
            let ask = || call(&office.url, &token, "transfer", &arguments);
            assert!(ask().contains("approval required"), "{recording}");
            let hold = office.waits();
            let card = ann.card(&hold);
            assert_eq!(card["arguments"], arguments.to_string(), "{recording}: {card}");
            let (status, said) = ann.says(&hold, "grant", &json!({"digest": card["digest"]}));
            assert_eq!((status, &said["came"]), (200, &json!("approved")), "{recording}: {said}");
            assert_eq!(ask(), "done");

            assert!(ask().contains("approval required"), "{recording}: it is used");
            let hold = office.waits();
            let shown = printed(&office.data(), &["approvals", "show", &hold, "--json"]);
            assert!(shown.contains(&format!("{{\\\"amount\\\":{amount}}}")), "{recording}: {shown}");
            assert_eq!(office.decides("ann", &["grant", &hold]).0, 0, "{recording}");
            assert_eq!(ask(), "done");
        }
        assert_eq!(seen(&upstream, "transfer"), 4);
        let (folder, _) = office.close();
        let data = folder.path().join("data");
        let released = printed(&data, &["calls", "verdict:allow server:bank", "--limit", "99", "--json"]);
        let approved = released.lines().filter(|line| line.contains("approved by")).count();
        assert_eq!(approved, 4, "{released}");
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// Whether the slow call may end.
static MAY_END: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// The bank, which takes its time with an amount of 1.
fn slow_bank(asked: &[u8]) -> Bytes {
    if String::from_utf8_lossy(asked).contains("\"amount\":1}") {
        let held = MAY_END.0.lock().expect("nobody panics");
        drop(MAY_END.1.wait_timeout_while(held, PATIENCE, |may_end| !*may_end).expect("nobody panics"));
    }
    bank(asked)
}

/// Asks for a transfer, and has ann approve it; gives its hold.
fn approved(office: &Office, token: &str, amount: u64) -> String {
    let waits = call(&office.url, token, "transfer", &json!({"amount": amount}));
    assert!(waits.contains("approval required"), "{waits}");
    let hold = office.waits();
    assert_eq!(office.decides("ann", &["grant", &hold]).0, 0);
    hold
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_approval_outlives_a_limit_that_is_reached() {
    let upstream = Upstream::start(slow_bank).await;
    let act = move || {
        let office = Office::open(&upstream.url, "wait_seconds = 0");
        office.has_policies(|before| {
            before.replace("@hold(\"oncall\")", "@hold(\"oncall\")\n@limit(\"1 at once\")")
        });
        let token = office.mint(&[]);
        let ask = |amount: u64| call(&office.url, &token, "transfer", &json!({"amount": amount}));
        let [first, second] = [1, 2].map(|amount| approved(&office, &token, amount));
        let standing = |hold: &str| {
            let hold = office.hold(|one| id(one) == hold);
            (hold["status"].as_str().expect("a word").to_owned(), hold["uses"].as_u64().expect("a number"))
        };
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| ask(1));
            office.hold(|one| id(one) == first && one["status"] == "used");
            for _ in 0..2 {
                let said = ask(2);
                assert!(said.contains("the limit of 1 at once is reached"), "{said}");
                assert!(said.contains(&format!("the approval under `{second}` is not used up")), "{said}");
            }
            assert_eq!(standing(&second), ("approved".to_owned(), 0));
            *MAY_END.0.lock().expect("nobody panics") = true;
            MAY_END.1.notify_all();
            assert_eq!(slow.join().expect("it is answered"), "done");
        });
        assert_eq!(ask(2), "done");
        office.hold(|one| id(one) == second && one["outcome"] == "ok");
        assert_eq!(seen(&upstream, "transfer"), 2);
        let (folder, _) = office.close();
        let denied = printed(&folder.path().join("data"), &["calls", "verdict:deny", "--json"]);
        assert_eq!(denied.lines().filter(|line| line.contains(&second)).count(), 2, "{denied}");
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// A batch crosses whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_call_is_not_made_in_a_batch() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let office = Office::open(&upstream.url, "wait_seconds = 0");
        let token = office.mint(&[]);
        let hold = approved(&office, &token, 5);
        let one = |id: u64, tool: &str| {
            let params = json!({"name": tool, "arguments": {"amount": 5}});
            json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
        };
        let send = |batch: &[Value]| {
            let headers = format!(
                "content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
                 authorization: Bearer {token}\r\n"
            );
            exchange(&office.url, "POST /mcp/bank", &headers, &Value::from(batch).to_string()).2
        };
        for other in ["close_account", "no_such", "balance"] {
            let said = send(&[one(1, "transfer"), one(2, other)]);
            assert!(said.contains("cannot wait for it in a batch; send it alone"), "{other}: {said}");
        }
        assert_eq!((seen(&upstream, "transfer"), seen(&upstream, "balance")), (0, 0));
        assert_eq!(office.hold(|one| id(one) == hold)["status"], "approved");
        assert_eq!(office.holds().len(), 1, "nobody is asked about what cannot be made");
        assert_eq!(call(&office.url, &token, "transfer", &json!({"amount": 5})), "done");
        assert_eq!(seen(&upstream, "transfer"), 1);
        office.close();
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}
