//! What is not derivable: written durably, seen by other processes at once.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use ledger::{Hash, RunId};
use store::state::{
    AccessKey, Action, Budget, Deed, Mark, MintedRun, Refresh, RegisteredClient, RunAdded, State, StateError,
};

pub(crate) fn key(id: &str) -> AccessKey {
    AccessKey {
        id: id.to_owned(),
        name: "ci-bot".to_owned(),
        groups: vec!["ci".to_owned(), "writers".to_owned()],
        note: "nightly".to_owned(),
        created: 100,
        created_by: "ops".to_owned(),
        expires: 900,
        revoked: None,
        used: None,
        digest: Hash::of(b"secret"),
        previous: None,
    }
}

pub(crate) fn run(byte: u8, parent: Option<RunId>) -> MintedRun {
    MintedRun {
        id: RunId([byte; 16]),
        kind: "user".to_owned(),
        principal: "alice".to_owned(),
        issuer: "https://idp.example".to_owned(),
        groups: vec!["eng".to_owned()],
        actors: "[]".to_owned(),
        purpose: Some("tidy the backlog".to_owned()),
        scope: None,
        audience: vec!["https://gate.example".to_owned()],
        parent,
        bound: None,
        created: 100 + u64::from(byte),
        expires: 900,
        minted_by: "alice".to_owned(),
        revoked: None,
        revoked_by: None,
        login: None,
        key: None,
    }
}

#[test]
fn keys_are_kept_rotated_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    assert!(state.add_key(&key("aaaa1111")).unwrap());
    assert!(!state.add_key(&key("aaaa1111")).unwrap(), "the id is taken");
    assert!(state.add_key(&key("bbbb2222")).unwrap());
    assert_eq!(state.key("aaaa1111").unwrap(), Some(key("aaaa1111")));
    assert_eq!(state.keys("aa").unwrap(), [key("aaaa1111")]);
    assert_eq!(state.keys("").unwrap().len(), 2);
    assert_eq!(state.keys("%").unwrap(), []);

    assert!(state.rotate_key("aaaa1111", Hash::of(b"next"), 300, 1_900).unwrap());
    let rotated = state.key("aaaa1111").unwrap().unwrap();
    assert_eq!(rotated.digest, Hash::of(b"next"));
    assert_eq!(rotated.previous, Some((Hash::of(b"secret"), 300)));
    assert_eq!(rotated.expires, 1_900);
    assert!(state.rotate_key("aaaa1111", Hash::of(b"third"), 9_999, 9_999).unwrap());
    let rotated = state.key("aaaa1111").unwrap().unwrap();
    assert_eq!(rotated.previous, Some((Hash::of(b"next"), 1_900)), "never longer than it would have lived");

    state.key_used("aaaa1111", 500).unwrap();
    state.key_used("aaaa1111", 400).unwrap();
    assert_eq!(state.key("aaaa1111").unwrap().unwrap().used, Some(500), "the last use");
    assert!(state.revoke_key("aaaa1111", 600).unwrap());
    assert!(!state.revoke_key("aaaa1111", 700).unwrap());
    assert_eq!(state.key("aaaa1111").unwrap().unwrap().revoked, Some(600), "the first time counts");
    assert!(!state.rotate_key("aaaa1111", Hash::of(b"fourth"), 700, 9_999).unwrap(), "revoked is revoked");
    assert!(!state.revoke_key("cccc3333", 600).unwrap());
}

#[test]
fn runs_are_kept_narrowed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let (first, child) = (run(1, None), run(2, Some(RunId([1; 16]))));
    state.add_run(&first).unwrap();
    state.add_run(&child).unwrap();
    assert_eq!(state.minted_run(first.id).unwrap(), Some(first.clone()));
    assert_eq!(state.minted_runs(9).unwrap(), [child.clone(), first.clone()], "newest first");
    assert!(state.add_run(&run(3, Some(RunId([9; 16])))).is_err(), "a child of nobody");
    assert!(state.add_run(&first).is_err(), "twice");

    assert!(state.rescope_run(first.id, None, "github").unwrap());
    assert!(!state.rescope_run(first.id, None, "files").unwrap(), "it has changed meanwhile");
    assert_eq!(state.minted_run(first.id).unwrap().unwrap().scope.as_deref(), Some("github"));
    assert!(state.revoke_run(child.id, "ops", 300).unwrap());
    assert!(!state.revoke_run(child.id, "ops", 400).unwrap());
    assert!(!state.rescope_run(child.id, None, "github").unwrap(), "revoked is revoked");
    let revoked = state.minted_run(child.id).unwrap().unwrap();
    assert_eq!((revoked.revoked, revoked.revoked_by.as_deref()), (Some(300), Some("ops")));
}

