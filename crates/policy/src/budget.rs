//! Counters of limits: what each run has used, and whether it may go on.
//!
//! A call takes from all its limits or from none, under one lock: never more calls than a limit allows, and never more at
//! once, however many ask together. Bytes are known when a result is: the call that spends the rest still gets it. Windows slide
//! in steps of a fiftieth and err on the strict side. The number of counters is bounded; beyond it nothing is allowed
//! that a limit would count.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limit::{Limit, Limited, Most, Within};

/// Steps of a window.
const STEPS: u64 = 50;

/// What runs have used.
#[derive(Debug)]
pub struct Budgets {
    most: usize,
    /// Locked for one look and change.
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    runs: HashMap<String, Run>,
    counters: usize,
    /// The latest moment that was seen: a clock that steps back gives nothing back.
    now_ms: u64,
}

#[derive(Debug, Default)]
struct Run {
    /// By policy and limit, and thing where things are counted apart.
    counters: HashMap<String, Counter>,
    until_ms: u64,
    /// Whether it outlives this process, and has changed since it was last kept.
    is_kept: bool,
    is_new: bool,
}

#[derive(Debug, Clone)]
struct Counter {
    /// What its steps are parts of.
    within: Within,
    /// What was used, by step; a budget of the run has one step.
    steps: VecDeque<(u64, u64)>,
    open: u64,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// What names the run.
    pub run: &'a str,
    /// When its counters are of no use any more, in milliseconds since the Unix epoch; `None`: when it is said to have ended.
    /// Only those with an end outlive the process.
    pub until_ms: Option<u64>,
    /// Now.
    pub now_ms: u64,
}

/// What a call has taken, to be given back when it ends.
#[derive(Debug)]
pub struct Taken {
    run: String,
    counters: Vec<(String, Most, u64)>,
}

/// What a call takes of one counter.
struct Share<'a> {
    key: String,
    limited: &'a Limited,
    /// How often: a call may want several things at once.
    times: u64,
}

impl Share<'_> {
    /// What these limits come to, each counter once.
    fn all(limits: &[Limited]) -> Vec<Share<'_>> {
        let mut shares: Vec<Share<'_>> = Vec::with_capacity(limits.len());
        let mut places: HashMap<String, usize> = HashMap::new();
        for limited in limits {
            let key = key(limited);
            match places.get(&key).and_then(|place| shares.get_mut(*place)) {
                Some(share) => share.times += 1,
                None => {
                    places.insert(key.clone(), shares.len());
                    shares.push(Share { key, limited, times: 1 });
                }
            }
        }
        shares
    }

    fn spent(&self, again: Again) -> Spent {
        Spent { policy: self.limited.policy.clone(), limit: self.limited.limit, again }
    }
}

/// A limit is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The policy that has the limit.
    pub policy: String,
    limit: Limit,
    again: Again,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Again {
    WhenOneEnds,
    In(u64),
    /// It asks for more at once than there ever is.
    TooMany,
    Never,
    /// There is no room to count.
    NoRoom,
}

/// The counters of a run, to be kept beyond this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What names the run.
    pub run: String,
    /// As in [`Asking`].
    pub until_ms: u64,
    /// By policy and limit: steps and amounts.
    pub counters: Vec<(String, Vec<(u64, u64)>)>,
}

impl Budgets {
    /// With room for so many counters.
    pub fn with_room(most: usize) -> Budgets {
        Budgets { most, used: Mutex::default() }
    }

