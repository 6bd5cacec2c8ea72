//! Who is an operator: added, given roles, disabled; and the links by which they choose a password.

use ledger::Hash;
use store::state::{Deed, OperatorLink, OperatorRow, State, StateError};

use super::{DIGITS, LoginRefused, NAME_BYTES, NOBODY, Operators, Role, local_identity, password};
use crate::random::{self, NoRandomness};
use crate::secret::Secret;

/// Seconds that a link holds.
const LINK: u64 = 60 * 60;

/// A link for an operator; its secret is nowhere else.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// Whose it is.
    pub identity: String,
    /// What `/setup/` is followed by.
    pub secret: Secret,
    /// When it ends, in seconds since the Unix epoch.
    pub expires: u64,
}

/// Whom a link is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invited {
    /// Whoever opens it: they choose a name, and are an admin.
    First,
    /// The operator of that name.
    Operator(String),
}

/// Why somebody is no operator, or none other than before.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// A name is empty, long, or holds other characters.
    #[error("a name has 1 to 64 of a-z, 0-9, `.`, `-`, `_`, `@`, `+`")]
    Name,
    /// There is one.
    #[error("there is an operator `{0}`; `tollbook operators roles` gives other roles")]
    Taken(String),
    /// There is none.
    #[error("there is no operator `{0}`, or they are disabled; `tollbook operators list` shows them")]
    Unknown(String),
    /// No role.
    #[error("`{0}` is no role; there are viewer, approver, auditor and admin")]
    NoRole(String),
    /// No roles at all.
    #[error("an operator has a role at least; `tollbook operators disable` takes all")]
    NoRoles,
    /// The link was used, or is an hour old, or another took its place.
    #[error("this link does not hold any more; ask for another one")]
    Link,
    /// The password is not taken.
    #[error("{0}")]
    Password(&'static str),
    /// Too many at a time.
    #[error("too many logins at a time; try again")]
    Busy,
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system failed.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Adds an operator with these roles; the link is for their password. Blocks on the disk.
///
/// # Errors
/// See [`EnrolError`].
pub fn add(state: &State, name: &str, roles: &[Role], now: u64) -> Result<Invitation, EnrolError> {
    let row = fresh(name, roles, now)?;
    let (invitation, link) = invite(Some(row.identity.clone()), now)?;
    if !state.add_operator(&row, &link)? {
        return Err(EnrolError::Taken(row.name));
    }
    Ok(invitation)
}

/// Makes another link for an operator; those before hold no more. Blocks on the disk.
///
/// # Errors
/// See [`EnrolError`].
pub fn link(state: &State, name: &str, now: u64) -> Result<Invitation, EnrolError> {
    let (invitation, link) = invite(Some(local_identity(&own_name(name)?)), now)?;
    if !state.add_operator_link(&link)? {
        return Err(EnrolError::Unknown(name.to_owned()));
    }
    Ok(invitation)
}

/// Makes the link for the first operator; those before hold no more. `None`: there is an operator. Blocks on the disk.
///
/// # Errors
/// See [`EnrolError`].
pub fn first_link(state: &State, now: u64) -> Result<Option<Invitation>, EnrolError> {
    let (invitation, link) = invite(None, now)?;
    Ok(state.add_operator_link(&link)?.then_some(invitation))
}

/// Gives an operator other roles; their sessions end. Blocks on the disk.
///
/// # Errors
/// See [`EnrolError`].
pub fn set_roles(state: &State, name: &str, roles: &[Role]) -> Result<(), EnrolError> {
    if roles.is_empty() {
        return Err(EnrolError::NoRoles);
    }
    let is_done = state.set_operator_roles(&local_identity(&own_name(name)?), &words(roles))?;
    if is_done { Ok(()) } else { Err(EnrolError::Unknown(name.to_owned())) }
}

/// Puts an operator into groups, and into no others; their sessions end. Blocks on the disk.
///
/// # Errors
/// See [`EnrolError`].
pub fn set_groups(state: &State, name: &str, groups: &[String]) -> Result<(), EnrolError> {
    let is_done = state.set_operator_groups(&local_identity(&own_name(name)?), groups)?;
    if is_done { Ok(()) } else { Err(EnrolError::Unknown(name.to_owned())) }
}

/// Disables an operator; their sessions end. One of a provider is named whole, `user:ISSUER:SUBJECT`. Blocks on the disk.
///
/// # Errors
/// See [`EnrolError`].
pub fn disable(state: &State, name: &str, now: u64) -> Result<(), EnrolError> {
    let unknown = || EnrolError::Unknown(name.to_owned());
    let is_own = !name.starts_with("user:");
    let identity = if is_own { local_identity(&own_name(name)?) } else { name.to_owned() };
    if is_own && state.operator(&identity)?.is_none() {
        return Err(unknown());
    }
    let (name, roles, groups, password) = (name.to_owned(), Vec::new(), Vec::new(), None);
    let row = OperatorRow { identity, name, roles, groups, password, created: now, disabled: None };
    if state.disable_operator(&row, now)? { Ok(()) } else { Err(unknown()) }
}

impl Operators {
    /// Whom a link is for, if it holds. It is not used up by that: scanners of mail follow links.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub fn invited(&self, secret: &str, now: u64) -> Result<Invited, EnrolError> {
        if secret.len() != DIGITS {
            return Err(EnrolError::Link);
        }
        let link = self.state.operator_link(Hash::of(secret.as_bytes()), now)?.ok_or(EnrolError::Link)?;
        let Some(identity) = link.identity else { return Ok(Invited::First) };
        let row = self.state.operator(&identity)?.filter(|row| row.disabled.is_none());
        row.map(|row| Invited::Operator(row.name)).ok_or(EnrolError::Link)
    }

    /// Uses up a link: its operator has this password from now on. `name` is what the first operator chooses.
    ///
    /// # Errors
    /// See [`EnrolError`]; the link still holds but for [`EnrolError::Link`], which is noted.
    pub async fn set_up(
        &self,
        secret: &str,
        name: Option<&str>,
        chosen: Secret,
        now: u64,
    ) -> Result<(), EnrolError> {
        let done = self.use_link(secret, name, chosen, now).await;
        if let Err(refused @ EnrolError::Link) = &done {
            let reason = refused.to_string();
            let deed = Deed::refused("operators.setup", "an unknown link").because(&reason);
            self.refused(NOBODY, &deed, now).await;
        }
        done
    }

    async fn use_link(
        &self,
        secret: &str,
        name: Option<&str>,
        chosen: Secret,
        now: u64,
    ) -> Result<(), EnrolError> {
        let mut row = match self.invited(secret, now)? {
            Invited::First => fresh(name.unwrap_or_default(), &[Role::Admin], now)?,
            Invited::Operator(name) => fresh(&name, &[Role::Viewer], now)?,
        };
        password::check(chosen.reveal(), &row.name).map_err(EnrolError::Password)?;
        let digest = self.digested(move || password::digest(chosen.reveal())).await;
        row.password = Some(digest.map_err(|refused| match refused {
            LoginRefused::Random(error) => EnrolError::Random(error),
            _ => EnrolError::Busy,
        })??);
        let state = self.state.acting(&row.identity, now);
        let link = Hash::of(secret.as_bytes());
        let used = tokio::task::spawn_blocking(move || state.use_operator_link(link, &row, now)).await;
        if used.map_err(|_| EnrolError::Busy)?? { Ok(()) } else { Err(EnrolError::Link) }
    }
}

