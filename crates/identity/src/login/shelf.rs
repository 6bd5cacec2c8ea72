//! Things that wait for somebody who knows their secret: logins, codes. Kept by the secret's digest, so that looking one
//! up tells nothing by its time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ledger::Hash;

/// Things at a time. Beginning a login needs no credentials.
const MOST: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Shelf<T> {
    /// Locked for one look-up.
    things: Mutex<HashMap<Hash, (u64, T)>>,
}

/// No place left.
#[derive(Debug)]
pub(crate) struct Full;

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Shelf { things: Mutex::default() }
    }
}

impl<T> Shelf<T> {
    pub(crate) fn put(&self, secret: &str, thing: T, until: u64, now: u64) -> Result<(), Full> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        if things.len() >= MOST {
            things.retain(|_, (until, _)| now < *until);
        }
        if things.len() >= MOST {
            return Err(Full);
        }
        things.insert(Hash::of(secret.as_bytes()), (until, thing));
        Ok(())
    }

    /// Takes a thing out: it is given once.
    pub(crate) fn take(&self, secret: &str, now: u64) -> Option<T> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, thing) = things.remove(&Hash::of(secret.as_bytes()))?;
        (now < until).then_some(thing)
    }
}
