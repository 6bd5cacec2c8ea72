//! Why a question gets its judgement: each policy that may speak of it, each of its conditions, and what they read.

use cedar_policy::{Authorizer, Decision, Effect, Expression, Policy, PolicySet};
use serde_json::Value;

use crate::asked::Asked;
use crate::bundle::{Bundle, Rule};
use crate::decide::{Judgement, Verdict};
use crate::est;
use crate::index::fault;
use crate::needs::{Needs, Wanted};
use crate::question::Question;

/// Says why, a line at a time. The lines hold values of the call: they are for who may read it.
pub fn explain(bundle: &Bundle, question: &Question<'_>) -> Vec<String> {
    let judgement = bundle.decide(question);
    let mut lines = vec![outcome(&judgement)];
    lines.extend(judgement.errors.iter().map(|error| format!("could not be evaluated: {error}")));
    lines.extend(judgement.limits.iter().map(|limited| {
        format!("as long as the run has not used up `{}` of {}", limited.limit, limited.policy)
    }));
    let Ok(put) = bundle.put(question) else {
        lines.push("no policy was asked".to_owned());
        return lines;
    };
    let candidates = bundle.index.candidates(&put.place).numbers();
    let asked = match put.asked(&Wanted(vec![&Needs::All])) {
        Ok(asked) => asked,
        Err(why) => {
            lines.push(why);
            return lines;
        }
    };
    let mut elsewhere = bundle.rules.len() - candidates.len();
    for rule in candidates.iter().filter_map(|number| bundle.rules.get(*number)) {
        if est::without(&rule.policy, |_| true).is_ok_and(|scope| holds(&asked, &scope) == Ok(true)) {
            told(&asked, rule, &mut lines);
        } else {
            elsewhere += 1;
        }
    }
    let all = bundle.rules.len();
    lines.push(format!("{elsewhere} of {all} policies name another principal, action or resource"));
    lines
}

fn outcome(judgement: &Judgement) -> String {
    let verdict = match &judgement.verdict {
        Verdict::Allow => "allowed".to_owned(),
        Verdict::Deny => "denied".to_owned(),
        Verdict::Hold(approvals) => {
            let of = |count: u32, group: &str| format!("{count} of `{group}`");
            let needed: Vec<String> = approvals.iter().map(|one| of(one.count, &one.group)).collect();
            format!("held until approved by {}", needed.join(" and "))
        }
    };
    match &judgement.reason {
        Some(reason) => format!("{verdict}: {reason}"),
        None => verdict,
    }
}

/// A policy whose scope matches: whether it applies, and each condition.
fn told(asked: &Asked, rule: &Rule, lines: &mut Vec<String>) {
    let effect = if rule.policy.effect() == Effect::Forbid { "forbid" } else { "permit" };
    let named = if rule.label == rule.place { String::new() } else { format!(" `{}`", rule.label) };
    // A forbid is asked as the permit of what it forbids.
    let conditions = est::conditions(&rule.policy);
    let results: Vec<Result<bool, &str>> =
        conditions.iter().map(|condition| alone(asked, condition)).collect();
    let applies = match results.iter().find(|result| **result != Ok(true)) {
        None => "applies",
        Some(Ok(_)) => "does not apply",
        Some(Err(_)) => "cannot be evaluated",
    };
    lines.push(format!("{effect}{named} at {} {applies}", rule.place));
    for (number, (condition, result)) in conditions.iter().zip(results).enumerate() {
        let written = rule.clauses.get(number).map_or("condition", String::as_str);
        let written = written.split_whitespace().collect::<Vec<_>>().join(" ");
        let result = match result {
            Ok(true) => "holds".to_owned(),
            Ok(false) => "does not hold".to_owned(),
            Err(why) => format!("cannot be evaluated: {why}"),
        };
        lines.push(format!("  {written}: {result}"));
        let mut paths = Vec::new();
        est::reads(condition, &mut paths);
        lines.extend(paths.iter().map(|path| format!("    {path} = {}", value(asked, path))));
    }
}

/// Whether one `when` or `unless` lets its policy apply.
fn alone<'a>(asked: &Asked, condition: &Value) -> Result<bool, &'a str> {
    est::alone(condition).map_err(|_| "Cedar cannot read it alone").and_then(|policy| holds(asked, &policy))
}

/// Whether a policy applies, whatever its effect.
fn holds<'a>(asked: &Asked, policy: &Policy) -> Result<bool, &'a str> {
    let mut set = PolicySet::new();
    set.add(policy.clone()).map_err(|_| "Cedar cannot read it alone")?;
    let response = Authorizer::new().is_authorized(&asked.request, &set, &asked.entities);
    if let Some(cedar_policy::AuthorizationError::PolicyEvaluationError(error)) =
        response.diagnostics().errors().next()
    {
        return Err(fault(error.inner()));
    }
    let determined = response.diagnostics().reason().next().is_some();
    Ok(response.decision() == Decision::Allow || determined)
}

fn value(asked: &Asked, path: &str) -> String {
    let Ok(expression) = path.parse::<Expression>() else { return "unknown".to_owned() };
    match cedar_policy::eval_expression(&asked.request, &asked.entities, &expression) {
        Ok(value) => value.to_string(),
        Err(_) => "absent".to_owned(),
    }
}
