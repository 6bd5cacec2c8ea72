//! The system's randomness, for spreading attempts.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// A random number. Without randomness attempts are not spread, and still made.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u64::from_be_bytes(bytes),
        Err(_) => u64::MAX,
    }
}
