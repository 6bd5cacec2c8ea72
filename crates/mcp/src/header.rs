//! The headers of Streamable HTTP 2026-07-28 that repeat what the body says: whoever reads the body checks them.
//!
//! The body is the truth; a request whose headers differ is refused, since another intermediary may have decided by them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use crate::fields::Params;
use crate::message::{Kind, Message};
use crate::method::{Eras, Method, Target};

/// Prefix of headers that mirror arguments, in lower case.
pub const PARAM_PREFIX: &str = "mcp-param-";

/// Headers and body disagree: HTTP 400 with JSON-RPC −32020.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderMismatch {
    /// A required header is missing.
    #[error("Header mismatch: the `{0}` header is missing")]
    Missing(&'static str),
    /// A header cannot be decoded, or comes twice.
    #[error("Header mismatch: the `{0}` header is malformed")]
    Malformed(String),
    /// A header says something else than the body.
    #[error("Header mismatch: the `{0}` header does not match the body")]
    Differs(String),
}

/// Checks the standard headers of a stateless request. `headers` are name (lower case) and value.
///
/// A notification has no header requirements in 2026-07-28; what it brings must still match.
///
/// # Errors
/// See [`HeaderMismatch`].
pub fn check(message: &Message<'_>, headers: &[(&str, &str)]) -> Result<(), HeaderMismatch> {
    let (method, params, required) = match message.kind() {
        Kind::Request { method, params, .. } => (method, params, true),
        Kind::Notification { method, params } => (method, params, false),
        Kind::Response { .. } => return Ok(()),
    };
    let params = params.map(Params::of).unwrap_or_default();
    let version = params.meta_version();
    plain(headers, "MCP-Protocol-Version", version.as_deref(), required && version.is_some())?;
    plain(headers, "Mcp-Method", Some(method), required)?;
    // A method of the other era names nothing here: the server says that it does not know it.
    let known = Method::of(method).filter(|method| method.eras != Eras::Session);
    let name = match known.map(|method| method.target) {
        Some(Target::Tool | Target::Prompt) => params.name(),
        Some(Target::Resource) => params.uri(),
        Some(Target::Task) => params.task_id(),
        Some(Target::None) | None => return Ok(()),
    };
    let Some(given) = only(headers, "Mcp-Name")? else {
        return if required && name.is_some() { Err(HeaderMismatch::Missing("Mcp-Name")) } else { Ok(()) };
    };
    let given = decode(given).ok_or_else(|| HeaderMismatch::Malformed("Mcp-Name".to_owned()))?;
    match name {
        Some(name) if name != given => Err(HeaderMismatch::Differs("Mcp-Name".to_owned())),
        _ => Ok(()),
    }
}

/// Compares a header that is never encoded: to another intermediary a sentinel in it is the value itself.
fn plain(
    headers: &[(&str, &str)],
    name: &'static str,
    body: Option<&str>,
    required: bool,
) -> Result<(), HeaderMismatch> {
    let Some(given) = only(headers, name)? else {
        return if required { Err(HeaderMismatch::Missing(name)) } else { Ok(()) };
    };
    let given = trimmed(given).ok_or_else(|| HeaderMismatch::Malformed(name.to_owned()))?;
    match body {
        Some(body) if body != given => Err(HeaderMismatch::Differs(name.to_owned())),
        _ => Ok(()),
    }
}

/// The value of a header that may stand once.
fn only<'a>(headers: &[(&str, &'a str)], name: &str) -> Result<Option<&'a str>, HeaderMismatch> {
    let mut values =
        headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(HeaderMismatch::Malformed(name.to_owned())),
        (value, None) => Ok(value),
    }
}

/// A value without the white space at its ends; `None` if it has a character that a header may not have: others than
/// visible ASCII, space and tab (MCP 2026-07-28, "Value Encoding").
fn trimmed(value: &str) -> Option<&str> {
    let is_sound = value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    is_sound.then(|| value.trim_matches([' ', '\t']))
}

/// A header's value: white space at its ends is not part of it; `=?base64?…?=` holds what plain ASCII cannot.
/// `None`: a character that no header may have, or a sentinel that holds no base64 of UTF-8.
pub fn decode(value: &str) -> Option<String> {
    let value = trimmed(value)?;
    let Some(rest) = value.strip_prefix("=?base64?").filter(|_| value.ends_with("?=")) else {
        return Some(value.to_owned());
    };
    // In `=?base64?=` the markers share a character: a sentinel to some, a plain value to others.
    let inner = rest.strip_suffix("?=")?;
    String::from_utf8(STANDARD.decode(inner).ok()?).ok()
}

/// The arguments that a tool wants mirrored into headers: header name (lower case, without prefix) to the path of property
/// names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrored {
    paths: BTreeMap<String, Vec<String>>,
}

/// A tool's `x-mcp-header` declarations are not valid: clients must drop the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tool's `x-mcp-header` declarations are not valid")]
pub struct BadDeclaration;

