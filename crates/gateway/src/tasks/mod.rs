//! Held calls that wait as tasks of the protocol's extension (SEP-2663): their ids, what is kept of them, and how they stand.
//!
//! A client that takes tasks is given one when it has waited in line for long enough, and asks from time to time how it stands.
//! When people have decided, the next such question has the call made (`exchange/task.rs`), as any other: it is judged anew, and
//! finds its approval by itself. The task's id is a secret of its client. Of it the digest is kept; what is called and what came
//! of it are sealed with a key that is made of it (`sealed.rs`).

mod running;
mod sealed;
mod told;

use http::HeaderMap;
use ledger::Hash;
use mcp::era::{Era, ProtocolVersion};
use mcp::fields::Params;
use mcp::message::{Frame, Kind, Message};
use serde::{Deserialize, Serialize};
use store::state::{Hold, HoldStatus, HoldTask, Need, TaskOwner, TaskStanding, Turn};

use crate::asking::DECLINED;
use crate::clock;
use crate::holds::{Holds, run_of};
use crate::peer::Peer;
use crate::pipeline::Sent;
use crate::rules::RulesError;
use crate::scope::Scope;

pub(crate) use running::Running;
pub(crate) use sealed::Key;
pub(crate) use told::{Asks, Came, Told};

/// The largest call that is made a task; a larger one is answered as if its client took none.
const LARGEST_CALL: usize = 1 << 20;

/// Seconds for which a task is kept beyond its hold's time: that may be prolonged by an hour, an approval is for ten minutes, and
/// the answer has to be fetched.
const BEYOND: u64 = 2 * 60 * 60;

/// A task's id.
#[derive(Debug, Clone)]
pub(crate) struct TaskId {
    id: String,
    digest: Hash,
}

/// What a client asks about a task of this gateway's.
pub(crate) struct About<'a> {
    pub(crate) message: &'a Message<'a>,
    pub(crate) method: TaskMethod,
    pub(crate) task: TaskId,
    /// The request's id as it was written.
    pub(crate) id: &'a str,
    pub(crate) params: Params<'a>,
}

/// What a client asks about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskMethod {
    /// How it stands.
    Get,
    /// It answers what the server has asked.
    Update,
    /// It does not want it any more.
    Cancel,
}

/// A call that is made later.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Deferred {
    /// Its params, JSON.
    pub(crate) params: String,
    /// The headers of MCP that it came with: they repeat parts of it.
    headers: Vec<(String, String)>,
}

impl TaskMethod {
    fn of(method: &str) -> Option<TaskMethod> {
        [TaskMethod::Get, TaskMethod::Update, TaskMethod::Cancel].into_iter().find(|one| one.name() == method)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            TaskMethod::Get => "tasks/get",
            TaskMethod::Update => "tasks/update",
            TaskMethod::Cancel => "tasks/cancel",
        }
    }
}

impl TaskId {
    fn of(id: String) -> TaskId {
        let digest = Hash::of(id.as_bytes());
        TaskId { id, digest }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.id
    }

    /// What it is kept under.
    pub(crate) fn digest(&self) -> Hash {
        self.digest
    }

    /// What the record calls it.
    pub(crate) fn as_digest(&self) -> String {
        format!("sha256:{}", self.digest.to_hex())
    }

    /// What opens what is kept of it.
    pub(crate) fn key(&self) -> Option<Key> {
        Key::of(&self.id)
    }
}

impl Deferred {
    /// A request as it is kept; `None`: its client takes no task, or it is too large for one.
    fn of(message: &Message<'_>, headers: &HeaderMap) -> Option<Deferred> {
        let params = message.deferred()?;
        let of_mcp = headers.iter().filter(|(name, _)| is_of_mcp(name.as_str()));
        let headers: Vec<_> = of_mcp
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let size: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        (params.len() + size <= LARGEST_CALL).then_some(Deferred { params, headers })
    }

    /// The headers that it is made with: its own of MCP, the others of who asks for it now.
    pub(crate) fn headers(&self, now: &HeaderMap) -> HeaderMap {
        let mut headers = now.clone();
        for name in now.keys().filter(|name| is_of_mcp(name.as_str())) {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.parse()) {
                headers.append(name, value);
            }
        }
        headers
    }
}

fn is_of_mcp(name: &str) -> bool {
    name.starts_with("mcp-")
}

impl Holds {
    /// Makes a held call a task, if its client takes one; gives its id and what its client is told. It is durable then.
    pub(crate) async fn defer(
        &self,
        scope: &Scope,
        sent: Sent<'_>,
        hold: &str,
    ) -> Result<Option<(TaskId, Told)>, RulesError> {
        let (Frame::Single(message), Some(headers)) = (sent.frame, sent.headers) else { return Ok(None) };
        let Kind::Request { params: Some(params), .. } = message.kind() else { return Ok(None) };
        if !is_stateless(&Params::of(params)) {
            return Ok(None);
        }
        let (Some(kept), Some(hold)) = (Deferred::of(message, headers), self.standing(hold)) else {
            return Ok(None);
        };
        let task = TaskId::of(format!("{}task-{}", self.tag, clock::new_secret()));
        let Some(call) = task.key().and_then(|key| key.seal(sealed::Part::Call, &kept)) else {
            return Ok(None);
        };
        let now = clock::unix_seconds();
        let row = HoldTask {
            hold: hold.id.clone(),
            owner: owner(sent.peer, scope),
            standing: TaskStanding::Waits,
            call,
            said: None,
            made: now,
            turned: now,
            until: kept_until(&hold, now),
        };
        let told = Told::made(&task, &row, &self.waits_for(&hold));
        let digest = task.digest;
        let is_kept = self.with_state(move |state| state.add_task(digest, &row)).await?;
        Ok(is_kept.then_some((task, told)))
    }

