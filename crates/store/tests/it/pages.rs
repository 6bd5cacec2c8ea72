//! Holds as the console asks for them: pages, changes, what was decided before, when a tool was accepted.

use ledger::Hash;
use store::state::{
    Ballot, Bounds, Choice, Definition, Full, HoldKey, HoldPlace, Need, NewHold, Newcomer, Paging, Sought,
    State, Which,
};

fn seek(state: &State, number: u8, now: u64) -> Sought {
    let call = NewHold {
        id: format!("hold_{number}"),
        key: HoldKey {
            principal: "user:rob".to_owned(),
            run: "run_1".to_owned(),
            server: "bank".to_owned(),
            method: "tools/call".to_owned(),
            name: "transfer".to_owned(),
            digest: Hash::of(&[number]),
        },
        needs: vec![Need { group: "oncall".to_owned(), count: 1 }],
        pin: None,
        requesters: vec!["rob".to_owned()],
        agent: None,
        purpose: None,
        reason: None,
        policies: vec![],
        deadline: now + 100,
    };
    let bounds = Bounds { pending_of_run: 4, pending: 5, refusal_lasts: 40, refusals_of_run: 2 };
    state.seek(&call, (|_| None, || true), &bounds, now).unwrap()
}

fn decide(state: &State, number: u8, choice: Choice<'_>, now: u64) {
    let (people, groups) = (["ann".to_owned()], ["oncall".to_owned()]);
    let ballot = Ballot { who: "operator:local:ann", people: &people, groups: &groups, choice };
    assert!(state.cast(&format!("hold_{number}"), &ballot, now).unwrap().counts());
}

fn ids(holds: &[store::state::Hold]) -> Vec<&str> {
    holds.iter().map(|hold| hold.id.as_str()).collect()
}

#[test]
fn pages_changes_and_history() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    // Two of one second: the id tells them apart.
    for (number, now) in [(1, 10), (2, 20), (3, 20), (4, 30)] {
        assert!(matches!(seek(&state, number, now), Sought::Waits(_)));
    }
    let first = state.hold_page(Which::All, None, 2).unwrap();
    assert_eq!(ids(&first), ["hold_4", "hold_3"]);
    let after = HoldPlace { created: first[1].created, id: first[1].id.clone() };
    assert_eq!(ids(&state.hold_page(Which::All, Some(&after), 9).unwrap()), ["hold_2", "hold_1"]);

    assert_eq!(seek(&state, 5, 31), Sought::Full(Full::Run));
    let (_, since) = state.holds_since(u64::MAX, 9).unwrap();
    decide(&state, 1, Choice::Once, 40);
    decide(&state, 2, Choice::Refuse { reason: "no" }, 41);
    let (changed, next) = state.holds_since(since, 1).unwrap();
    assert_eq!((ids(&changed), next > since), (vec!["hold_1"], true), "at most so many at once");
    let (changed, next) = state.holds_since(next, 9).unwrap();
    assert_eq!(ids(&changed), ["hold_2"]);
    assert_eq!(state.holds_since(next, 9).unwrap(), (vec![], next));
    assert_eq!(ids(&state.hold_page(Which::Open, None, 9).unwrap()), ["hold_4", "hold_3", "hold_1"]);

    let hold = |number: u8| state.hold(&format!("hold_{number}")).unwrap().unwrap();
    let history = state.hold_history(&hold(3), 9).unwrap();
    assert_eq!((history.approved, history.refused), (1, 1));
    assert_eq!(ids(&history.last), ["hold_2", "hold_1"]);
    let history = state.hold_history(&hold(2), 1).unwrap();
    assert_eq!(
        (history.approved, history.refused, ids(&history.last)),
        (1, 0, vec!["hold_1"]),
        "others alone"
    );
    assert_eq!(state.hold_history(&hold(1), 9).unwrap().last, [], "and what came before");

    assert!(matches!(seek(&state, 2, 50), Sought::Refused { .. }));
    assert_eq!(state.turned_away(), [("run", 1), ("all", 0), ("refusals", 0), ("refused", 1)]);

    // Those of one change stay together: three end at once.
    let (_, since) = state.holds_since(u64::MAX, 9).unwrap();
    assert_eq!(state.acting("tollbook", 60).end_holds_of("run_1", "revoked", 60).unwrap(), 3);
    let (changed, _) = state.holds_since(since, 2).unwrap();
    assert_eq!(ids(&changed), ["hold_1", "hold_3", "hold_4"]);
    assert_eq!(state.unrecorded_count().unwrap(), 3);
}

#[test]
fn when_a_tool_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let tool = |text: &str| {
        let json = format!("{{\"description\":\"{text}\"}}");
        let digest = Hash::of(json.as_bytes());
        [("transfer".to_owned(), Definition { json, digest })]
    };
    state.see_tools(("bank", Paging::WHOLE), &tool("one"), Newcomer::Pinned, 10).unwrap();
    let accepted = || state.pinned("bank", "transfer").unwrap().map(|(pin, at)| (pin.accepted_by, at));
    assert_eq!(accepted(), Some((None, Some(10))), "at first sight");
    let two = tool("two");
    state.see_tools(("bank", Paging::WHOLE), &two, Newcomer::Pinned, 20).unwrap();
    assert_eq!(accepted(), Some((None, Some(10))), "nobody has accepted the other");
    let ops = state.acting("os:1000", 30);
    assert!(ops.accept_tool("bank", "transfer", two[0].1.digest, "os:1000").unwrap());
    assert_eq!(accepted(), Some((Some("os:1000".to_owned()), Some(30))));
    assert_eq!(state.pinned("bank", "balance").unwrap(), None);
}
