//! Strict reading: what two JSON parsers could understand differently is an error before anybody acts on it.
//!
//! JavaScript and Python keep the last of two equal keys, Go matches names without case, others refuse. Whoever decides on
//! one reading while the server acts on another decides nothing.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::message::ParseError;

/// Names that policy and routing read in `params`.
const PARAMS: [&str; 7] = ["name", "arguments", "uri", "_meta", "taskId", "ref", "notifications"];

/// Names that they read one level below.
const BELOW: [(&str, &[&str]); 2] = [
    ("ref", &["type", "name", "uri"]),
    (
        "notifications",
        &["resourceSubscriptions", "toolsListChanged", "promptsListChanged", "resourcesListChanged"],
    ),
];

/// Checks a value through all its depth: no object has a key twice, strings are sound, nesting is bounded (128, by the
/// JSON parser). Where names are read no key is a case variant of one.
pub(crate) fn check_params(params: &RawValue) -> Result<(), ParseError> {
    check(params.get(), (&PARAMS, &BELOW))
}

/// Names that say within a result what a server asks of the client.
const RESULT: [&str; 2] = ["resultType", "inputRequests"];

/// Names that say so within an error, and below.
const ERROR: [&str; 2] = ["code", "data"];
const BELOW_ERROR: [(&str, &[&str]); 1] = [("data", &["elicitations"])];

/// Checks a result as parameters are checked, by the names that are read there.
pub(crate) fn check_result(result: &RawValue) -> Result<(), ParseError> {
    check(result.get(), (&RESULT, &[]))
}

/// Checks an error so.
pub(crate) fn check_error(error: &RawValue) -> Result<(), ParseError> {
    check(error.get(), (&ERROR, &BELOW_ERROR))
}

/// Checks a value top to bottom for equal keys.
pub(crate) fn check_value(value: &RawValue) -> Result<(), ParseError> {
    check(value.get(), (&[], &[]))
}

fn check(text: &str, (names, below): (&[&str], &[(&str, &[&str])])) -> Result<(), ParseError> {
    let state = State::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = Strict { names, below, state: &state }.deserialize(&mut deserializer);
    match (outcome, state.fault.take()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(fault)) => Err(fault),
        (Err(error), None) if error.to_string().starts_with("recursion limit") => Err(ParseError::TooDeep),
        (Err(_), None) => Err(ParseError::NotJson),
    }
}

#[derive(Clone, Copy)]
struct Strict<'a, 'de> {
    names: &'a [&'a str],
    below: &'a [(&'a str, &'a [&'a str])],
    state: &'a State<'de>,
}

/// What the objects of one value share.
#[derive(Default)]
struct State<'de> {
    /// Where the first fault is put, since a JSON error carries text alone.
    fault: Cell<Option<ParseError>>,
    /// Borrowed between two steps of the parser only.
    keys: RefCell<Keys<'de>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_, 'de> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = Strict { names: &[], below: &[], state: self.state };
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut scope = self.state.keys.borrow().open();
        while let Some(Key(key)) = members.next_key()? {
            if let Some(name) = variant_of(&key, self.names) {
                self.state.fault.set(Some(ParseError::CaseVariant(name.to_owned())));
                return Err(de::Error::custom("case variant"));
            }
            let below = self.below.iter().find(|(name, _)| *name == key);
            let names = below.map_or(&[] as &[&str], |(_, names)| names);
            if !self.state.keys.borrow_mut().insert(&mut scope, key) {
                self.state.fault.set(Some(ParseError::DuplicateKey));
                return Err(de::Error::custom("duplicate key"));
            }
            members.next_value_seed(Strict { names, below: &[], state: self.state })?;
        }
        self.state.keys.borrow_mut().close(scope);
        Ok(())
    }
}

/// The name that a key spells in another case. Go's `encoding/json` folds by Unicode, where U+017F is an `s` and U+212A a
/// `k`; no other letter outside ASCII folds into it.
pub(crate) fn variant_of<'a>(key: &str, names: &[&'a str]) -> Option<&'a str> {
    let is_variant = |name: &str| {
        if key.is_ascii() { key.eq_ignore_ascii_case(name) } else { folded(key).eq(folded(name)) }
    };
    names.iter().find(|name| key != **name && is_variant(name)).copied()
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    })
}

/// A key, borrowed where it has no escapes.
pub(crate) struct Key<'de>(pub(crate) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The keys of an object and of those around it, on one stack: a message costs one allocation and not one per object.
#[derive(Default)]
pub(crate) struct Keys<'de> {
    stack: Vec<Cow<'de, str>>,
}

/// The keys of one object: compared one by one while they are few, by a tree beyond that.
pub(crate) struct Scope<'de> {
    start: usize,
    many: BTreeSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    const FEW: usize = 16;

    /// Begins an object.
    pub(crate) fn open(&self) -> Scope<'de> {
        Scope { start: self.stack.len(), many: BTreeSet::new() }
    }

    /// `false` if the key was there. Objects opened later must be closed by then.
    pub(crate) fn insert(&mut self, scope: &mut Scope<'de>, key: Cow<'de, str>) -> bool {
        let few = self.stack.get(scope.start..).unwrap_or_default();
        if few.contains(&key) {
            return false;
        }
        if few.len() < Self::FEW {
            self.stack.push(key);
            return true;
        }
        scope.many.insert(key)
    }

    /// Ends an object.
    #[expect(clippy::needless_pass_by_value, reason = "a scope ends once")]
    pub(crate) fn close(&mut self, scope: Scope<'de>) {
        self.stack.truncate(scope.start);
    }
}
