//! From a message to a judgement: what is asked in the policies' words, and what follows for the message.
//!
//! What is no use of a server (`initialize`, `ping`, lists, notifications) is not asked about: lists are filtered when
//! they come back.

use std::sync::Arc;

use identity::{PrincipalKind, RunName};
use ledger::{CallId, Hash, Verdict};
use mcp::era::Era;
use mcp::error::{self, ErrorCode};
use mcp::fields::{InputRequest, Params, ResultView};
use mcp::method::Method;
use mcp::page::ToolPage;
use policy::{Ask, Caller, Client, Principal, Question, RunFacts};
use recorder::Decision;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::account::Side;
use crate::clock;
use crate::peer::Peer;
use crate::refusal::Reason;
use crate::rules::{InForce, Standing};
use crate::scope::Scope;

/// Milliseconds that a client may go by a list: a change of grants shows no later.
const FRESH_MS: u64 = 30_000;

/// A request as it is judged.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) scope: &'a Scope,
    /// Whose request it is, or in whose course a server asks.
    pub(crate) peer: &'a Arc<Peer>,
    pub(crate) side: Side,
    pub(crate) method: &'a str,
    pub(crate) params: Option<&'a RawValue>,
}

/// What is to be done with a request.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) decision: Decision,
    /// The policies that determined it.
    pub(crate) by: Vec<String>,
    pub(crate) recording: policy::Recording,
    /// What who asked is told; of what is allowed, nothing.
    pub(crate) denial: Option<Denial>,
}

/// What who asked gets to see of a list.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The message that goes on, if not the one that came.
    pub(crate) instead: Option<String>,
    /// Names that were left out.
    pub(crate) hidden: Vec<String>,
}

/// What a denied request is answered with.
#[derive(Debug, Default)]
pub(crate) struct Denial {
    kind: DenialKind,
    text: String,
    /// Names the decision in the record.
    call: Option<CallId>,
}

#[derive(Debug, Clone, Copy, Default)]
enum DenialKind {
    /// A tool's result, which models see and SDKs do not throw.
    ToolResult(Era),
    /// An error that says no more than the server's own about a tool that it does not have.
    UnknownTool,
    #[default]
    Error,
}

impl Denial {
    pub(crate) fn of(self, call: Option<CallId>) -> Denial {
        Denial { call, ..self }
    }

