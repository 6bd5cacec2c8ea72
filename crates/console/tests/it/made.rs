//! A console on a free port, with two operators, and a browser's bare words.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use console::{Check, Console, Desk, Exposition, Source};
use identity::Secret;
use identity::operators::{self, Operators, Role, RoleMap};
use ledger::Seq;
use ledger::payload::Payload;
use store::Index;
use store::state::{Action, State};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const PASSWORD: &str = "correct horse battery";

/// The present; each test moves it for all of its process, which is its own.
pub(crate) static NOW: AtomicU64 = AtomicU64::new(1_800_000_000);

fn clock() -> u64 {
    NOW.load(Ordering::SeqCst)
}

/// A gateway in good health, with the parameters of these calls on record.
#[derive(Default)]
pub(crate) struct Healthy(pub(crate) Mutex<BTreeMap<u64, String>>);

impl Source for Healthy {
    fn checks(&self) -> Vec<Check> {
        Vec::new()
    }

    fn measure(&self, _: &mut Exposition) {}

    fn payload(&self, seq: Seq) -> Result<Option<Payload>, String> {
        let held = self.0.lock().unwrap();
        Ok(held.get(&seq.0).map(|params| {
            let at = params.find("\"arguments\":").unwrap() + "\"arguments\":".len();
            let arguments = ("arguments".to_owned(), at..params.len() - 1);
            let spans = [("params".to_owned(), 0..params.len()), arguments].into();
            Payload { secret: [7; 32], fields: [].into(), spans, body: params.clone().into() }
        }))
    }

    fn index(&self, _: Option<Seq>) -> Option<Index> {
        None
    }
}

pub(crate) struct Stage {
    _folder: tempfile::TempDir,
    pub(crate) state: Arc<State>,
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Arc<Healthy>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Somebody with a session.
pub(crate) struct Session {
    pub(crate) cookie: String,
    pub(crate) csrf: String,
}

impl Stage {
    /// With an admin `mira`, a viewer `noor`, and nobody else.
    pub(crate) async fn set(public_url: Option<&str>) -> Stage {
        Stage::with(public_url, |operators, _| operators).await
    }

    /// The same, where operators log in otherwise too; what that needs may be put into the folder.
    pub(crate) async fn with(
        public_url: Option<&str>,
        change: impl FnOnce(Operators, &Path) -> Operators,
    ) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let operators = Operators::new(Arc::clone(&state), RoleMap::default());
        for (name, role) in [("mira", Role::Admin), ("noor", Role::Viewer)] {
            let link = operators::add(&state, name, &[role], clock()).unwrap().secret;
            operators.set_up(link.reveal(), None, Secret::new(PASSWORD), clock()).await.unwrap();
        }
        let operators = change(operators, folder.path());
        let desk = Desk::new(Arc::new(operators), public_url.map(str::to_owned), clock);
        let console = Console::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = console.address;
        let gateway = Arc::new(Healthy::default());
        tokio::spawn(console.serve(gateway.clone(), desk, std::future::pending()));
        Stage { _folder: folder, state, address, gateway }
    }

    /// Sends a line (`POST /login`), further headers and a body; `Host` is right unless it is among the headers.
    pub(crate) async fn send(&self, line: &str, headers: &str, body: &str) -> Told {
        let host = match headers.to_lowercase().contains("host:") {
            true => String::new(),
            false => format!("host: {}\r\n", self.address),
        };
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\n{host}{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A request that is too large may be answered before it was read.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Told { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// What a browser sends with a form of this console.
    pub(crate) fn form(&self) -> String {
        format!("origin: http://{}\r\ncontent-type: application/x-www-form-urlencoded\r\n", self.address)
    }

    /// Logs somebody in.
    pub(crate) async fn session(&self, name: &str) -> Session {
        let body = format!("name={name}&password={}", PASSWORD.replace(' ', "+"));
        let told = self.send("POST /login", &self.form(), &body).await;
        assert_eq!(told.status, 303, "{told:?}");
        // The head is in lower case, a secret is not.
        let cookie = self.cookie(&body).await;
        let me = self.send("GET /api/v1/me", &format!("cookie: {cookie}\r\n"), "").await;
        let me: serde_json::Value = serde_json::from_str(&me.body).unwrap();
        Session { cookie, csrf: me["csrf"].as_str().unwrap().to_owned() }
    }

    async fn cookie(&self, body: &str) -> String {
        let request = format!(
            "POST /login HTTP/1.1\r\nhost: {}\r\n{}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.address,
            self.form(),
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let line = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
        line.split(';').next().unwrap().to_owned()
    }

    /// A write of the API as the console's own page would send it.
    pub(crate) async fn write(&self, line: &str, session: &Session, body: &str) -> Told {
        let headers = format!(
            "origin: http://{}\r\ncookie: {}\r\nx-csrf-token: {}\r\n",
            self.address, session.cookie, session.csrf
        );
        self.send(line, &headers, body).await
    }

    /// What is noted, a line each.
    pub(crate) fn noted(&self) -> Vec<String> {
        let line = |action: Action| {
            let Action { who, what, subject, reason, outcome, .. } = action;
            format!("{who} {what} {subject} {}: {}", outcome.as_str(), reason.unwrap_or_default())
        };
        self.state.unrecorded(1000).unwrap().into_iter().map(line).collect()
    }
}
