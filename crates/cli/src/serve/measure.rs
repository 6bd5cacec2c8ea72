//! What the console shows of a running gateway: readiness and metrics. The names are in `docs/operate.md`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use console::{Check, Exposition, Kind, Source, Unit};
use export::Counts as Told;
use gateway::meter::{Counts, Meters};
use ledger::Seq;
use ledger::payload::Payload;
use recorder::{Distribution, RecordError, Recorder};
use store::{Index, Mode};

use super::reload::Reloads;
use super::waiting::Waiting;
use crate::clock;

/// The size of the log is measured no more often than this.
const SIZE_EVERY: Duration = Duration::from_secs(60);

/// And takes no more than this share of the time: it looks at every file.
const SIZE_SHARE: u32 = 100;

/// Clock ticks of `/proc/self/stat` in a second: a constant of Linux' interface on all machines that we run on.
const TICKS: f64 = 100.0;

/// How long who looks at a call waits for the index to have it, and how often it looks.
const INDEXED_WITHIN: Duration = Duration::from_secs(2);
const INDEX_PAUSE: Duration = Duration::from_millis(20);

/// Where the numbers come from.
#[derive(Debug)]
pub(super) struct Measures {
    data: PathBuf,
    recorder: Recorder,
    meters: Arc<Meters>,
    exports: Arc<export::Meters>,
    /// Records in the index; written by the follower.
    indexed: Arc<AtomicU64>,
    reloads: Arc<Reloads>,
    waiting: Waiting,
    draining: AtomicBool,
    started: f64,
    /// Locked while the log is measured, which one scrape does for all.
    size: Mutex<Option<Size>>,
}

/// A measurement of the log's size.
#[derive(Debug, Clone, Copy)]
struct Size {
    bytes: u64,
    next: Instant,
}

impl Measures {
    pub(super) fn new(
        data: PathBuf,
        recorder: Recorder,
        (meters, exports): (Arc<Meters>, Arc<export::Meters>),
        (indexed, reloads): (Arc<AtomicU64>, Arc<Reloads>),
        waiting: Waiting,
    ) -> Measures {
        let (draining, size) = (AtomicBool::new(false), Mutex::new(None));
        let started = clock::now().as_duration().as_secs_f64();
        Measures { data, recorder, meters, exports, indexed, reloads, waiting, draining, started, size }
    }