    /// Takes what a call needs from all its limits, or nothing.
    ///
    /// # Errors
    /// [`Spent`]: the limit that lasts longest of those that are reached.
    pub fn take(&self, asking: &Asking<'_>, limits: &[Limited]) -> Result<Taken, Spent> {
        let mut used = self.used();
        used.now_ms = used.now_ms.max(asking.now_ms);
        let (now, room) = (used.now_ms, self.most);
        let shares = Share::all(limits);
        if used.new_counters(asking.run, &shares) + used.counters > room {
            used.sweep();
        }
        if used.new_counters(asking.run, &shares) + used.counters > room
            && let Some(share) = shares.first()
        {
            return Err(share.spent(Again::NoRoom));
        }
        let run = used.runs.entry(asking.run.to_owned()).or_default();
        let before = run.counters.len();
        let reached = shares.iter().filter_map(|share| {
            let counter = run.counters.entry(share.key.clone()).or_insert_with(Counter::new);
            let again = counter.again(share, now)?;
            Some(share.spent(again))
        });
        let reached = reached.max_by_key(|spent| spent.again);
        if reached.is_none() {
            for share in &shares {
                run.counters.entry(share.key.clone()).or_insert_with(Counter::new).take(share, now);
            }
            run.is_new = true;
        }
        run.is_kept |= asking.until_ms.is_some();
        run.until_ms = run.until_ms.max(asking.until_ms.unwrap_or_default());
        let added = run.counters.len() - before;
        used.counters += added;
        match reached {
            Some(spent) => Err(spent),
            None => Ok(Taken {
                run: asking.run.to_owned(),
                counters: shares
                    .into_iter()
                    .map(|share| (share.key, share.limited.limit.most, share.times))
                    .collect(),
            }),
        }
    }

    /// A call has ended, with a result of so many bytes.
    pub fn ended(&self, taken: &Taken, bytes: u64) {
        let mut used = self.used();
        let now = used.now_ms;
        let Some(run) = used.runs.get_mut(&taken.run) else { return };
        for (key, most, times) in &taken.counters {
            let Some(counter) = run.counters.get_mut(key) else { continue };
            match most {
                Most::AtOnce(_) => counter.open = counter.open.saturating_sub(*times),
                Most::Bytes(_, within) => counter.add(*within, bytes, now),
                Most::Calls(..) => {}
            }
        }
        run.is_new = true;
    }

    /// A run has ended.
    pub fn forget(&self, run: &str) {
        let mut used = self.used();
        if let Some(run) = used.runs.remove(run) {
            used.counters -= run.counters.len();
        }
    }

    /// Brings back what was kept, at the start.
    pub fn restore(&self, kept: Vec<Kept>) {
        let mut used = self.used();
        for Kept { run, until_ms, counters } in kept {
            let counters = counters.into_iter();
            let counter = |steps: Vec<(u64, u64)>| Counter { steps: steps.into(), ..Counter::new() };
            let counters: HashMap<String, Counter> =
                counters.map(|(key, steps)| (key, counter(steps))).collect();
            let added = counters.len();
            // What is counted already is newer.
            if let Entry::Vacant(place) = used.runs.entry(run) {
                place.insert(Run { counters, until_ms, is_kept: true, is_new: false });
                used.counters += added;
            }
        }
    }

    /// What has changed since this was last asked, of runs that outlive this process.
    pub fn changed(&self) -> Vec<Kept> {
        let mut used = self.used();
        let changed = used.runs.iter_mut().filter(|(_, run)| run.is_kept && run.is_new);
        let kept = changed.map(|(name, run)| {
            run.is_new = false;
            let steps = |counter: &Counter| counter.steps.iter().copied().collect();
            let counters = run.counters.iter().map(|(key, counter)| (key.clone(), steps(counter)));
            Kept { run: name.clone(), until_ms: run.until_ms, counters: counters.collect() }
        });
        kept.collect()
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        // No panic can happen between the changes made under this lock.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn new_counters(&self, run: &str, shares: &[Share<'_>]) -> usize {
        let known = self.runs.get(run);
        let is_new = |share: &&Share<'_>| known.is_none_or(|run| !run.counters.contains_key(&share.key));
        shares.iter().filter(is_new).count()
    }

