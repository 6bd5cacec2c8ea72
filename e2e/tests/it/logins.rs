//! A real OpenID provider: its tokens count, and people log in through it with the clients' own OAuth code.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
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

/// Where the clients have their people sent back to; nobody listens there.
const REDIRECT: &str = "http://127.0.0.1:1/callback";

/// What a client keeps to itself, and the digest of it that it shows.
const VERIFIER: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
const CHALLENGE: &str = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM";

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
        let head = head(gateway, policies);
        format!(
            "{head}[identity.issuers.corporate]\nurl = \"{}\"\naudiences = [\"portal\"]\ntypes = [\"at+jwt\", \"JWT\", \"none\"]\ngroups_claim = \"groups\"\n",
            self.url
        )
    }
}

/// What every gateway is told.
pub(crate) fn head(gateway: &str, policies: &Path) -> String {
    let listen = gateway.trim_start_matches("http://");
    format!("listen = \"{listen}\"\npublic_url = \"{gateway}\"\n[policy]\npath = {policies:?}\n")
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
            assert_eq!(post(&url, Some(token), "tools/list", &json!({})).0, 401, "its key is withdrawn");
        }
        let log = gateway.stop();

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
        match post(gateway, Some(&token), "tools/list", &json!({})).0 {
            200 => return token,
            status => assert_eq!(status, 401),
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "a new key does not count");
    }
}

/// What comes through a tunnel presents no token of its own: it is called with the one that opened it, and so no longer than that holds.
#[test]
fn a_tunnel_ends_with_its_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("all.cedar");
    std::fs::write(&policies, "permit (principal, action, resource);").expect("written");
    let url = format!("http://127.0.0.1:{}", free_port());
    let provider = Provider::start(&url);
    let data = folder.path().join("data");
    let settings = format!("{}skew_seconds = 0\n", provider.settings(&url, &policies));
    let gateway = Gateway::with_environment(&data, &settings, &[]).expect("it starts");
    let token = provider.token("brief", &format!("{url}/mcp/own"));

    let address = url.trim_start_matches("http://");
    let mut tunnel = TcpStream::connect(address).expect("it listens");
    let asked = format!(
        "GET /wrap/own HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: tollbook-wrap\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    tunnel.write_all(asked.as_bytes()).expect("it reads");
    let mut tunnel = BufReader::new(tunnel);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(tunnel.read_line(&mut head).expect("it answers") > 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    tunnel.get_mut().write_all(&[&frame_head(b'c', ping)[..], ping].concat()).expect("it reads");
    assert_eq!(frame(&mut tunnel), (b's', ping.to_vec()), "while the token holds");
    let (tag, said) = loop {
        let (tag, said) = frame(&mut tunnel);
        if tag != b'C' {
            break (tag, String::from_utf8(said).expect("words"));
        }
    };
    assert!(tag == b'S' && said.contains("the credential has ended"), "{tag}: {said}");
    gateway.stop();
    let runs: Value = serde_json::from_str(&printed(&data, &["run", "list", "--json"])).expect("one run");
    assert!(runs["reason"].as_str().is_some_and(|why| why.contains("the credential has ended")), "{runs}");
}

/// What stands before the bytes of a frame of `wrap`.
fn frame_head(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("it is short");
    [&[tag][..], &length.to_be_bytes()].concat()
}

fn frame(tunnel: &mut impl Read) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    tunnel.read_exact(&mut head).expect("a frame");
    let [tag, length @ ..] = head;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    tunnel.read_exact(&mut bytes).expect("all of it");
    (tag, bytes)
}

#[test]
fn people_log_in_with_the_typescript_sdk() {
    people_log_in(typescript);
}

#[test]
fn people_log_in_with_the_python_sdk() {
    people_log_in(python_sdk);
}

/// A gateway that logs people in, with a server of both eras and one of HTTP+SSE.
pub(crate) struct Office {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: String,
    /// Who vouches for people.
    pub(crate) issuer: String,
    pub(crate) gateway: Gateway,
    /// The id of a client that has a metadata document.
    pub(crate) document: String,
    _peers: [Peer; 3],
}

