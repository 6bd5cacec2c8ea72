//! The sessions of a replay over HTTP, and the one client that stands for all of the stateless era.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::mpsc;

use super::body::Body;
use super::client::{Client, Play};

/// The session's id.
pub(super) const SESSION: &str = "mcp-session-id";

/// Sessions at once; the oldest ones end for new ones.
const MOST: usize = 1_000;

/// Messages that belong to no request and wait for the client to listen; then the server waits.
const QUEUE: usize = 64;

/// All of them.
pub(super) struct Sessions {
    play: Arc<Play>,
    stateless: Arc<Client>,
    /// By id, with a number that grows. Locked for single changes.
    open: Mutex<HashMap<String, (u64, Arc<Session>)>>,
}

/// A session.
pub(super) struct Session {
    pub(super) client: Arc<Client>,
    outside: Arc<tokio::sync::Mutex<mpsc::Receiver<Bytes>>>,
}

impl Sessions {
    pub(super) fn new(play: Arc<Play>) -> Sessions {
        // The stateless era has no messages outside of requests.
        let (outside, _) = mpsc::channel(1);
        let stateless = Client::new(Arc::clone(&play), outside);
        Sessions { play, stateless, open: Mutex::default() }
    }

    /// Whether the run has sessions.
    pub(super) fn are_offered(&self) -> bool {
        self.play.tape.has_session()
    }

    /// Who asks without a session.
    pub(super) fn stateless(&self) -> &Arc<Client> {
        &self.stateless
    }

    /// A session at the beginning of the run, and its id.
    pub(super) fn begin(&self) -> (String, Arc<Session>) {
        let (outside, messages) = mpsc::channel(QUEUE);
        let client = Client::new(Arc::clone(&self.play), outside);
        let session = Arc::new(Session { client, outside: Arc::new(tokio::sync::Mutex::new(messages)) });
        let id = new_id();
        let mut open = self.open();
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, (age, _))| *age).map(|(id, _)| id.clone())
        {
            open.remove(&oldest);
        }
        let age = open.values().map(|(age, _)| age + 1).max().unwrap_or(0);
        open.insert(id.clone(), (age, Arc::clone(&session)));
        (id, session)
    }

    /// The session that the headers name.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<Arc<Session>> {
        let open = self.open();
        open.get(session_id(headers)?).map(|(_, session)| Arc::clone(session))
    }

    /// Ends the session that the headers name; `false`: there is none.
    pub(super) fn end(&self, headers: &HeaderMap) -> bool {
        let ended = session_id(headers).and_then(|id| self.open().remove(id));
        if let Some((_, session)) = &ended {
            session.client.close();
        }
        ended.is_some()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, (u64, Arc<Session>)>> {
        // No panic can happen between the changes made under this lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// The stream of what belongs to no request; `None`: somebody reads it already.
    pub(super) fn listen(&self) -> Option<Body> {
        Arc::clone(&self.outside).try_lock_owned().ok().map(Body::Session)
    }
}

/// The session id that a request names.
pub(super) fn session_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION)?.to_str().ok().filter(|id| !id.is_empty())
}

/// 128 bits: the standard library seeds its hashers from the system's randomness, which is enough for a name on loopback
/// that grants nothing.
fn new_id() -> String {
    let half = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", half(), half())
}
