//! Response bodies that are a whole: small ones in memory, large ones judged while they come and put aside on the disk, so
//! that memory does not grow with them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use mcp::message::ParseError;
use mcp::outline::Outliner;
use recorder::{Gathering, Recorder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::content::Content;
use crate::listen::body::{self, BodyError};
use crate::settings::Limits;

/// Bodies up to this size stay in memory.
const IN_MEMORY: usize = 512 << 10;
/// Large bodies that are taken in and recorded at the same time; each takes a few mebibytes.
const LARGE: usize = 4;
/// Parts of a large body that wait for the disk; then the upstream is read no further.
const PARTS: usize = 4;

/// Reads response bodies.
#[derive(Debug)]
pub(crate) struct Answers {
    recorder: Recorder,
    large: Arc<Semaphore>,
}

/// A response body. While it is held, a large one keeps its place among those that may be taken in.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) content: Content,
    _place: Option<OwnedSemaphorePermit>,
}

/// Why an answer could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("it is larger than the limit")]
    TooLarge,
    #[error("it ended early")]
    Broken,
    #[error("too many large answers came at once; try again shortly")]
    TooMany,
    #[error("it is large, and the disk could not take it; see the gateway's log")]
    NotKept,
}

impl Answers {
    pub(crate) fn new(recorder: Recorder) -> Answers {
        Answers { recorder, large: Arc::new(Semaphore::new(LARGE)) }
    }

    /// Reads a whole body of at most `limits.message_bytes`.
    pub(crate) async fn read(&self, mut body: Incoming, limits: &Limits) -> Result<Answer, AnswerError> {
        if body.size_hint().lower() > limits.message_bytes as u64 {
            return Err(AnswerError::TooLarge);
        }
        let Some(first) = next(&mut body, limits.silence).await? else {
            return Ok(Answer { content: Bytes::new().into(), _place: None });
        };
        // Most bodies are one part: no copy then.
        let mut whole: Option<BytesMut> = None;
        let mut length = first.len();
        while length <= IN_MEMORY.min(limits.message_bytes) {
            let Some(part) = next(&mut body, limits.silence).await? else {
                let bytes = whole.map_or(first, BytesMut::freeze);
                return Ok(Answer { content: bytes.into(), _place: None });
            };
            length = length.saturating_add(part.len());
            whole.get_or_insert_with(|| BytesMut::from(first.as_ref())).extend_from_slice(&part);
        }
        self.read_large(whole.map_or(first, BytesMut::freeze), body, limits).await
    }

    async fn read_large(
        &self,
        begun: Bytes,
        mut body: Incoming,
        limits: &Limits,
    ) -> Result<Answer, AnswerError> {
        let place = tokio::time::timeout(limits.answer_wait, Arc::clone(&self.large).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(AnswerError::TooMany) };
        let (parts, arriving) = mpsc::channel(PARTS);
        let gathering = self.recorder.gather(IN_MEMORY);
        let taking = tokio::task::spawn_blocking(move || take_in(arriving, gathering));
        let mut length = begun.len();
        let mut part = begun;
        loop {
            if length > limits.message_bytes {
                return Err(AnswerError::TooLarge);
            }
            if parts.send(part).await.is_err() {
                break; // It has failed, and says why.
            }
            part = match next(&mut body, limits.silence).await? {
                Some(part) => part,
                None => break,
            };
            length = length.saturating_add(part.len());
        }
        drop(parts);
        match taking.await {
            Ok(Ok(content)) => Ok(Answer { content, _place: Some(place) }),
            Ok(Err(error)) => {
                tracing::error!(%error, "a large answer was not taken in");
                Err(AnswerError::NotKept)
            }
            Err(error) => {
                tracing::error!(%error, "a large answer was not taken in");
                Err(AnswerError::NotKept)
            }
        }
    }
}

/// Judges and keeps the parts of a body. What is no message is kept all the same: it is recorded as it came.
fn take_in(mut parts: mpsc::Receiver<Bytes>, mut gathering: Gathering) -> std::io::Result<Content> {
    let mut judged = Ok(Outliner::default());
    while let Some(part) = parts.blocking_recv() {
        gathering.push(&part)?;
        judged = judged.and_then(|outliner| read_on(outliner, &part));
    }
    let outline = judged.and_then(Outliner::finish);
    Ok(Content::Large { body: gathering.finish()?, outline })
}

fn read_on(mut outliner: Outliner, part: &[u8]) -> Result<Outliner, ParseError> {
    outliner.push(part)?;
    Ok(outliner)
}

async fn next(body: &mut Incoming, silence: Duration) -> Result<Option<Bytes>, AnswerError> {
    body::next(body, silence).await.map_err(|error| match error {
        BodyError::TooLarge => AnswerError::TooLarge,
        BodyError::Slow | BodyError::Broken => AnswerError::Broken,
    })
}
