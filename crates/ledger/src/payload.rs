//! The payload: what is sealed beside a leaf, and the salted digests by which the leaf commits to it.
//!
//! Each field is a disclosure of RFC 9901 (SD-JWT): `[salt, name, value]`. With a disclosure anybody can check one field
//! against the leaf; without, the digests say nothing, since the salts come from a secret that is sealed too. Destroying the
//! key destroys the secret, and the digests that remain cannot be linked to anything.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use base64::write::EncoderWriter;
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
        let mut bytes = encode_head(&self.secret, &self.fields, &self.spans);
        bytes.reserve_exact(self.body.len());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Reads a payload; the body is shared, not copied.
    ///
    /// # Errors
    /// [`PayloadError`] says what is wrong with the bytes.
    pub fn decode(bytes: &Bytes) -> Result<Payload, PayloadError> {
        let Head { mut payload, spans, length } = decode_head(bytes)?;
        let body = bytes.slice(length..);
        payload.spans = spans.into_iter().map(|(name, [start, end])| (name, start..end)).collect();
        if payload.spans.values().any(|span| body.get(span.clone()).is_none()) {
            return Err(PayloadError("a span lies outside the body"));
        }
        payload.body = body;
        Ok(payload)
    }

    /// Reads a payload of which only the beginning is there: its fields, without spans and body.
    ///
    /// # Errors
    /// As above.
    pub fn decode_fields(bytes: &Bytes) -> Result<Payload, PayloadError> {
        decode_head(bytes).map(|head| head.payload)
    }

    /// The sorted digests that the leaf carries: of each field, each span, and the body.
    pub fn commitments(&self) -> Vec<Hash> {
        let mut commitment = Commitment::begin(&self.secret, &self.fields, &self.spans);
        commitment.push(&self.body);
        commitment.finish()
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

    fn span(&self, name: &str) -> Option<&str> {
        let part = self.body.get(self.spans.get(name)?.clone())?;
        std::str::from_utf8(part).ok()
    }

    fn body_value(&self, salts: &Salts) -> String {
        let mut digest = salts.body_digest();
        digest.update(&self.body);
        body_value(digest, self.body.len())
    }
}

/// What stands before the body in [`Payload::encode`], for a body that is given in pieces.
pub fn encode_head(secret: &[u8; 32], fields: &Fields, spans: &Spans) -> Vec<u8> {
    let mut header = String::with_capacity(512);
    let mut object = Object::begin(&mut header);
    object.with("fields", |out| {
        let mut object = Object::begin(out);
        fields.iter().for_each(|(name, value)| object.raw(name, value));
        object.end();
    });
    object.plain("secret", URL_SAFE_NO_PAD.encode(secret));
    object.with("spans", |out| {
        let mut object = Object::begin(out);
        for (name, span) in spans {
            object.raw(name, &format!("[{},{}]", span.start, span.end));
        }
        object.end();
    });
    object.number("v", VERSION);
    object.end();
    let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
    [length.to_le_bytes().as_slice(), header.as_bytes()].concat()
}

