//! The commands' wall clock.

use jiff::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the commands' clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}
