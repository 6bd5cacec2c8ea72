//! What people are shown of a hold.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use ledger::payload::Payload;
use ledger::{Leaf, Seq};
use recorder::Reader;
use serde_json::{Value, json as object};
use store::state::{Hold, HoldStatus, Mark, State};

use super::day;
use crate::read::text;

/// Between two looks for changes.
const LOOK: Duration = Duration::from_millis(200);

/// Looks for a record that is not published yet.
const PUBLISHED_LOOKS: u32 = 15;

/// Of a larger call the arguments are not shown here.
const PAYLOAD_BYTES: usize = 4 << 20;

/// One line.
pub(super) fn line(hold: &Hold) -> String {
    let Hold { id, key, status, created, needs, .. } = hold;
    let who: Vec<String> = needs.iter().map(|need| format!("{} of {}", need.count, need.group)).collect();
    format!(
        "{}  {}  {}  {}  {}  {}",
        text::visible(id),
        text::cell(status.as_str(), 9),
        day(*created),
        text::cell(&key.principal, 30),
        text::cell(&format!("{}/{}", key.server, key.name), 40),
        text::visible(&who.join(", ")),
    )
}

/// One JSON object.
pub(super) fn json(hold: &Hold) -> serde_json::Result<String> {
    text::json_line(&value(hold))
}

fn value(hold: &Hold) -> Value {
    let Hold { id, key, needs, agent, purpose, reason, policies, asked, asks, .. } = hold;
    let Hold { created, deadline, status, ended, why, run_wide, uses, outcome, .. } = hold;
    object!({
        "id": id, "status": status.as_str(), "principal": key.principal, "run": key.run, "server": key.server,
        "method": key.method, "name": key.name, "digest": key.digest.to_string(), "needs": needs, "agent": agent,
        "purpose": purpose, "reason": reason, "policies": policies, "asked": asked.map(|seq| seq.0), "asks": asks,
        "created": created, "deadline": deadline, "ended": ended, "why": why, "for_run_but": run_wide, "uses": uses,
        "outcome": outcome,
    })
}

/// All there is to know before deciding.
pub(super) fn all(
    state: &State,
    hold: &Hold,
    (data, as_json): (&Path, bool),
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let arguments = arguments(hold, data)?;
    let said = state.ballots(&hold.id)?;
    let history = state.hold_history(&hold.key)?;
    if as_json {
        let mut whole = value(hold);
        if let Some(members) = whole.as_object_mut() {
            members.insert("arguments".to_owned(), object!(arguments));
            let said: Vec<Value> = said
                .iter()
                .map(|one| object!({"who": one.who, "approves": one.is_approval, "reason": one.reason, "at": one.at}))
                .collect();
            members.insert("said".to_owned(), said.into());
            members.insert(
                "before".to_owned(),
                object!({"approved": history.approved, "refused": history.refused}),
            );
        }
        writeln!(out, "{}", text::json_line(&whole)?)?;
        return Ok(0);
    }
    let Hold { key, purpose, reason, deadline, .. } = hold;
    writeln!(out, "{}", line(hold))?;
    writeln!(out, "  run       {}", text::visible(&key.run))?;
    for (what, told) in
        [("purpose", purpose), ("why held", reason), ("ended", &hold.why), ("outcome", &hold.outcome)]
    {
        if let Some(told) = told {
            writeln!(out, "  {what:<9} {}", text::visible(told))?;
        }
    }
    writeln!(out, "  policies  {}", text::visible(&hold.policies.join(", ")))?;
    writeln!(out, "  until     {}", day(*deadline))?;
    writeln!(out, "  before    {} approved, {} refused of the same tool", history.approved, history.refused)?;
    for one in &said {
        let word = if one.is_approval { "approved" } else { "refused" };
        let why = one.reason.as_deref().map(text::visible).unwrap_or_default();
        writeln!(out, "  {word:<9} {}  {}  {why}", day(one.at), text::visible(&one.who))?;
    }
    match arguments {
        Some(arguments) => {
            writeln!(out, "  arguments, all of them, control characters visible:")?;
            let (lines, _) = text::block(arguments.as_bytes());
            lines.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
        }
        None => writeln!(out, "  arguments cannot be shown yet: the record of the call is not published")?,
    }
    Ok(0)
}

/// The arguments in canonical form, if the record holds what is to be approved.
fn arguments(hold: &Hold, data: &Path) -> anyhow::Result<Option<String>> {
    let Some(payload) = payload(hold, data)? else { return Ok(None) };
    let params = payload.value("params");
    let is_same = policy::binding::digest(params, &[]) == Some(hold.key.digest);
    anyhow::ensure!(is_same || params.is_none(), "record {:?} is not the call that is held", hold.asked);
    let arguments = payload.value("arguments").or(params).unwrap_or("{}");
    Ok(policy::binding::shown(arguments))
}

/// What the record of the first try holds. A record is published within a second, which is waited for; `None`: it was not.
pub(super) fn payload(hold: &Hold, data: &Path) -> anyhow::Result<Option<Payload>> {
    let Some(asked) = hold.asked else { return Ok(None) };
    for _ in 0..PUBLISHED_LOOKS {
        if let Some(payload) = published(asked, data)? {
            return Ok(Some(payload));
        }
        std::thread::sleep(LOOK);
    }
    Ok(None)
}

fn published(asked: Seq, data: &Path) -> anyhow::Result<Option<Payload>> {
    let reader =
        Reader::open(data).with_context(|| format!("cannot read the ledger in `{}`", data.display()))?;
    let Some((seq, leaf)) = reader.leaves(asked).next().transpose()? else { return Ok(None) };
    let leaf =
        Leaf::decode(&leaf).with_context(|| format!("record {seq} is no record, see `tollbook verify`"))?;
    Ok(reader.payload_within(seq, &leaf, PAYLOAD_BYTES)?)
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
