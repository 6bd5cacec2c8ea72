//! Callers with credentials: service keys and minted runs, their scopes, and what revoking does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use bytes::Bytes;
use e2e::gateway::{Gateway, tollbook};
use e2e::peers::{everything, node};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::console::{exchange, metrics};

const URL: &str = "http://127.0.0.1:7800";

const POLICIES: &str = r#"
permit (principal in Group::"tellers", action == Action::"tools/call", resource in Server::"bank");
permit (principal == User::"mira", action == Action::"tools/call", resource == Tool::"bank/balance")
when { context.run has purpose && context.run.purpose like "audit*" };
"#;

/// A bank that offers two tools.
pub(crate) fn bank(asked: &[u8]) -> Bytes {
    let request: Value = serde_json::from_slice(asked).expect("a request");
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let result = match request["method"].as_str() {
        Some("tools/list") => json!({"tools": [tool("balance"), tool("transfer")]}),
        _ => json!({"content": [{"type": "text", "text": "done"}]}),
    };
    json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string().into()
}

/// Status, head and body of the answer to a message that presents a credential.
pub(crate) fn post(
    gateway: &str,
    credential: Option<&str>,
    method: &str,
    params: &Value,
) -> (u16, String, Value) {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let mut headers =
        "content-type: application/json\r\naccept: application/json, text/event-stream\r\n".to_owned();
    if let Some(credential) = credential {
        headers.push_str(&format!("authorization: Bearer {credential}\r\n"));
    }
    let (status, head, answer) = exchange(gateway, "POST /mcp/bank", &headers, &body);
    // What waits for long is answered as a stream of events; the last one is the answer.
    let event = answer.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    (status, head, serde_json::from_str(event.unwrap_or(&answer)).unwrap_or_default())
}

