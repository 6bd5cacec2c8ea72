//! Passwords of operators: Argon2id (RFC 9106), since people choose them.
//!
//! Kept as a PHC string, so that the costs can be raised later. Long ones are good ones; no rules of composition (NIST SP
//! 800-63B §3.1.1).

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::random::{self, NoRandomness};

/// Fewest characters.
const LEAST: usize = 12;

/// Most bytes; longer texts are not even digested.
pub(super) const MOST: usize = 1024;

/// What every digest of ours begins with: 19 MiB, two passes, one lane.
const HEAD: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// Whether a password may be used by who is called that; why not.
pub(super) fn check(password: &str, name: &str) -> Result<(), &'static str> {
    if password.len() > MOST {
        return Err("a password has at most 1024 bytes");
    }
    if password.chars().count() < LEAST {
        return Err("a password has at least 12 characters; several words make a good one");
    }
    if password.trim().to_lowercase() == name.to_lowercase() {
        return Err("the name is no password");
    }
    Ok(())
}

/// What is kept of a password. Takes tens of milliseconds, and 19 MiB meanwhile.
pub(super) fn digest(password: &str) -> Result<String, NoRandomness> {
    let salt = random::bytes::<16>()?;
    // Fails for parameters that the algorithm does not have; ours it has.
    let digest = derive(password, &salt).ok_or(NoRandomness)?;
    Ok(format!("{HEAD}{}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest)))
}

/// Whether a password is the one of which that is kept. Takes as long if nothing is kept: time does not tell who is known.
pub(super) fn is(password: &str, kept: Option<&str>) -> bool {
    let known = kept.and_then(read);
    let (salt, expected) = known.clone().unwrap_or_else(|| (vec![0; 16], vec![0; 32]));
    let Some(found) = derive(password, &salt) else { return false };
    let is_same = constant_time::verify_slices_are_equal(&found, &expected).is_ok();
    is_same && known.is_some()
}

fn read(kept: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (salt, digest) = kept.strip_prefix(HEAD)?.split_once('$')?;
    let read = |text: &str| STANDARD_NO_PAD.decode(text).ok();
    read(salt).zip(read(digest))
}

fn derive(password: &str, salt: &[u8]) -> Option<[u8; 32]> {
    let parameters = Params::new(19_456, 2, 1, Some(32)).ok()?;
    let mut out = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    argon.hash_password_into(password.as_bytes(), salt, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{check, digest, is};

    #[test]
    fn a_password_is_told_from_others() {
        let kept = digest("correct horse battery").unwrap();
        assert!(is("correct horse battery", Some(&kept)));
        assert!(!is("correct horse batterz", Some(&kept)) && !is("", Some(&kept)));
        assert!(!is("", None) && !is("correct horse battery", Some("")));
        assert_ne!(digest("correct horse battery").unwrap(), kept, "salted");
    }

    #[test]
    fn only_length_and_the_name_count() {
        for (password, expected) in [
            ("short", Some("12 characters")),
            ("äöüäöüäöüäöü", None),
            ("aaaaaaaaaaaa", None),
            ("Mira.Longname", Some("the name")),
            (&*"a".repeat(1025), Some("1024 bytes")),
        ] {
            let found = check(password, "mira.longname").err();
            let is = found.zip(expected).map_or(found == expected, |(found, part)| found.contains(part));
            assert!(is, "{password}: {found:?}");
        }
    }
}
