//! Histories of holds against a model: whatever happens in whatever order, nothing is released without an approval that is valid,
//! matching and unused, and no such approval is lost.

use std::collections::BTreeSet;
use std::path::Path;

use ledger::Hash;
use proptest::prelude::*;
use store::state::{
    Back, Ballot, Bounds, Cast, Choice, Full, HoldKey, HoldStatus, MintedRun, Need, NewHold, Refresh,
    Release, Sought, State, Which,
};

use crate::state::run;

const BOUNDS: Bounds = Bounds { pending_of_run: 3, pending: 5, refusal_lasts: 50, refusals_of_run: 2 };

/// Seconds until a hold ends.
const LASTS: u64 = 100;

/// Operators: their id, the names of the person, their groups. `ann-phone` is another account of ann's; the requester is in the
/// group that is asked.
const OPERATORS: [(&str, &[&str], &[&str]); 5] = [
    ("ann", &["ann"], &["oncall"]),
    ("ann-phone", &["ann-phone", "ann"], &["finance"]),
    ("bob", &["bob"], &["oncall", "finance"]),
    ("cid", &["cid"], &["guests"]),
    ("rob", &["rob", "requester"], &["oncall", "finance"]),
];

/// Two people of one group; one each of two.
const NEEDS: [&[(&str, u32)]; 3] = [&[("oncall", 1)], &[("oncall", 2)], &[("oncall", 1), ("finance", 1)]];

/// What a call asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    run: u8,
    /// One that may differ in approvals for a run, and one that may not.
    arguments: (u8, u8),
    needs: usize,
    pin: u8,
}

#[derive(Debug, Clone, Copy)]
enum Says {
    Once,
    ForRun,
    ForRunBut,
    Refuse,
    Withdraw,
    Prolong,
}