#[test]
fn changes_of_any_connection_are_seen_at_once_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = State::open(folder.path()).unwrap();
    let command = State::open(folder.path()).unwrap();
    let first = gateway.changes(Mark::default()).unwrap().unwrap();
    assert!(first.keys.is_empty() && first.runs.is_empty());
    assert!(gateway.changes(first.mark).unwrap().is_none());

    command.add_run(&run(1, None)).unwrap();
    gateway.add_key(&key("aaaa1111")).unwrap();
    let both = gateway.changes(first.mark).unwrap().unwrap();
    assert_eq!((both.keys.len(), both.runs.len()), (1, 1));
    assert!(gateway.changes(both.mark).unwrap().is_none());

    command.revoke_run(RunId([1; 16]), "ops", 300).unwrap();
    let revoked = gateway.changes(both.mark).unwrap().unwrap();
    assert_eq!((revoked.keys.len(), revoked.runs.len()), (0, 1), "only what changed");
    assert_eq!(revoked.runs[0].revoked, Some(300));
    let anew = gateway.changes(Mark::default()).unwrap().unwrap();
    assert_eq!((anew.keys.len(), anew.runs.len()), (1, 1), "from the beginning, everything");
}

#[test]
fn a_change_that_was_announced_and_not_made_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = State::open(folder.path()).unwrap();
    let command = State::open(folder.path()).unwrap();
    let first = gateway.changes(Mark::default()).unwrap().unwrap();
    command.add_run(&run(1, None)).unwrap();
    assert!(command.add_run(&run(1, None)).is_err(), "announced, and taken back");
    let seen = gateway.changes(first.mark).unwrap().unwrap();
    assert_eq!(seen.runs.len(), 1);
    assert!(gateway.changes(seen.mark).unwrap().is_none());
    // What a process that ended in the midst of a change leaves behind, and what a folder has that was put together by hand.
    for left in [99_i64.to_le_bytes().as_slice(), &[0; 3], &1_i64.to_le_bytes()] {
        std::fs::write(folder.path().join("state.change"), left).unwrap();
        let before = gateway.changes(Mark::default()).unwrap().unwrap();
        assert!(gateway.changes(before.mark).unwrap().is_none());
        assert!(command.rescope_run(RunId([1; 16]), before.runs[0].scope.as_deref(), "files").unwrap());
        assert_eq!(gateway.changes(before.mark).unwrap().unwrap().runs.len(), 1);
    }
}

#[test]
fn to_open_it_twice_keeps_its_locks() {
    let folder = tempfile::tempdir().unwrap();
    let first = State::open(folder.path()).unwrap();
    drop(State::open(folder.path()).unwrap());
    // Whoever closes the file last, as others see it, removes the log of who still has it open.
    let inode = std::fs::metadata(folder.path().join("state.sqlite")).unwrap().ino();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    assert!(locks.lines().any(|lock| lock.contains(&format!(":{inode} "))), "{locks}");
    drop(first);
}

#[test]
fn the_file_is_private_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    State::open(&data).unwrap().add_key(&key("aaaa1111")).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("state.sqlite")), 0o600);
    assert_eq!(mode(&data.join("state.change")), 0o600);
    assert_eq!(State::open(&data).unwrap().keys("").unwrap(), [key("aaaa1111")]);
}

#[test]
fn a_newer_or_broken_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    drop(State::open(folder.path()).unwrap());
    let path = folder.path().join("state.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    // The user version stands at offset 60 of a database's header.
    bytes[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let error = State::open(folder.path()).unwrap_err();
    assert!(matches!(error, StateError::Newer { found: 99, known: 16, .. }), "{error}");
    std::fs::write(&path, b"this is no database, whatever its name says; it is a text of many characters")
        .unwrap();
    let error = State::open(folder.path()).unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error}");
}

