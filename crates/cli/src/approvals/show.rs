//! What people are shown of a hold.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use console::{Call, Card, Listed, Look, Sight};
use store::state::{Hold, HoldStatus, Mark, Need, State};

use super::day;
use crate::read::text::Limits;
use crate::read::{index, text};

/// Between two looks for changes.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments up to this width stay on one line.
const ONE_LINE: usize = 100;

/// One line.
pub(super) fn line(hold: &Hold) -> String {
    let Hold { id, key, status, created, needs, .. } = hold;
    format!(
        "{}  {}  {}  {}  {}  {}",
        text::visible(id),
        text::cell(status.as_str(), 9),
        day(*created),
        text::cell(&key.principal, 30),
        text::cell(&format!("{}/{}", key.server, key.name), 40),
        text::visible(&Need::people(needs)),
    )
}

/// One JSON object.
pub(super) fn json(hold: &Hold) -> serde_json::Result<String> {
    text::json_line(&Listed::of(hold))
}

/// All there is to know before deciding, and what came of it.
pub(super) fn all(
    state: &State,
    hold: &Hold,
    (data, as_json): (&Path, bool),
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    // Without an index there is less to tell, and the call can be decided on all the same.
    let opened = index::open(data).ok();
    let payload = |seq| index::payload(data, seq);
    let look = Look { state, index: opened.as_ref().map(|opened| &opened.index), payload: &payload };
    let card = look.card(hold, Sight::Whole)?;
    if as_json {
        writeln!(out, "{}", text::json_line(&card)?)?;
        return Ok(());
    }
    writeln!(out, "{}", line(hold))?;
    facts(&card, out)?;
    arguments(&card, out)?;
    around(&card, out)
}

fn facts(card: &Card, out: &mut dyn Write) -> anyhow::Result<()> {
    let Listed { run, agent, purpose, reason, why, outcome, policies, deadline, .. } = &card.hold;
    let agent = agent.as_ref().map(|agent| format!("{agent}, as it calls itself"));
    let policies = Some(policies.join(", "));
    for (what, told) in [
        ("run", &Some(run.clone())),
        ("agent", &agent),
        ("purpose", purpose),
        ("why held", reason),
        ("policies", &policies),
        ("ended", why),
        ("outcome", outcome),
    ] {
        if let Some(told) = told {
            writeln!(out, "  {what:<9} {}", text::visible(told))?;
        }
    }
    writeln!(out, "  until     {}", day(*deadline))?;
    for said in &card.said {
        let word = if said.approves { "approved" } else { "refused" };
        let why = said.reason.as_deref().map(text::visible).unwrap_or_default();
        writeln!(out, "  {word:<9} {}  {}  {why}", day(said.at), text::visible(&said.who))?;
    }
    if let Some(tool) = &card.tool {
        let by =
            tool.accepted_by.as_deref().map_or_else(|| "at first sight".to_owned(), |by| format!("by {by}"));
        let at = tool.accepted_at.map(day).unwrap_or_default();
        let other =
            if tool.is_waiting || !tool.is_as_asked { "; the server describes it otherwise now" } else { "" };
        writeln!(out, "  tool      accepted {at} {}{other}", text::visible(&by))?;
    }
    Ok(())
}

fn arguments(card: &Card, out: &mut dyn Write) -> anyhow::Result<()> {
    match (&card.arguments, &card.arguments_missing) {
        (Some(arguments), _) => {
            writeln!(out, "  arguments, all of them, control characters visible:")?;
            let all = Limits { lines: usize::MAX, width: usize::MAX / 2, one_line: ONE_LINE };
            // What is longer than is laid out is shown as it is: nothing of it is left out.
            let lines = match text::block_of(arguments.as_bytes(), all) {
                (lines, true) => lines,
                (_, false) => vec![text::visible(arguments)],
            };
            lines.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
        }
        (None, why) => {
            let why = why.as_deref().unwrap_or("they cannot be read");
            writeln!(out, "  arguments cannot be shown: {}", text::visible(why))?;
        }
    }
    Ok(())
}

/// What else happened: before in the run, before on the same tool, afterwards.
fn around(card: &Card, out: &mut dyn Write) -> anyhow::Result<()> {
    match &card.just_before {
        Some(calls) => {
            writeln!(out, "  the run did just before, newest first: {}", calls.len())?;
            calls.iter().try_for_each(|call| writeln!(out, "    {}", told(call)))?;
        }
        None => writeln!(out, "  what the run did just before is not in the index")?,
    }
    let before = &card.before;
    let (approved, refused) = (before.approved, before.refused);
    writeln!(out, "  before    {approved} approved, {refused} refused of the same tool")?;
    for other in &before.last {
        let at = other.at.map(day).unwrap_or_default();
        let same = if other.is_same_arguments { "the same arguments" } else { "other arguments" };
        let (status, by) = (text::cell(other.status, 9), text::visible(&other.by.join(", ")));
        writeln!(out, "    {}  {status}  {at}  {by}  {same}", text::visible(&other.id))?;
    }
    for call in &card.releases {
        writeln!(out, "  released  {}", told(call))?;
    }
    Ok(())
}

/// One call on one line.
fn told(call: &Call) -> String {
    let part = |part: &Option<String>| part.as_deref().map(text::visible).unwrap_or_default();
    let what = if call.name.is_some() { &call.name } else { &call.method };
    let records = match call.seq_end {
        Some(end) if end != call.seq => format!("records {} and {end}", call.seq),
        _ => format!("record {}", call.seq),
    };
    let took = call.duration_us.map(text::duration).unwrap_or_default();
    let what = format!("{}/{}", part(&call.server), part(what));
    format!("{}  {what}  {} {}  {took}  {records}", day(call.at), part(&call.verdict), part(&call.status))
}

/// Each change, until the reader has gone.
pub(super) fn watch(state: &State, as_json: bool, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut mark = Mark::default();
    loop {
        if let Some((changed, next)) = state.changed_holds(mark)? {
            for hold in
                changed.iter().filter(|hold| mark != Mark::default() || hold.status == HoldStatus::Pending)
            {
                writeln!(out, "{}", if as_json { json(hold)? } else { line(hold) })?;
            }
            out.flush()?;
            mark = next;
        }
        std::thread::sleep(LOOK);
    }
}