#[derive(Debug, Clone)]
enum Step {
    Seek(Asked),
    Cast(prop::sample::Index, usize, Says),
    Wait(u64),
    EndRun(u8),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let asked = (0..2_u8, (0..2_u8, 0..2_u8), 0..NEEDS.len(), 0..2_u8)
        .prop_map(|(run, arguments, needs, pin)| Asked {
            run,
            arguments,
            needs: if needs == 2 { 2 } else { 0 },
            pin: pin / 2,
        })
        .boxed();
    let changed = (0..2_u8, 0..NEEDS.len(), 0..2_u8).prop_map(|(run, needs, pin)| Asked {
        run,
        arguments: (0, 0),
        needs,
        pin,
    });
    let says = prop::sample::select(vec![
        Says::Once,
        Says::Once,
        Says::ForRun,
        Says::ForRunBut,
        Says::Refuse,
        Says::Withdraw,
        Says::Prolong,
    ]);
    let step = prop_oneof![
        6 => asked.prop_map(Step::Seek),
        2 => changed.prop_map(Step::Seek),
        8 => (any::<prop::sample::Index>(), 0..OPERATORS.len(), says).prop_map(|(at, who, says)| Step::Cast(at, who, says)),
        1 => (1..120_u64).prop_map(Step::Wait),
        1 => (0..2_u8).prop_map(Step::EndRun),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

/// What the model knows of a hold.
#[derive(Debug)]
struct Known {
    id: String,
    asked: Asked,
    deadline: u64,
    /// Operators who approved, and how.
    approvals: Vec<(usize, Says)>,
    approved_at: Option<u64>,
    prolonged: u64,
    is_over: bool,
}

impl Known {
    /// Which of its arguments may differ, and until when it holds for the run; `None`: once.
    fn run_wide(&self) -> Option<bool> {
        let all = |wanted: fn(&Says) -> bool| self.approvals.iter().all(|(_, says)| wanted(says));
        if all(|says| matches!(says, Says::ForRun)) {
            Some(false)
        } else {
            all(|says| matches!(says, Says::ForRunBut)).then_some(true)
        }
    }

    fn ends(&self) -> u64 {
        match (self.approved_at, self.run_wide()) {
            (None, _) => self.deadline,
            (Some(at), None) => self.deadline.max(at + 600),
            (Some(at), Some(_)) => at + 3_600,
        }
    }

    fn is_open(&self, now: u64) -> bool {
        !self.is_over && now < self.ends()
    }

    /// Whether people enough have approved, by trying every way to place them.
    fn is_enough(&self) -> bool {
        let places: Vec<&str> =
            NEEDS[self.asked.needs].iter().flat_map(|(group, n)| vec![*group; *n as usize]).collect();
        fn place(places: &[&str], left: &[usize], used: &BTreeSet<&str>) -> bool {
            let Some((group, rest)) = places.split_first() else { return true };
            left.iter().any(|&who| {
                let (_, people, groups) = OPERATORS[who];
                let is_free = groups.contains(group) && people.iter().all(|name| !used.contains(name));
                let used: BTreeSet<&str> = used.iter().copied().chain(people.iter().copied()).collect();
                is_free && place(rest, left, &used)
            })
        }
        let who: Vec<usize> = self.approvals.iter().map(|(who, _)| *who).collect();
        place(&places, &who, &BTreeSet::new())
    }

    /// Whether its approval lets that call through.
    fn releases(&self, asked: &Asked, now: u64) -> bool {
        let same_terms =
            (self.asked.run, self.asked.needs, self.asked.pin) == (asked.run, asked.needs, asked.pin);
        let same_arguments = match self.run_wide() {
            Some(true) => self.asked.arguments.1 == asked.arguments.1,
            _ => self.asked.arguments == asked.arguments,
        };
        self.is_open(now) && self.approved_at.is_some() && self.is_enough() && same_terms && same_arguments
    }
}

fn call(asked: &Asked, id: String, now: u64) -> NewHold {
    let Asked { run, arguments: (a, b), needs, pin } = *asked;
    NewHold {
        id,
        key: HoldKey {
            principal: "user:rob".to_owned(),
            run: format!("run_{run}"),
            server: "bank".to_owned(),
            method: "tools/call".to_owned(),
            name: "transfer".to_owned(),
            digest: Hash::of(&[a, b]),
        },
        needs: NEEDS[needs]
            .iter()
            .map(|(group, count)| Need { group: (*group).to_owned(), count: *count })
            .collect(),
        pin: Some(Hash::of(&[pin])),
        requesters: vec!["requester".to_owned()],
        agent: None,
        purpose: None,
        reason: None,
        policies: vec!["large transfers".to_owned()],
        deadline: now + LASTS,
    }
}

/// The digest of a call with some arguments left out.
fn digest_but(asked: &Asked, but: &[String]) -> Hash {
    let (a, b) = asked.arguments;
    if but.is_empty() { Hash::of(&[a, b]) } else { Hash::of(&[b]) }
}

fn seek(state: &State, asked: &Asked, id: &str, now: u64) -> Sought {
    let call = call(asked, id.to_owned(), now);
    state.seek(&call, (|but| Some(digest_but(asked, but)), || true), &BOUNDS, now).unwrap()
}

fn cast(state: &State, known: &Known, who: usize, says: Says, now: u64) -> Cast {
    let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let (id, people, groups) = OPERATORS[who];
    let (people, groups, but) = (owned(people), owned(groups), owned(&["amount"]));
    let for_run = |but| Choice::ForRun { but, digest: digest_but(&known.asked, but), until: now + 9_999 };
    let choice = match says {
        Says::Once => Choice::Once,
        Says::ForRun => for_run(&[]),
        Says::ForRunBut => for_run(&but),
        Says::Refuse => Choice::Refuse { reason: "no" },
        Says::Withdraw => Choice::Withdraw { reason: "not needed" },
        Says::Prolong => Choice::Prolong,
    };
    let ballot = Ballot { who: id, people: &people, groups: &groups, choice };
    state.cast(&known.id, &ballot, now).unwrap()
}

/// Somebody approves that hold, once or for its run.
fn approves(state: &State, id: &str, choice: Choice<'_>, now: u64) {
    let (people, groups) = (["ann".to_owned()], ["oncall".to_owned()]);
    let ballot = Ballot { who: "ann", people: &people, groups: &groups, choice };
    assert_eq!(state.cast(id, &ballot, now).unwrap(), Cast::Approved);
}

pub(crate) fn approve(state: &State, id: &str, now: u64) {
    approves(state, id, Choice::Once, now);
}

pub(crate) fn approve_for_run(state: &State, id: &str, now: u64) {
    let choice = Choice::ForRun { but: &[], digest: Hash::of(b"any"), until: now + 9_999 };
    approves(state, id, choice, now);
}

fn history(folder: &Path, steps: &[Step]) {
    let mut state = State::open(folder).unwrap().acting("tollbook", 0);
    let (mut holds, mut now) = (Vec::<Known>::new(), 1_000);
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Wait(seconds) => now += seconds,
            Step::Restart => state = State::open(folder).unwrap().acting("tollbook", 0),
            Step::EndRun(run) => {
                state.end_holds_of(&format!("run_{run}"), "it ended", now).unwrap();
                holds
                    .iter_mut()
                    .filter(|known| known.asked.run == *run)
                    .for_each(|known| known.is_over = true);
            }
            Step::Seek(asked) => {
                let expected: Vec<usize> =
                    (0..holds.len()).filter(|&at| holds[at].releases(asked, now)).collect();
                note_changed(&mut holds, asked);
                let id = format!("hold_{number}");
                match seek(&state, asked, &id, now) {
                    Sought::Released(Release { hold, .. }) => {
                        let at =
                            holds.iter().position(|known| known.id == hold).expect("a hold that was made");
                        assert!(
                            expected.contains(&at),
                            "step {number}: {asked:?} released by {:?}",
                            holds[at]
                        );
                        holds[at].is_over = holds[at].run_wide().is_none();
                    }
                    other => {
                        assert_eq!(expected, [0; 0], "step {number}: an approval is lost: {other:?}");
                        if let Sought::Waits(hold) = other
                            && hold.id == id
                        {
                            let deadline = now + LASTS;
                            holds.push(Known {
                                id,
                                asked: *asked,
                                deadline,
                                approvals: vec![],
                                approved_at: None,
                                prolonged: 0,
                                is_over: false,
                            });
                        }
                    }
                }
            }
            Step::Cast(at, who, says) if !holds.is_empty() => {
                let at = at.index(holds.len());
                let came = cast(&state, &holds[at], *who, *says, now);
                learn(&mut holds[at], (*who, *says), came, now);
            }
            Step::Cast(..) => {}
        }
    }
}

