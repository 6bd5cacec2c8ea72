//! SIGHUP: another configuration while calls are made.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::gateway::{Gateway, tollbook};
use e2e::load::{Numbers, call, check};
use e2e::upstream::{Upstream, echo};

use crate::console::request;

const APPLIED: &str = "configuration reloaded";
const REFUSED: &str = "was not reloaded";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_an_unchanged_server_go_on() {
    let (kept, other) = (Upstream::start(echo).await, Upstream::start(echo).await);
    let folder = tempfile::tempdir().expect("a folder");
    let servers = |named: &str| {
        format!("[servers.kept]\nurl = \"{}\"\n[servers.{named}]\nurl = \"{}\"\n", kept.url, other.url)
    };
    let gateway = Gateway::start(folder.path(), &servers("first"));
    let numbers = Numbers::default();
    let url = |server: &str| format!("{}/mcp/{server}", gateway.url);
    let load = tokio::spawn(call(url("kept"), numbers.clone(), |heard| heard.answered.len() == 600));
    kept.saw(100).await;

    gateway.reload(&servers("second"));
    gateway.logged(APPLIED, 1);
    let _ = call(url("second"), numbers.clone(), |heard| heard.answered.len() == 3).await;
    assert_eq!(request(&gateway.url, "POST /mcp/first", "", "").0, 404);

    gateway.reload("[servers.kept]\nurl = \"ftp://nowhere\"\n[servers.bad]\n");
    gateway.logged("tollbook.toml:4: ", 1);
    let log = gateway.log();
    assert!(log.contains(REFUSED), "{log}");
    assert!(log.contains("tollbook.toml:3: `url` is an address"), "all mistakes with lines: {log}");
    assert!(log.contains("tollbook.toml:4: server `bad` needs"), "all mistakes with lines: {log}");
    let _ = call(url("second"), numbers.clone(), |heard| heard.answered.len() == 3).await;

    let heard = load.await.expect("no call of it failed");
    assert_eq!((heard.answered.len(), heard.refused.len()), (600, 0));
    let digest = digest_of(&format!("listen = \"127.0.0.1:0\"\n{}", servers("second")));
    let data = folder.path().to_owned();
    tokio::task::spawn_blocking(move || gateway.stop()).await.expect("it stops");
    check(&data, &kept, &heard);
    let recorded = leaves(&data);
    assert!(recorded.iter().any(|leaf| leaf.contains(&digest) && leaf.contains(r#""reason":"reload""#)));
    let configurations = recorded.iter().filter(|leaf| leaf.contains(r#""k":"config""#)).count();
    assert_eq!(configurations, 2, "the start's and the good one");
}

#[test]
fn what_needs_a_restart_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), "");
    gateway.reload(
        "data = \"/elsewhere\"\n[console]\nlisten = \"127.0.0.1:1\"\n[ledger]\nreserve_percent = 7\n",
    );
    gateway.logged(APPLIED, 1);
    let log = gateway.log();
    for key in ["[console] listen", "[ledger]"] {
        assert!(log.contains(&format!("`{key}` has changed and is used after a restart only")), "{log}");
    }
    assert!(!log.contains("`data` has changed"), "`--data` wins over the file: {log}");
    gateway.stop();
}

/// A server that answers one request when it is told to.
struct Slow {
    url: String,
    asked: Receiver<()>,
    go: SyncSender<()>,
}

impl Slow {
    fn start() -> Slow {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("it is bound"));
        let ((tell, asked), (go, wait)) = (sync_channel(1), sync_channel::<()>(1));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"}}") {
                let mut part = [0; 4096];
                let count = stream.read(&mut part).expect("a request");
                request.extend_from_slice(&part[..count]);
            }
            tell.send(()).expect("the test waits");
            let answered = wait.recv();
            let body = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            if answered.is_ok() {
                // Who asked may have gone.
                let _ = stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes());
            }
        });
        Slow { url, asked, go }
    }
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#;
const JSON: &str = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";

