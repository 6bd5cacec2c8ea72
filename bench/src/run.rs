//! A run, from the first measurement to the report.

use anyhow::Context as _;

use crate::gateway::{Gateway, Upstream};
use crate::results::{Machine, Results};
use crate::scenarios::{bulk, calls, ledger, million, start, streams};
use crate::{Arguments, Pace, process, report, say};

/// Measures everything, one after the other: nothing else of ours runs meanwhile.
pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = arguments.folder.join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let measured = measure(arguments, &folder).await;
    std::fs::remove_dir_all(&folder)?;
    let results = measured?;
    report::write(&results, arguments)?;
    Ok(())
}

async fn measure(arguments: &Arguments, folder: &std::path::Path) -> anyhow::Result<Results> {
    let (pace, binary) = (arguments.pace, arguments.binary.as_path());
    let mut results = Results { machine: machine(arguments)?, ..Results::default() };
    let upstream = Upstream::start()?;

    say("cold start");
    results.start.empty_folder = start::fresh(binary, folder, &upstream, pace).await?;

    let data = folder.join("echo");
    let gateway = Gateway::start(binary, &data, &upstream).await?;
    results.memory.idle = calls::first(&gateway).await?;
    // The list and the first call.
    let mut made = 2;
    for callers in [1, 16, 64] {
        say(&format!("{callers} callers"));
        let (measured, count) = calls::compare(&gateway, &upstream, callers, pace).await?;
        results.calls.push(measured);
        made += count;
    }
    results.memory.peak_under_load = process::peak(gateway.pid())?;
    results.memory.after_load = process::resident(gateway.pid())?;
    say("index lag");
    let (lag, count) = calls::index_lag(&gateway, pace).await?;
    results.index_lag = lag;
    gateway.stop()?;

    say("ledger: size, verification, index, search");
    results.ledger = ledger::examine(binary, &data, made + count)?;
    results.start.used_folder = start::again(binary, &data, &upstream, pace).await?;
    std::fs::remove_dir_all(&data)?;

    for (bytes, callers) in [(1 << 20, 4), (100 << 20, 1)] {
        say(&format!("results of {} MiB", bytes >> 20));
        results.bulk.push(bulk::compare(binary, folder, &upstream, (bytes, callers, pace)).await?);
    }
    say("event streams");
    results.streams = streams::compare(binary, folder, &upstream, pace).await?;
    if arguments.million {
        say("a million calls");
        results.million = Some(million::examine(binary, folder).await?);
    }
    Ok(results)
}

fn machine(arguments: &Arguments) -> anyhow::Result<Machine> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().and_then(|load| load.parse().ok());
    Ok(Machine {
        processors: std::thread::available_parallelism()?.get(),
        model: model.unwrap_or("unknown").to_owned(),
        load_average: load.unwrap_or(0.0),
        binary_bytes: std::fs::metadata(&arguments.binary).context("no binary")?.len(),
        quick: arguments.pace == Pace::Quick,
    })
}
