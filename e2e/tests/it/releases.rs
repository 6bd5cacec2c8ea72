//! What lets a held call go on: an approval by people who were shown it, and which is not used up by what is not made.

use e2e::upstream::Upstream;
use serde_json::json;

use crate::approvals::{Office, bank, call, seen};
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
