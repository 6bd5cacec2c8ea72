//! A run is revoked while it works: nothing of it is forwarded any more, and its streams end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::gateway::{Gateway, tollbook};
use e2e::peers::{everything, node};
use e2e::upstream::Upstream;
use serde_json::{Value, json};

use crate::callers::{bank, post, printed};

/// What an open stream may take to end, on a machine that is busy: it is looked at as soon as anything changes.
const PATIENCE: Duration = Duration::from_secs(60);

const CALLERS: usize = 8;

/// Calls of a caller before the run is revoked, and after it.
const BEFORE: usize = 20;
const AFTER: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_forwarded_after_a_revocation() {
    let upstream = Upstream::start(bank).await;
    let seen = upstream.clone();
    let act = move || {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let old = json!([node(), everything(), "stdio"]);
        let settings = format!(
            "public_url = \"http://127.0.0.1:7800\"\n[identity]\n[servers.bank]\nurl = \"{}\"\n[servers.old]\ncommand = {old}\n",
            upstream.url
        );
        let gateway = Gateway::start(data, &settings);
        let config = data.join("tollbook.toml").to_str().expect("a path").to_owned();
        let token = printed(data, &["run", "mint", "--config", &config, "--user", "mira"]);
        let run = printed(data, &["run", "minted"]);
        let run = run.split(' ').next().expect("an id");
        let stream = open(&gateway.url, &token);

        let (ready, revoked) = (AtomicUsize::new(0), AtomicBool::new(false));
        let late = std::thread::scope(|scope| {
            let work = || works(&gateway.url, &token, &ready, &revoked);
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(work)).collect();
            while ready.load(Ordering::SeqCst) < CALLERS && !callers.iter().any(|caller| caller.is_finished())
            {
                std::thread::yield_now();
            }
            printed(data, &["run", "revoke", run]);
            let begun = Instant::now();
            revoked.store(true, Ordering::SeqCst);
            stream.lines().take_while(Result::is_ok).for_each(drop);
            assert!(begun.elapsed() < PATIENCE, "the stream lasts {:?}", begun.elapsed());
            callers.into_iter().map(|caller| caller.join().expect("all holds")).sum::<usize>()
        });
        assert_eq!(late, CALLERS * AFTER);
        gateway.stop();

        let late = seen.seen().iter().filter(|body| body.windows(6).any(|part| part == b"\"late\"")).count();
        assert_eq!(late, 0, "no call that began after the revocation is forwarded");
        assert!(seen.seen().len() >= CALLERS * BEFORE, "those before are");
        assert!(tollbook(data, &["verify"]).status.success());
    };
    tokio::task::spawn_blocking(act).await.expect("all holds");
}

/// Calls until some time after the run is revoked; gives how many calls began after it, each of which is refused.
fn works(gateway: &str, token: &str, ready: &AtomicUsize, revoked: &AtomicBool) -> usize {
    let mut late = 0;
    for number in 1.. {
        let is_late = revoked.load(Ordering::SeqCst);
        let name = if is_late { "late" } else { "early" };
        let (status, head, answer) =
            post(gateway, Some(token), "tools/call", &json!({"name": name, "arguments": {}}));
        match status {
            200 => assert!(!is_late && answer["result"] != Value::Null, "{answer}"),
            // The revocation counts from when it is durable, a moment before the command ends, and for calls under way.
            403 => assert!(!is_late, "{answer}"),
            401 => late += usize::from(is_late),
            _ => panic!("{head}\n{answer}"),
        }
        if number == BEFORE {
            ready.fetch_add(1, Ordering::SeqCst);
        }
        if late == AFTER {
            break;
        }
    }
    late
}

/// An event stream of the session era's first transport, with its first event read.
fn open(gateway: &str, token: &str) -> BufReader<TcpStream> {
    let address = gateway.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let asked = format!(
        "GET /mcp/old/sse HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(asked.as_bytes()).expect("it reads");
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(stream.read_line(&mut line).expect("it goes on") > 0, "the stream ended early");
    }
    stream
}
