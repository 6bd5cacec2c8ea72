//! What is kept of a task, sealed: AES-256-GCM under a key that HKDF-SHA256 makes of the task's id. Who has the database alone
//! reads nothing: of the id it has the digest.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;

/// What a key is made for.
const PURPOSE: &[u8] = b"tollbook task v1";

/// One of the things that are kept of a task; one is not taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What is called.
    Call,
    /// What the server asks, or how it ended.
    Said,
}

/// Seals and opens what is kept of one task.
pub(crate) struct Key(LessSafeKey);

impl Key {
    /// The key of a task; `None`: the cipher cannot be used.
    pub(crate) fn of(id: &str) -> Option<Key> {
        let secret = Salt::new(HKDF_SHA256, &[]).extract(id.as_bytes());
        let key = secret.expand(&[PURPOSE], &AES_256_GCM).ok()?;
        Some(Key(LessSafeKey::new(UnboundKey::from(key))))
    }

    /// Seals what is kept, each time with another nonce.
    pub(crate) fn seal(&self, part: Part, kept: &impl Serialize) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = clock::random();
        let mut bytes = serde_json::to_string(kept).ok()?.into_bytes();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(unique, part.aad(), &mut bytes).ok()?;
        Some([&nonce[..], &bytes].concat())
    }

    /// Opens it; `None`: it is not what was sealed.
    pub(crate) fn open<T: DeserializeOwned>(&self, part: Part, sealed: &[u8]) -> Option<T> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = rest.to_vec();
        let opened =
            self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), part.aad(), &mut bytes).ok()?;
        serde_json::from_slice(opened).ok()
    }
}

impl Part {
    fn aad(self) -> Aad<&'static [u8]> {
        Aad::from(match self {
            Part::Call => b"call".as_slice(),
            Part::Said => b"said".as_slice(),
        })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Part};

    #[test]
    fn opens_for_who_has_the_id_and_as_what_it_was() {
        let key = Key::of("tollbook.0.task-a").expect("a key");
        let sealed = key.seal(Part::Call, &"an amount").expect("sealed");
        assert!(!sealed.windows(6).any(|part| part == b"amount"), "it is not readable");
        assert_ne!(sealed, key.seal(Part::Call, &"an amount").expect("sealed"), "never the same twice");
        assert_eq!(key.open(Part::Call, &sealed), Some("an amount".to_owned()));
        assert_eq!(key.open::<String>(Part::Said, &sealed), None);
        assert_eq!(Key::of("tollbook.0.task-b").expect("a key").open::<String>(Part::Call, &sealed), None);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key.open::<String>(Part::Call, &altered), None, "byte {at}");
        }
        assert_eq!(key.open::<String>(Part::Call, &sealed[..5]), None);
    }
}
