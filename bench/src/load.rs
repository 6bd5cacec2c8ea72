//! Callers side by side, each waiting for its answer before it calls again.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::client::{Caller, Target};
use crate::latency::Latencies;
use crate::message;

/// Before anything is counted: connections, caches, the run's first record.
const WARM_UP: Duration = Duration::from_millis(300);

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) callers: usize,
    pub(crate) lasts: Duration,
    /// Text that is sent and comes back.
    pub(crate) bytes: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) latencies: Latencies,
    pub(crate) seconds: f64,
    /// Calls before the counting began.
    pub(crate) uncounted: u64,
}

impl Measured {
    pub(crate) fn add(&mut self, other: Measured) {
        self.latencies.extend(other.latencies);
        self.seconds += other.seconds;
        self.uncounted += other.uncounted;
    }

    /// Calls a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.count() as f64 / self.seconds.max(1e-9)
    }

    /// All calls that were made.
    pub(crate) fn made(&self) -> u64 {
        self.latencies.count() + self.uncounted
    }
}

/// Echoes until the time is over.
pub(crate) async fn echo(target: &Target, load: Load) -> anyhow::Result<Measured> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + load.lasts;
    let callers: Vec<_> = (0..load.callers)
        .map(|number| tokio::spawn(call_until(target.clone(), load.bytes, number as u64, (begin, end))))
        .collect();
    let mut measured = Measured { seconds: load.lasts.as_secs_f64(), ..Measured::default() };
    for caller in callers {
        let (latencies, uncounted) = caller.await??;
        measured.latencies.extend(latencies);
        measured.uncounted += uncounted;
    }
    Ok(measured)
}

async fn call_until(
    target: Target,
    bytes: usize,
    number: u64,
    (begin, end): (Instant, Instant),
) -> anyhow::Result<(Latencies, u64)> {
    let mut caller = Caller::connect(&target).await?;
    let mut latencies = Latencies::default();
    let mut uncounted = 0;
    for id in (number << 32).. {
        let body = message::echo(id, bytes);
        let before = Instant::now();
        if before >= end {
            break;
        }
        let size = caller.call("echo", body).await?;
        ensure!(size > bytes as u64, "the echo is too short");
        // The last calls end after the time: as many began before it.
        if before >= begin { latencies.add(before.elapsed()) } else { uncounted += 1 }
    }
    Ok((latencies, uncounted))
}
