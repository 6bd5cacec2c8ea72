//! The gateway's wall clock and randomness, in one place: identifiers need both.

use std::time::SystemTime;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use ledger::{CallId, RunId};

/// A fresh call id: UUIDv7 of now.
pub(crate) fn new_call() -> CallId {
    CallId::new(unix_ms(), random())
}

/// A fresh, unguessable run id.
pub(crate) fn new_run() -> RunId {
    RunId::new(random())
}

/// A fresh, unguessable session id: 32 lower-case hexadecimal digits.
pub(crate) fn new_session() -> String {
    digits()
}

/// A fresh, unguessable id for a hold.
pub(crate) fn new_hold() -> String {
    format!("hold_{}", digits())
}

/// A fresh, unguessable secret: 32 lower-case hexadecimal digits.
pub(crate) fn new_secret() -> String {
    digits()
}

fn digits() -> String {
    use std::fmt::Write as _;
    random::<16>().iter().fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Seconds since the Unix epoch.
pub(crate) fn unix_seconds() -> u64 {
    unix_ms() / 1000
}

/// A time as RFC 3339 writes it.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let stamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    // Times that nobody lives to see are cut.
    stamp.unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "this is the gateway's clock")]
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Random bytes of the system. A system without randomness cannot run a gateway: the process ends.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::error!("the system's random source failed");
        std::process::abort();
    }
    bytes
}
