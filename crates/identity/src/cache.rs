//! What was verified, by the digest of the token, so that an ordinary call costs no signature check.
//!
//! Two halves: when the young one is full it becomes the old one, and what the old one held is forgotten unless it is
//! used again. So memory is bounded whatever is presented, and nothing scans.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ledger::Hash;

/// Entries of a half.
const HALF: usize = 2048;

#[derive(Debug)]
pub(crate) struct Cache<T> {
    /// Locked for one look-up.
    halves: Mutex<Halves<T>>,
}

#[derive(Debug)]
struct Halves<T> {
    young: HashMap<Hash, Arc<T>>,
    old: HashMap<Hash, Arc<T>>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Cache { halves: Mutex::new(Halves { young: HashMap::new(), old: HashMap::new() }) }
    }
}

impl<T> Cache<T> {
    pub(crate) fn find(&self, key: &Hash) -> Option<Arc<T>> {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = halves.young.get(key) {
            return Some(Arc::clone(found));
        }
        let found = halves.old.remove(key)?;
        halves.put(*key, Arc::clone(&found));
        Some(found)
    }

    pub(crate) fn keep(&self, key: Hash, value: Arc<T>) {
        self.halves.lock().unwrap_or_else(PoisonError::into_inner).put(key, value);
    }
}

impl<T> Halves<T> {
    fn put(&mut self, key: Hash, value: Arc<T>) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ledger::Hash;

    use super::{Cache, HALF};

    #[test]
    fn what_is_used_stays_and_the_rest_is_bounded() {
        let cache = Cache::default();
        let key = |n: usize| Hash::of(&n.to_be_bytes());
        for n in 0..10 * HALF {
            cache.keep(key(n), Arc::new(n));
            assert_eq!(cache.find(&key(0)).as_deref(), Some(&0), "after {n}");
        }
        let left = (0..10 * HALF).filter(|n| cache.find(&key(*n)).is_some()).count();
        assert!(left <= 2 * HALF + 1, "{left}");
        assert!(cache.find(&key(10 * HALF - 1)).is_some(), "the newest");
    }
}