#[test]
fn a_removed_server_drains() {
    let slow = Slow::start();
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), &format!("[servers.slow]\nurl = \"{}\"\n", slow.url));
    let url = gateway.url.clone();
    let asking = std::thread::spawn(move || request(&url, "POST /mcp/slow", JSON, CALL));
    slow.asked.recv().expect("it is asked");
    gateway.reload("");
    gateway.logged("the server drains", 1);
    assert_eq!(request(&gateway.url, "POST /mcp/slow", JSON, CALL).0, 404, "nothing new");
    slow.go.send(()).expect("it waits");
    let (status, body) = asking.join().expect("an answer");
    assert_eq!((status, body.contains(r#""result":{}"#)), (200, true), "{body}");
    gateway.logged("the server has drained", 1);
    gateway.stop();
    assert_eq!(statuses(folder.path()), ["ok"]);
}

#[test]
fn what_does_not_end_in_the_drain_time_is_cut_off() {
    let slow = Slow::start();
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!("[limits]\ndrain_seconds = 1\n[servers.slow]\nurl = \"{}\"\n", slow.url);
    let gateway = Gateway::start(folder.path(), &servers);
    let url = gateway.url.clone();
    let asking = std::thread::spawn(move || request(&url, "POST /mcp/slow", JSON, CALL));
    slow.asked.recv().expect("it is asked");
    gateway.reload("[limits]\ndrain_seconds = 1\n");
    let (status, body) = asking.join().expect("an answer");
    assert_eq!(status, 500, "{body}");
    gateway.logged("the server has drained", 1);
    gateway.stop();
    assert_eq!(statuses(folder.path()), ["unknown"]);
}

/// Answers every request with its own process id.
const CHILD: &str = r#"while read -r line; do id=$(printf %s "$line" | sed 's/.*"id":\([0-9]*\).*/\1/'); echo '{"jsonrpc":"2.0","id":'$id',"result":{"pid":"p'$$'p"}}'; done"#;

#[test]
fn a_session_over_standard_streams_goes_on_until_its_server_changes() {
    let folder = tempfile::tempdir().expect("a folder");
    let servers = |more: &str| format!("[servers.child]\ncommand = [\"sh\", \"-c\", '''{CHILD}'''{more}]\n");
    let gateway = Gateway::start(folder.path(), &servers(""));
    let begin = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let answer = raw(&gateway.url, "POST /mcp/child", JSON, begin);
    let session = answer.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).expect("a session");
    let first = pid(&answer);
    let headers = format!("{JSON}mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n");

    gateway.reload(&format!("{}[servers.more]\nurl = \"http://127.0.0.1:9/\"\n", servers("")));
    gateway.logged(APPLIED, 1);
    assert_eq!(pid(&raw(&gateway.url, "POST /mcp/child", &headers, CALL)), first, "the same child");

    gateway.reload(&servers(", \"changed\""));
    gateway.logged("the server has drained", 1);
    assert_eq!(request(&gateway.url, "POST /mcp/child", &headers, CALL).0, 404, "initialize again");
    assert_ne!(pid(&raw(&gateway.url, "POST /mcp/child", JSON, begin)), first);
    gateway.stop();
    let verified = tollbook(folder.path(), &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn a_certificate_is_swapped() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let tls = format!("[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display());
    make_certificate("first", &certificate, &key);
    let gateway = Gateway::start(&data, &tls);
    assert_eq!(presented(&gateway.url), "first");

    make_certificate("second", &certificate, &key);
    gateway.reload(&tls);
    gateway.logged(APPLIED, 1);
    assert_eq!(presented(&gateway.url), "second");

    std::fs::write(&key, "no key").expect("it is written");
    gateway.reload(&tls);
    gateway.logged(REFUSED, 1);
    assert_eq!(presented(&gateway.url), "second");
    gateway.stop();
}

fn make_certificate(name: &str, certificate: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", &format!("/CN={name}"), "-out"])
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .stderr(Stdio::null())
        .status()
        .expect("openssl runs");
    assert!(made.success());
}

/// The name in the certificate that a new connection is shown.
fn presented(url: &str) -> String {
    let address = url.trim_start_matches("https://");
    let shown = Command::new("openssl")
        .args(["s_client", "-connect", address])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("openssl runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let subject = shown.lines().find_map(|line| line.strip_prefix("subject=")).expect("a certificate");
    subject.trim_start_matches("CN").trim_start_matches([' ', '=']).to_owned()
}

fn pid(answer: &str) -> String {
    answer.split(r#""pid":"p"#).nth(1).and_then(|rest| rest.split('p').next()).expect("a process").to_owned()
}

/// A whole answer with its head. Blocks.
fn raw(url: &str, line: &str, headers: &str, body: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    let head =
        format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n");
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// How the tool calls ended.
fn statuses(data: &Path) -> Vec<String> {
    let calls = tollbook(data, &["calls", "--json", "method:tools/call"]);
    let lines = String::from_utf8_lossy(&calls.stdout).into_owned();
    let status = |line: &str| {
        let call: serde_json::Value = serde_json::from_str(line).expect("JSON");
        call["status"].as_str().unwrap_or("open").to_owned()
    };
    lines.lines().map(status).collect()
}

/// The digest as a leaf has it.
fn digest_of(text: &str) -> String {
    let mut child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("asked for").write_all(text.as_bytes()).expect("it reads");
    let said = child.wait_with_output().expect("it ends").stdout;
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("hexadecimal");
        u8::from_str_radix(text, 16).expect("hexadecimal")
    };
    URL_SAFE_NO_PAD.encode(said[..64].chunks(2).map(byte).collect::<Vec<_>>())
}

/// All distinct leaves of a log.
fn leaves(data: &Path) -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    let mut folders = vec![data.join("log/tile/entries")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bundle = std::fs::read(path).expect("a bundle");
            let mut rest = bundle.as_slice();
            while let Some((length, after)) = rest.split_first_chunk::<2>() {
                let (leaf, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
                leaves.insert(String::from_utf8_lossy(leaf).into_owned());
                rest = after;
            }
        }
    }
    leaves
}
