//! Files to policies, each with its place in the text.

use std::collections::HashMap;

use cedar_policy::{Policy, PolicyId, PolicySet};
use miette::Diagnostic as _;

use crate::bundle::Source;
use crate::diagnostic::{Mistake, place};
use crate::obligation::Obligations;
use crate::scan::{Statement, statements};

/// A policy as it is written.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    /// Which of the files.
    pub(crate) source: usize,
    pub(crate) statement: Statement<'a>,
    pub(crate) policy: Policy,
    pub(crate) obligations: Obligations,
}

/// Reads all files. Policies of a file that Cedar cannot parse are left out.
pub(crate) fn parse<'a>(sources: &'a [Source], mistakes: &mut Vec<Mistake>) -> Vec<Written<'a>> {
    let mut written = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        match source.text.parse::<PolicySet>() {
            Ok(set) => policies(number, &source.text, &set, &mut written, mistakes),
            Err(errors) => mistakes.extend(errors.iter().map(|error| {
                let label = error.labels().and_then(|mut labels| labels.next());
                let at = label.map_or(0..0, |label| label.offset()..label.offset() + label.len());
                Mistake::at(number, at, error.to_string()).help(error.help().map(|help| help.to_string()))
            })),
        }
    }
    once(sources, &written, mistakes);
    written
}

fn policies<'a>(
    source: usize,
    text: &'a str,
    set: &PolicySet,
    written: &mut Vec<Written<'a>>,
    mistakes: &mut Vec<Mistake>,
) {
    for (number, statement) in statements(text).into_iter().enumerate() {
        // Cedar numbers what it reads in the order of the text; a template is no policy.
        let Some(policy) = set.policy(&PolicyId::new(format!("policy{number}"))) else {
            let text = "templates are not supported";
            let help = "write the principal or resource instead of `?principal` or `?resource`".to_owned();
            mistakes.push(Mistake::at(source, statement.effect(), text).help(Some(help)));
            continue;
        };
        let obligations = Obligations::of(source, &statement, mistakes);
        written.push(Written { source, statement, policy: policy.clone(), obligations });
    }
}

/// An `@id` names one policy.
fn once(sources: &[Source], written: &[Written<'_>], mistakes: &mut Vec<Mistake>) {
    let mut known: HashMap<&str, &Written<'_>> = HashMap::new();
    for each in written {
        let Some(id) = each.obligations.id.as_deref() else { continue };
        if let Some(first) = known.insert(id, each) {
            let source = sources.get(first.source);
            let (line, ..) = place(source.map_or("", |source| &source.text), first.statement.effect().start);
            let file = source.map_or("", |source| &source.name);
            let annotation =
                each.statement.annotations().into_iter().find(|annotation| annotation.name == "id");
            let range =
                annotation.map_or_else(|| each.statement.effect(), |annotation| annotation.value_range);
            let help = format!("the policy at {file}:{line} has it; use another");
            mistakes
                .push(Mistake::at(each.source, range, format!("`{id}` names two policies")).help(Some(help)));
        }
    }
}
