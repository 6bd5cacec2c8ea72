//! The payload: what is sealed beside a leaf, and the salted digests by which the leaf commits to it.
//!
//! Each field is a disclosure of RFC 9901 (SD-JWT): `[salt, name, value]`. With a disclosure anybody can check one field
//! against the leaf; without, the digests say nothing, since the salts come from a secret that is sealed too. Destroying the
//! key destroys the secret, and the digests that remain cannot be linked to anything.

use std::collections::BTreeMap;
use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ids::Hash;
use crate::json::{Object, push_string};

/// Version of the payload format.
const VERSION: u32 = 1;

/// The name under which the body as a whole is committed to.
pub const BODY: &str = "body";

/// Fields by name; each value is JSON.
pub type Fields = BTreeMap<String, String>;

/// Parts of the body by name, in bytes; each is JSON.
pub type Spans = BTreeMap<String, Range<usize>>;

/// What a record's payload holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Source of the salts; random, used for this record alone.
    pub secret: [u8; 32],
    /// Named values.
    pub fields: Fields,
    /// Named parts of the body.
    pub spans: Spans,
    /// The message as it crossed.
    pub body: Bytes,
}

/// Why bytes are no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a payload: {0}")]
pub struct PayloadError(&'static str);

impl Payload {
    /// The bytes that get sealed: header length (32 bits, little-endian), header, body.
    pub fn encode(&self) -> Vec<u8> {
        let mut header = String::with_capacity(512);
        let mut object = Object::begin(&mut header);
        object.with("fields", |out| {
            let mut fields = Object::begin(out);
            self.fields.iter().for_each(|(name, value)| fields.raw(name, value));
            fields.end();
        });
        object.plain("secret", URL_SAFE_NO_PAD.encode(self.secret));
        object.with("spans", |out| {
            let mut spans = Object::begin(out);
            for (name, span) in &self.spans {
                spans.raw(name, &format!("[{},{}]", span.start, span.end));
            }
            spans.end();
        });
        object.number("v", VERSION);
        object.end();
        let mut bytes = Vec::with_capacity(4 + header.len() + self.body.len());
        let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads a payload; the body is shared, not copied.
    ///
    /// # Errors
    /// [`PayloadError`] says what is wrong with the bytes.
    pub fn decode(bytes: &Bytes) -> Result<Payload, PayloadError> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(PayloadError("no header"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let header = rest.get(..length).ok_or(PayloadError("the header is cut off"))?;
        let header: Header<'_> =
            serde_json::from_slice(header).map_err(|_| PayloadError("the header is not sound"))?;
        if header.v != VERSION {
            return Err(PayloadError("of a version that this program does not know"));
        }
        let body = bytes.slice(4 + length..);
        let spans: Spans = header.spans.into_iter().map(|(name, [start, end])| (name, start..end)).collect();
        if spans.values().any(|span| body.get(span.clone()).is_none()) {
            return Err(PayloadError("a span lies outside the body"));
        }
        let secret = URL_SAFE_NO_PAD.decode(header.secret).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Payload {
            secret: secret.ok_or(PayloadError("the secret is not sound"))?,
            fields: header.fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect(),
            spans,
            body,
        })
    }

    /// The sorted digests that the leaf carries: of each field, each span, and the body.
    pub fn commitments(&self) -> Vec<Hash> {
        let salts = Salts::new(&self.secret);
        let mut digests: Vec<Hash> =
            self.values().map(|(name, value)| Hash::of(salts.disclosure(name, value).as_bytes())).collect();
        digests.push(Hash::of(salts.disclosure(BODY, &self.body_value(&salts)).as_bytes()));
        digests.sort_unstable();
        digests
    }

    /// The disclosure of a field, a span, or [`BODY`]: give it to somebody, and they can check that value against the leaf
    /// and nothing else.
    pub fn disclose(&self, name: &str) -> Option<String> {
        let salts = Salts::new(&self.secret);
        if name == BODY {
            return Some(salts.disclosure(BODY, &self.body_value(&salts)));
        }
        self.value(name).map(|value| salts.disclosure(name, value))
    }

    /// The salt of the body's digest, base64url: with it and the body's disclosure anybody can check the body.
    pub fn body_salt(&self) -> String {
        URL_SAFE_NO_PAD.encode(Salts::new(&self.secret).of("body:bytes"))
    }

    /// The JSON value of a field or span.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).or_else(|| self.span(name))
    }

    /// The names that can be disclosed, [`BODY`] aside.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().chain(self.spans.keys()).map(String::as_str)
    }

    fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names().filter_map(|name| Some((name, self.value(name)?)))
    }

    fn span(&self, name: &str) -> Option<&str> {
        let part = self.body.get(self.spans.get(name)?.clone())?;
        std::str::from_utf8(part).ok()
    }

    /// Digest and length of the body. The digest is salted like the rest: an unsalted one would let anybody who guesses a
    /// body confirm the guess, even after the key is destroyed.
    fn body_value(&self, salts: &Salts) -> String {
        let mut context = Context::new(&SHA256);
        context.update(&salts.of("body:bytes"));
        context.update(&self.body);
        let digest = Hash::from_digest(&context.finish());
        format!(r#"{{"sha256":"{digest}","size":{}}}"#, self.body.len())
    }
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    fields: BTreeMap<String, &'a RawValue>,
    secret: &'a str,
    spans: BTreeMap<String, [usize; 2]>,
    v: u32,
}

/// The salts of one record.
struct Salts {
    key: hmac::Key,
}

impl Salts {
    fn new(secret: &[u8; 32]) -> Salts {
        Salts { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// First 16 bytes of HMAC-SHA-256 of the name under the record's secret.
    fn of(&self, name: &str) -> [u8; 16] {
        let tag = hmac::sign(&self.key, name.as_bytes());
        let mut salt = [0; 16];
        salt.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        salt
    }

    /// RFC 9901 §4.2.1.
    fn disclosure(&self, name: &str, value: &str) -> String {
        let mut array = String::with_capacity(value.len() + name.len() + 32);
        array.push('[');
        push_string(&mut array, &URL_SAFE_NO_PAD.encode(self.of(name)));
        array.push(',');
        push_string(&mut array, name);
        array.push(',');
        array.push_str(value);
        array.push(']');
        URL_SAFE_NO_PAD.encode(array)
    }
}
