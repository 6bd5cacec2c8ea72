//! The recorder's clock: the only place in this crate that reads the time of day.
//!
//! Leaf times are a hybrid clock: microseconds since the Unix epoch, but never below the time of the leaf
//! before. They are advisory; the order of the log is its index.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Reads the wall clock in microseconds since the Unix epoch; zero before the epoch.
#[expect(clippy::disallowed_methods, reason = "this is the crate's clock")]
pub(crate) fn now_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Gives leaf times that never go back within one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HybridClock {
    last: u64,
}

impl HybridClock {
    /// Continues after `last`, the time of the newest known leaf.
    pub(crate) const fn after(last: u64) -> Self {
        Self { last }
    }

    pub(crate) fn now(&mut self) -> u64 {
        self.last = self.last.max(now_micros());
        self.last
    }
}

/// A day in UTC, as the names of folders and files need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Day {
    pub(crate) year: i16,
    pub(crate) month: i8,
    pub(crate) day: i8,
}

impl Day {
    /// The UTC day of a time in microseconds; times beyond the calendar give its first day.
    pub(crate) fn of(micros: u64) -> Self {
        let timestamp = i64::try_from(micros).ok().and_then(|at| Timestamp::from_microsecond(at).ok());
        let date = timestamp.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date();
        Self { year: date.year(), month: date.month(), day: date.day() }
    }

    /// `yyyy-mm`, the month a key belongs to.
    pub(crate) fn month_text(self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }

    /// `yyyy-mm-dd`.
    pub(crate) fn text(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// `yyyy/mm/dd`.
    pub(crate) fn folder(self) -> String {
        format!("{:04}/{:02}/{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::{Day, HybridClock};

    #[test]
    fn days_are_named_in_utc() {
        let day = Day::of(1_795_235_437_123_456);
        assert_eq!(day.text(), "2026-11-21");
        assert_eq!(day.month_text(), "2026-11");
        assert_eq!(day.folder(), "2026/11/21");
    }

    #[test]
    fn time_never_goes_below_the_leaf_before() {
        let future = u64::MAX - 1;
        assert_eq!(HybridClock::after(future).now(), future);
    }
}
