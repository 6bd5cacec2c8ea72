//! Recorded calls as questions: what was asked, as far as the record knows, judged by policies of today.
//!
//! Of a run the record knows who, since when and how many calls; what its token said is in the run's first record.

use std::collections::HashMap;
use std::io::Write;
use std::rc::Rc;

use anyhow::Context as _;
use gateway::{Request, Wanted};
use identity::PrincipalKind;
use ledger::payload::Payload;
use ledger::{CallId, Kind, Leaf, RunId, Seq, Verdict};
use mcp::fields::Params;
use policy::what_if::{Comparison, Flips};
use policy::{Bundle, Caller, Client, Principal, Question, RunFacts, explain};
use recorder::Reader;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Place;
use crate::read::{Mistake, text};

/// Of a larger payload the arguments are not read.
const PAYLOAD_BYTES: usize = 4 << 20;

/// What is to be compared, and shown.
pub(super) struct Period<'a> {
    pub(super) since: Option<&'a str>,
    pub(super) show: usize,
    pub(super) json: bool,
}

/// Since when a run is, its calls so far, and whose credential named it.
struct Course {
    begun_us: u64,
    calls: u64,
    credential: Option<Rc<Credential>>,
}

/// What the first record of a run says of the credential.
#[derive(Deserialize)]
struct Credential {
    issuer: String,
    kind: String,
    id: String,
    groups: Vec<String>,
    scope: Option<String>,
    purpose: Option<String>,
    actors: Vec<String>,
    run: Option<String>,
}

impl Credential {
    fn kind(&self) -> PrincipalKind {
        PrincipalKind::named(&self.kind).unwrap_or(PrincipalKind::User)
    }
}

