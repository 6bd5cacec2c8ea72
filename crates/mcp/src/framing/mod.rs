//! Incremental codecs: bytes as they come, whole messages out, whatever the pieces.

pub mod lines;
pub mod sse;

/// A message is larger than the decoder's limit. Its bytes are skipped; the next message is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message is larger than the limit")]
pub struct TooLarge;
