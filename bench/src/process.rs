//! What the kernel says of a process.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

/// Linux tells processor time in hundredths of a second, whatever its own clock is.
const TICK_MICROS: f64 = 10_000.0;

/// Processor time so far, user and system, in microseconds.
pub(crate) fn cpu_micros(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
    // The name before it may hold spaces.
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() * TICK_MICROS)
}

/// Processor time so far by name of thread, in microseconds; of the threads that still run.
pub(crate) fn cpu_by_thread(pid: u32) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut by_name = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let (Ok(name), Ok(times)) =
            (fs::read_to_string(task.join("comm")), fs::read_to_string(task.join("schedstat")))
        else {
            continue;
        };
        let nanos = times.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok());
        *by_name.entry(name.trim().to_owned()).or_default() += nanos.unwrap_or(0.0) / 1000.0;
    }
    Ok(by_name)
}

/// Resident memory now, in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    of_status(pid, "VmRSS:")
}

/// The most that resident memory was, in bytes.
pub(crate) fn peak(pid: u32) -> anyhow::Result<u64> {
    of_status(pid, "VmHWM:")
}

/// Begins to measure the peak anew.
pub(crate) fn reset_peak(pid: u32) -> anyhow::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak cannot be reset")
}

fn of_status(pid: u32, name: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.context("the kernel says nothing of memory")? * 1024)
}

/// Processor time of the children that have ended, in seconds.
pub(crate) fn children_seconds() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() * TICK_MICROS / 1e6)
}
