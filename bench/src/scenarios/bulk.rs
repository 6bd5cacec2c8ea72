//! Large results: how fast, and in how much memory.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;

use crate::client::{Caller, Target};
use crate::gateway::{Gateway, Upstream};
use crate::load::Measured;
use crate::results::Bulk;
use crate::scenarios::calls::side;
use crate::{Pace, message, process};

/// Compares for one size.
pub(crate) async fn compare(
    binary: &Path,
    folder: &Path,
    upstream: &Upstream,
    (bytes, callers, pace): (u64, usize, Pace),
) -> anyhow::Result<Bulk> {
    let data = folder.join(format!("bulk-{bytes}"));
    let gateway = Gateway::start(binary, &data, upstream).await?;
    // A size that takes long is called a few times in any case.
    let least = if pace == Pace::Full { 5 } else { 2 };
    let lasts = Duration::from_secs(if pace == Pace::Full { 5 } else { 1 });
    let load = Load { bytes, callers, least, lasts };
    let direct = calls(&upstream.target(), load).await?;
    process::reset_peak(gateway.pid())?;
    let through = calls(&gateway.target(), load).await?;
    let peak = process::peak(gateway.pid())?;
    gateway.stop()?;
    std::fs::remove_dir_all(&data)?;
    Ok(Bulk { bytes, callers, direct: side(direct), gateway: side(through), peak })
}

#[derive(Debug, Clone, Copy)]
struct Load {
    bytes: u64,
    callers: usize,
    least: u64,
    lasts: Duration,
}

async fn calls(target: &Target, load: Load) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let callers: Vec<_> =
        (0..load.callers).map(|number| tokio::spawn(call(target.clone(), load, number as u64))).collect();
    let mut measured = Measured::default();
    for caller in callers {
        measured.add(caller.await??);
    }
    measured.seconds = begun.elapsed().as_secs_f64();
    Ok(measured)
}

async fn call(target: Target, load: Load, number: u64) -> anyhow::Result<Measured> {
    let mut caller = Caller::connect(&target).await?;
    let mut measured = Measured::default();
    let begun = Instant::now();
    while measured.latencies.count() < load.least || begun.elapsed() < load.lasts {
        let id = (number << 32) + measured.latencies.count();
        let before = Instant::now();
        let body: Bytes = message::call(id, "bulk", &format!(r#""bytes":{}"#, load.bytes));
        ensure!(caller.call("bulk", body).await? > load.bytes, "the result is too short");
        measured.latencies.add(before.elapsed());
    }
    Ok(measured)
}
