//! Pins: whether a tool's definition is the one that was accepted, what changed in it, and what is odd about it.
//!
//! Takes definitions as they were sent. Everything that a definition holds counts, known or not: it reaches the model.

mod inspect;

use ledger::Hash;
use ledger::json::{Object, push_string};

use crate::raw::{Number, Raw, read};

pub use inspect::{Finding, Names, Oddity, inspect};

/// How deep a definition may be nested.
const DEPTH: usize = 64;

/// Why a definition cannot be pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It is no JSON object, or one that parsers read differently.
    #[error("the definition is no JSON object whose members are named once")]
    NoObject,
    /// It is nested too deeply.
    #[error("the definition is nested more than {DEPTH} levels deep")]
    TooDeep,
}

/// A difference between two definitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The member, with dots, as in `inputSchema.properties.path`.
    pub member: String,
    /// Its canonical JSON before; `None` if it is new.
    pub before: Option<String>,
    /// Its canonical JSON now; `None` if it is gone.
    pub after: Option<String>,
}

/// The digest that pins a definition: SHA-256 of its canonical form. See `docs/formats/policy.md`.
pub fn digest(definition: &str) -> Result<Hash, PinError> {
    let Some(Raw::Members(_)) = read(definition) else { return Err(PinError::NoObject) };
    canonical(definition).map(|text| Hash::of(text.as_bytes()))
}

/// What changed between two definitions, by member; empty if their digests are the same.
pub fn changes(before: &str, after: &str) -> Result<Vec<Change>, PinError> {
    let mut found = Vec::new();
    compare("", [Some(before), Some(after)], DEPTH, &mut found)?;
    Ok(found)
}

fn compare(
    path: &str,
    sides: [Option<&str>; 2],
    depth: usize,
    found: &mut Vec<Change>,
) -> Result<(), PinError> {
    let depth = depth.checked_sub(1).ok_or(PinError::TooDeep)?;
    let [before, after] = sides;
    if let (Some(Raw::Members(before)), Some(Raw::Members(after))) =
        (before.and_then(read), after.and_then(read))
    {
        let mut names: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let of = |members: &[(String, &'_ serde_json::value::RawValue)]| {
                members.iter().find(|(other, _)| other == name).map(|(_, raw)| raw.get().to_owned())
            };
            let (before, after) = (of(&before), of(&after));
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            compare(&path, [before.as_deref(), after.as_deref()], depth, found)?;
        }
        return Ok(());
    }
    let (before, after) = (before.map(canonical).transpose()?, after.map(canonical).transpose()?);
    if before != after {
        found.push(Change { member: path.to_owned(), before, after });
    }
    Ok(())
}

/// JSON in one spelling: members in bytewise order, strings as RFC 8785 has them, numbers without needless digits.
pub(crate) fn canonical(json: &str) -> Result<String, PinError> {
    let mut out = String::new();
    push(json, DEPTH, push_number, &mut out)?;
    Ok(out)
}

/// The same with numbers as people write them: what policies compare.
pub(crate) fn legible(json: &str) -> Result<String, PinError> {
    let mut out = String::new();
    push(json, DEPTH, push_decimal, &mut out)?;
    Ok(out)
}

fn push(json: &str, depth: usize, number: fn(&str, &mut String), out: &mut String) -> Result<(), PinError> {
    let depth = depth.checked_sub(1).ok_or(PinError::TooDeep)?;
    match read(json).ok_or(PinError::NoObject)? {
        Raw::Null => out.push_str("null"),
        Raw::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Raw::Number(text) => number(text, out),
        Raw::Text(text) => push_string(out, &text),
        Raw::List(elements) => {
            out.push('[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                push(element.get(), depth, number, out)?;
            }
            out.push(']');
        }
        Raw::Members(mut members) => {
            members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            let mut object = Object::begin(out);
            for (name, raw) in members {
                let mut value = String::new();
                push(raw.get(), depth, number, &mut value)?;
                object.raw(&name, &value);
            }
            object.end();
        }
    }
    Ok(())
}

/// `1`, `1.0` and `10e-1` are one number, whatever wrote it: whole numbers of up to twenty digits stand as such, others
/// as their digits without zeros at the ends and an exponent.
fn push_number(text: &str, out: &mut String) {
    match Number::of(text) {
        Some(Number { digits, .. }) if digits.is_empty() => out.push('0'),
        Some(Number { negative, digits, exponent }) => {
            out.push_str(if negative { "-" } else { "" });
            out.push_str(&digits);
            match usize::try_from(exponent) {
                Ok(zeros) if zeros.saturating_add(digits.len()) <= 20 => out.push_str(&"0".repeat(zeros)),
                _ => out.push_str(&format!("e{exponent}")),
            }
        }
        // An exponent beyond 64 bits: as written.
        None => out.push_str(text),
    }
}

/// `1.50` and `15e-1` as `1.5`; with more than twenty places behind the point, or zeros before it, as [`push_number`].
fn push_decimal(text: &str, out: &mut String) {
    let point = match Number::of(text) {
        Some(Number { negative, digits, exponent }) if (-20..0).contains(&exponent) => {
            Some((negative, digits, exponent.unsigned_abs()))
        }
        _ => None,
    };
    let Some((negative, digits, places)) = point else { return push_number(text, out) };
    let places = usize::try_from(places).unwrap_or_default();
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    out.push_str(if negative { "-" } else { "" });
    out.push_str(&format!("{whole}.{fraction}"));
}

#[cfg(test)]
mod tests {
    use super::legible;

    #[test]
    fn a_value_has_one_spelling() {
        for (written, spelled) in [
            ("1.50", "1.5"),
            ("15e-1", "1.5"),
            ("-0.0015", "-0.0015"),
            ("-1.5e-3", "-0.0015"),
            ("10e-1", "1"),
            ("-0", "0"),
            ("1e3", "1000"),
            ("1e-21", "1e-21"),
            ("12e30", "12e30"),
            ("1E+2", "100"),
            (
                r#" { "b" : [ 1 , 2.0 ] , "\u0061" : "\u002eenv\/\ud83d\ude00\t" } "#,
                "{\"a\":\".env/😀\\t\",\"b\":[1,2]}",
            ),
        ] {
            assert_eq!(legible(written).unwrap(), spelled, "{written}");
        }
    }
}
