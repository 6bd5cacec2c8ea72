//! What people are told of an event: the same for all destinations, safe to show.
//!
//! Invariant: no text here holds a control character or one that hides, and each is short. They are no markup; who formats them
//! escapes what their format would read in them.

use jiff::Timestamp;
use policy::unseen::visible;
use serde_json::{Value, json};
use store::state::{Event, EventKind, Hold, Need, Said};

use crate::text::short;

/// Most characters of a name, and of a sentence.
const NAME: usize = 120;
const SENTENCE: usize = 300;

/// Most bytes of arguments.
const ARGUMENTS: usize = 2_048;

/// What people are told.
#[derive(Debug)]
pub(crate) struct Notice {
    /// The event's id, the same for each attempt.
    pub(crate) id: String,
    /// The hold's id, the same for all that is told of it.
    pub(crate) thread: String,
    /// When it happened, in seconds since the Unix epoch.
    pub(crate) at: u64,
    /// What kind of event: `hold.asked`.
    pub(crate) word: String,
    /// In one line.
    pub(crate) title: String,
    /// Labels and values.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The arguments, where an operator wants them told.
    pub(crate) arguments: Option<String>,
    /// Where to look at it.
    pub(crate) link: String,
    /// For programs.
    pub(crate) data: Value,
}

/// What a notice is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) event: &'a Event,
    pub(crate) hold: &'a Hold,
    pub(crate) said: &'a [Said],
    pub(crate) arguments: Option<&'a str>,
    /// The console's address.
    pub(crate) console: &'a str,
}

impl Notice {
    /// Of an event.
    pub(crate) fn of(known: &Known<'_>) -> Notice {
        let Known { event, hold, .. } = known;
        let link = format!("{}/approvals/{}", known.console, hold.id);
        let arguments = known.arguments.map(bounded);
        let facts = facts(known);
        let data = data(known, arguments.as_deref(), &link);
        Notice {
            id: event.id.clone(),
            thread: hold.id.clone(),
            at: event.at,
            word: format!("hold.{}", event.kind.as_str()),
            title: title(event, hold),
            facts,
            arguments,
            link,
            data,
        }
    }

    /// That says that it is a test.
    pub(crate) fn test(id: String, at: u64, console: &str) -> Notice {
        Notice {
            thread: id.clone(),
            id,
            at,
            word: "test".to_owned(),
            title: "A test of notifications: nothing waits".to_owned(),
            facts: vec![("Sent", time(at))],
            arguments: None,
            link: format!("{console}/"),
            data: json!({"link": format!("{console}/")}),
        }
    }

    /// The line that leads to the link.
    pub(crate) fn invitation(&self) -> &'static str {
        if self.word == "hold.asked" { "Look at it and decide" } else { "Look at it" }
    }
}

/// A time as people read it, to the minute.
pub(crate) fn time(seconds: u64) -> String {
    let at = stamp(seconds).to_zoned(jiff::tz::TimeZone::UTC);
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

/// A time as programs read it.
pub(crate) fn stamp(seconds: u64) -> Timestamp {
    Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX)
}

fn title(event: &Event, hold: &Hold) -> String {
    let who = short(&hold.key.principal, NAME);
    let what = call(hold);
    match event.kind {
        EventKind::Asked => format!("{what} for {who} waits for approval"),
        EventKind::Approved => format!("{what} for {who} was approved"),
        EventKind::Refused => format!("{what} for {who} was refused"),
        EventKind::Expired => format!("{what} for {who} has expired"),
        EventKind::Withdrawn => format!("{what} for {who} was withdrawn"),
        EventKind::Used => format!("{what} for {who} was let through"),
        EventKind::Outcome => format!("{what} for {who} has ended"),
    }
}

fn call(hold: &Hold) -> String {
    format!("{}/{}", short(&hold.key.server, NAME), short(&hold.key.name, NAME))
}

fn facts(known: &Known<'_>) -> Vec<(&'static str, String)> {
    let Known { event, hold, .. } = known;
    let mut facts = vec![("On behalf of", short(&hold.key.principal, NAME))];
    let mut add = |label, value: Option<String>| {
        facts.extend(value.map(|value| (label, value)));
    };
    add("Agent, as it calls itself", hold.agent.as_deref().map(|agent| short(agent, NAME)));
    add("Purpose, as the run says", hold.purpose.as_deref().map(|purpose| short(purpose, SENTENCE)));
    add("Run", Some(short(&hold.key.run, NAME)));
    add("Call", Some(format!("{} ({})", call(hold), short(&hold.key.method, NAME))));
    add("Why it is held", hold.reason.as_deref().map(|reason| short(reason, SENTENCE)));
    add("Policies", Some(short(&hold.policies.join(", "), SENTENCE)));
    add("Who is asked", Some(short(&Need::people(&hold.needs), SENTENCE)));
    match event.kind {
        EventKind::Asked => add("Until", Some(time(event.deadline))),
        EventKind::Approved => {
            add("To be used until", Some(time(event.deadline)));
            add("Approved by", Some(short(&by(known).join(", "), SENTENCE)));
        }
        EventKind::Refused => add("Refused by", Some(short(&by(known).join(", "), SENTENCE))),
        _ => {}
    }
    let label = if event.kind == EventKind::Outcome { "How the call ended" } else { "Why" };
    add(label, event.why.as_deref().map(|why| short(why, SENTENCE)));
    add("Hold", Some(hold.id.clone()));
    facts
}

/// Who said what the event tells of.
fn by(known: &Known<'_>) -> Vec<String> {
    let wanted = match known.event.kind {
        EventKind::Approved => true,
        EventKind::Refused => false,
        _ => return Vec::new(),
    };
    let said = known.said.iter().filter(|said| said.is_approval == wanted);
    said.map(|said| short(&said.who, NAME)).collect()
}

fn data(known: &Known<'_>, arguments: Option<&str>, link: &str) -> Value {
    let Known { event, hold, .. } = known;
    let sentence = |text: &Option<String>| text.as_deref().map(|text| short(text, SENTENCE));
    let needs: Vec<Value> = hold
        .needs
        .iter()
        .map(|need| json!({"group": short(&need.group, NAME), "count": need.count}))
        .collect();
    let policies: Vec<String> = hold.policies.iter().take(20).map(|id| short(id, NAME)).collect();
    let mut data = json!({
        "hold": hold.id, "principal": short(&hold.key.principal, NAME), "run": short(&hold.key.run, NAME),
        "server": short(&hold.key.server, NAME), "method": short(&hold.key.method, NAME),
        "name": short(&hold.key.name, NAME), "agent_claimed": sentence(&hold.agent),
        "purpose_claimed": sentence(&hold.purpose), "reason": sentence(&hold.reason), "policies": policies,
        "needs": needs, "deadline": stamp(event.deadline).to_string(), "by": by(known), "why": sentence(&event.why),
        "link": link,
    });
    if let (Some(arguments), Some(members)) = (arguments, data.as_object_mut()) {
        members.insert("arguments".to_owned(), arguments.into());
    }
    data
}

/// Arguments, all that hides in them visible, cut at a bound that is said.
fn bounded(arguments: &str) -> String {
    let mut safe = visible(arguments);
    if safe.len() > ARGUMENTS {
        safe.truncate(safe.floor_char_boundary(ARGUMENTS));
        safe.push_str("… (cut; all of them are behind the link)");
    }
    safe
}
