//! Calls that wait for people, over the API: `/api/v1/approvals…`.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::state::{Cast, HoldPlace, State, StateError, Which};

use super::card::Listed;
use super::{Came, For, Scope, Wish, decide, hold_id, look, note_unknown, reason, standing};
use crate::api::Problem;
use crate::desk::{Asked, Desk, Present};
use crate::form::Form;

/// Holds on a page if nothing else is asked for, and at most.
const PAGE: (u32, u32) = (50, 200);

/// Changes that are told at once.
const CHANGES: u32 = 200;

/// Longest wait for a change, in seconds: below what proxies and clients bear.
const WAIT: u64 = 25;

/// Between two looks for a change.
const LOOK: Duration = Duration::from_millis(250);

/// Seconds after which somebody for whom there is no place may wait again.
const NO_PLACE: u64 = 5;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    List,
    Changes,
    Show,
    Grant,
    Refuse,
    Withdraw,
    Prolong,
}

/// Body of a grant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    digest: String,
    #[serde(default = "Grant::usual", rename = "for")]
    wide: For,
    #[serde(default)]
    any: Vec<String>,
}

impl Grant {
    fn usual() -> For {
        For::Call
    }
}

/// Body of a refusal, and of what takes back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    reason: String,
}

/// Body of a request that needs nothing more.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Answers a request of somebody whose role permits it; `id` is that of the path.
pub(crate) async fn answer(
    act: Act,
    desk: &Desk,
    (who, asked): (&Present, &Asked),
    id: &str,
) -> Result<Value, Problem> {
    match act {
        Act::Changes => changes(desk, asked).await,
        Act::List => {
            let (state, query) = (Arc::clone(desk.operators().state()), asked.query.clone());
            blocking(move || list(&state, &query)).await
        }
        Act::Show => show(desk, (who, asked), id).await,
        Act::Grant => {
            let Grant { digest, wide, any } = body(
                asked,
                "send JSON like {\"digest\": …, \"for\": \"call\"}; the digest is of the approval's own page",
            )?;
            let scope = match wide {
                For::Run => Scope::Run { any },
                For::Call if any.is_empty() => Scope::Call,
                For::Call => return Err(unfit("`any` is for approvals `\"for\": \"run\"`")),
            };
            say(desk, (who, asked), id, Wish::Approve { digest, scope }).await
        }
        Act::Refuse => say(desk, (who, asked), id, Wish::Refuse { reason: given(asked)? }).await,
        Act::Withdraw => say(desk, (who, asked), id, Wish::Withdraw { reason: given(asked)? }).await,
        Act::Prolong => {
            let Nothing {} = body(asked, "send `{}`: ten minutes are given, no other time")?;
            say(desk, (who, asked), id, Wish::Prolong).await
        }
    }
}

fn given(asked: &Asked) -> Result<String, Problem> {
    const WRONG: &str = "send JSON like {\"reason\": \"…\"}, of 1 to 500 characters: who asked reads it";
    let Reason { reason: given } = body(asked, WRONG)?;
    reason(&given).ok_or_else(|| unfit(WRONG))
}

fn body<T: DeserializeOwned>(asked: &Asked, wrong: &str) -> Result<T, Problem> {
    serde_json::from_slice(&asked.body).map_err(|_| unfit(wrong))
}

fn unfit(text: &str) -> Problem {
    Problem::of(StatusCode::UNPROCESSABLE_ENTITY, text.to_owned())
}

fn unknown() -> Problem {
    Problem::of(StatusCode::NOT_FOUND, Cast::Unknown.to_string())
}

fn list(state: &State, query: &str) -> Result<Value, Problem> {
    let wrong = || {
        Problem::of(
            StatusCode::BAD_REQUEST,
            "say `which=open` or `which=all`, `limit=…`, `after=…`".to_owned(),
        )
    };
    let form = Form::parse(query.as_bytes()).ok_or_else(wrong)?;
    let which = match form.field("which").unwrap_or("open") {
        "open" => Which::Open,
        "all" => Which::All,
        _ => return Err(wrong()),
    };
    let limit: u32 = form.field("limit").map_or(Ok(PAGE.0), str::parse).map_err(|_| wrong())?;
    let limit = limit.clamp(1, PAGE.1);
    let after = form.field("after").map(|after| place(after).ok_or_else(wrong)).transpose()?;
    let holds = state.hold_page(which, after.as_ref(), limit)?;
    let is_full = holds.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = holds.last().filter(|_| is_full).map(|last| format!("{}.{}", last.created, last.id));
    let approvals: Vec<Listed> = holds.iter().map(Listed::of).collect();
    Ok(json!({ "approvals": approvals, "next": next }))
}

