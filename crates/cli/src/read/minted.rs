//! `tollbook run show` of a run that was minted: for whom, for what, until when, whether it holds, and what was done with it.
//!
//! A minted run is a credential's; to the ledger each session that it was used in is a run of its own, whose first record
//! names it. So what was done is counted over those.

use std::io::{self, Write};

use anyhow::Context as _;
use ledger::{Leaf, RunId};
use serde_json::{Value, json};
use store::state::{MintedRun, State};
use store::{HexPrefix, RunFilter, RunRow};

use super::index::Opened;
use super::text;
use crate::clock;
use crate::credentials::day;
use crate::environment::Environment;

/// Width of the values.
const VALUE: usize = 100;

/// Minted runs among which the beginning of an id is looked for, and children that are shown.
const LOOKED_AT: u32 = 10_000;

/// Runs of its principal that are looked at: each costs a record that is read.
const RECORDED: u32 = 2_000;

/// Of a first record, which has no body.
const PAYLOAD_BYTES: usize = 1 << 20;

/// Runs that may stand above each other.
const DEPTH: usize = 64;

/// What is told of a minted run.
pub(crate) struct Told {
    run: MintedRun,
    standing: Standing,
    children: Vec<(MintedRun, Standing)>,
    /// What was recorded under it, newest first.
    recorded: Vec<RunRow>,
    /// Whether there may be more.
    is_whole: bool,
}

/// Whether a run holds.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Holds,
    Ended(u64),
    Revoked(u64, Option<String>),
    /// One above it does not hold.
    Fallen(RunId),
}

/// The minted run of that id, or of the one that begins so; `None` if there is no such one, or several.
pub(crate) fn named(text: &str, environment: &Environment) -> anyhow::Result<Option<MintedRun>> {
    let digits = text.strip_prefix("run_").unwrap_or(text);
    if HexPrefix::new(digits).is_none() || !State::is_in(&environment.data) {
        return Ok(None);
    }
    let state = State::open(&environment.data)?;
    if let Ok(id) = text.parse::<RunId>() {
        return Ok(state.minted_run(id)?);
    }
    let begins = format!("run_{}", digits.to_ascii_lowercase());
    let fits = |run: &MintedRun| run.id.to_string().starts_with(&begins);
    let mut found = state.minted_runs(LOOKED_AT)?.into_iter().filter(fits);
    Ok(found.next().filter(|_| found.next().is_none()))
}

/// Finds out what there is to tell.
pub(crate) fn tell(run: MintedRun, opened: &Opened, environment: &Environment) -> anyhow::Result<Told> {
    let (state, now) = (State::open(&environment.data)?, clock::unix_seconds());
    let children = state.runs_under(run.id, LOOKED_AT)?;
    let children = children.into_iter().map(|child| Ok((standing(&state, &child, now)?, child)));
    let children: anyhow::Result<Vec<_>> =
        children.map(|one| one.map(|(standing, run)| (run, standing))).collect();
    let filter = RunFilter { principal: Some(who(&run)), limit: Some(RECORDED), ..RunFilter::default() };
    let of_principal = opened.index.runs(&filter)?;
    let mut is_whole = of_principal.len() < usize::try_from(RECORDED)?;
    let mut recorded = Vec::new();
    for one in of_principal {
        // Clocks are one machine's; a session that it began may outlast it and be cut a second later.
        if micros(run.created) > one.t_last {
            is_whole = true;
            break;
        }
        if credential(opened, &one)? == Some(run.id) {
            recorded.push(one);
        }
    }
    Ok(Told { standing: standing(&state, &run, now)?, children: children?, recorded, is_whole, run })
}

/// The minted run whose credential began a recorded run, if one did.
pub(crate) fn credential(opened: &Opened, run: &RunRow) -> anyhow::Result<Option<RunId>> {
    let leaf = opened.reader.leaf(run.first).with_context(|| format!("cannot read record {}", run.first))?;
    let leaf = Leaf::decode(&leaf)?;
    // What was destroyed names nobody any more.
    let payload = opened.reader.payload_within(run.first, &leaf, PAYLOAD_BYTES).ok().flatten();
    let presented = payload.and_then(|payload| payload.fields.get("credential").cloned());
    let presented: Option<Value> = presented.and_then(|text| serde_json::from_str(&text).ok());
    Ok(presented.and_then(|presented| presented.get("run")?.as_str()?.parse().ok()))
}

