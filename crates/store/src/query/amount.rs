//! Times, durations and sizes as people write them.

use std::ops::RangeInclusive;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

const DURATIONS: [(&str, i64); 8] = [
    ("us", 1),
    ("µs", 1),
    ("ms", 1_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", DAY),
    ("w", 7 * DAY),
];

const SIZES: [(&str, i64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("ki", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("mi", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("gi", 1 << 30),
    ("gib", 1 << 30),
];

/// Microseconds; a plain number without unit is refused, as nobody can tell seconds from milliseconds.
pub(super) fn duration(text: &str) -> Option<i64> {
    scaled(text, &DURATIONS)
}

/// Bytes.
pub(super) fn size(text: &str) -> Option<i64> {
    scaled(text, &SIZES)
}

/// `1.5h` → 1.5 × unit, cut to a whole number; at most 12 digits before and 6 after the point.
fn scaled(text: &str, units: &[(&str, i64)]) -> Option<i64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.to_lowercase();
    let (_, unit) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || whole.len() > 12 || fraction.is_empty() || fraction.len() > 6 {
        return None;
    }
    let millionths: i128 = format!("{fraction:0<6}").parse().ok()?;
    let amount = (whole.parse::<i128>().ok()? * 1_000_000 + millionths) * i128::from(*unit) / 1_000_000;
    i64::try_from(amount).ok()
}

/// Writes a duration with the largest unit that keeps it whole.
pub(super) fn show_duration(us: i64) -> String {
    let fitting = DURATIONS
        .iter()
        .rev()
        .find(|(name, unit)| *name != "µs" && *name != "w" && us % unit == 0 && us != 0);
    let (name, unit) = fitting.copied().unwrap_or(("us", 1));
    format!("{}{name}", us / unit)
}

/// A point in time: RFC 3339, or without zone (UTC), or without seconds, or a day (its first moment).
pub(super) fn point(text: &str, now: Timestamp) -> Option<i64> {
    if let Some(day) = day(text, now) {
        return Some(*day_bounds(day).start());
    }
    if let Ok(t) = text.parse::<Timestamp>() {
        return Some(t.as_microsecond());
    }
    let civil = text.parse::<DateTime>().ok()?;
    Some(TimeZone::UTC.to_timestamp(civil).ok()?.as_microsecond())
}

/// A UTC day: `2026-11-20`, `today` or `yesterday`.
pub(super) fn day(text: &str, now: Timestamp) -> Option<Date> {
    match text {
        "today" => Some(now.to_zoned(TimeZone::UTC).date()),
        "yesterday" => now.to_zoned(TimeZone::UTC).date().yesterday().ok(),
        _ if text.len() == 10 => text.parse().ok(),
        _ => None,
    }
}

/// First and last microsecond of a UTC day.
pub(crate) fn day_bounds(day: Date) -> RangeInclusive<i64> {
    let start = TimeZone::UTC.to_timestamp(day.to_datetime(jiff::civil::Time::midnight()));
    let start = start.map_or(0, Timestamp::as_microsecond);
    start..=start.saturating_add(DAY - 1)
}

/// `now` less a duration in microseconds.
pub(super) fn ago(now: Timestamp, us: i64) -> Option<i64> {
    let t = now.checked_sub(SignedDuration::from_micros(us)).ok()?;
    Some(t.as_microsecond())
}

pub(super) fn show_point(us: i64) -> String {
    Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |t| t.to_string())
}
