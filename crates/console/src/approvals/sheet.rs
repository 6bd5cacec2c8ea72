//! The pages' text. Everything that was sent is hostile: it is escaped, and what would act or hide is written out.

use std::fmt::Write as _;

use identity::operators::{Operator, Permission};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use policy::unseen;
use serde_json::{Map, Value};
use store::state::{Cast, HoldStatus, MOST_PROLONGED, Need};

use super::card::{Call, Card, Decided, Listed};
use super::{Came, Hindrance};
use crate::html::escaped;

/// A tool's text that was accepted so few seconds ago is news.
const NEWS: u64 = 7 * 86_400;

/// Seconds after a decision in which the page looks for the outcome by itself.
const AWAITED: u64 = 300;

/// Reasons that are one touch away.
const READY: [&str; 3] =
    ["This is not what was asked for.", "The arguments are wrong.", "Not now; ask again later."];

/// One hold for one reader.
pub(super) struct Sheet<'a> {
    pub(super) card: &'a Card,
    pub(super) standing: HoldStatus,
    pub(super) hindrance: Option<Hindrance>,
    pub(super) operator: &'a Operator,
    pub(super) now: u64,
}

/// A hold on a list, and how it stands.
pub(super) struct Row {
    pub(super) hold: Listed,
    pub(super) standing: &'static str,
}

/// Escaped, and nothing hidden.
fn shown(text: &str) -> String {
    escaped(&unseen::visible(text))
}

/// The lists of what waits and of what has ended, each with how it stands.
pub(super) fn list((open, ended): (&[Row], &[Row]), operator: &Operator, now: u64) -> String {
    let mut out = String::from("<p><a href=\"/\">Console</a></p>");
    if open.is_empty() {
        out.push_str("<p>No call waits for anybody.</p>");
    }
    if !open.is_empty() && !operator.may(Permission::Approve) {
        out.push_str("<p>You are no approver: you see these, and others decide.</p>");
    }
    for (heading, holds) in [("Waiting", open), ("Ended lately", ended)] {
        if holds.is_empty() {
            continue;
        }
        push(&mut out, format_args!("<h2>{heading}</h2><ul class=\"holds\">"));
        for Row { hold, standing } in holds {
            let Listed { id, server, name, principal, created, .. } = hold;
            push(
                &mut out,
                format_args!(
                    "<li><a href=\"/approvals/{id}\"><b>{}</b> for {}<small>{standing}, asked {} ago</small></a></li>",
                    shown(&format!("{server}/{name}")),
                    shown(principal),
                    span(now.saturating_sub(*created)),
                ),
            );
        }
        out.push_str("</ul>");
    }
    out
}

/// What somebody is told whose word did not count.
pub(super) fn declined(came: Came) -> String {
    match came {
        Came::Cast(Cast::Own) => Hindrance::Own.to_string(),
        Came::Cast(Cast::NotAsked) => Hindrance::NotAsked.to_string(),
        Came::Cast(Cast::LongEnough) => {
            "There is no more time to be had: it was prolonged as far as it can be.".to_owned()
        }
        Came::Cast(Cast::Twice) => "You have decided on it already.".to_owned(),
        Came::Cast(Cast::Over(status)) => format!("It was too late: it is {} already.", status.as_str()),
        Came::Cast(other) => format!("It did not count: {other}."),
        Came::NotSeen => "What waits is not what you were shown. Read it again.".to_owned(),
    }
}