impl Told {
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let run = &self.run;
        let value = |text: &str| text::cut(text, VALUE);
        let listed = |all: &[String]| (!all.is_empty()).then(|| value(&all.join(", ")));
        let lines = [
            ("principal", Some(value(&who(run)))),
            ("groups", listed(&run.groups)),
            ("acting", listed(&actors(run))),
            ("purpose", run.purpose.as_deref().map(value)),
            ("scope", Some(run.scope.as_deref().map_or_else(|| "everything".to_owned(), value))),
            ("for", listed(&run.audience)),
            ("bound", run.bound.as_deref().map(|key| format!("to the key {}", value(key)))),
            ("minted", Some(format!("{} UTC by {}", day(run.created), value(&run.minted_by)))),
            ("status", Some(self.standing.text(run))),
            ("parent", run.parent.map(|parent| parent.to_string())),
            ("login", run.login.as_deref().map(value)),
            ("calls", Some(self.counts())),
        ];
        writeln!(out, "{}, minted", run.id)?;
        for (name, value) in lines {
            if let Some(value) = value {
                writeln!(out, "  {name:<9}  {value}")?;
            }
        }
        for (child, standing) in &self.children {
            let purpose = child.purpose.as_deref().map(value).unwrap_or_default();
            let line = format!("  child      {}  {}  {purpose}", child.id, standing.text(child));
            writeln!(out, "{}", line.trim_end())?;
        }
        for one in &self.recorded {
            let rule = one.rule.as_deref().map(value).unwrap_or_default();
            let line = format!("  recorded   {}  {rule}  {}", one.run, super::runs::tally(one));
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    pub(crate) fn json(&self) -> Value {
        let run = &self.run;
        let children: Vec<Value> = self
            .children
            .iter()
            .map(|(child, standing)| json!({"run": child.id.to_string(), "status": standing.word()}))
            .collect();
        json!({
            "run": run.id.to_string(), "minted": true, "principal": who(run), "groups": run.groups, "actors": actors(run),
            "purpose": run.purpose, "scope": run.scope, "audience": run.audience, "bound": run.bound,
            "created": run.created, "expires": run.expires, "minted_by": run.minted_by, "status": self.standing.word(),
            "revoked": run.revoked, "revoked_by": run.revoked_by, "parent": run.parent.map(|parent| parent.to_string()),
            "login": run.login.as_deref().and_then(|login| serde_json::from_str::<Value>(login).ok()),
            "children": children, "recorded": self.recorded, "recorded_whole": self.is_whole,
            "calls": self.sum(|one| one.calls), "denied": self.sum(|one| one.denied),
            "held": self.sum(|one| one.held), "failed": self.sum(|one| one.failed),
        })
    }

    fn sum(&self, of: impl Fn(&RunRow) -> u64) -> u64 {
        self.recorded.iter().map(of).sum()
    }

    /// What was done, over all that was recorded.
    fn counts(&self) -> String {
        let counts = [
            ("▲", self.sum(|one| one.denied), "denied"),
            ("■", self.sum(|one| one.held), "held"),
            ("✕", self.sum(|one| one.failed), "failed"),
            ("…", self.sum(RunRow::open), "open"),
        ];
        let some = counts.iter().filter(|(_, count, _)| *count > 0);
        let marks: String = some.map(|(mark, count, word)| format!("  {mark} {count} {word}")).collect();
        let more = if self.is_whole { "" } else { ", and in runs that are too many to look at" };
        format!("{} in {} recorded{more}{marks}", self.sum(|one| one.calls), self.recorded.len())
    }
}

impl Standing {
    fn word(&self) -> &'static str {
        match self {
            Standing::Holds => "holds",
            Standing::Ended(_) => "ended",
            Standing::Revoked(..) => "revoked",
            Standing::Fallen(_) => "parent does not hold",
        }
    }

    fn text(&self, run: &MintedRun) -> String {
        match self {
            Standing::Holds => format!("holds until {} UTC", day(run.expires)),
            Standing::Ended(at) => format!("ended {} UTC", day(*at)),
            Standing::Revoked(at, by) => {
                let by = by.as_deref().map(|by| format!(" by {}", text::cut(by, VALUE))).unwrap_or_default();
                format!("revoked {} UTC{by}", day(*at))
            }
            Standing::Fallen(above) => format!("does not hold: {above} above it does not"),
        }
    }
}

/// Whether a run holds, and all above it do.
fn standing(state: &State, run: &MintedRun, now: u64) -> anyhow::Result<Standing> {
    let own = |run: &MintedRun| match run.revoked {
        Some(at) => Standing::Revoked(at, run.revoked_by.clone()),
        None if run.expires <= now => Standing::Ended(run.expires),
        None => Standing::Holds,
    };
    let mut above = run.parent;
    for _ in 0..DEPTH {
        let Some(id) = above.filter(|_| own(run) == Standing::Holds) else { return Ok(own(run)) };
        match state.minted_run(id)? {
            Some(parent) if own(&parent) == Standing::Holds => above = parent.parent,
            _ => return Ok(Standing::Fallen(id)),
        }
    }
    Ok(own(run))
}

/// The principal as records have it.
fn who(run: &MintedRun) -> String {
    format!("{}:{} ({})", run.kind, run.principal, run.issuer)
}

/// Who acts for the principal, the nearest first.
fn actors(run: &MintedRun) -> Vec<String> {
    let actors: Vec<Value> = serde_json::from_str(&run.actors).unwrap_or_default();
    let named = |actor: &Value| {
        let part = |name: &str| actor.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(format!("{} ({})", part("sub")?, part("iss")?))
    };
    actors.iter().filter_map(named).collect()
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
