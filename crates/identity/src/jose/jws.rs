//! A signed token in compact form (RFC 7515 §3.1), taken apart and not yet believed.

use serde_json::{Map, Value};

use super::{Algorithm, Key};
use crate::json;
use crate::refused::Reason;

/// Largest token.
pub(crate) const TOKEN_BYTES: usize = 16 * 1024;

/// Longest name of a key.
const KEY_ID_BYTES: usize = 256;

/// A token whose signature has not been verified.
pub(crate) struct Jws<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    /// Media type without `application/`, in lower case.
    pub(crate) kind: Option<String>,
    /// The key in the header, where one is expected.
    pub(crate) embedded: Option<Key>,
    pub(crate) claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

/// Whether the header holds the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Embedded {
    /// It must not: whoever wrote the token would choose the key.
    Refused,
    /// It must: a proof of possession (RFC 9449 §4.2).
    Expected,
}

impl<'a> Jws<'a> {
    /// Takes a token apart. Nothing of it is verified.
    pub(crate) fn parse(token: &'a str, embedded: Embedded) -> Result<Jws<'a>, Reason> {
        if token.len() > TOKEN_BYTES {
            return Err(Reason::Oversized);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Reason::Malformed)?;
        if payload.contains('.') {
            return Err(Reason::Malformed);
        }
        let part = |text: &str| super::decode(text).ok_or(Reason::Malformed);
        let header = json::object(&part(header)?).ok_or(Reason::Json)?;
        let claims = json::object(&part(payload)?).ok_or(Reason::Json)?;
        let signature = part(signature)?;
        check_header(&header)?;
        let key = embedded_key(&header, embedded)?;
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Reason::AlgorithmUnknown)?;
        Ok(Jws {
            algorithm: algorithm.parse().map_err(|_| Reason::AlgorithmUnknown)?,
            key_id: key_id(&header)?,
            kind: kind(&header)?,
            embedded: key,
            claims,
            signed,
            signature,
        })
    }

    /// Whether the key has signed it.
    pub(crate) fn signed_by(&self, key: &Key) -> bool {
        key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature)
    }
}

fn check_header(header: &Map<String, Value>) -> Result<(), Reason> {
    // Nothing that could be critical is understood here.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Reason::Critical);
    }
    if ["jku", "x5u"].iter().any(|name| header.contains_key(*name)) {
        return Err(Reason::KeyInHeader);
    }
    if ["zip", "enc"].iter().any(|name| header.contains_key(*name)) {
        return Err(Reason::Header);
    }
    let nested = header.get("cty").and_then(Value::as_str);
    if nested.is_some_and(|content| content.to_ascii_lowercase().trim_start_matches("application/") == "jwt")
    {
        return Err(Reason::Header);
    }
    Ok(())
}

fn embedded_key(header: &Map<String, Value>, embedded: Embedded) -> Result<Option<Key>, Reason> {
    match (embedded, header.get("jwk")) {
        (Embedded::Refused, None) => Ok(None),
        (Embedded::Refused, Some(_)) => Err(Reason::KeyInHeader),
        (Embedded::Expected, jwk) => {
            let key = jwk.and_then(Value::as_object).and_then(Key::from_jwk);
            key.map(Some).ok_or(Reason::ProofKey)
        }
    }
}

fn key_id(header: &Map<String, Value>) -> Result<Option<String>, Reason> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(id)) if id.len() <= KEY_ID_BYTES => Ok(Some(id.clone())),
        Some(_) => Err(Reason::Header),
    }
}

fn kind(header: &Map<String, Value>) -> Result<Option<String>, Reason> {
    match header.get("typ") {
        None => Ok(None),
        Some(Value::String(kind)) => {
            let kind = kind.to_ascii_lowercase();
            Ok(Some(kind.strip_prefix("application/").map_or_else(|| kind.clone(), str::to_owned)))
        }
        Some(_) => Err(Reason::Header),
    }
}

#[cfg(test)]
mod tests {
    use super::{Embedded, Jws};
    use crate::jose::Key;
    use crate::json;

    #[test]
    fn the_signature_of_the_rfc_holds_and_another_does_not() {
        // RFC 7515, appendix A.3.
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                     cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djx\
                     La8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let jwk = br#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                       "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        let key = json::object(jwk).and_then(|jwk| Key::from_jwk(&jwk)).unwrap();
        assert!(Jws::parse(token, Embedded::Refused).unwrap().signed_by(&key));
        let other = token.replace("DtEh", "DtEi");
        assert!(!Jws::parse(&other, Embedded::Refused).unwrap().signed_by(&key));
    }
}
