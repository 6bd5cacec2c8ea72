//! Response bodies that are a whole: small ones in memory, large ones put aside.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};

use crate::content::Content;
use crate::listen::body::{self, BodyError};
use crate::settings::Limits;
use crate::taking::{AnswerError, IN_MEMORY, Places};

/// Reads a whole body of at most `limits.message_bytes`.
pub(crate) async fn read(
    places: &Places,
    mut body: Incoming,
    limits: &Limits,
) -> Result<Content, AnswerError> {
    if body.size_hint().lower() > limits.message_bytes as u64 {
        return Err(AnswerError::TooLarge);
    }
    let Some(first) = next(&mut body, limits.silence).await? else { return Ok(Bytes::new().into()) };
    // Most bodies are one part: no copy then.
    let mut whole: Option<BytesMut> = None;
    let mut length = first.len();
    while length <= IN_MEMORY.min(limits.message_bytes) {
        let Some(part) = next(&mut body, limits.silence).await? else {
            return Ok(whole.map_or(first, BytesMut::freeze).into());
        };
        length = length.saturating_add(part.len());
        whole.get_or_insert_with(|| BytesMut::from(first.as_ref())).extend_from_slice(&part);
    }
    read_large(places, whole.map_or(first, BytesMut::freeze), body, limits).await
}

async fn read_large(
    places: &Places,
    begun: Bytes,
    mut body: Incoming,
    limits: &Limits,
) -> Result<Content, AnswerError> {
    let taking = places.take(limits.answer_wait).await.map_err(|lost| lost.error)?;
    let mut length = begun.len();
    let mut part = Some(begun);
    while let Some(bytes) = part {
        if length > limits.message_bytes {
            return Err(AnswerError::TooLarge);
        }
        taking.part(bytes).await;
        part = next(&mut body, limits.silence).await?;
        length = length.saturating_add(part.as_ref().map_or(0, Bytes::len));
    }
    taking.finish().await.map_err(|lost| lost.error)
}

async fn next(body: &mut Incoming, silence: Duration) -> Result<Option<Bytes>, AnswerError> {
    body::next(body, silence).await.map_err(|error| match error {
        BodyError::TooLarge => AnswerError::TooLarge,
        BodyError::Slow | BodyError::Broken => AnswerError::Broken,
    })
}
