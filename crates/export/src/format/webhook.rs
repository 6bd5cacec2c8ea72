//! Standard Webhooks: a JSON body, and a signature over it, its id and the time of the attempt.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::notice::{Notice, stamp};
use crate::settings::SigningKey;

/// A body and its headers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) id: String,
    pub(crate) timestamp: u64,
    pub(crate) signature: String,
    pub(crate) body: String,
}

/// A notice for a destination, signed with all its keys: who receives it may know any of them.
pub(crate) fn signed(notice: &Notice, destination: &str, keys: &[SigningKey], now: u64) -> Signed {
    let body = json!({"type": notice.word, "timestamp": stamp(notice.at).to_string(), "data": notice.data});
    let (id, body) = (format!("msg_{}_{destination}", notice.id), body.to_string());
    let content = format!("{id}.{now}.{body}");
    let signatures: Vec<String> = keys
        .iter()
        .map(|key| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.bytes());
            format!("v1,{}", STANDARD.encode(hmac::sign(&key, content.as_bytes())))
        })
        .collect();
    Signed { id, timestamp: now, signature: signatures.join(" "), body }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::{SigningKey, signed};
    use crate::notice::Notice;

    #[test]
    fn each_key_signs() {
        let notice = Notice::test("0a".to_owned(), 1_700_000_000, "http://127.0.0.1:7801");
        let one = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let other = SigningKey::parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let sent = signed(&notice, "ops", &[one.clone(), other], 1_700_000_009);
        let parts: Vec<&str> = sent.signature.split(' ').collect();
        assert_eq!((parts.len(), sent.id.as_str(), sent.timestamp), (2, "msg_0a_ops", 1_700_000_009));
        let alone = signed(&notice, "ops", std::slice::from_ref(&one), 1_700_000_009);
        assert_eq!(alone.signature, parts[0]);
        let content = format!("msg_0a_ops.1700000009.{}", sent.body);
        let key = hmac::Key::new(hmac::HMAC_SHA256, one.bytes());
        let mac = STANDARD.decode(parts[0].strip_prefix("v1,").unwrap()).unwrap();
        hmac::verify(&key, content.as_bytes(), &mac).unwrap();
    }
}
