//! When the server speaks: at once, or as it did.

use std::time::Duration;

use tokio::time::Instant;

/// The least pause between two messages of one exchange, where there was one: a client that reads a notification and the
/// result together may drop the notification, as the TypeScript SDK does.
const BREATH: Duration = Duration::from_millis(20);

/// How fast the server answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// At once, but for a breath between two messages.
    AtOnce,
    /// As recorded, so many times faster.
    Recorded { speed: f64 },
}

/// Where an exchange stands in time.
#[derive(Debug)]
pub(super) struct Beat {
    pace: Pace,
    begun: Instant,
    /// When the server spoke last, in recorded microseconds since the beginning.
    last: Option<i64>,
}

impl Beat {
    /// At its beginning.
    pub(super) fn new(pace: Pace, begun: Instant) -> Beat {
        Beat { pace, begun, last: None }
    }

    /// Waits until the server spoke next.
    pub(super) async fn reach(&mut self, at: i64) {
        let last = self.last.replace(at);
        match (self.pace, last) {
            (Pace::AtOnce, None) => {}
            (Pace::AtOnce, Some(last)) => tokio::time::sleep(micros(at - last).min(BREATH)).await,
            (Pace::Recorded { speed }, _) => {
                let wait = Duration::try_from_secs_f64(micros(at).as_secs_f64() / speed);
                // Later than any time there is: never.
                match wait.ok().and_then(|wait| self.begun.checked_add(wait)) {
                    Some(then) => tokio::time::sleep_until(then).await,
                    None => std::future::pending().await,
                }
            }
        }
    }
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}
