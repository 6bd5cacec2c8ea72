//! Rows of minted runs. A row is never removed: the record names runs, and a listing must explain them.

use ledger::RunId;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::keys::{list, moment, strings, time};
use super::{Deed, State, StateError, holds};

const COLUMNS: &str = "id, kind, principal, issuer, groups, actors, purpose, scope, audience, parent, bound, created, \
                       expires, minted_by, revoked, revoked_by, login";

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
}

impl State {
    /// Adds a run; its id is new.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_run(&self, run: &MintedRun) -> Result<(), StateError> {
        self.write(|within, change| {
            let sql = "INSERT INTO runs (id, kind, principal, issuer, groups, actors, purpose, scope, audience, \
                         parent, bound, created, expires, minted_by, changed, login) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
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
            ];
            within.execute(sql, row)?;
            let (id, whose) = (run.id.to_string(), format!("{}:{}:{}", run.kind, run.issuer, run.principal));
            self.enter(within, &Deed::done("run.mint", &id).because(&whose))
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
        self.write(|within, change| {
            let sql = "UPDATE runs SET revoked = ?2, revoked_by = ?3, changed = ?4 \
                       WHERE id = ?1 AND revoked IS NULL";
            let is_done = within.execute(sql, params![run.0.as_slice(), time(now), by, change])? == 1;
            if is_done {
                let id = run.to_string();
                self.enter(within, &Deed::done("run.revoke", &id))?;
                holds::end_of_run(self, within, change, (&id, "the run was revoked", now))?;
            }
            Ok(is_done)
        })
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
    })
}
