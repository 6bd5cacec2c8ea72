//! What people are shown of a call that waits: one account of it, for the prompt, the API and the pages alike.
//!
//! Text is as it was sent: **hostile**, to be made safe by whoever shows it ([`policy::unseen`]); `arguments_shown` is safe.

use std::num::NonZeroU32;

use ledger::Seq;
use ledger::payload::Payload;
use serde::Serialize;
use store::state::{Hold, HoldStatus, Need, Said, State, StateError};
use store::{CallRow, Index, IndexError};

/// Calls of the run that are shown, those before the held one.
const JUST_BEFORE: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// Decisions on the same tool that are shown.
const SAME_BEFORE: u32 = 5;

/// Calls that were let through that are shown: an approval for the run may have many.
const RELEASES: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Microseconds after the end of a hold in which a call that it released may still be recorded.
const RECORDED_AFTER: i64 = 60_000_000;

/// Where an account is put together from.
pub struct Look<'a> {
    /// Holds, words, tools.
    pub state: &'a State,
    /// The calls of runs; `None`: it cannot be read.
    pub index: Option<&'a Index>,
    /// What the record at a place holds; `Ok(None)`: it is not published yet.
    pub payload: &'a dyn Fn(Seq) -> Result<Option<Payload>, String>,
}

/// How much somebody may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All.
    Whole,
    /// All but what was sent.
    Outline,
}

/// A hold, in short.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub status: &'static str,
    /// On whose behalf.
    pub principal: String,
    /// What the client calls itself: a claim.
    pub agent: Option<String>,
    /// In which run.
    pub run: String,
    /// What the run says it is for.
    pub purpose: Option<String>,
    /// Of which server.
    pub server: String,
    /// The method.
    pub method: String,
    /// The tool, prompt or resource.
    pub name: String,
    /// Why it is held, in the policy's words.
    pub reason: Option<String>,
    /// The policies that hold it.
    pub policies: Vec<String>,
    /// Who is asked.
    pub needs: Vec<Need>,
    /// The record of the first try.
    pub asked: Option<Seq>,
    /// How often it was tried.
    pub asks: u64,
    /// When it was first tried. Times are seconds since the Unix epoch.
    pub created: u64,
    /// When it ends if nothing happens.
    pub deadline: u64,
    /// When it was decided or ended.
    pub ended: Option<u64>,
    /// Why it ended.
    pub why: Option<String>,
    /// Whether it holds for the run: names of arguments that may differ, perhaps none.
    pub for_run_but: Option<Vec<String>>,
    /// How often it was used.
    pub uses: u64,
    /// How the call ended.
    pub outcome: Option<String>,
    /// How often people were given more time.
    pub prolonged: u64,
}

/// All there is to know before deciding, and what came of it afterwards.
#[derive(Debug, Clone, Serialize)]
pub struct Card {
    /// The hold.
    #[serde(flatten)]
    pub hold: Listed,
    /// What an approval must name: only who was shown the arguments knows it.
    pub digest: Option<String>,
    /// The arguments in canonical form, all of them.
    pub arguments: Option<String>,
    /// The same, with characters that act or hide written out.
    pub arguments_shown: Option<String>,
    /// Why the arguments are not shown.
    pub arguments_missing: Option<String>,
    /// What was said, in order.
    pub said: Vec<Word>,
    /// What the run did just before, newest first; `None`: it cannot be told.
    pub just_before: Option<Vec<Call>>,
    /// What was decided on the same tool for the same principal, apart from this.
    pub before: Before,
    /// The tool's text.
    pub tool: Option<ToolText>,
    /// The calls that were let through.
    pub releases: Vec<Call>,
}

/// Somebody's word.
#[derive(Debug, Clone, Serialize)]
pub struct Word {
    /// Who.
    pub who: String,
    /// Yes or no.
    pub approves: bool,
    /// Why not.
    pub reason: Option<String>,
    /// When.
    pub at: u64,
}

/// A call, in short.
#[derive(Debug, Clone, Serialize)]
pub struct Call {
    /// Its first record.
    pub seq: Seq,
    /// Its last.
    pub seq_end: Option<Seq>,
    /// When it began.
    pub at: u64,
    /// Of which server.
    pub server: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The tool, prompt or resource.
    pub name: Option<String>,
    /// `allow`, `deny` or `hold`.
    pub verdict: Option<String>,
    /// How it ended.
    pub status: Option<String>,
    /// How long it took, in microseconds.
    pub duration_us: Option<i64>,
}

