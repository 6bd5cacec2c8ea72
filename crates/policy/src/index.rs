//! Policies by what their scope asks of principal and resource. Cedar is given only those whose scope may match; what it
//! is not given cannot match, so the judgement is that of all policies.

use std::collections::HashMap;

use cedar_policy::{
    Authorizer, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    ResourceConstraint,
};

use crate::asked::{Asked, Place};
use crate::needs::{Needs, Wanted};

/// What a scope asks of one side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Any,
    /// Of a type.
    Is(EntityTypeName),
    /// Is this one or is in it.
    In(EntityUid),
}

/// Policies ready for questions.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Resource first: most bundles are written by tool.
    by_resource: HashMap<Key, HashMap<Key, Bucket>>,
}

/// Policies with one scope, and what they read.
#[derive(Debug, Default)]
struct Bucket {
    set: PolicySet,
    needs: Needs,
}

/// The policies whose scope may match a question.
pub(crate) struct Candidates<'a>(Vec<&'a Bucket>);

/// What the policies said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Numbers of the permits that hold; not complete if a forbid holds.
    pub(crate) permits: Vec<usize>,
    pub(crate) forbids: Vec<usize>,
    /// Policies that could not be evaluated, and why.
    pub(crate) failed: Vec<(usize, &'static str)>,
}

impl Index {
    /// Adds a policy under its number.
    pub(crate) fn add(&mut self, number: usize, policy: &Policy, needs: &Needs) -> Result<(), String> {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Key::Any,
            PrincipalConstraint::Is(kind) => Key::Is(kind),
            PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::In(uid)
            | PrincipalConstraint::IsIn(_, uid) => Key::In(uid),
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Key::Any,
            ResourceConstraint::Is(kind) => Key::Is(kind),
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                Key::In(uid)
            }
        };
        let bucket = self.by_resource.entry(resource).or_default().entry(principal).or_default();
        bucket.needs.extend(needs);
        let policy = policy.new_id(PolicyId::new(number.to_string()));
        bucket.set.add(policy).map_err(|error| error.to_string())
    }

    /// The policies whose scope may match.
    pub(crate) fn candidates(&self, place: &Place) -> Candidates<'_> {
        let principals = keys(&place.principals);
        let by_principal = keys(&place.resources).into_iter().filter_map(|key| self.by_resource.get(&key));
        Candidates(by_principal.flat_map(|map| principals.iter().filter_map(|key| map.get(key))).collect())
    }
}

impl Candidates<'_> {
    pub(crate) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// What they read.
    pub(crate) fn needs(&self) -> Wanted<'_> {
        Wanted(self.0.iter().map(|bucket| &bucket.needs).collect())
    }

    /// Asks them all.
    pub(crate) fn ask(&self, asked: &Asked) -> Said {
        let authorizer = Authorizer::new();
        let mut said = Said::default();
        for bucket in &self.0 {
            let response = authorizer.is_authorized(&asked.request, &bucket.set, &asked.entities);
            let allows = response.decision() == cedar_policy::Decision::Allow;
            let reasons = response.diagnostics().reason().filter_map(number);
            if allows {
                said.permits.extend(reasons);
            } else {
                said.forbids.extend(reasons);
            }
            for error in response.diagnostics().errors() {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
                said.failed.extend(number(error.policy_id()).map(|number| (number, fault(error.inner()))));
            }
        }
        said.permits.sort_unstable();
        said.forbids.sort_unstable();
        said.failed.sort_unstable();
        said
    }

    /// Their numbers.
    pub(crate) fn numbers(&self) -> Vec<usize> {
        let policies = self.0.iter().flat_map(|bucket| bucket.set.policies());
        let mut numbers: Vec<usize> = policies.filter_map(|policy| number(policy.id())).collect();
        numbers.sort_unstable();
        numbers
    }
}

fn keys(uids: &[EntityUid]) -> Vec<Key> {
    let mut keys = vec![Key::Any];
    keys.extend(uids.first().map(|uid| Key::Is(uid.type_name().clone())));
    keys.extend(uids.iter().cloned().map(Key::In));
    keys
}

fn number(id: &PolicyId) -> Option<usize> {
    AsRef::<str>::as_ref(id).parse().ok()
}

/// Why a policy could not be evaluated, without the values that Cedar's own text may hold.
pub(crate) fn fault(error: &cedar_policy::EvaluationError) -> &'static str {
    use cedar_policy::EvaluationError as Fault;
    match error {
        Fault::RecordAttrDoesNotExist(_) | Fault::EntityAttrDoesNotExist(_) => {
            "it reads an attribute that is absent"
        }
        Fault::EntityDoesNotExist(_) => "it reads an attribute of an entity that is not known",
        Fault::TypeError(_) => "it takes a value for one of another type",
        Fault::IntegerOverflow(_) => "a number overflows",
        Fault::FailedExtensionFunctionExecution(_) => "a text is no decimal, time or address",
        Fault::RecursionLimit(_) => "it is too deeply nested",
        _ => "Cedar cannot evaluate it",
    }
}
