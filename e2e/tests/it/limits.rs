//! `@limit`: what a real client is told, who is counted as one run, and what a restart leaves.

use e2e::gateway::{Gateway, tollbook};
use e2e::peers::{everything, node};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::callers::{bank, call, listed, printed};
use crate::console::exchange;
use crate::peers::{Client, python_sdk, typescript, verifies, wrapped};

const FEW: &str = r#"
@id("few")
@limit("2 calls per run per tool, 1 at once")
permit (principal, action == Action::"tools/call", resource)
when { resource.name == "echo" || resource.name == "get-sum" };
"#;

/// What a client behind `wrap` gets that calls more often than it may.
fn told_of_a_limit(client: Client) {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("few.cedar");
    std::fs::write(&policies, FEW).expect("written");
    let data = folder.path().join("data");
    let gateway =
        Gateway::start(&data, &format!("[policy]\npath = {:?}\n", policies.to_str().expect("a path")));
    let echo = json!(["tools/call", {"name": "echo", "arguments": {"message": "x"}}]);
    let sum = json!(["tools/call", {"name": "get-sum", "arguments": {"a": 1, "b": 2}}]);
    let steps = json!([["tools/list", {}], echo, echo, echo, sum]);
    let server = json!([node(), everything(), "stdio"]);
    let transport = json!({"stdio": wrapped(&data, &server)});
    let got = client(&json!({"transport": transport, "version": "legacy", "steps": steps}));
    let got: Vec<Value> = got.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    let tools = got[0]["result"]["tools"].as_array().expect("a list");
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["echo", "get-sum"], "a wrapped server's list is filtered");
    let is_error = |step: usize| got[step]["result"]["isError"].as_bool().unwrap_or_default();
    assert_eq!([1, 2, 3, 4].map(is_error), [false, false, true, false], "{got:#?}");
    let text = got[3]["result"]["content"][0]["text"].as_str().expect("a text");
    let reached =
        "denied: the limit of 2 calls per run per tool is reached, and nothing is left for this run";
    assert!(text.starts_with(reached), "{text}");
    gateway.stop();
    verifies(&data);
    let denied = tollbook(&data, &["calls", "--json", "verdict:deny method:tools/call"]);
    let denied = String::from_utf8(denied.stdout).expect("text");
    assert!(denied.lines().count() == 1 && denied.contains("the limit of 2 calls per run"), "{denied}");
}

#[test]
fn a_limit_is_told_to_the_typescript_client() {
    told_of_a_limit(typescript);
}

#[test]
fn a_limit_is_told_to_the_python_client() {
    told_of_a_limit(python_sdk);
}

const URL: &str = "http://127.0.0.1:7800";

const BUDGET: &str = r#"
@id("budget")
@limit("2 calls per run")
permit (principal, action == Action::"tools/call", resource in Server::"bank");
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_of_a_run_and_its_children_and_outlives_the_gateway() {
    let upstream = Upstream::start(bank).await;
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("budget.cedar");
    std::fs::write(&policies, BUDGET).expect("written");
    let settings =
        format!("public_url = \"{URL}\"\n[identity]\n{}", crate::policies::settings(&policies, &upstream));
    let data = folder.path().join("data");
    let act = move || {
        let gateway = Gateway::start(&data, &settings);
        let config = data.join("tollbook.toml").to_str().expect("a path").to_owned();
        let mint = || printed(&data, &["run", "mint", "--config", &config, "--user", "mira"]);
        let (run, other) = (mint(), mint());
        assert_eq!(listed(&gateway.url, &run), ["balance", "transfer"]);
        assert_eq!(call(&gateway.url, &run, "balance"), (200, "done".to_owned()));
        let form = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={run}\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&purpose=more"
        );
        let headers = "content-type: application/x-www-form-urlencoded\r\n";
        let (status, _, minted) = exchange(&gateway.url, "POST /oauth/token", headers, &form);
        assert_eq!(status, 200, "{minted}");
        let minted: Value = serde_json::from_str(&minted).expect("an answer");
        let child = minted["access_token"].as_str().expect("a token").to_owned();
        assert_eq!(call(&gateway.url, &child, "balance"), (200, "done".to_owned()));
        let reached = |url: &str, token: &str| {
            let (_, text) = call(url, token, "transfer");
            assert!(text.contains("the limit of 2 calls per run is reached"), "{text}");
        };
        reached(&gateway.url, &child);
        reached(&gateway.url, &run);
        assert_eq!(call(&gateway.url, &other, "balance"), (200, "done".to_owned()), "it has its own");
        gateway.stop();
        let gateway = Gateway::start(&data, &settings);
        reached(&gateway.url, &run);
        assert_eq!(call(&gateway.url, &other, "balance"), (200, "done".to_owned()));
        reached(&gateway.url, &other);
        gateway.stop();
        verifies(&data);
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}
