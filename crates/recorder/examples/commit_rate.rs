//! Prints what the disk can do and what the recorder makes of it: `cargo run --release --example commit_rate [FOLDER]`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ledger::payload::{Fields, Spans};
use ledger::{RunId, Status, Verdict};
use recorder::{Account, Clerk, Decision, Outcome, RecordError, Recorder, RunStart, Settings, start};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const LASTS: Duration = Duration::from_secs(4);

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let dir = folder.join(format!("commit-rate-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let mut out = io::stdout().lock();
    let rate = disk_rate(&dir)?;
    writeln!(out, "disk: {rate:.0} fdatasync/s (4 KiB, preallocated)")?;
    writeln!(out, "tasks   calls/s   p50 ms   p99 ms   cpu us/call")?;
    for tasks in [1, 16, 64] {
        let measured = calls(&dir.join(tasks.to_string()), tasks)?;
        let Measured { rate, p50, p99, cpu } = measured;
        writeln!(out, "{tasks:>5} {rate:>9.0} {p50:>8.3} {p99:>8.3} {cpu:>13.0}")?;
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// How often the disk makes 4 KiB durable in a file whose blocks are there.
fn disk_rate(dir: &Path) -> Result<f64, Failure> {
    let file = File::create(dir.join("probe"))?;
    file.write_all_at(&vec![0; 16 << 20], 0)?;
    file.sync_all()?;
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < Duration::from_secs(2) {
        file.write_all_at(&[1; 4096], u64::from(count % 4096) * 4096)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

/// Calls of 1 KiB each way, opened and closed, by so many tasks at once.
fn calls(dir: &Path, tasks: usize) -> Result<Measured, Failure> {
    let started = start(Settings::at(dir))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (recorder, clerk) = (started.recorder, Arc::new(started.clerk));
    let cpu = cpu_micros();
    let begun = Instant::now();
    let mut times = runtime.block_on(async {
        let run = RunId::new([7; 16]);
        let subject: Arc<str> = Arc::from("anna");
        recorder.begin_run(RunStart { run, subject: Arc::clone(&subject), fields: Fields::new() }).await?;
        let working: Vec<_> = (0..tasks)
            .map(|_| tokio::spawn(work(recorder.clone(), Arc::clone(&clerk), run, Arc::clone(&subject))))
            .collect();
        let mut times = Vec::new();
        for task in working {
            times.extend(task.await??);
        }
        Ok::<_, Failure>(times)
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu_micros() - cpu;
    started.shutdown.finish()?;
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(0.0, Duration::as_secs_f64) * 1000.0;
    let count = u32::try_from(times.len())?;
    let rate = f64::from(count) / seconds;
    Ok(Measured { rate, p50: at(50), p99: at(99), cpu: cpu / f64::from(count) })
}

async fn work(
    recorder: Recorder,
    clerk: Arc<Clerk>,
    run: RunId,
    subject: Arc<str>,
) -> Result<Vec<Duration>, RecordError> {
    let body = Bytes::from(text());
    let fields: Fields = [("server", "\"files\""), ("method", "\"tools/call\""), ("name", "\"read_file\"")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < LASTS {
        let call = Instant::now();
        let decision = Decision { verdict: Verdict::Allow, policy: None, reason: None };
        let account = Account {
            run,
            call: None,
            round: 0,
            parent: None,
            subject: Arc::clone(&subject),
            fields: fields.clone(),
            body: body.clone().into(),
            spans: Spans::new(),
        };
        let Ok(cleared) = clerk.clear(decision, account) else { break };
        let opened = recorder.open(cleared).await?;
        let outcome = Outcome {
            status: Status::Ok,
            fields: Fields::new(),
            body: body.clone().into(),
            spans: Spans::new(),
        };
        recorder.close(opened, outcome).await?;
        times.push(call.elapsed());
    }
    Ok(times)
}

/// A kibibyte of JSON that compresses as such text does.
fn text() -> String {
    let mut text = String::from(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":["#);
    let mut number = 12_345_u32;
    while text.len() < 1020 {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!("{number},"));
    }
    text.push_str("0]}}");
    text
}

/// Processor time of this process so far.
fn cpu_micros() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).filter_map(|tick| tick.parse::<f64>().ok()).sum();
    // Linux counts in hundredths of a second.
    ticks * 10_000.0
}