/// A provider that is up: its name, what the gateway is told, and its process.
pub(crate) struct Vouching {
    pub(crate) issuer: String,
    pub(crate) settings: String,
    pub(crate) peer: Peer,
}

impl Office {
    fn open() -> Office {
        Office::with(|url, policies| {
            let provider = Provider::start(url);
            let settings = format!(
                "{}[identity.login]\nissuer = \"corporate\"\nclient_id = \"tollbook\"\n\
                 client_secret = \"{SECRET}\"\nscopes = [\"openid\", \"groups\"]\n",
                provider.settings(url, policies)
            );
            Vouching { issuer: provider.url, settings, peer: provider._peer }
        })
    }

    /// With the provider that is started for a gateway of that address, with those policies.
    pub(crate) fn with(start: impl FnOnce(&str, &Path) -> Vouching) -> Office {
        let folder = tempfile::tempdir().expect("a folder");
        let policies = folder.path().join("tools.cedar");
        std::fs::write(&policies, TOOLS).expect("written");
        let url = format!("http://127.0.0.1:{}", free_port());
        let Vouching { issuer, settings, peer } = start(&url, &policies);
        let (tools, fixture) = conformance_fixture();
        let (document, documents) = document(folder.path());
        let old = json!([node(), everything(), "stdio"]);
        let settings =
            format!("{settings}[servers.tools]\nurl = \"{tools}\"\n[servers.old]\ncommand = {old}\n");
        let roots = folder.path().join("cert.pem");
        let roots = [("SSL_CERT_FILE", roots.to_str().expect("a path"))];
        let gateway =
            Gateway::with_environment(&folder.path().join("data"), &settings, &roots).expect("it starts");
        Office { folder, url, issuer, gateway, document, _peers: [fixture, documents, peer] }
    }

    /// A person logs a client in, which lists, calls, has its token renewed, and calls again. Gives what it told of the login.
    pub(crate) fn log_in(
        &self,
        client: Client,
        (path, version): (&str, &str),
        mut login: Value,
        (tool, answer): (&str, &str),
    ) -> Value {
        login["browser"] = json!([node(), browser()]);
        let transport = if path.ends_with("/sse") { "sse" } else { "http" };
        let call = json!(["tools/call", {"name": tool, "arguments": {"message": "hello"}}]);
        let spec = json!({
            "transport": {transport: format!("{}/mcp/{path}", self.url)},
            "version": version,
            "login": login,
            "steps": [["tools/list", {}], call, ["spoil", {}], call],
        });
        let told = client(&spec);
        let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let listed = told[1]["result"]["tools"].as_array().expect("a list");
        let listed: Vec<&str> = listed.iter().map(|tool| tool["name"].as_str().expect("a name")).collect();
        let may = if answer.starts_with("Unknown tool") { vec![] } else { vec![tool] };
        assert_eq!(listed, may, "a list shows what may be called");
        for called in [&told[2], &told[4]] {
            assert!(called.to_string().contains(answer), "{spec}: {called}");
        }
        told[0]["result"].clone()
    }

    /// Where a browser comes out that begins at `/oauth/authorize` for a client that has just registered.
    pub(crate) fn browse(&self, person: &str, answer: &str) -> String {
        self.browse_for(&self.register(), person, answer)
    }

    /// The id of a client that registers.
    fn register(&self) -> String {
        let document = json!({"redirect_uris": [REDIRECT]}).to_string();
        let (status, _, client) =
            exchange(&self.url, "POST /oauth/register", "content-type: application/json\r\n", &document);
        assert_eq!(status, 201, "{client}");
        let client: Value = serde_json::from_str(&client).expect("a client");
        client["client_id"].as_str().expect("an id").to_owned()
    }

