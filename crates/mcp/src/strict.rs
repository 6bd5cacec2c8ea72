//! Strict reading: what two JSON parsers could understand differently is an error before anybody acts on it.
//!
//! JavaScript and Python keep the last of two equal keys, Go matches names without case, others refuse. Whoever decides on
//! one reading while the server acts on another decides nothing.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::message::ParseError;

/// Names that policy and routing read in `params`.
const PARAMS: [&str; 5] = ["name", "arguments", "uri", "_meta", "taskId"];

/// Checks a value through all its depth: no object has a key twice, strings are sound, nesting is bounded (128, by the
/// JSON parser). In its top level no key is a case variant of a name that is read.
pub(crate) fn check_params(params: &RawValue) -> Result<(), ParseError> {
    check(params.get(), &PARAMS)
}

/// Checks an answer's top level and depth for equal keys.
pub(crate) fn check_value(value: &RawValue) -> Result<(), ParseError> {
    check(value.get(), &[])
}

fn check(text: &str, names: &[&str]) -> Result<(), ParseError> {
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = Strict { names, fault: &fault }.deserialize(&mut deserializer);
    match (outcome, fault.take()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(fault)) => Err(fault),
        (Err(error), None) if error.to_string().starts_with("recursion limit") => Err(ParseError::TooDeep),
        (Err(_), None) => Err(ParseError::NotJson),
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    names: &'a [&'a str],
    /// Where the first fault is put, since a JSON error carries text alone.
    fault: &'a Cell<Option<ParseError>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
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
        let inner = Strict { names: &[], fault: self.fault };
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = Strict { names: &[], fault: self.fault };
        let mut keys = Keys::default();
        while let Some(Key(key)) = members.next_key()? {
            if let Some(name) = variant_of(&key, self.names) {
                self.fault.set(Some(ParseError::CaseVariant(name.to_owned())));
                return Err(de::Error::custom("case variant"));
            }
            if !keys.insert(key) {
                self.fault.set(Some(ParseError::DuplicateKey));
                return Err(de::Error::custom("duplicate key"));
            }
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// The name that a key spells in another case.
pub(crate) fn variant_of<'a>(key: &str, names: &[&'a str]) -> Option<&'a str> {
    names.iter().find(|name| key != **name && key.eq_ignore_ascii_case(name)).copied()
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

/// The keys of one object: compared one by one while they are few, by a set beyond that.
#[derive(Default)]
pub(crate) struct Keys<'de> {
    few: Vec<Cow<'de, str>>,
    many: std::collections::HashSet<Cow<'de, str>>,
}

impl<'de> Keys<'de> {
    const FEW: usize = 16;

    /// `false` if the key was there.
    pub(crate) fn insert(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}