impl Mirrored {
    /// Reads the declarations of an `inputSchema`: reachable through `properties` alone, on strings, integers and booleans.
    ///
    /// # Errors
    /// [`BadDeclaration`] for a name that is no header token, comes twice, stands on another type, or stands where other
    /// keywords than `properties` lead to.
    pub fn of(schema: &RawValue) -> Result<Mirrored, BadDeclaration> {
        let schema: Value = serde_json::from_str(schema.get()).map_err(|_| BadDeclaration)?;
        let mut mirrored = Mirrored::default();
        mirrored.collect(&schema, &mut Vec::new())?;
        Ok(mirrored)
    }

    /// Whether the tool wants nothing mirrored.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Reads a schema that `properties` alone lead to.
    fn collect(&mut self, schema: &Value, path: &mut Vec<String>) -> Result<(), BadDeclaration> {
        let Some(members) = schema.as_object() else { return Ok(()) };
        // The root is no property that an argument could stand for.
        let is_misplaced = path.is_empty() && members.contains_key(DECLARATION);
        if is_misplaced
            || members.iter().any(|(key, member)| key != "properties" && declares_below(key, member))
        {
            return Err(BadDeclaration);
        }
        let Some(properties) = members.get("properties").and_then(Value::as_object) else { return Ok(()) };
        for (name, property) in properties {
            path.push(name.clone());
            if let Some(declared) = property.get(DECLARATION) {
                let header = declared.as_str().filter(|text| is_token(text)).ok_or(BadDeclaration)?;
                let primitive = property.get("type").and_then(Value::as_str);
                if !matches!(primitive, Some("string" | "integer" | "boolean")) {
                    return Err(BadDeclaration);
                }
                if self.paths.insert(header.to_ascii_lowercase(), path.clone()).is_some() {
                    return Err(BadDeclaration);
                }
            }
            self.collect(property, path)?;
            path.pop();
        }
        Ok(())
    }

    /// Checks `Mcp-Param-*` headers against a call's arguments; headers that no declaration names are not looked at.
    ///
    /// # Errors
    /// See [`HeaderMismatch`].
    pub fn check(
        &self,
        arguments: Option<&RawValue>,
        headers: &[(&str, &str)],
    ) -> Result<(), HeaderMismatch> {
        let arguments: Value =
            arguments.and_then(|arguments| serde_json::from_str(arguments.get()).ok()).unwrap_or(Value::Null);
        for (name, path) in &self.paths {
            let full = format!("{PARAM_PREFIX}{name}");
            let argument = path
                .iter()
                .try_fold(&arguments, |value, key| value.get(key))
                .filter(|value| !value.is_null());
            match (argument, only(headers, &full)?) {
                (None, None) => {}
                (Some(argument), Some(value)) => {
                    let value = decode(value).ok_or_else(|| HeaderMismatch::Malformed(full.clone()))?;
                    if !is_same(argument, &value) {
                        return Err(HeaderMismatch::Differs(full));
                    }
                }
                (None, Some(_)) | (Some(_), None) => return Err(HeaderMismatch::Differs(full)),
            }
        }
        Ok(())
    }
}

/// The annotation of a property.
const DECLARATION: &str = "x-mcp-header";

/// Whether a schema's member, which is not `properties`, leads to a declaration: there it is out of place.
fn declares_below(keyword: &str, member: &Value) -> bool {
    match keyword {
        // Values, not schemas: what they hold declares nothing.
        "const" | "default" | "enum" | "example" | "examples" => false,
        // Their keys are names, not keywords.
        "$defs" | "definitions" | "dependentSchemas" | "patternProperties" => {
            member.as_object().is_some_and(|schemas| schemas.values().any(declares))
        }
        _ => declares(member),
    }
}

/// Whether there is a declaration anywhere in a schema, or in a list of them.
fn declares(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(keyword, member)| match keyword.as_str() {
            DECLARATION => true,
            "properties" => member.as_object().is_some_and(|schemas| schemas.values().any(declares)),
            _ => declares_below(keyword, member),
        }),
        Value::Array(schemas) => schemas.iter().any(declares),
        _ => false,
    }
}

fn is_same(argument: &Value, header: &str) -> bool {
    match argument {
        Value::String(text) => text == header,
        Value::Bool(truth) => header == if *truth { "true" } else { "false" },
        Value::Number(number) => is_same_number(number, header),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Integers are compared as numbers, `42.0` and `42` being one. As doubles only up to 2^53−1, beyond which two integers may
/// be the same double.
fn is_same_number(number: &Number, header: &str) -> bool {
    let exact = (number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)), header.parse::<i128>());
    if let (Some(argument), Ok(header)) = exact {
        return argument == header;
    }
    const SAFE: f64 = 9_007_199_254_740_991.0;
    match (number.as_f64(), header.parse::<f64>()) {
        (Some(argument), Ok(header)) => argument.abs() <= SAFE && argument == header,
        _ => false,
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
