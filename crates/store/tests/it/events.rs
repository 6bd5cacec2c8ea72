//! What became of holds, and who is told: with the change or not at all, once for each destination, in order of each hold.

use ledger::Hash;
use store::state::{
    Ballot, Bounds, Choice, Delivery, Destination, EventKind, HoldKey, Need, NewHold, Settled, Sought, State,
    Told,
};

const DAY: u64 = 86_400;

fn open() -> (tempfile::TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    (folder, state)
}

fn destination(name: &str, kinds: &[EventKind], groups: Option<&[&str]>) -> Destination {
    let groups = groups.map(|groups| groups.iter().map(|group| (*group).to_owned()).collect());
    Destination { name: name.to_owned(), kinds: kinds.to_vec(), groups }
}

fn call(id: &str, group: &str, now: u64) -> NewHold {
    NewHold {
        id: id.to_owned(),
        key: HoldKey {
            principal: "mira".to_owned(),
            run: "run_1".to_owned(),
            server: "bank".to_owned(),
            method: "tools/call".to_owned(),
            name: "transfer".to_owned(),
            digest: Hash::of(id.as_bytes()),
        },
        needs: vec![Need { group: group.to_owned(), count: 1 }],
        pin: None,
        requesters: vec!["mira".to_owned()],
        agent: None,
        purpose: None,
        reason: None,
        policies: vec!["p".to_owned()],
        deadline: now + 100,
    }
}

fn seek(state: &State, id: &str, group: &str, now: u64) -> Sought {
    state.seek(&call(id, group, now), (|_| None, || true), &Bounds::default(), now).unwrap()
}

fn say(state: &State, id: &str, choice: Choice<'_>, now: u64) {
    let (people, groups) = (["ann".to_owned()], ["oncall".to_owned()]);
    let ballot = Ballot { who: "ann", people: &people, groups: &groups, choice };
    assert!(state.cast(id, &ballot, now).unwrap().counts());
}

fn told(state: &State, name: &str, now: u64) -> Vec<(String, &'static str)> {
    let due = state.due(name, now, 100).unwrap();
    due.iter().map(|Delivery { event, .. }| (event.hold.clone(), event.kind.as_str())).collect()
}

/// Takes all that is due, as often as there is something.
fn drain(state: &State, name: &str, now: u64) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    loop {
        let due = state.due(name, now, 100).unwrap();
        if due.is_empty() {
            return all;
        }
        all.extend(due.iter().map(|one| (one.event.hold.clone(), one.event.kind.as_str())));
        let done: Vec<Settled> =
            due.iter().map(|one| Settled { event: one.event.no, told: Told::Done }).collect();
        state.settle(name, &done, now).unwrap();
    }
}

fn failed(state: &State, name: &str, (again, pause): (u64, u64), now: u64) {
    let due = state.due(name, now, 1).unwrap();
    let told = Told::Failed { error: "503".to_owned(), again, pause };
    state.settle(name, &[Settled { event: due[0].event.no, told }], now).unwrap();
}

fn owned(all: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
    all.iter().map(|(hold, kind)| ((*hold).to_owned(), *kind)).collect()
}

#[test]
fn each_change_of_a_hold_is_told_once_and_in_order() {
    let (_folder, state) = open();
    seek(&state, "before", "oncall", 5);
    assert_eq!(state.tell(&[destination("all", &EventKind::ALL, None)]).unwrap(), []);
    seek(&state, "used", "oncall", 10);
    seek(&state, "used", "oncall", 11);
    seek(&state, "refused", "oncall", 10);
    seek(&state, "taken back", "oncall", 10);
    seek(&state, "overdue", "oncall", 10);
    say(&state, "used", Choice::Once, 12);
    assert!(matches!(seek(&state, "used", "oncall", 13), Sought::Released(_)));
    state.hold_outcome("used", "ok", 14).unwrap();
    say(&state, "refused", Choice::Refuse { reason: "no" }, 12);
    say(&state, "taken back", Choice::Withdraw { reason: "wrong" }, 12);
    assert_eq!(state.end_overdue_holds(111).unwrap(), 2);

    let first = told(&state, "all", 200);
    assert!(first.iter().all(|(_, kind)| *kind != "approved"), "of each hold the first alone: {first:?}");
    let mut all = drain(&state, "all", 200);
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("before", "expired"),
        ("overdue", "asked"),
        ("overdue", "expired"),
        ("refused", "asked"),
        ("refused", "refused"),
        ("taken back", "asked"),
        ("taken back", "withdrawn"),
        ("used", "asked"),
        ("used", "approved"),
        ("used", "used"),
        ("used", "outcome"),
    ];
    assert_eq!(all, owned(&expected), "nobody is told of the past, nor of the same call twice");
    let row = &state.destinations().unwrap()[0];
    assert_eq!((row.delivered, row.waiting, row.dead), (11, 0, 0));
}

