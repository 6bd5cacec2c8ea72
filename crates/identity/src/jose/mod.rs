//! JOSE, as little of it as is needed: compact signatures with public keys (RFC 7515, 7517, 7518, 8037).
//!
//! What is not here cannot be confused: there is no HMAC, no `none`, no encryption. The mathematics is `aws-lc-rs`'s.

mod algorithm;
mod jws;
mod key;
mod signer;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use algorithm::Algorithm;
pub(crate) use jws::{Embedded, Jws, TOKEN_BYTES};
pub(crate) use key::{Choice, Key, KeySet};
pub(crate) use signer::Signer;

/// Base64url without padding; one text only for each sequence of bytes.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
