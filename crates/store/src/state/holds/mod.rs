//! Calls that wait for people, and what people said.
//!
//! A hold is bound to who asks, in which run, for what with which arguments, to what policy asks for and to the tool as it was
//! accepted. It is the one place where a release can come from: [`State::seek`] gives each approval away once, in a transaction
//! that is durable before it returns, whoever else asks at the same time.
//!
//! `pending → approved → used`, or an end on the way: `refused`, `expired`, `withdrawn`. What has ended never comes back.

mod ballot;
mod enough;
mod listing;
mod pages;
mod prolong;
mod returns;
mod seek;
mod tasks;

use ledger::{Hash, Seq};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};

use super::keys::{moment, strings};
use super::{State, StateError};

pub(super) use pages::TurnedAway;
pub(super) use seek::{end_of_run, end_open};

pub use ballot::{Ballot, Cast, Choice, Said};
pub use listing::Which;
pub use pages::{History, Place as HoldPlace};
pub use prolong::MOST_PROLONGED;
pub use returns::Back;
pub use seek::{Bounds, Full, NewHold, Release, Sought};
pub use tasks::{HoldTask, TaskOwner, TaskStanding, Turn};

const COLUMNS: &str = "id, principal, run, server, method, name, digest, needs, pin, requesters, agent, purpose, \
                       reason, policies, asked, asks, created, deadline, status, ended, why, run_wide, uses, outcome, prolonged";

/// What an approval is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HoldKey {
    /// On whose behalf, as the record has it.
    pub principal: String,
    /// In which run: that of the credential, else of the session or process.
    pub run: String,
    /// Of which server.
    pub server: String,
    /// The method.
    pub method: String,
    /// The tool, prompt or resource.
    pub name: String,
    /// Of what is asked, but for what differs from one try to the next.
    pub digest: Hash,
}

/// How many people of a group must approve.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Need {
    /// The group.
    pub group: String,
    /// How many of it.
    pub count: u32,
}

/// How it stands with a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldStatus {
    /// It waits for people.
    Pending,
    /// Enough people have approved; it was not used yet, or holds for the run.
    Approved,
    /// The call was let through, once.
    Used,
    /// Somebody refused.
    Refused,
    /// Nobody decided in time, or nobody used it in time.
    Expired,
    /// What it was bound to has changed or ended, or somebody took it back.
    Withdrawn,
}

/// A call that waits, or waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// `hold_` and 32 hexadecimal digits.
    pub id: String,
    /// What it is bound to.
    pub key: HoldKey,
    /// Who must approve.
    pub needs: Vec<Need>,
    /// The accepted definition of the tool.
    pub pin: Option<Hash>,
    /// Names under which the requester and who acts for them are known: none of them may approve.
    pub requesters: Vec<String>,
    /// What the client calls itself.
    pub agent: Option<String>,
    /// What the run says it is for.
    pub purpose: Option<String>,
    /// Why it is held, in the policy's words.
    pub reason: Option<String>,
    /// The policies that hold it.
    pub policies: Vec<String>,
    /// The record of the first try.
    pub asked: Option<Seq>,
    /// How often it was tried.
    pub asks: u64,
    /// When it was first tried. Times are seconds since the Unix epoch.
    pub created: u64,
    /// When it ends if nothing happens.
    pub deadline: u64,
    /// How it stands.
    pub status: HoldStatus,
    /// When it was decided or ended.
    pub ended: Option<u64>,
    /// Why it ended.
    pub why: Option<String>,
    /// Whether it holds for the whole run until the deadline: names of arguments that may differ, perhaps none.
    pub run_wide: Option<Vec<String>>,
    /// How often it was used.
    pub uses: u64,
    /// How the call ended.
    pub outcome: Option<String>,
    /// How often people were given more time.
    pub prolonged: u64,
}

impl Need {
    /// Who must approve, in words: the same for whoever asks, decides, or is told.
    #[must_use]
    pub fn people(needs: &[Need]) -> String {
        let each: Vec<String> =
            needs.iter().map(|need| format!("{} of {}", need.count, need.group)).collect();
        each.join(" and ")
    }
}

impl HoldStatus {
    /// The word in listings and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            HoldStatus::Pending => "pending",
            HoldStatus::Approved => "approved",
            HoldStatus::Used => "used",
            HoldStatus::Refused => "refused",
            HoldStatus::Expired => "expired",
            HoldStatus::Withdrawn => "withdrawn",
        }
    }

    fn of(word: &str) -> Option<HoldStatus> {
        use HoldStatus::{Approved, Expired, Pending, Refused, Used, Withdrawn};
        [Pending, Approved, Used, Refused, Expired, Withdrawn].into_iter().find(|one| one.as_str() == word)
    }
}

impl Hold {
    /// Why nobody need wait for it any more; `None`: it waits, or was approved.
    #[must_use]
    pub fn end(&self) -> Option<String> {
        let why = self.why.clone().unwrap_or_default();
        match self.status {
            HoldStatus::Pending | HoldStatus::Approved | HoldStatus::Used => None,
            HoldStatus::Refused => Some(format!("it was refused: {why}")),
            HoldStatus::Expired | HoldStatus::Withdrawn => Some(why),
        }
    }
}

impl State {
    /// The hold of that id.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn hold(&self, id: &str) -> Result<Option<Hold>, StateError> {
        find(&self.reader(), id).map_err(|source| self.failed(source))
    }
}

fn changed(db: &Connection, since: i64) -> rusqlite::Result<Vec<Hold>> {
    let sql = format!("SELECT {COLUMNS} FROM holds WHERE changed > ?");
    db.prepare_cached(&sql)?.query_map([since], read)?.collect()
}

fn find(db: &Connection, id: &str) -> rusqlite::Result<Option<Hold>> {
    let sql = format!("SELECT {COLUMNS} FROM holds WHERE id = ?");
    db.prepare_cached(&sql)?.query_row([id], read).optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Hold> {
    let status: String = row.get(18)?;
    let broken = |column| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, "unknown".into());
    let needs: String = row.get(7)?;
    let pin: Option<[u8; 32]> = row.get(8)?;
    let run_wide: Option<String> = row.get(21)?;
    Ok(Hold {
        id: row.get(0)?,
        key: HoldKey {
            principal: row.get(1)?,
            run: row.get(2)?,
            server: row.get(3)?,
            method: row.get(4)?,
            name: row.get(5)?,
            digest: Hash(row.get(6)?),
        },
        needs: serde_json::from_str(&needs).map_err(|_| broken(7))?,
        pin: pin.map(Hash),
        requesters: strings(row, 9)?,
        agent: row.get(10)?,
        purpose: row.get(11)?,
        reason: row.get(12)?,
        policies: strings(row, 13)?,
        asked: moment(row, 14)?.map(Seq),
        asks: moment(row, 15)?.unwrap_or_default(),
        created: moment(row, 16)?.unwrap_or_default(),
        deadline: moment(row, 17)?.unwrap_or_default(),
        status: HoldStatus::of(&status).ok_or_else(|| broken(18))?,
        ended: moment(row, 19)?,
        why: row.get(20)?,
        run_wide: run_wide.map(|_| strings(row, 21)).transpose()?,
        uses: moment(row, 22)?.unwrap_or_default(),
        outcome: row.get(23)?,
        prolonged: moment(row, 24)?.unwrap_or_default(),
    })
}
