//! What Cedar type an argument has, by its JSON Schema. The table is in `docs/policy.md`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::scan::quoted;

/// How deep references and objects are followed; what is deeper is text.
const DEPTH: usize = 12;

/// How many places a schema may have in all; what comes after is text. References can make a small schema a huge one.
const PLACES: usize = 4096;

/// A type of arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// Any JSON, as its text in one spelling.
    Json,
    Text,
    Bool,
    Long,
    Decimal,
    Set(Box<Slot>),
    Record(Fields),
}

/// A place for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) kind: Type,
    /// Whether null is a value; it is read as absent.
    pub(crate) nullable: bool,
}

/// A member of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) kind: Type,
    pub(crate) required: bool,
}

/// The members of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(pub(crate) BTreeMap<String, Field>);

impl Fields {
    /// The arguments of a tool by its `inputSchema`; `None` if that is no JSON object.
    pub(crate) fn of_schema(json: &str) -> Option<Fields> {
        let root: Value = serde_json::from_str(json).ok()?;
        root.as_object()?;
        let mut reader = Reader { root: &root, places: PLACES, trail: Vec::new() };
        let schema = reference(&root).and_then(|pointer| reader.resolve(pointer)).unwrap_or(&root);
        Some(reader.fields(schema, 0))
    }

    /// Texts, none required: the arguments of a prompt.
    pub(crate) fn of_texts(names: &[String]) -> Fields {
        let field = Field { kind: Type::Text, required: false };
        Fields(names.iter().map(|name| (name.clone(), field.clone())).collect())
    }

    /// The record type as Cedar's schemas write it.
    pub(crate) fn to_cedar(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('{');
        for (name, field) in &self.0 {
            out.push_str(&quoted(name));
            out.push_str(if field.required { ": " } else { "?: " });
            field.kind.write(out);
            out.push_str(", ");
        }
        out.push('}');
    }
}

impl Type {
    fn write(&self, out: &mut String) {
        match self {
            Type::Json | Type::Text => out.push_str("String"),
            Type::Bool => out.push_str("Bool"),
            Type::Long => out.push_str("Long"),
            Type::Decimal => out.push_str("decimal"),
            Type::Set(slot) => {
                out.push_str("Set<");
                slot.kind.write(out);
                out.push('>');
            }
            Type::Record(fields) => fields.write(out),
        }
    }

    /// What was expected, for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Type::Json => "JSON",
            Type::Text => "a string",
            Type::Bool => "a boolean",
            Type::Long => "an integer of 64 bits",
            Type::Decimal => "a number with at most 4 decimal places",
            Type::Set(_) => "an array",
            Type::Record(_) => "an object",
        }
    }
}

impl Slot {
    fn of(kind: Type) -> Slot {
        Slot { kind, nullable: false }
    }

    /// A slot for whatever JSON there is, null among it.
    fn json() -> Slot {
        Slot { kind: Type::Json, nullable: true }
    }
}

/// Reads schemas of one document.
struct Reader<'a> {
    root: &'a Value,
    places: usize,
    /// The references being followed: one that comes again is a cycle.
    trail: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn slot(&mut self, schema: &'a Value, depth: usize) -> Slot {
        let Some(members) = schema.as_object() else { return Slot::json() };
        if depth > DEPTH || self.places == 0 {
            return Slot::json();
        }
        self.places -= 1;
        match members.get("type") {
            Some(Value::String(name)) => return self.named(name, schema, depth),
            Some(Value::Array(names)) => return self.nullable(names, schema, depth),
            Some(_) => return Slot::json(),
            None => {}
        }
        if let Some(pointer) = reference(schema) {
            return self.follow(pointer, depth);
        }
        if let Some(slot) = closed(members) {
            return slot;
        }
        let union = ["anyOf", "oneOf", "allOf"].iter().find_map(|word| members.get(*word));
        union.and_then(Value::as_array).map_or_else(Slot::json, |choices| self.choice(choices, depth))
    }

    /// One of several schemas: typed if, beside null, there is one.
    fn choice(&mut self, choices: &'a [Value], depth: usize) -> Slot {
        let is_null = |choice: &&Value| choice.get("type").is_some_and(|name| name == "null");
        let nullable = choices.iter().any(|choice| is_null(&choice));
        let mut others = choices.iter().filter(|choice| !is_null(choice));
        match (others.next(), others.next()) {
            (Some(one), None) => {
                let slot = self.slot(one, depth + 1);
                Slot { nullable: slot.nullable || nullable, ..slot }
            }
            _ => Slot { kind: Type::Json, nullable },
        }
    }

    /// A list of types: typed if, beside null, there is one.
    fn nullable(&mut self, names: &'a [Value], schema: &'a Value, depth: usize) -> Slot {
        let nullable = names.iter().any(|name| name == "null");
        let mut others = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
        match (others.next(), others.next()) {
            (Some(one), None) => Slot { nullable, ..self.named(one, schema, depth) },
            _ => Slot { kind: Type::Json, nullable },
        }
    }

    fn named(&mut self, name: &str, schema: &'a Value, depth: usize) -> Slot {
        match name {
            "string" => Slot::of(Type::Text),
            "boolean" => Slot::of(Type::Bool),
            "integer" => Slot::of(Type::Long),
            "number" => Slot::of(Type::Decimal),
            "array"
                if schema.get("prefixItems").is_none()
                    && !schema.get("items").is_some_and(Value::is_array) =>
            {
                let slot = schema.get("items").map_or_else(Slot::json, |items| self.slot(items, depth + 1));
                Slot::of(Type::Set(Box::new(slot)))
            }
            "object" => {
                let fields = self.fields(schema, depth);
                Slot::of(if fields.0.is_empty() { Type::Json } else { Type::Record(fields) })
            }
            "array" => Slot::of(Type::Json),
            _ => Slot::json(),
        }
    }

    fn fields(&mut self, schema: &'a Value, depth: usize) -> Fields {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut fields = BTreeMap::new();
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let slot = self.slot(schema, depth + 1);
            let required = required.contains(&name.as_str()) && !slot.nullable;
            fields.insert(name.clone(), Field { kind: slot.kind, required });
        }
        Fields(fields)
    }

    fn follow(&mut self, pointer: &'a str, depth: usize) -> Slot {
        let Some(target) = self.resolve(pointer).filter(|_| !self.trail.contains(&pointer)) else {
            return Slot::json();
        };
        self.trail.push(pointer);
        let slot = self.slot(target, depth + 1);
        self.trail.pop();
        slot
    }

    /// The definition in this document that a reference names. Nothing is fetched.
    fn resolve(&self, pointer: &str) -> Option<&'a Value> {
        let pointer = pointer.strip_prefix('#')?;
        let local = ["/$defs/", "/definitions/"].iter().any(|folder| pointer.starts_with(folder));
        if local { self.root.pointer(pointer) } else { None }
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str)
}

/// A list of allowed values without a type: texts if all are, null aside.
fn closed(members: &Map<String, Value>) -> Option<Slot> {
    let values = match (members.get("enum"), members.get("const")) {
        (Some(Value::Array(values)), _) => values.as_slice(),
        (None, Some(value)) => std::slice::from_ref(value),
        _ => return None,
    };
    let texts = values.iter().any(Value::is_string)
        && values.iter().all(|value| value.is_string() || value.is_null());
    let slot = Slot { kind: Type::Text, nullable: values.iter().any(Value::is_null) };
    Some(if texts { slot } else { Slot { kind: Type::Json, ..slot } })
}
