//! From an account to a sealed payload with its commitments, before it enters the queue.
//!
//! Small payloads are sealed on the caller's task, large ones on a thread that may block, and large sealed
//! ones are durable in the spool before the leaf that names them.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use ledger::payload::{Commitment, Fields, Spans, encode_head};
use ledger::record::BlobRef;
use ledger::{Hash, Payload};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use crate::body::Body;
use crate::clock::{Day, now_micros};
use crate::error::RecordError;
use crate::keystore::{Kek, Keystore};
use crate::pack::finish_hash;
use crate::queue::{Sealed, Stored};
use crate::seal;
use crate::spool::SpoolWriter;

/// Bodies above this are sealed where blocking is allowed.
const BLOCKING_BYTES: usize = 256 << 10;
/// Bodies above this are left out when the disk is nearly full.
const OMITTED_BYTES: usize = 4 << 10;
/// Bounds the leaf: each field and span adds a digest to it.
const COMMITMENTS: usize = 128;

/// What is to be sealed.
pub(crate) struct Draft {
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    pub(crate) spans: Spans,
}

impl Draft {
    /// Leaves the body out, for want of space; its size and digest stay as a sealed field.
    fn without_body(mut self) -> io::Result<Draft> {
        let mut context = Context::new(&SHA256);
        for piece in self.body.pieces() {
            context.update(&piece?);
        }
        let digest = finish_hash(context);
        let told = format!(r#"{{"sha256":"{digest}","size":{}}}"#, self.body.len());
        self.fields.insert("omitted".to_owned(), told);
        self.body = Body::default();
        self.spans.clear();
        Ok(self)
    }
}

/// Seals payloads; shared by all callers.
#[derive(Debug)]
pub(crate) struct Sealing {
    pub(crate) keystore: Arc<Keystore>,
    pub(crate) spool: Arc<Path>,
    /// Sealed payloads above this go through the spool.
    pub(crate) inline_bytes: usize,
    /// Larger bodies are not accepted.
    pub(crate) payload_bytes: usize,
    /// Places of those that are sealed piece by piece, for some mebibytes each; the others wait.
    pub(crate) large: Semaphore,
}

/// Payloads that are sealed piece by piece at the same time.
pub(crate) const LARGE: usize = 4;

/// How much room the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Ample,
    Low,
}

impl Sealing {
    /// Seals a draft for a subject.
    ///
    /// # Errors
    /// When the draft is too large or not sound, or the keystore or spool fails.
    pub(crate) async fn seal(
        self: &Arc<Self>,
        subject: &Arc<str>,
        draft: Draft,
        room: Room,
    ) -> Result<Sealed, RecordError> {
        self.check(&draft)?;
        let omitted = room == Room::Low && draft.body.len() > OMITTED_BYTES;
        let draft = if omitted { blocking(|| draft.without_body()).await? } else { draft };
        let kek = self.kek(subject).await?;
        let secret = random()?;
        let mut sealed = match draft {
            Draft { fields, spans, body: Body::Memory(body) } if body.len() <= BLOCKING_BYTES => {
                self.seal_in_memory(&kek, &Payload { secret, fields, spans, body }).await?
            }
            draft => {
                // Nobody closes the semaphore.
                let _place = self.large.acquire().await;
                let sealing = Arc::clone(self);
                blocking(move || sealing.seal_to_spool(&kek, &secret, &draft)).await?
            }
        };
        sealed.omitted = omitted;
        Ok(sealed)
    }

    fn check(&self, draft: &Draft) -> Result<(), RecordError> {
        if draft.body.len() > self.payload_bytes || draft.fields.len() + draft.spans.len() > COMMITMENTS {
            return Err(RecordError::TooLarge);
        }
        let is_json = |text: &String| serde_json::from_str::<&RawValue>(text).is_ok();
        if !draft.fields.values().all(is_json) {
            return Err(RecordError::Unsound("a field is not JSON"));
        }
        if draft.spans.values().any(|span| span.start > span.end || span.end > draft.body.len()) {
            return Err(RecordError::Unsound("a span lies outside the body"));
        }
        Ok(())
    }

    async fn kek(&self, subject: &Arc<str>) -> Result<Arc<Kek>, RecordError> {
        let now = now_micros();
        let month = Day::of(now).month_text();
        if let Some(kek) = self.keystore.cached(subject, &month) {
            return Ok(kek);
        }
        let (keystore, subject) = (Arc::clone(&self.keystore), Arc::clone(subject));
        blocking(move || keystore.obtain(&subject, &month, now)).await
    }

    async fn seal_in_memory(&self, kek: &Kek, payload: &Payload) -> Result<Sealed, RecordError> {
        let bytes = seal::seal(kek, &payload.encode()).map_err(RecordError::failed)?;
        let commitments = payload.commitments();
        if bytes.len() <= self.inline_bytes {
            let blob = BlobRef { digest: Hash::of(&bytes), kek: kek.id, size: length(bytes.len())? };
            return Ok(Sealed { commitments, blob: Some((blob, Stored::Memory(bytes))), omitted: false });
        }
        let (folder, id, kek) = (Arc::clone(&self.spool), random()?, kek.id);
        let spooled = move || -> io::Result<_> {
            let mut writer = SpoolWriter::create(&folder, id)?;
            writer.write_all(&bytes)?;
            writer.finish()
        };
        let (file, digest, size) = blocking(spooled).await?;
        let blob = BlobRef { digest, kek, size };
        Ok(Sealed { commitments, blob: Some((blob, Stored::Spool(file))), omitted: false })
    }

    /// Seals piece by piece, in bounded memory.
    fn seal_to_spool(&self, kek: &Kek, secret: &[u8; 32], draft: &Draft) -> io::Result<Sealed> {
        let id = random().map_err(io::Error::other)?;
        let Draft { fields, spans, body } = draft;
        let mut commitment = Commitment::begin(secret, fields, spans);
        let mut sealer = seal::Sealer::begin(kek, SpoolWriter::create(&self.spool, id)?)?;
        sealer.write_all(&encode_head(secret, fields, spans))?;
        for piece in body.pieces() {
            let piece = piece?;
            commitment.push(&piece);
            sealer.write_all(&piece)?;
        }
        let (file, digest, size) = sealer.finish()?.finish()?;
        let blob = BlobRef { digest, kek: kek.id, size };
        let commitments = commitment.finish();
        Ok(Sealed { commitments, blob: Some((blob, Stored::Spool(file))), omitted: false })
    }
}

fn length(bytes: usize) -> Result<u64, RecordError> {
    u64::try_from(bytes).map_err(RecordError::failed)
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], RecordError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| RecordError::failed(io::Error::other("no randomness is available")))?;
    Ok(bytes)
}

async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, RecordError>
where
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(RecordError::failed),
        Err(error) => Err(RecordError::failed(error)),
    }
}
