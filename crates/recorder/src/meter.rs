//! Counts and times for whoever operates a gateway. Relaxed atomics: neither a lock nor an allocation when something is
//! counted, and nothing of what a message says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::now_micros;

/// Upper bounds of times, in microseconds: from a fast disk's sync to a slow tool's answer.
const TIMES: [u64; 18] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
];
/// Upper bounds of numbers of records in one commit.
const BATCHES: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 4_096];

/// How often something had which size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is beyond the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Upper bounds, ascending.
    pub bounds: &'static [u64],
    /// How many were at most as large as each bound; the last counts all.
    pub cumulative: Vec<u64>,
    /// Sum of all.
    pub sum: u64,
}

impl Histogram {
    /// For times; counts microseconds.
    pub fn of_times() -> Self {
        Self::new(&TIMES)
    }

    fn new(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum: AtomicU64::new(0) }
    }

    /// Counts a time.
    pub fn count_time(&self, time: Duration) {
        self.count(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a size.
    pub(crate) fn count(&self, size: u64) {
        let at = self.bounds.partition_point(|bound| *bound < size);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(size, Ordering::Relaxed);
    }

    /// What was counted so far. What is counted meanwhile may be in the sum and not in the numbers, or the other way round.
    pub fn distribution(&self) -> Distribution {
        let mut total = 0;
        let add = |count: &AtomicU64| {
            total += count.load(Ordering::Relaxed);
            total
        };
        let cumulative = self.counts.iter().map(add).collect();
        Distribution { bounds: self.bounds, cumulative, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// What a recorder counts from its start on.
#[derive(Debug)]
pub struct Meters {
    /// Time from an intent, or a message that needs no answer, to its being durable.
    pub open: Histogram,
    /// Time from an outcome to its being durable.
    pub close: Histogram,
    /// Records in one commit.
    pub batch: Histogram,
    /// Time of one `fdatasync`.
    pub sync: Histogram,
    /// Microseconds since the Unix epoch; written by the publisher.
    checkpoint: AtomicU64,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            open: Histogram::of_times(),
            close: Histogram::of_times(),
            batch: Histogram::new(&BATCHES),
            sync: Histogram::of_times(),
            checkpoint: AtomicU64::new(0),
        }
    }

    /// Notes that a checkpoint was signed now.
    pub(crate) fn sign_checkpoint(&self) {
        self.checkpoint.store(now_micros(), Ordering::Relaxed);
    }

    /// When the newest checkpoint of this process was signed, since the Unix epoch; none before the first.
    pub fn checkpoint_time(&self) -> Option<Duration> {
        let micros = self.checkpoint.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Histogram;

    #[test]
    fn a_size_is_counted_at_the_first_bound_that_holds_it() {
        let histogram = Histogram::new(&[1, 4]);
        for size in [0, 1, 2, 4, 5, 5] {
            histogram.count(size);
        }
        let shown = histogram.distribution();
        assert_eq!((shown.cumulative.as_slice(), shown.sum), ([2, 4, 6].as_slice(), 17));
    }

    #[test]
    fn times_are_counted_in_microseconds() {
        let histogram = Histogram::of_times();
        histogram.count_time(Duration::from_millis(3));
        let shown = histogram.distribution();
        assert_eq!((shown.cumulative.last(), shown.sum), (Some(&1), 3_000));
        let first = shown.bounds.iter().zip(&shown.cumulative).find(|(_, count)| **count == 1);
        assert_eq!(first.map(|(bound, _)| *bound), Some(5_000));
    }
}
