//! Recorded calls as questions: what was asked, as far as the record knows, judged by policies of today.
//!
//! Of a run the record knows who, since when and how many calls; what its token said is in the run's first record.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use ledger::payload::Payload;
use ledger::{CallId, Kind, Leaf, RunId, Seq, Verdict};
use policy::what_if::{Comparison, Flips};
use policy::{Ask, Bundle, Caller, Client, Principal, Question, RunFacts, explain};
use recorder::Reader;
use serde::{Deserialize, Serialize};

use crate::read::{Mistake, text};

/// Of a larger payload the arguments are not read.
const PAYLOAD_BYTES: usize = 4 << 20;

/// What is to be compared, and shown.
pub(super) struct Wanted<'a> {
    pub(super) since: Option<&'a str>,
    pub(super) show: usize,
    pub(super) json: bool,
}

/// Since when a run is, and its calls so far.
#[derive(Default, Clone, Copy)]
struct Course {
    begun_us: u64,
    calls: u64,
}

/// What is read of a record's fields.
#[derive(Default)]
struct Asked {
    call: Option<CallId>,
    verdict: Option<Verdict>,
    time_us: u64,
    course: Course,
    run: String,
    principal: String,
    server: String,
    method: String,
    name: String,
    direction: String,
    arguments: Option<String>,
    client: ClientInfo,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClientInfo {
    name: String,
    version: String,
}

/// Says why a call was judged as it was, or would be now; 1 if it is not allowed.
pub(super) fn explain(bundle: &Bundle, data: &Path, call: &str, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut found = None;
    let wanted = call.strip_prefix("call_").unwrap_or(call);
    each(data, 0, |asked| {
        let id = asked.call.map(|call| call.to_string()).unwrap_or_default();
        if found.is_none() && id.strip_prefix("call_").is_some_and(|id| id.starts_with(wanted)) {
            found = Some(asked);
        }
    })?;
    let none = || Mistake(format!("there is no call `{call}`; `tollbook calls` shows them"));
    let asked = found.ok_or_else(none)?;
    let was = asked.verdict.map_or("not judged", Verdict::as_str);
    writeln!(out, "recorded: {was}")?;
    let Some(question) = asked.question() else {
        writeln!(
            out,
            "now: nothing is asked about `{}`, which the protocol needs",
            text::visible(&asked.method)
        )?;
        return Ok(0);
    };
    for (number, line) in explain::explain(bundle, &question).iter().enumerate() {
        writeln!(out, "{}{}", if number == 0 { "now: " } else { "  " }, text::visible(line))?;
    }
    Ok(u8::from(bundle.decide(&question).verdict != policy::Verdict::Allow))
}

/// Judges the recorded calls by a draft; 1 if something would change.
pub(super) fn what_if(
    bundle: &Bundle,
    data: &Path,
    wanted: &Wanted<'_>,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let from_us = match wanted.since {
        Some(since) => since_us(since)?,
        None => 0,
    };
    let mut comparison = Comparison::with(bundle);
    each(data, from_us, |asked| {
        if let (Some(question), Some(verdict)) = (asked.question(), asked.verdict) {
            let call = asked.call.map(|call| call.to_string()).unwrap_or_default();
            comparison.consider(
                &format!("{call} {} {}/{}", asked.method, asked.server, asked.name),
                &question,
                verdict,
            );
        }
    })?;
    let difference = comparison.finish();
    let kinds =
        [("allowed", &difference.allowed), ("denied", &difference.denied), ("held", &difference.held)];
    let changed = kinds.iter().any(|(_, flips)| flips.count > 0);
    if wanted.json {
        let kind = |flips: &Flips| Kinds {
            count: flips.count,
            calls: flips.keys.iter().take(wanted.show).cloned().collect(),
        };
        let all = WhatIf {
            calls: difference.calls,
            allowed: kind(&difference.allowed),
            denied: kind(&difference.denied),
            held: kind(&difference.held),
        };
        writeln!(out, "{}", text::json_line(&all)?)?;
        return Ok(u8::from(changed));
    }
    writeln!(out, "{} calls were judged again", difference.calls)?;
    for (word, flips) in kinds {
        writeln!(out, "{} would be {word} that were not", flips.count)?;
        for key in flips.keys.iter().take(wanted.show) {
            writeln!(out, "  {}", text::visible(key))?;
        }
    }
    Ok(u8::from(changed))
}

