//! Prometheus' text format, version 0.0.4: what every scraper reads.
//!
//! Written by hand: our counts live where they are counted, in plain atomics of crates that know nothing of a format, so a
//! metrics library would be a second place for them. The format itself is a page.

use std::fmt::{Display, Write as _};

/// The format's name on the wire.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something had which size.
    Histogram,
}

/// A text that grows by families of samples.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// One family: all samples of one name, which must stand together.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. Each name may be begun once.
    pub fn family(&mut self, kind: Kind, name: &'static str, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        put(&mut self.text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        Family { text: &mut self.text, name }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, kind: Kind, name: &'static str, help: &str, value: impl Display) {
        self.family(kind, name, help).sample(&[], value);
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        put(self.text, format_args!("{}", self.name));
        write_labels(self.text, labels, None);
        put(self.text, format_args!(" {value}\n"));
    }

    /// Adds a histogram: `bounds` and the sum are multiplied by `unit`; `cumulative` has one number more than `bounds`, that
    /// of all.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        (bounds, cumulative): (&[u64], &[u64]),
        sum: u64,
        unit: Unit,
    ) {
        let all = cumulative.last().copied().unwrap_or_default();
        let bounds = bounds.iter().map(|bound| unit.show(*bound)).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(cumulative) {
            put(self.text, format_args!("{}_bucket", self.name));
            write_labels(self.text, labels, Some(&bound));
            put(self.text, format_args!(" {count}\n"));
        }
        for (suffix, value) in [("_sum", unit.show(sum)), ("_count", all.to_string())] {
            put(self.text, format_args!("{}{suffix}", self.name));
            write_labels(self.text, labels, None);
            put(self.text, format_args!(" {value}\n"));
        }
    }
}

/// What a histogram's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds, shown as seconds.
    Micros,
    /// Themselves.
    One,
}

impl Unit {
    fn show(self, value: u64) -> String {
        match self {
            Unit::One => value.to_string(),
            Unit::Micros => {
                let text = format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        }
    }
}

fn write_labels(text: &mut String, labels: &[(&str, &str)], bound: Option<&str>) {
    let labels = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
    let mut opening = '{';
    for (name, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        put(text, format_args!("{opening}{name}=\"{value}\""));
        opening = ',';
    }
    if opening == ',' {
        text.push('}');
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{Exposition, Kind, Unit};

    #[test]
    fn families_labels_and_histograms() {
        let mut exposition = Exposition::default();
        exposition.single(Kind::Gauge, "free_bytes", "Room.\nOn the disk \\ elsewhere.", 12);
        let mut calls = exposition.family(Kind::Counter, "calls_total", "Ended calls.");
        calls.sample(&[("server", "a\"b\\c\nd"), ("status", "ok")], 3);
        calls.sample(&[("server", "e")], 1.5);
        let mut times = exposition.family(Kind::Histogram, "sync_seconds", "Time of a sync.");
        times.histogram(&[("disk", "x")], (&[100, 1_000_000], &[1, 2, 4]), 2_500_100, Unit::Micros);
        let mut sizes = exposition.family(Kind::Histogram, "records", "Records.");
        sizes.histogram(&[], (&[1], &[0, 0]), 0, Unit::One);
        expect![[r#"
            # HELP free_bytes Room.\nOn the disk \\ elsewhere.
            # TYPE free_bytes gauge
            free_bytes 12
            # HELP calls_total Ended calls.
            # TYPE calls_total counter
            calls_total{server="a\"b\\c\nd",status="ok"} 3
            calls_total{server="e"} 1.5
            # HELP sync_seconds Time of a sync.
            # TYPE sync_seconds histogram
            sync_seconds_bucket{disk="x",le="0.0001"} 1
            sync_seconds_bucket{disk="x",le="1"} 2
            sync_seconds_bucket{disk="x",le="+Inf"} 4
            sync_seconds_sum{disk="x"} 2.5001
            sync_seconds_count{disk="x"} 4
            # HELP records Records.
            # TYPE records histogram
            records_bucket{le="1"} 0
            records_bucket{le="+Inf"} 0
            records_sum 0
            records_count 0
        "#]]
        .assert_eq(&exposition.into_text());
    }
}
