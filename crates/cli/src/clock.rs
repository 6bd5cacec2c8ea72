//! The commands' wall clock.

use jiff::Timestamp;

/// Seconds since the Unix epoch.
pub(crate) fn unix_seconds() -> u64 {
    u64::try_from(now().as_second()).unwrap_or_default()
}

/// Now.
#[expect(clippy::disallowed_methods, reason = "this is the commands' clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}
