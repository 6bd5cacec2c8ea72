//! Rows of service keys.

use ledger::Hash;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Deed, State, StateError, runs};

const COLUMNS: &str = "id, name, groups, note, created, created_by, expires, revoked, used, digest, previous, \
                       previous_until";

/// A service's key: everything but its secret, of which there is a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The part of the key that may be shown.
    pub id: String,
    /// The service that it is for.
    pub name: String,
    /// The service's groups.
    pub groups: Vec<String>,
    /// What an operator wrote to it.
    pub note: String,
    /// When it was made. Times are seconds since the Unix epoch.
    pub created: u64,
    /// Who made it.
    pub created_by: String,
    /// When it ends.
    pub expires: u64,
    /// When it was revoked.
    pub revoked: Option<u64>,
    /// When it was last used, to about a minute.
    pub used: Option<u64>,
    /// SHA-256 of the whole key.
    pub digest: Hash,
    /// SHA-256 of the key before the last rotation, and until when that still holds.
    pub previous: Option<(Hash, u64)>,
}

impl State {
    /// Adds a key; `false` if its id is taken.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_key(&self, key: &AccessKey) -> Result<bool, StateError> {
        self.write(|within, change| {
            let sql = "INSERT OR IGNORE INTO keys (id, name, groups, note, created, created_by, expires, digest, \
                         changed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            let groups = list(&key.groups)?;
            let digest = key.digest.0.as_slice();
            let created = time(key.created);
            let expires = time(key.expires);
            let row = params![key.id, key.name, groups, key.note, created, key.created_by, expires, digest, change];
            let is_new = within.execute(sql, row)? == 1;
            if is_new {
                self.enter(within, &Deed::done("keys.create", &key.id).because(&key.name))?;
            }
            Ok(is_new)
        })
    }

    /// Gives a key another secret and end; the one before holds until `overlap_until`. `false`: there is no such key, or
    /// it is revoked.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn rotate_key(
        &self,
        id: &str,
        digest: Hash,
        overlap_until: u64,
        expires: u64,
    ) -> Result<bool, StateError> {
        self.write(|within, change| {
            let sql = "UPDATE keys SET previous = digest, previous_until = min(?3, expires), digest = ?2, \
                         expires = ?4, changed = ?5 WHERE id = ?1 AND revoked IS NULL";
            let row = params![id, digest.0.as_slice(), time(overlap_until), time(expires), change];
            let is_done = within.execute(sql, row)? == 1;
            if is_done {
                self.enter(within, &Deed::done("keys.rotate", id))?;
            }
            Ok(is_done)
        })
    }

    /// Revokes a key for good, and all runs that were minted with it; `false`: there is no such key, or it was revoked before.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn revoke_key(&self, id: &str, now: u64) -> Result<bool, StateError> {
        self.write(|within, change| {
            let sql = "UPDATE keys SET revoked = ?2, changed = ?3 WHERE id = ?1 AND revoked IS NULL";
            let is_done = within.execute(sql, params![id, time(now), change])? == 1;
            if is_done {
                self.enter(within, &Deed::done("keys.revoke", id))?;
                let by = format!("the revocation of key {id}");
                for run in runs::living_of_key(within, id, now)? {
                    runs::revoke(self, within, change, (run, &by, now))?;
                }
            }
            Ok(is_done)
        })
    }

    /// Notes that a key was used.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn key_used(&self, id: &str, now: u64) -> Result<(), StateError> {
        self.write(|within, change| {
            let sql = "UPDATE keys SET used = max(ifnull(used, 0), ?2), changed = ?3 WHERE id = ?1";
            within.execute(sql, params![id, time(now), change]).map(|_| ())
        })
    }

    /// The key of that id.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn key(&self, id: &str) -> Result<Option<AccessKey>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM keys WHERE id = ?");
        let found = self.reader().query_row(&sql, [id], read).optional();
        found.map_err(|source| self.failed(source))
    }

    /// All keys whose id begins so, oldest first; the empty text is the beginning of all.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn keys(&self, beginning: &str) -> Result<Vec<AccessKey>, StateError> {
        let reader = self.reader();
        let all = || {
            let sql = format!(
                "SELECT {COLUMNS} FROM keys WHERE substr(id, 1, length(?1)) = ?1 ORDER BY created, id"
            );
            reader.prepare(&sql)?.query_map([beginning], read)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        all().map_err(|source| self.failed(source))
    }
}

pub(super) fn changed(db: &Connection, since: i64) -> rusqlite::Result<Vec<AccessKey>> {
    let sql = format!("SELECT {COLUMNS} FROM keys WHERE changed > ?");
    db.prepare_cached(&sql)?.query_map([since], read)?.collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<AccessKey> {
    let previous = row.get::<_, Option<[u8; 32]>>(10)?.zip(moment(row, 11)?);
    Ok(AccessKey {
        id: row.get(0)?,
        name: row.get(1)?,
        groups: strings(row, 2)?,
        note: row.get(3)?,
        created: moment(row, 4)?.unwrap_or_default(),
        created_by: row.get(5)?,
        expires: moment(row, 6)?.unwrap_or_default(),
        revoked: moment(row, 7)?,
        used: moment(row, 8)?,
        digest: Hash(row.get(9)?),
        previous: previous.map(|(digest, until)| (Hash(digest), until)),
    })
}

/// A time as SQLite keeps it.
pub(super) fn time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

pub(super) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let seconds: Option<i64> = row.get(column)?;
    // A time before 1970 is one that is long past.
    Ok(seconds.map(|seconds| u64::try_from(seconds).unwrap_or_default()))
}

pub(super) fn list(strings: &[String]) -> rusqlite::Result<String> {
    serde_json::to_string(strings).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn strings(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}
