//! Rows of minted runs. A row is never removed: the record names runs, and a listing must explain them.

use ledger::RunId;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::keys::{list, moment, strings, time};
use super::{Deed, State, StateError, holds};

const COLUMNS: &str = "id, kind, principal, issuer, groups, actors, purpose, scope, audience, parent, bound, created, \
                       expires, minted_by, revoked, revoked_by, login, key";

/// Runs that live at once right under one run.
const UNDER_ONE: u32 = 1_000;
/// Runs that live at once of one principal.
const OF_ONE: u32 = 10_000;

/// A run that has a credential of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintedRun {
    /// The run.
    pub id: RunId,
    /// What the principal is: `user` or `service`.
    pub kind: String,
    /// The principal, as its issuer names it.
    pub principal: String,
    /// Who vouches for the principal.
    pub issuer: String,
    /// The principal's groups when the run was minted.
    pub groups: Vec<String>,
    /// Who acts for the principal: a JSON array, the nearest first.
    pub actors: String,
    /// The run's task in words.
    pub purpose: Option<String>,
    /// What it is narrowed to, words parted by spaces; `None`: not narrowed.
    pub scope: Option<String>,
    /// Resources that its token is for.
    pub audience: Vec<String>,
    /// The run that minted it.
    pub parent: Option<RunId>,
    /// Thumbprint of the key that must be proved with each use (RFC 9449).
    pub bound: Option<String>,
    /// When it was minted. Times are seconds since the Unix epoch.
    pub created: u64,
    /// When it ends.
    pub expires: u64,
    /// Who had it minted.
    pub minted_by: String,
    /// When it was revoked.
    pub revoked: Option<u64>,
    /// By whom.
    pub revoked_by: Option<String>,
    /// What the provider said of the login that it is: a JSON object.
    pub login: Option<String>,
    /// The service key with which it was minted: the run ends when that is revoked.
    pub key: Option<String>,
}

/// What became of a run that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunAdded {
    /// It is there.
    Done,
    /// The key with which it was to be minted is revoked.
    KeyRevoked,
    /// 1,000 runs under the same one, or 10,000 of the same principal, live already.
    Crowded,
}

impl State {
    /// Adds a run; its id is new.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_run(&self, run: &MintedRun) -> Result<RunAdded, StateError> {
        self.write(|within, change| {
            if let Some(key) = &run.key
                && is_revoked(within, key)?
            {
                return Ok(RunAdded::KeyRevoked);
            }
            if is_crowded(within, run)? {
                return Ok(RunAdded::Crowded);
            }
            let sql = "INSERT INTO runs (id, kind, principal, issuer, groups, actors, purpose, scope, audience, \
                         parent, bound, created, expires, minted_by, changed, login, key) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";
            let row = params![
                run.id.0.as_slice(),
                run.kind,
                run.principal,
                run.issuer,
                list(&run.groups)?,
                run.actors,
                run.purpose,
                run.scope,
                list(&run.audience)?,
                run.parent.as_ref().map(|parent| parent.0.as_slice()),
                run.bound,
                time(run.created),
                time(run.expires),
                run.minted_by,
                change,
                run.login,
                run.key,
            ];
            within.execute(sql, row)?;
            let (id, whose) = (run.id.to_string(), format!("{}:{}:{}", run.kind, run.issuer, run.principal));
            self.enter(within, &Deed::done("run.mint", &id).because(&whose))?;
            Ok(RunAdded::Done)
        })
    }

    /// Replaces a run's scope if it is still `from`; `false` if it is not, or the run is revoked.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn rescope_run(&self, run: RunId, from: Option<&str>, to: &str) -> Result<bool, StateError> {
        self.write(|within, change| {
            let sql =
                "UPDATE runs SET scope = ?3, changed = ?4 WHERE id = ?1 AND scope IS ?2 AND revoked IS NULL";
            let is_done = within.execute(sql, params![run.0.as_slice(), from, to, change])? == 1;
            if is_done {
                self.enter(within, &Deed::done("run.narrow", &run.to_string()).because(to))?;
            }
            Ok(is_done)
        })
    }

    /// Revokes a run for good; `false`: there is no such run, or it was revoked before.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn revoke_run(&self, run: RunId, by: &str, now: u64) -> Result<bool, StateError> {
        self.write(|within, change| revoke(self, within, change, (run, by, now)))
    }

    /// The run of that id.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn minted_run(&self, run: RunId) -> Result<Option<MintedRun>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE id = ?");
        let found = self.reader().query_row(&sql, [run.0.as_slice()], read).optional();
        found.map_err(|source| self.failed(source))
    }

    /// The newest `most` runs, newest first.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn minted_runs(&self, most: u32) -> Result<Vec<MintedRun>, StateError> {
        let reader = self.reader();
        let all = || {
            let sql = format!("SELECT {COLUMNS} FROM runs ORDER BY created DESC, id LIMIT ?");
            reader.prepare(&sql)?.query_map([most], read)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        all().map_err(|source| self.failed(source))
    }

    /// The newest `most` runs that stand right under one, newest first.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn runs_under(&self, run: RunId, most: u32) -> Result<Vec<MintedRun>, StateError> {
        let reader = self.reader();
        let all = || {
            let sql =
                format!("SELECT {COLUMNS} FROM runs WHERE parent = ? ORDER BY created DESC, id LIMIT ?");
            let bound = params![run.0.as_slice(), most];
            reader.prepare(&sql)?.query_map(bound, read)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        all().map_err(|source| self.failed(source))
    }
}