impl Sheet<'_> {
    /// The page; `wrong`: why what was said did not count.
    pub(super) fn html(&self, wrong: Option<&str>) -> String {
        let mut out = String::new();
        if self.is_awaited() {
            out.push_str("<meta http-equiv=\"refresh\" content=\"3\">");
        }
        out.push_str("<p><a href=\"/approvals\">All that wait</a></p>");
        if let Some(wrong) = wrong {
            push(&mut out, format_args!("<p role=\"alert\">{}</p>", shown(wrong)));
        }
        let hold = &self.card.hold;
        let agent = hold.agent.as_deref().map_or_else(|| "An agent".to_owned(), shown);
        push(
            &mut out,
            format_args!(
                "<p class=\"lead\"><b>{agent}</b>, for <b>{}</b>, wants <b class=\"tool\">{}</b>.</p>",
                shown(&hold.principal),
                shown(&format!("{}/{}", hold.server, hold.name)),
            ),
        );
        self.state(&mut out);
        self.facts(&mut out);
        self.arguments(&mut out);
        self.tool(&mut out);
        self.before(&mut out);
        self.decision(&mut out);
        out
    }

    /// Whether the outcome is still to come, and may come soon: the page looks for it by itself then.
    fn is_awaited(&self) -> bool {
        let hold = &self.card.hold;
        let is_fresh = hold.ended.is_some_and(|ended| self.now.saturating_sub(ended) < AWAITED);
        let is_to_come = match self.standing {
            HoldStatus::Approved => hold.for_run_but.is_none(),
            HoldStatus::Used => {
                hold.outcome.is_none() || self.card.releases.iter().all(|call| call.seq_end.is_none())
            }
            _ => false,
        };
        is_fresh && is_to_come
    }

    /// How it stands, in words of its own for each end.
    fn state(&self, out: &mut String) {
        let hold = &self.card.hold;
        let at = hold.ended.map(|ended| ago(ended, self.now)).unwrap_or_default();
        let why = hold.why.as_deref().map(|why| format!(": “{}”", shown(why))).unwrap_or_default();
        let by: Vec<String> = self.card.said.iter().map(|said| shown(&said.who)).collect();
        let by = by.join(", ");
        let text = match self.standing {
            HoldStatus::Pending => format!(
                "<b>Waits</b> since {}; {} left.",
                span(self.now.saturating_sub(hold.created)),
                span(hold.deadline.saturating_sub(self.now))
            ),
            HoldStatus::Approved if hold.for_run_but.is_some() => format!(
                "<b>Approved for this run</b> {at} by {by}; {} left, used {}.",
                span(hold.deadline.saturating_sub(self.now)),
                times(hold.uses)
            ),
            HoldStatus::Approved => format!(
                "<b>Approved</b> {at} by {by}. The call goes on if it still waits, or when it is made again; {} left.",
                span(hold.deadline.saturating_sub(self.now))
            ),
            HoldStatus::Used => format!("<b>Approved</b> {at} by {by}, and let through. {}", self.outcome()),
            HoldStatus::Refused => format!("<b>Refused</b> {at} by {by}{why}."),
            HoldStatus::Expired if self.card.said.is_empty() => {
                "<b>Expired.</b> Nobody decided in time; the call was not made.".to_owned()
            }
            HoldStatus::Expired if hold.uses > 0 => {
                format!("<b>Over.</b> The approval for this run has ended; it was used {}.", times(hold.uses))
            }
            HoldStatus::Expired => {
                format!("<b>Expired</b>{why}. What {by} said was not used; the call was not made.")
            }
            HoldStatus::Withdrawn => format!("<b>Withdrawn</b> {at}{why}. The call was not made."),
        };
        push(out, format_args!("<p class=\"state {}\">{text}</p>", self.standing.as_str()));
        if self.standing != HoldStatus::Used && hold.uses > 0 {
            push(out, format_args!("<p>{}</p>", self.outcome()));
        }
    }

    /// How the call ended that was let through.
    fn outcome(&self) -> String {
        let told = |status: Option<&str>| match status {
            Some("ok") => "The call ended well",
            Some("open") | None => "The call goes on",
            Some("tool_error") => "The call ended, and the tool says that it failed",
            Some(_) => "The call ended badly",
        };
        let Some(last) = self.card.releases.last() else {
            return match self.card.hold.outcome.as_deref() {
                None => "Its end is not recorded yet.".to_owned(),
                outcome => format!("{} ({}).", told(outcome), shown(outcome.unwrap_or_default())),
            };
        };
        let ended = last.status.as_deref().or(self.card.hold.outcome.as_deref());
        let took = last.duration_us.map(|us| format!(" after {}", took(us))).unwrap_or_default();
        let end = last.seq_end.map(|end| format!(" and {end}")).unwrap_or_default();
        format!("{}{took} ({}); records {}{end}.", told(ended), shown(ended.unwrap_or("open")), last.seq)
    }

    fn facts(&self, out: &mut String) {
        let hold = &self.card.hold;
        out.push_str("<dl>");
        let mut fact = |name: &str, value: String| push(out, format_args!("<dt>{name}</dt><dd>{value}</dd>"));
        let reason =
            hold.reason.as_deref().map_or_else(String::new, |reason| format!("{} · ", shown(reason)));
        fact("Why it is held", format!("{reason}<i>{}</i>", shown(&hold.policies.join(", "))));
        if let Some(purpose) = &hold.purpose {
            fact("What the run is for", format!("{} <small>as the run says</small>", shown(purpose)));
        }
        fact("Run", shown(&hold.run));
        if let Some(agent) = &hold.agent {
            fact(
                "Agent",
                format!("{} <small>as it calls itself; nobody has checked it</small>", shown(agent)),
            );
        }
        fact("Who is asked", shown(&Need::people(&hold.needs)));
        for said in &self.card.said {
            let word = if said.approves { "Approved" } else { "Refused" };
            fact(word, format!("{}, {}", shown(&said.who), ago(said.at, self.now)));
        }
        fact("Asked", format!("{}, {}", moment(hold.created), times(hold.asks)));
        out.push_str("</dl>");
    }

    fn arguments(&self, out: &mut String) {
        out.push_str("<h2>Arguments</h2>");
        match (&self.card.arguments_shown, &self.card.arguments_missing) {
            (Some(arguments), _) => push(out, format_args!("<pre>{}</pre>", escaped(arguments))),
            (None, why) => {
                let why = why.as_deref().unwrap_or("they cannot be read");
                push(out, format_args!("<p role=\"alert\">Not shown: {}.</p>", shown(why)));
            }
        }
    }

    fn tool(&self, out: &mut String) {
        let Some(tool) = &self.card.tool else { return };
        if tool.is_waiting || !tool.is_as_asked {
            out.push_str(
                "<p class=\"warn\">⚠ The server describes this tool otherwise than it did when the call was held.</p>",
            );
        }
        let is_news = |at: u64| self.now.saturating_sub(at) < NEWS && at > tool.first_seen;
        if let Some(at) = tool.accepted_at.filter(|at| is_news(*at)) {
            let by = tool.accepted_by.as_deref().map(shown).unwrap_or_default();
            push(
                out,
                format_args!(
                    "<p class=\"warn\">⚠ Tool's text changed: accepted {} by {by}.</p>",
                    ago(at, self.now)
                ),
            );
        }
    }

    fn before(&self, out: &mut String) {
        out.push_str("<h2>What the run did just before</h2>");
        match self.card.just_before.as_deref() {
            None => out.push_str("<p>It cannot be told now: the index does not have it.</p>"),
            Some([]) => out.push_str("<p>Nothing: it is the run's first call.</p>"),
            Some(calls) => {
                out.push_str("<ul class=\"calls\">");
                calls.iter().for_each(|call| self.call(out, call));
                out.push_str("</ul>");
            }
        }
        let before = &self.card.before;
        let all = before.approved.saturating_add(before.refused);
        out.push_str("<h2>The same asked before</h2>");
        if all == 0 {
            out.push_str("<p>Never decided on before, for this tool and principal.</p>");
            return;
        }
        push(out, format_args!("<p>Approved {} of {all}.</p><ul class=\"calls\">", before.approved));
        before.last.iter().for_each(|other| self.other(out, other));
        out.push_str("</ul>");
    }

    fn call(&self, out: &mut String, call: &Call) {
        let text = |part: &Option<String>| part.as_deref().map(shown).unwrap_or_default();
        let what = match &call.name {
            Some(name) => format!("{}/{}", text(&call.server), shown(name)),
            None => format!("{} {}", text(&call.server), text(&call.method)),
        };
        let how = match call.verdict.as_deref() {
            Some("deny") => "denied".to_owned(),
            Some("hold") => "held".to_owned(),
            _ => text(&call.status),
        };
        push(out, format_args!("<li>{what} <small>{how}, {}</small></li>", ago(call.at, self.now)));
    }

    fn other(&self, out: &mut String, other: &Decided) {
        let by: Vec<String> = other.by.iter().map(|who| shown(who)).collect();
        let same = if other.is_same_arguments { "same arguments" } else { "other arguments" };
        let at = other.at.map(|at| ago(at, self.now)).unwrap_or_default();
        let word = if other.status == HoldStatus::Refused.as_str() { "refused" } else { "approved" };
        let why = other.why.as_deref().map(|why| format!(": “{}”", shown(why))).unwrap_or_default();
        push(
            out,
            format_args!(
                "<li><a href=\"/approvals/{}\">{}</a> <small>{at} by {}; {same}{why}</small></li>",
                escaped(&other.id),
                word,
                by.join(", "),
            ),
        );
    }

    /// The buttons, none of them chosen beforehand; or why there are none.
    fn decision(&self, out: &mut String) {
        let is_open = matches!(self.standing, HoldStatus::Pending | HoldStatus::Approved);
        if !is_open {
            return;
        }
        out.push_str("<section class=\"decide\"><h2>Your decision</h2>");
        match (self.hindrance, &self.card.digest) {
            (None, Some(digest)) => {
                self.approve(out, digest);
                self.refuse(out);
            }
            (None, None) => {
                out.push_str("<p>It can be approved once its arguments can be shown.</p>");
                self.refuse(out);
            }
            (Some(hindrance), _) => {
                push(out, format_args!("<p>{hindrance}</p>"));
                let may_take_back = matches!(hindrance, Hindrance::Own | Hindrance::Over | Hindrance::Twice);
                if may_take_back {
                    self.take_back(out);
                }
            }
        }
        self.more_time(out);
        out.push_str("</section>");
    }

    /// Time for who reads slowly, or has to ask somebody: WCAG 2.2.1.
    fn more_time(&self, out: &mut String) {
        let may = matches!(self.hindrance, None | Some(Hindrance::Twice));
        if self.standing != HoldStatus::Pending || !may || self.card.hold.prolonged >= MOST_PROLONGED {
            return;
        }
        self.form(out);
        out.push_str("<button name=\"decision\" value=\"prolong\">Give me 10 more minutes</button></form>");
    }

    fn form(&self, out: &mut String) {
        push(
            out,
            format_args!(
                "<form method=\"post\" action=\"/approvals/{}\"><input type=\"hidden\" name=\"csrf\" value=\"{}\">",
                self.card.hold.id,
                escaped(&self.operator.csrf)
            ),
        );
    }

    fn approve(&self, out: &mut String, digest: &str) {
        self.form(out);
        push(out, format_args!("<input type=\"hidden\" name=\"digest\" value=\"{}\">", escaped(digest)));
        out.push_str(
            "<button name=\"decision\" value=\"once\">Approve once</button>\
             <details><summary>For this run…</summary><p>As often as this run asks for it, for an hour at most, with the same \
             arguments.</p>",
        );
        let names: Vec<String> = names(self.card.arguments.as_deref().unwrap_or_default());
        if !names.is_empty() {
            out.push_str("<fieldset><legend>These may differ:</legend>");
            for name in names {
                push(
                    out,
                    format_args!(
                        "<label class=\"check\"><input type=\"checkbox\" name=\"any.{}\"> {}</label>",
                        escaped(&name),
                        shown(&name)
                    ),
                );
            }
            out.push_str("</fieldset>");
        }
        out.push_str(
            "<button name=\"decision\" value=\"run\">Approve for this run</button></details></form>",
        );
    }

    fn refuse(&self, out: &mut String) {
        self.form(out);
        out.push_str(
            "<input type=\"hidden\" name=\"decision\" value=\"refuse\">\
             <label>Refuse, because <input name=\"reason\" maxlength=\"500\" autocomplete=\"off\"></label>\
             <button class=\"no\">Refuse</button><div class=\"ready\">",
        );
        for ready in READY {
            push(
                out,
                format_args!(
                    "<button class=\"no\" name=\"ready\" value=\"{ready}\">Refuse: {ready}</button>"
                ),
            );
        }
        out.push_str("</div></form>");
    }

    fn take_back(&self, out: &mut String) {
        self.form(out);
        out.push_str(
            "<input type=\"hidden\" name=\"decision\" value=\"withdraw\">\
             <label>Take it back, because <input name=\"reason\" maxlength=\"500\" autocomplete=\"off\"></label>\
             <button class=\"no\">Take back</button></form>",
        );
    }
}

/// Names of the arguments.
fn names(arguments: &str) -> Vec<String> {
    let members: Option<Map<String, Value>> = serde_json::from_str(arguments).ok();
    members.map(|members| members.into_iter().map(|(name, _)| name).collect()).unwrap_or_default()
}

fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

/// `40 s`, `1 min 40 s`, `2 h 5 min`, `3 d 1 h`.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A time as how long ago it is, and itself for who points at it.
fn ago(at: u64, now: u64) -> String {
    format!("<time title=\"{}\">{} ago</time>", moment(at), span(now.saturating_sub(at)))
}

fn moment(at: u64) -> String {
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or_default();
    let at = at.to_zoned(TimeZone::UTC);
    format!("{} {} UTC", at.date(), at.time())
}

/// `30 ms`, `1.8 s`
fn took(us: i64) -> String {
    match us.max(0) {
        us @ 0..1_000_000 => format!("{} ms", us / 1_000),
        us => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(what);
}
