//! What can be told of a message that was not read to its end, or was refused.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::message::{IdBuf, is_id};

/// The beginning of a message: its id, and whether it asks or answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Glimpse {
    id: Option<IdBuf>,
    ids: usize,
    has_method: bool,
    has_outcome: bool,
}

impl Glimpse {
    /// Reads a JSON text that may be cut off anywhere.
    pub(super) fn of(text: &[u8]) -> Glimpse {
        let mut glimpse = Glimpse::default();
        // It ends with an error where the text does: what was seen before stays.
        let _ = serde_json::Deserializer::from_slice(text).deserialize_map(Members(&mut glimpse));
        glimpse
    }

    /// The id of the request that it asks.
    pub fn asked(&self) -> Option<&IdBuf> {
        self.id.as_ref().filter(|_| self.ids == 1 && self.has_method && !self.has_outcome)
    }

    /// The id of the request that it answers.
    pub fn answered(&self) -> Option<&IdBuf> {
        self.id.as_ref().filter(|_| self.ids == 1 && self.has_outcome && !self.has_method)
    }

    /// Whether it may be the answer to any request.
    pub fn may_answer(&self) -> bool {
        !self.has_method
    }
}

struct Members<'a>(&'a mut Glimpse);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<String>()? {
            match key.as_str() {
                "id" => {
                    self.0.ids += 1;
                    let id: &'de RawValue = members.next_value()?;
                    self.0.id = is_id(id).then(|| IdBuf::of_raw(id.get()));
                    continue;
                }
                "method" => self.0.has_method = true,
                "result" | "error" => self.0.has_outcome = true,
                _ => {}
            }
            members.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
