//! Random bytes and texts, from the system.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// The system's random source failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's random source failed")]
pub struct NoRandomness;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A text of random base62 digits, each as likely as the others.
pub(crate) fn digits(length: usize) -> Result<String, NoRandomness> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        // Bytes that would make the first digits likelier are passed over.
        let even = bytes::<64>()?.into_iter().filter(|byte| *byte < 248);
        let missing = length - text.len();
        text.extend(
            even.take(missing).filter_map(|byte| DIGITS.get(usize::from(byte % 62))).map(|d| char::from(*d)),
        );
    }
    Ok(text)
}

/// A number as base62 digits, padded to a width.
pub(crate) fn number(mut number: u32, width: usize) -> String {
    let mut reversed = Vec::with_capacity(width);
    while reversed.len() < width {
        reversed
            .extend(usize::try_from(number % 62).ok().and_then(|at| DIGITS.get(at)).map(|d| char::from(*d)));
        number /= 62;
    }
    reversed.into_iter().rev().collect()
}
