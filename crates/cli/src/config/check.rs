//! Keys and kinds of values against the published schema, before the file is read: all mistakes at once, in the words of who
//! writes the file. What is wrong is taken out, so that the rest can be read and its mistakes told too.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Alike enough to be meant.
const ALIKE: f32 = 0.7;

/// A mistake and its place in the text.
pub(super) type Fault = (usize, String);

/// Takes out what the schema does not know.
pub(super) fn prune(table: &mut Spanned<DeTable<'_>>) -> Vec<Fault> {
    let schema = serde_json::from_str(include_str!("../../../../docs/tollbook.schema.json"));
    // The schema's tests read it; a broken one checks nothing, and the reader still does.
    let Ok(root) = schema else { return Vec::new() };
    let mut check = Check { root: &root, faults: Vec::new() };
    let at = table.span().start;
    check.section(table.get_mut(), &root, ("", at));
    check.faults
}

struct Check<'a> {
    root: &'a Value,
    faults: Vec<Fault>,
}

impl Check<'_> {
    /// `false`: the section lacks something and is of no use.
    fn section(&mut self, table: &mut DeTable<'_>, schema: &Value, (name, at): (&str, usize)) -> bool {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing: Vec<&str> = required.filter(|key| !table.contains_key(*key)).collect();
        let mut is_whole = missing.is_empty();
        for (key, mut value) in std::mem::take(table) {
            let Some(wanted) = of_key(schema, key.get_ref()) else {
                let text = self.unknown(key.get_ref(), schema);
                self.faults.push((key.span().start, text));
                continue;
            };
            if self.value(&mut value, wanted, &key) {
                table.insert(key, value);
            } else if schema["oneOf"].is_array() && ["url", "command"].contains(&key.get_ref().as_ref()) {
                // A server that has it, wrong as it is, does not lack it.
                is_whole = false;
            }
        }
        for key in &missing {
            self.faults.push((at, format!("`[{name}]` needs `{key}`")));
        }
        is_whole
    }

    fn value(
        &mut self,
        value: &mut Spanned<DeValue<'_>>,
        schema: &Value,
        key: &Spanned<DeString<'_>>,
    ) -> bool {
        let name = key.get_ref();
        if let DeValue::Table(table) = value.get_mut()
            && schema["type"] == "object"
        {
            return self.section(table, schema, (name, key.span().start));
        }
        let fits = is_of(value.get_ref(), schema);
        if !fits {
            self.faults.push((value.span().start, format!("`{name}` is {}", kind(schema, name))));
        }
        fits
    }

    fn unknown(&self, key: &str, schema: &Value) -> String {
        let mut known: Vec<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(k, _)| k.as_str()).collect();
        known.sort_unstable();
        if let Some(meant) = similar::get_close_matches(key, &known, 1, ALIKE).first() {
            return format!("there is no `{key}`; did you mean `{meant}`?");
        }
        let sections = self.root["properties"].as_object().into_iter().flatten();
        let mut home = sections
            .filter(|(_, section)| of_key(section, key).is_some_and(|_| section["properties"].is_object()));
        if let Some((section, _)) = home.next() {
            return format!("`{key}` belongs into `[{section}]`");
        }
        let server = of_key(self.root, "servers").and_then(|servers| of_key(servers, ""));
        if server.is_some_and(|server| server["properties"].get(key).is_some()) {
            return format!("`{key}` belongs into a server's section, like `[servers.files]`");
        }
        let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
        format!("there is no `{key}` here; there is {}", known.join(", "))
    }
}

fn of_key<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let named = schema["properties"].get(key);
    named.or_else(|| Some(&schema["additionalProperties"]).filter(|others| others.is_object()))
}

fn is_of(value: &DeValue<'_>, schema: &Value) -> bool {
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|schema| is_of(value, schema));
    }
    match (value, schema["type"].as_str()) {
        (DeValue::String(_), Some("string")) | (DeValue::Boolean(_), Some("boolean")) => true,
        (DeValue::Integer(number), Some("integer")) => {
            let least = schema["minimum"].as_u64().unwrap_or(0);
            let most = schema["maximum"].as_u64().unwrap_or(i64::MAX as u64);
            let number = u64::from_str_radix(number.as_str(), number.radix());
            number.is_ok_and(|number| (least..=most).contains(&number))
        }
        (DeValue::Array(items), Some("array")) => {
            items.iter().all(|item| is_of(item.get_ref(), &schema["items"]))
        }
        _ => false,
    }
}

/// What a value of this kind is, for people.
fn kind(schema: &Value, name: &str) -> String {
    if schema["anyOf"].is_array() {
        return "a program and its arguments, like `[\"npx\", \"-y\", \"server\"]`".to_owned();
    }
    match schema["type"].as_str() {
        Some("string") => "a text in quotes".to_owned(),
        Some("boolean") => "`true` or `false`, without quotes".to_owned(),
        Some("array") => "a list of texts, like `[\"-y\", \"server\"]`".to_owned(),
        Some("object") => format!("a section: write `[{name}]` and its keys below"),
        _ => match (schema["minimum"].as_u64().unwrap_or(0), schema["maximum"].as_u64()) {
            (least, Some(most)) => format!("a whole number from {least} to {most}"),
            (least, None) => format!("a whole number of at least {least}"),
        },
    }
}
