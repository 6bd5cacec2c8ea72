//! From exec to the first answer, whose intent and outcome are durable.

use std::path::Path;
use std::time::Instant;

use crate::Pace;
use crate::client::Caller;
use crate::gateway::{Access, Site, Upstream};
use crate::latency::{Latencies, Quantiles};

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
    let site = Site::lay_out(binary, data, upstream, Access::Guarded)?;
    let begun = Instant::now();
    let gateway = site.start()?;
    Caller::connect(&gateway.target()).await?.list().await?;
    latencies.add(begun.elapsed());
    gateway.stop()
}
