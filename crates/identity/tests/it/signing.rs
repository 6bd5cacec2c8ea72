//! Keys made for a test, and tokens signed with them: right ones, and wrong ones of every kind.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// A private key.
pub(crate) enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(&'static str, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    /// The bytes of what should be public, used as an HMAC key.
    Hmac(Vec<u8>),
}

impl Pair {
    pub(crate) fn rsa() -> Pair {
        Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    pub(crate) fn ec(curve: &'static str) -> Pair {
        let algorithm = match curve {
            "P-256" => &ECDSA_P256_SHA256_FIXED_SIGNING,
            "P-384" => &ECDSA_P384_SHA384_FIXED_SIGNING,
            _ => &ECDSA_P521_SHA512_FIXED_SIGNING,
        };
        Pair::Ec(curve, EcdsaKeyPair::generate(algorithm).unwrap())
    }

    pub(crate) fn ed() -> Pair {
        Pair::Ed(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Pair::Rsa(pair) => {
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(_, pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Hmac(key) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec(),
        }
    }

    /// The public key as JWK, without `kid`, `alg` and `use`.
    pub(crate) fn jwk(&self) -> Value {
        match self {
            Pair::Rsa(pair) => {
                // RFC 8017, A.1.1: the places of both numbers in the DER of a key of 2048 bits.
                let der = pair.public_key().as_ref();
                assert_eq!((der.len(), &der[265..267]), (270, &[2, 3][..]));
                json!({ "kty": "RSA", "n": b64(&der[9..265]), "e": b64(&der[267..]) })
            }
            Pair::Ec(curve, pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": b64(x), "y": b64(y) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key()) }),
            Pair::Hmac(key) => json!({ "kty": "oct", "k": b64(key) }),
        }
    }

    /// As it stands in a key set.
    pub(crate) fn published(&self, id: &str) -> Value {
        with(self.jwk(), &[("kid", json!(id)), ("use", json!("sig"))])
    }
}

/// An object with more members.
pub(crate) fn with(mut object: Value, more: &[(&str, Value)]) -> Value {
    for (name, value) in more {
        object[*name] = value.clone();
    }
    object
}

/// The text of a key set.
pub(crate) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// A token to be written: header and claims as they are changed.
#[derive(Clone)]
pub(crate) struct Draft {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    raw_header: Option<String>,
    raw_claims: Option<String>,
}

impl Draft {
    pub(crate) fn new(header: &Value, claims: &Value) -> Draft {
        let map = |value: &Value| value.as_object().unwrap().clone();
        Draft { header: map(header), claims: map(claims), raw_header: None, raw_claims: None }
    }

    /// Sets a member of the header; `null` takes it out.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Draft {
        put(&mut self.header, name, value.into());
        self
    }

    /// Sets a claim; `null` takes it out.
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Draft {
        put(&mut self.claims, name, value.into());
        self
    }

    /// Writes a member of the header a second time.
    pub(crate) fn header_twice(mut self, name: &str, value: &Value) -> Draft {
        self.raw_header = Some(twice(&self.header, name, value));
        self
    }

    /// Writes a claim a second time.
    pub(crate) fn claim_twice(mut self, name: &str, value: &Value) -> Draft {
        self.raw_claims = Some(twice(&self.claims, name, value));
        self
    }

    pub(crate) fn raw_claims(mut self, text: &str) -> Draft {
        self.raw_claims = Some(text.to_owned());
        self
    }

    pub(crate) fn sign(&self, pair: &Pair) -> String {
        let header = self.raw_header.clone().unwrap_or_else(|| Value::from(self.header.clone()).to_string());
        let claims = self.raw_claims.clone().unwrap_or_else(|| Value::from(self.claims.clone()).to_string());
        let signed = format!("{}.{}", b64(header), b64(claims));
        let algorithm = self.header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let signature = pair.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }
}

fn put(map: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        map.remove(name);
    } else {
        map.insert(name.to_owned(), value);
    }
}

fn twice(map: &Map<String, Value>, name: &str, value: &Value) -> String {
    let text = Value::from(map.clone()).to_string();
    format!("{},\"{name}\":{value}}}", text.strip_suffix('}').unwrap())
}
