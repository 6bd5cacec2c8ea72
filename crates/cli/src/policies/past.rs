//! What the record knows of the requests that were judged, as questions.
//!
//! Of a run the record knows who, since when, from where and how many calls were let through; what its token said is in the run's
//! first record.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use anyhow::Context as _;
use gateway::{Request, Wanted};
use identity::PrincipalKind;
use ledger::payload::Payload;
use ledger::{CallId, Kind, Leaf, RunId, Seq, Verdict};
use mcp::fields::Params;
use policy::{Bundle, Caller, Client, Principal, Question, RunFacts};
use recorder::Reader;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Place;

/// Of a larger payload the arguments are not read.
const PAYLOAD_BYTES: usize = 4 << 20;

/// Room for the fields of a request that is counted alone.
const FIELD_BYTES: usize = 64 << 10;

/// Stdio has no address, whatever is known of the run.
const STDIO: &str = "stdio";

/// Since when a run is, its calls so far, where it began, and whose credential named it.
struct Course {
    begun_us: u64,
    /// Those that were let through.
    calls: u64,
    address: Option<IpAddr>,
    credential: Option<Rc<Credential>>,
}

/// What a recorded request says of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearing {
    /// They were asked, and this is what they said; or there were none, and it passed.
    Judged(Verdict),
    /// No policy is asked about it.
    Unasked,
    /// It was denied by what is no policy: a limit, a tool that waited, a credential's scope, the protocol.
    Beside,
    /// What they read of it is not there.
    Reduced,
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
pub(super) struct Asked {
    pub(super) call: Option<CallId>,
    pub(super) verdict: Option<Verdict>,
    /// Whether there were policies.
    is_of_policies: bool,
    /// Whether policy held it, or its hold let it pass.
    is_of_hold: bool,
    /// What denied it beside policies, and how much a policy let be recorded; empty as a rule.
    denied_by: String,
    recording: String,
    is_whole: bool,
    time_us: u64,
    begun_us: u64,
    calls: u64,
    run: String,
    /// What policies call the principal.
    principal: String,
    credential: Option<Rc<Credential>>,
    /// The words of the credential's scope.
    scope: Vec<String>,
    pub(super) server: String,
    pub(super) method: String,
    pub(super) name: String,
    direction: String,
    transport: String,
    address: Option<IpAddr>,
    /// None of it where a policy said `@record("metadata")`.
    params: Option<Box<RawValue>>,
    arguments: Option<String>,
    client: ClientInfo,
}

/// What is read of what a run's first record says of the other end.
#[derive(Deserialize)]
struct Peer {
    address: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClientInfo {
    name: String,
    version: String,
}

/// Goes through the requests that were judged, in order.
pub(super) fn each(place: &Place, from_us: u64, mut visit: impl FnMut(Asked)) -> anyhow::Result<()> {
    let data = &place.data;
    let reader =
        Reader::open(data).with_context(|| format!("cannot read the ledger in `{}`", data.display()))?;
    let mut courses: HashMap<RunId, Course> = HashMap::new();
    for record in reader.leaves(Seq(0)) {
        let (seq, leaf) = record?;
        let leaf = Leaf::decode(&leaf)
            .with_context(|| format!("record {seq} is no record, see `tollbook verify`"))?;
        let Some(link) = leaf.link else { continue };
        let course = courses.entry(link.run).or_insert_with(|| Course::begun(leaf.time_us));
        if !matches!(leaf.kind, Kind::Intent | Kind::Refused | Kind::SessionOpen) {
            continue;
        }
        let is_wanted = leaf.kind != Kind::SessionOpen && leaf.time_us >= from_us;
        let limit = if is_wanted { PAYLOAD_BYTES } else { FIELD_BYTES };
        let payload = reader.payload_within(seq, &leaf, limit).ok().flatten();
        if let Some(payload) = payload.as_ref().filter(|_| leaf.kind == Kind::SessionOpen) {
            course.read(payload);
        }
        let counts = course.counts(&leaf, payload.as_ref());
        // Whose key was destroyed is not judged.
        if let Some(payload) = payload.filter(|_| is_wanted) {
            visit(Asked::of(&leaf, &payload, (link.run, course), place));
        }
        course.calls += u64::from(counts);
    }
    Ok(())
}

impl Course {
    fn begun(at_us: u64) -> Course {
        Course { begun_us: at_us, calls: 0, address: None, credential: None }
    }

