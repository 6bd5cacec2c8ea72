//! Servers that want tokens: a real authorization server, a real server that verifies what it is shown, and the conformance
//! suite's authorization scenarios with the gateway as the OAuth client.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::gateway::{Gateway, binary, tollbook};
use e2e::peers::{Peer, free_port, node, package, repository};
use serde_json::{Value, json};

use crate::callers::{printed, silent};
use crate::console::exchange;

const SECRET: &str = "canary-of-the-upstream-secret";

/// An authorization server, and a server that wants its tokens.
struct Stage {
    gateway: String,
    issuer: String,
    server: String,
    _peers: [Peer; 2],
}

impl Stage {
    /// `key`: the public key by which the gateway is known there, instead of a secret.
    fn set(key: Option<&Value>) -> Stage {
        let [gateway, issuer, server] = [free_port(), free_port(), free_port()];
        let address = |port: u16| format!("http://127.0.0.1:{port}");
        let script = |name: &str, port: u16| {
            let mut command = Command::new(node());
            command.arg(repository().join("e2e/peers/node").join(name)).arg(port.to_string());
            command
        };
        let mut provider = script("provider.mjs", issuer);
        provider.arg(address(gateway)).args(key.map(Value::to_string));
        let mut guarded = script("guarded.mjs", server);
        guarded.arg(address(issuer));
        let _peers = [provider, guarded].map(|command| Peer::start(command, "listening on"));
        let (gateway, issuer) = (address(gateway), address(issuer));
        Stage { gateway, issuer, server: format!("{}/mcp", address(server)), _peers }
    }

    /// Whose token the server says it was shown, through a gateway of this configuration.
    fn asked(&self, credentials: &str) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let listen = self.gateway.trim_start_matches("http://");
        let configuration = format!(
            "listen = \"{listen}\"\npublic_url = \"{}\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
             [identity.issuers.corporate]\nurl = \"{}\"\n[servers.bank]\nurl = \"{}\"\n\
             [servers.bank.credentials]\nissuer = \"{}\"\nclient_id = \"gateway\"\n{credentials}",
            self.gateway, self.issuer, self.server, self.issuer
        );
        Gateway::with_environment(&folder, &configuration, &[]).expect("it starts")
    }

    /// An access token for the gateway of a client of the authorization server.
    fn token(&self, client: &str) -> String {
        let known = STANDARD.encode(format!("{client}:{client}-secret"));
        let headers =
            format!("content-type: application/x-www-form-urlencoded\r\nauthorization: Basic {known}\r\n");
        let form = format!("grant_type=client_credentials&resource={}/mcp/bank", self.gateway);
        let (status, _, answer) = exchange(&self.issuer, "POST /token", &headers, &form);
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).expect("an answer");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// The server takes no token any more that it has seen.
    fn refuse(&self) {
        assert_eq!(exchange(&self.server, "POST /refuse", "", "").0, 200);
    }
}

/// Status and text of the answer to a call of `whoami`, which comes as JSON or as an event.
fn call(gateway: &str, caller: &str) -> (u16, String) {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;
    let headers = format!(
        "content-type: application/json\r\naccept: application/json, text/event-stream\r\nauthorization: Bearer {caller}\r\n"
    );
    let (status, _, answer) = exchange(gateway, "POST /mcp/bank", &headers, body);
    let read = |line: &str| serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap_or(line)).ok();
    let answer = answer.lines().filter_map(read).find(Value::is_object).expect("an answer");
    let text = answer["result"]["content"][0]["text"].as_str().or(answer["error"]["message"].as_str());
    (status, text.unwrap_or_default().to_owned())
}

/// Ends a gateway; its calls, as the record has them. No secret is anywhere.
fn ended(gateway: Gateway, secrets: &[String]) -> Vec<Value> {
    let data = gateway.data.clone();
    let log = gateway.stop();
    assert!(tollbook(&data, &["verify"]).status.success());
    let calls = printed(&data, &["calls", "--json", "--limit", "1000"]);
    silent(&[secrets, &[SECRET.to_owned()]].concat(), &[&log, &calls]);
    let rows = calls.lines().map(|row| serde_json::from_str(row).expect("a row")).collect();
    std::fs::remove_dir_all(data).expect("the folder can go");
    rows
}

#[test]
fn the_gateway_gets_its_own_token_by_secret_or_key() {
    let (public, private) = key_pair();
    let folder = tempfile::tempdir().expect("a folder");
    let pem = folder.path().join("key.pem");
    std::fs::write(&pem, private).expect("written");
    for (key, proof) in [
        (None, format!("client_secret = \"{SECRET}\"\n")),
        (Some(&public), format!("key = \"file:{}\"\nkey_id = \"k\"\n", pem.display())),
    ] {
        let stage = Stage::set(key);
        let gateway = stage.asked(&format!("kind = \"client_credentials\"\n{proof}"));
        let caller = stage.token("robot");
        assert_eq!(call(&stage.gateway, &caller), (200, "gateway by gateway".to_owned()));
        stage.refuse();
        assert_eq!(call(&stage.gateway, &caller), (200, "gateway by gateway".to_owned()), "renewed");
        let rows = ended(gateway, &[caller]);
        let made: Vec<_> = rows.iter().filter(|row| row["method"] == "tools/call").collect();
        assert_eq!(made.len(), 2, "one record each, however often it was sent: {rows:#?}");
        assert!(made.iter().all(|row| row["status"] == "ok"), "{rows:#?}");
    }
}

