//! Tools as they were accepted, and those that wait for somebody to look at them.

use std::io::Write;

use anyhow::Context as _;
use policy::pin::{self, Names};
use serde::Serialize;
use store::state::{Pin, State};

use crate::read::{Mistake, text};
use crate::{clock, credentials};

/// Width of a value in a difference.
const VALUE: usize = 100;

/// A tool, for programs.
#[derive(Serialize)]
struct Row<'a> {
    server: &'a str,
    tool: &'a str,
    standing: &'static str,
    accepted: Option<String>,
    waiting: Option<String>,
    accepted_by: Option<&'a str>,
    first_seen: u64,
    seen: u64,
    findings: Vec<String>,
}

/// Lists tools; 1 if there are none.
pub(super) fn list(state: &State, waiting: bool, json: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    let pins = state.pins()?;
    let mut none = true;
    let names = names(&pins);
    for pin in pins.iter().filter(|pin| !waiting || pin.waiting.is_some()) {
        none = false;
        if json {
            writeln!(out, "{}", text::json_line(&row(pin, &names))?)?;
        } else {
            let name = format!("{}/{}", pin.server, pin.tool);
            writeln!(out, "{}  {}", text::cell(&name, 48), standing(pin))?;
            for finding in findings(pin, &names) {
                writeln!(out, "  look at {}", text::visible(&finding))?;
            }
        }
    }
    Ok(u8::from(none))
}

/// Shows what waits, and accepts it if that is asked for.
pub(super) fn accept(state: &State, tool: &str, yes: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    let pins = state.pins()?;
    let named = |pin: &&Pin| format!("{}/{}", pin.server, pin.tool) == tool;
    let found = pins.iter().find(named).and_then(|pin| Some((pin, pin.waiting.as_ref()?)));
    let Some((pin, waiting)) = found else {
        let hint = "`tollbook policy tools --waiting` lists those that do";
        return Err(Mistake(format!("no tool `{tool}` waits to be accepted; {hint}")).into());
    };
    let before = pin.accepted.as_ref().map_or("{}", |accepted| accepted.json.as_str());
    for change in pin::changes(before, &waiting.json)? {
        let value =
            |side: Option<String>| side.map_or_else(|| "-".to_owned(), |side| text::cut(&side, VALUE));
        writeln!(out, "{}", text::visible(&change.member))?;
        writeln!(out, "  - {}", value(change.before))?;
        writeln!(out, "  + {}", value(change.after))?;
    }
    for finding in findings(pin, &names(&pins)) {
        writeln!(out, "look at {}", text::visible(&finding))?;
    }
    if !yes {
        writeln!(out, "to accept this: tollbook policy accept {} --yes", text::visible(tool))?;
        return Ok(0);
    }
    let who = credentials::who();
    let accepted = state.acting(&who, clock::unix_seconds()).accept_tool(
        &pin.server,
        &pin.tool,
        waiting.digest,
        &who,
    )?;
    accepted.then_some(()).context("the tool has changed again just now; look at it once more")?;
    writeln!(out, "accepted; a running gateway goes by it from the next message on")?;
    Ok(0)
}

fn names(pins: &[Pin]) -> Names {
    Names::of(pins.iter().map(|pin| (pin.server.as_str(), pin.tool.as_str())))
}

/// What is odd about a tool as its server described it last.
fn findings(pin: &Pin, names: &Names) -> Vec<String> {
    let said = pin.waiting.as_ref().or(pin.accepted.as_ref());
    let odd = said.map(|side| pin::inspect(&side.json)).unwrap_or_default();
    let odd = odd.into_iter().chain(names.like(&pin.server, &pin.tool));
    odd.map(|one| format!("{}: {}", one.member, one.text)).collect()
}

fn row<'a>(pin: &'a Pin, names: &Names) -> Row<'a> {
    Row {
        server: &pin.server,
        tool: &pin.tool,
        standing: standing(pin),
        accepted: pin.accepted.as_ref().map(|side| side.digest.to_string()),
        waiting: pin.waiting.as_ref().map(|side| side.digest.to_string()),
        accepted_by: pin.accepted_by.as_deref(),
        first_seen: pin.first_seen,
        seen: pin.seen,
        findings: findings(pin, names),
    }
}

fn standing(pin: &Pin) -> &'static str {
    match (&pin.accepted, &pin.waiting) {
        (_, None) => "accepted",
        (None, Some(_)) => "new, waits",
        (Some(_), Some(_)) => "changed, waits",
    }
}