    /// The gateway takes no new connections from now on.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn log_bytes(&self) -> Option<u64> {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        if let Some(size) = size.filter(|size| begun < size.next) {
            return Some(size.bytes);
        }
        let bytes = recorder::log_bytes(&self.data).ok()?;
        let pause = begun.elapsed().saturating_mul(SIZE_SHARE).max(SIZE_EVERY);
        *size = Some(Size { bytes, next: Instant::now() + pause });
        Some(bytes)
    }

    fn calls(&self, out: &mut Exposition) {
        let counts = self.meters.counts();
        let help = "Ended calls by server, method of MCP and how they ended.";
        let mut family = out.family(Kind::Counter, "tollbook_calls_total", help);
        for Counts { server, calls, .. } in &counts {
            for (method, status, count) in calls {
                family.sample(&[("server", &**server), ("method", *method), ("status", *status)], count);
            }
        }
        let help = "Messages that were not forwarded, by server and reason.";
        let mut family = out.family(Kind::Counter, "tollbook_refusals_total", help);
        for Counts { server, refused, .. } in &counts {
            for (reason, count) in refused {
                family.sample(&[("server", &**server), ("reason", *reason)], count);
            }
        }
        let mut family = out.family(Kind::Gauge, "tollbook_calls_open", "Calls without an end.");
        for each in &counts {
            family.sample(&[("server", &*each.server)], each.open);
        }
        let help = "Time from a call's being recorded to its answer: what the server takes.";
        let mut family = out.family(Kind::Histogram, "tollbook_upstream_seconds", help);
        for each in &counts {
            let Distribution { bounds, cumulative, sum } = &each.upstream;
            family.histogram(&[("server", &*each.server)], (bounds, cumulative), *sum, Unit::Micros);
        }
    }

    fn ledger(&self, out: &mut Exposition) {
        let meters = self.recorder.meters();
        let help = "Time that recording adds to a call, by step: the intent before it is forwarded, the outcome before \
                    the answer.";
        let mut family = out.family(Kind::Histogram, "tollbook_record_seconds", help);
        for (step, histogram) in [("open", &meters.open), ("close", &meters.close)] {
            let Distribution { bounds, cumulative, sum } = histogram.distribution();
            family.histogram(&[("step", step)], (bounds, &cumulative), sum, Unit::Micros);
        }
        let sync = meters.sync.distribution();
        let mut family = out.family(Kind::Histogram, "tollbook_fdatasync_seconds", "Time of one fdatasync.");
        family.histogram(&[], (sync.bounds, &sync.cumulative), sync.sum, Unit::Micros);
        let batch = meters.batch.distribution();
        let mut family = out.family(Kind::Histogram, "tollbook_commit_records", "Records in one commit.");
        family.histogram(&[], (batch.bounds, &batch.cumulative), batch.sum, Unit::One);

        let health = self.recorder.health();
        let indexed = self.indexed.load(Ordering::Relaxed);
        let gauges = [
            ("tollbook_queue_records", "Records that wait for the disk.", count(health.queued)),
            ("tollbook_ledger_records", "Durable records.", health.committed),
            ("tollbook_checkpoint_records", "Records under the newest checkpoint.", health.published),
            (
                "tollbook_publisher_lag_records",
                "Durable records that no checkpoint covers yet.",
                health.committed.saturating_sub(health.published),
            ),
            (
                "tollbook_index_lag_records",
                "Records under the newest checkpoint that the index lacks.",
                health.published.saturating_sub(indexed),
            ),
        ];
        for (name, help, value) in gauges {
            out.single(Kind::Gauge, name, help, value);
        }
        if let Some(time) = meters.checkpoint_time() {
            let help = "When the newest checkpoint was signed.";
            out.single(Kind::Gauge, "tollbook_checkpoint_timestamp_seconds", help, time.as_secs_f64());
        }
    }

    fn disk(&self, out: &mut Exposition) {
        let space = self.recorder.space().ok();
        let sizes = [
            ("tollbook_disk_free_bytes", "Free space where the data folder is.", space.map(|s| s.free)),
            ("tollbook_disk_bytes", "Size of the disk where the data folder is.", space.map(|s| s.total)),
            (
                "tollbook_wal_bytes",
                "Size of the write-ahead log, prepared segments included.",
                recorder::wal_bytes(&self.data).ok(),
            ),
            (
                "tollbook_log_bytes",
                "Size of the published log and its payloads; measured once a minute or less often.",
                self.log_bytes(),
            ),
        ];
        for (name, help, value) in sizes {
            if let Some(value) = value {
                out.single(Kind::Gauge, name, help, value);
            }
        }
    }

    fn export(&self, out: &mut Exposition) {
        let Ok(all) = self.exports.counts() else { return };
        let now = clock::unix_seconds();
        let mut family = |kind, name, help, value: fn(&Told, u64) -> u64| {
            let mut family = out.family(kind, name, help);
            for told in &all {
                family.sample(&[("destination", &*told.name)], value(told, now));
            }
        };
        let name = "tollbook_export_delivered_total";
        family(Kind::Counter, name, "Notices that arrived.", |told, _| told.delivered);
        let name = "tollbook_export_failures_total";
        family(Kind::Counter, name, "Attempts to deliver a notice that failed.", |told, _| told.failed);
        let name = "tollbook_export_waiting";
        family(Kind::Gauge, name, "Notices that wait to be delivered.", |told, _| told.waiting);
        let name = "tollbook_export_dead";
        family(Kind::Gauge, name, "Notices that are not tried any more.", |told, _| told.dead);
        let (name, help) = ("tollbook_export_oldest_seconds", "Age of the oldest notice that waits, or 0.");
        let age = |told: &Told, now: u64| told.oldest.map_or(0, |since| now.saturating_sub(since));
        family(Kind::Gauge, name, help, age);
    }

    fn process(&self, out: &mut Exposition) {
        let version = env!("CARGO_PKG_VERSION");
        let mut family = out.family(Kind::Gauge, "tollbook_build_info", "Always 1; the version is a label.");
        family.sample(&[("version", version)], 1);
        let help = "Whether new calls are accepted, as /readyz has it.";
        let ready = self.checks().iter().all(|check| check.ok);
        out.single(Kind::Gauge, "tollbook_ready", help, u8::from(ready));
        let help = "How often the configuration was read again, by result.";
        let mut family = out.family(Kind::Counter, "tollbook_config_reloads_total", help);
        for (result, count) in [("applied", &self.reloads.applied), ("refused", &self.reloads.refused)] {
            family.sample(&[("result", result)], count.load(Ordering::Relaxed));
        }
        if let Some(seconds) = cpu_seconds() {
            let help = "Processor time of this process, user and system.";
            out.single(Kind::Counter, "process_cpu_seconds_total", help, seconds);
        }
        if let Some(bytes) = resident_bytes() {
            out.single(Kind::Gauge, "process_resident_memory_bytes", "Resident memory.", bytes);
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            out.single(Kind::Gauge, "process_open_fds", "Open file descriptors.", open.count());
        }
        if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
            out.single(Kind::Gauge, "process_max_fds", "Most open file descriptors.", most);
        }
        let help = "When this process started.";
        out.single(Kind::Gauge, "process_start_time_seconds", help, self.started);
    }
}

