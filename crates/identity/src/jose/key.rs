//! Public keys from JSON Web Keys (RFC 7517), and which of them may verify what.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use ledger::Hash;
use serde_json::{Map, Value};

use super::Algorithm;
use crate::json;

/// Keys of a set that are looked at; real sets hold a handful.
const KEYS: usize = 64;

/// Shortest RSA modulus, in bits.
const RSA_BITS: usize = 2048;

/// A public key.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { curve: Curve, point: Vec<u8> },
    Ed(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    fn named(name: &str) -> Option<Curve> {
        [Curve::P256, Curve::P384, Curve::P521].into_iter().find(|curve| curve.as_str() == name)
    }

    fn as_str(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
        }
    }

    /// Bytes of a coordinate.
    fn width(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

impl Key {
    /// Reads a public key for signatures; `None`: it is none that may be used here. A private or symmetric one is none.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Option<Key> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if ["d", "p", "q", "k"].iter().any(|secret| jwk.contains_key(*secret)) {
            return None;
        }
        if jwk.get("use").is_some_and(|purpose| purpose.as_str() != Some("sig")) {
            return None;
        }
        let verifies = |operations: &Value| {
            operations.as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some("verify")))
        };
        if jwk.get("key_ops").is_some_and(|operations| !verifies(operations)) {
            return None;
        }
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(name) => Some(name.as_str()?.parse().ok()?),
        };
        let part = |name: &str| text(name).and_then(super::decode);
        let material = match text("kty")? {
            "RSA" => rsa(part("n")?, part("e")?)?,
            "EC" => ec(Curve::named(text("crv")?)?, &part("x")?, &part("y")?)?,
            "OKP" if text("crv")? == "Ed25519" => Material::Ed(part("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let id = match jwk.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.to_owned()),
        };
        let key = Key { id, algorithm: None, material };
        if algorithm.is_some_and(|algorithm| !key.fits(algorithm)) {
            return None;
        }
        Some(Key { algorithm, ..key })
    }

    /// A key of our own.
    pub(crate) fn ed25519(public: &[u8]) -> Key {
        Key { id: None, algorithm: Some(Algorithm::EdDsa), material: Material::Ed(public.to_vec()) }
    }

    /// Whether the key may verify signatures of that algorithm: kind, curve and its own `alg` agree.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let of_kind = match &self.material {
            Material::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Material::Ec { curve, .. } => match curve {
                Curve::P256 => algorithm == Es256,
                Curve::P384 => algorithm == Es384,
                Curve::P521 => algorithm == Es512,
            },
            Material::Ed(_) => algorithm == EdDsa,
        };
        of_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether the signature is this key's.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let verified = match &self.material {
            Material::Rsa { n, e } => match rsa_parameters(algorithm) {
                Some(parameters) => RsaPublicKeyComponents { n, e }.verify(parameters, message, signature),
                None => return false,
            },
            Material::Ec { curve, point } => {
                UnparsedPublicKey::new(ecdsa(*curve), point).verify(message, signature)
            }
            Material::Ed(public) => UnparsedPublicKey::new(&ED25519, public).verify(message, signature),
        };
        verified.is_ok()
    }

    /// The key's thumbprint (RFC 7638) with SHA-256, as base64url.
    pub(crate) fn thumbprint(&self) -> String {
        let encode = |bytes: &[u8]| super::encode(bytes);
        let canonical = match &self.material {
            Material::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n))
            }
            Material::Ec { curve, point } => {
                let (x, y) = point.get(1..).unwrap_or_default().split_at(curve.width());
                let (x, y) = (encode(x), encode(y));
                format!(r#"{{"crv":"{}","kty":"EC","x":"{x}","y":"{y}"}}"#, curve.as_str())
            }
            Material::Ed(public) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(public))
            }
        };
        super::encode(Hash::of(canonical.as_bytes()).0)
    }
}

/// What a set of keys has for a signature.
pub(crate) enum Choice<'a> {
    /// Keys to try.
    Keys(Vec<&'a Key>),
    /// The named key is for something else.
    Unfit,
    /// No such key.
    Unknown,
}

/// The keys of an issuer.
#[derive(Debug, Default)]
pub(crate) struct KeySet(Vec<Key>);

impl KeySet {
    /// Reads a key set; keys that are not for us are passed over. `None`: it is no key set.
    pub(crate) fn parse(bytes: &[u8]) -> Option<KeySet> {
        let set = json::object(bytes)?;
        let listed = set.get("keys")?.as_array()?;
        let objects = listed.iter().take(KEYS).filter_map(Value::as_object);
        Some(KeySet(objects.filter_map(Key::from_jwk).collect()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys of that name that fit. Without a name, the only one that fits: a choice among several would be a guess.
    pub(crate) fn choose(&self, id: Option<&str>, algorithm: Algorithm) -> Choice<'_> {
        let fitting = |key: &&Key| key.fits(algorithm);
        let Some(id) = id else {
            let keys: Vec<&Key> = self.0.iter().filter(fitting).collect();
            return if keys.len() == 1 { Choice::Keys(keys) } else { Choice::Unknown };
        };
        let named = || self.0.iter().filter(|key| key.id.as_deref() == Some(id));
        let keys: Vec<&Key> = named().filter(fitting).collect();
        match (keys.is_empty(), named().next()) {
            (false, _) => Choice::Keys(keys),
            (true, Some(_)) => Choice::Unfit,
            (true, None) => Choice::Unknown,
        }
    }
}

fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Material> {
    // RFC 7518 §6.3.1: no leading zeros. An exponent of 1 would let anybody sign.
    let bits = n.len() * 8 - usize::try_from(n.first().filter(|byte| **byte != 0)?.leading_zeros()).ok()?;
    let odd = e.last()? & 1 == 1 && e.as_slice() != [1] && *e.first()? != 0;
    let sound = (RSA_BITS..=4 * RSA_BITS).contains(&bits) && odd && e.len() <= 4;
    sound.then_some(Material::Rsa { n, e })
}

fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Option<Material> {
    let whole = x.len() == curve.width() && y.len() == curve.width();
    whole.then(|| Material::Ec { curve, point: [&[4], x, y].concat() })
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn ecdsa(curve: Curve) -> &'static EcdsaVerificationAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED,
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use crate::json;

    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        // RFC 8037, appendix A.3.
        let jwk = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = json::object(jwk).and_then(|jwk| Key::from_jwk(&jwk)).unwrap();
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