/// An open hold of the same call that was asked on other terms is over when the call comes on new ones; one for the run is when the
/// tool has changed, but not by a call that other people decide on.
fn note_changed(holds: &mut [Known], asked: &Asked) {
    for known in holds.iter_mut().filter(|known| known.asked.run == asked.run) {
        let is_of_another_tool = known.asked.pin != asked.pin;
        let terms_differ = known.asked.needs != asked.needs || is_of_another_tool;
        let is_wide = !known.approvals.is_empty() && known.run_wide().is_some();
        let is_same = known.asked.arguments == asked.arguments;
        known.is_over |= terms_differ && (is_same || (is_wide && is_of_another_tool));
    }
}

/// What the model makes of somebody's word, and what it must have come to.
fn learn(known: &mut Known, (who, says): (usize, Says), came: Cast, now: u64) {
    let (_, people, groups) = OPERATORS[who];
    let is_own = people.contains(&"requester");
    let is_asked = NEEDS[known.asked.needs].iter().any(|(group, _)| groups.contains(group));
    let has_spoken =
        known.approvals.iter().any(|(other, _)| OPERATORS[*other].1.iter().any(|name| people.contains(name)));
    let expected = match says {
        _ if !known.is_open(now) => None,
        Says::Withdraw if is_own || is_asked => Some(Cast::Withdrawn),
        _ if is_own => Some(Cast::Own),
        _ if !is_asked => Some(Cast::NotAsked),
        _ if known.approved_at.is_some() => Some(Cast::Over(HoldStatus::Approved)),
        Says::Prolong if known.prolonged == 6 => Some(Cast::LongEnough),
        Says::Prolong => {
            known.prolonged += 1;
            known.deadline += 600;
            Some(Cast::Prolonged(known.deadline))
        }
        Says::Refuse => Some(Cast::Refused),
        _ if has_spoken => Some(Cast::Twice),
        _ => {
            known.approvals.push((who, says));
            Some(if known.is_enough() { Cast::Approved } else { Cast::Counted })
        }
    };
    match expected {
        Some(expected) => assert_eq!(came, expected, "{known:?} {who} {says:?}"),
        None => assert!(matches!(came, Cast::Over(_)), "{known:?}: {came:?}"),
    }
    match came {
        Cast::Approved => known.approved_at = Some(now),
        Cast::Refused | Cast::Withdrawn => known.is_over = true,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_released_without_an_unused_approval_and_none_is_lost(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        history(folder.path(), &steps);
    }
}

const CALL: Asked = Asked { run: 0, arguments: (0, 0), needs: 0, pin: 0 };

#[test]
fn of_many_who_seek_at_once_one_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    assert!(matches!(seek(&state, &CALL, "hold_1", 10), Sought::Waits(_)));
    let known = Known {
        id: "hold_1".to_owned(),
        asked: CALL,
        deadline: 110,
        approvals: vec![],
        approved_at: None,
        prolonged: 0,
        is_over: false,
    };
    assert_eq!(cast(&state, &known, 0, Says::Once, 10), Cast::Approved);
    let released: usize = std::thread::scope(|scope| {
        // Not more: SQLite lets those who wait for each other wait for five seconds.
        let tasks: Vec<_> = (0..4)
            .map(|task| {
                let folder = folder.path();
                scope.spawn(move || {
                    // Two gateways' worth of tasks, and each its own connection.
                    let state = State::open(folder).unwrap();
                    let mut released = 0;
                    for number in 0..4 {
                        let sought = seek(&state, &CALL, &format!("hold_{task}_{number}"), 11);
                        released += usize::from(matches!(sought, Sought::Released(_)));
                    }
                    released
                })
            })
            .collect();
        tasks.into_iter().map(|task| task.join().unwrap()).sum()
    });
    assert_eq!(released, 1);
    assert_eq!(state.hold("hold_1").unwrap().unwrap().status, HoldStatus::Used);
    assert_eq!(state.holds(Which::Open, 99).unwrap().len(), 1, "the others wait under one other");
}

