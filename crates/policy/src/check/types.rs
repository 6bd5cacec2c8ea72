//! Cedar's own strict check of types, against the schemas of the tools that a policy can match.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use cedar_policy::{PolicyId, PolicySet, ValidationError, ValidationMode, ValidationWarning, Validator};
use miette::Diagnostic;

use crate::check::Found;
use crate::check::shapes::{Shapes, callables, speaks_of_other_actions};
use crate::needs::Needs;
use crate::parse::Written;
use crate::schema::{self, Callable};
use crate::typing::Fields;

/// A model that policies are checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Model {
    /// For what does not look at arguments: all actions.
    WithoutArguments,
    /// For what looks at arguments: the actions that have none.
    OtherActions,
    /// Calls of one group of tools or prompts.
    Group(usize),
    /// Prompts that nobody knows, with the arguments that this policy reads.
    Prompts(usize),
}

/// What the check found of one policy.
#[derive(Default)]
struct Checked {
    /// Against how many schemas it was checked.
    schemas: usize,
    /// In how many of them it can never apply.
    never: usize,
    /// Errors by place and text.
    errors: BTreeMap<(usize, usize, String), Occurrence>,
}

/// Where an error occurs.
#[derive(Default)]
struct Occurrence {
    help: Option<String>,
    /// The actions or types of entities that it is about.
    subjects: BTreeSet<String>,
    models: BTreeSet<Model>,
}

impl Checked {
    fn add(&mut self, error: &ValidationError, model: Model) {
        let (from, to) = label(error).map_or((0, 0), |range| (range.start, range.end));
        let (text, subject) = reworded(&text(error));
        let occurrence = self.errors.entry((from, to, text)).or_default();
        // Cedar gives its errors in no order: of several hints, the same is shown each time.
        occurrence.help =
            occurrence.help.take().into_iter().chain(error.help().map(|help| help.to_string())).min();
        occurrence.subjects.extend(subject);
        occurrence.models.insert(model);
    }
}

