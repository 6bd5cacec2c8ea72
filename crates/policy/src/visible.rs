//! What a caller may see, for the filtering of lists.

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint,
};

use crate::asked::{self, Kind, Place, Thing, uid};
use crate::bundle::{Bundle, Source};
use crate::parse::Written;
use crate::question::Caller;

/// What stands in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed<'a> {
    /// A tool, by its name.
    Tool(&'a str),
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A resource, by its URI.
    Resource(&'a str),
    /// A pattern of resources: what it will stand for is not known.
    Template,
}

/// What the policies that look at circumstances say of any call.
pub(crate) struct Listing(PolicySet);

/// The permits that look at circumstances, without the conditions that do: a permit without a condition covers whatever
/// it covered with it. They are written anew as one text, since Cedar reads one long text faster than many short ones.
pub(crate) fn derived(sources: &[Source], written: &[Written<'_>]) -> Listing {
    let mut text = String::new();
    for each in written.iter().filter(|each| each.statement.says("context") && !each.statement.forbids()) {
        let Some(source) = sources.get(each.source) else { continue };
        let tokens = &each.statement.tokens;
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
        let mut from = first.at;
        for clause in each.statement.clauses().into_iter().filter(|clause| clause.says_context) {
            text.push_str(source.text.get(from..clause.range.start).unwrap_or_default());
            from = clause.range.end;
        }
        text.push_str(source.text.get(from..last.range().end).unwrap_or_default());
        text.push('\n');
    }
    // Cedar has read these very clauses before. If it could not now, each policy would be missing, which is an error.
    Listing(text.parse().unwrap_or_default())
}

impl Listing {
    /// A policy as far as it speaks of any call of a tool; none if it may say nothing of some: a forbid that looks at
    /// circumstances. `place` counts the policies that are derived.
    pub(crate) fn of<'a>(
        &'a self,
        place: &mut usize,
        written: &'a Written<'_>,
    ) -> Result<Option<&'a Policy>, String> {
        if !written.statement.says("context") {
            return Ok(Some(&written.policy));
        }
        if written.statement.forbids() {
            return Ok(None);
        }
        let derived = self.0.policy(&PolicyId::new(format!("policy{place}")));
        *place += 1;
        derived.map(Some).ok_or_else(|| "the policy cannot be read without its conditions".to_owned())
    }
}

impl Bundle {
    /// Whether a caller may see something in a list: some permit may apply for some arguments, and no forbid surely applies.
    /// Never hides what [`Bundle::decide`] would allow or hold (a tool's call, a prompt's `get`, a resource's `read`); what is
    /// visible may still be denied when it is asked for.
    pub fn visible(&self, caller: &Caller<'_>, server: &str, listed: Listed<'_>) -> bool {
        let (action, thing) = match listed {
            Listed::Tool(name) => {
                let pin = self.tools.get(server, name).filter(|pin| pin.fields.is_some());
                let Some(pin) = pin else { return false };
                ("tools/call", Thing::Tool { name, hints: pin.hints })
            }
            Listed::Prompt(name) => ("prompts/get", Thing::Prompt { name }),
            Listed::Resource(uri) => ("resources/read", Thing::Resource { uri }),
            Listed::Template => return self.may_read(caller, server),
        };
        let place = Place::of(caller, server, &thing);
        let candidates = self.listing.candidates(&place);
        if candidates.are_none() {
            return false;
        }
        let asked = asked::of_listing(action, place, (server, &thing), &candidates.needs());
        let Ok(asked) = asked else { return false };
        // A policy that fails here fails when it is asked for, unless a condition that was left out comes first: it
        // neither shows nor hides.
        let said = candidates.ask(&asked);
        said.forbids.is_empty() && !said.permits.is_empty()
    }

    /// Whether some permit may apply to some resource of a server, whatever its conditions are.
    fn may_read(&self, caller: &Caller<'_>, server: &str) -> bool {
        let place = Place::of(caller, server, &Thing::Server);
        let read = uid(Kind::Action, "resources/read");
        self.rules.iter().any(|rule| {
            let policy = &rule.policy;
            policy.effect() == Effect::Permit
                && names_action(policy, &read)
                && names_principal(policy, &place.principals)
                && names_resource_of(policy, server)
        })
    }
}

fn names_action(policy: &Policy, action: &EntityUid) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::In(actions) => actions.contains(action),
        ActionConstraint::Eq(one) => one == *action,
    }
}

/// `principals`: the principal and what it is in.
fn names_principal(policy: &Policy, principals: &[EntityUid]) -> bool {
    let is = |kind| principals.first().is_some_and(|principal| *principal.type_name() == kind);
    match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Is(kind) => is(kind),
        PrincipalConstraint::Eq(one) => principals.first() == Some(&one),
        PrincipalConstraint::In(one) => principals.contains(&one),
        PrincipalConstraint::IsIn(kind, one) => is(kind) && principals.contains(&one),
    }
}

fn names_resource_of(policy: &Policy, server: &str) -> bool {
    let resource = Kind::Resource.type_name();
    let within = |one: &EntityUid| {
        let id: &str = one.id().as_ref();
        match one.type_name() {
            kind if kind == resource => id.strip_prefix(server).is_some_and(|rest| rest.starts_with('/')),
            kind => kind == Kind::Server.type_name() && id == server,
        }
    };
    match policy.resource_constraint() {
        ResourceConstraint::Any => true,
        ResourceConstraint::Is(kind) => kind == *resource,
        ResourceConstraint::Eq(one) | ResourceConstraint::In(one) => within(&one),
        ResourceConstraint::IsIn(kind, one) => kind == *resource && within(&one),
    }
}
