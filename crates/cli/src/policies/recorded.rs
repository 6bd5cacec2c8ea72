//! Recorded calls judged by policies of today: why one would be allowed or denied, and what a draft would change.

use std::collections::BTreeSet;
use std::io::Write;

use ledger::Verdict;
use policy::what_if::{Comparison, Difference, Flips};
use policy::{Bundle, Question, explain};
use serde::Serialize;

use super::Place;
use super::past::{Asked, Bearing, each};
use crate::read::{Mistake, text};

/// What is to be compared, and shown.
pub(super) struct Period<'a> {
    pub(super) since: Option<&'a str>,
    pub(super) show: usize,
    pub(super) json: bool,
}

/// Recorded requests that cannot be compared.
#[derive(Default, Serialize)]
struct LeftOut {
    /// Nothing but that they were, or who and when, is recorded.
    reduced: u64,
    /// Denied by what is no policy.
    denied_beside: u64,
    /// From where they came is not recorded, and a policy reads it.
    unplaced: u64,
    /// Those policies.
    readers: BTreeSet<String>,
}

/// Says why a call was judged as it was, or would be now; 1 if it is not allowed.
pub(super) fn explain(bundle: &Bundle, place: &Place, call: &str, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut found = None;
    let wanted = call.strip_prefix("call_").unwrap_or(call);
    each(place, 0, |asked| {
        let id = asked.call.map(|call| call.to_string()).unwrap_or_default();
        if found.is_none() && id.strip_prefix("call_").is_some_and(|id| id.starts_with(wanted)) {
            found = Some(asked);
        }
    })?;
    let none = || Mistake(format!("there is no call `{call}`; `tollbook calls` shows them"));
    let asked = found.ok_or_else(none)?;
    let was = asked.verdict.map_or("not judged", Verdict::as_str);
    writeln!(out, "recorded: {was}{}", note(&asked))?;
    let wanted = asked.wanted();
    if wanted.is_empty() {
        writeln!(
            out,
            "now: nothing is asked about `{}`, which the protocol needs",
            text::visible(&asked.method)
        )?;
    }
    let mut code = 0;
    for one in &wanted {
        let question = asked.question(one);
        for (number, line) in explain::explain(bundle, &question).iter().enumerate() {
            writeln!(out, "{}{}", if number == 0 { "now: " } else { "  " }, text::visible(line))?;
        }
        if !asked.unplaced(bundle, &question).is_empty() {
            writeln!(out, "  `context.network` is not recorded of this call: it is taken as absent")?;
        }
        code |= u8::from(bundle.decide(&question).verdict != policy::Verdict::Allow);
    }
    Ok(code)
}

/// What is to be known of a verdict in the record.
fn note(asked: &Asked) -> &'static str {
    match (asked.bearing(), asked.verdict) {
        (Bearing::Beside, _) => ", by what is no policy: see its reason in `tollbook calls`",
        (Bearing::Reduced, _) => "; what policies read of it was not recorded, and is taken as absent",
        (Bearing::Judged(Verdict::Hold), Some(Verdict::Allow)) => ", after people had approved it",
        (Bearing::Judged(Verdict::Hold), Some(Verdict::Deny)) => ", since nobody approved it",
        _ => "",
    }
}

/// Judges the recorded calls by a draft; 1 if something would change.
pub(super) fn what_if(
    bundle: &Bundle,
    place: &Place,
    wanted: &Period<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let from_us = match wanted.since {
        Some(since) => since_us(since)?,
        None => 0,
    };
    let mut comparison = Comparison::with(bundle);
    let mut left_out = LeftOut::default();
    each(place, from_us, |asked| match asked.bearing() {
        Bearing::Unasked => {}
        Bearing::Reduced => left_out.reduced += 1,
        Bearing::Beside => left_out.denied_beside += 1,
        Bearing::Judged(before) => compare(bundle, &asked, before, (&mut comparison, &mut left_out)),
    })?;
    let difference = comparison.finish();
    match wanted.json {
        true => write_json(&difference, &left_out, wanted.show, out)?,
        false => write_text(&difference, &left_out, wanted.show, out)?,
    }
    Ok(u8::from(kinds(&difference).iter().any(|(_, flips)| flips.count > 0)))
}

fn compare(
    bundle: &Bundle,
    asked: &Asked,
    before: Verdict,
    (comparison, left_out): (&mut Comparison<'_>, &mut LeftOut),
) {
    let wanted = asked.wanted();
    let questions: Vec<Question<'_>> = wanted.iter().map(|one| asked.question(one)).collect();
    let readers: Vec<&str> = questions.iter().flat_map(|question| asked.unplaced(bundle, question)).collect();
    if !readers.is_empty() {
        left_out.unplaced += 1;
        left_out.readers.extend(readers.into_iter().map(str::to_owned));
        return;
    }
    let call = asked.call.map(|call| call.to_string()).unwrap_or_default();
    let key = format!("{call} {} {}/{}", asked.method, asked.server, asked.name);
    comparison.consider(&key, &questions, before);
}

fn kinds(difference: &Difference) -> [(&'static str, &Flips); 3] {
    [("allowed", &difference.allowed), ("denied", &difference.denied), ("held", &difference.held)]
}

fn write_json(
    difference: &Difference,
    left_out: &LeftOut,
    show: usize,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let kind =
        |flips: &Flips| Kinds { count: flips.count, calls: flips.keys.iter().take(show).cloned().collect() };
    let all = WhatIf {
        calls: difference.calls,
        allowed: kind(&difference.allowed),
        denied: kind(&difference.denied),
        held: kind(&difference.held),
        limited: difference.limited,
        left_out,
    };
    Ok(writeln!(out, "{}", text::json_line(&all)?)?)
}

fn write_text(
    difference: &Difference,
    left_out: &LeftOut,
    show: usize,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "{} calls were judged again", difference.calls)?;
    if difference.limited > 0 {
        let limited = difference.limited;
        writeln!(out, "{limited} of them fall under a `@limit`; what runs had used is not counted here")?;
    }
    let LeftOut { reduced, denied_beside, unplaced, readers } = left_out;
    if *reduced > 0 {
        writeln!(out, "{reduced} more were left out: what policies read of them is not recorded")?;
    }
    if *denied_beside > 0 {
        let by = "a limit, a tool that waited or was not known, a hold that ended, a credential's scope or the protocol";
        writeln!(out, "{denied_beside} more were left out: no policy denied them, but {by}")?;
    }
    if *unplaced > 0 {
        let readers: Vec<String> = readers.iter().map(|one| format!("`{}`", text::visible(one))).collect();
        let readers = readers.join(", ");
        writeln!(
            out,
            "{unplaced} more were left out: their address is not recorded, and `context.network` is read by {readers}"
        )?;
    }
    for (word, flips) in kinds(difference) {
        writeln!(out, "{} would be {word} that were not", flips.count)?;
        for key in flips.keys.iter().take(show) {
            writeln!(out, "  {}", text::visible(key))?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct WhatIf<'a> {
    calls: u64,
    allowed: Kinds,
    denied: Kinds,
    held: Kinds,
    limited: u64,
    left_out: &'a LeftOut,
}

#[derive(Serialize)]
struct Kinds {
    count: u64,
    calls: Vec<String>,
}

/// When a text like `7d` began, as searches read it.
fn since_us(since: &str) -> anyhow::Result<u64> {
    let query = store::Query::parse(&format!("since:{since}"), crate::clock::now())?;
    Ok(u64::try_from(*query.time_bounds().start()).unwrap_or_default())
}
