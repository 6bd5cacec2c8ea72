//! Private keys from PEM, and what they sign: the gateway's word on who it is (RFC 7523).

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaSignatureEncoding,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::{Algorithm, encode};

/// A key that signs.
pub(crate) struct Signer {
    pair: Pair,
    algorithm: Algorithm,
    id: Option<String>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// Reads a private key: PKCS #8, PKCS #1 or SEC 1 in PEM. `algorithm`: the one to sign with, which must fit the key; that of
    /// its kind if not given. `None`: it is none.
    pub(crate) fn from_pem(pem: &[u8], algorithm: Option<Algorithm>, id: Option<String>) -> Option<Signer> {
        let der = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let (pair, usual) = Pair::read(&der)?;
        let algorithm = algorithm.unwrap_or(usual);
        let fits = match pair {
            Pair::Rsa(_) => rsa_encoding(algorithm).is_some(),
            Pair::Ec(_) | Pair::Ed(_) => algorithm == usual,
        };
        fits.then_some(Signer { pair, algorithm, id })
    }

    /// A signed token with these claims; `None` if the system's random source failed.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let algorithm = self.algorithm.as_str();
        let header = match &self.id {
            Some(id) => json!({ "alg": algorithm, "typ": "JWT", "kid": id }),
            None => json!({ "alg": algorithm, "typ": "JWT" }),
        };
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding = rsa_encoding(self.algorithm)?;
                pair.sign(encoding, &random, signed.as_bytes(), &mut signature).ok()?;
                encode(signature)
            }
            Pair::Ec(pair) => encode(pair.sign(&random, signed.as_bytes()).ok()?),
            Pair::Ed(pair) => encode(pair.sign(signed.as_bytes())),
        };
        Some(format!("{signed}.{signature}"))
    }
}

impl Pair {
    fn read(der: &PrivateKeyDer<'_>) -> Option<(Pair, Algorithm)> {
        let bytes = der.secret_der();
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
            return Some((Pair::Ed(pair), Algorithm::EdDsa));
        }
        let rsa = RsaKeyPair::from_pkcs8(bytes).or_else(|_| RsaKeyPair::from_der(bytes));
        if let Ok(pair) = rsa {
            return Some((Pair::Rsa(pair), Algorithm::Rs256));
        }
        let curves = [
            (&ECDSA_P256_SHA256_FIXED_SIGNING, Algorithm::Es256),
            (&ECDSA_P384_SHA384_FIXED_SIGNING, Algorithm::Es384),
            (&ECDSA_P521_SHA512_FIXED_SIGNING, Algorithm::Es512),
        ];
        curves.into_iter().find_map(|(curve, algorithm)| {
            let pair = EcdsaKeyPair::from_private_key_der(curve, bytes).ok()?;
            Some((Pair::Ec(pair), algorithm))
        })
    }
}

/// Says nothing of the key.
impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static RsaSignatureEncoding> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::Signer;
    use crate::jose::{Algorithm, Embedded, Jws, Key, encode};
    use crate::json;

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
    }

    fn check(der: &[u8], jwk: &serde_json::Value, algorithm: Algorithm) {
        let signer = Signer::from_pem(pem(der).as_bytes(), Some(algorithm), Some("k1".to_owned())).unwrap();
        let token = signer.sign(&json!({ "sub": "me" })).unwrap();
        let key = json::object(jwk.to_string().as_bytes()).and_then(|jwk| Key::from_jwk(&jwk)).unwrap();
        let jws = Jws::parse(&token, Embedded::Refused).unwrap();
        assert_eq!((jws.algorithm, jws.key_id.as_deref()), (algorithm, Some("k1")));
        assert!(jws.signed_by(&key), "{algorithm}");
    }

    #[test]
    fn what_is_signed_verifies_with_the_public_key() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        // RFC 8017 §A.1.1: two integers, of which the second is 65537.
        let n = encode(&public.as_ref()[9..265]);
        let e = encode([1, 0, 1]);
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        for algorithm in [Algorithm::Rs256, Algorithm::Rs512, Algorithm::Ps256, Algorithm::Ps384] {
            check(der.as_ref(), &json!({ "kty": "RSA", "n": n, "e": e }), algorithm);
        }
        assert!(Signer::from_pem(pem(der.as_ref()).as_bytes(), Some(Algorithm::Es256), None).is_none());

        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) });
        check(pair.to_pkcs8v1().unwrap().as_ref(), &jwk, Algorithm::Es256);

        let pair = Ed25519KeyPair::generate().unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()) });
        check(pair.to_pkcs8v1().unwrap().as_ref(), &jwk, Algorithm::EdDsa);
        assert!(Signer::from_pem(b"no key", None, None).is_none());
    }
}
