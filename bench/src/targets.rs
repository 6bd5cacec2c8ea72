//! What was aimed at, and whether it was met.

use crate::results::Results;

/// One aim.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    /// As it is written.
    pub(crate) aim: String,
    pub(crate) found: String,
    pub(crate) met: bool,
}

const MIB: f64 = 1024.0 * 1024.0;
/// What the gateway may add to two syncs, in microseconds.
const OWN_SHARE: f64 = 150.0;

/// All of them.
pub(crate) fn of(results: &Results) -> Vec<Target> {
    let mut targets = of_calls(results);
    let memory = &results.memory;
    let bulk = results.bulk.iter().max_by_key(|bulk| bulk.bytes);
    targets.extend([
        at_most("memory idle", memory.idle as f64 / MIB, 64.0, "MiB"),
        at_most("memory under load, peak", memory.peak_under_load as f64 / MIB, 64.0, "MiB"),
        at_most(
            "memory under 100 MiB results, peak",
            bulk.map_or(0.0, |bulk| bulk.peak as f64 / MIB),
            64.0,
            "MiB",
        ),
        at_most("cold start, exec to first answer", results.start.empty_folder.p50 / 1000.0, 200.0, "ms"),
        at_most("binary", results.machine.binary_bytes as f64 / MIB, 40.0, "MiB"),
        at_most("disk for a 1 KiB echo", results.ledger.bytes.total() / 1024.0, 1.2, "KiB"),
    ]);
    let ledger = results.million.as_ref().unwrap_or(&results.ledger);
    targets.extend([
        at_least("verification, one core", ledger.verify_per_cpu_second, 100_000.0, "calls/s"),
        at_least("index rebuild", ledger.rebuild_per_second, 30_000.0, "calls/s"),
    ]);
    if let Some(million) = &results.million {
        let slowest = million.search_ms.values().copied().fold(0.0, f64::max);
        targets.push(at_most("first page of any search, a million calls", slowest, 100.0, "ms"));
    }
    targets
}

fn of_calls(results: &Results) -> Vec<Target> {
    let mut targets = Vec::new();
    if let Some(one) = results.calls.iter().find(|calls| calls.callers == 1) {
        let added = one.added(|latency| latency.p50);
        let aim = 2.0 * one.sync.p50 + OWN_SHARE;
        let mut target = at_most("added median, 1 caller", added, aim, "µs");
        target.aim = format!("≤ 2 × {:.0} + 150 = {aim:.0} µs", one.sync.p50);
        targets.push(target);
    }
    if let Some(many) = results.calls.iter().find(|calls| calls.callers == 64) {
        targets.push(at_least("64 callers", many.gateway.per_second, 8000.0, "calls/s"));
        targets.push(at_most("gateway CPU a call, 64 callers", many.cpu_per_call, 150.0, "µs"));
        targets.push(at_most("the same with publication and index", many.cpu_per_call_settled, 150.0, "µs"));
    }
    targets
}

fn at_most(what: &'static str, found: f64, aim: f64, unit: &str) -> Target {
    Target {
        what,
        aim: format!("≤ {} {unit}", short(aim)),
        found: format!("{} {unit}", short(found)),
        met: found <= aim,
    }
}

fn at_least(what: &'static str, found: f64, aim: f64, unit: &str) -> Target {
    Target {
        what,
        aim: format!("≥ {} {unit}", short(aim)),
        found: format!("{} {unit}", short(found)),
        met: found >= aim,
    }
}

/// A number with as many digits as mean something.
pub(crate) fn short(number: f64) -> String {
    if number.abs() >= 100.0 {
        grouped(number)
    } else if number.abs() >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        let left = digits.len() - at;
        if at > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_short() {
        for (number, expected) in
            [(1_234_567.8, "1,234,568"), (999.6, "1,000"), (12.34, "12.3"), (1.0, "1.00")]
        {
            assert_eq!(super::short(number), expected);
        }
    }
}
