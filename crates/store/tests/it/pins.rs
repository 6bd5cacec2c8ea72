//! Pinned tools: what is accepted at first sight, what waits, and what accepting takes.

use expect_test::{Expect, expect};
use ledger::Hash;
use store::state::{Definition, Mark, Newcomer, Pin, State};

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
        &state.see_tools("db", &first, Newcomer::Waiting, 10).unwrap(),
        &expect![[r#"
            db/add accepted one waiting - by first sight
            db/drop accepted one waiting - by first sight
        "#]],
    );
    assert_eq!(state.see_tools("db", &first, Newcomer::Waiting, 11).unwrap(), [], "nothing is different");
    let later = [tool("add", "two"), tool("drop", "one"), tool("exec", "one")];
    check(
        &state.see_tools("db", &later, Newcomer::Waiting, 12).unwrap(),
        &expect![[r#"
            db/add accepted one waiting two by first sight
            db/exec accepted - waiting one by first sight
        "#]],
    );
    assert_eq!(state.see_tools("db", &later, Newcomer::Pinned, 13).unwrap(), [], "who waits goes on waiting");
    let two = tool("add", "two").1.digest;
    assert!(!state.accept_tool("db", "add", tool("add", "three").1.digest, "ops").unwrap());
    assert!(!state.accept_tool("db", "none", two, "ops").unwrap());
    assert!(state.accept_tool("db", "add", two, "ops").unwrap());
    assert!(!state.accept_tool("db", "add", two, "ops").unwrap(), "it waits no more");
    check(
        &state.see_tools("db", &[tool("exec", "two"), tool("find", "one")], Newcomer::Pinned, 14).unwrap(),
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
        state.see_tools("db", &[tool("add", version)], Newcomer::Waiting, 10).unwrap();
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
    gateway.see_tools("db", &[tool("add", "one")], Newcomer::Pinned, 10).unwrap();
    gateway.see_tools("db", &[tool("add", "two")], Newcomer::Pinned, 11).unwrap();
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
