//! Random histories, with crashes, against a reference in memory: what must be in the log is there once.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::{CallId, Kind, RunId, Seq};
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};
use proptest::test_runner::Config;
use recorder::{Opened, RunStart};

use crate::support::{
    Running, account, allow, count, deny, fields, new_call, new_run, noise, note, outcome, run, settings,
    verified,
};

#[derive(Debug, Clone, Copy)]
enum Step {
    Begin,
    Open(usize),
    Note(usize),
    Close(usize, usize),
    Forget(usize),
    Pass(usize),
    Refuse(usize),
    End(usize),
    Crash,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let any = || 0..4_usize;
    prop_oneof![
        3 => Just(Step::Begin),
        8 => any().prop_map(Step::Open),
        3 => any().prop_map(Step::Note),
        6 => (any(), prop_oneof![Just(10), Just(3000), Just(40_000)]).prop_map(|(at, size)| Step::Close(at, size)),
        1 => any().prop_map(Step::Forget),
        2 => any().prop_map(Step::Pass),
        2 => any().prop_map(Step::Refuse),
        1 => any().prop_map(Step::End),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

/// What must be in the log.
#[derive(Default)]
struct Reference {
    /// Acknowledged records, in order.
    told: Vec<(Kind, RunId, Option<CallId>)>,
    /// How each acknowledged intent must end.
    ends: BTreeMap<CallId, Kind>,
    runs: Vec<RunId>,
    starts: usize,
    /// Notes are not waited for, so a crash may take them.
    notes: usize,
}

struct World {
    gateway: Running,
    /// Runs that take new calls, and open calls.
    runs: Vec<RunId>,
    calls: Vec<(RunId, Opened)>,
}

fn pick<T>(items: &[T], at: usize) -> Option<usize> {
    (!items.is_empty()).then(|| at % items.len())
}

impl World {
    async fn step(&mut self, step: Step, reference: &mut Reference) {
        let (recorder, clerk) = (self.gateway.recorder.clone(), Arc::clone(&self.gateway.clerk));
        match step {
            Step::Begin => {
                let run = new_run();
                let start = RunStart { run, subject: Arc::from("anna"), fields: fields("initialize") };
                recorder.begin_run(start).await.unwrap();
                self.runs.push(run);
                reference.runs.push(run);
                reference.told.push((Kind::SessionOpen, run, None));
            }
            Step::Open(at) => {
                let Some(run) = pick(&self.runs, at).map(|at| self.runs[at]) else { return };
                let call = new_call();
                let cleared = clerk.clear(allow(), account(run, call, noise(at * 500))).unwrap();
                let opened = recorder.open(cleared).await.unwrap();
                self.calls.push((run, opened));
                reference.told.push((Kind::Intent, run, Some(call)));
                reference.ends.insert(call, Kind::OutcomeUnknown);
            }
            Step::Note(at) => {
                let Some(at) = pick(&self.calls, at) else { return };
                recorder.note(&self.calls[at].1, note("{}")).await.unwrap();
                reference.notes += 1;
            }
            Step::Close(at, size) => {
                let Some(at) = pick(&self.calls, at) else { return };
                let (run, opened) = self.calls.remove(at);
                let call = opened.call();
                recorder.close(opened, outcome(noise(size))).await.unwrap();
                reference.told.push((Kind::Outcome, run, Some(call)));
                reference.ends.insert(call, Kind::Outcome);
            }
            Step::Forget(at) => {
                let Some(at) = pick(&self.calls, at) else { return };
                drop(self.calls.remove(at));
            }
            Step::Pass(at) => {
                let Some(run) = pick(&self.runs, at).map(|at| self.runs[at]) else { return };
                let call = new_call();
                recorder.pass(clerk.clear(allow(), account(run, call, "{}")).unwrap()).await.unwrap();
                reference.told.push((Kind::Note, run, Some(call)));
            }
            Step::Refuse(at) => {
                let Some(run) = pick(&self.runs, at).map(|at| self.runs[at]) else { return };
                let call = new_call();
                recorder.refuse(clerk.refuse(deny(), account(run, call, "{}"))).await.unwrap();
                reference.told.push((Kind::Refused, run, Some(call)));
            }
            Step::End(at) => {
                let Some(at) = pick(&self.runs, at) else { return };
                recorder.end_run(self.runs.remove(at), "closed-by-client").await.unwrap();
            }
            Step::Crash | Step::Restart => {}
        }
    }
}

/// Whether `expected` stands in `found`, in order.
fn is_subsequence<T: PartialEq>(expected: &[T], found: &[T]) -> bool {
    let mut found = found.iter();
    expected.iter().all(|wanted| found.any(|item| item == wanted))
}

async fn check(steps: &[Step]) {
    let dir = tempfile::tempdir().unwrap();
    let mut reference = Reference { starts: 1, ..Reference::default() };
    let mut world = World { gateway: run(settings(dir.path())), runs: Vec::new(), calls: Vec::new() };
    for step in steps {
        match step {
            Step::Crash => world.gateway.shutdown.abandon(),
            Step::Restart => world.gateway.shutdown.finish().unwrap(),
            step => {
                world.step(*step, &mut reference).await;
                continue;
            }
        }
        world = World { gateway: run(settings(dir.path())), runs: Vec::new(), calls: Vec::new() };
        reference.starts += 1;
    }
    world.gateway.shutdown.finish().unwrap();

    let told = verified(dir.path());
    let found: Vec<_> =
        told.iter().filter_map(|(_, leaf)| Some((leaf.kind, leaf.link?.run, leaf.call))).collect();
    assert!(is_subsequence(&reference.told, &found), "{:?}\n{found:?}", reference.told);
    let ends: BTreeMap<_, _> = told
        .iter()
        .filter(|(_, leaf)| matches!(leaf.kind, Kind::Outcome | Kind::OutcomeUnknown))
        .map(|(_, leaf)| (leaf.call.unwrap(), leaf.kind))
        .collect();
    assert_eq!(ends, reference.ends);
    let acknowledged = |kind| reference.told.iter().filter(|(told, ..)| *told == kind).count();
    for kind in [Kind::Intent, Kind::Outcome, Kind::Refused, Kind::SessionOpen] {
        assert_eq!(count(&told, kind), acknowledged(kind), "{kind:?}");
    }
    assert!(count(&told, Kind::Note) <= acknowledged(Kind::Note) + reference.notes);
    assert_eq!(count(&told, Kind::SessionClose), reference.runs.len());
    assert_eq!(count(&told, Kind::Start), reference.starts);
    assert!(count(&told, Kind::KeyCreated) <= 1);
    assert!(told.iter().map(|(seq, _)| *seq).eq((0..told.len() as u64).map(Seq)));
}

proptest! {
    #![proptest_config(Config { cases: 24, max_shrink_iters: 200, failure_persistence: None, ..Config::default() })]
    #[test]
    fn every_history_is_told_truly(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&steps));
    }
}