/// Checks the types of all policies.
pub(super) fn check(written: &[Written<'_>], shapes: &Shapes<'_>, found: &mut Found<'_, '_>) {
    let mut plan: BTreeMap<Model, Vec<usize>> = BTreeMap::new();
    for (number, written) in written.iter().enumerate() {
        for model in models(number, written, shapes) {
            plan.entry(model).or_default().push(number);
        }
    }
    let mut checked: BTreeMap<usize, Checked> = BTreeMap::new();
    for (model, numbers) in plan {
        if let Err(text) = against(model, shapes, &numbers, written, &mut checked) {
            numbers.first().inspect(|number| found.add(**number, whole(written, **number), text, None));
        }
    }
    for (number, checked) in checked {
        report(number, &checked, written, shapes, found);
    }
}

/// The models that a policy is to be checked against.
fn models(number: usize, written: &Written<'_>, shapes: &Shapes<'_>) -> BTreeSet<Model> {
    let policy = &written.policy;
    let reads = written.statement.says("context")
        && Needs::of(&written.statement).has("arguments")
        && !callables(policy).is_empty();
    if !reads {
        return BTreeSet::from([Model::WithoutArguments]);
    }
    // No group if no tool that it can match is known: then every call that it could match is denied.
    let groups =
        shapes.matched(policy).into_iter().filter_map(|shape| shapes.group_of(shape)).map(Model::Group);
    let mut models: BTreeSet<Model> = groups.collect();
    if shapes.matches_unknown_prompts(policy) {
        models.insert(Model::Prompts(number));
    }
    if !models.is_empty() && speaks_of_other_actions(policy) {
        models.insert(Model::OtherActions);
    }
    models
}

fn against(
    model: Model,
    shapes: &Shapes<'_>,
    numbers: &[usize],
    written: &[Written<'_>],
    checked: &mut BTreeMap<usize, Checked>,
) -> Result<(), String> {
    let typed = match model {
        Model::WithoutArguments => schema::without_arguments(),
        Model::OtherActions => schema::of_other_actions(),
        Model::Group(group) => {
            let Some(group) = shapes.groups().get(group) else { return Ok(()) };
            schema::with_arguments(group.callable, &group.fields)
        }
        Model::Prompts(number) => {
            let names = written.get(number).map(|written| written.statement.attributes()).unwrap_or_default();
            schema::with_arguments(Callable::Prompt, &Fields::of_texts(&names))
        }
    };
    let schema = schema::read(&typed)?;
    let mut set = PolicySet::new();
    for number in numbers {
        checked.entry(*number).or_default().schemas += 1;
        if let Some(written) = written.get(*number) {
            let policy = written.policy.new_id(PolicyId::new(number.to_string()));
            set.add(policy).map_err(|error| error.to_string())?;
        }
    }
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    for error in result.validation_errors() {
        let Some(checked) = number(error.policy_id()).and_then(|number| checked.get_mut(&number)) else {
            continue;
        };
        match error {
            // Said by name already, with what was meant.
            ValidationError::UnrecognizedActionId(_) => {}
            ValidationError::InvalidActionApplication(_) => checked.never += 1,
            _ => checked.add(error, model),
        }
    }
    for warning in result.validation_warnings() {
        if matches!(warning, ValidationWarning::ImpossiblePolicy(_))
            && let Some(checked) = number(warning.policy_id()).and_then(|number| checked.get_mut(&number))
        {
            checked.never += 1;
        }
    }
    Ok(())
}

fn report(
    number: usize,
    checked: &Checked,
    written: &[Written<'_>],
    shapes: &Shapes<'_>,
    found: &mut Found<'_, '_>,
) {
    let by_name = found.has(number);
    for ((from, to, text), Occurrence { help, subjects, models }) in &checked.errors {
        let placed = if to > from { *from..*to } else { whole(written, number) };
        // What a wrong name entails is not said again.
        if by_name && (to == from || found.touches(number, &placed)) {
            continue;
        }
        let mut text = text.clone();
        if !subjects.is_empty() {
            text = format!("{text} for {}", listed(&subjects.iter().map(String::as_str).collect::<Vec<_>>()));
        }
        let compares = text.contains("expected Long but saw decimal");
        let decimals = || "compare decimals as in `.lessThan(decimal(\"100.0\"))`".to_owned();
        let mut help = help.clone().or_else(|| compares.then(decimals));
        if subjects.len() > 1 && text.starts_with("attribute ") {
            help = Some("ask first, as in `resource is Tool && resource.read_only`".to_owned());
        }
        if models.len() < checked.schemas {
            let calls = names(number, models, written, shapes);
            if !calls.is_empty() {
                text = format!("{text}, in calls of {calls}");
                help = Some(match calls.as_str() {
                    "prompts" => PROMPTS.to_owned(),
                    _ => "name the tool in the scope, or ask first, as in `context.arguments has path`"
                        .to_owned(),
                });
            }
        }
        found.add(number, placed, text, help);
    }
    if checked.never == checked.schemas && checked.schemas > 0 && !found.has(number) {
        let help = "no call can satisfy its scope and all its conditions".to_owned();
        found.add(number, whole(written, number), "this policy can never apply".to_owned(), Some(help));
    }
}

const PROMPTS: &str = "a prompt's arguments are optional texts: write `action == Action::\"tools/call\"` in the scope, or \
                       ask first, as in `resource is Tool && ..`";

/// The tools and prompts in whose calls an error occurs.
fn names(number: usize, models: &BTreeSet<Model>, written: &[Written<'_>], shapes: &Shapes<'_>) -> String {
    let matched = written.get(number).map(|written| shapes.matched(&written.policy)).unwrap_or_default();
    let concerns =
        |shape: &usize| shapes.group_of(*shape).is_some_and(|group| models.contains(&Model::Group(group)));
    let concerned = matched.into_iter().filter(concerns);
    let known = listed(&concerned.map(|shape| shapes.id(shape)).collect::<Vec<_>>());
    match (known.is_empty(), models.contains(&Model::Prompts(number))) {
        (false, true) => format!("{known}, and of prompts"),
        (true, true) => "prompts".to_owned(),
        (_, false) => known,
    }
}

/// Two names, and how many more there are.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [one, two] => format!("`{one}` and `{two}`"),
        [one, two, more @ ..] => format!("`{one}`, `{two}` and {} more", more.len()),
    }
}

fn whole(written: &[Written<'_>], number: usize) -> Range<usize> {
    written.get(number).map_or(0..0, |written| written.statement.effect())
}

fn number(id: &PolicyId) -> Option<usize> {
    AsRef::<str>::as_ref(id).parse().ok()
}

fn label(error: &ValidationError) -> Option<Range<usize>> {
    let label = error.labels()?.next()?;
    Some(label.offset()..label.offset() + label.len())
}

/// What Cedar says, without the number that stands for the policy here.
fn text(error: &ValidationError) -> String {
    let text = error.to_string();
    match text.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, text)) => text.to_owned(),
        None => text,
    }
}

/// Cedar's text for an attribute that is not there or may be absent, in fewer words; and the action or type of entity
/// that it is about, since the same error comes once for each. Any other text is left as it is.
fn reworded(text: &str) -> (String, Option<String>) {
    let action = |rest: &str| rest.split('"').nth(1).map(str::to_owned);
    if let Some((name, rest)) = text.strip_prefix("attribute `").and_then(|rest| rest.split_once('`')) {
        if rest.starts_with(" in context for ") {
            return (format!("`context.{name}` does not exist"), action(rest));
        }
        if let Some(kind) = rest.strip_prefix(" on entity type `").and_then(|rest| rest.split('`').next()) {
            return (format!("attribute `{name}` does not exist"), Some(kind.to_owned()));
        }
    }
    let optional = "unable to guarantee safety of access to optional attribute `";
    match text.strip_prefix(optional).and_then(|rest| rest.split_once('`')) {
        Some((name, rest)) if rest.starts_with(" in context for ") => {
            (format!("`context.{name}` may be absent"), action(rest))
        }
        _ => (text.to_owned(), None),
    }
}
