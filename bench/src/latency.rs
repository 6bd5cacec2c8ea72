//! Latencies as they were measured, all of them: quantiles are exact.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A heap of measurements.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    /// In nanoseconds.
    all: Vec<u64>,
}

/// What is said of a heap of measurements, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.all.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn extend(&mut self, other: Latencies) {
        self.all.extend(other.all);
    }

    pub(crate) fn count(&self) -> u64 {
        self.all.len() as u64
    }

    pub(crate) fn quantiles(&mut self) -> Quantiles {
        self.all.sort_unstable();
        let at = |share: f64| self.at(share);
        Quantiles { count: self.count(), p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }

    /// A quantile of what is sorted.
    fn at(&self, share: f64) -> f64 {
        let wanted = share * self.all.len() as f64;
        // The first measurement that is not below so large a share of all.
        let found = self.all.iter().enumerate().nth(floor(wanted).min(self.all.len().saturating_sub(1)));
        found.map_or(0.0, |(_, nanos)| *nanos as f64 / 1000.0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of measurements")]
fn floor(count: f64) -> usize {
    count.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latencies;

    #[test]
    fn quantiles_are_exact() {
        let mut latencies = Latencies::default();
        for micros in (1..=1000).rev() {
            latencies.add(Duration::from_micros(micros));
        }
        let quantiles = latencies.quantiles();
        assert_eq!((quantiles.p50, quantiles.p99, quantiles.p999), (501.0, 991.0, 1000.0));
        assert_eq!(Latencies::default().quantiles().p50, 0.0);
    }
}
