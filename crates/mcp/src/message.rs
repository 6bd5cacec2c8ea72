//! JSON-RPC messages over borrowed bytes: the envelope is read, the rest stays as it came.
//!
//! What is judged is exactly what is forwarded: no message is ever written anew from a model. JSON-RPC 2.0; MCP
//! basic/index of each version.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{self, Deserialize, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::ErrorCode;
use crate::strict::{self, Key, Keys, variant_of};

/// Elements that a batch may have; each needs a decision and a record of its own.
pub const BATCH_ELEMENTS: usize = 100;

/// Names of the envelope.
const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// What one body, event or line holds.
#[derive(Debug)]
pub enum Frame<'a> {
    /// One message.
    Single(Message<'a>),
    /// A batch of 2025-03-26, never empty.
    Batch(Vec<Message<'a>>),
}

impl<'a> Frame<'a> {
    /// The messages in their order.
    pub fn messages(&self) -> &[Message<'a>] {
        match self {
            Frame::Single(message) => std::slice::from_ref(message),
            Frame::Batch(messages) => messages,
        }
    }
}

/// One message and the bytes it is.
#[derive(Debug)]
pub struct Message<'a> {
    raw: &'a str,
    kind: Kind<'a>,
}

/// What a message is.
#[derive(Debug)]
pub enum Kind<'a> {
    /// Asks, and is owed an answer.
    Request {
        /// Unique among the sender's open requests.
        id: Id<'a>,
        /// Method name, escapes decoded.
        method: Cow<'a, str>,
        /// The parameters, an object, as they came.
        params: Option<&'a RawValue>,
    },
    /// Tells.
    Notification {
        /// Method name, escapes decoded.
        method: Cow<'a, str>,
        /// The parameters, an object, as they came.
        params: Option<&'a RawValue>,
    },
    /// Answers.
    Response {
        /// `None` where the asker's id could not be read (`null` or absent, with an error).
        id: Option<Id<'a>>,
        /// The answer.
        outcome: Answer<'a>,
    },
}

/// An answer as it came.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// Success of the protocol; a tool may still have failed (`isError`).
    Result(&'a RawValue),
    /// Failure.
    Error(&'a RawValue),
}

impl<'a> Message<'a> {
    /// The exact bytes.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The request that it is.
    pub fn asked(&self) -> Option<IdBuf> {
        match &self.kind {
            Kind::Request { id, .. } => Some(id.to_buf()),
            _ => None,
        }
    }

    /// The request that it answers.
    pub fn answered(&self) -> Option<IdBuf> {
        match &self.kind {
            Kind::Response { id: Some(id), .. } => Some(id.to_buf()),
            _ => None,
        }
    }

    /// What it is.
    pub fn kind(&self) -> &Kind<'a> {
        &self.kind
    }
}

/// A request id: a string or a number, which are never equal to one another.
#[derive(Debug, Clone, Copy)]
pub struct Id<'a> {
    raw: &'a RawValue,
}

impl<'a> Id<'a> {
    /// The id as it was written.
    pub fn raw(&self) -> &'a str {
        self.raw.get()
    }

    /// An id that outlives the message.
    pub fn to_buf(&self) -> IdBuf {
        IdBuf::of_raw(self.raw.get())
    }
}

/// An owned id. Strings are equal when they decode to the same text; numbers when they have the same value as JavaScript
/// reads them (`1`, `1.0` and `1e0` are one id), since that is how the SDKs find the answer to a request.
#[derive(Debug, Clone)]
pub struct IdBuf {
    raw: Box<str>,
    value: IdValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum IdValue {
    Text(Box<str>),
    /// The bits of the nearest double.
    Number(u64),
}

impl IdBuf {
    /// From an id's JSON text; a text that is neither string nor number is taken for a string.
    pub fn of_raw(raw: &str) -> IdBuf {
        let value = match serde_json::from_str::<f64>(raw) {
            // Both zeros are one id.
            Ok(number) => IdValue::Number((number + 0.0).to_bits()),
            Err(_) => {
                IdValue::Text(serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned()).into())
            }
        };
        IdBuf { raw: raw.into(), value }
    }

    /// The id as it was written.
    pub fn raw(&self) -> &str {
        &self.raw
    }
}

impl PartialEq for IdBuf {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for IdBuf {}

impl Hash for IdBuf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

/// Why bytes are no message that may be judged. The texts hold nothing of the payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not UTF-8.
    #[error("the message is not UTF-8")]
    NotUtf8,
    /// Not JSON, or with trailing bytes, or with unsound strings.
    #[error("the message is not JSON")]
    NotJson,
    /// Nested deeper than 128.
    #[error("the message is nested too deeply")]
    TooDeep,
    /// Some object has a key twice.
    #[error("an object has the same key twice")]
    DuplicateKey,
    /// A protocol key in another case.
    #[error("a key differs from `{0}` in case alone")]
    CaseVariant(String),
    /// JSON, but no JSON-RPC 2.0 message.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    NotJsonRpc(&'static str),
    /// More members or longer keys than any message of MCP has; only large messages are judged so.
    #[error("the message has too many members or too long a key")]
    TooManyMembers,
    /// A batch without elements.
    #[error("a batch may not be empty")]
    EmptyBatch,
    /// A batch with more than [`BATCH_ELEMENTS`].
    #[error("a batch has more than {BATCH_ELEMENTS} elements")]
    LongBatch,
}

impl ParseError {
    /// The JSON-RPC code that says so.
    pub fn code(&self) -> ErrorCode {
        match self {
            ParseError::NotUtf8 | ParseError::NotJson | ParseError::TooDeep => ErrorCode::PARSE_ERROR,
            _ => ErrorCode::INVALID_REQUEST,
        }
    }
}

