//! Histories of held calls that wait as tasks, against a model: a call is begun once, what has ended stays as it is, and nobody
//! but its owner learns that there is one.

use ledger::Hash;
use proptest::prelude::*;
use store::state::{
    Bounds, HoldKey, HoldStatus, HoldTask, Need, NewHold, State, TaskOwner, TaskStanding, Turn,
};

use crate::holds::{approve, approve_for_run};

/// Seconds for which what came of a task is kept at least.
const KEPT: u64 = 3_600;

#[derive(Debug, Clone, Copy)]
enum Goes {
    Begins,
    Waits,
    Asks,
    Ends,
    Cancelled,
}

#[derive(Debug, Clone)]
enum Step {
    Add(u64),
    Goes(prop::sample::Index, Goes),
    Wait(u64),
    Forget,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let goes = prop::sample::select(vec![
        Goes::Begins,
        Goes::Begins,
        Goes::Waits,
        Goes::Asks,
        Goes::Ends,
        Goes::Cancelled,
    ]);
    let step = prop_oneof![
        2 => (1..5_000_u64).prop_map(Step::Add),
        8 => (any::<prop::sample::Index>(), goes).prop_map(|(at, goes)| Step::Goes(at, goes)),
        1 => (1..3_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Forget),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..50)
}

pub(crate) fn owner() -> TaskOwner {
    TaskOwner { principal: "user:rob".to_owned(), run: "run_0".to_owned(), server: "bank".to_owned() }
}

pub(crate) fn made(hold: &str, now: u64, lasts: u64) -> HoldTask {
    HoldTask {
        hold: hold.to_owned(),
        owner: owner(),
        standing: TaskStanding::Waits,
        call: b"sealed".to_vec(),
        said: None,
        made: now,
        turned: now,
        until: now + lasts,
    }
}

/// Begins what nobody has asked for yet.
const BEGINS: Turn<'static> = Turn::Begins { standing: TaskStanding::Waits, said: None };

/// For how long one is kept that waits again.
const AGAIN: u64 = 5_000;

/// Enters a hold.
fn hold(state: &State, id: &str, now: u64) {
    let key = HoldKey {
        principal: "user:rob".to_owned(),
        run: "run_0".to_owned(),
        server: "bank".to_owned(),
        method: "tools/call".to_owned(),
        name: "transfer".to_owned(),
        digest: Hash::of(id.as_bytes()),
    };
    let call = NewHold {
        id: id.to_owned(),
        key,
        needs: vec![Need { group: "oncall".to_owned(), count: 1 }],
        pin: None,
        requesters: Vec::new(),
        agent: None,
        purpose: None,
        reason: None,
        policies: Vec::new(),
        deadline: u64::MAX / 4,
    };
    let bounds = Bounds { pending_of_run: 1_000, ..Bounds::default() };
    state.seek(&call, (|_| None, || true), &bounds, now).unwrap();
}

/// What the model says that a step makes of a task, and whether it may.
fn next(known: &HoldTask, goes: Goes, now: u64) -> Option<HoldTask> {
    use TaskStanding::{Asks, Cancelled, Done, Runs, Waits};
    let (standing, said) = match (goes, known.standing) {
        (Goes::Begins, Waits | Asks) => (Runs, None),
        (Goes::Waits, Runs) => (Waits, None),
        (Goes::Asks, Runs) => (Asks, Some(b"asked".to_vec())),
        (Goes::Ends, Runs) => (Done, Some(b"ended".to_vec())),
        (Goes::Cancelled, Waits | Asks) => (Cancelled, None),
        _ => return None,
    };
    let until = match standing {
        Cancelled => known.until,
        Waits => known.until.max(now + AGAIN),
        _ => known.until.max(now + KEPT),
    };
    let hold = if matches!(goes, Goes::Waits) { "hold_again".to_owned() } else { known.hold.clone() };
    let call = if matches!(standing, Done | Cancelled) { Vec::new() } else { known.call.clone() };
    Some(HoldTask { hold, standing, call, said, turned: now, until, ..known.clone() })
}

fn go(state: &State, (digest, task): (Hash, &HoldTask), goes: Goes, now: u64) -> bool {
    let turn = match goes {
        Goes::Begins => Turn::Begins { standing: task.standing, said: task.said.as_deref() },
        Goes::Waits => Turn::Waits { hold: "hold_again", until: now + AGAIN },
        Goes::Asks => Turn::Asks(b"asked"),
        Goes::Ends => Turn::Ends(b"ended"),
        Goes::Cancelled => return state.cancel_task(digest, "not any more", now).unwrap(),
    };
    state.turn_task(digest, turn, now).unwrap()
}

fn history(steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let open = || State::open(folder.path()).unwrap().acting("tollbook", 0);
    let (mut state, mut known, mut now) = (open(), Vec::<(Hash, HoldTask)>::new(), 1_000);
    hold(&state, "hold_again", now);
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Add(lasts) => {
                let (digest, id) = (Hash::of(&number.to_be_bytes()), format!("hold_{number}"));
                hold(&state, &id, now);
                let task = made(&id, now, *lasts);
                assert!(state.add_task(digest, &task).unwrap());
                known.push((digest, task));
            }
            Step::Goes(at, goes) if !known.is_empty() => {
                let (digest, task) = at.get(&known).clone();
                // What is overdue may be there still; nobody sees it.
                if task.until > now {
                    let expected = next(&task, *goes, now);
                    assert_eq!(
                        go(&state, (digest, &task), *goes, now),
                        expected.is_some(),
                        "{number}: {task:?} {goes:?}"
                    );
                    let task = expected.unwrap_or(task);
                    known
                        .iter_mut()
                        .filter(|(other, _)| *other == digest)
                        .for_each(|(_, old)| *old = task.clone());
                }
            }
            Step::Goes(..) => {}
            Step::Wait(seconds) => now += seconds,
            Step::Forget => drop(state.forget_tasks(now).unwrap()),
            Step::Restart => state = open(),
        }
        for (digest, task) in &known {
            let expected = (task.until > now).then_some(task);
            assert_eq!(state.task(*digest, &owner(), now).unwrap().as_ref(), expected, "step {number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_task_goes_its_way_and_no_other(steps in steps()) {
        history(&steps);
    }
}

