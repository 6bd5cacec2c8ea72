//! A call seeks its release: it finds an approval that it may use, or waits under a hold.

use ledger::{Hash, Seq};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::super::events::{self, EventKind};
use super::super::keys::{list, time};
use super::super::{Deed, State, StateError};
use super::{COLUMNS, Hold, HoldKey, HoldStatus, Need, enough, find, read};

/// A call that policy holds.
#[derive(Debug, Clone)]
pub struct NewHold {
    /// An id for the hold, if it becomes one: random.
    pub id: String,
    /// What the approval is bound to.
    pub key: HoldKey,
    /// As in [`Hold`].
    pub needs: Vec<Need>,
    /// As in [`Hold`].
    pub pin: Option<Hash>,
    /// As in [`Hold`].
    pub requesters: Vec<String>,
    /// As in [`Hold`].
    pub agent: Option<String>,
    /// As in [`Hold`].
    pub purpose: Option<String>,
    /// As in [`Hold`].
    pub reason: Option<String>,
    /// As in [`Hold`].
    pub policies: Vec<String>,
    /// When it ends if nothing happens.
    pub deadline: u64,
}

/// Against floods of holds and against asking until somebody is tired of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Holds of a run that wait.
    pub pending_of_run: u32,
    /// Holds of all that wait.
    pub pending: u32,
    /// Seconds for which a refusal holds: the same call is not asked about again.
    pub refusal_lasts: u64,
    /// Refusals in that time after which nothing of the run is asked about.
    pub refusals_of_run: u32,
}

impl Default for Bounds {
    /// 20 and 10,000; ten minutes; 5.
    fn default() -> Bounds {
        Bounds { pending_of_run: 20, pending: 10_000, refusal_lasts: 600, refusals_of_run: 5 }
    }
}

/// What a call finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// It may pass, this once. Nobody else gets this release.
    Released(Release),
    /// It waits under this hold.
    Waits(Box<Hold>),
    /// Somebody has refused it, and it may be asked again then.
    Refused {
        /// The hold that was refused.
        hold: Box<Hold>,
        /// From when on.
        again: u64,
    },
    /// There is an approval of it, but it may not pass now; the approval is there for later.
    Kept(Box<Hold>),
    /// There is no place for another hold.
    Full(Full),
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The run has too many.
    #[error("too many calls of this run wait for approval; wait until some are decided")]
    Run,
    /// All have.
    #[error("too many calls wait for approval")]
    All,
    /// The run was refused too often.
    #[error("calls of this run were refused again and again; nothing of it is asked about for a while")]
    Refusals,
}

/// An approval that was given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The hold.
    pub hold: String,
    /// Who approved.
    pub by: Vec<String>,
    /// The record of the first try.
    pub asked: Option<Seq>,
}

