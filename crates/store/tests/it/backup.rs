//! A state in a backup: who and what there was comes back, and nothing that lets anybody in or through.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ledger::{Hash, RunId, Seq};
use store::state::{
    AccessKey, Ballot, Bounds, Choice, Deed, Definition, Ended, HoldKey, HoldStatus, Mark, MintedRun, Need,
    NewHold, Newcomer, OperatorLink, OperatorRow, OperatorSession, Paging, Restoring, Sought, State,
    StateCopy, StateError,
};

use crate::state::{key, run};
use crate::tasks::{made, owner};

const HOW: Restoring<'_> = Restoring { who: "os:1", now: 500, taken: 200, records: Seq(10) };

fn copied(data: &Path, folder: &Path) -> StateCopy {
    StateCopy::make(data, folder).unwrap().expect("there is a state")
}

fn transfer(id: &str, digest: &[u8]) -> NewHold {
    NewHold {
        id: id.to_owned(),
        key: HoldKey {
            principal: "user:rob".to_owned(),
            run: "run_1".to_owned(),
            server: "bank".to_owned(),
            method: "tools/call".to_owned(),
            name: "transfer".to_owned(),
            digest: Hash::of(digest),
        },
        needs: vec![Need { group: "oncall".to_owned(), count: 1 }],
        pin: None,
        requesters: vec!["rob".to_owned()],
        agent: None,
        purpose: None,
        reason: None,
        policies: vec!["large transfers".to_owned()],
        deadline: 100_000,
    }
}

fn seek(state: &State, id: &str, digest: &[u8], now: u64) -> Sought {
    state.seek(&transfer(id, digest), (|_| None, || true), &Bounds::default(), now).unwrap()
}