#[test]
fn a_call_that_other_people_decide_on_leaves_an_approval_for_the_run_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let of = |a, needs| Asked { arguments: (a, 0), needs, ..CALL };
    let (amount, at) = (["amount".to_owned()], 10);
    let for_run = |a| Choice::ForRun { but: &amount, digest: digest_but(&of(a, 0), &amount), until: 999 };
    let seek = |asked: &Asked, id: &str| seek(&state, asked, id, at);
    assert!(matches!(seek(&of(0, 0), "hold_small"), Sought::Waits(_)));
    approves(&state, "hold_small", for_run(0), at);
    assert!(matches!(seek(&of(1, 0), "hold_x"), Sought::Released(_)), "the amount may differ");

    // A hold on which the first of two has said that it is for the run.
    assert!(matches!(seek(&of(2, 1), "hold_two"), Sought::Waits(_)));
    let (people, groups) = (["ann".to_owned()], ["oncall".to_owned()]);
    let ballot = Ballot { who: "ann", people: &people, groups: &groups, choice: for_run(2) };
    assert_eq!(state.cast("hold_two", &ballot, at).unwrap(), Cast::Counted);

    assert!(matches!(seek(&of(3, 2), "hold_large"), Sought::Waits(hold) if hold.id == "hold_large"));
    let standing = |id| state.hold(id).unwrap().unwrap().status;
    assert_eq!(standing("hold_two"), HoldStatus::Pending);
    assert!(matches!(seek(&of(1, 0), "hold_y"), Sought::Released(release) if release.hold == "hold_small"));

    assert!(matches!(seek(&of(0, 2), "hold_new"), Sought::Waits(hold) if hold.id == "hold_new"));
    let ended = state.hold("hold_small").unwrap().unwrap();
    assert_eq!(
        ended.why.as_deref(),
        Some("what policy asks for has changed"),
        "the very call needs others now"
    );
    assert!(matches!(seek(&Asked { pin: 1, ..of(4, 0) }, "hold_z"), Sought::Waits(_)));
    let ended = state.hold("hold_two").unwrap().unwrap();
    assert_eq!(ended.why.as_deref(), Some("the tool has changed"));
}

