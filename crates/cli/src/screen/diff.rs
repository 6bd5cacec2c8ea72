//! What changed between the arguments of two calls, path by path. Pure.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A difference; the values are JSON as it crossed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added { path: String, now: String },
    Removed { path: String, was: String },
    Changed { path: String, was: String, now: String },
}

/// The differences, in the order of their paths; `None` if one of the two is no JSON.
pub(super) fn changes(was: &[u8], now: &[u8]) -> Option<Vec<Change>> {
    let (was, now) = (leaves(was)?, leaves(now)?);
    let mut changes: Vec<Change> = Vec::new();
    for (path, was) in &was {
        let path = path.clone();
        match now.get(&path) {
            None => changes.push(Change::Removed { path, was: was.clone() }),
            Some(now) if now != was => {
                changes.push(Change::Changed { path, was: was.clone(), now: now.clone() });
            }
            Some(_) => {}
        }
    }
    let added = now.into_iter().filter(|(path, _)| !was.contains_key(path));
    changes.extend(added.map(|(path, now)| Change::Added { path, now }));
    changes.sort_by(|a, b| a.path().cmp(b.path()));
    Some(changes)
}

impl Change {
    fn path(&self) -> &str {
        match self {
            Change::Added { path, .. } | Change::Removed { path, .. } | Change::Changed { path, .. } => path,
        }
    }
}

fn leaves(json: &[u8]) -> Option<BTreeMap<String, String>> {
    let value: &RawValue = serde_json::from_slice(json).ok()?;
    let mut found = BTreeMap::new();
    collect(value, "", &mut found);
    Some(found)
}

fn collect(value: &RawValue, path: &str, found: &mut BTreeMap<String, String>) {
    let text = value.get();
    if let Some(members) = object(text).filter(|members| !members.is_empty()) {
        for (name, value) in members {
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            collect(value, &path, found);
        }
    } else if let Some(elements) = array(text).filter(|elements| !elements.is_empty()) {
        for (index, value) in elements.into_iter().enumerate() {
            collect(value, &format!("{path}[{index}]"), found);
        }
    } else {
        found.insert(path.to_owned(), text.to_owned());
    }
}

fn object(text: &str) -> Option<BTreeMap<String, &RawValue>> {
    text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
}

fn array(text: &str) -> Option<Vec<&RawValue>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{Change, changes};

    #[test]
    fn paths_that_differ() {
        let was = br#"{"amount":9000,"to":{"iban":"DE00"},"tags":["a","b"],"id":12345678901234567890123}"#;
        let now =
            br#"{"id":12345678901234567890124,"amount":4200,"to":{"iban":"DE00","name":"x"},"tags":["a"]}"#;
        let text = str::to_owned;
        assert_eq!(
            changes(was, now).unwrap(),
            [
                Change::Changed { path: text("amount"), was: text("9000"), now: text("4200") },
                Change::Changed {
                    path: text("id"),
                    was: text("12345678901234567890123"),
                    now: text("12345678901234567890124")
                },
                Change::Removed { path: text("tags[1]"), was: text("\"b\"") },
                Change::Added { path: text("to.name"), now: text("\"x\"") },
            ]
        );
        assert_eq!(changes(br#"{"a":[]}"#, br#"{"a":[1]}"#).unwrap().len(), 2);
        assert_eq!(changes(b"{", b"{}"), None);
    }
}