pub(crate) fn listed(gateway: &str, credential: &str) -> Vec<String> {
    let (status, _, answer) = post(gateway, Some(credential), "tools/list", &json!({}));
    assert_eq!(status, 200, "{answer}");
    let tools = answer["result"]["tools"].as_array().expect("a list");
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

pub(crate) fn call(gateway: &str, credential: &str, tool: &str) -> (u16, String) {
    let (status, _, answer) =
        post(gateway, Some(credential), "tools/call", &json!({"name": tool, "arguments": {}}));
    let text = answer["result"]["content"][0]["text"].as_str().or(answer["error"]["message"].as_str());
    (status, text.unwrap_or_default().to_owned())
}

/// What a command prints on standard output.
pub(crate) fn printed(data: &std::path::Path, arguments: &[&str]) -> String {
    let output = tollbook(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_says_who_calls_until_it_is_revoked() {
    let upstream = Upstream::start(bank).await;
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("bank.cedar");
    std::fs::write(&policies, POLICIES).expect("written");
    let settings = format!(
        "public_url = \"{URL}\"\n[identity]\n[policy]\npath = {:?}\n[servers.bank]\nurl = \"{}\"\n",
        policies.to_str().expect("a path"),
        upstream.url
    );
    let data = folder.path().join("data");
    let act = move || {
        let gateway = Gateway::start(&data, &settings);
        let url = gateway.url.clone();
        strangers_are_sent_to_the_metadata(&url);

        let key = printed(&data, &["keys", "create", "--service", "night-run", "--groups", "tellers"]);
        assert_eq!(listed(&url, &key), ["balance", "transfer"]);
        assert_eq!(call(&url, &key, "transfer"), (200, "done".to_owned()));

        let config = data.join("tollbook.toml").to_str().expect("a path").to_owned();
        let mint = |more: &[&str]| {
            let fixed = ["run", "mint", "--config", &config, "--user", "mira"];
            printed(&data, &[&fixed, more].concat())
        };
        let audit = mint(&["--purpose", "audit of May", "--scope", "bank/balance"]);
        assert_eq!(listed(&url, &audit), ["balance"], "a list shows what the run may call");
        assert_eq!(call(&url, &audit, "balance"), (200, "done".to_owned()));
        assert_eq!(call(&url, &audit, "transfer"), (200, "Unknown tool: transfer".to_owned()));
        let other = mint(&["--purpose", "play"]);
        assert!(call(&url, &other, "balance").1.starts_with("denied: "), "the purpose decides");
        let elsewhere = mint(&["--scope", "mail"]);
        let (status, head, _) = post(&url, Some(&elsewhere), "tools/list", &json!({}));
        assert_eq!(status, 403, "{head}");
        assert!(head.contains("insufficient_scope") && head.contains("scope=\"bank\""), "{head}");

        let minted = printed(&data, &["run", "minted"]);
        let run = minted.lines().find(|line| line.contains("audit of May")).expect("it is listed");
        let run = run.split(' ').next().expect("an id");
        let under = [
            "run",
            "mint",
            "--config",
            &config,
            "--under",
            run,
            "--purpose",
            "half of it",
            "--scope",
            "bank/balance",
        ];
        let child = printed(&data, &under);
        printed(&data, &["run", "revoke", run]);
        assert_eq!(call(&url, &audit, "balance").0, 401, "revoked: the next call is refused");
        let id = key.split('_').nth(1).expect("an id").to_owned();
        printed(&data, &["keys", "revoke", &id]);
        assert_eq!(call(&url, &key, "balance").0, 401, "revoked: the next call is refused");
        let log = gateway.stop();
        shown(&data, run);
        recorded(&data, &[key, audit, other, elsewhere, child], &log);
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// Strangers make refusals: they cannot fill the disk with them, nor keep clients from what begins a login.
#[test]
fn strangers_keep_nobody_from_logging_in() {
    const STRANGERS: u32 = 4;
    const TRIES: u32 = 50;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = format!(
        "public_url = \"{URL}\"\n[console]\nlisten = \"127.0.0.1:0\"\n[identity]\n[servers.bank]\nurl = \"http://127.0.0.1:1/\"\n"
    );
    let gateway = Gateway::start(folder.path(), &settings);
    let console = gateway.console.clone().expect("a console");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for stranger in 0..STRANGERS {
            let (url, credential) = (&gateway.url, (stranger % 2 == 0).then_some("tbk_aaaa1111_no"));
            scope.spawn(move || {
                for _ in 0..TRIES {
                    let (status, head, _) = post(url, credential, "tools/list", &json!({}));
                    assert_eq!(status, 401, "{head}");
                    assert!(
                        head.contains("www-authenticate: Bearer ") && head.contains("resource_metadata="),
                        "{head}"
                    );
                }
            });
        }
    });
    let quota = 20 * (usize::try_from(begun.elapsed().as_secs()).expect("it is quick") + 2);
    let counted = metrics(&console)[r#"tollbook_refusals_total{server="bank",reason="caller"}"#];
    assert_eq!(counted, f64::from(STRANGERS * TRIES), "each is counted");
    gateway.stop();
    let calls = printed(folder.path(), &["calls", "--json", "--limit", "1000"]);
    let recorded = calls.matches("who calls is not known").count();
    assert!((1..=quota).contains(&recorded), "{recorded} are recorded, {quota} may be");
}

/// Messages to a stream act with the credential that opened it.
#[test]
fn a_stream_is_not_for_a_narrower_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = json!([node(), everything(), "stdio"]);
    let settings = format!("public_url = \"{URL}\"\n[identity]\n[servers.old]\ncommand = {server}\n");
    let gateway = Gateway::start(folder.path(), &settings);
    let config = folder.path().join("tollbook.toml").to_str().expect("a path").to_owned();
    let mint = |more: &[&str]| {
        let fixed = ["run", "mint", "--config", &config, "--user", "mira"];
        format!("authorization: Bearer {}\r\n", printed(folder.path(), &[&fixed, more].concat()))
    };
    let (wide, narrow) = (mint(&[]), mint(&["--scope", "old/echo"]));
    let address = gateway.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let asked = format!("GET /mcp/old/sse HTTP/1.1\r\nhost: {address}\r\n{wide}\r\n");
    stream.write_all(asked.as_bytes()).expect("it reads");
    let mut lines = BufReader::new(&stream).lines().map(|line| line.expect("it goes on"));
    let endpoint =
        lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).expect("an endpoint");
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let post = |credential: &str| exchange(&gateway.url, &format!("POST {endpoint}"), credential, &ping).0;
    assert_eq!(post(&wide), 202);
    assert_eq!(post(&narrow), 404, "it would act with what the other may");
    gateway.stop();
}

fn strangers_are_sent_to_the_metadata(url: &str) {
    let (status, head, _) = post(url, None, "tools/list", &json!({}));
    assert_eq!(status, 401, "{head}");
    let metadata = format!("resource_metadata=\"{URL}/.well-known/oauth-protected-resource/mcp/bank\"");
    assert!(head.contains(&metadata), "{head}");
    let (status, _, document) = exchange(url, "GET /.well-known/oauth-protected-resource/mcp/bank", "", "");
    let document: Value = serde_json::from_str(&document).expect("a document");
    assert_eq!((status, &document["resource"]), (200, &json!(format!("{URL}/mcp/bank"))));
    for wrong in ["tbk_aaaa1111_no", "eyJhbGciOiJub25lIn0.e30.", "x"] {
        let (status, head, _) = post(url, Some(wrong), "tools/list", &json!({}));
        assert_eq!(status, 401, "{wrong}: {head}");
        assert!(head.contains("error=\"invalid_token\""), "{wrong}: {head}");
    }
    let (status, head, _) = exchange(url, "POST /mcp/bank?access_token=x", "", "");
    assert_eq!(status, 400, "a token in the address: {head}");
}

/// A minted run is shown with what was done with it, and so is what was recorded under it.
fn shown(data: &std::path::Path, run: &str) {
    let text = printed(data, &["run", "show", run]);
    for part in [
        &format!("{run}, minted"),
        &format!("principal  user:mira ({URL})"),
        "purpose    audit of May",
        "scope      bank/balance",
        "status     revoked ",
        "calls      3 in 1 recorded  ▲ 1 denied",
        &format!("does not hold: {run} above it does not  half of it"),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = printed(data, &["run", "show", run, "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let told = json!([json["status"], json["children"][0]["status"], json["calls"], json["purpose"]]);
    assert_eq!(told, json!(["revoked", "parent does not hold", 3, "audit of May"]), "{json}");
    let recorded = json["recorded"][0]["run"].as_str().expect("a run");
    let text = printed(data, &["run", "show", recorded]);
    assert!(text.contains(&format!("minted     {run};")), "{text}");
    let child = json["children"][0]["run"].as_str().expect("a run");
    let text = printed(data, &["run", "show", child]);
    assert!(text.contains(&format!("parent     {run}")) && text.contains("calls      0 in 0"), "{text}");
}

/// What the ledger says of all that, and what nothing says.
fn recorded(data: &std::path::Path, credentials: &[String], log: &str) {
    assert!(tollbook(data, &["verify"]).status.success());
    let calls = printed(data, &["calls", "--json", "--limit", "100"]);
    assert!(calls.contains(&format!("service:night-run ({URL})")), "{calls}");
    assert!(calls.contains(&format!("user:mira ({URL})")), "{calls}");
    assert_eq!(calls.matches("who calls is not known").count(), 8, "each refusal is recorded: {calls}");
    let runs = printed(data, &["run", "list", "--json"]);
    assert!(runs.contains("one run token"), "{runs}");
    silent(credentials, &[log, &calls, &runs]);
}

/// What is secret of these credentials, a signature or what follows a prefix, is in none of these texts.
pub(crate) fn silent(credentials: &[String], texts: &[&str]) {
    for credential in credentials {
        let parts = credential.rsplit_once('.').or_else(|| credential.rsplit_once('_'));
        let secret = parts.map_or(credential.as_str(), |(_, secret)| secret);
        assert!(secret.len() > 5, "a short text may be anywhere: {credential}");
        assert!(texts.iter().all(|text| !text.contains(secret)), "a secret is told");
    }
}
