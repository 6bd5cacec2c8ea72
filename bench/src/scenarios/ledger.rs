//! What is done with a ledger when its gateway is not running: its size, verification, a new index, searches.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use store::{Index, Mode, Order, Page, Query};

use crate::results::{BytesPerCall, Ledger};
use crate::{disk, process};

/// Queries that find nothing, so that all rows are looked at, and some that find much.
const QUERIES: [&str; 17] = [
    "",
    "server:bench",
    "server:rare",
    "tool:rare",
    "principal:rare",
    "agent:rare",
    "status:tool_error",
    "status:timeout",
    "args.text:rare",
    "args.text:absent",
    "args.none:1",
    "rarely",
    "\"invoice rare\"",
    "invoice",
    "call:call_ffff",
    "duration>1h",
    "-server:bench -server:files -server:mail -server:git -server:crm -server:erp -server:tickets -server:wiki",
];

/// Examines a ledger of so many calls.
pub(crate) fn examine(binary: &Path, data: &Path, calls: u64) -> anyhow::Result<Ledger> {
    let each = calls as f64;
    let bytes = bytes_per_call(data, each)?;
    let (verify_seconds, verify_cpu) = command(binary, data, &["verify"])?;
    let (rebuild_seconds, _) = command(binary, data, &["index", "rebuild"])?;
    Ok(Ledger {
        calls,
        bytes,
        verify_per_cpu_second: each / verify_cpu,
        verify_per_second: each / verify_seconds,
        rebuild_per_second: each / rebuild_seconds,
        search_ms: searches(data)?,
    })
}

fn bytes_per_call(data: &Path, calls: f64) -> anyhow::Result<BytesPerCall> {
    let log = data.join("log");
    let used = |path: &Path| disk::used(path).map(|bytes| bytes as f64 / calls);
    let leaves = used(&log.join("tile/entries"))?;
    Ok(BytesPerCall {
        leaves,
        hashes: used(&log.join("tile"))? - leaves,
        payloads: used(&log.join("pack"))?,
        checkpoints: used(&log.join("checkpoints"))?,
        index: used(&data.join("index"))?,
    })
}

/// Runs a command of the binary; its seconds, and those of its processor time.
fn command(binary: &Path, data: &Path, arguments: &[&str]) -> anyhow::Result<(f64, f64)> {
    let before = process::children_seconds()?;
    let begun = Instant::now();
    let status = Command::new(binary)
        .arg("--data")
        .arg(data)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .context("the binary cannot be run")?;
    ensure!(status.success(), "`tollbook {}` failed", arguments.join(" "));
    Ok((begun.elapsed().as_secs_f64(), process::children_seconds()? - before))
}

/// Milliseconds to the first page, opening the index included: the median of three.
fn searches(data: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    let limit = NonZeroU32::new(50).unwrap_or(NonZeroU32::MIN);
    let now = Timestamp::from_microsecond(i64::try_from(crate::clock::micros())?)?;
    let mut found = BTreeMap::new();
    for text in QUERIES {
        let query = Query::parse(text, now).map_err(|error| anyhow::anyhow!("`{text}`: {error}"))?;
        let mut times = Vec::new();
        for _ in 0..3 {
            let begun = Instant::now();
            let index = Index::open(data, Mode::ReadOnly)?;
            index.search(&query, &Page { order: Order::Newest, limit, after: None })?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        let name = if text.is_empty() { "(all)" } else { text };
        found.insert(name.to_owned(), times.get(1).copied().unwrap_or(0.0));
    }
    Ok(found)
}