/// A key, a run, an operator who is logged in, a tool, a server that is connected, an approval, and a call that waits.
fn filled(data: &Path) -> State {
    let state = State::open(data).unwrap().acting("os:1", 100);
    let key = AccessKey { expires: 9_000, digest: Hash::of(b"key"), ..key("aaaa1111") };
    assert!(state.add_key(&key).unwrap());
    assert!(state.rotate_key("aaaa1111", Hash::of(b"next"), 8_000, 9_000).unwrap());
    let run = MintedRun { expires: 9_000, ..run(1, None) };
    state.add_run(&run).unwrap();
    state.add_refresh(run.id, "editor", Hash::of(b"refresh"), 100).unwrap();
    logged_in(&state);
    let tool = Definition { json: r#"{"name":"transfer"}"#.to_owned(), digest: Hash::of(b"tool") };
    state
        .see_tools(("bank", Paging::WHOLE), &[("transfer".to_owned(), tool)], Newcomer::Pinned, 100)
        .unwrap();
    state.connect("bank", b"sealed", 100).unwrap();
    assert!(matches!(seek(&state, "hold_1", b"one", 100), Sought::Waits(_)));
    state.hold_recorded("hold_1", Seq(7)).unwrap();
    let ann = Ballot {
        who: "operator:local:ann",
        people: &["ann".to_owned()],
        groups: &["oncall".to_owned()],
        choice: Choice::Once,
    };
    assert!(state.cast("hold_1", &ann, 110).unwrap().counts());
    assert!(matches!(seek(&state, "hold_2", b"two", 120), Sought::Waits(_)));
    assert!(state.add_task(Hash::of(b"task"), &made("hold_2", 120, 9_000)).unwrap());
    state
}

fn logged_in(state: &State) {
    let row = OperatorRow {
        identity: "operator:local:ann".to_owned(),
        name: "ann".to_owned(),
        roles: vec!["approver".to_owned()],
        groups: vec![],
        password: None,
        created: 100,
        disabled: None,
    };
    let link = |digest: &[u8]| OperatorLink {
        digest: Hash::of(digest),
        identity: Some(row.identity.clone()),
        expires: 9_000,
    };
    assert!(state.add_operator(&row, &link(b"first")).unwrap());
    let chosen = OperatorRow { password: Some("digest".to_owned()), ..row.clone() };
    assert!(state.use_operator_link(Hash::of(b"first"), &chosen, 100).unwrap());
    assert!(state.add_operator_link(&link(b"second")).unwrap());
    let session = OperatorSession {
        digest: Hash::of(b"session"),
        identity: row.identity,
        name: "ann".to_owned(),
        groups: vec![],
        begun: 100,
        used: 100,
    };
    assert!(state.begin_operator_session(&session, None, &Deed::done("operators.login", "ann")).unwrap());
}

#[test]
fn what_lets_in_or_through_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let [data, copy, restored] = ["data", "copy", "restored"].map(|name| folder.path().join(name));
    std::fs::create_dir(&copy).unwrap();
    std::fs::create_dir(&restored).unwrap();
    let state = filled(&data);
    state.mark_recorded(1, Seq(3)).unwrap();
    state.mark_recorded(2, Seq(12)).unwrap();
    copied(&data, &copy);
    let names: Vec<_> = std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["state.backup"], "one file, and no other beside it");
    let mode = std::fs::metadata(copy.join("state.backup")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // After the backup: the approval is used, the key and the run are revoked.
    assert!(matches!(seek(&state, "hold_3", b"one", 130), Sought::Released(_)));
    assert!(
        state.revoke_key("aaaa1111", 130).unwrap() && state.revoke_run(RunId([1; 16]), "ops", 130).unwrap()
    );

    let ended = StateCopy::open(&copy).unwrap().unwrap().restore(&restored, HOW).unwrap();
    let expected = Ended { runs: 1, keys: 1, operators: 1, holds: 2, servers: vec!["bank".to_owned()] };
    assert_eq!(ended, expected);
    let names: Vec<_> =
        std::fs::read_dir(&restored).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["state.sqlite"], "nothing is left beside it");
    let state = State::open(&restored).unwrap();
    let key = state.key("aaaa1111").unwrap().unwrap();
    assert_eq!((key.name.as_str(), key.expires, key.previous), ("ci-bot", 500, None));
    assert!(key.digest != Hash::of(b"next") && key.digest != Hash::of(b"key"), "its secrets are void");
    assert_eq!(state.minted_run(RunId([1; 16])).unwrap().unwrap().revoked, Some(500));
    assert_eq!(state.refresh_of("editor", Hash::of(b"refresh")).unwrap(), None);
    let ann = state.operator("operator:local:ann").unwrap().unwrap();
    assert_eq!((ann.name.as_str(), ann.password), ("ann", None));
    assert_eq!(state.operator_session(Hash::of(b"session")).unwrap(), None);
    assert_eq!(state.operator_link(Hash::of(b"second"), 300).unwrap(), None);
    assert_eq!(state.connection("bank").unwrap().unwrap().sealed, None);
    for id in ["hold_1", "hold_2"] {
        let hold = state.hold(id).unwrap().unwrap();
        assert_eq!((hold.status, hold.asked), (HoldStatus::Withdrawn, None), "{hold:?}");
        assert!(hold.why.unwrap().contains("backup"));
    }
    assert_eq!(state.task(Hash::of(b"task"), &owner(), 300).unwrap(), None);
    assert!(matches!(seek(&state, "hold_4", b"one", 600), Sought::Waits(_)), "it is asked about anew");
    let pins = state.changes(Mark::default()).unwrap().unwrap().pins;
    assert!(pins.len() == 1 && pins[0].accepted.is_some(), "{pins:?}");
    let actions = state.actions(99).unwrap();
    let seq = |no: i64| actions.iter().find(|action| action.no == no).unwrap().seq;
    assert_eq!((seq(1), seq(2)), (Some(Seq(3)), None), "what the backup's log has not is recorded again");
    let newest = &actions[0];
    assert_eq!((newest.what.as_str(), newest.who.as_str(), newest.seq), ("state.restore", "os:1", None));
    assert_eq!(newest.reason.as_deref(), Some("as of 1970-01-01T00:03:20Z"));
}

#[test]
fn a_copy_that_is_not_sound_is_neither_kept_nor_restored() {
    let folder = tempfile::tempdir().unwrap();
    let [data, copy] = ["data", "copy"].map(|name| folder.path().join(name));
    std::fs::create_dir(&copy).unwrap();
    assert!(StateCopy::make(&data, &copy).unwrap().is_none() && StateCopy::open(&copy).unwrap().is_none());
    drop(filled(&data));
    copied(&data, &copy);
    let path = copy.join("state.backup");
    let good = std::fs::read(&path).unwrap();
    let put = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        StateCopy::open(&copy).unwrap_err()
    };
    let error = put(&|bytes| bytes[60..64].copy_from_slice(&99_u32.to_be_bytes()));
    assert!(matches!(error, StateError::Newer { found: 99, .. }), "{error}");
    for error in [
        put(&|bytes| bytes.truncate(bytes.len() / 2)),
        put(&|bytes| bytes.clear()),
        put(&|bytes| bytes[..16].fill(b'x')),
        put(&|bytes| bytes[4096..4200].fill(0xff)),
    ] {
        assert!(matches!(error, StateError::Copy { .. }), "{error}");
    }
    std::fs::write(&path, &good).unwrap();
    std::fs::write(data.join("state.sqlite"), "no database").unwrap();
    StateCopy::make(&data, &copy).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), good, "the copy before stays");
    StateCopy::remove(&copy).unwrap();
    assert!(StateCopy::open(&copy).unwrap().is_none());
}
