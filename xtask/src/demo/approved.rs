//! With whose yes: a call that cannot be undone waits for somebody else, is refused once and approved once.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::bank::{Office, POLICIES, expect};
use super::process::{PATIENCE, title};
use crate::shell::say;

const HELD: &str = r#"
@id("closing")
@hold("managers")
@reason("an account that is closed stays closed")
permit (principal in Group::"tellers", action == Action::"tools/call", resource == Tool::"bank/close_account");
"#;

/// Of the operator, who is asked for it nowhere else.
const PASSWORD: &str = "correct horse battery";

/// Shows it.
pub(super) fn run(office: &Office<'_>) -> anyhow::Result<()> {
    title("With whose yes: closing an account waits for a manager");
    HELD.trim_start().lines().for_each(|line| say(&format!("  {line}")));
    std::fs::write(office.folder.join("bank.cedar"), format!("{POLICIES}{HELD}"))?;
    let gateway = i32::try_from(office.gateway.child.id()).ok().and_then(Pid::from_raw);
    kill_process(gateway.context("no gateway")?, Signal::HUP)?;
    enrol(office)?;

    let mut teller = office.banker("closing");
    let teller = teller.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot run node")?;
    let first = waiting(office, "")?;
    office.shows(0, &["approvals", "show", &first], &["acct-7", "an account that is closed stays closed"])?;
    decide(office, &["refuse", &first, "--reason", "there is money in it"])?;
    let second = waiting(office, &first)?;
    decide(office, &["grant", &second])?;
    let output = teller.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    say(&format!("\n{}", said.trim_end()));
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    expect(&said, &["was refused: there is money in it", "acct-7 is closed"])?;
    office.shows(0, &["approvals", "list", "--all"], &["used", "refused"])?;
    office.shows(0, &["calls", "name:close_account verdict:hold"], &["close_account"])?;
    office.shows(0, &["operators", "actions"], &["approvals.refuse", "approvals.grant"])
}

/// A manager with a password.
fn enrol(office: &Office<'_>) -> anyhow::Result<()> {
    let added = office.tollbook(&["operators", "add", "noor", "--roles", "approver"]).output()?;
    let link = format!("{}{}", office.console, String::from_utf8_lossy(&added.stdout).trim());
    let origin = &office.console;
    office.script(&format!(
        "const answer = await fetch({link:?}, {{ method: 'POST', redirect: 'manual', headers: {{ origin: {origin:?} }}, \
         body: new URLSearchParams({{ password: {PASSWORD:?}, again: {PASSWORD:?} }}) }}); \
         if (answer.status !== 303) throw new Error(await answer.text())"
    ))?;
    std::fs::write(office.folder.join("password"), PASSWORD)?;
    office.shows(0, &["operators", "groups", "noor", "managers"], &[])
}

/// The id of the hold that waits, other than one.
fn waiting(office: &Office<'_>, other: &str) -> anyhow::Result<String> {
    let begun = Instant::now();
    loop {
        let output = office.tollbook(&["approvals", "list", "--json"]).output()?;
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let ids = lines.lines().filter_map(|line| {
            let hold: Value = serde_json::from_str(line).ok()?;
            Some(hold.get("id")?.as_str()?.to_owned())
        });
        if let Some(id) = ids.into_iter().find(|id| id != other) {
            return Ok(id);
        }
        ensure!(begun.elapsed() < PATIENCE, "nothing waits");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn decide(office: &Office<'_>, arguments: &[&str]) -> anyhow::Result<()> {
    let password = office.folder.join("password").display().to_string();
    let whole = [&["approvals"], arguments, &["--operator", "noor", "--password-file", &password]].concat();
    office.shows(0, &whole, &[])
}
