//! A question in Cedar's terms: request, the few entities that it needs, and where to look for policies.

use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
};

use crate::catalog::{Hints, tool_id};
use crate::fit::{Fit, Fitted};
use crate::needs::Wanted;
use crate::question::{Ask, Caller, Principal, Question};

/// A question in Cedar's terms.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
}

/// Who and what a question is about: where to look for policies.
pub(crate) struct Place {
    /// The principal and what it is in.
    pub(crate) principals: Vec<EntityUid>,
    /// The resource and its server.
    pub(crate) resources: Vec<EntityUid>,
}

/// What is asked about, with what is known of it.
pub(crate) enum Thing<'a> {
    Tool { name: &'a str, hints: Hints },
    Resource { uri: &'a str },
    Prompt { name: &'a str },
    Server,
}

/// An entity of the model. Names of types that are constants always parse.
pub(crate) fn uid(kind: Kind, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.type_name().clone(), EntityId::new(id))
}

/// The types of the model.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    User,
    Service,
    Group,
    Agent,
    Run,
    Server,
    Tool,
    Resource,
    Prompt,
    Action,
}

impl Kind {
    pub(crate) fn type_name(self) -> &'static EntityTypeName {
        static NAMES: LazyLock<[EntityTypeName; 10]> = LazyLock::new(|| {
            ["User", "Service", "Group", "Agent", "Run", "Server", "Tool", "Resource", "Prompt", "Action"]
                .map(parsed)
        });
        let [user, service, group, agent, run, server, tool, resource, prompt, action] = &*NAMES;
        match self {
            Kind::User => user,
            Kind::Service => service,
            Kind::Group => group,
            Kind::Agent => agent,
            Kind::Run => run,
            Kind::Server => server,
            Kind::Tool => tool,
            Kind::Resource => resource,
            Kind::Prompt => prompt,
            Kind::Action => action,
        }
    }
}

#[expect(clippy::expect_used, reason = "the names are constants, and every test of a decision parses them")]
fn parsed(name: &str) -> EntityTypeName {
    name.parse().expect("an identifier")
}

impl Place {
    pub(crate) fn of(caller: &Caller<'_>, server: &str, thing: &Thing<'_>) -> Place {
        let principal = match caller.principal {
            Principal::User(id) => uid(Kind::User, id),
            Principal::Service(id) => uid(Kind::Service, id),
        };
        let mut principals = vec![principal, uid(Kind::Run, caller.run)];
        principals.extend(caller.groups.iter().map(|group| uid(Kind::Group, group)));
        let within = uid(Kind::Server, server);
        let resources = match thing {
            Thing::Tool { name, .. } => vec![uid(Kind::Tool, &tool_id(server, name)), within],
            Thing::Resource { uri } => vec![uid(Kind::Resource, &tool_id(server, uri)), within],
            Thing::Prompt { name } => vec![uid(Kind::Prompt, &tool_id(server, name)), within],
            Thing::Server => vec![within],
        };
        Place { principals, resources }
    }

    /// With only what a policy names of that which principal and resource are in: Cedar walks through all of it.
    fn within(mut self, needs: &Wanted<'_>) -> Place {
        for side in [&mut self.principals, &mut self.resources] {
            let mut itself = true;
            side.retain(|uid| std::mem::take(&mut itself) || needs.has_id(uid.id().as_ref()));
        }
        self
    }
}

/// A question as far as every policy needs it.
pub(crate) struct Put<'a> {
    pub(crate) question: &'a Question<'a>,
    pub(crate) thing: Thing<'a>,
    pub(crate) place: Place,
    /// The arguments, if the method has some.
    pub(crate) fitted: Option<Fitted>,
}

