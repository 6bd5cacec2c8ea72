//! From a question to a judgement.

use std::collections::{BTreeMap, BTreeSet};

use crate::asked::{Place, Put, Thing};
use crate::bundle::{Bundle, Rule};
use crate::catalog::tool_id;
use crate::fit;
use crate::index::Said;
use crate::limit::Limited;
use crate::obligation::Recording;
use crate::question::{Ask, Question};
use crate::typing::Fields;

/// A bundle's answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// May it run?
    pub verdict: Verdict,
    /// Why, in words that the client may read: never a value of the call.
    pub reason: Option<String>,
    /// How much of the call is recorded. What is denied is recorded in full.
    pub recording: Recording,
    /// Names of the mask sets that apply.
    pub masks: BTreeSet<String>,
    /// Limits that the call falls under; of what is denied there are none.
    pub limits: Vec<Limited>,
    /// The policies that determined it: `@id`, else `file:line`.
    pub by: Vec<String>,
    /// Policies that could not be evaluated, and why; for the operator. If there is one, the verdict is [`Verdict::Deny`].
    pub errors: Vec<String>,
}

/// Whether a call may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Allow,
    /// It may not.
    Deny,
    /// It may when all of these have approved; never empty.
    Hold(Vec<Approval>),
}

/// Approvals that a held call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The group whose members may approve.
    pub group: String,
    /// How many of them must.
    pub count: u32,
}

const UNPERMITTED: &str = "no policy permits this";
const FORBIDDEN: &str = "a policy forbids this";
const FAILED: &str = "a policy could not be evaluated";

impl Bundle {
    /// Judges a call. What no policy permits is denied; so is what cannot be judged.
    pub fn decide(&self, question: &Question<'_>) -> Judgement {
        match self.said(question) {
            Ok(said) => {
                let mut judgement = self.judge(&said);
                judgement.limits.iter_mut().for_each(|limited| limited.thing = thing(question));
                judgement
            }
            Err(reason) => denied(reason),
        }
    }

    fn said(&self, question: &Question<'_>) -> Result<Said, String> {
        let put = self.put(question)?;
        let candidates = self.index.candidates(&put.place);
        if candidates.are_none() {
            return Ok(Said::default());
        }
        let asked = put.asked(&candidates.needs())?;
        Ok(candidates.ask(&asked))
    }

    /// The question as far as every policy needs it, or why it cannot be put.
    pub(crate) fn put<'a>(&self, question: &'a Question<'a>) -> Result<Put<'a>, String> {
        let server = question.server;
        if server.contains('/') {
            return Err("a server's name has no `/`".to_owned());
        }
        let fit = |fields: Option<&Fields>, arguments| {
            let fitted = match fields {
                Some(fields) => fit::arguments(fields, arguments),
                None => fit::texts(arguments),
            };
            fitted.map(Some).map_err(|error| error.to_string())
        };
        let (thing, fitted) = match question.ask {
            Ask::CallTool { name, arguments } => {
                let pin = self.tools.get(server, name).ok_or("the tool is not pinned")?;
                let fields = pin.fields.as_ref().ok_or("the tool has no schema to judge its arguments by")?;
                (Thing::Tool { name, hints: pin.hints }, fit(Some(fields), arguments)?)
            }
            Ask::GetPrompt { name, arguments } => {
                (Thing::Prompt { name }, fit(self.prompts.get(server, name), arguments)?)
            }
            Ask::CompletePrompt { name } => (Thing::Prompt { name }, None),
            Ask::ReadResource { uri } | Ask::SubscribeResource { uri } | Ask::CompleteResource { uri } => {
                (Thing::Resource { uri }, None)
            }
            _ => (Thing::Server, None),
        };
        let place = Place::of(&question.caller, server, &thing);
        Ok(Put { question, thing, place, fitted })
    }

    /// What the policies' answers amount to.
    pub(crate) fn judge(&self, said: &Said) -> Judgement {
        let labels = |rules: &[&Rule]| rules.iter().map(|rule| rule.label.clone()).collect();
        if !said.failed.is_empty() {
            let failed = said.failed.iter().filter_map(|(number, why)| Some((self.rules.get(*number)?, why)));
            let errors: Vec<String> = failed.map(|(rule, why)| format!("{}: {why}", rule.label)).collect();
            let rules = self.rules_of(&said.forbids);
            return Judgement { by: labels(&rules), errors, ..denied(FAILED) };
        }
        if !said.forbids.is_empty() {
            let rules = self.rules_of(&said.forbids);
            return Judgement {
                by: labels(&rules),
                ..denied(reasons(&rules).unwrap_or_else(|| FORBIDDEN.to_owned()))
            };
        }
        let rules = self.rules_of(&said.permits);
        if rules.is_empty() {
            return denied(UNPERMITTED);
        }
        Judgement { by: labels(&rules), ..permitted(&rules) }
    }

    fn rules_of(&self, numbers: &[usize]) -> Vec<&Rule> {
        numbers.iter().filter_map(|number| self.rules.get(*number)).collect()
    }
}

fn denied(reason: impl Into<String>) -> Judgement {
    Judgement {
        verdict: Verdict::Deny,
        reason: Some(reason.into()),
        recording: Recording::Full,
        masks: BTreeSet::new(),
        limits: Vec::new(),
        by: Vec::new(),
        errors: Vec::new(),
    }
}

/// What the permits that hold ask for together: every hold, every mask, the most recording.
fn permitted(rules: &[&Rule]) -> Judgement {
    let mut holds: BTreeMap<&str, u32> = BTreeMap::new();
    for (group, count) in rules.iter().flat_map(|rule| &rule.obligations.holds) {
        let most = holds.entry(group).or_default();
        *most = (*most).max(*count);
    }
    let approvals: Vec<Approval> =
        holds.into_iter().map(|(group, count)| Approval { group: group.to_owned(), count }).collect();
    Judgement {
        verdict: if approvals.is_empty() { Verdict::Allow } else { Verdict::Hold(approvals) },
        reason: reasons(rules),
        recording: rules.iter().map(|rule| rule.obligations.recording).max().unwrap_or_default(),
        masks: rules.iter().flat_map(|rule| rule.obligations.masks.iter().cloned()).collect(),
        limits: rules.iter().flat_map(|rule| limits(rule)).collect(),
        by: Vec::new(),
        errors: Vec::new(),
    }
}

fn limits(rule: &Rule) -> impl Iterator<Item = Limited> {
    rule.obligations.limits.iter().map(|limit| Limited {
        policy: rule.label.clone(),
        limit: *limit,
        thing: String::new(),
    })
}

/// What limits count apart.
fn thing(question: &Question<'_>) -> String {
    let server = question.server;
    match question.ask {
        Ask::CallTool { name, .. } | Ask::GetPrompt { name, .. } | Ask::CompletePrompt { name } => {
            tool_id(server, name)
        }
        Ask::ReadResource { uri } | Ask::SubscribeResource { uri } | Ask::CompleteResource { uri } => {
            tool_id(server, uri)
        }
        _ => server.to_owned(),
    }
}

/// The reasons that the policies give, each once.
fn reasons(rules: &[&Rule]) -> Option<String> {
    let mut reasons: Vec<&str> = Vec::new();
    for reason in rules.iter().filter_map(|rule| rule.obligations.reason.as_deref()) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    if reasons.is_empty() { None } else { Some(reasons.join("; ")) }
}
