//! Arguments as Cedar values of their declared types.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{ExpressionConstructionError, RestrictedExpression};
use serde_json::value::RawValue;

use crate::pin::{PinError, legible};
use crate::raw::{Number, Raw, read};
use crate::typing::{Field, Fields, Slot, Type};

/// Arguments that fit.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) arguments: Vec<(String, Fit)>,
    /// Names that the schema does not list, nested ones with dots.
    pub(crate) unlisted: BTreeSet<String>,
}

/// A value that fits its type. In Cedar's terms only when a policy reads it: a decimal takes Cedar longer than all else.
#[derive(Debug)]
pub(crate) enum Fit {
    Text(String),
    /// JSON without a type, as it was sent.
    Json(String),
    Bool(bool),
    Long(i64),
    /// Ten-thousandths.
    Decimal(i64),
    Set(Vec<Fit>),
    /// No name twice.
    Record(Vec<(String, Fit)>),
}

impl Fit {
    pub(crate) fn into_cedar(self) -> Result<RestrictedExpression, NoValue> {
        Ok(match self {
            // In one spelling: what a policy compares must not depend on escapes and white space.
            Fit::Json(json) => RestrictedExpression::new_string(legible(&json)?),
            Fit::Text(text) => RestrictedExpression::new_string(text),
            Fit::Bool(value) => RestrictedExpression::new_bool(value),
            Fit::Long(value) => RestrictedExpression::new_long(value),
            Fit::Decimal(scaled) => RestrictedExpression::new_decimal(decimal(scaled)),
            Fit::Set(elements) => {
                let elements: Result<Vec<_>, _> = elements.into_iter().map(Fit::into_cedar).collect();
                RestrictedExpression::new_set(elements?)
            }
            Fit::Record(members) => {
                let mut record = Vec::with_capacity(members.len());
                for (name, fit) in members {
                    record.push((name, fit.into_cedar()?));
                }
                RestrictedExpression::new_record(record)?
            }
        })
    }
}