    /// What a request asks about a task of this gateway's; `None`: it does not.
    pub(crate) fn about<'a>(&self, frame: &'a Frame<'a>) -> Option<About<'a>> {
        let Frame::Single(message) = frame else { return None };
        let Kind::Request { id, method, params: Some(params) } = message.kind() else { return None };
        let method = TaskMethod::of(method)?;
        let params = Params::of(params);
        let task = params.task_id().filter(|task| task.starts_with(&self.tag) && is_stateless(&params))?;
        Some(About { message, method, task: TaskId::of(task), id: id.raw(), params })
    }

    /// The task, if it is that client's.
    pub(crate) async fn task(
        &self,
        task: &TaskId,
        (peer, scope): (&Peer, &Scope),
    ) -> Result<Option<HoldTask>, RulesError> {
        let (digest, owner) = (task.digest, owner(peer, scope));
        self.with_state(move |state| state.task(digest, &owner, clock::unix_seconds())).await
    }

    /// Has a task go on; `false`: somebody else was first.
    pub(crate) async fn turn(&self, task: &TaskId, next: Next) -> Result<bool, RulesError> {
        let (digest, now) = (task.digest, clock::unix_seconds());
        let until = match &next {
            Next::Waits(hold) => self.standing(hold).map_or(now, |hold| kept_until(&hold, now)),
            Next::Begins(..) | Next::Asks(_) | Next::Ends(_) => now,
        };
        self.with_state(move |state| state.turn_task(digest, next.turn(until), now)).await
    }

    /// Ends a task that its client does not want any more. A call that is being made goes on.
    pub(crate) async fn cancel(&self, task: &TaskId) -> Result<bool, RulesError> {
        let digest = task.digest;
        self.with_state(move |state| state.cancel_task(digest, DECLINED, clock::unix_seconds())).await
    }

    /// The call of a task as it was kept.
    pub(crate) fn deferred(&self, task: &TaskId, row: &HoldTask) -> Option<Deferred> {
        task.key()?.open(sealed::Part::Call, &row.call)
    }

    /// What a task's client is told of it; `None`: what is kept cannot be read.
    pub(crate) fn told(&self, task: &TaskId, row: &HoldTask) -> Option<Told> {
        let came = match &row.said {
            Some(said) => Some(self.came(task, said)?),
            None => None,
        };
        let waits = match self.standing(&row.hold) {
            Some(hold) if hold.status == HoldStatus::Pending => self.waits_for(&hold),
            _ => format!("`{}` waits no more: people have decided, or it has ended", row.hold),
        };
        Told::now(task, row, (&waits, came.as_ref()))
    }

    /// What the server asks, if it does.
    pub(crate) fn asked_by_server(&self, task: &TaskId, row: &HoldTask) -> Option<Asks> {
        match (row.standing, self.came(task, row.said.as_deref()?)?) {
            (TaskStanding::Asks, Came::Asks(asks)) => Some(asks),
            _ => None,
        }
    }

    /// What the server asks, or how it ended.
    fn came(&self, task: &TaskId, said: &[u8]) -> Option<Came> {
        task.key()?.open(sealed::Part::Said, said)
    }

    fn waits_for(&self, hold: &Hold) -> String {
        let page = self.page(&hold.id).map(|page| format!(" ({page})")).unwrap_or_default();
        format!("`{}` waits for the approval of {}{page}", hold.id, Need::people(&hold.needs))
    }
}

/// How a task goes on, with what is kept of it.
pub(crate) enum Next {
    Begins(TaskStanding, Option<Vec<u8>>),
    Waits(String),
    Asks(Vec<u8>),
    Ends(Vec<u8>),
}

impl Next {
    /// After a call has been made, or was not.
    pub(crate) fn after(task: &TaskId, came: &Came) -> Option<Next> {
        let said = task.key()?.seal(sealed::Part::Said, came)?;
        Some(match came {
            Came::Asks(_) => Next::Asks(said),
            Came::Result(_) | Came::Error(_) | Came::Lost(_) => Next::Ends(said),
        })
    }

    /// `until`: when a task is forgotten that waits anew.
    fn turn(&self, until: u64) -> Turn<'_> {
        match self {
            Next::Begins(standing, said) => Turn::Begins { standing: *standing, said: said.as_deref() },
            Next::Waits(hold) => Turn::Waits { hold, until },
            Next::Asks(said) => Turn::Asks(said),
            Next::Ends(said) => Turn::Ends(said),
        }
    }
}

/// When a task that waits under a hold is forgotten.
fn kept_until(hold: &Hold, now: u64) -> u64 {
    hold.deadline.max(now).saturating_add(BEYOND)
}

fn owner(peer: &Peer, scope: &Scope) -> TaskOwner {
    TaskOwner { principal: peer.principal.to_string(), run: run_of(peer), server: scope.server.to_string() }
}

fn is_stateless(params: &Params<'_>) -> bool {
    params.meta_version().is_some_and(|version| ProtocolVersion::parse(&version).era() == Era::Stateless)
}