/// What was decided before.
#[derive(Debug, Clone, Serialize)]
pub struct Before {
    /// How many were approved.
    pub approved: u64,
    /// How many were refused.
    pub refused: u64,
    /// The last of them, newest first.
    pub last: Vec<Decided>,
}

/// One decision of another time.
#[derive(Debug, Clone, Serialize)]
pub struct Decided {
    /// The hold.
    pub id: String,
    /// How it stands.
    pub status: &'static str,
    /// When it was decided.
    pub at: Option<u64>,
    /// Who decided.
    pub by: Vec<String>,
    /// Why it ended, where somebody said so.
    pub why: Option<String>,
    /// Whether it was asked with the very same arguments.
    pub is_same_arguments: bool,
}

/// How the tool's text stands.
#[derive(Debug, Clone, Serialize)]
pub struct ToolText {
    /// When the text that calls are judged by was accepted, as far as that is known.
    pub accepted_at: Option<u64>,
    /// Who accepted it; `None`: it is as it was first seen.
    pub accepted_by: Option<String>,
    /// When the tool was first seen.
    pub first_seen: u64,
    /// Whether the server says something else by now, which nobody has accepted.
    pub is_waiting: bool,
    /// Whether it is what was accepted when the call was held.
    pub is_as_asked: bool,
}

impl Look<'_> {
    /// The account of a hold.
    ///
    /// # Errors
    /// See [`StateError`]; what else cannot be read is left out and said to be.
    pub fn card(&self, hold: &Hold, sight: Sight) -> Result<Card, StateError> {
        let arguments = match sight {
            Sight::Whole => self.arguments(hold),
            Sight::Outline => Err("only approvers see what was sent".to_owned()),
        };
        let said = self.state.ballots(&hold.id)?;
        let (just_before, releases) = self.around(hold);
        let (arguments, arguments_missing) = match arguments {
            Ok(text) => (Some(text), None),
            Err(why) => (None, Some(why)),
        };
        Ok(Card {
            hold: Listed::of(hold),
            digest: arguments.is_some().then(|| hold.key.digest.to_string()),
            arguments_shown: arguments.as_deref().map(policy::unseen::visible),
            arguments,
            arguments_missing,
            said: said.into_iter().map(Word::of).collect(),
            just_before,
            before: self.before(hold)?,
            tool: self.tool(hold)?,
            releases,
        })
    }

    /// The arguments in canonical form; why not, if the record cannot be shown.
    fn arguments(&self, hold: &Hold) -> Result<String, String> {
        let payload = self.recorded(hold)?;
        let arguments = payload.value("arguments").or_else(|| payload.value("params")).unwrap_or("{}");
        policy::binding::shown(arguments).ok_or_else(|| "parsers read them differently".to_owned())
    }

    /// What the record of the first try holds, if it is the call that is held.
    fn recorded(&self, hold: &Hold) -> Result<Payload, String> {
        const NOT_YET: &str = "the record of the call is not published yet; look again in a second";
        let asked = hold.asked.ok_or(NOT_YET)?;
        let payload = (self.payload)(asked)?.ok_or(NOT_YET)?;
        if policy::binding::digest(payload.value("params"), &[]) != Some(hold.key.digest) {
            return Err(format!("record {asked} does not hold the call that waits"));
        }
        Ok(payload)
    }

    /// What an approval for the run is bound to: the call without these arguments. Why not, if the record cannot be read.
    ///
    /// # Errors
    /// In words for people.
    pub fn run_digest(&self, hold: &Hold, but: &[String]) -> Result<ledger::Hash, String> {
        let payload = self.recorded(hold)?;
        policy::binding::digest(payload.value("params"), but)
            .ok_or_else(|| "the arguments have no names that could differ".to_owned())
    }

    fn before(&self, hold: &Hold) -> Result<Before, StateError> {
        let history = self.state.hold_history(hold, SAME_BEFORE)?;
        let mut last = Vec::with_capacity(history.last.len());
        for other in &history.last {
            let said = self.state.ballots(&other.id)?;
            last.push(Decided {
                id: other.id.clone(),
                status: other.status.as_str(),
                at: other.ended,
                by: said.into_iter().map(|said| said.who).collect(),
                why: other.why.clone(),
                is_same_arguments: other.key.digest == hold.key.digest,
            });
        }
        Ok(Before { approved: history.approved, refused: history.refused, last })
    }

    fn tool(&self, hold: &Hold) -> Result<Option<ToolText>, StateError> {
        if hold.key.method != "tools/call" {
            return Ok(None);
        }
        let found = self.state.pinned(&hold.key.server, &hold.key.name)?;
        Ok(found.map(|(pin, accepted_at)| ToolText {
            accepted_at,
            first_seen: pin.first_seen,
            is_waiting: pin.waiting.is_some(),
            is_as_asked: pin.accepted.as_ref().map(|accepted| accepted.digest) == hold.pin,
            accepted_by: pin.accepted_by,
        }))
    }

    /// What the run did before, and what was let through because of this.
    fn around(&self, hold: &Hold) -> (Option<Vec<Call>>, Vec<Call>) {
        let found = self.index.zip(hold.asked).map(|(index, asked)| around(index, asked, hold));
        match found {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                tracing::warn!(%error, "what stands around a held call cannot be read from the index");
                (None, Vec::new())
            }
            None => (None, Vec::new()),
        }
    }
}

