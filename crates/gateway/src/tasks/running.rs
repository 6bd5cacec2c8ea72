//! The tasks whose calls are being made by this process. One that is begun by the state's word and is not among them was lost
//! with the process that made it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ledger::Hash;
use tokio::sync::watch;

/// The tasks under way.
#[derive(Debug, Default, Clone)]
pub(crate) struct Running {
    /// Each closes when its task is no more under way. Locked for single look-ups and changes.
    ends: Arc<Mutex<HashMap<Hash, watch::Receiver<()>>>>,
}

/// A task's place among them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    running: Running,
    digest: Hash,
    _end: watch::Sender<()>,
}

impl Running {
    /// Takes the place of a task; `None`: somebody has it.
    pub(crate) fn enter(&self, digest: Hash) -> Option<Place> {
        let mut ends = self.ends();
        if ends.contains_key(&digest) {
            return None;
        }
        let (end, heard) = watch::channel(());
        ends.insert(digest, heard);
        Some(Place { running: self.clone(), digest, _end: end })
    }

    /// Resolves when nobody has the place of that task.
    pub(crate) async fn over(&self, digest: Hash) {
        let heard = self.ends().get(&digest).cloned();
        if let Some(mut heard) = heard {
            // Nothing is ever sent: it closes.
            let _ = heard.changed().await;
        }
    }

    /// Resolves when no task is under way.
    pub(crate) async fn all_over(&self) {
        loop {
            let Some(digest) = self.ends().keys().next().copied() else { return };
            self.over(digest).await;
        }
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<Hash, watch::Receiver<()>>> {
        // No panic can happen between the changes made under this lock.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.ends().remove(&self.digest);
    }
}

#[cfg(test)]
mod tests {
    use ledger::Hash;

    use super::Running;

    #[tokio::test]
    async fn a_place_is_taken_once_and_free_again() {
        let (running, digest) = (Running::default(), Hash::of(b"a task"));
        running.over(digest).await;
        let place = running.enter(digest).expect("it is free");
        assert!(running.enter(digest).is_none());
        let waiting = tokio::spawn({
            let running = running.clone();
            async move { running.all_over().await }
        });
        drop(place);
        waiting.await.expect("it hears");
        running.over(digest).await;
        assert!(running.enter(digest).is_some());
    }
}