/// The place that `next` of the page before names.
fn place(text: &str) -> Option<HoldPlace> {
    let (created, id) = text.split_once('.')?;
    Some(HoldPlace { created: created.parse().ok()?, id: hold_id(id)?.to_owned() })
}

async fn show(desk: &Desk, (who, asked): (&Present, &Asked), id: &str) -> Result<Value, Problem> {
    let (state, now) = (desk.operators().state().acting(&who.operator.identity, desk.now()), desk.now());
    let (source, looks) = (Arc::clone(&asked.source), Arc::clone(desk.looks()));
    let (operator, id) = (who.operator.clone(), id.to_owned());
    blocking(move || {
        let hold = hold_id(&id).map(|id| state.hold(id)).transpose()?.flatten();
        let Some(hold) = hold else {
            note_unknown(&state, "approvals.read", &id)?;
            return Err(unknown());
        };
        let card = look(&*source, (&state, &looks), &hold, (&operator, now))?;
        serde_json::to_value(&card).map_err(|_| broken())
    })
    .await
}

/// Somebody says something of a hold.
async fn say(desk: &Desk, (who, asked): (&Present, &Asked), id: &str, wish: Wish) -> Result<Value, Problem> {
    let (state, now) = (desk.operators().state().acting(&who.operator.identity, desk.now()), desk.now());
    let (source, operator, id) = (Arc::clone(&asked.source), who.operator.clone(), id.to_owned());
    blocking(move || {
        if hold_id(&id).is_none() {
            note_unknown(&state, wish.deed(), &id)?;
            return Err(unknown());
        }
        let came = decide(&*source, &state, (&id, &wish), (&operator, now))?;
        let hold = state.hold(&id)?.ok_or_else(unknown)?;
        match came {
            Came::Cast(cast) if cast.counts() => {
                Ok(json!({ "came": word(cast), "said": cast.to_string(), "approval": Listed::of(&hold) }))
            }
            came => Err(declined(came).standing(standing(&hold, now).as_str())),
        }
    })
    .await
}

/// What a word that counts came to.
fn word(cast: Cast) -> &'static str {
    match cast {
        Cast::Approved => "approved",
        Cast::Counted => "counted",
        Cast::Refused => "refused",
        Cast::Prolonged(_) => "prolonged",
        _ => "withdrawn",
    }
}

fn declined(came: Came) -> Problem {
    let status = match came {
        Came::Cast(Cast::Own | Cast::NotAsked) => StatusCode::FORBIDDEN,
        Came::Cast(Cast::Unknown) => StatusCode::NOT_FOUND,
        Came::Cast(_) | Came::NotSeen => StatusCode::CONFLICT,
    };
    let text = match came {
        Came::Cast(cast) => cast.to_string(),
        Came::NotSeen => {
            "the digest is not that of what waits, or it cannot be shown; look at it again".to_owned()
        }
    };
    Problem::of(status, text)
}

/// What has changed since, once something has or the time is over.
async fn changes(desk: &Desk, asked: &Asked) -> Result<Value, Problem> {
    let wrong = || {
        Problem::of(
            StatusCode::BAD_REQUEST,
            "say `since=…`, the number of the answer before, and `wait=` seconds".to_owned(),
        )
    };
    let form = Form::parse(asked.query.as_bytes()).ok_or_else(wrong)?;
    let number =
        |name: &str, usual| form.field(name).map_or(Ok(usual), str::parse::<u64>).map_err(|_| wrong());
    let wait = number("wait", WAIT)?.min(WAIT);
    let since = match form.field("since") {
        Some(_) => number("since", 0)?,
        // Who begins is told where to go on from.
        None => u64::MAX,
    };
    let Ok(_place) = Arc::clone(desk.followers()).try_acquire_owned() else {
        let text = "too many wait for changes; ask again".to_owned();
        return Err(Problem::of(StatusCode::TOO_MANY_REQUESTS, text).after(NO_PLACE));
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(wait);
    loop {
        let state = Arc::clone(desk.operators().state());
        let (holds, next) = blocking(move || Ok(state.holds_since(since, CHANGES)?)).await?;
        if !holds.is_empty() || since > next || tokio::time::Instant::now() >= until {
            let approvals: Vec<Listed> = holds.iter().map(Listed::of).collect();
            return Ok(json!({ "approvals": approvals, "since": next }));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(broken()))
}

fn broken() -> Problem {
    Problem::of(StatusCode::INTERNAL_SERVER_ERROR, "it could not be done".to_owned())
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Problem {
        tracing::error!(%error, "what waits for people cannot be read or changed");
        Problem::of(StatusCode::SERVICE_UNAVAILABLE, "the state cannot be used; see the log".to_owned())
    }
}