#[test]
fn of_many_who_begin_a_task_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    hold(&state, "hold_1", 10);
    let digest = Hash::of(b"a task");
    assert!(state.add_task(digest, &made("hold_1", 10, 100)).unwrap());
    let begun: usize = std::thread::scope(|scope| {
        let who = || {
            let state = State::open(folder.path()).unwrap();
            (0..4).filter(|_| state.turn_task(digest, BEGINS, 11).unwrap()).count()
        };
        let tasks: Vec<_> = (0..4).map(|_| scope.spawn(who)).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).sum()
    });
    assert_eq!(begun, 1);
}

#[test]
fn who_has_read_what_is_not_so_any_more_begins_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    hold(&state, "hold_1", 10);
    let digest = Hash::of(b"a task");
    assert!(state.add_task(digest, &made("hold_1", 10, 100)).unwrap());
    let goes = |turn| state.turn_task(digest, turn, 11).unwrap();
    let answers = |said| Turn::Begins { standing: TaskStanding::Asks, said: Some(said) };
    assert!(goes(BEGINS) && goes(Turn::Asks(b"first")));
    assert!(goes(answers(b"first".as_slice())) && goes(Turn::Asks(b"second")));
    assert!(!goes(answers(b"first")), "that question is answered");
    assert!(!goes(BEGINS), "it has begun");
    assert!(goes(answers(b"second")) && goes(Turn::Ends(b"done")));
    assert!(!goes(Turn::Begins { standing: TaskStanding::Done, said: Some(b"done") }));
}

#[test]
fn there_is_room_for_so_much_of_a_run_and_of_all() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap().acting("tollbook", 10);
    let add = |number: usize, bytes: usize| {
        let id = format!("hold_{number}");
        hold(&state, &id, 10);
        let task = HoldTask { call: vec![0; bytes], ..made(&id, 10, 100) };
        state.add_task(Hash::of(id.as_bytes()), &task).unwrap()
    };
    let digest = |number: usize| Hash::of(format!("hold_{number}").as_bytes());
    let kept = (0..).take_while(|number| add(*number, 16 << 20)).count();
    assert_eq!(kept, 16, "256 MiB of all");
    assert!(state.turn_task(digest(0), BEGINS, 11).unwrap());
    assert!(!state.turn_task(digest(0), Turn::Ends(&[0; 70_000]), 11).unwrap(), "no room for it");
    assert!(state.turn_task(digest(0), Turn::Ends(b"there was no room"), 11).unwrap());
    assert!(state.cancel_task(digest(1), "not any more", 11).unwrap());
    let more = (100..).take_while(|number| add(*number, 1)).count();
    assert_eq!(more, 256 - kept, "of one run, and what has ended holds no call");
}

#[test]
fn nobody_but_its_owner_learns_of_a_task() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    hold(&state, "hold_1", 10);
    let digest = Hash::of(b"a task");
    assert!(state.add_task(digest, &made("hold_1", 10, 100)).unwrap());
    for other in [
        TaskOwner { principal: "user:eve".to_owned(), ..owner() },
        TaskOwner { run: "run_1".to_owned(), ..owner() },
        TaskOwner { server: "mail".to_owned(), ..owner() },
    ] {
        assert_eq!(state.task(digest, &other, 11).unwrap(), None, "{other:?}");
    }
    assert_eq!(state.task(Hash::of(b"another"), &owner(), 11).unwrap(), None);
    assert!(state.task(digest, &owner(), 11).unwrap().is_some());
    assert_eq!((state.forget_tasks(109).unwrap(), state.forget_tasks(110).unwrap()), (0, 1));
}

#[test]
fn tasks_are_few_and_a_cancelled_one_takes_its_hold_along() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap().acting("tollbook", 10);
    hold(&state, "hold_1", 10);
    let digests: Vec<Hash> = (0..9_u8).map(|one| Hash::of(&[one])).collect();
    let added = digests.iter().filter(|digest| state.add_task(**digest, &made("hold_1", 10, 100)).unwrap());
    assert_eq!(added.count(), 8, "of one hold");

    assert!(state.turn_task(digests[0], BEGINS, 11).unwrap());
    assert!(!state.cancel_task(digests[0], "not any more", 12).unwrap(), "its call is being made");
    assert_eq!(state.hold("hold_1").unwrap().unwrap().status, HoldStatus::Pending);
    assert!(state.cancel_task(digests[1], "not any more", 12).unwrap());
    let ended = state.hold("hold_1").unwrap().unwrap();
    assert_eq!((ended.status, ended.why.as_deref()), (HoldStatus::Withdrawn, Some("not any more")));

    for (id, is_for_run, expected) in
        [("hold_2", false, HoldStatus::Withdrawn), ("hold_3", true, HoldStatus::Approved)]
    {
        hold(&state, id, 20);
        if is_for_run {
            approve_for_run(&state, id, 20);
        } else {
            approve(&state, id, 20);
        }
        let digest = Hash::of(id.as_bytes());
        assert!(state.add_task(digest, &made(id, 20, 100)).unwrap());
        assert!(state.cancel_task(digest, "not any more", 21).unwrap());
        assert_eq!(state.hold(id).unwrap().unwrap().status, expected, "{id}");
    }
}
