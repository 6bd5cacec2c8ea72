//! Rows of operators, of the links by which they choose a password, and of their sessions.
//!
//! Invariant: whatever changes what an operator may do ends their sessions in the same transaction.

use ledger::Hash;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::keys::{list, moment, strings, time};
use super::{Deed, State, StateError};

/// Sessions that are kept at a time; beyond that the one that was used least recently ends.
const SESSIONS: i64 = 10_000;

const OPERATOR: &str = "identity, name, roles, password, created, disabled, groups";

/// An operator who is known here: with a password of their own, or disabled.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorRow {
    /// Who it is: `kind:issuer:subject`.
    pub identity: String,
    /// What they type to log in, and what listings show.
    pub name: String,
    /// What they may do, in words.
    pub roles: Vec<String>,
    /// The groups for which they approve.
    pub groups: Vec<String>,
    /// Digest of their password, in the form of its algorithm; `None`: they have not chosen one.
    pub password: Option<String>,
    /// When they were added. Times are seconds since the Unix epoch.
    pub created: u64,
    /// When they were disabled.
    pub disabled: Option<u64>,
}

/// A link by which an operator chooses a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorLink {
    /// Digest of its secret.
    pub digest: Hash,
    /// Whose it is; `None`: whoever opens it becomes the first operator.
    pub identity: Option<String>,
    /// When it ends.
    pub expires: u64,
}

/// A session of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorSession {
    /// Digest of its secret.
    pub digest: Hash,
    /// Whose it is.
    pub identity: String,
    /// What listings show.
    pub name: String,
    /// The groups that a provider named at login; none of who has a password here.
    pub groups: Vec<String>,
    /// When it began.
    pub begun: u64,
    /// When it was last used, to about a minute.
    pub used: u64,
}