#[test]
fn refresh_tokens_are_spent_once_and_a_second_time_revokes() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let login = run(1, None);
    state.add_run(&login).unwrap();
    let digest = |text: &str| Hash::of(text.as_bytes());
    state.add_refresh(login.id, "editor", digest("1"), 100).unwrap();
    let rotate = |client: &str, from: &str, to: &str| {
        state.rotate_refresh(client, digest(from), digest(to), 200).unwrap()
    };
    assert_eq!(rotate("shell", "1", "x"), Refresh::Unknown, "another client's");
    assert_eq!(rotate("editor", "0", "x"), Refresh::Unknown);
    assert_eq!(rotate("editor", "1", "2"), Refresh::Rotated(login.id));
    assert_eq!(rotate("editor", "2", "3"), Refresh::Rotated(login.id));
    assert_eq!(state.minted_run(login.id).unwrap().unwrap().revoked, None);
    assert_eq!(rotate("editor", "1", "y"), Refresh::Reused(login.id), "however long ago");
    assert_eq!(state.minted_run(login.id).unwrap().unwrap().revoked, Some(200));
    state.add_refresh(login.id, "editor", digest("9"), 901).unwrap();
    assert_eq!(rotate("editor", "3", "4"), Refresh::Unknown, "the run has expired");
}

#[test]
fn runs_of_a_key_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    state.add_key(&key("aaaa1111")).unwrap();
    let of_key = |byte, parent| MintedRun { key: Some("aaaa1111".to_owned()), ..run(byte, parent) };
    let (own, over) = (of_key(1, None), MintedRun { expires: 120, ..of_key(2, None) });
    for run in [&own, &over, &run(3, None), &of_key(4, Some(RunId([3; 16])))] {
        assert_eq!(state.add_run(run).unwrap(), RunAdded::Done);
    }
    assert!(state.revoke_key("aaaa1111", 130).unwrap());
    let revoked = |byte| state.minted_run(RunId([byte; 16])).unwrap().unwrap().revoked;
    assert_eq!(
        [1, 2, 3, 4].map(revoked),
        [Some(130), None, None, Some(130)],
        "the second was over, the third has no key"
    );
    let by = state.minted_run(own.id).unwrap().unwrap().revoked_by;
    assert_eq!(by.as_deref(), Some("the revocation of key aaaa1111"));
    assert_eq!(state.add_run(&of_key(5, None)).unwrap(), RunAdded::KeyRevoked, "it was on its way meanwhile");
    assert_eq!(state.minted_run(RunId([5; 16])).unwrap(), None);
}

#[test]
fn so_many_runs_live_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let parent = Some(run(1, None).id);
    state.add_run(&run(1, None)).unwrap();
    state.add_run(&run(2, parent)).unwrap();
    let copy = |of: u8, times: u32| {
        let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) \
                   INSERT INTO runs SELECT randomblob(16), kind, principal, issuer, groups, actors, purpose, scope, audience, \
                   parent, bound, created, expires, minted_by, revoked, revoked_by, changed, login, key FROM runs, n WHERE id = ?1";
        let db = rusqlite::Connection::open(folder.path().join("state.sqlite")).unwrap();
        db.execute(sql, rusqlite::params![[of; 16], times]).unwrap();
    };
    copy(2, 998);
    assert_eq!(state.add_run(&run(3, parent)).unwrap(), RunAdded::Done);
    assert_eq!(state.add_run(&run(4, parent)).unwrap(), RunAdded::Crowded);
    let later = MintedRun { created: 900, expires: 1_000, ..run(4, parent) };
    assert_eq!(state.add_run(&later).unwrap(), RunAdded::Done, "they have ended");
    copy(1, 9_000);
    assert_eq!(state.add_run(&run(5, None)).unwrap(), RunAdded::Crowded);
    let other = MintedRun { issuer: "https://other.example".to_owned(), ..run(5, None) };
    assert_eq!(state.add_run(&other).unwrap(), RunAdded::Done, "another alice");
}

fn client(n: u64) -> RegisteredClient {
    RegisteredClient {
        id: format!("c-{n}"),
        name: "editor".to_owned(),
        redirects: vec!["http://127.0.0.1/cb".to_owned()],
        created: n,
    }
}

#[test]
fn clients_that_register_and_never_log_in_are_bounded_and_push_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let known = |n: u64| state.client(&format!("c-{n}")).unwrap().is_some();
    state.add_run(&run(1, None)).unwrap();
    state.add_run(&MintedRun { expires: 110, ..run(2, None) }).unwrap();
    for n in 0..2 {
        assert!(state.add_client(&client(n)).unwrap());
    }
    assert_eq!(state.client("c-0").unwrap(), Some(client(0)));
    state.add_refresh(RunId([2; 16]), "c-1", Hash::of(b"1"), 100).unwrap();
    state.add_refresh(RunId([1; 16]), "c-0", Hash::of(b"2"), 120).unwrap();
    assert_eq!(state.refresh_of("c-1", Hash::of(b"1")).unwrap(), None, "its login is over");
    for n in 2..1_002 {
        assert!(state.add_client(&RegisteredClient { created: 1_000 + n / 10, ..client(n) }).unwrap(), "{n}");
    }
    let late = |n: u64, created: u64| state.add_client(&RegisteredClient { created, ..client(n) }).unwrap();
    assert!(!late(1_002, 1_599), "all of them may be about to log in");
    assert!(known(2) && known(1_001) && !known(1_002));
    assert!(late(1_003, 1_600), "the oldest had its time");
    assert!(!known(2) && known(3) && known(1_003));
    for n in 1_004..1_010 {
        assert!(late(n, 3_000), "{n}");
    }
    assert!(!known(3) && !known(8) && known(9) && known(1_003), "the oldest first");
    assert!(known(0) && known(1), "who ever logged in stays");
}

