//! Who asked comes back: with the state that it was given, at the page that it was shown, or to say that it asks no more.

use ledger::Hash;
use rusqlite::{OptionalExtension as _, params};

use super::super::keys::time;
use super::super::{Deed, State, StateError};
use super::seek::Place;
use super::{HoldKey, HoldStatus, find};

/// States of one hold that may be out at once; of more the oldest counts no more.
const OUT: i64 = 8;

/// Seconds for which a state may be brought back.
const KEPT: u64 = 24 * 60 * 60;

/// What came of a state that was brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// It was given out for this very call, and is used up now. People decide still, or have approved.
    Known,
    /// It was never given out, is used up already, or was given out for another call.
    Unknown,
    /// The hold has ended, and why.
    Ended(String),
}

impl State {
    /// Keeps the digest of a state that a client is to bring back with its next try.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn expect_hold_state(&self, id: &str, digest: Hash, now: u64) -> Result<(), StateError> {
        self.write(|within, _| {
            let room = "DELETE FROM hold_states WHERE hold = ?1 AND digest NOT IN \
                          (SELECT digest FROM hold_states WHERE hold = ?1 ORDER BY made DESC LIMIT ?2)";
            within.execute(room, params![id, OUT - 1])?;
            let forgotten = time(now.saturating_sub(KEPT));
            within.execute("DELETE FROM hold_states WHERE made < ?1", [forgotten])?;
            let sql = "INSERT INTO hold_states (digest, hold, made) VALUES (?1, ?2, ?3)";
            within.execute(sql, params![digest.0.as_slice(), id, time(now)]).map(|_| ())
        })
    }

    /// Whether that state was given out for this hold and this call. It counts once; durable on return.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn take_hold_state(&self, id: &str, digest: Hash, key: &HoldKey) -> Result<Back, StateError> {
        self.write(|within, _| {
            let Some(hold) = find(within, id)?.filter(|hold| hold.key == *key) else {
                return Ok(Back::Unknown);
            };
            let sql = "DELETE FROM hold_states WHERE digest = ?1 AND hold = ?2";
            if within.execute(sql, params![digest.0.as_slice(), id])? == 0 {
                return Ok(Back::Unknown);
            }
            Ok(hold.end().map_or(Back::Known, Back::Ended))
        })
    }

    /// Ends a hold that waits because who asked asks no more; `false`: it waits no more.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn give_up_hold(&self, id: &str, why: &str, now: u64) -> Result<bool, StateError> {
        self.write(|within, change| {
            let waits = find(within, id)?.filter(|hold| hold.status == HoldStatus::Pending);
            let Some(hold) = waits else { return Ok(false) };
            Place { state: self, within, change, now }.end(&hold, HoldStatus::Withdrawn, why)?;
            Ok(true)
        })
    }

    /// Notes, once, that the requester's page of a hold was looked at.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn hold_opened(&self, id: &str, now: u64) -> Result<(), StateError> {
        let unseen = "SELECT 1 FROM holds WHERE id = ?1 AND opened IS NULL";
        let is_unseen = self.reader().query_row(unseen, [id], |_| Ok(())).optional();
        if is_unseen.map_err(|source| self.failed(source))?.is_none() {
            return Ok(());
        }
        self.write(|within, _| {
            let sql = "UPDATE holds SET opened = ?2 WHERE id = ?1 AND opened IS NULL";
            if within.execute(sql, params![id, time(now)])? == 1 {
                self.enter(within, &Deed::done("approvals.opened", id))?;
            }
            Ok(())
        })
    }
}