impl Put<'_> {
    /// The question with what is needed of its circumstances.
    pub(crate) fn asked(self, needs: &Wanted<'_>) -> Result<Asked, String> {
        let question = self.question;
        let mut pairs = circumstances(question, needs).map_err(|error| failed(&error))?;
        if let Some(Fitted { arguments, unlisted }) = self.fitted {
            if needs.has("arguments") {
                let read = arguments.into_iter().filter(|(name, _)| needs.has_argument(name)).collect();
                pairs
                    .push(pair("arguments", Fit::Record(read).into_cedar().map_err(|error| failed(&error))?));
            }
            let unlisted = || Value::new_set(unlisted.into_iter().map(Value::new_string));
            pairs.extend(needs.has("unlisted").then(|| pair("unlisted", unlisted())));
        }
        if let Ask::Tasks { method } | Ask::Other { method } = question.ask {
            pairs.push(pair("method", text(method)));
        }
        let attributes = described(question.server, &self.thing, needs);
        build(action(&question.ask), self.place.within(needs), attributes, pairs)
    }
}

/// The question whether a caller may see a thing of a server: its use, without circumstances.
pub(crate) fn of_listing(
    action: &str,
    place: Place,
    (server, thing): (&str, &Thing<'_>),
    needs: &Wanted<'_>,
) -> Result<Asked, String> {
    build(action, place.within(needs), described(server, thing, needs), Vec::new())
}

fn build(
    action: &str,
    place: Place,
    attributes: Vec<(String, Value)>,
    pairs: Vec<(String, Value)>,
) -> Result<Asked, String> {
    let mut principals = place.principals.into_iter();
    let mut resources = place.resources.into_iter();
    let (Some(principal), Some(resource)) = (principals.next(), resources.next()) else {
        return Err("the question names nobody or nothing".to_owned());
    };
    let thing = Entity::new(resource.clone(), attributes.into_iter().collect(), resources.collect());
    let entities = [
        Entity::new_no_attrs(principal.clone(), principals.collect()),
        thing.map_err(|error| failed(&error))?,
    ];
    let entities = Entities::from_entities(entities, None).map_err(|error| failed(&error))?;
    let context = Context::from_pairs(pairs).map_err(|error| failed(&error))?;
    let request = Request::new(principal, uid(Kind::Action, action), resource, context, None)
        .map_err(|error| failed(&error))?;
    Ok(Asked { request, entities })
}

fn failed(error: &dyn std::fmt::Display) -> String {
    format!("the question cannot be put: {error}")
}

fn pair(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

/// The attributes that are needed of what is asked about.
fn described(server: &str, thing: &Thing<'_>, needs: &Wanted<'_>) -> Vec<(String, Value)> {
    let mut attributes = Vec::new();
    let mut add = |name: &str, value: &dyn Fn() -> Value| {
        attributes.extend(needs.has(name).then(|| pair(name, value())));
    };
    match thing {
        Thing::Tool { name, hints } => {
            add("name", &|| text(name));
            // What is not claimed is what MCP assumes.
            for (hint, claimed, assumed) in [
                ("read_only", hints.read_only, false),
                ("destructive", hints.destructive, true),
                ("idempotent", hints.idempotent, false),
                ("open_world", hints.open_world, true),
            ] {
                add(hint, &|| Value::new_bool(claimed.unwrap_or(assumed)));
            }
        }
        Thing::Resource { uri } => {
            let scheme = || uri.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
            add("uri", &|| text(uri));
            add("scheme", &|| Value::new_string(scheme()));
        }
        Thing::Prompt { name } => add("name", &|| text(name)),
        Thing::Server => return attributes,
    }
    add("server", &|| text(server));
    attributes
}

/// The circumstances that are needed.
fn circumstances(
    question: &Question<'_>,
    needs: &Wanted<'_>,
) -> Result<Vec<(String, Value)>, cedar_policy::ExpressionConstructionError> {
    let mut pairs = Vec::new();
    if needs.has("run") {
        pairs.push(pair("run", Value::new_record(facts(question, needs))?));
    }
    if needs.has("client") {
        let client =
            [pair("name", text(question.client.name)), pair("version", text(question.client.version))];
        pairs.push(pair("client", Value::new_record(client)?));
    }
    if needs.has("time") || needs.has("hour") || needs.has("weekday") {
        let moment = Moment::of(question.now_ms);
        pairs.push(pair("hour", Value::new_long(moment.hour)));
        pairs.push(pair("weekday", Value::new_long(moment.weekday)));
        pairs.extend(needs.has("time").then(|| pair("time", Value::new_datetime(moment.written))));
    }
    let network = question.network.filter(|_| needs.has("network"));
    pairs.extend(network.map(|address| pair("network", Value::new_ip(address.to_string()))));
    Ok(pairs)
}

/// What is needed of the run.
fn facts(question: &Question<'_>, needs: &Wanted<'_>) -> Vec<(String, Value)> {
    let run = &question.run;
    let long = |count: u64| Value::new_long(i64::try_from(count).unwrap_or(i64::MAX));
    let agent = |name: &String| Value::new_entity_uid(uid(Kind::Agent, name));
    let mut facts = Vec::new();
    let mut add = |name: &str, value: &dyn Fn() -> Option<Value>| {
        if needs.has(name) {
            facts.extend(value().map(|value| pair(name, value)));
        }
    };
    add("id", &|| Some(text(question.caller.run)));
    add("age", &|| Some(long(run.age_seconds)));
    add("calls", &|| Some(long(run.calls)));
    add("depth", &|| Some(long(run.depth.into())));
    add("scope", &|| Some(Value::new_set(run.scope.iter().map(|each| text(each)))));
    add("verified", &|| Some(Value::new_bool(run.verified)));
    add("agents", &|| Some(Value::new_set(run.agents.iter().map(agent))));
    add("agent", &|| run.agents.first().map(agent));
    add("purpose", &|| run.purpose.map(text));
    facts
}

fn text(value: &str) -> Value {
    Value::new_string(value.to_owned())
}

/// The action of a kind of method.
pub(crate) fn action(ask: &Ask<'_>) -> &'static str {
    match ask {
        Ask::CallTool { .. } => "tools/call",
        Ask::ReadResource { .. } => "resources/read",
        Ask::SubscribeResource { .. } => "resources/subscribe",
        Ask::GetPrompt { .. } => "prompts/get",
        Ask::CompletePrompt { .. } | Ask::CompleteResource { .. } => "completion/complete",
        Ask::CreateMessage => "sampling/createMessage",
        Ask::Elicit => "elicitation/create",
        Ask::ListRoots => "roots/list",
        Ask::Tasks { .. } => "tasks",
        Ask::Other { .. } => "other",
    }
}

/// A moment in UTC.
struct Moment {
    /// As Cedar reads it.
    written: String,
    /// 0 to 23.
    hour: i64,
    /// 1 is Monday, 7 is Sunday.
    weekday: i64,
}

impl Moment {
    fn of(unix_ms: i64) -> Moment {
        const DAY: i64 = 86_400_000;
        // Years beyond four digits cannot be written; a clock that far off is no clock.
        let unix_ms = unix_ms.clamp(-62_135_596_800_000, 253_402_300_799_999);
        let (days, rest) = (unix_ms.div_euclid(DAY), unix_ms.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
        let (second, ms) = (rest / 1000 % 60, rest % 1000);
        let written = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
        // The epoch was a Thursday.
        Moment { written, hour, weekday: (days + 3).rem_euclid(7) + 1 }
    }
}

/// Year, month and day of a day since the Unix epoch, in the Gregorian calendar: years begin in March, so that the leap
/// day is the last.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn moments_are_in_utc() {
        for (unix_ms, written, hour, weekday) in [
            (0, "1970-01-01T00:00:00.000Z", 0, 4),
            (951_827_696_789, "2000-02-29T12:34:56.789Z", 12, 2),
            (1_795_305_599_999, "2026-11-21T23:59:59.999Z", 23, 6),
            (-1, "1969-12-31T23:59:59.999Z", 23, 3),
            (i64::MAX, "9999-12-31T23:59:59.999Z", 23, 5),
            (i64::MIN, "0001-01-01T00:00:00.000Z", 0, 1),
        ] {
            let moment = Moment::of(unix_ms);
            assert_eq!((moment.written.as_str(), moment.hour, moment.weekday), (written, hour, weekday));
        }
    }
}
