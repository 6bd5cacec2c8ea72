//! From exec to the first answer, whose intent and outcome are durable.

use std::path::Path;
use std::time::Instant;

use crate::client::Caller;
use crate::gateway::{Gateway, Upstream};
use crate::latency::{Latencies, Quantiles};
use crate::scenarios::calls::BYTES;
use crate::{Pace, message};

/// On folders that are not there yet.
pub(crate) async fn fresh(
    binary: &Path,
    folder: &Path,
    upstream: &Upstream,
    pace: Pace,
) -> anyhow::Result<Quantiles> {
    let mut latencies = Latencies::default();
    for number in 0..times(pace) {
        let data = folder.join(format!("start-{number}"));
        once(binary, &data, upstream, &mut latencies).await?;
        std::fs::remove_dir_all(&data)?;
    }
    Ok(latencies.quantiles())
}

/// On a folder with a ledger in it.
pub(crate) async fn again(
    binary: &Path,
    data: &Path,
    upstream: &Upstream,
    pace: Pace,
) -> anyhow::Result<Quantiles> {
    let mut latencies = Latencies::default();
    for _ in 0..times(pace) {
        once(binary, data, upstream, &mut latencies).await?;
    }
    Ok(latencies.quantiles())
}

fn times(pace: Pace) -> u32 {
    if pace == Pace::Full { 10 } else { 3 }
}

async fn once(
    binary: &Path,
    data: &Path,
    upstream: &Upstream,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let gateway = Gateway::start(binary, data, upstream)?;
    Caller::connect(&gateway.target()).await?.call("echo", message::echo(1, BYTES)).await?;
    latencies.add(begun.elapsed());
    gateway.stop()
}