/// A public key as a JWK, and its private key in PEM.
fn key_pair() -> (Value, String) {
    let script = "const { publicKey, privateKey } = require('crypto').generateKeyPairSync('ec', { namedCurve: 'P-256' });
        const jwk = { ...publicKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: 'k' };
        console.log(JSON.stringify([jwk, privateKey.export({ type: 'pkcs8', format: 'pem' })]));";
    let output = Command::new(node()).args(["--eval", script]).output().expect("node runs");
    serde_json::from_slice(&output.stdout).expect("a key")
}

#[test]
fn each_caller_has_a_token_of_their_own_and_without_one_nothing_is_sent() {
    let stage = Stage::set(None);
    let gateway = stage.asked(&format!("kind = \"token_exchange\"\nclient_secret = \"{SECRET}\"\n"));
    let callers = ["robot", "robot-ec"].map(|client| stage.token(client));
    for (caller, name) in callers.iter().zip(["robot", "robot-ec"]) {
        assert_eq!(call(&stage.gateway, caller), (200, format!("{name} by gateway")));
    }
    // A run token is none of the issuer's: the gateway gives its word.
    let config = gateway.data.join("tollbook.toml");
    let config = config.to_str().expect("a path");
    let run = printed(&gateway.data, &["run", "mint", "--config", config, "--user", "mira"]);
    assert_eq!(call(&stage.gateway, &run), (200, "mira by gateway".to_owned()));
    let rows = ended(gateway, &[&callers[..], &[run]].concat());
    assert!(rows.iter().filter(|row| row["method"] == "tools/call").count() == 3, "{rows:#?}");
}

#[test]
fn a_call_is_not_made_without_a_token() {
    let stage = Stage::set(None);
    let gateway = stage.asked("kind = \"token_exchange\"\nclient_secret = \"canary-of-a-wrong-secret\"\n");
    let caller = stage.token("robot");
    let (status, told) = call(&stage.gateway, &caller);
    let expected = "the gateway's credential for this server cannot be used: the authorization server refuses a token: invalid_client";
    assert_eq!((status, told.as_str()), (502, expected));
    let rows = ended(gateway, &[caller, "canary-of-a-wrong-secret".to_owned()]);
    let made: Vec<_> = rows.iter().filter(|row| row["method"] == "tools/call").collect();
    assert_eq!((made.len(), &made[0]["status"]), (1, &json!("upstream_failed")), "{rows:#?}");
}

/// Scenarios that want what neither this gateway nor a plain client does: ID-JAG, DPoP towards the server, `jwt-bearer`.
const NOT_ASKED: [&str; 4] =
    ["auth/dpop", "auth/dpop-nonce", "auth/enterprise-managed-authorization", "auth/wif-jwt-bearer"];

#[test]
fn the_suites_scenarios_pass_through_the_gateway_as_they_do_directly() {
    let tollbook = binary();
    let through = ["through", tollbook.to_str().expect("a path")];
    let mut compared = 0;
    let of = |version| ["--suite", "all", "--spec-version", version];
    for suite in [&of("2026-07-28")[..], &of("2025-03-26"), &["--suite", "extensions"]] {
        let (direct, gateway) = (scenarios(suite, &["direct"]), scenarios(suite, &through));
        for (name, failed) in
            direct.iter().filter(|(name, failed)| *failed == 0 && !NOT_ASKED.contains(&name.as_str()))
        {
            let found = gateway.iter().find(|(other, _)| other == name);
            assert_eq!(found.map(|(_, failed)| failed), Some(failed), "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 28, "{compared} scenarios");
}

/// Authorization scenarios of a suite and how many of their checks failed, with a client that goes this way.
fn scenarios(suite: &[&str], way: &[&str]) -> Vec<(String, u32)> {
    let script = repository().join("e2e/peers/clients/conform.mjs");
    let quoted = |path: &Path| format!("'{}'", path.display());
    let command = format!("{} {} {}", quoted(&node()), quoted(&script), way.join(" "));
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(node())
        .arg(package("@modelcontextprotocol/conformance/dist/index.js"))
        .args(["client", "--timeout", "600000", "--command", &command, "--output-dir"])
        .arg(folder.path())
        .args(suite)
        .output()
        .expect("the suite runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |line: &str| {
        let (name, counts) =
            line.strip_prefix("✓ ").or_else(|| line.strip_prefix("✗ "))?.rsplit_once(": ")?;
        let failed = counts.split_once(" passed, ")?.1.split_once(" failed")?.0.parse().ok()?;
        name.starts_with("auth/").then(|| (name.to_owned(), failed))
    };
    let found: Vec<_> = text.lines().filter_map(read).collect();
    assert!(!found.is_empty(), "no summary:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    found
}
