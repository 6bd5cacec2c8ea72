//! Reading bodies with a bound on size and on waiting.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is larger than the limit")]
    TooLarge,
    #[error("the body did not come in time")]
    Slow,
    #[error("the body ended early")]
    Broken,
}

/// Reads a client's body: all of it within `wait`, however it drips.
pub(crate) async fn read_within(body: Incoming, limit: usize, wait: Duration) -> Result<Bytes, BodyError> {
    tokio::time::timeout(wait, read(body, limit, wait)).await.unwrap_or(Err(BodyError::Slow))
}

/// Reads a whole body of at most `limit` bytes; `silence` bounds the wait for each part.
pub(crate) async fn read(mut body: Incoming, limit: usize, silence: Duration) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge);
    }
    let Some(first) = next(&mut body, silence).await? else { return Ok(Bytes::new()) };
    // Most bodies are one part: no copy then.
    let mut whole: Option<BytesMut> = None;
    let mut length = first.len();
    while let Some(part) = next(&mut body, silence).await? {
        length = length.saturating_add(part.len());
        if length > limit {
            return Err(BodyError::TooLarge);
        }
        whole.get_or_insert_with(|| BytesMut::from(first.as_ref())).extend_from_slice(&part);
    }
    if length > limit {
        return Err(BodyError::TooLarge);
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

/// The next part of a body; `None` at its end.
pub(crate) async fn next(body: &mut Incoming, silence: Duration) -> Result<Option<Bytes>, BodyError> {
    loop {
        match tokio::time::timeout(silence, body.frame()).await {
            Err(_) => return Err(BodyError::Slow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            // Trailers carry no message.
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(_) => {}
            },
        }
    }
}
