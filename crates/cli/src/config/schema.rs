//! The JSON Schema of `tollbook.toml`: made from the types that read the file, published as `docs/tollbook.schema.json`, and
//! kept equal to the parser and to the page that explains the keys. `UPDATE_EXPECT=1` writes it anew.
//!
//! Defaults are taken from what an empty file means, so that neither the schema nor the page can promise another one.

use std::collections::BTreeSet;

use expect_test::expect_file;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{Config, ConfigFile, interpret};
use crate::environment::Environment;

/// A key's own schema, by path: `limits.drain_seconds`, `servers.NAME.url`.
type Keys<'a> = Vec<(String, &'a Value)>;

/// Settings for editors: no references, which some of them follow badly, and the draft that all of them know.
fn generated() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<ConfigFile>().to_value();
    plain(&mut schema);
    schema["title"] = json!("tollbook.toml");
    for (path, value) in defaults() {
        let key = schema.pointer_mut(&format!("/properties/{}", path.replace('.', "/properties/"))).unwrap();
        let description = format!("{} Default: {value}.", key["description"].as_str().unwrap());
        key["description"] = json!(description);
        key["default"] = value;
    }
    schema
}

/// Takes out what TOML does not have (null) and what only one generator knows (`uint64`).
fn plain(schema: &mut Value) {
    let is_null = |value: &Value| value == "null" || *value == json!({"type": "null"});
    if let Value::Object(object) = schema {
        object.remove("format");
        for name in ["type", "anyOf"] {
            let Some(Value::Array(all)) = object.get_mut(name) else { continue };
            all.retain(|each| !is_null(each));
            if let [only] = all.as_slice() {
                let only = only.clone();
                object.remove(name);
                if let Value::Object(inner) = only {
                    object.extend(inner.into_iter().filter(|(key, _)| key != "description"));
                } else {
                    object.insert(name.to_owned(), only);
                }
            }
        }
        object.values_mut().for_each(plain);
    } else if let Value::Array(all) = schema {
        all.iter_mut().for_each(plain);
    }
}

/// What an empty file means, for the keys that have a value then.
fn defaults() -> Vec<(&'static str, Value)> {
    let Config { listen, limits, ledger, .. } = interpret("t.toml", "", &Environment::read()).unwrap();
    vec![
        ("listen", json!(listen.to_string())),
        ("limits.request_bytes", json!(limits.request_bytes)),
        ("limits.message_bytes", json!(limits.message_bytes)),
        ("limits.header_bytes", json!(limits.header_bytes)),
        ("limits.request_seconds", json!(limits.request_wait.as_secs())),
        ("limits.connect_seconds", json!(limits.connect_wait.as_secs())),
        ("limits.answer_seconds", json!(limits.answer_wait.as_secs())),
        ("limits.silence_seconds", json!(limits.silence.as_secs())),
        ("limits.idle_seconds", json!(limits.idle.as_secs())),
        ("limits.drain_seconds", json!(limits.drain.as_secs())),
        ("ledger.reserve_bytes", json!(ledger.refuse_bytes)),
        ("ledger.reserve_percent", json!(ledger.refuse_percent)),
        ("ledger.segment_bytes", json!(ledger.segment_bytes)),
        ("ledger.pack_bytes", json!(ledger.pack_bytes)),
    ]
}

/// The example of the page, in which each key stands once.
fn example() -> &'static str {
    let page = include_str!("../../../../docs/configuration.md");
    page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap()
}

/// Tables by the header that opens them, each with its schema.
fn tables<'a>(schema: &'a Value, path: &str, found: &mut Keys<'a>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    found.push((path.to_owned(), schema));
    for (name, inner) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        tables(inner, &path, found);
        tables(&inner["additionalProperties"], &format!("{path}.NAME"), found);
    }
}

fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> =
        object.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default();
    names.sort_unstable();
    names
}

/// What a value has against a schema, for the words that ours uses.
fn mistakes(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = any.iter().any(|each| mistakes(each, value, path).is_empty());
        return if fits { Vec::new() } else { vec![format!("{path}: fits nothing")] };
    }
    let mut found = Vec::new();
    let fits = match schema["type"].as_str().unwrap_or_else(|| panic!("{path} has no type")) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64(),
        other => panic!("{path}: {other}"),
    };
    let is_known = schema["enum"].as_array().is_none_or(|all| all.contains(value));
    let is_enough =
        schema["minimum"].as_f64().is_none_or(|least| value.as_f64().is_none_or(|it| it >= least));
    let is_within = schema["maximum"].as_f64().is_none_or(|most| value.as_f64().is_none_or(|it| it <= most));
    if !(fits && is_known && is_enough && is_within) {
        found.push(format!("{path}: {value}"));
    }
    for (name, inner) in value.as_object().unwrap_or(&Map::new()) {
        let path = format!("{path}/{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Object(_)) => {
                found.extend(mistakes(&schema["additionalProperties"], inner, &path));
            }
            (Value::Null, _) => found.push(format!("{path}: unknown")),
            (key, _) => found.extend(mistakes(key, inner, &path)),
        }
    }
    for (at, inner) in value.as_array().filter(|_| fits).into_iter().flatten().enumerate() {
        found.extend(mistakes(&schema["items"], inner, &format!("{path}/{at}")));
    }
    if let Some(one) = schema["oneOf"].as_array() {
        let has_all = |each: &&Value| {
            each["required"].as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some())
        };
        if one.iter().filter(has_all).count() != 1 {
            found.push(format!("{path}: needs one of {one:?}"));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{path}: needs {name}"));
        }
    }
    found
}

