//! Echoes of a kibibyte, with the gateway and without, in turns.

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
    let lasts = Duration::from_secs(seconds);
    let mut syncs = Latencies::default();
    let (mut direct, mut through) = (Measured::default(), Measured::default());
    let mut cpu = Cpu::default();
    for _ in 0..turns {
        syncs.extend(disk::syncs(&gateway.data, Duration::from_secs(1))?);
        let load = Load { callers, lasts: lasts / 2, bytes: BYTES };
        direct.add(load::echo(&upstream.target(), load).await?);
        let before = Cpu::of(gateway)?;
        let load = Load { callers, lasts, bytes: BYTES };
        through.add(load::echo(&gateway.target(), load).await?);
        cpu.under_load += gateway.cpu_micros()? - before.under_load;
        gateway.settle().await;
        cpu.add(&Cpu::of(gateway)?, &before);
    }
    let made = through.made();
    let each = made as f64;
    let measured = Calls {
        callers,
        sync: syncs.quantiles(),
        cpu_per_call: cpu.under_load / each,
        cpu_per_call_settled: cpu.settled / each,
        cpu_by_thread: cpu.by_thread.into_iter().map(|(name, cpu)| (name, cpu / each)).collect(),
        direct: side(direct),
        gateway: side(through),
    };
    Ok((measured, made))
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
