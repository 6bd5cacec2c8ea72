//! A data folder that is lost, and made anew of a backup: who and what there was is there, and nothing gets in or through by what
//! was known before.

use e2e::gateway::tollbook;
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::approvals::{Office, bank, call, id, seen};
use crate::callers::{post, printed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_restored_lets_nobody_in_or_through() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let mut office = Office::open(&upstream.url, "wait_seconds = 0");
        let token = office.mint(&[]);
        let seven = json!({"amount": 7});
        assert!(call(&office.url, &token, "transfer", &seven).contains("approval required"));
        let hold = office.waits();
        assert_eq!(office.decides("ann", &["grant", &hold]).0, 0);
        assert!(call(&office.url, &token, "close_account", &seven).contains("approval required"));
        let key = printed(&office.data(), &["keys", "create", "--service", "ci-bot"]);
        let listed = |office: &Office| post(&office.url, Some(&key), "tools/list", &json!({})).0;
        assert_eq!(listed(&office), 200);

        let copy = office.data().with_file_name("copy");
        let copy = copy.to_str().expect("a path");
        let said = printed(&office.data(), &["backup", copy, "--json"]);
        let said: Value = serde_json::from_str(&said).expect("a report");
        assert_eq!((&said["ok"], &said["state"]), (&json!(true), &json!(true)), "{said}");
        // After the backup: the approval is used.
        assert_eq!(call(&office.url, &token, "transfer", &seven), "done");
        let private = ["run.key", "upstream.key", "keys/log.key"];
        assert!(private.iter().all(|name| !std::path::Path::new(copy).join(name).exists()));

        office.gateway.take().expect("it runs").kill();
        std::fs::remove_dir_all(office.data()).expect("it is lost");
        let said = printed(&office.data(), &["restore", copy]);
        for part in ["as of 20", "2 calls that waited", "keys rotate", "operators link", "disable operators"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        office.start();

        assert_eq!(post(&office.url, Some(&token), "tools/list", &json!({})).0, 401, "the run has ended");
        assert_eq!(listed(&office), 401, "the key's secret is void");
        assert!(office.holds().iter().all(|hold| hold["status"] == "withdrawn"), "{:?}", office.holds());
        assert_eq!(office.decides("ann", &["grant", &hold]).0, 3, "ann's password is void");
        let operators = printed(&office.data(), &["operators", "list"]);
        assert!(["ann", "bob", "dora"].iter().all(|name| operators.contains(name)), "{operators}");
        let key_id = key.trim_start_matches("tbk_").split('_').next().expect("an id").to_owned();
        let key = printed(&office.data(), &["keys", "rotate", &key_id]);
        assert_eq!(post(&office.url, Some(&key), "tools/list", &json!({})).0, 200);

        let token = office.mint(&[]);
        let (_, _, listed) = post(&office.url, Some(&token), "tools/list", &json!({}));
        assert!(listed.to_string().contains("transfer"), "it is pinned: {listed}");
        assert!(call(&office.url, &token, "transfer", &seven).contains("approval required"), "asked anew");
        assert_ne!(office.waits(), hold);
        assert_eq!(seen(&upstream, "transfer"), 1);
        let link = printed(&office.data(), &["operators", "link", "ann"]);
        office.chooses(&link);
        let again = id(&office.hold(|hold| hold["status"] == "pending"));
        assert_eq!(office.decides("ann", &["grant", &again]).0, 0);
        let data = office.data();
        let (_folder, _) = office.close();
        let told = tollbook(&data, &["calls", "kind:note method:operator/state.restore", "--json"]);
        assert!(String::from_utf8_lossy(&told.stdout).contains("as of"), "{told:?}");
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}
