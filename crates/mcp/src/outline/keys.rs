//! The keys of the open objects, as digests: equal keys have equal digests, so none that comes twice is missed.
//!
//! Two different keys with one digest would be taken for equal, and the message refused: by chance once in 2^28 messages of the
//! largest sort, on purpose to the harm of its sender alone.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::message::ParseError;

/// Keys of all open objects together.
const KEYS: usize = 1 << 18;
/// Keys of one object that are compared one by one.
const FEW: usize = 16;

#[derive(Debug, Default)]
pub(super) struct OpenKeys {
    few: Vec<u64>,
    objects: Vec<OpenObject>,
    count: usize,
}

#[derive(Debug)]
struct OpenObject {
    start: usize,
    many: HashSet<u64>,
}

impl OpenKeys {
    /// Begins an object.
    pub(super) fn open(&mut self) {
        self.objects.push(OpenObject { start: self.few.len(), many: HashSet::new() });
    }

    /// Adds a key of the innermost object.
    pub(super) fn insert(&mut self, key: &str) -> Result<(), ParseError> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let digest = hasher.finish();
        let object = self.objects.last_mut().ok_or(ParseError::NotJson)?;
        let few = self.few.get(object.start..).unwrap_or_default();
        if few.contains(&digest) {
            return Err(ParseError::DuplicateKey);
        }
        if few.len() < FEW {
            self.few.push(digest);
        } else if !object.many.insert(digest) {
            return Err(ParseError::DuplicateKey);
        }
        self.count += 1;
        if self.count > KEYS { Err(ParseError::TooManyMembers) } else { Ok(()) }
    }

    /// Ends the innermost object.
    pub(super) fn close(&mut self) {
        if let Some(object) = self.objects.pop() {
            self.count -= self.few.len() - object.start + object.many.len();
            self.few.truncate(object.start);
        }
    }
}