fn body_value(digest: Context, size: usize) -> String {
    format!(r#"{{"sha256":"{}","size":{size}}}"#, Hash::from_digest(&digest.finish()))
}

/// The commitments of a payload whose body is given in pieces: [`Payload::commitments`] in bounded memory.
pub struct Commitment {
    salts: Salts,
    digests: Vec<Hash>,
    spans: Vec<SpanDigest>,
    body: Context,
    size: usize,
}

/// The disclosure of one span under way.
struct SpanDigest {
    span: Range<usize>,
    encoder: EncoderWriter<'static, GeneralPurpose, Digested>,
}

impl Commitment {
    /// Commits to the fields, and begins with the spans and the body. Spans beyond the body's end are committed to as far as
    /// the body goes.
    pub fn begin(secret: &[u8; 32], fields: &Fields, spans: &Spans) -> Commitment {
        let salts = Salts::new(secret);
        let digests =
            fields.iter().map(|(name, value)| Hash::of(salts.disclosure(name, value).as_bytes())).collect();
        let spans = spans.iter().map(|(name, span)| SpanDigest::begin(&salts, name, span.clone())).collect();
        Commitment { digests, spans, body: salts.body_digest(), size: 0, salts }
    }

    /// Takes the body's next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let end = self.size.saturating_add(piece.len());
        for SpanDigest { span, encoder } in &mut self.spans {
            let begin = span.start.max(self.size) - self.size;
            let part = begin..span.end.min(end).saturating_sub(self.size);
            // What a digest takes in cannot fail.
            let _ = encoder.write_all(piece.get(part).unwrap_or_default());
        }
        self.body.update(piece);
        self.size = end;
    }

    /// The sorted digests.
    pub fn finish(self) -> Vec<Hash> {
        let Commitment { salts, mut digests, spans, body, size } = self;
        digests.extend(spans.into_iter().map(SpanDigest::finish));
        digests.push(Hash::of(salts.disclosure(BODY, &body_value(body, size)).as_bytes()));
        digests.sort_unstable();
        digests
    }
}

impl SpanDigest {
    fn begin(salts: &Salts, name: &str, span: Range<usize>) -> SpanDigest {
        let mut encoder = EncoderWriter::new(Digested(Context::new(&SHA256)), &URL_SAFE_NO_PAD);
        // As above.
        let _ = encoder.write_all(salts.disclosure_head(name).as_bytes());
        SpanDigest { span, encoder }
    }

    fn finish(mut self) -> Hash {
        // As above.
        let _ = self.encoder.write_all(b"]");
        let Digested(context) = self.encoder.finish().unwrap_or_else(|_| Digested(Context::new(&SHA256)));
        Hash::from_digest(&context.finish())
    }
}

/// A digest that is written to.
struct Digested(Context);

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What stands before the body.
struct Head {
    /// Without spans and body.
    payload: Payload,
    spans: BTreeMap<String, [usize; 2]>,
    /// Where the body begins.
    length: usize,
}

fn decode_head(bytes: &Bytes) -> Result<Head, PayloadError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(PayloadError("no header"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let header = rest.get(..length).ok_or(PayloadError("the header is cut off"))?;
    let header: Header<'_> =
        serde_json::from_slice(header).map_err(|_| PayloadError("the header is not sound"))?;
    if header.v != VERSION {
        return Err(PayloadError("of a version that this program does not know"));
    }
    let secret = URL_SAFE_NO_PAD.decode(header.secret).ok().and_then(|bytes| bytes.try_into().ok());
    let payload = Payload {
        secret: secret.ok_or(PayloadError("the secret is not sound"))?,
        fields: header.fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect(),
        spans: Spans::new(),
        body: Bytes::new(),
    };
    Ok(Head { payload, spans: header.spans, length: 4 + length })
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

    /// The digest of a body, begun. It is salted like the rest: an unsalted one would let anybody who guesses a body confirm
    /// the guess, even after the key is destroyed.
    fn body_digest(&self) -> Context {
        let mut context = Context::new(&SHA256);
        context.update(&self.of("body:bytes"));
        context
    }

    /// RFC 9901 §4.2.1.
    fn disclosure(&self, name: &str, value: &str) -> String {
        let mut array = self.disclosure_head(name);
        array.reserve_exact(value.len() + 1);
        array.push_str(value);
        array.push(']');
        URL_SAFE_NO_PAD.encode(array)
    }

    /// What stands before the value.
    fn disclosure_head(&self, name: &str) -> String {
        let mut array = String::with_capacity(name.len() + 32);
        array.push('[');
        push_string(&mut array, &URL_SAFE_NO_PAD.encode(self.of(name)));
        array.push(',');
        push_string(&mut array, name);
        array.push(',');
        array
    }
}
