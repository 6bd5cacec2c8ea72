//! Which run a message belongs to: one MCP session, one client process, or one wrapped server.
//!
//! Sessions are bound to the principal who opened them: somebody else's session id finds nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger::RunId;
use ledger::payload::Fields;
use recorder::{RecordError, Recorder, RunStart};
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;

use crate::account::json_text;
use crate::bridge::Bridge;
use crate::callers;
use crate::clock;
use crate::meter::Meters;
use crate::peer::{Peer, Process};
use crate::scope::{NO_SERVER, Scope, Transport};

/// The open runs and the sessions they stand for.
#[derive(Debug)]
pub(crate) struct Runs {
    recorder: Recorder,
    meters: Arc<Meters>,
    /// Owned here; locked for look-ups and changes, never over an await.
    open: Mutex<Open>,
    /// Turns true when streams without a call in them should end.
    stopping: watch::Sender<bool>,
    /// Each open tunnel holds a receiver.
    tunnels: watch::Sender<()>,
    /// The servers of the configuration: who wraps a server under such a name would speak for it.
    configured: watch::Sender<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Open {
    sessions: HashMap<(Arc<str>, String), Arc<Session>>,
    /// By server, and by who and what process: the same process may call for several principals.
    processes: HashMap<(Arc<str>, Arc<str>, Process), Arc<Session>>,
}

/// What a session id, or a client process without one, stands for.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) scope: Arc<Scope>,
    /// Where the server is reached by a stream of messages, from the first message on.
    pub(crate) bridge: OnceCell<Arc<Bridge>>,
    /// When a message last came. Locked for single reads and writes.
    used: Mutex<Instant>,
}

/// Which rule named a run: the record says so.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    Session,
    Process,
    Wrap,
}

impl Rule {
    fn of(self, peer: &Peer) -> &'static str {
        match self {
            Rule::Process if let Process::Credential(run) = &peer.process => run.rule(),
            Rule::Session => "one MCP session",
            Rule::Process => "one client process",
            Rule::Wrap => "one wrapped server",
        }
    }
}

impl Session {
    pub(crate) fn new(scope: Arc<Scope>) -> Arc<Session> {
        Arc::new(Session { scope, bridge: OnceCell::new(), used: Mutex::new(Instant::now()) })
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Whether nothing but the table refers to this session and no call is open.
    fn is_unused(this: &Arc<Session>) -> bool {
        Arc::strong_count(this) == 1 && this.scope.pending().is_empty()
    }
}

/// What the run of a client without a session is known by.
fn of_process(server: &Arc<str>, peer: &Peer) -> (Arc<str>, Arc<str>, Process) {
    (Arc::clone(server), Arc::clone(&peer.principal), peer.process.clone())
}

impl Runs {
    pub(crate) fn new<'a>(
        recorder: Recorder,
        meters: Arc<Meters>,
        servers: impl Iterator<Item = &'a String>,
    ) -> Runs {
        let (stopping, tunnels) = (watch::Sender::new(false), watch::Sender::new(()));
        let configured = watch::Sender::new(servers.cloned().collect());
        Runs { recorder, meters, open: Mutex::default(), stopping, tunnels, configured }
    }

    /// Begins a run: its `session.open` record is durable when this returns.
    pub(crate) async fn begin(
        &self,
        server: &Arc<str>,
        peer: Arc<Peer>,
        transport: Transport,
        rule: Rule,
    ) -> Result<Arc<Scope>, RecordError> {
        let run = clock::new_run();
        let mut fields = Fields::new();
        fields.insert("principal".into(), json_text(&peer.principal));
        if **server != *NO_SERVER {
            fields.insert("server".into(), json_text(server));
        }
        fields.insert("transport".into(), json_text(transport.as_str()));
        fields.insert("peer".into(), peer.describe());
        fields.insert("rule".into(), json_text(rule.of(&peer)));
        if let Some(verified) = &peer.verified {
            fields.insert("credential".into(), callers::described(&verified.caller));
        }
        self.recorder.begin_run(RunStart { run, subject: Arc::clone(&peer.principal), fields }).await?;
        tracing::debug!(%run, server = &**server, "run begins");
        let meter = self.meters.of(server);
        Ok(Arc::new(Scope::new(Arc::clone(server), run, peer, transport, meter)))
    }

    /// Ends a run. Where that cannot be recorded, the log says so and recovery closes it.
    pub(crate) async fn end(&self, run: RunId, reason: &'static str) {
        if let Err(error) = self.recorder.end_run(run, reason).await {
            tracing::error!(%run, %error, "the end of a run was not recorded");
        }
    }

    /// Enters a session under the id that its server gave it.
    pub(crate) fn enter(&self, id: &str, session: Arc<Session>) {
        let key = (Arc::clone(&session.scope.server), id.to_owned());
        self.open().sessions.insert(key, session);
    }