    /// Forgets runs whose time is over, and counters that say nothing.
    fn sweep(&mut self) {
        let now = self.now_ms;
        self.runs
            .retain(|_, run| !run.is_kept || run.until_ms > now || run.counters.values().any(|c| c.open > 0));
        for run in self.runs.values_mut() {
            run.counters.values_mut().for_each(|counter| counter.pass(counter.within, now));
            run.counters.retain(|_, counter| counter.open > 0 || !counter.steps.is_empty());
        }
        self.runs.retain(|_, run| !run.counters.is_empty());
        self.counters = self.runs.values().map(|run| run.counters.len()).sum();
    }
}

impl Counter {
    fn new() -> Counter {
        Counter { within: Within::Run, steps: VecDeque::new(), open: 0 }
    }

    /// When a share may be taken, if not now.
    fn again(&mut self, share: &Share<'_>, now: u64) -> Option<Again> {
        let (most, within, times) = match share.limited.limit.most {
            Most::AtOnce(most) if share.times > most => return Some(Again::TooMany),
            Most::AtOnce(most) => {
                return (self.open.saturating_add(share.times) > most).then_some(Again::WhenOneEnds);
            }
            Most::Calls(most, _) if share.times > most => return Some(Again::TooMany),
            Most::Calls(most, within) => (most, within, share.times),
            // What was not asked for yet has no bytes: there must be some left.
            Most::Bytes(most, within) => (most, within, 1),
        };
        self.pass(within, now);
        let mut left: u64 = self.steps.iter().fold(0, |sum, (_, amount)| sum.saturating_add(*amount));
        if left.saturating_add(times) <= most {
            return None;
        }
        let Within::Window(window) = within else { return Some(Again::Never) };
        for (step, amount) in &self.steps {
            left = left.saturating_sub(*amount);
            if left.saturating_add(times) <= most {
                return Some(Again::In(end_of(*step, window).saturating_sub(now)));
            }
        }
        Some(Again::Never)
    }

    fn take(&mut self, share: &Share<'_>, now: u64) {
        match share.limited.limit.most {
            Most::AtOnce(_) => self.open = self.open.saturating_add(share.times),
            Most::Calls(_, within) => self.add(within, share.times, now),
            Most::Bytes(..) => {}
        }
    }

    fn add(&mut self, within: Within, amount: u64, now: u64) {
        let step = match within {
            Within::Window(window) => now / (window / STEPS),
            Within::Run => 0,
        };
        self.pass(within, now);
        match self.steps.back_mut().filter(|(last, _)| *last >= step) {
            Some((_, so_far)) => *so_far = so_far.saturating_add(amount),
            None => self.steps.push_back((step, amount)),
        }
    }

    /// Drops the steps of which nothing is in the window any more.
    fn pass(&mut self, within: Within, now: u64) {
        self.within = within;
        let Within::Window(window) = within else { return };
        while self.steps.front().is_some_and(|(step, _)| end_of(*step, window) <= now) {
            self.steps.pop_front();
        }
    }
}

/// When the last moment of a step leaves the window.
fn end_of(step: u64, window: u64) -> u64 {
    step.saturating_add(1).saturating_mul(window / STEPS).saturating_add(window)
}

fn key(limited: &Limited) -> String {
    let Limited { policy, limit, thing } = limited;
    if limit.per_tool { format!("{policy}\n{limit}\n{thing}") } else { format!("{policy}\n{limit}") }
}

impl fmt::Display for Spent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spent { limit, .. } = self;
        match self.again {
            Again::WhenOneEnds => {
                write!(formatter, "the limit of {limit} is reached; come again when a call has ended")
            }
            Again::In(ms) => {
                let seconds = ms.div_ceil(1000).max(1);
                write!(formatter, "the limit of {limit} is reached; come again in {seconds} seconds")
            }
            Again::TooMany => {
                write!(formatter, "it asks for more at once than the limit of {limit} allows; ask for less")
            }
            Again::Never => {
                write!(formatter, "the limit of {limit} is reached, and nothing is left for this run")
            }
            Again::NoRoom => {
                write!(formatter, "more runs are counted than there is room for; come again in a minute")
            }
        }
    }
}