    fn browse_for(&self, client: &str, person: &str, answer: &str) -> String {
        let start = format!(
            "{}/oauth/authorize?response_type=code&client_id={client}&redirect_uri={REDIRECT}&state=abc\
             &code_challenge={CHALLENGE}&code_challenge_method=S256&resource={0}/mcp/tools",
            self.url,
        );
        let output = Command::new(node())
            .arg(browser())
            .args([&start, REDIRECT, person, answer])
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        seen["url"].as_str().expect("a URL").to_owned()
    }
}

fn browser() -> PathBuf {
    repository().join("e2e/peers/clients/browser.mjs")
}

fn people_log_in(client: Client) {
    let office = Office::open();
    metadata_names_us_first(&office.url);
    let (simple, document) = (("test_simple_text", "This is a simple text"), &office.document);
    let hidden = ("test_simple_text", "Unknown tool: test_simple_text");
    let (legacy, modern) = (("tools", "legacy"), ("tools", "2026-07-28"));

    let registered = office.log_in(client, legacy, json!({"person": "mira"}), simple);
    let id = &registered["client"];
    consent_says_who_asks(&registered);
    let mut logins = vec![
        office.log_in(client, modern, json!({"person": "mira"}), simple),
        office.log_in(client, modern, json!({"person": "mira", "document": document}), simple),
        office.log_in(client, ("tools", "auto"), json!({"person": "mira", "id": id}), simple),
        office.log_in(client, ("old/sse", "legacy"), json!({"person": "mira"}), ("echo", "Echo: hello")),
        office.log_in(client, modern, json!({"person": "otto", "document": document}), hidden),
    ];
    assert_eq!((&logins[1]["client"], &logins[2]["client"]), (&json!(document), id));
    logins.push(registered);
    recorded(office, &logins);
}

fn consent_says_who_asks(login: &Value) {
    let page = login["pages"][0].as_str().expect("a page");
    let id = login["client"].as_str().expect("an id");
    for shown in [id, "A &lt;scripted&gt; client", REDIRECT, "all that you may do"] {
        assert!(page.contains(shown), "{page}");
    }
}

/// What the ledger says of three logins in the stateless era, two in sessions, and one of somebody else.
fn recorded(office: Office, logins: &[Value]) {
    let log = office.gateway.stop();
    let data = office.folder.path().join("data");
    assert!(tollbook(&data, &["verify"]).status.success());
    let calls = printed(&data, &["calls", "--json", "--limit", "1000"]);
    let runs = printed(&data, &["run", "list", "--json"]);
    let of = |person: &str, rule: &str| {
        let principal = format!("user:{person} ({})", office.issuer);
        runs.lines().filter(|run| run.contains(&principal) && run.contains(rule)).count()
    };
    let counted = [of("mira", "one run token"), of("mira", "one MCP session"), of("otto", "one run token")];
    assert_eq!(counted, [3, 2, 1], "also after a refresh: {runs}");
    let minted = printed(&data, &["run", "minted"]);
    assert_eq!(minted.lines().count(), 6, "each login is one run: {minted}");
    let given =
        |what: &str| logins.iter().map(|login| login[what].as_str().expect("a token").to_owned()).collect();
    let given: [Vec<String>; 3] = [given("access"), given("refresh"), vec![SECRET.to_owned()]];
    silent(&given.concat(), &[&log, &calls, &runs, &minted]);
}

#[test]
fn who_denies_or_is_denied_goes_back_with_nothing() {
    let office = Office::open();
    for (person, answer) in [("mira", "deny"), ("nobody", "allow")] {
        let back = office.browse(person, answer);
        assert!(back.contains("error=access_denied") && back.contains("state=abc"), "{back}");
        assert!(!back.contains("code="), "{back}");
    }
    let back = office.browse("mira", "allow");
    assert!(back.contains("code=") && !back.contains("error"), "{back}");
    let minted = tollbook(&office.folder.path().join("data"), &["run", "minted"]);
    assert!(minted.stdout.is_empty(), "nothing is minted for a code that nobody redeems");
    office.gateway.stop();
}