/// Why what fits its type cannot be put.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoValue {
    #[error(transparent)]
    Cedar(#[from] ExpressionConstructionError),
    #[error("an argument without a type is nested too deeply, or names a member twice")]
    Json(#[from] PinError),
}

/// Why arguments do not fit. Names an argument, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    #[error("the arguments are no JSON object whose members are named once")]
    NoObject,
    #[error("argument `{0}` is required")]
    Missing(String),
    #[error("an argument is named as `{0}` in another case")]
    Spelling(String),
    #[error("argument `{0}` does not fit its declared type: expected {1}")]
    Type(String, &'static str),
}

/// Fits the arguments of a call, as they were sent.
pub(crate) fn arguments(fields: &Fields, json: Option<&str>) -> Result<Fitted, Misfit> {
    let mut fitting = Fitting { path: Vec::new(), unlisted: BTreeSet::new() };
    let arguments = fitting.members(fields, members(json)?)?;
    Ok(Fitted { arguments, unlisted: fitting.unlisted })
}

/// Fits the arguments of a prompt of which nobody knows what it declares: texts, and none of them listed.
pub(crate) fn texts(json: Option<&str>) -> Result<Fitted, Misfit> {
    let mut fitting = Fitting { path: Vec::new(), unlisted: BTreeSet::new() };
    let mut arguments = Vec::new();
    for (name, raw) in members(json)? {
        fitting.path.push(name.clone());
        let value = fitting.value(&Type::Text, raw.get())?;
        fitting.path.pop();
        fitting.unlisted.insert(name.clone());
        arguments.extend(value.map(|value| (name, value)));
    }
    Ok(Fitted { arguments, unlisted: fitting.unlisted })
}

fn members(json: Option<&str>) -> Result<Vec<(String, &RawValue)>, Misfit> {
    match json.map(read) {
        None | Some(Some(Raw::Null)) => Ok(Vec::new()),
        Some(Some(Raw::Members(members))) => Ok(members),
        Some(_) => Err(Misfit::NoObject),
    }
}

struct Fitting {
    path: Vec<String>,
    unlisted: BTreeSet<String>,
}

impl Fitting {
    fn members(
        &mut self,
        fields: &Fields,
        members: Vec<(String, &RawValue)>,
    ) -> Result<Vec<(String, Fit)>, Misfit> {
        let mut record = Vec::with_capacity(members.len());
        // Few calls have a name that is not listed.
        let mut listed: Option<BTreeMap<String, &str>> = None;
        for (name, raw) in members {
            self.path.push(name);
            let field = self.path.last().and_then(|name| fields.0.get(name));
            let value = match field {
                Some(Field { kind, .. }) => self.value(kind, raw.get())?,
                None => {
                    let listed = listed.get_or_insert_with(|| {
                        fields.0.keys().map(|name| (folded(name), name.as_str())).collect()
                    });
                    if let Some(last) = self.path.last_mut()
                        && let Some(name) = listed.get(&folded(last))
                    {
                        (*name).clone_into(last);
                        return Err(Misfit::Spelling(self.path.join(".")));
                    }
                    self.unlisted.insert(self.path.join("."));
                    None
                }
            };
            let name = self.path.pop().unwrap_or_default();
            record.extend(value.map(|value| (name, value)));
        }
        for (name, field) in &fields.0 {
            if field.required && !record.iter().any(|(present, _)| present == name) {
                self.path.push(name.clone());
                return Err(Misfit::Missing(self.path.join(".")));
            }
        }
        Ok(record)
    }

    /// A value of a type; `None` for null, which is read as absent.
    fn value(&mut self, kind: &Type, json: &str) -> Result<Option<Fit>, Misfit> {
        let raw = read(json).ok_or_else(|| self.misfit(kind))?;
        let value = match (kind, raw) {
            (_, Raw::Null) => return Ok(None),
            (Type::Json, _) => Fit::Json(json.to_owned()),
            (Type::Text, Raw::Text(text)) => Fit::Text(text),
            (Type::Bool, Raw::Bool(value)) => Fit::Bool(value),
            (Type::Long, Raw::Number(text)) => {
                let whole = Number::of(text).and_then(|number| number.scaled(0));
                Fit::Long(whole.ok_or_else(|| self.misfit(kind))?)
            }
            (Type::Decimal, Raw::Number(text)) => {
                let scaled = Number::of(text).and_then(|number| number.scaled(4));
                Fit::Decimal(scaled.ok_or_else(|| self.misfit(kind))?)
            }
            (Type::Set(slot), Raw::List(elements)) => self.set(slot, &elements)?,
            (Type::Record(fields), Raw::Members(members)) => Fit::Record(self.members(fields, members)?),
            _ => return Err(self.misfit(kind)),
        };
        Ok(Some(value))
    }

    fn set(&mut self, slot: &Slot, elements: &[&RawValue]) -> Result<Fit, Misfit> {
        let mut set = Vec::with_capacity(elements.len());
        for element in elements {
            match self.value(&slot.kind, element.get())? {
                Some(value) => set.push(value),
                None if slot.nullable => {}
                None => return Err(self.misfit(&slot.kind)),
            }
        }
        Ok(Fit::Set(set))
    }

    fn misfit(&self, kind: &Type) -> Misfit {
        Misfit::Type(self.path.join("."), kind.name())
    }
}

/// Ten-thousandths as Cedar writes decimals.
fn decimal(scaled: i64) -> String {
    let sign = if scaled < 0 { "-" } else { "" };
    let magnitude = scaled.unsigned_abs();
    format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000)
}

/// A name without case. Servers that read into structures, as Go's `encoding/json` does, take one spelling for another: by
/// Unicode, where U+017F is an `s`.
fn folded(name: &str) -> String {
    let small = name.chars().flat_map(char::to_lowercase);
    small.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}
