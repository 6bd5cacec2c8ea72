//! A state with holds, and a receiver that answers as it is told.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use export::{ArgumentSource, Arguments, Courier, DestinationSettings, Ground, SigningKey, Sink, Url};
use ledger::Hash;
use store::state::{Bounds, Destination, EventKind, Hold, HoldKey, Need, NewHold, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The time, which stands still until a test moves it. Each test is a process.
static NOW: AtomicU64 = AtomicU64::new(1_000);

pub(crate) fn now() -> u64 {
    NOW.load(Ordering::SeqCst)
}

pub(crate) fn pass(seconds: u64) {
    NOW.fetch_add(seconds, Ordering::SeqCst);
}

/// Gives the arguments once there is a record.
#[derive(Debug)]
struct Recorded;

impl ArgumentSource for Recorded {
    fn arguments(&self, hold: &Hold) -> Option<String> {
        hold.asked.map(|_| format!("{{\"note\":\"\u{202e}{}\"}}", "ü".repeat(2_000)))
    }
}

pub(crate) fn state(folder: &Path) -> Arc<State> {
    Arc::new(State::open(folder).unwrap())
}

pub(crate) fn webhook(name: &str, url: &str) -> DestinationSettings {
    let keys = vec![SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
    destination(name, Sink::Webhook { url: Url::parse(url).unwrap(), keys })
}

pub(crate) fn destination(name: &str, sink: Sink) -> DestinationSettings {
    DestinationSettings {
        name: name.to_owned(),
        sink,
        kinds: EventKind::ALL.to_vec(),
        groups: None,
        arguments: Arguments::Left,
        wait: Duration::from_secs(60),
    }
}

pub(crate) fn courier(state: &Arc<State>, settings: DestinationSettings) -> Courier {
    let console = "http://127.0.0.1:7801".to_owned();
    let ground = Ground { state: Arc::clone(state), arguments: Arc::new(Recorded), console, clock: now };
    Courier::new(settings, ground)
}

/// Says which destinations there are.
pub(crate) fn tell(state: &State, all: &[&DestinationSettings]) {
    let rows: Vec<Destination> = all.iter().map(|settings| settings.row()).collect();
    state.tell(&rows).unwrap();
}

/// A call that waits, of somebody who writes what is nasty.
pub(crate) fn ask(state: &State, id: &str) {
    let call = NewHold {
        id: id.to_owned(),
        key: HoldKey {
            principal: "mira\u{202e}".to_owned(),
            run: "run_1".to_owned(),
            server: "bank".to_owned(),
            method: "tools/call".to_owned(),
            name: "<!channel> *transfer* [x](https://evil.example)".to_owned(),
            digest: Hash::of(id.as_bytes()),
        },
        needs: vec![Need { group: "oncall".to_owned(), count: 2 }],
        pin: None,
        requesters: vec!["mira".to_owned()],
        agent: Some("agent\r\nBcc: eve@example.com\r\n\r\n<at>all</at>".to_owned()),
        purpose: Some(format!("pay & go <@U1> {{{{DATE(2020-01-01T00:00:00Z)}}}} {}", "x".repeat(400))),
        reason: Some("transfers move money".to_owned()),
        policies: vec!["large transfers".to_owned()],
        deadline: now() + 600,
    };
    state.seek(&call, (|_| None, || true), &Bounds::default(), now()).unwrap();
}

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Answers so, whole head and body.
    Answers(&'static str),
    /// Closes without a word.
    Drops,
    /// Says nothing.
    Hangs,
    /// Answers so, and then says nothing.
    Stalls(&'static str),
    /// Answers 200 with a body that never ends.
    Floods,
}

/// A receiver on a port, whose requests can be read.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    does: Arc<Mutex<Does>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub(crate) async fn start(does: Does) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (does, seen) = (Arc::new(Mutex::new(does)), Arc::new(Mutex::new(Vec::new())));
        let (doing, seeing) = (Arc::clone(&does), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receive(stream, Arc::clone(&doing), Arc::clone(&seeing)));
            }
        });
        Receiver { url, does, seen }
    }

    pub(crate) fn now_does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }

    /// The requests so far: head and body.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request a connection.
async fn receive(mut stream: TcpStream, does: Arc<Mutex<Does>>, seen: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    let whole = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break text;
        }
    };
    seen.lock().unwrap().push(whole);
    let does = does.lock().unwrap().clone();
    match does {
        Does::Answers(answer) => drop(stream.write_all(answer.as_bytes()).await),
        Does::Stalls(answer) => {
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        }
        Does::Drops => {}
        Does::Hangs => std::future::pending().await,
        Does::Floods => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
    }
}