fn fresh(name: &str, roles: &[Role], now: u64) -> Result<OperatorRow, EnrolError> {
    let name = own_name(name)?;
    if roles.is_empty() {
        return Err(EnrolError::NoRoles);
    }
    Ok(OperatorRow {
        identity: local_identity(&name),
        name,
        roles: words(roles),
        groups: Vec::new(),
        password: None,
        created: now,
        disabled: None,
    })
}

/// A name as it is kept: case does not tell operators apart.
fn own_name(name: &str) -> Result<String, EnrolError> {
    let name = name.to_ascii_lowercase();
    let is_allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_@+".contains(&byte);
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(is_allowed);
    if is_name { Ok(name) } else { Err(EnrolError::Name) }
}

fn words(roles: &[Role]) -> Vec<String> {
    roles.iter().map(Role::to_string).collect()
}

fn invite(identity: Option<String>, now: u64) -> Result<(Invitation, OperatorLink), EnrolError> {
    let secret = random::digits(DIGITS)?;
    let expires = now.saturating_add(LINK);
    let link = OperatorLink { digest: Hash::of(secret.as_bytes()), identity: identity.clone(), expires };
    let identity = identity.unwrap_or_default();
    Ok((Invitation { identity, secret: Secret::new(secret), expires }, link))
}
