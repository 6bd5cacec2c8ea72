//! Held calls as clients on the official SDKs live through them, in both eras: what each client saw, and how often its tool ran.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use e2e::http::exchange;
use e2e::peers::{Peer, free_port, node, repository};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::approvals::{Office, id, now};
use crate::callers::{post, printed};
use crate::peers::{Client, python_sdk, rust, typescript};

const CLIENTS: [(&str, Client, &str); 6] = [
    ("typescript", typescript, "legacy"),
    ("typescript", typescript, "2026-07-28"),
    ("python", python_sdk, "legacy"),
    ("python", python_sdk, "2026-07-28"),
    ("rust", rust, "legacy"),
    ("rust", rust, "2026-07-28"),
];

/// A bank on an SDK, and a gateway before it.
struct Branch {
    office: Office,
    bank: String,
    _bank: Peer,
}

/// A client that calls, each in a run of its own.
struct Caller {
    who: usize,
    token: String,
    amount: usize,
    answer: mpsc::Receiver<String>,
}

impl Branch {
    fn open(approvals: &str) -> Branch {
        let mut command = Command::new(node());
        let port = free_port();
        command.arg(repository().join("e2e/peers/node/bank.mjs")).arg(port.to_string());
        let peer = Peer::start(command, "listening on");
        let bank = format!("http://127.0.0.1:{port}");
        Branch { office: Office::open(&format!("{bank}/mcp"), approvals), bank, _bank: peer }
    }

    /// Has each client call a tool; what it asks for says whose call it is.
    fn all_call(&self, tool: &str, more: &Value) -> Vec<Caller> {
        self.all_call_for("a test", 100, (tool, more))
    }

    /// The same for a purpose, with amounts from `first` on.
    fn all_call_for(&self, purpose: &str, first: usize, (tool, more): (&str, &Value)) -> Vec<Caller> {
        let mint = || self.office.mint(&["--purpose", purpose]);
        let amounts = (0..CLIENTS.len()).map(|who| (who, mint(), first + who));
        amounts.map(|(who, token, amount)| self.calls((who, token, amount), tool, more)).collect()
    }

    fn calls(&self, (who, token, amount): (usize, String, usize), tool: &str, more: &Value) -> Caller {
        let (_, client, version) = CLIENTS[who];
        let arguments = match tool {
            "transfer" => json!({"to": "ann", "amount": amount}),
            _ => json!({"account": amount.to_string()}),
        };
        let mut spec = json!({
            "transport": {"http": format!("{}/mcp/bank", self.office.url)}, "version": version,
            "headers": {"authorization": format!("Bearer {token}")}, "urls": "accept", "repeats": true,
            "steps": [["tools/call", {"name": tool, "arguments": arguments}]],
        });
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let (sender, answer) = mpsc::sync_channel(1);
        thread::spawn(move || {
            // A client whose credential was revoked fails, as it should.
            let told = std::panic::catch_unwind(|| client(&spec));
            let told = told.unwrap_or_else(|_| json!({"step": "fails"}).to_string());
            // One that nobody waits for any more has nobody to tell.
            drop(sender.send(told));
        });
        Caller { who, token, amount, answer }
    }

    /// The holds that wait, once all clients have one.
    fn all_wait(&self) -> Vec<Value> {
        self.all_wait_for("a test")
    }

    fn all_wait_for(&self, purpose: &str) -> Vec<Value> {
        let mut waiting = Vec::new();
        self.office.hold(|_| {
            waiting = self.office.holds();
            let waits = |hold: &Value| hold["status"] == "pending" && hold["asked"].is_u64();
            waiting.retain(|hold| waits(hold) && hold["purpose"] == purpose);
            waiting.len() == CLIENTS.len()
        });
        waiting
    }

    /// Has somebody say something of each hold.
    fn all_decided(&self, who: &str, holds: &[Value], words: &[&str]) {
        for hold in holds {
            let id = id(hold);
            let (code, said) = self.office.decides(who, &[&[words[0], &id], &words[1..]].concat());
            assert_eq!(code, 0, "{said}");
        }
    }

    /// A line for each client: what it saw at last, and how often the tool ran for it since then.
    fn saw(&self, callers: &[Caller], before: usize) -> String {
        self.table(callers, before, |words| words.last().cloned().unwrap_or_default())
    }

