//! Pinned tools: what is accepted at first sight, what waits, and what accepting takes.

use expect_test::{Expect, expect};
use ledger::Hash;
use store::state::{Definition, Mark, Newcomer, Paging, Pin, State};

fn tool(name: &str, version: &str) -> (String, Definition) {
    let json = format!(r#"{{"name":"{name}","description":"{version}"}}"#);
    let digest = Hash::of(json.as_bytes());
    (name.to_owned(), Definition { json, digest })
}

fn told(pins: &[Pin]) -> String {
    let version = |side: &Option<Definition>| {
        side.as_ref().map_or("-".to_owned(), |side| side.json.split('"').nth(7).unwrap().to_owned())
    };
    let line = |pin: &Pin| {
        let (accepted, waiting) = (version(&pin.accepted), version(&pin.waiting));
        let by = pin.accepted_by.as_deref().unwrap_or("first sight");
        format!("{}/{} accepted {accepted} waiting {waiting} by {by}\n", pin.server, pin.tool)
    };
    pins.iter().map(line).collect()
}

fn check(pins: &[Pin], expected: &Expect) {
    expected.assert_eq(&told(pins));
}

#[test]
fn what_comes_later_waits_until_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let first = [tool("add", "one"), tool("drop", "one")];
    check(
        &state.see_tools(("db", Paging::WHOLE), &first, Newcomer::Waiting, 10).unwrap(),
        &expect![[r#"
            db/add accepted one waiting - by first sight
            db/drop accepted one waiting - by first sight
        "#]],
    );
    assert_eq!(
        state.see_tools(("db", Paging::WHOLE), &first, Newcomer::Waiting, 11).unwrap(),
        [],
        "nothing is different"
    );
    let later = [tool("add", "two"), tool("drop", "one"), tool("exec", "one")];
    check(
        &state.see_tools(("db", Paging::WHOLE), &later, Newcomer::Waiting, 12).unwrap(),
        &expect![[r#"
            db/add accepted one waiting two by first sight
            db/exec accepted - waiting one by first sight
        "#]],
    );
    assert_eq!(
        state.see_tools(("db", Paging::WHOLE), &later, Newcomer::Pinned, 13).unwrap(),
        [],
        "who waits goes on waiting"
    );
    let two = tool("add", "two").1.digest;
    assert!(!state.accept_tool("db", "add", tool("add", "three").1.digest, "ops").unwrap());
    assert!(!state.accept_tool("db", "none", two, "ops").unwrap());
    assert!(state.accept_tool("db", "add", two, "ops").unwrap());
    assert!(!state.accept_tool("db", "add", two, "ops").unwrap(), "it waits no more");
    check(
        &state
            .see_tools(
                ("db", Paging::WHOLE),
                &[tool("exec", "two"), tool("find", "one")],
                Newcomer::Pinned,
                14,
            )
            .unwrap(),
        &expect![[r#"
            db/exec accepted - waiting two by first sight
            db/find accepted one waiting - by first sight
        "#]],
    );
    check(
        &state.pins().unwrap(),
        &expect![[r#"
            db/add accepted two waiting - by ops
            db/drop accepted one waiting - by first sight
            db/exec accepted - waiting two by first sight
            db/find accepted one waiting - by first sight
        "#]],
    );
}

#[test]
fn a_definition_that_comes_back_waits_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    for version in ["one", "two", "one"] {
        state.see_tools(("db", Paging::WHOLE), &[tool("add", version)], Newcomer::Waiting, 10).unwrap();
    }
    check(
        &state.pins().unwrap(),
        &expect![[r#"
            db/add accepted one waiting - by first sight
        "#]],
    );
}

#[test]
fn another_process_sees_what_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = State::open(folder.path()).unwrap();
    gateway.see_tools(("db", Paging::WHOLE), &[tool("add", "one")], Newcomer::Pinned, 10).unwrap();
    gateway.see_tools(("db", Paging::WHOLE), &[tool("add", "two")], Newcomer::Pinned, 11).unwrap();
    let seen = gateway.changes(Mark::default()).unwrap().unwrap();
    assert_eq!(seen.pins.len(), 1);
    let command = State::open(folder.path()).unwrap();
    assert!(command.accept_tool("db", "add", tool("add", "two").1.digest, "ops").unwrap());
    let changes = gateway.changes(seen.mark).unwrap().unwrap();
    check(
        &changes.pins,
        &expect![[r#"
            db/add accepted two waiting - by ops
        "#]],
    );
}

/// A page of a list: the cursor that it was asked for by, and the one that it gives. Gives the tools on it that wait.
fn waits(state: &State, (cursor, next): (&str, &str), tools: &[&str], now: u64) -> Vec<String> {
    let digest = |cursor: &str| (!cursor.is_empty()).then(|| Hash::of(cursor.as_bytes()));
    let paging = Paging { cursor: digest(cursor), next: digest(next) };
    let tools: Vec<_> = tools.iter().map(|name| tool(name, "one")).collect();
    let seen = state.see_tools(("db", paging), &tools, Newcomer::Waiting, now).unwrap();
    seen.into_iter().filter(|pin| pin.waiting.is_some()).map(|pin| pin.tool).collect()
}

const NONE: [&str; 0] = [];

#[test]
fn the_first_list_pins_all_of_its_pages() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    assert_eq!(waits(&state, ("", "2"), &["a", "b"], 10), NONE);
    assert_eq!(waits(&state, ("", "2"), &["a", "b", "wipe"], 11), ["wipe"], "it has begun already");
    assert_eq!(waits(&state, ("9", ""), &["drop"], 12), ["drop"], "no page has given that cursor");
    assert!(state.is_first_list_open("db", 12).unwrap(), "nor does that end it");
    // Another client is given other cursors, and nothing new on the way.
    assert_eq!(waits(&state, ("", "two"), &["a", "b"], 13), NONE);
    assert_eq!(waits(&state, ("2", "3"), &["c"], 14), NONE);
    assert_eq!(waits(&state, ("two", "three"), &["c"], 15), NONE);
    assert_eq!(waits(&state, ("three", ""), &["d"], 16), NONE);
    assert!(!state.is_first_list_open("db", 16).unwrap());
    assert_eq!(waits(&state, ("3", ""), &["d", "exec"], 17), ["exec"], "it is at its end");
    assert_eq!(waits(&state, ("", "2"), &["a", "b", "find"], 18), ["find"]);
    assert_eq!(waits(&state, ("2", ""), &["c", "grep"], 19), ["grep"], "later lists open it no more");
}

#[test]
fn a_first_list_without_an_end_is_trusted_for_ten_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    assert_eq!(waits(&state, ("", "2"), &["a"], 10), NONE);
    assert_eq!(waits(&state, ("2", "3"), &["b"], 300), NONE);
    assert_eq!(waits(&state, ("3", "4"), &["c"], 609), NONE);
    assert!(!state.is_first_list_open("db", 610).unwrap());
    assert_eq!(waits(&state, ("4", "5"), &["d"], 610), ["d"], "the time counts from the first page");
    assert_eq!(waits(&state, ("5", ""), &["e"], 611), ["e"]);
}

#[test]
fn a_first_list_is_not_trusted_for_more_cursors_than_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let cursors: Vec<String> = (0..=1_001).map(|number| number.to_string()).collect();
    assert_eq!(waits(&state, ("", "0"), &["a"], 10), NONE);
    for pair in cursors[..1_000].windows(2) {
        assert_eq!(waits(&state, (&pair[0], &pair[1]), &[], 11), NONE);
    }
    assert_eq!(waits(&state, ("999", "1000"), &["b"], 12), NONE);
    assert_eq!(waits(&state, ("1000", "1001"), &["c"], 13), ["c"]);
}
