//! Identifiers as types: what one names cannot be taken for another.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const HASH_FORM: &str = "43 characters of base64url";

/// Why a text is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `{0}`")]
pub struct IdError(&'static str);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $form:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str($prefix)?;
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix).and_then(unhex).map($name).ok_or(IdError($form))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Parsed($form, PhantomData))
            }
        }
    };
}

id!(
    /// A run, as `run_` and 32 hexadecimal digits. Random: names nobody.
    RunId, "run_", "run_ and 32 hexadecimal digits"
);
id!(
    /// A call, as `call_` and 32 hexadecimal digits: a UUIDv7 (RFC 9562), so calls sort by time.
    CallId, "call_", "call_ and 32 hexadecimal digits"
);
id!(
    /// A key-encryption key, as `kek_` and 32 hexadecimal digits. Random.
    KekId, "kek_", "kek_ and 32 hexadecimal digits"
);

impl RunId {
    /// A run id of random bytes.
    pub fn new(random: [u8; 16]) -> RunId {
        RunId(random)
    }
}

impl CallId {
    /// A call id of the time (milliseconds since the Unix epoch) and random bytes, per RFC 9562 §5.7.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> CallId {
        let mut bytes = [0; 16];
        let (time, rest) = bytes.split_at_mut(6);
        let [_, _, ms @ ..] = unix_ms.to_be_bytes();
        time.copy_from_slice(&ms);
        rest.copy_from_slice(&random);
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = 0x70 | (*version & 0x0f);
        *variant = 0x80 | (*variant & 0x3f);
        CallId(bytes)
    }
}

/// A record's place in its log, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The next place.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A SHA-256 digest; as text base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash::from_digest(&digest(&SHA256, bytes))
    }

    /// Sixty-four hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn from_digest(digest: &aws_lc_rs::digest::Digest) -> Hash {
        let mut hash = [0; 32];
        hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Hash(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Hash {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Hash, IdError> {
        // Room for what 43 characters could hold at most: a leaf has some twenty of these, none worth an allocation.
        let mut room = [0; 36];
        let length = if text.len() == 43 { URL_SAFE_NO_PAD.decode_slice(text, &mut room).ok() } else { None };
        match room.first_chunk().filter(|_| length == Some(32)) {
            Some(bytes) => Ok(Hash(*bytes)),
            None => Err(IdError(HASH_FORM)),
        }
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        deserializer.deserialize_str(Parsed(HASH_FORM, PhantomData))
    }
}

/// Reads an id from a text that is not copied.
struct Parsed<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err = IdError>> de::Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    // One spelling per id: upper case is refused.
    if digits.len() != 32 || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    u128::from_str_radix(text, 16)
        .ok()
        .filter(|_| digits.iter().all(u8::is_ascii_hexdigit))
        .map(u128::to_be_bytes)
}
