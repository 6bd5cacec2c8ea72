//! A real OpenID provider: its tokens count, and people log in through it with the clients' own OAuth code.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::gateway::{Gateway, tollbook};
use e2e::peers::{Peer, everything, free_port, node, repository};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::callers::{bank, call, listed, post, printed, silent};
use crate::console::exchange;
use crate::peers::{Client, conformance_fixture, python_sdk, typescript};

const BANK: &str =
    r#"permit (principal in Group::"tellers", action == Action::"tools/call", resource in Server::"bank");"#;

const TOOLS: &str = r#"
permit (principal in Group::"tellers", action == Action::"tools/call", resource == Tool::"tools/test_simple_text");
permit (principal == User::"mira", action == Action::"tools/call", resource == Tool::"old/echo");
"#;

/// What no record and no log may hold, wherever it stands in the configuration.
const SECRET: &str = "canary-of-the-client-secret";

/// A provider that knows the gateway of that port.
struct Provider {
    url: String,
    _peer: Peer,
}

impl Provider {
    fn start(gateway: &str) -> Provider {
        let port = free_port();
        let mut command = Command::new(node());
        command.arg(repository().join("e2e/peers/node/provider.mjs")).arg(port.to_string()).arg(gateway);
        Provider { url: format!("http://127.0.0.1:{port}"), _peer: Peer::start(command, "listening on") }
    }