#[test]
fn what_holds_once_and_comes_twice_is_recorded_with_its_server() {
    let office = Office::open();
    let client = office.register();
    let redeem = || {
        let back = office.browse_for(&client, "mira", "allow");
        let code = back.split_once("code=").and_then(|(_, rest)| rest.split('&').next()).expect("a code");
        format!("grant_type=authorization_code&code={code}&client_id={client}&code_verifier={VERIFIER}")
    };
    let ask = |form: &str, expected: u16| -> Value {
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        let (status, _, answer) = exchange(&office.url, "POST /oauth/token", kind, form);
        assert_eq!(status, expected, "{answer}");
        serde_json::from_str(&answer).expect("an answer")
    };
    let stolen = redeem();
    ask(&stolen, 200);
    assert_eq!(ask(&stolen, 400)["error"], "invalid_grant");
    let refresh = ask(&redeem(), 200)["refresh_token"].as_str().expect("a token").to_owned();
    let renew = format!("grant_type=refresh_token&refresh_token={refresh}&client_id={client}");
    ask(&renew, 200);
    assert_eq!(ask(&renew, 400)["error"], "invalid_grant");
    let log = office.gateway.stop();
    let data = office.folder.path().join("data");
    assert!(tollbook(&data, &["verify"]).status.success());
    let calls = printed(&data, &["calls", "--json", "--limit", "1000"]);
    for reason in ["a code came a second time", "a refresh token came a second time"] {
        assert!(log.contains(reason), "{reason}: {log}");
        let recorded = calls.lines().find(|call| call.contains(reason));
        assert!(recorded.is_some_and(|call| call.contains(r#""server":"tools""#)), "{reason}: {calls}");
    }
    silent(&[refresh], &[&log, &calls]);
}

#[test]
fn strangers_come_at_a_rate() {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("tools.cedar");
    std::fs::write(&policies, TOOLS).expect("written");
    let url = format!("http://127.0.0.1:{}", free_port());
    let settings = format!(
        "{}[identity.issuers.corporate]\nurl = \"http://127.0.0.1:1\"\n\
         [identity.login]\nissuer = \"corporate\"\nclient_id = \"tollbook\"\n\
         [servers.tools]\nurl = \"http://127.0.0.1:1/mcp\"\n[servers.old]\nurl = \"http://127.0.0.1:1/mcp\"\n",
        head(&url, &policies)
    );
    let gateway = Gateway::with_environment(&folder.path().join("data"), &settings, &[]).expect("it starts");
    let (json, form) =
        ("content-type: application/json\r\n", "content-type: application/x-www-form-urlencoded\r\n");
    let client = json!({"redirect_uris": [REDIRECT]}).to_string();
    let unknown = "grant_type=refresh_token&refresh_token=x&client_id=x";
    for (request, headers, body, expected, at_once) in [
        ("POST /oauth/register", json, &*client, 201, 30),
        ("GET /oauth/authorize?client_id=x", "", "", 400, 60),
        ("POST /oauth/token", form, unknown, 400, 60),
    ] {
        let mut answers = (0..5_000).map(|_| exchange(&url, request, headers, body));
        let let_in = (&mut answers).take_while(|(status, ..)| *status == expected).take(4_000).count();
        assert!((at_once..4_000).contains(&let_in), "{request}: {let_in}");
        let (status, head, _) =
            answers.find(|(status, ..)| *status != expected).expect("it is held up again");
        assert!(status == 429 && head.to_lowercase().contains("retry-after: "), "{request}: {head}");
    }
    let (status, ..) = exchange(&url, "GET /.well-known/oauth-authorization-server", "", "");
    assert_eq!(status, 200, "what is only read is nobody's to hold up");
    gateway.stop();
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
    certificate(folder);
    let mut command = Command::new(node());
    command.arg(repository().join("e2e/peers/clients/document.mjs")).arg(port.to_string()).arg(folder);
    (format!("https://127.0.0.1:{port}/client.json"), Peer::start(command, "listening on"))
}

/// Makes `cert.pem` and `key.pem` for 127.0.0.1; who trusts the certificate trusts itself alone.
pub(crate) fn certificate(folder: &Path) {
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
}
