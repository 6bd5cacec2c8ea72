//! Recorded calls, judged again: the bundle that was in force changes nothing about them.

use e2e::gateway::tollbook;
use e2e::upstream::Upstream;
use expect_test::expect;
use serde_json::json;

use crate::approvals::{Office, bank, call};
use crate::callers::post;

const RULES: &str = r#"
@id("the first call")
permit (principal, action == Action::"tools/call", resource == Tool::"bank/balance")
when { context.run.calls == 0 && context has network && context.network.isLoopback() };

@id("transfers")
@hold("oncall")
permit (principal, action == Action::"tools/call", resource == Tool::"bank/transfer");

@id("closing")
@limit("1 calls per run")
permit (principal, action == Action::"tools/call", resource == Tool::"bank/close_account")
when { context.arguments has amount && context.arguments.amount <= 100 };

@id("who and when")
@record("metadata")
permit (principal, action == Action::"prompts/get", resource == Prompt::"bank/summary")
when { context.arguments has topic && context.arguments.topic == "budget" };

@id("that it was")
@record("none")
permit (principal, action == Action::"resources/read", resource in Server::"bank");
"#;

/// Everything that can become of a call.
fn all_kinds(office: &Office) {
    let token = office.mint(&[]);
    let call = |tool: &str, amount: u32| call(&office.url, &token, tool, &json!({"amount": amount}));
    assert_eq!(call("balance", 1), "done", "no call was before it");
    assert!(call("balance", 2).contains("denied"), "one was before it");
    for (amount, word, more, done) in
        [(3, "grant", &[][..], true), (4, "refuse", &["--reason", "not today"], false)]
    {
        let answer = std::thread::scope(|scope| {
            let calling = scope.spawn(|| call("transfer", amount));
            let (code, said) = office.decides("ann", &[&[word, &office.waits()], more].concat());
            assert_eq!(code, 0, "{said}");
            calling.join().expect("it is answered")
        });
        assert_eq!(answer == "done", done, "{answer}");
    }
    assert!(call("close_account", 500).contains("denied"), "it is too much");
    assert_eq!(call("close_account", 5), "done");
    assert!(call("close_account", 6).contains("the limit of 1 calls per run"));
    assert!(call("ghost", 7).contains("Unknown tool"));
    let narrow = office.mint(&["--scope", "bank/balance"]);
    let params = json!({"name": "transfer", "arguments": {"amount": 8}});
    post(&office.url, Some(&narrow), "tools/call", &params);
    let params = json!({"name": "balance", "Name": "transfer", "arguments": {"amount": 9}});
    post(&office.url, Some(&token), "tools/call", &params);
    for topic in ["budget", "salaries"] {
        let params = json!({"name": "summary", "arguments": {"topic": topic}});
        post(&office.url, Some(&token), "prompts/get", &params);
    }
    post(&office.url, Some(&token), "resources/read", &json!({"uri": "bank:1"}));
}

/// What `tollbook policy what-if` says of some policies, and its exit code.
fn what_if(data: &std::path::Path, policies: &str) -> (String, i32) {
    let draft = data.join("draft.cedar");
    std::fs::write(&draft, policies).expect("written");
    let config = data.join("tollbook.toml");
    let [config, draft] = [&config, &draft].map(|path| path.to_str().expect("a path"));
    let output = tollbook(data, &["policy", "--config", config, "what-if", draft, "--show", "0"]);
    let printed = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
    (printed, output.status.code().expect("it ends"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_in_force_changes_nothing() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let office = Office::open(&upstream.url, "refusal_seconds = 1");
        office.has_policies(|_| RULES.to_owned());
        all_kinds(&office);
        let data = office.data();
        let (_folder, _) = office.close();
        let (said, code) = what_if(&data, RULES);
        expect![[r#"
            8 calls were judged again
            1 of them fall under a `@limit`; what runs had used is not counted here
            2 more were left out: what policies read of them is not recorded
            5 more were left out: no policy denied them, but a limit, a tool that waited or was not known, a hold that ended, a credential's scope or the protocol
            0 would be allowed that were not
            0 would be denied that were not
            0 would be held that were not
        "#]].assert_eq(&said);
        assert_eq!(code, 0, "{said}");
        let other = RULES.replace("run.calls == 0", "run.calls < 9").replace("@hold(\"oncall\")\n", "");
        let (said, code) = what_if(&data, &other);
        expect![[r#"
            8 calls were judged again
            1 of them fall under a `@limit`; what runs had used is not counted here
            2 more were left out: what policies read of them is not recorded
            5 more were left out: no policy denied them, but a limit, a tool that waited or was not known, a hold that ended, a credential's scope or the protocol
            4 would be allowed that were not
            0 would be denied that were not
            0 would be held that were not
        "#]].assert_eq(&said);
        assert_eq!(code, 1, "{said}");
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}