/// The calls before, and those that were released.
fn around(index: &Index, asked: Seq, hold: &Hold) -> Result<(Option<Vec<Call>>, Vec<Call>), IndexError> {
    let is_of = |row: &CallRow| row.principal.as_deref() == Some(&*hold.key.principal);
    // An index of another log has other calls at the same places.
    let Some(row) = index.begun_by(asked)?.filter(is_of) else { return Ok((None, Vec::new())) };
    let before = index.before(&row, JUST_BEFORE)?.iter().map(Call::of).collect();
    if hold.uses == 0 {
        return Ok((Some(before), Vec::new()));
    }
    let until = i64::try_from(hold.deadline).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let until = until.saturating_add(RECORDED_AFTER);
    let released = index.allowed_since(&row, &format!("under `{}`", hold.id), until, RELEASES)?;
    Ok((Some(before), released.iter().map(Call::of).collect()))
}

impl Listed {
    /// Of a hold.
    #[must_use]
    pub fn of(hold: &Hold) -> Listed {
        let hold = hold.clone();
        Listed {
            id: hold.id,
            status: hold.status.as_str(),
            principal: hold.key.principal,
            agent: hold.agent.map(|agent| called(&agent).unwrap_or(agent)),
            run: hold.key.run,
            purpose: hold.purpose,
            server: hold.key.server,
            method: hold.key.method,
            name: hold.key.name,
            reason: hold.reason,
            policies: hold.policies,
            needs: hold.needs,
            asked: hold.asked,
            asks: hold.asks,
            created: hold.created,
            deadline: hold.deadline,
            ended: hold.ended,
            why: hold.why,
            for_run_but: hold.run_wide,
            uses: hold.uses,
            outcome: hold.outcome,
            prolonged: hold.prolonged,
        }
    }
}

/// Name and version of a client, of what it said of itself.
fn called(agent: &str) -> Option<String> {
    let said: serde_json::Value = serde_json::from_str(agent).ok()?;
    let name = said.get("name")?.as_str()?;
    let version = said.get("version").and_then(serde_json::Value::as_str);
    Some(version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
}

impl Word {
    fn of(said: Said) -> Word {
        Word { who: said.who, approves: said.is_approval, reason: said.reason, at: said.at }
    }
}

impl Call {
    fn of(row: &CallRow) -> Call {
        Call {
            seq: row.seq,
            seq_end: row.seq_end,
            at: u64::try_from(row.t_start / 1_000_000).unwrap_or_default(),
            server: row.server.clone(),
            method: row.method.clone(),
            name: row.name.clone(),
            verdict: row.verdict.clone(),
            status: row.status.clone(),
            duration_us: row.duration(),
        }
    }
}

/// Whether people can still decide on a hold.
pub(super) fn is_open(hold: &Hold, now: u64) -> bool {
    hold.status == HoldStatus::Pending && now < hold.deadline
}
