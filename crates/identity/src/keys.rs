//! Service keys: `tbk_`, 8 characters that may be shown, `_`, 43 random ones, 6 check digits.
//!
//! The state keeps a plain SHA-256 of a key. Argon2 is for secrets that people choose, of which there are few enough to
//! try them all; 256 random bits cannot be tried, and a slow digest would be paid with every call. The check digits
//! (CRC-32C) let a scanner tell a leaked key from a text that looks like one.

use std::time::Duration;

use aws_lc_rs::constant_time;
use ledger::Hash;
use store::state::{AccessKey, State, StateError};

use crate::random::{self, NoRandomness};
use crate::refused::Reason;
use crate::secret::Secret;

const PREFIX: &str = "tbk_";
const ID_DIGITS: usize = 8;
/// 62^43 is just above 2^256.
const SECRET_DIGITS: usize = 43;
const CHECK_DIGITS: usize = 6;

/// How long a key lives if nothing else is asked for.
pub const KEY_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The service that it is for: the principal's name.
    pub name: String,
    /// The service's groups.
    pub groups: Vec<String>,
    /// What an operator wants to remember of it.
    pub note: String,
    /// Who has it made.
    pub created_by: String,
    /// How long it lives.
    pub lifetime: Duration,
}

/// A key that was made or rotated; its secret is nowhere else.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    /// What is kept of it.
    pub key: AccessKey,
    /// The whole key, for its holder.
    pub secret: Secret,
}

/// Why a key was not made or rotated.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A name or group is empty, longer than 256 bytes, or holds control characters.
    #[error("`{0}` is no name: 1 to 256 bytes without control characters")]
    Name(String),
    /// There is no such key, or it is revoked.
    #[error("there is no key `{0}` that could be rotated; `tollbook keys list` shows them")]
    Unknown(String),
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system failed.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Makes a key. Blocks on the disk.
///
/// # Errors
/// See [`KeyError`].
pub fn issue_key(state: &State, new: &NewKey, now: u64) -> Result<IssuedKey, KeyError> {
    for name in std::iter::once(&new.name).chain(&new.groups) {
        if name.trim().is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
            return Err(KeyError::Name(name.clone()));
        }
    }
    loop {
        let id = random::digits(ID_DIGITS)?;
        let secret = fresh(&id)?;
        let key = AccessKey {
            id,
            name: new.name.clone(),
            groups: new.groups.clone(),
            note: new.note.clone(),
            created: now,
            created_by: new.created_by.clone(),
            expires: now.saturating_add(new.lifetime.as_secs()),
            revoked: None,
            used: None,
            digest: Hash::of(secret.as_bytes()),
            previous: None,
        };
        // An id that is taken is as rare as a lottery's first prize, and not an error.
        if state.add_key(&key)? {
            return Ok(IssuedKey { key, secret: Secret::new(secret) });
        }
    }
}

/// Gives a key another secret and `lifetime` from now; the one before lives on for `overlap`. Blocks on the disk.
///
/// # Errors
/// See [`KeyError`].
pub fn rotate_key(
    state: &State,
    id: &str,
    lifetime: Duration,
    overlap: Duration,
    now: u64,
) -> Result<IssuedKey, KeyError> {
    let unknown = || KeyError::Unknown(id.to_owned());
    let secret = fresh(id)?;
    let expires = now.saturating_add(lifetime.as_secs());
    let until = now.saturating_add(overlap.as_secs());
    if !state.rotate_key(id, Hash::of(secret.as_bytes()), until, expires)? {
        return Err(unknown());
    }
    let key = state.key(id)?.ok_or_else(unknown)?;
    Ok(IssuedKey { key, secret: Secret::new(secret) })
}

/// Whether a credential claims to be a service key.
pub(crate) fn is_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// The part of a key that may be shown; the check digits hold.
pub(crate) fn id_of(text: &str) -> Result<&str, Reason> {
    let (checked, digits) =
        text.split_at_checked(text.len().saturating_sub(CHECK_DIGITS)).ok_or(Reason::KeyForm)?;
    let (id, secret) =
        checked.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).ok_or(Reason::KeyForm)?;
    let whole = id.len() == ID_DIGITS && secret.len() == SECRET_DIGITS;
    if whole && check(checked) == digits { Ok(id) } else { Err(Reason::KeyForm) }
}

/// Whether the presented key is the one that is kept, and holds now.
pub(crate) fn holds(kept: &AccessKey, presented: Hash, now: u64) -> Result<(), Reason> {
    let is = |digest: &Hash| constant_time::verify_slices_are_equal(&digest.0, &presented.0).is_ok();
    let until = match &kept.previous {
        _ if is(&kept.digest) => kept.expires,
        Some((previous, until)) if is(previous) => *until,
        _ => return Err(Reason::KeyNotKnown),
    };
    if kept.revoked.is_some() {
        return Err(Reason::KeyRevoked);
    }
    if now < until { Ok(()) } else { Err(Reason::KeyExpired) }
}

fn fresh(id: &str) -> Result<String, NoRandomness> {
    let checked = format!("{PREFIX}{id}_{}", random::digits(SECRET_DIGITS)?);
    let digits = check(&checked);
    Ok(checked + &digits)
}

fn check(text: &str) -> String {
    random::number(crc32c::crc32c(text.as_bytes()), CHECK_DIGITS)
}

#[cfg(test)]
mod tests {
    use super::{check, fresh, id_of};

    #[test]
    fn a_key_is_told_by_its_form() {
        let key = fresh("abcd1234").unwrap();
        assert_eq!(key.len(), 4 + 8 + 1 + 43 + 6);
        assert_eq!(id_of(&key), Ok("abcd1234"));
        for at in 0..key.len() {
            let mut other = key.clone().into_bytes();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            assert!(id_of(&String::from_utf8(other).unwrap()).is_err(), "altered at {at}");
        }
        assert!(id_of("tbk_").is_err() && id_of("").is_err() && id_of("tbk_äöüäöü").is_err());
        assert_eq!(check("tbk_00000000_"), check("tbk_00000000_"));
        assert_ne!(fresh("abcd1234"), fresh("abcd1234"));
    }
}