impl State {
    /// Uses an approval for this call if there is one, else enters it as a hold, or finds it as one. `digest_but` gives the digest
    /// of the call with these arguments left out, for approvals that hold for a run; `may_pass`, asked just before one is used,
    /// whether nothing else keeps the call from passing: no approval is used up by a call that is not made. Durable on return: a
    /// release that was given is used, whatever happens next.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn seek(
        &self,
        call: &NewHold,
        (digest_but, mut may_pass): (impl Fn(&[String]) -> Option<Hash>, impl FnMut() -> bool),
        bounds: &Bounds,
        now: u64,
    ) -> Result<Sought, StateError> {
        let sought = self.write(|within, change| {
            let mut place = Place { state: self, within, change, now };
            place.end_overdue()?;
            let (like, other): (Vec<_>, Vec<_>) =
                place.holds_like(&call.key)?.into_iter().partition(|hold| is_on_terms_of(hold, call));
            for hold in &other {
                if let Some(why) = stale(hold, call) {
                    place.end(hold, HoldStatus::Withdrawn, why)?;
                }
            }
            for hold in like {
                if let Some(found) = place.consider(call, &hold, (&digest_but, &mut may_pass))? {
                    return Ok(found);
                }
            }
            if let Some(refused) = place.refused_lately(call, bounds)? {
                return Ok(refused);
            }
            match place.room(&call.key, bounds)? {
                Some(full) => Ok(Sought::Full(full)),
                None => place.enter(call),
            }
        })?;
        self.file.turned_away.count(&sought);
        Ok(sought)
    }

    /// Ends what is overdue; gives how many.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn end_overdue_holds(&self, now: u64) -> Result<usize, StateError> {
        let overdue =
            "SELECT EXISTS (SELECT 1 FROM holds WHERE status IN ('pending', 'approved') AND deadline <= ?)";
        let is_any = self.reader().query_row(overdue, [time(now)], |row| row.get::<_, bool>(0));
        if !is_any.map_err(|source| self.failed(source))? {
            return Ok(0);
        }
        self.write(|within, change| Place { state: self, within, change, now }.end_overdue())
    }

    /// Ends the holds of a run that has ended; gives how many.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn end_holds_of(&self, run: &str, why: &str, now: u64) -> Result<usize, StateError> {
        let waits = "SELECT EXISTS (SELECT 1 FROM holds WHERE status IN ('pending', 'approved') AND run = ?)";
        let is_any = self.reader().query_row(waits, [run], |row| row.get::<_, bool>(0));
        if !is_any.map_err(|source| self.failed(source))? {
            return Ok(0);
        }
        self.write(|within, change| end_of_run(self, within, change, (run, why, now)))
    }
}

/// Ends the holds of a run within another change.
pub(crate) fn end_of_run(
    state: &State,
    within: &Transaction<'_>,
    change: i64,
    (run, why, now): (&str, &str, u64),
) -> rusqlite::Result<usize> {
    let sql = format!("SELECT {COLUMNS} FROM holds WHERE status IN ('pending', 'approved') AND run = ?");
    let open: Vec<Hold> = within.prepare(&sql)?.query_map([run], read)?.collect::<rusqlite::Result<_>>()?;
    withdraw(&mut Place { state, within, change, now }, &open, why)
}

/// Ends all holds within another change.
pub(crate) fn end_open(
    state: &State,
    within: &Transaction<'_>,
    change: i64,
    (why, now): (&str, u64),
) -> rusqlite::Result<usize> {
    let sql = format!("SELECT {COLUMNS} FROM holds WHERE status IN ('pending', 'approved')");
    let open: Vec<Hold> = within.prepare(&sql)?.query_map([], read)?.collect::<rusqlite::Result<_>>()?;
    withdraw(&mut Place { state, within, change, now }, &open, why)
}

fn withdraw(place: &mut Place<'_>, open: &[Hold], why: &str) -> rusqlite::Result<usize> {
    for hold in open {
        place.end(hold, HoldStatus::Withdrawn, why)?;
    }
    Ok(open.len())
}

/// Whether policy and tool are as they were when the hold was made.
fn is_on_terms_of(hold: &Hold, call: &NewHold) -> bool {
    hold.needs == call.needs && hold.pin == call.pin
}

/// Why a hold on other terms than a call's is over. What is asked for with other arguments may need other people all the same.
fn stale(hold: &Hold, call: &NewHold) -> Option<&'static str> {
    if hold.pin != call.pin {
        return Some("the tool has changed");
    }
    (hold.key.digest == call.key.digest).then_some("what policy asks for has changed")
}

/// A transaction and its time.
pub(super) struct Place<'a> {
    pub(super) state: &'a State,
    pub(super) within: &'a Transaction<'a>,
    pub(super) change: i64,
    pub(super) now: u64,
}