fn read(toml: &str) -> Value {
    toml::from_str(toml).unwrap()
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let text = serde_json::to_string_pretty(&generated()).unwrap() + "\n";
    expect_file!["../../../../docs/tollbook.schema.json"].assert_eq(&text);
}

#[test]
fn schema_and_parser_know_the_same_keys() {
    let schema = generated();
    let mut all = Vec::new();
    tables(&schema, "", &mut all);
    assert!(all.iter().any(|(path, _)| path == "servers.NAME"), "{all:?}");
    for (path, table) in all {
        let header = if path.is_empty() { String::new() } else { format!("[{path}]\n") };
        let error = toml::from_str::<ConfigFile>(&format!("{header}no-such-key = 1")).unwrap_err();
        let (_, expected) = error.message().split_once("expected").unwrap();
        let mut parser: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        parser.sort_unstable();
        assert_eq!(names(&table["properties"]), parser, "keys of `{path}`");
        assert_eq!(table["additionalProperties"], false, "`{path}` takes unknown keys");
        for (name, key) in table["properties"].as_object().unwrap() {
            assert!(key["description"].is_string(), "`{name}` of `{path}` says nothing; write a doc comment");
        }
    }
}

#[test]
fn the_page_names_every_key_and_its_default() {
    toml::from_str::<ConfigFile>(example()).unwrap();
    let (schema, example) = (generated(), read(example()));
    assert_eq!(mistakes(&schema, &example, ""), [""; 0]);
    let mut all = Vec::new();
    tables(&schema, "", &mut all);
    for (path, table) in all.iter().filter(|(path, _)| !path.starts_with("servers.") && path != "export.NAME")
    {
        let pointer = format!("/{}", path.replace('.', "/").replace("NAME", "corporate"));
        let written = if path.is_empty() { &example } else { example.pointer(&pointer).unwrap() };
        for (name, key) in table["properties"].as_object().unwrap() {
            let value = &written[name];
            assert!(!value.is_null(), "docs/configuration.md lacks `{name}` of `{path}`");
            assert!(key["default"].is_null() || key["default"] == *value, "{name} of `{path}` is {value}");
        }
    }
    let (_, server) = all.iter().find(|(path, _)| path == "servers.NAME").unwrap();
    let servers = example["servers"].as_object().unwrap();
    let mut written: Vec<&str> = servers.values().flat_map(names).collect();
    // Shown in a comment, as the other way to write `command`.
    written.push("args");
    written.sort_unstable();
    // Several servers show theirs.
    written.dedup_by(|one, other| one == other && ["credentials", "url"].contains(one));
    assert_eq!(names(&server["properties"]), written);
    let (_, destination) = all.iter().find(|(path, _)| path == "export.NAME").unwrap();
    let destinations = example["export"].as_object().unwrap();
    let shown: BTreeSet<&str> = destinations.values().flat_map(names).collect();
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), names(&destination["properties"]));
    let shown: BTreeSet<&str> = servers.values().flat_map(|server| names(&server["credentials"])).collect();
    let credentials = names(&server["properties"]["credentials"]["properties"]);
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), credentials);
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    for wrong in [
        "listn = \"x\"",
        "listen = 1",
        "receipts = \"yes\"",
        "[tls]\ncertificate = \"x\"",
        "[limits]\nheader_bytes = 1023",
        "[limits]\nidle_seconds = -1",
        "[ledger]\nreserve_percent = 91",
        "[servers.a]\nurl = \"http://x/\"\ntransport = \"pigeon\"",
        "[servers.a]\ncommand = [1]",
        "[servers.a]\nurl = \"http://x/\"\ncomand = \"y\"",
        "[servers.a]\nurl = \"http://x/\"\ncommand = \"y\"",
        "[servers.a]\nhttp2 = true",
    ] {
        assert!(interpret("t.toml", wrong, &Environment::read()).is_err(), "{wrong}");
        assert_eq!(mistakes(&generated(), &read(wrong), "").len(), 1, "{wrong}");
    }
}