    /// An access token for itself of a client that acts for itself.
    fn token(&self, client: &str, resource: &str) -> String {
        let known = STANDARD.encode(format!("{client}:{client}-secret"));
        let headers =
            format!("content-type: application/x-www-form-urlencoded\r\nauthorization: Basic {known}\r\n");
        let form = format!("grant_type=client_credentials&resource={resource}");
        let (status, _, answer) = exchange(&self.url, "POST /token", &headers, &form);
        let answer: Value = serde_json::from_str(&answer).expect("an answer");
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// The ID token of a person who logs in elsewhere.
    fn id_token(&self, person: &str) -> String {
        let script = repository().join("e2e/peers/clients/idtoken.mjs");
        let output = Command::new(node()).arg(script).args([&self.url, person]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }

    /// Withdraws its keys and makes others.
    fn rotate(&self) {
        assert_eq!(exchange(&self.url, "POST /rotate", "", "").0, 200);
    }

    /// What the gateway is told of it.
    fn settings(&self, gateway: &str, policies: &Path) -> String {
        let listen = gateway.trim_start_matches("http://");
        format!(
            "listen = \"{listen}\"\npublic_url = \"{gateway}\"\n[policy]\npath = {policies:?}\n\
             [identity.issuers.corporate]\nurl = \"{}\"\naudiences = [\"portal\"]\ntypes = [\"at+jwt\", \"JWT\", \"none\"]\ngroups_claim = \"groups\"\n",
            self.url
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_provider_count_until_their_key_is_withdrawn() {
    let upstream = Upstream::start(bank).await;
    let act = move || {
        let folder = tempfile::tempdir().expect("a folder");
        let policies = folder.path().join("bank.cedar");
        std::fs::write(&policies, BANK).expect("written");
        let url = format!("http://127.0.0.1:{}", free_port());
        let (provider, stranger) = (Provider::start(&url), Provider::start(&url));
        let data = folder.path().join("data");
        let settings = provider.settings(&url, &policies);
        let settings = format!("{settings}[servers.bank]\nurl = \"{}\"\n", upstream.url);
        let gateway = Gateway::with_environment(&data, &settings, &[]).expect("it starts");

        let resource = format!("{url}/mcp/bank");
        let old = ["robot", "robot-ec"].map(|client| provider.token(client, &resource));
        for token in &old {
            assert_eq!(listed(&url, token), ["balance", "transfer"]);
            assert_eq!(call(&url, token, "transfer"), (200, "done".to_owned()));
        }
        let intern = provider.token("intern", &resource);
        assert_eq!(listed(&url, &intern), [""; 0], "it is in no group");
        assert_eq!(call(&url, &intern, "transfer").1, "Unknown tool: transfer");

        let wrong = [
            provider.token("robot", &format!("{url}/mcp/vault")),
            stranger.token("robot", &resource),
            provider.id_token("mira"),
        ];
        for token in &wrong {
            let (status, head, _) = post(&url, Some(token), "tools/list", &json!({}));
            assert_eq!((status, head.contains("error=\"invalid_token\"")), (401, true), "{head}");
        }
        provider.rotate();
        let new = count_soon(&provider, &url, &resource);
        assert_eq!(call(&url, &new, "transfer"), (200, "done".to_owned()));
        for token in &old {
            assert_eq!(call(&url, token, "transfer").0, 401, "its key is withdrawn");
        }
        let log = gateway.log();
        gateway.stop();

        assert!(tollbook(&data, &["verify"]).status.success());
        let calls = printed(&data, &["calls", "--json", "--limit", "100000"]);
        for reason in [
            "another audience",
            "issuer is not configured",
            "is an ID, refresh",
            "no key of the token's `kid`",
        ] {
            assert!(calls.contains(reason), "{reason}: {}", calls.lines().last().unwrap_or_default());
        }
        assert!(calls.contains(&format!("service:robot ({})", provider.url)), "{calls}");
        let runs = printed(&data, &["run", "list", "--json"]);
        assert!(runs.contains("one access token"), "{runs}");
        silent(&[&old[..], &wrong[..], &[intern, new]].concat(), &[&log, &calls, &runs]);
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// A token by the new key that counts: keys are fetched again for an unknown `kid`, ten seconds after the last time.
fn count_soon(provider: &Provider, gateway: &str, resource: &str) -> String {
    let begun = Instant::now();
    loop {
        let token = provider.token("robot", resource);
        let (status, ..) = post(gateway, Some(&token), "tools/list", &json!({}));
        if status == 200 {
            return token;
        }
        assert_eq!(status, 401);
        assert!(begun.elapsed() < Duration::from_secs(20), "a new key does not count");
    }
}

#[test]
fn people_log_in_with_the_typescript_sdk() {
    people_log_in(typescript);
}

#[test]
fn people_log_in_with_the_python_sdk() {
    people_log_in(python_sdk);
}

fn people_log_in(client: Client) {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("tools.cedar");
    std::fs::write(&policies, TOOLS).expect("written");
    let url = format!("http://127.0.0.1:{}", free_port());
    let provider = Provider::start(&url);
    let (tools, _tools) = conformance_fixture();
    let (document, _document) = document(folder.path());
    let old = json!([node(), everything(), "stdio"]);
    let settings = format!(
        "{}[identity.login]\nissuer = \"corporate\"\nclient_id = \"tollbook\"\nclient_secret = \"{SECRET}\"\n\
         scopes = [\"openid\", \"groups\"]\n[servers.tools]\nurl = \"{tools}\"\n[servers.old]\ncommand = {old}\n",
        provider.settings(&url, &policies)
    );
    let data = folder.path().join("data");
    let roots = folder.path().join("cert.pem");
    let roots = [("SSL_CERT_FILE", roots.to_str().expect("a path"))];
    let gateway = Gateway::with_environment(&data, &settings, &roots).expect("it starts");
    metadata_names_us_first(&url);

    let (http, sse) =
        (json!({"http": format!("{url}/mcp/tools")}), json!({"sse": format!("{url}/mcp/old/sse")}));
    let mut given = Vec::new();
    let mut log_in = |transport: &Value, version: &str, login: Value, tool: (&str, &str)| {
        let (tool, expected) = tool;
        let call = json!(["tools/call", {"name": tool, "arguments": {"message": "hello"}}]);
        let steps = json!([["tools/list", {}], call, ["spoil", {}], call]);
        let mut spec = json!({"transport": transport, "version": version, "login": login, "steps": steps});
        spec["login"]["browser"] = json!([node(), repository().join("e2e/peers/clients/browser.mjs")]);
        let told = client(&spec);
        let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let login = told[0]["result"].clone();
        given.extend(["access", "refresh"].map(|what| login[what].as_str().expect("a token").to_owned()));
        let listed: Vec<&Value> =
            told[1]["result"]["tools"].as_array().expect("a list").iter().map(|tool| &tool["name"]).collect();
        assert_eq!(
            listed.contains(&&json!(tool)),
            listed.len() == 1,
            "a list shows what may be called: {listed:?}"
        );
        for called in [&told[2], &told[4]] {
            assert!(called.to_string().contains(expected), "{spec}: {called}");
        }
        login
    };
    let simple = ("test_simple_text", "This is a simple text");
    let shown = log_in(&http, "legacy", json!({"person": "mira"}), simple);
    let client_id = shown["client"].as_str().expect("an id");
    let page = shown["pages"][0].as_str().expect("a page");
    for shown in
        [client_id, "A &lt;scripted&gt; client", "http://127.0.0.1:1/callback", "all that you may do"]
    {
        assert!(page.contains(shown), "{page}");
    }
    log_in(&http, "2026-07-28", json!({"person": "mira"}), simple);
    let by_document = log_in(&http, "2026-07-28", json!({"person": "mira", "document": document}), simple);
    assert_eq!(by_document["client"], json!(document));
    log_in(&http, "auto", json!({"person": "mira", "id": client_id}), simple);
    log_in(&sse, "legacy", json!({"person": "mira"}), ("echo", "Echo: hello"));
    let guest = json!({"person": "otto", "document": document});
    log_in(&http, "2026-07-28", guest, ("test_simple_text", "Unknown tool: test_simple_text"));
    let log = gateway.log();
    gateway.stop();

    assert!(tollbook(&data, &["verify"]).status.success());
    let calls = printed(&data, &["calls", "--json", "--limit", "1000"]);
    let runs = printed(&data, &["run", "list", "--json"]);
    let of = |person: &str, rule: &str| {
        let principal = format!("user:{person} ({})", provider.url);
        runs.lines().filter(|run| run.contains(&principal) && run.contains(rule)).count()
    };
    let counted = [of("mira", "one run token"), of("mira", "one MCP session"), of("otto", "one run token")];
    assert_eq!(counted, [3, 2, 1], "also after a refresh: {runs}");
    let minted = printed(&data, &["run", "minted"]);
    assert_eq!(minted.lines().count(), 6, "each login is one run: {minted}");
    given.push(SECRET.to_owned());
    silent(&given, &[&log, &calls, &runs]);
}

/// A client that finds us must not be led to the provider, which does not know it.
fn metadata_names_us_first(url: &str) {
    let read = |path: &str| -> Value {
        let (status, _, document) = exchange(url, &format!("GET /.well-known/{path}"), "", "");
        assert_eq!(status, 200, "{path}");
        serde_json::from_str(&document).expect("a document")
    };
    assert_eq!(read("oauth-protected-resource/mcp/tools")["authorization_servers"], json!([url]));
    let server = read("oauth-authorization-server");
    assert_eq!(server["issuer"], json!(url));
    assert_eq!(server["code_challenge_methods_supported"], json!(["S256"]));
}

/// Serves the document of a client whose id is its URL, with a certificate of its own in the folder.
fn document(folder: &Path) -> (String, Peer) {
    let port = free_port();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
        ])
        .args(["-subj", "/CN=document", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new(node());
    command.arg(repository().join("e2e/peers/clients/document.mjs")).arg(port.to_string()).arg(folder);
    (format!("https://127.0.0.1:{port}/client.json"), Peer::start(command, "listening on"))
}