    /// The session of that id, if it is the one's who asks.
    pub(crate) fn session(&self, server: &Arc<str>, id: &str, peer: &Peer) -> Option<Arc<Session>> {
        let open = self.open();
        let session = open.sessions.get(&(Arc::clone(server), id.to_owned()))?;
        session.scope.peer.may_share_with(peer).then(|| {
            session.touch();
            Arc::clone(session)
        })
    }

    /// Removes a session; its run is to be ended by the caller.
    pub(crate) fn leave(&self, server: &Arc<str>, id: &str) -> Option<Arc<Session>> {
        self.open().sessions.remove(&(Arc::clone(server), id.to_owned()))
    }

    /// Makes a session stand for its client's process; gives the one that stood there before.
    pub(crate) fn adopt(&self, session: &Arc<Session>) -> Option<Arc<Session>> {
        let key = of_process(&session.scope.server, &session.scope.peer);
        self.open().processes.insert(key, Arc::clone(session))
    }

    /// Whether a session stands for anything.
    pub(crate) fn knows(&self, session: &Arc<Session>) -> bool {
        let open = self.open();
        let mut known = open.sessions.values().chain(open.processes.values());
        known.any(|other| Arc::ptr_eq(other, session))
    }

    /// Removes a session whose server has ended; `false`: it was removed before.
    pub(crate) fn forget(&self, session: &Arc<Session>) -> bool {
        let mut open = self.open();
        let before = open.sessions.len() + open.processes.len();
        open.sessions.retain(|_, other| !Arc::ptr_eq(other, session));
        open.processes.retain(|_, other| !Arc::ptr_eq(other, session));
        open.sessions.len() + open.processes.len() < before
    }

    /// The run of a client process that has no session, begun at its first message.
    pub(crate) async fn of_process(
        &self,
        server: &Arc<str>,
        peer: &Arc<Peer>,
    ) -> Result<Arc<Session>, RecordError> {
        let key = of_process(server, peer);
        if let Some(session) = self.open().processes.get(&key) {
            session.touch();
            return Ok(Arc::clone(session));
        }
        let scope = self.begin(server, Arc::clone(peer), Transport::Streamable, Rule::Process).await?;
        let begun = Session::new(scope);
        let entered = Arc::clone(self.open().processes.entry(key).or_insert_with(|| Arc::clone(&begun)));
        if !Arc::ptr_eq(&entered, &begun) {
            // Another connection of the same process was first.
            self.end(begun.scope.run, "superseded").await;
        }
        Ok(entered)
    }

    /// Takes out what has not been used for `idle`; open calls keep a session.
    pub(crate) fn take_idle(&self, idle: Duration) -> Vec<Arc<Session>> {
        let mut open = self.open();
        let is_idle = |session: &Arc<Session>| session.idle() >= idle && Session::is_unused(session);
        let mut taken: Vec<_> =
            open.sessions.extract_if(|_, session| is_idle(session)).map(|(_, s)| s).collect();
        taken.extend(open.processes.extract_if(|_, session| is_idle(session)).map(|(_, s)| s));
        taken
    }

    /// Takes out the sessions of a server.
    pub(crate) fn take_of(&self, server: &str) -> Vec<Arc<Session>> {
        let mut open = self.open();
        let sessions = open.sessions.extract_if(|(of, _), _| &**of == server).map(|(_, session)| session);
        let mut taken: Vec<_> = sessions.collect();
        taken.extend(open.processes.extract_if(|(of, ..), _| &**of == server).map(|(_, session)| session));
        // A session may stand under its id and for its client's process.
        taken.sort_unstable_by_key(|session| session.scope.run);
        taken.dedup_by_key(|session| session.scope.run);
        taken
    }

    /// Asks streams without a call in them to end.
    pub(crate) fn close_streams(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves when [`Runs::close_streams`] was called.
    pub(crate) async fn stopping(&self) {
        // The sender lives as long as `self`.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// Turns true when [`Runs::close_streams`] was called.
    pub(crate) fn until_stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// To be held as long as a tunnel is open.
    pub(crate) fn hold_tunnel(&self) -> watch::Receiver<()> {
        self.tunnels.subscribe()
    }

    /// Resolves when no tunnel is open.
    pub(crate) async fn tunnels_closed(&self) {
        self.tunnels.closed().await;
    }

    /// Says which servers are configured from now on.
    pub(crate) fn configure<'a>(&self, servers: impl Iterator<Item = &'a String>) {
        self.configured.send_replace(servers.cloned().collect());
    }

    /// Resolves when a server of that name is configured.
    pub(crate) async fn configured(&self, name: &str) {
        // The sender lives as long as `self`.
        let _ = self.configured.subscribe().wait_for(|servers| servers.contains(name)).await;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // No panic can happen between the changes made under this lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
