//! Annotations of policies: what goes with a permit.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Mistake, did_you_mean};
use crate::limit::{self, Limit};
use crate::scan::{Annotation, Statement};

/// The annotations that there are.
const KNOWN: [&str; 6] = ["hold", "id", "limit", "mask", "reason", "record"];

/// How much of a call is recorded. Later is more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recording {
    /// The call is counted, nothing else.
    None,
    /// Who, what, when and how it ended; neither arguments nor results.
    Metadata,
    /// All of it.
    #[default]
    Full,
}

/// What the annotations of one policy say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Obligations {
    pub(crate) id: Option<String>,
    pub(crate) reason: Option<String>,
    /// How many of which group must approve.
    pub(crate) holds: BTreeMap<String, u32>,
    pub(crate) masks: BTreeSet<String>,
    pub(crate) recording: Recording,
    pub(crate) limits: Vec<Limit>,
}

impl Obligations {
    /// Reads the annotations of a policy.
    pub(crate) fn of(source: usize, statement: &Statement<'_>, mistakes: &mut Vec<Mistake>) -> Obligations {
        let mut obligations = Obligations::default();
        for annotation in statement.annotations() {
            let read = obligations.read(&annotation);
            let misplaced =
                statement.forbids() && ["hold", "limit", "mask", "record"].contains(&annotation.name);
            if let Err((text, help)) = read {
                let range =
                    if KNOWN.contains(&annotation.name) { annotation.value_range } else { annotation.range };
                mistakes.push(Mistake::at(source, range, text).help(help));
            } else if misplaced {
                let text = format!("`@{}` on a `forbid` has no meaning", annotation.name);
                let help = "write it on the `permit` that allows the call".to_owned();
                mistakes.push(Mistake::at(source, annotation.range, text).help(Some(help)));
            }
        }
        obligations
    }

    fn read(&mut self, annotation: &Annotation<'_>) -> Result<(), (String, Option<String>)> {
        let Annotation { name, value, .. } = annotation;
        if KNOWN.contains(name) && value.trim().is_empty() {
            return Err((format!("`@{name}` needs a value"), Some(example(name))));
        }
        match *name {
            "id" => self.id = Some((*value).to_owned()),
            "reason" => self.reason = Some((*value).to_owned()),
            "hold" => {
                for part in value.split(',') {
                    let (group, count) = approvals(part).ok_or_else(|| {
                        (format!("`{}` names no group of approvers", part.trim()), Some(example(name)))
                    })?;
                    self.holds.insert(group.to_owned(), count);
                }
            }
            "mask" => self.masks.extend(value.split(',').map(|set| set.trim().to_owned())),
            "limit" => self.limits = Limit::all(value)?,
            "record" => self.recording = recording(value)?,
            other => {
                let help = did_you_mean(other, KNOWN);
                let known = || format!("known are {}", KNOWN.map(|name| format!("`@{name}`")).join(", "));
                return Err((format!("there is no annotation `@{other}`"), Some(help.unwrap_or_else(known))));
            }
        }
        if self.masks.contains("") {
            return Err(("a mask set without a name".to_owned(), Some(example(name))));
        }
        Ok(())
    }
}

/// `oncall 2` is two approvals of the group `oncall`, `oncall` is one.
fn approvals(part: &str) -> Option<(&str, u32)> {
    let part = part.trim();
    let (group, count) = match part.rsplit_once(char::is_whitespace) {
        Some((group, count)) if count.bytes().all(|byte| byte.is_ascii_digit()) => {
            (group.trim_end(), count.parse().ok()?)
        }
        _ => (part, 1),
    };
    let only_digits = group.bytes().all(|byte| byte.is_ascii_digit());
    if only_digits || count == 0 { None } else { Some((group, count)) }
}

fn recording(value: &str) -> Result<Recording, (String, Option<String>)> {
    match value {
        "metadata" => Ok(Recording::Metadata),
        "none" => Ok(Recording::None),
        other => {
            let help = did_you_mean(other, ["metadata", "none"]).unwrap_or_else(|| example("record"));
            Err((format!("`{other}` is no way to record"), Some(help)))
        }
    }
}

fn example(name: &str) -> String {
    if name == "limit" {
        return limit::EXAMPLE.to_owned();
    }
    let example = match name {
        "hold" => "@hold(\"oncall\")` or `@hold(\"oncall 2, finance\")",
        "mask" => "@mask(\"pii\")` or `@mask(\"pii, secrets\")",
        "record" => "@record(\"metadata\")` or `@record(\"none\")",
        "reason" => "@reason(\"ask the platform team\")",
        _ => "@id(\"deploys\")",
    };
    format!("for example `{example}`")
}