    /// The JSON-RPC answer to the request of that id, a JSON text.
    pub(crate) fn answer(&self, id: Option<&str>) -> String {
        let named = match self.call {
            Some(call) => format!("denied: {} (decision {call})", self.text),
            None => format!("denied: {}", self.text),
        };
        match (self.kind, id) {
            (DenialKind::ToolResult(era), Some(id)) => error::tool_error_result(id, &named, era),
            (DenialKind::UnknownTool, _) => error::error_response(id, ErrorCode::INVALID_PARAMS, &self.text),
            _ => error::error_response(id, ErrorCode::DENIED, &named),
        }
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Judged {
    /// Where nothing is judged.
    pub(crate) fn unasked() -> Judged {
        let decision = Decision { verdict: Verdict::Allow, policy: None, reason: None };
        Judged { decision, by: Vec::new(), recording: policy::Recording::Full, denial: None }
    }

    fn denied(rules: &InForce, reason: String, denial: Denial) -> Judged {
        let decision = Decision { verdict: Verdict::Deny, policy: rules.policy(), reason: Some(reason) };
        Judged { decision, denial: Some(denial), ..Judged::unasked() }
    }
}

impl InForce {
    /// Judges a request.
    pub(crate) fn judge(&self, asked: &Asked<'_>) -> Judged {
        let mut judged = Judged::unasked();
        if !self.filters() {
            return judged;
        }
        let params = asked.params.map(Params::of);
        for wanted in Wanted::all(asked, params.as_ref()) {
            judged = self.judge_one(asked, params.as_ref(), &wanted);
            if judged.denial.is_some() {
                break;
            }
        }
        judged
    }

    fn judge_one(&self, asked: &Asked<'_>, params: Option<&Params<'_>>, ask: &Wanted) -> Judged {
        if let Wanted::Tool(name) = ask
            && let Some(judged) = self.judge_pin(asked, name)
        {
            return judged;
        }
        let Some(bundle) = &self.bundle else { return Judged::unasked() };
        let arguments = params.and_then(Params::arguments).map(RawValue::get);
        let judgement = with_question(asked, ask.ask(asked.method, arguments), |q| bundle.decide(q));
        let reason = judgement.errors.first().or(judgement.reason.as_ref()).cloned();
        let (verdict, text) = match &judgement.verdict {
            policy::Verdict::Allow => (Verdict::Allow, None),
            policy::Verdict::Deny => (Verdict::Deny, Some(judgement.reason.unwrap_or_default())),
            policy::Verdict::Hold(approvals) => {
                let who: Vec<String> = approvals
                    .iter()
                    .map(|approval| format!("{} of `{}`", approval.count, approval.group))
                    .collect();
                let text =
                    format!("it needs the approval of {}, which cannot be given here yet", who.join(" and "));
                (Verdict::Hold, Some(text))
            }
        };
        let denial = text.map(|text| match ask {
            Wanted::Tool(name) if !self.shows(asked.scope, asked.peer, name) => unknown_tool(name),
            Wanted::Tool(_) => Denial { kind: DenialKind::ToolResult(era(asked.scope)), text, call: None },
            _ => Denial { kind: DenialKind::Error, text, call: None },
        });
        let decision = Decision { verdict, policy: self.policy(), reason };
        Judged { decision, by: judgement.by, recording: judgement.recording, denial }
    }

    /// Judges what a server asks of the client within an answer, as if it asked by requests.
    pub(crate) fn judge_input_requests(
        &self,
        scope: &Scope,
        peer: &Arc<Peer>,
        result: &RawValue,
    ) -> Result<(), Reason> {
        let view = ResultView::of(result);
        if self.bundle.is_none() || !view.is_input_required() {
            return Ok(());
        }
        let requests =
            view.input_requests().ok_or(Reason::Answer("what it asks of the client cannot be read"))?;
        for InputRequest { method, params } in &requests {
            let judged = self.judge(&Asked { scope, peer, side: Side::Server, method, params: *params });
            if let Some(denial) = judged.denial {
                return Err(Reason::AskedBack(denial.to_string()));
            }
        }
        Ok(())
    }

    /// A tool that is not as it was accepted does not exist for callers.
    fn judge_pin(&self, asked: &Asked<'_>, name: &str) -> Option<Judged> {
        let waits = self.standing(&asked.scope.server, name) == Standing::Waiting;
        (waits && self.quarantines()).then(|| {
            let reason = "the tool is new or has changed, and waits to be accepted".to_owned();
            Judged::denied(self, reason, unknown_tool(name))
        })
    }

    /// Whether a list shows a tool to who asks in this scope.
    pub(crate) fn shows(&self, scope: &Scope, peer: &Peer, tool: &str) -> bool {
        let standing = self.standing(&scope.server, tool);
        if self.quarantines() && standing != Standing::Accepted {
            return false;
        }
        if !covers(peer, &scope.server, tool) {
            return false;
        }
        let run = run_of(scope, peer);
        self.bundle.as_ref().is_none_or(|bundle| bundle.visible(&caller(peer, &run), &scope.server, tool))
    }

    /// A page as who asks in this scope may see it: of tools in quarantine the definition itself counts, since a server may say
    /// one thing here and another elsewhere at the same time. `digests`: as in [`Rules::see`](crate::rules::Rules::see).
    pub(crate) fn show(
        &self,
        scope: &Scope,
        peer: &Peer,
        page: &ToolPage<'_>,
        digests: &[Option<Hash>],
    ) -> Shown {
        if !self.filters() && peer.verified.is_none() {
            return Shown::default();
        }
        let (mut keep, mut hidden) = (Vec::new(), Vec::new());
        for ((name, _), digest) in page.tools().zip(digests) {
            let is_sound = !self.quarantines() || self.is_accepted(&scope.server, name, *digest);
            let shown = is_sound && self.shows(scope, peer, name);
            if !shown {
                hidden.push(name.to_owned());
            }
            keep.push(shown);
        }
        Shown { instead: Some(page.keeping(&keep, FRESH_MS)), hidden }
    }

    /// Whether anything may be denied or hidden: then lists differ by who asks.
    pub(crate) fn filters(&self) -> bool {
        self.bundle.is_some() || self.quarantines()
    }
}

fn unknown_tool(name: &str) -> Denial {
    Denial { kind: DenialKind::UnknownTool, text: format!("Unknown tool: {name}"), call: None }
}

fn era(scope: &Scope) -> Era {
    scope.facts().era.unwrap_or(Era::Session)
}

/// What a request wants of a server or a client.
enum Wanted {
    Tool(String),
    Prompt(String),
    Read(String),
    Subscribe(String),
    CompletePrompt(String),
    CompleteResource(String),
    Message,
    Elicit,
    Roots,
    Tasks,
    Other,
}

/// What `completion/complete` refers to.
#[derive(Deserialize)]
struct Completed {
    #[serde(rename = "ref")]
    reference: Reference,
}

#[derive(Deserialize)]
struct Reference {
    name: Option<String>,
    uri: Option<String>,
}

/// Whether a method is the protocol's own (`initialize`, lists, notifications): no policy is asked about it.
pub fn needs_no_policy(method: &str) -> bool {
    Method::of(method).is_some()
}

/// What is read of `subscriptions/listen`.
#[derive(Deserialize)]
struct Listened {
    #[serde(default)]
    notifications: Subscribed,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subscribed {
    resource_subscriptions: Vec<String>,
}

impl Wanted {
    /// All that a request wants. One that listens wants each resource that it names; nothing: what the protocol itself needs.
    fn all(asked: &Asked<'_>, params: Option<&Params<'_>>) -> Vec<Wanted> {
        if asked.method != "subscriptions/listen" {
            return Wanted::of(asked, params).into_iter().collect();
        }
        let listened = asked.params.map(|params| serde_json::from_str(params.get()));
        match listened {
            None => Vec::new(),
            Some(Ok(Listened { notifications })) => {
                notifications.resource_subscriptions.into_iter().map(Wanted::Subscribe).collect()
            }
            // What cannot be read is judged as what it is: something else.
            Some(Err(_)) => vec![Wanted::Other],
        }
    }

    /// `None`: what the protocol itself needs.
    fn of(asked: &Asked<'_>, params: Option<&Params<'_>>) -> Option<Wanted> {
        let name = || params.and_then(Params::name);
        let uri = || params.and_then(Params::uri);
        let wanted = match (asked.side, asked.method) {
            (Side::Client, "tools/call") => name().map(Wanted::Tool),
            (Side::Client, "prompts/get") => name().map(Wanted::Prompt),
            (Side::Client, "resources/read") => uri().map(Wanted::Read),
            (Side::Client, "resources/subscribe") => uri().map(Wanted::Subscribe),
            (Side::Client, "completion/complete") => asked.params.and_then(Wanted::completed),
            (Side::Server, "sampling/createMessage") => Some(Wanted::Message),
            (Side::Server, "elicitation/create") => Some(Wanted::Elicit),
            (Side::Server, "roots/list") => Some(Wanted::Roots),
            (_, method) if method.starts_with("tasks/") => Some(Wanted::Tasks),
            (_, method) if needs_no_policy(method) => return None,
            _ => None,
        };
        // What does not name what it wants is judged as what it is: something else.
        Some(wanted.unwrap_or(Wanted::Other))
    }

    fn completed(params: &RawValue) -> Option<Wanted> {
        let Completed { reference } = serde_json::from_str(params.get()).ok()?;
        match reference {
            Reference { name: Some(name), uri: None } => Some(Wanted::CompletePrompt(name)),
            Reference { name: None, uri: Some(uri) } => Some(Wanted::CompleteResource(uri)),
            _ => None,
        }
    }

    fn ask<'a>(&'a self, method: &'a str, arguments: Option<&'a str>) -> Ask<'a> {
        match self {
            Wanted::Tool(name) => Ask::CallTool { name, arguments },
            Wanted::Prompt(name) => Ask::GetPrompt { name, arguments },
            Wanted::Read(uri) => Ask::ReadResource { uri },
            Wanted::Subscribe(uri) => Ask::SubscribeResource { uri },
            Wanted::CompletePrompt(name) => Ask::CompletePrompt { name },
            Wanted::CompleteResource(uri) => Ask::CompleteResource { uri },
            Wanted::Message => Ask::CreateMessage,
            Wanted::Elicit => Ask::Elicit,
            Wanted::Roots => Ask::ListRoots,
            Wanted::Tasks => Ask::Tasks { method },
            Wanted::Other => Ask::Other { method },
        }
    }
}

/// What is read of `clientInfo`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ClientInfo {
    name: String,
    version: String,
}