    /// Reads a run's first record.
    fn read(&mut self, payload: &Payload) {
        let credential = payload.fields.get("credential");
        self.credential = credential.and_then(|json| serde_json::from_str(json).ok()).map(Rc::new);
        let peer: Option<Peer> = payload.fields.get("peer").and_then(|json| serde_json::from_str(json).ok());
        self.address = peer.and_then(|peer| {
            let address = peer.address?;
            let socket = || address.parse::<SocketAddr>().ok().map(|socket| socket.ip());
            address.parse::<IpAddr>().ok().or_else(socket).map(|address| address.to_canonical())
        });
    }

    /// Whether a record is a call of the client that was let through, as the gateway counts them.
    fn counts(&self, leaf: &Leaf, payload: Option<&Payload>) -> bool {
        let of_server = || payload.is_some_and(|payload| text(payload, "direction") == "server");
        let is_own = leaf.policy.is_none() && payload.is_some_and(|one| one.fields.contains_key("hold"));
        leaf.kind == Kind::Intent && leaf.parent.is_none() && !is_own && !of_server()
    }
}

/// A field that is a text; empty if there is none.
fn text(payload: &Payload, name: &str) -> String {
    payload.fields.get(name).and_then(|value| serde_json::from_str(value).ok()).unwrap_or_default()
}

impl Asked {
    fn of(leaf: &Leaf, payload: &Payload, (run, course): (RunId, &Course), place: &Place) -> Asked {
        let field = |name: &str| text(payload, name);
        let client = payload.fields.get("agent").and_then(|agent| serde_json::from_str(agent).ok());
        let credential = course.credential.clone();
        let words =
            credential.as_ref().and_then(|credential| credential.scope.as_deref()).unwrap_or_default();
        Asked {
            call: leaf.call,
            verdict: leaf.verdict,
            is_of_policies: leaf.policy.is_some(),
            is_of_hold: payload.fields.contains_key("hold"),
            denied_by: field("denied_by"),
            recording: field("recording"),
            is_whole: !payload.body.is_empty(),
            time_us: leaf.time_us,
            begun_us: course.begun_us,
            calls: course.calls,
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
            transport: field("transport"),
            address: course.address,
            params: payload.value("params").and_then(|json| RawValue::from_string(json.to_owned()).ok()),
            arguments: payload.value("arguments").map(str::to_owned),
            client: client.unwrap_or_default(),
        }
    }

    /// What it says of policies.
    pub(super) fn bearing(&self) -> Bearing {
        let Some(verdict) = self.verdict else { return Bearing::Unasked };
        let is_beside = !self.is_of_policies || ["limit", "pin"].contains(&&*self.denied_by);
        if verdict == Verdict::Deny && is_beside {
            return Bearing::Beside;
        }
        // A question about a task of the gateway's own.
        if !self.is_of_policies && self.is_of_hold {
            return Bearing::Unasked;
        }
        match (self.recording.is_empty(), self.is_whole) {
            (false, _) => Bearing::Reduced,
            (true, _) if self.wanted().is_empty() => Bearing::Unasked,
            (true, false) => Bearing::Reduced,
            _ if self.is_of_hold || self.denied_by == "approval" => Bearing::Judged(Verdict::Hold),
            _ => Bearing::Judged(verdict),
        }
    }

    /// The policies that read from where it came, where that is not recorded.
    pub(super) fn unplaced<'a>(&self, bundle: &'a Bundle, question: &Question<'_>) -> Vec<&'a str> {
        let is_known = self.address.is_some() || self.transport == STDIO || self.direction == "server";
        if is_known { Vec::new() } else { bundle.readers(question, "network").collect() }
    }

    /// What was wanted; nothing: no policy is asked.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
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

    /// The question that it is to policies.
    pub(super) fn question<'a>(&'a self, wanted: &'a Wanted) -> Question<'a> {
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
            network: self.address.filter(|_| self.transport != STDIO),
            now_ms: i64::try_from(self.time_us / 1000).unwrap_or(i64::MAX),
            server: &self.server,
            ask: wanted.ask(&self.method, self.arguments.as_deref()),
        }
    }
}