#[test]
fn an_approval_is_kept_while_something_else_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let call = |id: &str| call(&CALL, id.to_owned(), 10);
    for (id, choice, status) in [
        (
            "hold_run",
            Choice::ForRun { but: &[], digest: digest_but(&CALL, &[]), until: 999 },
            HoldStatus::Approved,
        ),
        ("hold_once", Choice::Once, HoldStatus::Used),
    ] {
        let asked = std::cell::Cell::new(0);
        let seek = |passes: bool| {
            let may_pass = || {
                asked.set(asked.get() + 1);
                passes
            };
            state
                .seek(&call(id), (|but: &[String]| Some(digest_but(&CALL, but)), may_pass), &BOUNDS, 10)
                .unwrap()
        };
        assert!(matches!(seek(false), Sought::Waits(_)));
        assert_eq!(asked.get(), 0, "nothing is asked of what waits for people");
        approves(&state, id, choice, 10);
        for _ in 0..2 {
            assert!(matches!(seek(false), Sought::Kept(hold) if hold.id == id));
        }
        let kept = state.hold(id).unwrap().unwrap();
        assert_eq!((kept.status, kept.uses), (HoldStatus::Approved, 0));
        assert!(matches!(seek(true), Sought::Released(release) if release.hold == id));
        assert_eq!(asked.get(), 3);
        let used = state.hold(id).unwrap().unwrap();
        assert_eq!((used.status, used.uses), (status, 1));
        state.end_holds_of("run_0", "the next begins", 10).unwrap();
    }
}

#[test]
fn asking_again_and_again_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let of = |run, a| Asked { run, arguments: (a, 0), ..CALL };
    for a in 0..3 {
        assert!(matches!(seek(&state, &of(0, a), &format!("hold_{a}"), 10), Sought::Waits(_)));
    }
    assert!(
        matches!(seek(&state, &of(0, 0), "hold_x", 10), Sought::Waits(hold) if hold.id == "hold_0"),
        "the same waits once"
    );
    assert_eq!(seek(&state, &of(0, 3), "hold_3", 10), Sought::Full(Full::Run));
    for a in 0..2 {
        assert!(matches!(seek(&state, &of(1, a), &format!("hold_1{a}"), 10), Sought::Waits(_)));
    }
    assert_eq!(seek(&state, &of(1, 3), "hold_13", 10), Sought::Full(Full::All));

    let known = |a| Known {
        id: format!("hold_{a}"),
        asked: of(0, a),
        deadline: 0,
        approvals: vec![],
        approved_at: None,
        prolonged: 0,
        is_over: false,
    };
    assert_eq!(cast(&state, &known(0), 2, Says::Refuse, 20), Cast::Refused);
    let refused = seek(&state, &of(0, 0), "hold_4", 30);
    assert!(
        matches!(&refused, Sought::Refused { hold, again: 70 } if hold.why.as_deref() == Some("no")),
        "{refused:?}"
    );
    assert_eq!(cast(&state, &known(1), 2, Says::Refuse, 20), Cast::Refused);
    assert_eq!(seek(&state, &of(0, 5), "hold_5", 30), Sought::Full(Full::Refusals), "of the whole run");
    assert!(
        matches!(seek(&state, &of(0, 0), "hold_6", 71), Sought::Waits(_)),
        "after a while it may be asked again"
    );
}

#[test]
fn time_is_given_a_little_at_a_time_and_not_beyond_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap().acting("operator:local:ann", 10);
    let minted = MintedRun { expires: 1_000, ..run(7, None) };
    state.add_run(&minted).unwrap();
    let mut held = call(&CALL, "hold_1".to_owned(), 10);
    held.key.run = minted.id.to_string();
    assert!(matches!(state.seek(&held, (|_| None, || true), &BOUNDS, 10).unwrap(), Sought::Waits(_)));
    let (people, groups) = (["ann".to_owned()], ["oncall".to_owned()]);
    let prolong = |now| {
        let ballot = Ballot { who: "ann", people: &people, groups: &groups, choice: Choice::Prolong };
        state.cast("hold_1", &ballot, now).unwrap()
    };
    assert_eq!(prolong(20), Cast::Prolonged(710));
    assert_eq!(state.end_overdue_holds(700).unwrap(), 0, "it waits on");
    assert_eq!(prolong(700), Cast::Prolonged(1_000), "the run ends then");
    assert_eq!(prolong(700), Cast::LongEnough);
    let hold = state.hold("hold_1").unwrap().unwrap();
    assert_eq!((hold.status, hold.deadline, hold.prolonged), (HoldStatus::Pending, 1_000, 2));
    assert_eq!(state.end_overdue_holds(1_000).unwrap(), 1);
    assert_eq!(prolong(1_001), Cast::Over(HoldStatus::Expired), "what has ended does not come back");
    let told: Vec<_> = state
        .unrecorded(9)
        .unwrap()
        .into_iter()
        .filter(|action| action.what == "approvals.prolong")
        .collect();
    assert_eq!(told.len(), 4);
    assert_eq!(told[0].reason.as_deref(), Some("there is time until 1970-01-01T00:11:50Z"));
}