/// What is read of a record's fields.
#[derive(Default)]
struct Asked {
    call: Option<CallId>,
    verdict: Option<Verdict>,
    time_us: u64,
    begun_us: u64,
    calls: u64,
    run: String,
    /// What policies call the principal.
    principal: String,
    credential: Option<Rc<Credential>>,
    /// The words of the credential's scope.
    scope: Vec<String>,
    server: String,
    method: String,
    name: String,
    direction: String,
    /// None of it where a policy said `@record("metadata")`.
    params: Option<Box<RawValue>>,
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
    writeln!(out, "recorded: {was}")?;
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
        code |= u8::from(bundle.decide(&question).verdict != policy::Verdict::Allow);
    }
    Ok(code)
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
    each(place, from_us, |asked| {
        let wanted = asked.wanted();
        let questions: Vec<Question<'_>> = wanted.iter().map(|one| asked.question(one)).collect();
        if let (Some(verdict), false) = (asked.verdict, questions.is_empty()) {
            let call = asked.call.map(|call| call.to_string()).unwrap_or_default();
            let key = format!("{call} {} {}/{}", asked.method, asked.server, asked.name);
            comparison.consider(&key, &questions, verdict);
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
            limited: difference.limited,
        };
        writeln!(out, "{}", text::json_line(&all)?)?;
        return Ok(u8::from(changed));
    }
    writeln!(out, "{} calls were judged again", difference.calls)?;
    if difference.limited > 0 {
        let limited = difference.limited;
        writeln!(out, "{limited} of them fall under a `@limit`; what runs had used is not counted here")?;
    }
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
    limited: u64,
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
fn each(place: &Place, from_us: u64, mut visit: impl FnMut(Asked)) -> anyhow::Result<()> {
    let data = &place.data;
    let reader =
        Reader::open(data).with_context(|| format!("cannot read the ledger in `{}`", data.display()))?;
    let mut courses: HashMap<RunId, Course> = HashMap::new();
    for record in reader.leaves(Seq(0)) {
        let (seq, leaf) = record?;
        let leaf = Leaf::decode(&leaf)
            .with_context(|| format!("record {seq} is no record, see `tollbook verify`"))?;
        let Some(link) = leaf.link else { continue };
        let course =
            courses.entry(link.run).or_insert(Course { begun_us: leaf.time_us, calls: 0, credential: None });
        let is_asked = matches!(leaf.kind, Kind::Intent | Kind::Refused);
        course.calls += u64::from(is_asked);
        let is_wanted = is_asked && leaf.time_us >= from_us;
        if !is_wanted && leaf.kind != Kind::SessionOpen {
            continue;
        }
        // Whose key was destroyed is not judged.
        let Some(payload) = reader.payload_within(seq, &leaf, PAYLOAD_BYTES).ok().flatten() else { continue };
        if is_wanted {
            visit(Asked::of(&leaf, &payload, (link.run, course), place));
        } else {
            let credential = payload.fields.get("credential");
            course.credential = credential.and_then(|json| serde_json::from_str(json).ok()).map(Rc::new);
        }
    }
    Ok(())
}

impl Asked {
    fn of(leaf: &Leaf, payload: &Payload, (run, course): (RunId, &Course), place: &Place) -> Asked {
        let field = |name: &str| -> String {
            payload.fields.get(name).and_then(|value| serde_json::from_str(value).ok()).unwrap_or_default()
        };
        let client = payload.fields.get("agent").and_then(|agent| serde_json::from_str(agent).ok());
        let credential = course.credential.clone();
        let words =
            credential.as_ref().and_then(|credential| credential.scope.as_deref()).unwrap_or_default();
        Asked {
            call: leaf.call,
            verdict: leaf.verdict,
            time_us: leaf.time_us,
            begun_us: course.begun_us,
            calls: course.calls.saturating_sub(1),
            run: credential.as_ref().and_then(|one| one.run.clone()).unwrap_or_else(|| run.to_string()),
            principal: match (&credential, &place.config.identity) {
                (Some(one), Some(settings)) => settings.policy_name(one.kind(), &one.id, &one.issuer),
                (Some(one), None) => one.id.clone(),
                (None, _) => field("principal"),
            },
            scope: words.split_whitespace().map(str::to_owned).collect(),
            credential,
            server: field("server"),
            method: field("method"),
            name: field("name"),
            direction: field("direction"),
            params: payload.value("params").and_then(|json| RawValue::from_string(json.to_owned()).ok()),
            arguments: payload.value("arguments").map(str::to_owned),
            client: client.unwrap_or_default(),
        }
    }

    /// What was wanted; nothing: no policy is asked.
    fn wanted(&self) -> Vec<Wanted> {
        let raw = self.params.as_deref();
        let read = raw.map(Params::of);
        let request = Request {
            by_client: self.direction == "client",
            method: &self.method,
            name: Some(&self.name),
            params: raw.zip(read.as_ref()),
        };
        Wanted::all(&request)
    }

    fn question<'a>(&'a self, wanted: &'a Wanted) -> Question<'a> {
        let credential = self.credential.as_deref();
        let is_service = credential.is_some_and(|credential| credential.kind() == PrincipalKind::Service);
        let principal = match is_service {
            true => Principal::Service(&self.principal),
            false => Principal::User(&self.principal),
        };
        let agents = credential.map_or(&[] as &[String], |credential| &credential.actors);
        Question {
            caller: Caller {
                principal,
                groups: credential.map_or(&[], |credential| &credential.groups),
                run: &self.run,
            },
            run: RunFacts {
                age_seconds: self.time_us.saturating_sub(self.begun_us) / 1_000_000,
                calls: self.calls,
                purpose: credential.and_then(|credential| credential.purpose.as_deref()),
                scope: &self.scope,
                verified: credential.is_some(),
                depth: u32::try_from(agents.len()).unwrap_or(u32::MAX),
                agents,
            },
            client: Client { name: &self.client.name, version: &self.client.version },
            network: None,
            now_ms: i64::try_from(self.time_us / 1000).unwrap_or(i64::MAX),
            server: &self.server,
            ask: wanted.ask(&self.method, self.arguments.as_deref()),
        }
    }
}