/// Revokes a run within a transaction, and ends what waits for people in it; `false`: it is not there or revoked already.
pub(super) fn revoke(
    state: &State,
    within: &Transaction<'_>,
    change: i64,
    (run, by, now): (RunId, &str, u64),
) -> rusqlite::Result<bool> {
    let sql = "UPDATE runs SET revoked = ?2, revoked_by = ?3, changed = ?4 WHERE id = ?1 AND revoked IS NULL";
    let is_done = within.execute(sql, params![run.0.as_slice(), time(now), by, change])? == 1;
    if is_done {
        let id = run.to_string();
        state.enter(within, &Deed::done("run.revoke", &id))?;
        holds::end_of_run(state, within, change, (&id, "the run was revoked", now))?;
    }
    Ok(is_done)
}

/// Runs minted with a key that live.
pub(super) fn living_of_key(within: &Connection, key: &str, now: u64) -> rusqlite::Result<Vec<RunId>> {
    let sql = "SELECT id FROM runs WHERE key = ?1 AND expires > ?2 AND revoked IS NULL ORDER BY created, id";
    within.prepare(sql)?.query_map(params![key, time(now)], |row| Ok(RunId(row.get(0)?)))?.collect()
}

fn is_revoked(within: &Connection, key: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM keys WHERE id = ? AND revoked IS NOT NULL)";
    within.query_row(sql, [key], |row| row.get(0))
}

/// Whether so many runs live beside it that there is no room for it: all that live are in the memory of the gateway.
fn is_crowded(within: &Connection, run: &MintedRun) -> rusqlite::Result<bool> {
    let (now, living) = (time(run.created), "expires > ?2 AND revoked IS NULL");
    if let Some(parent) = &run.parent {
        let sql = format!("SELECT count(*) FROM runs WHERE parent = ?1 AND {living}");
        let under: u32 = within.query_row(&sql, params![parent.0.as_slice(), now], |row| row.get(0))?;
        if under >= UNDER_ONE {
            return Ok(true);
        }
    }
    let sql = format!("SELECT count(*) FROM runs WHERE principal = ?1 AND {living} AND issuer = ?3");
    let of_one: u32 = within.query_row(&sql, params![run.principal, now, run.issuer], |row| row.get(0))?;
    Ok(of_one >= OF_ONE)
}

pub(super) fn changed(db: &Connection, since: i64) -> rusqlite::Result<Vec<MintedRun>> {
    let sql = format!("SELECT {COLUMNS} FROM runs WHERE changed > ?");
    db.prepare_cached(&sql)?.query_map([since], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<MintedRun> {
    let parent: Option<[u8; 16]> = row.get(9)?;
    let actors: String = row.get(5)?;
    if serde_json::from_str::<serde::de::IgnoredAny>(&actors).is_err() {
        return Err(rusqlite::Error::FromSqlConversionFailure(5, Type::Text, "not JSON".into()));
    }
    Ok(MintedRun {
        id: RunId(row.get(0)?),
        kind: row.get(1)?,
        principal: row.get(2)?,
        issuer: row.get(3)?,
        groups: strings(row, 4)?,
        actors,
        purpose: row.get(6)?,
        scope: row.get(7)?,
        audience: strings(row, 8)?,
        parent: parent.map(RunId),
        bound: row.get(10)?,
        created: moment(row, 11)?.unwrap_or_default(),
        expires: moment(row, 12)?.unwrap_or_default(),
        minted_by: row.get(13)?,
        revoked: moment(row, 14)?,
        revoked_by: row.get(15)?,
        login: row.get(16)?,
        key: row.get(17)?,
    })
}