    /// The same, of some of what it saw.
    fn table(&self, callers: &[Caller], before: usize, pick: fn(&[String]) -> String) -> String {
        let told: Vec<_> = callers
            .iter()
            .map(|caller| {
                (caller.who, caller.amount, pick(&in_words(&caller.answer.recv().expect("it tells"))))
            })
            .collect();
        let ran = self.ran();
        let line = |(who, amount, words): (usize, usize, String)| {
            let (client, _, version) = CLIENTS[who];
            let mine = ran.iter().skip(before).filter(|done| is_for(done, amount)).count();
            format!("{client} {version}: {words} | ran {mine}\n")
        };
        told.into_iter().map(line).collect()
    }

    /// What the bank did.
    fn ran(&self) -> Vec<Value> {
        serde_json::from_str(&exchange(&self.bank, "GET /done", "", "").2).expect("JSON")
    }

    /// A case: each client calls, something happens, and each has seen what it should.
    fn case(&self, tool: &str, act: impl FnOnce(&[Value]), expected: &Expect) {
        let before = self.ran().len();
        let callers = self.all_call(tool, &json!({}));
        act(&self.all_wait());
        expected.assert_eq(&self.saw(&callers, before));
    }
}

fn is_for(done: &Value, amount: usize) -> bool {
    done["amount"] == amount || done["account"] == *amount.to_string()
}

/// What a client told, once each: how often it asked again depends on the machine.
fn in_words(told: &str) -> Vec<String> {
    let mut words: Vec<String> = told
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let text = line["result"]["content"][0]["text"].as_str().or(line["error"]["message"].as_str());
            match (line["step"].as_str(), text) {
                (Some("led"), _) => format!("page `{}`", line["result"].as_str().unwrap_or_default()),
                (Some("tools/call"), Some(text)) => without_numbers(text),
                (step, _) => step.unwrap_or_default().to_owned(),
            }
        })
        .collect();
    let mut seen = BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words
}

