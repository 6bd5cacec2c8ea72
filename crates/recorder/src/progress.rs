//! What the committer tells the publisher: how far the log is durable, and the book at each segment's start.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::book::Book;
use crate::wal::Position;
use crate::wal::scan::Anchor;

/// Shared by the two threads. The lock is held for a copy only.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    /// Something became durable, or the end.
    advanced: Condvar,
    /// The end.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    durable: Position,
    /// Books at the starts of segments, oldest first; taken by the publisher. Bounded by the number of
    /// segments on disk.
    books: Vec<(Anchor, Book)>,
    end: Option<End>,
}

/// How the publisher is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Publish everything first.
    Orderly,
    /// At once, as if the process had been killed.
    Abandoned,
}

impl Progress {
    pub(crate) fn advance(&self, durable: Position) {
        self.lock().durable = durable;
        self.advanced.notify_all();
    }

    pub(crate) fn keep_book(&self, anchor: Anchor, book: Book) {
        self.lock().books.push((anchor, book));
    }

    pub(crate) fn end(&self, how: End) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(how);
        }
        drop(state);
        self.advanced.notify_all();
        self.ended.notify_all();
    }

    pub(crate) fn durable(&self) -> Position {
        self.lock().durable
    }

    pub(crate) fn ending(&self) -> Option<End> {
        self.lock().end
    }

    /// Takes the newest book of a segment that begins at or before `size`, and forgets older ones.
    pub(crate) fn take_book(&self, size: u64) -> Option<(Anchor, Book)> {
        let mut state = self.lock();
        let ripe = state.books.iter().take_while(|(anchor, _)| anchor.first_seq <= size).count();
        state.books.drain(..ripe).next_back()
    }

    /// Waits until there is more than `size`, or the end.
    pub(crate) fn wait_beyond(&self, size: u64) {
        let mut state = self.lock();
        while state.durable.size <= size && state.end.is_none() {
            state = self.advanced.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for a time, or the end.
    pub(crate) fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.lock();
        while state.end.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let (woken, _) = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = woken;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is a single assignment or push.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