/// A request that the caller's own scope does not cover, whatever policies say.
pub(crate) fn by_scope(asked: &Asked<'_>) -> Option<Judged> {
    asked.peer.verified.as_ref()?;
    let params = asked.params.map(Params::of);
    Wanted::all(asked, params.as_ref()).into_iter().find_map(|wanted| beyond_scope(asked, wanted))
}

fn beyond_scope(asked: &Asked<'_>, wanted: Wanted) -> Option<Judged> {
    let server = &asked.scope.server;
    let denial = match wanted {
        Wanted::Tool(name) if covers(asked.peer, server, &name) => return None,
        Wanted::Tool(name) => unknown_tool(&name),
        _ if asked.side == Side::Server || covers(asked.peer, server, "") => return None,
        _ => Denial { kind: DenialKind::Error, text: OUT_OF_SCOPE.to_owned(), call: None },
    };
    let decision = Decision { verdict: Verdict::Deny, policy: None, reason: Some(OUT_OF_SCOPE.to_owned()) };
    Some(Judged { decision, denial: Some(denial), ..Judged::unasked() })
}

const OUT_OF_SCOPE: &str = "the scope of the credential does not cover it";

/// Whether the caller's scope has something of a server; without a name, all of it.
fn covers(peer: &Peer, server: &str, name: &str) -> bool {
    let Some(verified) = &peer.verified else { return true };
    let word = if name.is_empty() { server.to_owned() } else { format!("{server}/{name}") };
    verified.caller.scope.covers(&word)
}