#[test]
fn a_destination_is_told_what_it_wants_and_waits_for_no_other() {
    let (folder, state) = open();
    let (asked, all) = ([EventKind::Asked], EventKind::ALL);
    let wanted = [
        destination("finance", &all, Some(&["finance", "board"])),
        destination("oncall", &asked, Some(&["oncall"])),
        destination("slow", &all, None),
    ];
    state.tell(&wanted).unwrap();
    seek(&state, "a", "oncall", 10);
    seek(&state, "b", "finance", 10);
    say(&state, "a", Choice::Refuse { reason: "no" }, 11);
    failed(&state, "slow", (30, 20), 12);
    assert_eq!(told(&state, "slow", 12), [], "it is left alone for a while");
    assert_eq!(told(&state, "slow", 20), owned(&[("b", "asked")]), "one hold does not wait for another");
    assert_eq!(told(&state, "finance", 12), owned(&[("b", "asked")]));
    assert_eq!(drain(&state, "oncall", 12), owned(&[("a", "asked")]));
    let apart = state.apart().unwrap();
    failed(&apart, "slow", (30, 30), 20);
    assert_eq!(apart.destinations().unwrap(), state.destinations().unwrap(), "it is one file");
    drop((state, apart));

    let state = State::open(folder.path()).unwrap();
    assert_eq!(
        state.tell(&wanted[1..]).unwrap(),
        [("finance".to_owned(), 1)],
        "it is not configured any more"
    );
    let kept = drain(&state, "slow", 40);
    assert_eq!(kept, owned(&[("a", "asked"), ("b", "asked"), ("a", "refused")]), "a restart loses nothing");
}

#[test]
fn what_fails_dies_after_a_day_and_lives_again_when_told_to() {
    let (_folder, state) = open();
    state.tell(&[destination("hook", &EventKind::ALL, None)]).unwrap();
    seek(&state, "a", "oncall", 10);
    say(&state, "a", Choice::Refuse { reason: "no" }, 11);
    failed(&state, "hook", (20, 15), 12);
    assert_eq!(told(&state, "hook", 19), [], "what came later of the same hold waits for it");
    failed(&state, "hook", (10 + DAY, 25), 20);
    let row = &state.destinations().unwrap()[0];
    assert_eq!((row.failing, row.failures, row.error.as_deref(), row.oldest), (1, 2, Some("503"), Some(10)));
    failed(&state, "hook", (11 + DAY, 25), 10 + DAY);
    let dead = state.dead_letters("hook", 10).unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].attempts, dead[0].error.as_str(), dead[0].dead), (3, "503", 10 + DAY));
    assert_eq!(told(&state, "hook", 30 + DAY), owned(&[("a", "refused")]), "what is dead holds up nothing");

    let gone = Told::Gone { error: "410".to_owned() };
    let event = state.due("hook", 30 + DAY, 1).unwrap()[0].event.no;
    state.settle("hook", &[Settled { event, told: gone }], 30 + DAY).unwrap();
    seek(&state, "b", "oncall", 30 + DAY);
    let row = &state.destinations().unwrap()[0];
    assert_eq!((row.waiting, row.dead, row.gone), (0, 3, Some(30 + DAY)));
    assert_eq!(told(&state, "hook", 90 + DAY), []);

    let now = 100 + DAY;
    assert_eq!(state.retry_dead("nobody", now).unwrap(), None);
    assert_eq!(state.acting("os:0", now).retry_dead("hook", now).unwrap(), Some(3));
    assert_eq!(drain(&state, "hook", now), owned(&[("a", "asked"), ("b", "asked"), ("a", "refused")]));
    let action = &state.actions(1).unwrap()[0];
    assert_eq!((action.what.as_str(), action.subject.as_str()), ("export.retry", "hook"));
}

#[test]
fn what_waits_for_more_to_tell_is_no_failure() {
    let (_folder, state) = open();
    state.tell(&[destination("hook", &EventKind::ALL, None)]).unwrap();
    seek(&state, "a", "oncall", 10);
    let event = state.due("hook", 10, 1).unwrap()[0].event.no;
    state.settle("hook", &[Settled { event, told: Told::Later { again: 12 } }], 10).unwrap();
    assert_eq!(told(&state, "hook", 11), []);
    assert_eq!(state.due("hook", 12, 1).unwrap()[0].attempts, 0);
    let dead = Told::Dead { error: "400".to_owned() };
    state.settle("hook", &[Settled { event, told: dead }], 12).unwrap();
    let row = &state.destinations().unwrap()[0];
    assert_eq!((row.failed, row.dead, row.gone), (1, 1, None));
}

#[test]
fn rows_are_bounded() {
    let (_folder, state) = open();
    state.tell(&[destination("hook", &[EventKind::Outcome], None)]).unwrap();
    seek(&state, "a", "oncall", 10);
    for at in 0..30 {
        state.hold_outcome("a", "ok", 11 + at).unwrap();
    }
    assert_eq!(state.bound_deliveries("hook", 50, (20, 100)).unwrap(), (10, 0));
    assert_eq!(state.bound_deliveries("hook", 50, (20, 100)).unwrap(), (0, 0));
    assert_eq!(state.bound_deliveries("hook", 50, (20, 4)).unwrap(), (0, 6));
    let row = &state.destinations().unwrap()[0];
    assert_eq!((row.waiting, row.dead, row.oldest), (20, 4, Some(21)));
    assert_eq!(state.dead_letters("hook", 10).unwrap().len(), 4);
}