#[test]
fn a_client_that_registers_is_no_change_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let (state, other) = (State::open(folder.path()).unwrap(), State::open(folder.path()).unwrap());
    let marks = [&state, &other].map(|state| state.changes(Mark::default()).unwrap().unwrap().mark);
    state.add_client(&client(0)).unwrap();
    assert!(state.changes(marks[0]).unwrap().is_none() && other.changes(marks[1]).unwrap().is_none());
    state.add_run(&run(1, None)).unwrap();
    let marks = [(&state, marks[0]), (&other, marks[1])].map(|(state, mark)| {
        let changes = state.changes(mark).unwrap().unwrap();
        assert_eq!(changes.runs, [run(1, None)]);
        changes.mark
    });
    other.add_client(&client(1)).unwrap();
    assert!(state.changes(marks[0]).unwrap().is_none() && other.changes(marks[1]).unwrap().is_none());
}

#[test]
fn what_an_operator_does_is_noted_with_it_and_kept_until_it_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = State::open(folder.path()).unwrap();
    let command = State::open(folder.path()).unwrap().acting("os:1000", 120);
    gateway.add_key(&key("bbbb2222")).unwrap();
    assert_eq!(gateway.unrecorded(9).unwrap(), [], "nobody acted");

    command.add_key(&key("aaaa1111")).unwrap();
    assert!(command.revoke_key("aaaa1111", 120).unwrap());
    assert!(!command.revoke_key("aaaa1111", 120).unwrap(), "nothing changes, nothing is noted");
    command.add_run(&run(1, None)).unwrap();
    command.add_run(&run(1, None)).unwrap_err();
    command.note(&Deed::refused("operators.login", "mira").because("wrong password")).unwrap();
    let told = |state: &State| -> Vec<String> {
        let line =
            |a: Action| format!("{} {} {} {:?} {}", a.who, a.what, a.subject, a.reason, a.outcome.as_str());
        state.unrecorded(9).unwrap().into_iter().map(line).collect()
    };
    assert_eq!(
        told(&gateway),
        [
            "os:1000 keys.create aaaa1111 Some(\"ci-bot\") done",
            "os:1000 keys.revoke aaaa1111 None done",
            "os:1000 run.mint run_01010101010101010101010101010101 Some(\"user:https://idp.example:alice\") done",
            "os:1000 operators.login mira Some(\"wrong password\") refused",
        ]
    );
    let [first, second, ..] = &gateway.unrecorded(9).unwrap()[..] else { panic!("two at least") };
    assert!(first.id != second.id && first.id.starts_with("act_"), "{} {}", first.id, second.id);
    gateway.mark_recorded(first.no, ledger::Seq(7)).unwrap();
    assert_eq!(told(&gateway).len(), 3, "in order, without the first");
    assert_eq!(gateway.actions(9).unwrap().last().unwrap().seq, Some(ledger::Seq(7)));
}

#[test]
fn what_runs_have_used_is_kept_until_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let budget = |run: &str, until_ms: u64, used: u64| Budget {
        run: run.to_owned(),
        until_ms,
        counters: vec![("policy\n2 calls per run".to_owned(), vec![(0, used)])],
    };
    {
        let state = State::open(folder.path()).unwrap();
        state.keep_budgets(&[budget("a", 10, 1), budget("b", 20, 1)], 5).unwrap();
        state.keep_budgets(&[budget("b", 30, 2)], 10).unwrap();
    }
    let state = State::open(folder.path()).unwrap();
    assert_eq!(state.budgets().unwrap(), [budget("b", 30, 2)], "the other one's time is over");
    let db = rusqlite::Connection::open(folder.path().join("state.sqlite")).unwrap();
    db.execute_batch("UPDATE budgets SET counters = 'x'").unwrap();
    assert!(matches!(state.budgets(), Err(StateError::Damaged { .. })), "it is not taken for nothing");
}
