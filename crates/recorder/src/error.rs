//! Why something was not recorded. Whoever gets one of these must not let the call go on.

use std::sync::Arc;

use ledger::{CallId, RunId};

/// Why something was not recorded. The text says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// The queue had no room within the deadline.
    #[error("the record cannot keep up; try again shortly")]
    Overloaded,
    /// The disk is nearly full.
    #[error("the disk that holds the record is nearly full; free some space")]
    NoSpace,
    /// The recorder is ending or has ended.
    #[error("the recorder is shutting down; try again when it is back")]
    ShuttingDown,
    /// The payload, or the number of its fields, is beyond the limit.
    #[error("the message is larger than the record accepts; send it in parts")]
    TooLarge,
    /// The run was never begun, or is ending, or has ended.
    #[error("run `{0}` is not open; begin a new one")]
    RunNotOpen(RunId),
    /// The run was begun before.
    #[error("run `{0}` is open already")]
    RunAlreadyOpen(RunId),
    /// This round of the call is open already.
    #[error("call `{0}` is open already in this round")]
    CallAlreadyOpen(CallId),
    /// This round of the call has ended, e.g. because the recorder is shutting down.
    #[error("call `{0}` is not open in this round")]
    CallNotOpen(CallId),
    /// A field is not JSON, or a span lies outside the body.
    #[error("the account of the message is not sound: {0}")]
    Unsound(&'static str),
    /// Something broke that needs a human.
    #[error("the record failed; see the log")]
    Failed(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl RecordError {
    /// Whether the same call may succeed later without anything being changed.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Overloaded | Self::ShuttingDown)
    }

    pub(crate) fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Failed(Arc::new(source))
    }
}
