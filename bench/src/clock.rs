//! A clock that this process and the upstream share.

use std::time::SystemTime;

/// Microseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "this is the bench's clock")]
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