impl Source for Measures {
    fn checks(&self) -> Vec<Check> {
        let draining = match self.draining.load(Ordering::Relaxed) {
            true => Check::failed(
                "draining",
                "the gateway is shutting down".to_owned(),
                "send calls elsewhere, or start it again",
            ),
            false => Check::ok("draining"),
        };
        let mut checks = vec![draining, Check::ok("recorder"), Check::ok("space"), Check::ok("queue")];
        let failed = match self.recorder.admission() {
            Ok(()) => return checks,
            Err(error @ RecordError::NoSpace) => {
                Check::failed("space", error.to_string(), "free some space, or lower `[ledger] reserve_*`")
            }
            Err(error @ RecordError::Overloaded) => {
                Check::failed("queue", error.to_string(), "call less, or use a faster disk")
            }
            Err(RecordError::Failed(cause)) => Check::failed(
                "recorder",
                cause.to_string(),
                "free some space; if there is, look into the log",
            ),
            Err(error) => {
                Check::failed("recorder", error.to_string(), "look into the log and start it again")
            }
        };
        for check in &mut checks {
            if check.check == failed.check {
                check.clone_from(&failed);
            }
        }
        checks
    }

    fn payload(&self, seq: Seq) -> Result<Option<Payload>, String> {
        crate::read::index::payload(&self.data, seq)
    }

    fn index(&self, upto: Option<Seq>) -> Option<Index> {
        let begun = Instant::now();
        let is_behind = |seq: Seq| self.indexed.load(Ordering::Relaxed) <= seq.0;
        while upto.is_some_and(is_behind) && begun.elapsed() < INDEXED_WITHIN {
            std::thread::sleep(INDEX_PAUSE);
        }
        Index::open(&self.data, Mode::ReadOnly)
            .inspect_err(|error| tracing::warn!(%error, "the index cannot be read"))
            .ok()
    }

    fn measure(&self, out: &mut Exposition) {
        self.calls(out);
        self.ledger(out);
        self.disk(out);
        self.waiting.measure(out);
        self.export(out);
        self.process(out);
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Fields 14 and 15 of `/proc/self/stat` (proc(5)); the name before them may hold anything but ends at the last bracket.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some((user + system) / TICKS)
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_uses_time_and_memory() {
        assert!(super::cpu_seconds().is_some_and(|seconds| seconds >= 0.0));
        assert!(super::resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