/// The run as policies name it: that of the credential, else the record's.
fn run_of(scope: &Scope, peer: &Peer) -> String {
    match peer.verified.as_ref().map(|verified| &verified.caller.run) {
        Some(RunName::Minted(run)) => run.to_string(),
        _ => scope.run.to_string(),
    }
}

fn caller<'a>(peer: &'a Peer, run: &'a str) -> Caller<'a> {
    let Some(verified) = &peer.verified else {
        return Caller { principal: Principal::User(&peer.principal), groups: &[], run };
    };
    let principal = match verified.caller.principal.kind {
        PrincipalKind::User => Principal::User(&verified.name),
        PrincipalKind::Service => Principal::Service(&verified.name),
    };
    Caller { principal, groups: &verified.caller.groups, run }
}

fn with_question<T>(asked: &Asked<'_>, ask: Ask<'_>, judge: impl FnOnce(&Question<'_>) -> T) -> T {
    let scope = asked.scope;
    let info: ClientInfo =
        scope.facts().agent.and_then(|agent| serde_json::from_str(&agent).ok()).unwrap_or_default();
    let peer = asked.peer;
    let run = run_of(scope, peer);
    let (age_seconds, calls) = scope.course.so_far();
    let verified = peer.verified.as_ref().map(|verified| &verified.caller);
    let words: Vec<String> = match verified.map(|caller| &caller.scope) {
        Some(identity::Scope::Words(words)) => words.iter().cloned().collect(),
        _ => Vec::new(),
    };
    let agents: Vec<String> =
        verified.iter().flat_map(|caller| &caller.actors).map(|actor| actor.sub.clone()).collect();
    let question = Question {
        caller: caller(peer, &run),
        run: RunFacts {
            age_seconds,
            calls,
            purpose: verified.and_then(|caller| caller.purpose.as_deref()),
            scope: &words,
            verified: verified.is_some(),
            depth: u32::try_from(agents.len()).unwrap_or(u32::MAX),
            agents: &agents,
        },
        client: Client { name: &info.name, version: &info.version },
        network: peer.address,
        now_ms: i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX),
        server: &scope.server,
        ask,
    };
    judge(&question)
}