#[test]
fn holds_end_with_a_run_whose_refresh_token_came_twice() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let login = run(7, None);
    state.add_run(&login).unwrap();
    let (first, second) = (Hash::of(b"1"), Hash::of(b"2"));
    state.add_refresh(login.id, "editor", first, 10).unwrap();
    let mut held = call(&CALL, "hold_1".to_owned(), 10);
    held.key.run = login.id.to_string();
    assert!(matches!(
        state.seek(&held, (|_: &[String]| None, || true), &BOUNDS, 10).unwrap(),
        Sought::Waits(_)
    ));
    assert_eq!(state.rotate_refresh("editor", first, second, 20).unwrap(), Refresh::Rotated(login.id));
    assert_eq!(state.hold("hold_1").unwrap().unwrap().status, HoldStatus::Pending);
    let again = state.rotate_refresh("editor", first, Hash::of(b"3"), 30).unwrap();
    assert_eq!(again, Refresh::Reused(login.id));
    let hold = state.hold("hold_1").unwrap().unwrap();
    assert_eq!((hold.status, hold.why.as_deref()), (HoldStatus::Withdrawn, Some("the run was revoked")));
}

#[test]
fn ends_are_noted_and_a_state_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap().acting("tollbook", 200);
    seek(&state, &CALL, "hold_1", 10);
    let (token, mine) = (Hash::of(b"token"), call(&CALL, "hold_1".to_owned(), 10).key);
    let back = |token, key: &HoldKey| state.take_hold_state("hold_1", token, key).unwrap();
    state.expect_hold_state("hold_1", token, 10).unwrap();
    assert_eq!(back(Hash::of(b"altered"), &mine), Back::Unknown);
    for other in [
        HoldKey { principal: "os:another".into(), ..mine.clone() },
        HoldKey { run: "another".into(), ..mine.clone() },
        HoldKey { digest: Hash::of(b"other arguments"), ..mine.clone() },
    ] {
        assert_eq!(back(token, &other), Back::Unknown, "{other:?}");
    }
    assert_eq!(back(token, &mine), Back::Known);
    assert_eq!(back(token, &mine), Back::Unknown, "it is used up");
    let many: Vec<Hash> = (0..10_u8).map(|one| Hash::of(&[one])).collect();
    for (at, token) in (20..).zip(&many) {
        state.expect_hold_state("hold_1", *token, at).unwrap();
    }
    assert_eq!(back(many[1], &mine), Back::Unknown, "too many are out");
    assert_eq!(back(many[2], &mine), Back::Known);
    assert_eq!(state.pending_holds().unwrap(), (1, Some(10)));
    assert_eq!(state.end_overdue_holds(109).unwrap(), 0);
    assert_eq!(state.end_overdue_holds(110).unwrap(), 1);
    assert_eq!(back(many[9], &mine), Back::Ended("nobody decided in time".into()));
    assert!(!state.give_up_hold("hold_1", "asks no more", 111).unwrap(), "it has ended");
    let told: Vec<_> = state
        .unrecorded(9)
        .unwrap()
        .into_iter()
        .map(|action| (action.what, action.subject, action.reason))
        .collect();
    let expected =
        ("approvals.expired".to_owned(), "hold_1".to_owned(), Some("nobody decided in time".to_owned()));
    assert_eq!(told, [expected]);
}
