//! Metadata documents that could not be had just now. They are not tried again for a while, so that who names one over and over does
//! not take the few places for fetching from everybody else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::fetch::{FetchError, Place};

/// Seconds until a document is tried again.
const REST: u64 = 30;

/// Failures that are remembered; beyond that the oldest is forgotten.
const MOST: usize = 1024;

/// Who failed, and when.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// By URL, or by host and port where nobody is there. Locked for one look.
    at: Mutex<HashMap<String, u64>>,
}

impl Failures {
    /// Whether a document or its host has failed just now.
    pub(super) fn has(&self, id: &str, place: &Place, now: u64) -> bool {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |key: &str| at.get(key).is_some_and(|failed| now.abs_diff(*failed) < REST);
        is_fresh(id) || is_fresh(&place.authority())
    }

    /// Remembers that a document could not be fetched.
    pub(super) fn note_fetch(&self, id: &str, place: &Place, error: &FetchError, now: u64) {
        // A host that does not answer does not for any of its documents. What it answers is about the one alone: else anybody could
        // have a host's true documents passed over.
        let is_away =
            matches!(error, FetchError::Resolve(..) | FetchError::Connect(..) | FetchError::Slow(_));
        self.note(if is_away { place.authority() } else { id.to_owned() }, now);
    }

    /// Remembers that a document is none of a client.
    pub(super) fn note_document(&self, id: &str, now: u64) {
        self.note(id.to_owned(), now);
    }

    fn note(&self, key: String, now: u64) {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.len() >= MOST {
            at.retain(|_, failed| now.abs_diff(*failed) < REST);
        }
        if at.len() >= MOST
            && let Some(oldest) = at.iter().min_by_key(|(_, failed)| **failed).map(|(key, _)| key.clone())
        {
            at.remove(&oldest);
        }
        at.insert(key, now);
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, MOST};
    use crate::fetch::{FetchError, Place};

    #[test]
    fn a_host_that_is_away_is_for_all_its_documents_and_a_wrong_document_for_itself() {
        let place = |url: &str| Place::parse(url).unwrap();
        let has = |failures: &Failures, url: &str, now| failures.has(url, &place(url), now);
        let (one, other) = ("https://app.example/1", "https://APP.example:443/2");
        let slow = FetchError::Slow(String::new());
        let answers = FetchError::Status(String::new(), http::StatusCode::NOT_FOUND);
        for (error, hits_other) in [(slow, true), (answers, false)] {
            let failures = Failures::default();
            failures.note_fetch(one, &place(one), &error, 100);
            for now in [100, 129] {
                assert!(has(&failures, one, now), "{error} {now}");
                assert_eq!(has(&failures, other, now), hits_other, "{error} {now}");
            }
            assert!(!has(&failures, one, 130) && !has(&failures, other, 130), "{error}");
            assert!(!has(&failures, "https://app.example:8443/1", 100), "another port is somebody else");
        }
    }

    #[test]
    fn few_are_remembered() {
        let failures = Failures::default();
        for number in 0..MOST + 9 {
            failures.note_document(&format!("https://app.example/{number}"), 100);
        }
        failures.note_document("https://app.example/last", 101);
        assert_eq!(failures.at.lock().unwrap().len(), MOST);
        let last = Place::parse("https://app.example/last").unwrap();
        assert!(failures.has("https://app.example/last", &last, 101));
    }
}