impl State {
    /// Adds an operator, or enables one who was disabled, as new; `false` if there is one of that identity.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_operator(&self, row: &OperatorRow, link: &OperatorLink) -> Result<bool, StateError> {
        self.write(|within, _| {
            let sql = "INSERT INTO operators (identity, name, roles, created) VALUES (?1, ?2, ?3, ?4) \
                       ON CONFLICT (identity) DO UPDATE SET name = ?2, roles = ?3, groups = '[]', password = NULL, disabled = NULL \
                       WHERE disabled IS NOT NULL";
            let roles = list(&row.roles)?;
            let is_new = within.execute(sql, params![row.identity, row.name, roles, time(row.created)])? == 1;
            if is_new {
                put_link(within, link)?;
                self.enter(within, &Deed::done("operators.add", &row.identity).because(&row.roles.join(" ")))?;
            }
            Ok(is_new)
        })
    }

    /// Gives an operator other roles and ends their sessions; `false`: there is none of that identity, or they are disabled.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn set_operator_roles(&self, identity: &str, roles: &[String]) -> Result<bool, StateError> {
        self.write(|within, _| {
            let sql = "UPDATE operators SET roles = ?2 WHERE identity = ?1 AND disabled IS NULL";
            let is_done = within.execute(sql, params![identity, list(roles)?])? == 1;
            if is_done {
                end_sessions(within, identity)?;
                self.enter(within, &Deed::done("operators.roles", identity).because(&roles.join(" ")))?;
            }
            Ok(is_done)
        })
    }

    /// Puts an operator into groups, and into no others, and ends their sessions; `false`: there is none of that identity, or they are
    /// disabled.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn set_operator_groups(&self, identity: &str, groups: &[String]) -> Result<bool, StateError> {
        self.write(|within, _| {
            let sql = "UPDATE operators SET groups = ?2 WHERE identity = ?1 AND disabled IS NULL";
            let is_done = within.execute(sql, params![identity, list(groups)?])? == 1;
            if is_done {
                end_sessions(within, identity)?;
                self.enter(within, &Deed::done("operators.groups", identity).because(&groups.join(" ")))?;
            }
            Ok(is_done)
        })
    }

    /// Disables an operator and ends their sessions and links. One of a provider's need not be known here. `false`: they were
    /// disabled before, or a name is not known.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn disable_operator(&self, row: &OperatorRow, now: u64) -> Result<bool, StateError> {
        self.write(|within, _| {
            let sql = "INSERT INTO operators (identity, name, roles, created, disabled) VALUES (?1, ?2, '[]', ?3, ?3) \
                       ON CONFLICT (identity) DO UPDATE SET disabled = ?3 WHERE disabled IS NULL";
            let is_done = within.execute(sql, params![row.identity, row.name, time(now)])? == 1;
            if is_done {
                end_sessions(within, &row.identity)?;
                within.execute("DELETE FROM operator_links WHERE identity = ?", [&row.identity])?;
                self.enter(within, &Deed::done("operators.disable", &row.identity))?;
            }
            Ok(is_done)
        })
    }

    /// The operator of that identity.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn operator(&self, identity: &str) -> Result<Option<OperatorRow>, StateError> {
        let sql = format!("SELECT {OPERATOR} FROM operators WHERE identity = ?");
        let found = self.reader().query_row(&sql, [identity], operator).optional();
        found.map_err(|source| self.failed(source))
    }

    /// All operators that are known here, by name.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn operators(&self) -> Result<Vec<OperatorRow>, StateError> {
        let reader = self.reader();
        let all = || {
            let sql = format!("SELECT {OPERATOR} FROM operators ORDER BY name, identity");
            reader.prepare(&sql)?.query_map([], operator)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        all().map_err(|source| self.failed(source))
    }

    /// Puts a link in the place of the ones before it for the same operator; `false`: there is no such operator, they are
    /// disabled, or it is for the first and there is one.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn add_operator_link(&self, link: &OperatorLink) -> Result<bool, StateError> {
        self.write(|within, _| {
            let wanted = match &link.identity {
                Some(_) => "SELECT EXISTS (SELECT 1 FROM operators WHERE identity = ? AND disabled IS NULL)",
                None => "SELECT ?1 IS NULL AND NOT EXISTS (SELECT 1 FROM operators WHERE disabled IS NULL)",
            };
            if !within.query_row(wanted, [&link.identity], |row| row.get(0))? {
                return Ok(false);
            }
            put_link(within, link)?;
            self.enter(within, &Deed::done("operators.link", link.identity.as_deref().unwrap_or("first")))?;
            Ok(true)
        })
    }

    /// The link of that digest, if it holds now.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn operator_link(&self, digest: Hash, now: u64) -> Result<Option<OperatorLink>, StateError> {
        let sql = "SELECT identity, expires FROM operator_links WHERE digest = ?1 AND expires > ?2";
        let row = params![digest.0.as_slice(), time(now)];
        let read = |row: &Row<'_>| {
            let expires = moment(row, 1)?.unwrap_or_default();
            Ok(OperatorLink { digest, identity: row.get(0)?, expires })
        };
        self.reader().query_row(sql, row, read).optional().map_err(|source| self.failed(source))
    }

    /// Uses up a link: `row` has its password from now on, and no session from before. A link for the first operator adds
    /// them as `row` says. `false`: the link does not hold, or is not theirs.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn use_operator_link(&self, digest: Hash, row: &OperatorRow, now: u64) -> Result<bool, StateError> {
        self.write(|within, _| {
            let sql = "DELETE FROM operator_links WHERE digest = ?1 AND expires > ?2 RETURNING identity";
            let found: Option<Option<String>> = within
                .query_row(sql, params![digest.0.as_slice(), time(now)], |row| row.get(0))
                .optional()?;
            let is_done = match found {
                None => false,
                Some(None) => {
                    let sql = "INSERT INTO operators (identity, name, roles, password, created) \
                               SELECT ?1, ?2, ?3, ?4, ?5 \
                               WHERE NOT EXISTS (SELECT 1 FROM operators WHERE disabled IS NULL) \
                               ON CONFLICT (identity) DO NOTHING";
                    let roles = list(&row.roles)?;
                    let row = params![row.identity, row.name, roles, row.password, time(row.created)];
                    within.execute(sql, row)? == 1
                }
                Some(Some(identity)) if identity == row.identity => {
                    let sql = "UPDATE operators SET password = ?2 WHERE identity = ?1 AND disabled IS NULL";
                    within.execute(sql, params![identity, row.password])? == 1
                }
                Some(Some(_)) => false,
            };
            if is_done {
                end_sessions(within, &row.identity)?;
                self.enter(within, &Deed::done("operators.setup", &row.identity))?;
            }
            Ok(is_done)
        })
    }

    /// Begins a session, unless its operator was disabled meanwhile, or has another password than the one with this digest.
    /// `false`: they were, or have.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn begin_operator_session(
        &self,
        session: &OperatorSession,
        password: Option<&str>,
        deed: &Deed<'_>,
    ) -> Result<bool, StateError> {
        self.write(|within, _| {
            let changed = "SELECT EXISTS (SELECT 1 FROM operators WHERE identity = ?1 \
                           AND (disabled IS NOT NULL OR (?2 IS NOT NULL AND password IS NOT ?2)))";
            if within.query_row(changed, params![session.identity, password], |row| row.get(0))? {
                return Ok(false);
            }
            let surplus = "DELETE FROM operator_sessions WHERE digest IN \
                             (SELECT digest FROM operator_sessions ORDER BY used DESC LIMIT -1 OFFSET ?)";
            within.execute(surplus, [SESSIONS - 1])?;
            let sql = "INSERT INTO operator_sessions (digest, identity, name, groups, begun, used) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let OperatorSession { digest, identity, name, groups, begun, used } = session;
            let (digest, groups) = (digest.0.as_slice(), list(groups)?);
            within.execute(sql, params![digest, identity, name, groups, time(*begun), time(*used)])?;
            self.enter(within, deed)?;
            Ok(true)
        })
    }

    /// The session of that digest.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn operator_session(&self, digest: Hash) -> Result<Option<OperatorSession>, StateError> {
        let sql = "SELECT identity, name, groups, begun, used FROM operator_sessions WHERE digest = ?";
        let read = |row: &Row<'_>| {
            Ok(OperatorSession {
                digest,
                identity: row.get(0)?,
                name: row.get(1)?,
                groups: strings(row, 2)?,
                begun: moment(row, 3)?.unwrap_or_default(),
                used: moment(row, 4)?.unwrap_or_default(),
            })
        };
        let found = self.reader().query_row(sql, [digest.0.as_slice()], read).optional();
        found.map_err(|source| self.failed(source))
    }

    /// Notes that a session was used.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn operator_session_used(&self, digest: Hash, now: u64) -> Result<(), StateError> {
        self.write(|within, _| {
            let sql = "UPDATE operator_sessions SET used = max(used, ?2) WHERE digest = ?1";
            within.execute(sql, params![digest.0.as_slice(), time(now)]).map(|_| ())
        })
    }

    /// Ends a session; `false`: there is none of that digest. With a deed, its operator did that.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn end_operator_session(&self, digest: Hash, deed: Option<&Deed<'_>>) -> Result<bool, StateError> {
        self.write(|within, _| {
            let sql = "DELETE FROM operator_sessions WHERE digest = ?";
            let is_done = within.execute(sql, [digest.0.as_slice()])? == 1;
            if let Some(deed) = deed.filter(|_| is_done) {
                self.enter(within, deed)?;
            }
            Ok(is_done)
        })
    }
}