/// Reads a frame.
///
/// # Errors
/// Whatever two parsers could read differently, besides what is no message at all: see [`ParseError`].
pub fn parse(bytes: &[u8]) -> Result<Frame<'_>, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ParseError::NotUtf8)?;
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    match text.as_bytes().first() {
        Some(b'{') => message(text).map(Frame::Single),
        Some(b'[') => batch(text),
        _ => {
            let _: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
            Err(ParseError::NotJsonRpc("neither an object nor a batch"))
        }
    }
}

/// The request id in a frame that [`parse`] refused, if it can still be read without doubt: for the error answer.
pub fn id_of_refused(bytes: &[u8]) -> Option<IdBuf> {
    #[derive(serde::Deserialize)]
    struct OnlyId<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    // A derived struct reads arrays too, and an array has no `id`.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let only: OnlyId<'_> = serde_json::from_slice(bytes).ok()?;
    let id = only.id?;
    is_id(id).then(|| IdBuf::of_raw(id.get()))
}

fn batch(text: &str) -> Result<Frame<'_>, ParseError> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    if elements.is_empty() {
        return Err(ParseError::EmptyBatch);
    }
    if elements.len() > BATCH_ELEMENTS {
        return Err(ParseError::LongBatch);
    }
    let messages = elements.into_iter().map(|element| match element.get().as_bytes().first() {
        Some(b'{') => message(element.get()),
        _ => Err(ParseError::NotJsonRpc("a batch element is no object")),
    });
    messages.collect::<Result<_, _>>().map(Frame::Batch)
}

fn message(raw: &str) -> Result<Message<'_>, ParseError> {
    let envelope: Envelope<'_> = serde_json::from_str(raw).map_err(|error| not_json(&error))?;
    if let Some(fault) = envelope.fault {
        return Err(fault);
    }
    for other in &envelope.others {
        strict::check_value(other)?;
    }
    if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return Err(ParseError::NotJsonRpc("`jsonrpc` is not \"2.0\""));
    }
    let kind = match (envelope.method, envelope.result, envelope.error) {
        (Some(method), None, None) => {
            let method = method_name(method)?;
            if let Some(params) = envelope.params {
                if !params.get().starts_with('{') {
                    return Err(ParseError::NotJsonRpc("`params` is no object"));
                }
                strict::check_params(params)?;
            }
            match envelope.id {
                Some(id) => Kind::Request { id: request_id(id)?, method, params: envelope.params },
                None => Kind::Notification { method, params: envelope.params },
            }
        }
        (None, Some(result), None) => {
            envelope.params.map_or(Ok(()), strict::check_value)?;
            strict::check_result(result)?;
            let id = envelope.id.ok_or(ParseError::NotJsonRpc("a result without `id`"))?;
            Kind::Response { id: Some(request_id(id)?), outcome: Answer::Result(result) }
        }
        (None, None, Some(error)) => {
            envelope.params.map_or(Ok(()), strict::check_value)?;
            strict::check_error(error)?;
            let id = envelope.id.filter(|id| id.get() != "null").map(request_id).transpose()?;
            Kind::Response { id, outcome: Answer::Error(error) }
        }
        (None, None, None) => {
            return Err(ParseError::NotJsonRpc("neither `method` nor `result` nor `error`"));
        }
        _ => return Err(ParseError::NotJsonRpc("more than one of `method`, `result` and `error`")),
    };
    Ok(Message { raw, kind })
}

fn request_id(raw: &RawValue) -> Result<Id<'_>, ParseError> {
    if is_id(raw) {
        Ok(Id { raw })
    } else {
        Err(ParseError::NotJsonRpc("`id` is neither a string nor a number"))
    }
}

pub(crate) fn is_id(raw: &RawValue) -> bool {
    match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw.get()).is_ok(),
        Some(b'-' | b'0'..=b'9') => serde_json::from_str::<f64>(raw.get()).is_ok(),
        _ => false,
    }
}

fn method_name(raw: &RawValue) -> Result<Cow<'_, str>, ParseError> {
    let key: Key<'_> =
        serde_json::from_str(raw.get()).map_err(|_| ParseError::NotJsonRpc("`method` is no string"))?;
    Ok(key.0)
}

fn not_json(error: &serde_json::Error) -> ParseError {
    if error.to_string().starts_with("recursion limit") { ParseError::TooDeep } else { ParseError::NotJson }
}

#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    /// Members that JSON-RPC does not know; they are passed on, so they are read as strictly.
    others: Vec<&'a RawValue>,
    /// A fault of the keys; the values are then not to be used.
    fault: Option<ParseError>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EnvelopeVisitor;
        impl<'de> Visitor<'de> for EnvelopeVisitor {
            type Value = Envelope<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON-RPC message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Envelope<'de>, A::Error> {
                let mut envelope = Envelope::default();
                let mut keys = Keys::default();
                let mut scope = keys.open();
                while let Some(Key(key)) = members.next_key()? {
                    let value: &'de RawValue = members.next_value()?;
                    envelope.take(&key, value);
                    if !keys.insert(&mut scope, key) {
                        envelope.fault = Some(ParseError::DuplicateKey);
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

impl<'a> Envelope<'a> {
    fn take(&mut self, key: &str, value: &'a RawValue) {
        match key {
            "jsonrpc" => self.jsonrpc = Some(value),
            "id" => self.id = Some(value),
            "method" => self.method = Some(value),
            "params" => self.params = Some(value),
            "result" => self.result = Some(value),
            "error" => self.error = Some(value),
            other => match variant_of(other, &ENVELOPE) {
                Some(name) => self.fault = Some(ParseError::CaseVariant(name.to_owned())),
                None => self.others.push(value),
            },
        }
    }
}
