//! The types of the arguments of all tools and prompts, and which of them a policy can match.

use std::collections::HashMap;

use cedar_policy::{ActionConstraint, EntityUid, Policy, ResourceConstraint};

use crate::bundle::{ByServer, Pin};
use crate::catalog::{Catalog, tool_id};
use crate::schema::Callable;
use crate::typing::Fields;

/// What has arguments, grouped by their type: what has the same is checked once.
pub(super) struct Shapes<'a> {
    shapes: Vec<Shape>,
    by_id: HashMap<(Callable, String), usize>,
    by_server: HashMap<&'a str, Vec<usize>>,
    groups: Vec<Group>,
}

struct Shape {
    id: String,
    callable: Callable,
    group: usize,
}

/// Tools, or prompts, whose arguments have one type.
pub(super) struct Group {
    pub(super) callable: Callable,
    pub(super) fields: Fields,
}

impl<'a> Shapes<'a> {
    pub(super) fn of(catalog: &'a Catalog, tools: &ByServer<Pin>) -> Shapes<'a> {
        let mut shapes = Shapes {
            shapes: Vec::new(),
            by_id: HashMap::new(),
            by_server: HashMap::new(),
            groups: Vec::new(),
        };
        let mut known = HashMap::new();
        for server in catalog.servers() {
            for tool in server.tools() {
                // A tool whose schema cannot be read is never called.
                if let Some(fields) = tools.get(&server.name, &tool.name).and_then(|pin| pin.fields.clone()) {
                    shapes.add(
                        &server.name,
                        &tool.name,
                        Group { callable: Callable::Tool, fields },
                        &mut known,
                    );
                }
            }
            for prompt in &server.prompts {
                let fields = Fields::of_texts(&prompt.arguments);
                shapes.add(
                    &server.name,
                    &prompt.name,
                    Group { callable: Callable::Prompt, fields },
                    &mut known,
                );
            }
        }
        shapes
    }

    fn add(
        &mut self,
        server: &'a str,
        name: &str,
        group: Group,
        known: &mut HashMap<(Callable, String), usize>,
    ) {
        let id = tool_id(server, name);
        let callable = group.callable;
        let number = *known.entry((callable, group.fields.to_cedar())).or_insert_with(|| {
            self.groups.push(group);
            self.groups.len() - 1
        });
        let shape = self.shapes.len();
        self.by_id.insert((callable, id.clone()), shape);
        self.by_server.entry(server).or_default().push(shape);
        self.shapes.push(Shape { id, callable, group: number });
    }

    pub(super) fn id(&self, shape: usize) -> &str {
        self.shapes.get(shape).map_or("", |shape| &shape.id)
    }

    pub(super) fn fields(&self, shape: usize) -> Option<&Fields> {
        self.shapes.get(shape).and_then(|shape| self.groups.get(shape.group)).map(|group| &group.fields)
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn group_of(&self, shape: usize) -> Option<usize> {
        self.shapes.get(shape).map(|shape| shape.group)
    }

    /// What a policy's scope can match.
    pub(super) fn matched(&self, policy: &Policy) -> Vec<usize> {
        let callables = callables(policy);
        let all = || (0..self.shapes.len()).collect::<Vec<_>>();
        let found = match policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => all(),
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                self.within(&uid)
            }
        };
        let possible =
            |shape: &usize| self.shapes.get(*shape).is_some_and(|shape| callables.contains(&shape.callable));
        found.into_iter().filter(possible).collect()
    }

    /// Whether a policy's scope can match a prompt of which nothing is known.
    pub(super) fn matches_unknown_prompts(&self, policy: &Policy) -> bool {
        let known = |uid: EntityUid| {
            let id: &str = uid.id().as_ref();
            self.by_id.contains_key(&(Callable::Prompt, id.to_owned()))
        };
        let is_known = match policy.resource_constraint() {
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                known(uid)
            }
            ResourceConstraint::Any | ResourceConstraint::Is(_) => false,
        };
        callables(policy).contains(&Callable::Prompt) && !is_known
    }

    fn within(&self, uid: &EntityUid) -> Vec<usize> {
        let id: &str = uid.id().as_ref();
        let callable = match uid.type_name().to_string().as_str() {
            "Server" => return self.by_server.get(id).cloned().unwrap_or_default(),
            "Tool" => Callable::Tool,
            "Prompt" => Callable::Prompt,
            _ => return Vec::new(),
        };
        self.by_id.get(&(callable, id.to_owned())).copied().into_iter().collect()
    }
}

/// What has arguments and can match a policy's scope by action and type.
pub(super) fn callables(policy: &Policy) -> Vec<Callable> {
    let actions = policy.action_constraint();
    let type_of = |uid: EntityUid| uid.type_name().to_string();
    let kind = match policy.resource_constraint() {
        ResourceConstraint::Any => None,
        ResourceConstraint::Is(kind) | ResourceConstraint::IsIn(kind, _) => Some(kind.to_string()),
        ResourceConstraint::Eq(uid) => Some(type_of(uid)),
        ResourceConstraint::In(uid) => Some(type_of(uid)).filter(|kind| kind != "Server"),
    };
    let named = |uid: &EntityUid, action: &str| AsRef::<str>::as_ref(uid.id()) == action;
    let possible = |callable: &Callable| {
        let by_action = match &actions {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => named(uid, callable.action()),
            ActionConstraint::In(uids) => uids.iter().any(|uid| named(uid, callable.action())),
        };
        by_action && kind.as_deref().is_none_or(|kind| kind == callable.type_name())
    };
    [Callable::Tool, Callable::Prompt].into_iter().filter(possible).collect()
}

/// Whether a policy's scope admits actions that have no arguments.
pub(super) fn speaks_of_other_actions(policy: &Policy) -> bool {
    let has_arguments = |uid: &EntityUid| ["tools/call", "prompts/get"].contains(&uid.id().as_ref());
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => !has_arguments(&uid),
        ActionConstraint::In(uids) => uids.iter().any(|uid| !has_arguments(uid)),
    }
}
