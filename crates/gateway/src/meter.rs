//! Counts of calls and refusals, by server. Labels come from closed lists and from the configuration; a counter is found
//! once per run or per request line, and counting is one relaxed atomic.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use ledger::Status;
use mcp::method::METHODS;
use recorder::{Distribution, Histogram};

use crate::refusal::{REASONS, Reason};

/// Stands for all servers that `wrap` brings, whose names are their clients' choice, and for what is refused before it is
/// for any. No configured server can have it.
pub const WRAPPED: &str = "(wrapped)";

/// A method that is not among those of MCP.
const OTHER: &str = "other";

/// What a gateway counts from its start on.
#[derive(Debug)]
pub struct Meters {
    /// By configured name; a server that was removed keeps its counts. Locked for look-ups, once per run.
    servers: RwLock<BTreeMap<Arc<str>, Arc<ServerMeter>>>,
    wrapped: Arc<ServerMeter>,
}

/// What is counted of one server.
#[derive(Debug)]
pub(crate) struct ServerMeter {
    /// By method, then by status.
    calls: Box<[AtomicU64]>,
    refused: Box<[AtomicU64]>,
    open: AtomicI64,
    upstream: Histogram,
}

/// The counts of one server at a moment.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Its configured name, or [`WRAPPED`].
    pub server: Arc<str>,
    /// Ended calls: method, how they ended, number. Those that never were are left out.
    pub calls: Vec<(&'static str, &'static str, u64)>,
    /// Refused messages: reason, number. Likewise.
    pub refused: Vec<(&'static str, u64)>,
    /// Calls without an end.
    pub open: u64,
    /// Time from a call's being recorded to its answer, in microseconds.
    pub upstream: Distribution,
}

impl Meters {
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Meters {
        let meters = Meters { servers: RwLock::default(), wrapped: Arc::new(ServerMeter::new()) };
        meters.know(names);
        meters
    }

    /// Adds configured servers.
    pub(crate) fn know<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut servers = self.servers.write().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            servers.entry(Arc::from(name)).or_insert_with(|| Arc::new(ServerMeter::new()));
        }
    }

    /// Where calls of a server are counted.
    pub(crate) fn of(&self, server: &str) -> Arc<ServerMeter> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(servers.get(server).unwrap_or(&self.wrapped))
    }

    /// All counts so far, by server.
    pub fn counts(&self) -> Vec<Counts> {
        let servers = self.servers.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<Counts> = servers.iter().map(|(name, meter)| meter.counts(name)).collect();
        counts.push(self.wrapped.counts(&Arc::from(WRAPPED)));
        counts
    }
}

impl ServerMeter {
    fn new() -> ServerMeter {
        let zeros = |length: usize| (0..length).map(|_| AtomicU64::new(0)).collect();
        ServerMeter {
            calls: zeros((METHODS.len() + 1) * Status::ALL.len()),
            refused: zeros(REASONS.len()),
            open: AtomicI64::new(0),
            upstream: Histogram::of_times(),
        }
    }

    /// Counts a message that does not go on.
    pub(crate) fn refuse(&self, reason: &Reason) {
        let at = REASONS.iter().position(|label| *label == reason.label());
        if let Some(count) = at.and_then(|at| self.refused.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self, server: &Arc<str>) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let methods = METHODS.iter().map(|method| method.name).chain([OTHER]);
        let names =
            methods.flat_map(|method| Status::ALL.iter().map(move |status| (method, status.as_str())));
        let calls = names.zip(&self.calls).map(|((method, status), count)| (method, status, load(count)));
        let refused = REASONS.iter().zip(&self.refused).map(|(reason, count)| (*reason, load(count)));
        Counts {
            server: Arc::clone(server),
            calls: calls.filter(|(_, _, count)| *count > 0).collect(),
            refused: refused.filter(|(_, count)| *count > 0).collect(),
            open: u64::try_from(self.open.load(Ordering::Relaxed)).unwrap_or_default(),
            upstream: self.upstream.distribution(),
        }
    }
}

/// A call that is being counted: in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct Tally {
    meter: Arc<ServerMeter>,
    /// Place of the method's counts.
    method: usize,
    begun: Instant,
    /// Unless told otherwise nobody saw the end.
    end: Status,
}

impl Tally {
    pub(crate) fn begin(meter: &Arc<ServerMeter>, method: &str) -> Tally {
        let method = METHODS.iter().position(|known| known.name == method).unwrap_or(METHODS.len());
        meter.open.fetch_add(1, Ordering::Relaxed);
        Tally { meter: Arc::clone(meter), method, begun: Instant::now(), end: Status::Unknown }
    }

    /// The call has ended so; its outcome is yet to be recorded.
    pub(crate) fn answered(&mut self, status: Status) {
        self.end = status;
        self.meter.upstream.count_time(self.begun.elapsed());
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let status = Status::ALL.iter().position(|status| *status == self.end).unwrap_or_default();
        if let Some(count) = self.meter.calls.get(self.method * Status::ALL.len() + status) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.meter.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use ledger::Status;

    use super::{Meters, Tally, WRAPPED};
    use crate::refusal::Reason;

    #[test]
    fn calls_are_counted_by_server_method_and_end() {
        let meters = Meters::new(["files"].into_iter());
        let mut answered = Tally::begin(&meters.of("files"), "tools/call");
        answered.answered(Status::ToolError);
        drop(answered);
        drop(Tally::begin(&meters.of("files"), "no/such-method"));
        let open = Tally::begin(&meters.of("chosen-by-a-client"), "ping");
        meters.of("files").refuse(&Reason::Batch);

        let counts = meters.counts();
        let shown: Vec<_> =
            counts.iter().map(|each| (&*each.server, each.open, each.calls.clone())).collect();
        let ended = vec![("tools/call", "tool_error", 1), ("other", "unknown", 1)];
        assert_eq!(shown, [("files", 0, ended), (WRAPPED, 1, vec![])]);
        assert_eq!(counts[0].refused, [("batch", 1)]);
        assert_eq!(counts[0].upstream.cumulative.last(), Some(&1));
        drop(open);
    }

    #[test]
    fn a_server_that_comes_back_goes_on_counting() {
        let meters = Meters::new(["files"].into_iter());
        drop(Tally::begin(&meters.of("files"), "ping"));
        meters.know(["files", "other"].into_iter());
        let counts = meters.counts();
        assert_eq!(counts.iter().map(|each| &*each.server).collect::<Vec<_>>(), ["files", "other", WRAPPED]);
        assert_eq!(counts[0].calls, [("ping", "unknown", 1)]);
    }
}
