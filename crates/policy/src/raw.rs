//! JSON read one level at a time: numbers and what is not looked into keep their text, a member named twice is refused.

use std::fmt;

use serde::de::{self, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// One level of a JSON value.
#[derive(Debug)]
pub(crate) enum Raw<'a> {
    Null,
    Bool(bool),
    /// The number as written.
    Number(&'a str),
    Text(String),
    List(Vec<&'a RawValue>),
    /// In the order in which they are written; no name twice.
    Members(Vec<(String, &'a RawValue)>),
}

/// Reads one level; `None` if it is no JSON or names a member twice.
pub(crate) fn read(json: &str) -> Option<Raw<'_>> {
    let json = json.trim_matches([' ', '\t', '\n', '\r']);
    match json.as_bytes().first()? {
        b'{' | b'[' | b'"' | b't' | b'f' | b'n' => {
            let mut reader = serde_json::Deserializer::from_str(json);
            let raw = reader.deserialize_any(Level).ok()?;
            reader.end().ok()?;
            Some(raw)
        }
        _ => {
            // Read as a raw value to be sure that it is a number; the text is the value.
            let raw: &RawValue = serde_json::from_str(json).ok()?;
            Some(Raw::Number(raw.get()))
        }
    }
}

struct Level;

impl<'de> Visitor<'de> for Level {
    type Value = Raw<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw<'de>, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw<'de>, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw<'de>, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = access.next_element()? {
            list.push(element);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw<'de>, A::Error> {
        let mut members: Vec<(String, &RawValue)> = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if names.array_windows().any(|[a, b]| a == b) {
            return Err(de::Error::custom("a member is named twice"));
        }
        Ok(Raw::Members(members))
    }
}

/// A number without loss: `digits × 10^exponent`, digits without zeros at either end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) negative: bool,
    /// Empty for zero.
    pub(crate) digits: String,
    pub(crate) exponent: i64,
}

impl Number {
    /// Reads a JSON number; `None` if its exponent is beyond all measure.
    pub(crate) fn of(text: &str) -> Option<Number> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0').trim_end_matches('0');
        if digits.is_empty() {
            return Some(Number { negative: false, digits: String::new(), exponent: 0 });
        }
        let zeros = all.len() - all.trim_end_matches('0').len();
        let power: i64 = power.strip_prefix('+').unwrap_or(power).parse().ok()?;
        let shift = i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
        Some(Number { negative, digits: digits.to_owned(), exponent: power.checked_add(shift)? })
    }

    /// The number times `10^scale`, if that is a whole number of 64 bits.
    pub(crate) fn scaled(&self, scale: i64) -> Option<i64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let power = u32::try_from(self.exponent.checked_add(scale)?).ok()?;
        let digits: i128 = self.digits.parse().ok()?;
        let whole = digits.checked_mul(10_i128.checked_pow(power)?)?;
        i64::try_from(if self.negative { -whole } else { whole }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Number, Raw, read};

    #[test]
    fn numbers_are_exact() {
        let scaled = |text: &str, scale| Number::of(text).and_then(|number| number.scaled(scale));
        for (text, scale, expected) in [
            ("0", 0, Some(0)),
            ("-0.0", 4, Some(0)),
            ("5.0", 0, Some(5)),
            ("1e3", 0, Some(1000)),
            ("1.5", 0, None),
            ("1.5", 4, Some(15_000)),
            ("0.0001", 4, Some(1)),
            ("0.00001", 4, None),
            ("100e-2", 0, Some(1)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("-9223372036854775808", 0, Some(i64::MIN)),
            ("9223372036854775808", 0, None),
            ("1e400", 0, None),
            ("1e99999999999999999999", 0, None),
        ] {
            assert_eq!(scaled(text, scale), expected, "{text}");
        }
    }

    #[test]
    fn a_member_named_twice_is_refused() {
        assert!(read(r#"{"a":1,"\u0061":2}"#).is_none());
        assert!(
            matches!(read(r#" {"a":{"b":1,"b":2}} "#), Some(Raw::Members(members)) if members.len() == 1)
        );
        assert!(read("1 2").is_none());
        assert!(read("nul").is_none());
        assert!(matches!(read("-1.50"), Some(Raw::Number("-1.50"))));
    }
}