/// Ids and times are others each time, and whether a refusal was met in line or on coming back.
fn without_numbers(text: &str) -> String {
    if let Some((_, why)) = text.split_once("was refused: ") {
        return format!("refused: {}", why.split('.').next().unwrap_or_default());
    }
    let word = |word: &str| match word {
        _ if word.starts_with("`hold_") => "`hold_…`".to_owned(),
        _ if word.chars().all(|one| one.is_ascii_digit()) => "…".to_owned(),
        _ if word.len() > 30 => "…".to_owned(),
        _ => word.to_owned(),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Nobody needs to be told how to wait: a few seconds in line, then an address or an answer, until people have decided.
#[test]
fn what_clients_see_and_how_often_the_tool_runs() {
    let mut branch = Branch::open("wait_seconds = 20");
    gone(&mut branch);
    let office = &branch.office;
    let approve = |holds: &[Value]| branch.all_decided("ann", holds, &["grant"]);
    let whoever_may = |holds: &[Value]| {
        for hold in holds.iter().map(id) {
            assert_eq!(office.decides("mira", &["grant", &hold]).0, 1, "it is her own call");
            assert_eq!(office.decides("ann", &["grant", &hold]).0, 0);
            for who in ["ann", "bob"] {
                assert_eq!(office.decides(who, &["grant", &hold]).0, 1, "it is approved already");
            }
        }
    };
    branch.case(
        "transfer",
        whoever_may,
        &expect![[r#"
        typescript legacy: … moved to ann | ran 1
        typescript 2026-07-28: … moved to ann | ran 1
        python legacy: … moved to ann | ran 1
        python 2026-07-28: … moved to ann | ran 1
        rust legacy: … moved to ann | ran 1
        rust 2026-07-28: … moved to ann | ran 1
    "#]],
    );
    branch.case(
        "transfer",
        |holds| branch.all_decided("ann", holds, &["refuse", "--reason", "not today"]),
        &expect![[r#"
            typescript legacy: refused: not today | ran 0
            typescript 2026-07-28: refused: not today | ran 0
            python legacy: refused: not today | ran 0
            python 2026-07-28: refused: not today | ran 0
            rust legacy: refused: not today | ran 0
            rust 2026-07-28: refused: not today | ran 0
        "#]],
    );
    branch.case(
        "close_account",
        |holds| {
            approve(holds);
            branch.all_decided("bob", holds, &["grant"]);
        },
        &expect![[r#"
            typescript legacy: … is closed | ran 1
            typescript 2026-07-28: … is closed | ran 1
            python legacy: … is closed | ran 1
            python 2026-07-28: … is closed | ran 1
            rust legacy: … is closed | ran 1
            rust 2026-07-28: … is closed | ran 1
        "#]],
    );
    revoked(&branch);
    let forbidden = |holds: &[Value]| {
        office.has_policies(|policies| {
            format!("{policies}\nforbid (principal, action, resource == Tool::\"bank/transfer\");")
        });
        approve(holds);
    };
    branch.case(
        "transfer",
        forbidden,
        &expect![[r#"
        typescript legacy: Unknown tool: transfer | ran 0
        typescript 2026-07-28: Unknown tool: transfer | ran 0
        python legacy: Unknown tool: transfer | ran 0
        python 2026-07-28: Unknown tool: transfer | ran 0
        rust legacy: Unknown tool: transfer | ran 0
        rust 2026-07-28: Unknown tool: transfer | ran 0
    "#]],
    );
    office.has_policies(str::to_owned);
    let tampered = |holds: &[Value]| {
        exchange(&branch.bank, "POST /tamper", "", "");
        post(&office.url, Some(&office.mint(&[])), "tools/list", &json!({}));
        approve(holds);
    };
    branch.case(
        "transfer",
        tampered,
        &expect![[r#"
        typescript legacy: Unknown tool: transfer | ran 0
        typescript 2026-07-28: Unknown tool: transfer | ran 0
        python legacy: Unknown tool: transfer | ran 0
        python 2026-07-28: Unknown tool: transfer | ran 0
        rust legacy: Unknown tool: transfer | ran 0
        rust 2026-07-28: Unknown tool: transfer | ran 0
    "#]],
    );
    branch.office.close();
}

/// Runs that are revoked while their calls wait: how a client fails then depends on whether its answer has begun.
fn revoked(branch: &Branch) {
    let before = branch.ran().len();
    let callers = branch.all_call("transfer", &json!({}));
    let holds = branch.all_wait();
    for hold in &holds {
        printed(&branch.office.data(), &["run", "revoke", hold["run"].as_str().expect("a run")]);
    }
    for hold in &holds {
        assert!(branch.office.decides("ann", &["grant", &id(hold)]).1.contains("withdrawn already"));
    }
    let told = branch.table(&callers, before, |words| words.concat());
    assert_eq!((told.contains("moved to"), told.matches("ran 0").count()), (false, CLIENTS.len()), "{told}");
}

/// Clients that leave: what people say later is for who comes back with the same call, also if the gateway was restarted before they
/// said it, and again before the call came back.
fn gone(branch: &mut Branch) {
    let before = branch.ran().len();
    let callers = branch.all_call("transfer", &json!({"leaves": true}));
    let holds = branch.all_wait();
    for caller in &callers {
        caller.answer.recv().expect("it leaves");
    }
    branch.office.restart();
    branch.all_decided("ann", &holds, &["grant"]);
    branch.office.restart();
    let branch = &*branch;
    assert_eq!(branch.ran().len(), before, "nobody waited");
    let again = |others: usize| -> Vec<Caller> {
        let calls = |caller: &Caller| {
            let whose = (caller.who, caller.token.clone(), caller.amount + others);
            branch.calls(whose, "transfer", &json!({}))
        };
        callers.iter().map(calls).collect()
    };
    let other = again(1_000);
    branch.all_decided("bob", &branch.all_wait(), &["refuse", "--reason", "that is another call"]);
    expect![[r#"
        typescript legacy: refused: that is another call | ran 0
        typescript 2026-07-28: refused: that is another call | ran 0
        python legacy: refused: that is another call | ran 0
        python 2026-07-28: refused: that is another call | ran 0
        rust legacy: refused: that is another call | ran 0
        rust 2026-07-28: refused: that is another call | ran 0
    "#]]
    .assert_eq(&branch.saw(&other, before));
    expect![[r#"
        typescript legacy: … moved to ann | ran 1
        typescript 2026-07-28: … moved to ann | ran 1
        python legacy: … moved to ann | ran 1
        python 2026-07-28: … moved to ann | ran 1
        rust legacy: … moved to ann | ran 1
        rust 2026-07-28: … moved to ann | ran 1
    "#]]
    .assert_eq(&branch.saw(&again(0), before));
}

/// Nobody decides.
#[test]
fn what_clients_see_when_nobody_decides() {
    let branch = Branch::open("wait_seconds = 120\nlasts_seconds = 25");
    let callers = branch.all_call("transfer", &json!({}));
    expect![[r#"
        typescript legacy: denied: `hold_…` has ended: nobody decided in time | ran 0
        typescript 2026-07-28: denied: `hold_…` has ended: nobody decided in time | ran 0
        python legacy: denied: `hold_…` has ended: nobody decided in time | ran 0
        python 2026-07-28: denied: `hold_…` has ended: nobody decided in time | ran 0
        rust legacy: denied: `hold_…` has ended: nobody decided in time | ran 0
        rust 2026-07-28: denied: `hold_…` has ended: nobody decided in time | ran 0
    "#]]
    .assert_eq(&branch.saw(&callers, 0));
    branch.office.close();
}

/// With the settings that there are by default, of the gateway as of the clients: after ten seconds, after fifty, after five minutes.
#[test]
fn clients_wait_for_people_who_take_their_time() {
    let branch = Branch::open("");
    let times = [300, 50, 10];
    let purpose = |seconds: u64| format!("wait {seconds} s");
    let first = |seconds: u64| usize::try_from(seconds).expect("few") * 100;
    // One group after the other: eighteen clients that start at once take longer than some of them are to wait.
    let groups = times.map(|seconds| {
        let callers = branch.all_call_for(&purpose(seconds), first(seconds), ("transfer", &json!({})));
        (seconds, callers, branch.all_wait_for(&purpose(seconds)))
    });
    let mut told = String::new();
    for (seconds, callers, holds) in groups.into_iter().rev() {
        let made = holds.iter().filter_map(|hold| hold["created"].as_u64()).max().expect("they wait");
        for caller in &callers {
            let left = Duration::from_secs((made + seconds).saturating_sub(now()));
            let early = caller.answer.recv_timeout(left);
            assert!(early.is_err(), "it has not waited: {early:?}");
        }
        branch.all_decided("ann", &holds, &["grant"]);
        told += &format!("after {seconds} s\n{}", branch.table(&callers, 0, |words| words.join(", ")));
    }
    expect![[r#"
        after 10 s
        typescript legacy: page `Waits for approval`, … moved to ann | ran 1
        typescript 2026-07-28: … moved to ann | ran 1
        python legacy: page `Waits for approval`, … moved to ann | ran 1
        python 2026-07-28: … moved to ann | ran 1
        rust legacy: page `Waits for approval`, … moved to ann | ran 1
        rust 2026-07-28: … moved to ann | ran 1
        after 50 s
        typescript legacy: page `Waits for approval`, repeats, … moved to ann | ran 1
        typescript 2026-07-28: page `Waits for approval`, … moved to ann | ran 1
        python legacy: page `Waits for approval`, repeats, … moved to ann | ran 1
        python 2026-07-28: page `Waits for approval`, … moved to ann | ran 1
        rust legacy: page `Waits for approval`, repeats, … moved to ann | ran 1
        rust 2026-07-28: page `Waits for approval`, … moved to ann | ran 1
        after 300 s
        typescript legacy: page `Waits for approval`, repeats, … moved to ann | ran 1
        typescript 2026-07-28: page `Waits for approval`, … moved to ann | ran 1
        python legacy: page `Waits for approval`, repeats, … moved to ann | ran 1
        python 2026-07-28: page `Waits for approval`, … moved to ann | ran 1
        rust legacy: page `Waits for approval`, repeats, … moved to ann | ran 1
        rust 2026-07-28: page `Waits for approval`, … moved to ann | ran 1
    "#]]
    .assert_eq(&told);
    branch.office.close();
}