impl Place<'_> {
    /// What an open hold of the same thing, on the same terms, means for a call; `None`: nothing.
    fn consider(
        &mut self,
        call: &NewHold,
        hold: &Hold,
        (digest_but, may_pass): (impl Fn(&[String]) -> Option<Hash>, &mut dyn FnMut() -> bool),
    ) -> rusqlite::Result<Option<Sought>> {
        let is_same = hold.key.digest == call.key.digest;
        match (hold.status, &hold.run_wide) {
            (HoldStatus::Pending, _) if is_same => {
                let again = "UPDATE holds SET asks = asks + 1, changed = ?2 WHERE id = ?1";
                self.within.execute(again, params![hold.id, self.change])?;
                Ok(Some(Sought::Waits(Box::new(hold.clone()))))
            }
            (HoldStatus::Approved, None) if is_same => self.release(hold, HoldStatus::Used, may_pass),
            (HoldStatus::Approved, Some(but)) => {
                let wanted = self.run_digest(&hold.id)?;
                let fits = digest_but(but).is_some_and(|digest| Some(digest) == wanted);
                if fits { self.release(hold, HoldStatus::Approved, may_pass) } else { Ok(None) }
            }
            _ => Ok(None),
        }
    }

    /// Gives the approval away. The people are counted again: a row alone releases nothing.
    fn release(
        &mut self,
        hold: &Hold,
        next: HoldStatus,
        may_pass: &mut dyn FnMut() -> bool,
    ) -> rusqlite::Result<Option<Sought>> {
        let ballots = super::ballot::of(self.within, &hold.id)?;
        let approvals: Vec<_> = ballots.into_iter().filter(|said| said.is_approval).collect();
        if !enough::is_enough(&hold.needs, &approvals) {
            self.end(hold, HoldStatus::Withdrawn, "its approvals do not add up")?;
            return Ok(None);
        }
        if !may_pass() {
            return Ok(Some(Sought::Kept(Box::new(hold.clone()))));
        }
        let sql = "UPDATE holds SET status = ?2, uses = uses + 1, changed = ?3 WHERE id = ?1 AND status = 'approved'";
        let changed = self.within.execute(sql, params![hold.id, next.as_str(), self.change])?;
        if changed == 1 {
            events::note(self.within, (&hold.id, EventKind::Used), None, self.now)?;
        }
        let by = approvals.into_iter().map(|said| said.who).collect();
        let release = Release { hold: hold.id.clone(), by, asked: hold.asked };
        Ok((changed == 1).then_some(Sought::Released(release)))
    }

    fn run_digest(&self, id: &str) -> rusqlite::Result<Option<Hash>> {
        let digest: Option<[u8; 32]> =
            self.within.query_row("SELECT run_digest FROM holds WHERE id = ?", [id], |row| row.get(0))?;
        Ok(digest.map(Hash))
    }

    /// Open holds of the same tool by the same run: those that release first, and of them those of the same arguments.
    fn holds_like(&self, key: &HoldKey) -> rusqlite::Result<Vec<Hold>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM holds WHERE principal = ?1 AND run = ?2 AND server = ?3 AND method = ?4 AND name = ?5 \
             AND status IN ('pending', 'approved') AND (digest = ?6 OR run_wide IS NOT NULL) \
             ORDER BY status = 'approved' DESC, digest = ?6 DESC, created"
        );
        let HoldKey { principal, run, server, method, name, digest } = key;
        let row = params![principal, run, server, method, name, digest.0.as_slice()];
        self.within.prepare_cached(&sql)?.query_map(row, read)?.collect()
    }

    fn refused_lately(&self, call: &NewHold, bounds: &Bounds) -> rusqlite::Result<Option<Sought>> {
        let since = time(self.now.saturating_sub(bounds.refusal_lasts));
        let sql = format!(
            "SELECT {COLUMNS} FROM holds WHERE principal = ?1 AND run = ?2 AND server = ?3 AND method = ?4 AND name = ?5 \
             AND digest = ?6 AND status = 'refused' AND ended > ?7 ORDER BY ended DESC LIMIT 1"
        );
        let HoldKey { principal, run, server, method, name, digest } = &call.key;
        let row = params![principal, run, server, method, name, digest.0.as_slice(), since];
        let found = self.within.prepare_cached(&sql)?.query_row(row, read).optional()?;
        Ok(found.map(|hold| {
            let again = hold.ended.unwrap_or(self.now).saturating_add(bounds.refusal_lasts);
            Sought::Refused { hold: Box::new(hold), again }
        }))
    }

    fn room(&self, key: &HoldKey, bounds: &Bounds) -> rusqlite::Result<Option<Full>> {
        let count = |condition: &str, row: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<u32> {
            let sql = format!("SELECT count(*) FROM holds WHERE {condition}");
            self.within.prepare_cached(&sql)?.query_row(row, |row| row.get(0))
        };
        let since = time(self.now.saturating_sub(bounds.refusal_lasts));
        let of_run = "principal = ? AND run = ? AND";
        let refused = count(
            &format!("{of_run} status = 'refused' AND ended > ?"),
            &[&key.principal, &key.run, &since],
        )?;
        if refused >= bounds.refusals_of_run {
            return Ok(Some(Full::Refusals));
        }
        let mine = count(&format!("{of_run} status = 'pending'"), &[&key.principal, &key.run])?;
        if mine >= bounds.pending_of_run {
            return Ok(Some(Full::Run));
        }
        Ok((count("status = 'pending'", &[])? >= bounds.pending).then_some(Full::All))
    }

    fn enter(&mut self, call: &NewHold) -> rusqlite::Result<Sought> {
        let sql = "INSERT INTO holds (id, principal, run, server, method, name, digest, needs, pin, requesters, agent, purpose, \
                     reason, policies, asks, created, deadline, status, uses, changed) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 1, ?15, ?16, 'pending', 0, ?17)";
        let HoldKey { principal, run, server, method, name, digest } = &call.key;
        let row = params![
            call.id,
            principal,
            run,
            server,
            method,
            name,
            digest.0.as_slice(),
            json(&call.needs)?,
            call.pin.as_ref().map(|pin| pin.0.as_slice()),
            list(&call.requesters)?,
            call.agent,
            call.purpose,
            call.reason,
            list(&call.policies)?,
            time(self.now),
            time(call.deadline),
            self.change,
        ];
        self.within.prepare_cached(sql)?.execute(row)?;
        events::note(self.within, (&call.id, EventKind::Asked), None, self.now)?;
        let hold = find(self.within, &call.id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        Ok(Sought::Waits(Box::new(hold)))
    }

    fn end_overdue(&mut self) -> rusqlite::Result<usize> {
        let sql =
            format!("SELECT {COLUMNS} FROM holds WHERE status IN ('pending', 'approved') AND deadline <= ?");
        let overdue: Vec<Hold> = self
            .within
            .prepare_cached(&sql)?
            .query_map([time(self.now)], read)?
            .collect::<rusqlite::Result<_>>()?;
        for hold in &overdue {
            let why = match (hold.status, &hold.run_wide) {
                (HoldStatus::Pending, _) => "nobody decided in time",
                (_, None) => "the approval was not used in time",
                (_, Some(_)) => "the time of the approval is over",
            };
            self.end(hold, HoldStatus::Expired, why)?;
        }
        Ok(overdue.len())
    }

    /// Ends a hold that is open, for good, without anybody's word on it: that is noted by itself.
    pub(super) fn end(&mut self, hold: &Hold, status: HoldStatus, why: &str) -> rusqlite::Result<()> {
        if self.close(hold, status, why)? {
            let what = format!("approvals.{}", status.as_str());
            self.state.enter(self.within, &Deed::done(&what, &hold.id).because(why))?;
        }
        Ok(())
    }

    /// Ends a hold for good; `false`: it was not open.
    pub(super) fn close(&mut self, hold: &Hold, status: HoldStatus, why: &str) -> rusqlite::Result<bool> {
        let sql = "UPDATE holds SET status = ?2, ended = ?3, why = ?4, changed = ?5 \
                   WHERE id = ?1 AND status IN ('pending', 'approved')";
        let row = params![hold.id, status.as_str(), time(self.now), why, self.change];
        let is_closed = self.within.prepare_cached(sql)?.execute(row)? == 1;
        if let Some(kind) = EventKind::of(status.as_str()).filter(|_| is_closed) {
            events::note(self.within, (&hold.id, kind), Some(why), self.now)?;
        }
        Ok(is_closed)
    }
}

fn json(needs: &[Need]) -> rusqlite::Result<String> {
    serde_json::to_string(needs).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