/// Not even the digest of a password shows in logs.
impl std::fmt::Debug for OperatorRow {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { identity, roles, disabled, .. } = self;
        let mut shown = formatter.debug_struct("OperatorRow");
        shown.field("identity", identity).field("roles", roles).field("disabled", disabled);
        shown.finish_non_exhaustive()
    }
}

fn put_link(within: &Transaction<'_>, link: &OperatorLink) -> rusqlite::Result<()> {
    within.execute("DELETE FROM operator_links WHERE identity IS ?", [&link.identity])?;
    let sql = "INSERT INTO operator_links (digest, identity, expires) VALUES (?1, ?2, ?3)";
    let row = params![link.digest.0.as_slice(), link.identity, time(link.expires)];
    within.execute(sql, row).map(|_| ())
}

fn end_sessions(within: &Transaction<'_>, identity: &str) -> rusqlite::Result<()> {
    within.execute("DELETE FROM operator_sessions WHERE identity = ?", [identity]).map(|_| ())
}

fn operator(row: &Row<'_>) -> rusqlite::Result<OperatorRow> {
    Ok(OperatorRow {
        identity: row.get(0)?,
        name: row.get(1)?,
        roles: strings(row, 2)?,
        password: row.get(3)?,
        created: moment(row, 4)?.unwrap_or_default(),
        disabled: moment(row, 5)?,
        groups: strings(row, 6)?,
    })
}
