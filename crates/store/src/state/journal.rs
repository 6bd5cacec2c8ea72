//! What operators did: entered in the transaction that did it, recorded by the gateway later.
//!
//! Invariant: an action without a `seq` is never removed. One that was recorded and not marked, for want of time in a crash,
//! is recorded again under the same id.

use ledger::Seq;
use rusqlite::{Row, Transaction, params};

use super::keys::{moment, time};
use super::{State, StateError};

/// Recorded actions that are kept for `tollbook operators actions`; the ledger keeps all.
const KEPT: i64 = 10_000;

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused, and has changed nothing.
    Refused,
}

/// What somebody did, or tried to.
#[derive(Debug, Clone, Copy)]
pub struct Deed<'a> {
    /// In words of the commands: `keys.revoke`, `operators.login`.
    pub what: &'a str,
    /// What or whom it was done to, by name.
    pub subject: &'a str,
    /// Why, or what else there is to know of it. No secret.
    pub reason: Option<&'a str>,
    /// How it ended.
    pub outcome: Outcome,
}

/// An action as it was entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Its number in this file.
    pub no: i64,
    /// Its id, unique over all files: two records with one id tell of one action.
    pub id: String,
    /// When, in seconds since the Unix epoch.
    pub at: u64,
    /// Who: `os:1000`, or an operator as `kind:issuer:subject`.
    pub who: String,
    /// As in [`Deed`].
    pub what: String,
    /// As in [`Deed`].
    pub subject: String,
    /// As in [`Deed`].
    pub reason: Option<String>,
    /// As in [`Deed`].
    pub outcome: Outcome,
    /// Its record's place in the ledger, once it has one.
    pub seq: Option<Seq>,
}

impl Outcome {
    /// The word in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
        }
    }
}

impl<'a> Deed<'a> {
    /// Something that was done.
    #[must_use]
    pub fn done(what: &'a str, subject: &'a str) -> Deed<'a> {
        Deed { what, subject, reason: None, outcome: Outcome::Done }
    }

    /// Something that was tried.
    #[must_use]
    pub fn refused(what: &'a str, subject: &'a str) -> Deed<'a> {
        Deed { outcome: Outcome::Refused, ..Deed::done(what, subject) }
    }

    /// The same, and why.
    #[must_use]
    pub fn because(self, reason: &'a str) -> Deed<'a> {
        Deed { reason: Some(reason), ..self }
    }
}

impl State {
    /// Notes what the operator of [`State::acting`] did or tried where no row changes. Durable on return.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn note(&self, deed: &Deed<'_>) -> Result<(), StateError> {
        self.write(|within, _| self.enter(within, deed))
    }

    /// Enters a deed in the transaction that does it. The gateway's own changes are nobody's actions.
    pub(super) fn enter(&self, within: &Transaction<'_>, deed: &Deed<'_>) -> rusqlite::Result<()> {
        let Some((who, at)) = &self.operator else { return Ok(()) };
        let sql =
            "INSERT INTO actions (at, who, what, subject, reason, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Deed { what, subject, reason, outcome } = deed;
        within.prepare_cached(sql)?.execute(params![
            time(*at),
            &**who,
            what,
            subject,
            reason,
            outcome.as_str()
        ])?;
        Ok(())
    }

    /// The oldest actions that have no record yet, at most so many.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn unrecorded(&self, most: u32) -> Result<Vec<Action>, StateError> {
        self.actions_by("WHERE seq IS NULL ORDER BY no LIMIT ?", most)
    }

    /// The newest actions, newest first, at most so many.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn actions(&self, most: u32) -> Result<Vec<Action>, StateError> {
        self.actions_by("ORDER BY no DESC LIMIT ?", most)
    }

    /// Marks an action as recorded there.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn mark_recorded(&self, no: i64, seq: Seq) -> Result<(), StateError> {
        self.write(|within, _| {
            within.execute("UPDATE actions SET seq = ?2 WHERE no = ?1", params![no, time(seq.0)])?;
            let old = "DELETE FROM actions WHERE no <= ?1 AND seq IS NOT NULL";
            within.execute(old, [no.saturating_sub(KEPT)]).map(|_| ())
        })
    }

    fn actions_by(&self, which: &str, most: u32) -> Result<Vec<Action>, StateError> {
        let reader = self.reader();
        let all = || {
            let columns = "no, id, at, who, what, subject, reason, outcome, seq";
            let sql = format!("SELECT {columns} FROM actions {which}");
            reader.prepare_cached(&sql)?.query_map([most], read)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        all().map_err(|source| self.failed(source))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Action> {
    let outcome: String = row.get(7)?;
    Ok(Action {
        no: row.get(0)?,
        id: row.get(1)?,
        at: moment(row, 2)?.unwrap_or_default(),
        who: row.get(3)?,
        what: row.get(4)?,
        subject: row.get(5)?,
        reason: row.get(6)?,
        outcome: if outcome == "done" { Outcome::Done } else { Outcome::Refused },
        seq: moment(row, 8)?.map(Seq),
    })
}