#[derive(Serialize)]
struct WhatIf {
    calls: u64,
    allowed: Kinds,
    denied: Kinds,
    held: Kinds,
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

/// Goes through the requests that were judged, in order.
fn each(data: &Path, from_us: u64, mut visit: impl FnMut(Asked)) -> anyhow::Result<()> {
    let reader =
        Reader::open(data).with_context(|| format!("cannot read the ledger in `{}`", data.display()))?;
    let mut courses: HashMap<RunId, Course> = HashMap::new();
    for record in reader.leaves(Seq(0)) {
        let (seq, leaf) = record?;
        let leaf = Leaf::decode(&leaf)
            .with_context(|| format!("record {seq} is no record, see `tollbook verify`"))?;
        let Some(link) = leaf.link else { continue };
        let course = courses.entry(link.run).or_insert(Course { begun_us: leaf.time_us, calls: 0 });
        if !matches!(leaf.kind, Kind::Intent | Kind::Refused) {
            continue;
        }
        let before = *course;
        course.calls += 1;
        if leaf.time_us < from_us {
            continue;
        }
        // Whose key was destroyed is not judged.
        let Some(payload) = reader.payload_within(seq, &leaf, PAYLOAD_BYTES).ok().flatten() else { continue };
        visit(Asked::of(&leaf, &payload, link.run, before));
    }
    Ok(())
}

impl Asked {
    fn of(leaf: &Leaf, payload: &Payload, run: RunId, course: Course) -> Asked {
        let field = |name: &str| -> String {
            payload.fields.get(name).and_then(|value| serde_json::from_str(value).ok()).unwrap_or_default()
        };
        let client = payload.fields.get("agent").and_then(|agent| serde_json::from_str(agent).ok());
        Asked {
            call: leaf.call,
            verdict: leaf.verdict,
            time_us: leaf.time_us,
            course,
            run: run.to_string(),
            principal: field("principal"),
            server: field("server"),
            method: field("method"),
            name: field("name"),
            direction: field("direction"),
            arguments: payload.value("arguments").map(str::to_owned),
            client: client.unwrap_or_default(),
        }
    }

    fn question(&self) -> Option<Question<'_>> {
        let seconds = (self.time_us - self.course.begun_us.min(self.time_us)) / 1_000_000;
        Some(Question {
            caller: Caller { principal: Principal::User(&self.principal), groups: &[], run: &self.run },
            run: RunFacts {
                age_seconds: seconds,
                calls: self.course.calls,
                purpose: None,
                scope: &[],
                verified: false,
                depth: 0,
                agents: &[],
            },
            client: Client { name: &self.client.name, version: &self.client.version },
            network: None,
            now_ms: i64::try_from(self.time_us / 1000).unwrap_or(i64::MAX),
            server: &self.server,
            ask: self.ask()?,
        })
    }

    fn ask(&self) -> Option<Ask<'_>> {
        let (name, arguments) = (self.name.as_str(), self.arguments.as_deref());
        let ask = match (self.direction.as_str(), self.method.as_str()) {
            ("client", "tools/call") => Ask::CallTool { name, arguments },
            ("client", "prompts/get") => Ask::GetPrompt { name, arguments },
            ("client", "resources/read") => Ask::ReadResource { uri: name },
            ("client", "resources/subscribe") => Ask::SubscribeResource { uri: name },
            ("server", "sampling/createMessage") => Ask::CreateMessage,
            ("server", "elicitation/create") => Ask::Elicit,
            ("server", "roots/list") => Ask::ListRoots,
            (_, method) if method.starts_with("tasks/") => Ask::Tasks { method },
            (_, method) if gateway::needs_no_policy(method) => return None,
            (_, method) => Ask::Other { method },
        };
        Some(ask)
    }
}
