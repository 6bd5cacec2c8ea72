//! Things that wait for somebody who knows their secret: logins, codes. Kept by the secret's digest, so that looking one
//! up tells nothing by its time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use ledger::Hash;

/// Things at a time. Beginning a login needs no credentials.
const MOST: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Shelf<T> {
    /// Locked for one look-up.
    things: Mutex<Things<T>>,
}

#[derive(Debug)]
struct Things<T> {
    by: HashMap<Hash, (u64, T)>,
    /// The same by when they go, so that what is over goes with the next that comes.
    ends: BTreeSet<(u64, Hash)>,
}

/// No place left.
#[derive(Debug)]
pub(crate) struct Full;

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Shelf { things: Mutex::new(Things { by: HashMap::new(), ends: BTreeSet::new() }) }
    }
}

impl<T> Shelf<T> {
    pub(crate) fn put(&self, secret: &str, thing: T, until: u64, now: u64) -> Result<(), Full> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, over)) = things.ends.first().copied().filter(|(end, _)| *end <= now) {
            things.remove(over);
        }
        if things.by.len() >= MOST {
            return Err(Full);
        }
        let digest = Hash::of(secret.as_bytes());
        things.remove(digest);
        things.by.insert(digest, (until, thing));
        things.ends.insert((until, digest));
        Ok(())
    }

    /// Takes a thing out: it is given once.
    pub(crate) fn take(&self, secret: &str, now: u64) -> Option<T> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, thing) = things.remove(Hash::of(secret.as_bytes()))?;
        (now < until).then_some(thing)
    }
}

impl<T> Things<T> {
    fn remove(&mut self, digest: Hash) -> Option<(u64, T)> {
        let (until, thing) = self.by.remove(&digest)?;
        self.ends.remove(&(until, digest));
        Some((until, thing))
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Shelf};

    #[test]
    fn what_is_over_goes_as_others_come() {
        let shelf = Shelf::default();
        for (secret, until) in [("short", 110), ("long", 120), ("short", 115)] {
            shelf.put(secret, secret, until, 100).unwrap();
        }
        let held = || {
            let things = shelf.things.lock().unwrap();
            (things.by.len(), things.ends.len())
        };
        assert_eq!(held(), (2, 2), "one secret stands once");
        shelf.put("other", "other", 900, 114).unwrap();
        assert_eq!(held(), (3, 3), "the first was put anew");
        shelf.put("other", "other", 900, 115).unwrap();
        assert_eq!(held(), (2, 2));
        assert_eq!(shelf.take("long", 119), Some("long"));
        assert_eq!((shelf.take("long", 119), held()), (None, (1, 1)), "it is given once");
    }

    #[test]
    fn there_is_an_end_of_places() {
        let shelf = Shelf::default();
        for number in 0..MOST {
            shelf.put(&number.to_string(), (), 200, 100).unwrap();
        }
        assert!(shelf.put("one more", (), 300, 199).is_err());
        assert!(shelf.put("one more", (), 300, 200).is_ok(), "the others are over");
    }
}
