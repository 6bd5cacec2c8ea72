//! Large messages of servers: judged while they come and put aside on the disk, so that memory does not grow with them.
//!
//! A few are taken in at a time; who comes later is not read meanwhile. A place is held while a message comes and no longer:
//! what waits for the ledger or for a slow client holds none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp::message::ParseError;
use mcp::outline::{Glimpse, Outliner};
use recorder::{Body, Gathering, Recorder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::content::{Content, Unread};

/// Messages up to this size stay in memory.
pub(crate) const IN_MEMORY: usize = 512 << 10;
/// Large messages that are taken in at the same time; each takes a few mebibytes.
const LARGE: usize = 4;
/// Parts of a large message that wait for the disk; then the server is read no further.
const PARTS: usize = 4;

/// Where large messages are taken in.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    recorder: Recorder,
    free: Arc<Semaphore>,
}

/// Why a server's message could not be taken in. The texts go to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("it is larger than the limit")]
    TooLarge,
    #[error("it ended early")]
    Broken,
    #[error("too many large answers came at once; try again shortly")]
    TooMany,
    #[error("it is large, and the disk that holds the record is nearly full; free some space")]
    NoSpace,
    #[error("it is large, and the disk could not take it; see the gateway's log")]
    NotKept,
}

/// A message that was not taken in, and what can be told of it.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) error: AnswerError,
    pub(crate) glimpse: Glimpse,
}

/// A large message under way.
#[derive(Debug)]
pub(crate) struct Taking {
    parts: mpsc::Sender<Bytes>,
    task: JoinHandle<Taken>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Taken {
    body: std::io::Result<Body>,
    judged: Result<mcp::outline::Outline, ParseError>,
    glimpse: Glimpse,
}

impl Places {
    pub(crate) fn new(recorder: Recorder) -> Places {
        Places { recorder, free: Arc::new(Semaphore::new(LARGE)) }
    }

    /// Begins to take a message in, once there is a place.
    pub(crate) async fn take(&self, longest: Duration) -> Result<Taking, Lost> {
        let place = tokio::time::timeout(longest, Arc::clone(&self.free).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(AnswerError::TooMany.into()) };
        let (parts, arriving) = mpsc::channel(PARTS);
        let gathering = self.recorder.gather(IN_MEMORY);
        let task = tokio::task::spawn_blocking(move || take_in(arriving, gathering));
        Ok(Taking { parts, task, _place: place })
    }
}

impl Taking {
    /// Takes the next part, when the disk has taken those before.
    pub(crate) async fn part(&self, part: Bytes) {
        // The task takes all that comes; if it has panicked, the end says so.
        let _ = self.parts.send(part).await;
    }

    /// All parts have come.
    pub(crate) async fn finish(self) -> Result<Content, Lost> {
        drop(self.parts);
        let Taken { body, judged, glimpse } = match self.task.await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(%error, "a large message was not taken in");
                return Err(AnswerError::NotKept.into());
            }
        };
        match body {
            Ok(body) => {
                let outline = judged.map_err(|error| Unread { error, glimpse });
                Ok(Content::Large { body, outline })
            }
            Err(error) => {
                tracing::error!(%error, "a large message was not taken in");
                let error = match error.kind() {
                    std::io::ErrorKind::StorageFull => AnswerError::NoSpace,
                    _ => AnswerError::NotKept,
                };
                Err(Lost { error, glimpse })
            }
        }
    }

    /// No more of it is taken in.
    pub(crate) async fn give_up(self, error: AnswerError) -> Lost {
        drop(self.parts);
        let glimpse = self.task.await.map(|taken| taken.glimpse).unwrap_or_default();
        Lost { error, glimpse }
    }
}

impl From<AnswerError> for Lost {
    fn from(error: AnswerError) -> Lost {
        Lost { error, glimpse: Glimpse::default() }
    }
}

/// Judges and keeps the parts of a message. What is no message is kept all the same, since it is recorded as it came; what
/// the disk does not take is judged all the same, since somebody may wait for it.
fn take_in(mut parts: mpsc::Receiver<Bytes>, gathering: Gathering) -> Taken {
    let mut kept = Ok(gathering);
    let mut outliner = Outliner::default();
    let mut judged = Ok(());
    while let Some(part) = parts.blocking_recv() {
        kept = kept.and_then(|mut gathering| gathering.push(&part).map(|()| gathering));
        judged = judged.and_then(|()| outliner.push(&part));
    }
    let glimpse = outliner.glimpse();
    Taken { body: kept.and_then(Gathering::finish), judged: judged.and_then(|()| outliner.finish()), glimpse }
}
