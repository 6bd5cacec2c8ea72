//! Echoes of a kibibyte, with the gateway and without, in turns.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::client::Caller;
use crate::gateway::{Gateway, Upstream};
use crate::latency::{Latencies, Quantiles};
use crate::load::{self, Load, Measured};
use crate::results::{Calls, Side};
use crate::{Pace, disk, message, process};

/// The text that is echoed.
pub(crate) const BYTES: usize = 1024;

/// The first call; gives the resident memory after it.
pub(crate) async fn first(gateway: &Gateway) -> anyhow::Result<u64> {
    Caller::connect(&gateway.target()).await?.call("echo", message::echo(0, BYTES)).await?;
    gateway.settle().await;
    process::resident(gateway.pid())
}

/// Compares; gives the number of calls that the gateway carried beside.
pub(crate) async fn compare(
    gateway: &Gateway,
    upstream: &Upstream,
    callers: usize,
    pace: Pace,
) -> anyhow::Result<(Calls, u64)> {
    let (turns, seconds) = match pace {
        Pace::Full => (4, 5),
        Pace::Quick => (1, 2),
    };
    let mut comparison = Comparison::new(callers, Duration::from_secs(seconds));
    for _ in 0..turns {
        comparison.turn(gateway, upstream).await?;
    }
    let made = comparison.through.made();
    Ok((comparison.finish(), made))
}

/// What is found turn by turn.
pub(crate) struct Comparison {
    callers: usize,
    lasts: Duration,
    syncs: Latencies,
    direct: Measured,
    through: Measured,
    cpu: Cpu,
}

impl Comparison {
    /// Turns of so many callers, which last so long with the gateway and half of it without.
    pub(crate) fn new(callers: usize, lasts: Duration) -> Comparison {
        Comparison {
            callers,
            lasts,
            syncs: Latencies::default(),
            direct: Measured::default(),
            through: Measured::default(),
            cpu: Cpu::default(),
        }
    }

    /// The disk alone, the upstream alone, and both behind the gateway.
    pub(crate) async fn turn(&mut self, gateway: &Gateway, upstream: &Upstream) -> anyhow::Result<()> {
        let load = Load { callers: self.callers, lasts: self.lasts, bytes: BYTES };
        self.syncs.extend(disk::syncs(&gateway.data, Duration::from_secs(1))?);
        self.direct.add(load::echo(&upstream.target(), Load { lasts: self.lasts / 2, ..load }).await?);
        let before = Cpu::of(gateway)?;
        self.through.add(load::echo(&gateway.target(), load).await?);
        self.cpu.under_load += gateway.cpu_micros()? - before.under_load;
        gateway.settle().await;
        self.cpu.add(&Cpu::of(gateway)?, &before);
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Calls {
        let each = self.through.made() as f64;
        Calls {
            callers: self.callers,
            sync: self.syncs.quantiles(),
            cpu_per_call: self.cpu.under_load / each,
            cpu_per_call_settled: self.cpu.settled / each,
            cpu_by_thread: self.cpu.by_thread.into_iter().map(|(name, cpu)| (name, cpu / each)).collect(),
            direct: side(self.direct),
            gateway: side(self.through),
        }
    }
}

/// Nothing but 64 callers, for as long as a profiler needs. Says which process to look at.
pub(crate) async fn load(binary: &Path, folder: &Path, pace: Pace) -> anyhow::Result<()> {
    let upstream = Upstream::start()?;
    let gateway = Gateway::start(binary, folder, &upstream).await?;
    crate::say(&format!("the gateway is process {}", gateway.pid()));
    let lasts = Duration::from_secs(if pace == Pace::Full { 30 } else { 5 });
    let before = gateway.cpu_micros()?;
    let mut measured = load::echo(&gateway.target(), Load { callers: 64, lasts, bytes: BYTES }).await?;
    let cpu = (gateway.cpu_micros()? - before) / measured.made() as f64;
    let median = measured.latencies.quantiles().p50;
    crate::say(&format!(
        "{:.0} calls/s, median {median:.0} µs, {cpu:.0} µs of processor time a call",
        measured.rate()
    ));
    Ok(())
}

/// From a call's answer, which its durable outcome precedes, to its row in the index.
pub(crate) async fn index_lag(gateway: &Gateway, pace: Pace) -> anyhow::Result<(Quantiles, u64)> {
    let count = if pace == Pace::Full { 20 } else { 4 };
    let mut caller = Caller::connect(&gateway.target()).await?;
    let mut lags = Latencies::default();
    for id in 0..count {
        gateway.settle().await;
        // Its first record may be the run's.
        let wanted = gateway.indexed() + 2;
        caller.call("echo", message::echo(id, BYTES)).await?;
        let answered = Instant::now();
        while gateway.indexed() < wanted {
            ensure!(answered.elapsed() < Duration::from_secs(30), "the index does not follow");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        lags.add(answered.elapsed());
    }
    Ok((lags.quantiles(), count))
}

/// Processor time of the gateway, in microseconds.
#[derive(Default)]
struct Cpu {
    under_load: f64,
    settled: f64,
    by_thread: std::collections::BTreeMap<String, f64>,
}

impl Cpu {
    fn of(gateway: &Gateway) -> anyhow::Result<Cpu> {
        let now = gateway.cpu_micros()?;
        Ok(Cpu { under_load: now, settled: now, by_thread: process::cpu_by_thread(gateway.pid())? })
    }

    fn add(&mut self, after: &Cpu, before: &Cpu) {
        self.settled += after.settled - before.settled;
        for (name, micros) in &after.by_thread {
            let earlier = before.by_thread.get(name).copied().unwrap_or(0.0);
            *self.by_thread.entry(name.clone()).or_default() += micros - earlier;
        }
    }
}

/// The two numbers of a side.
pub(crate) fn side(mut measured: Measured) -> Side {
    Side { per_second: measured.rate(), latency: measured.latencies.quantiles() }
}
