//! The gateway as an OAuth client: who it says it is to an authorization server, and by what it proves it
//! (RFC 6749 §2.3, RFC 7523 §2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::UpstreamError;
use super::discovery::ServerMetadata;
use super::source::{SecretSource, Value};
use crate::jose::{Algorithm, Signer};
use crate::random;
use crate::secret::Secret;

/// How long an assertion holds: it is used at once.
const ASSERTION_SECONDS: u64 = 60;

/// By what the gateway proves to an authorization server who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientProof {
    /// By nothing: a public client.
    Nothing,
    /// By a secret, in the way that the authorization server says it takes.
    Secret(SecretSource),
    /// By a secret, by HTTP Basic.
    SecretByBasic(SecretSource),
    /// By a secret, in the form.
    SecretByPost(SecretSource),
    /// By a signature (`private_key_jwt`).
    Key {
        /// The private key in PEM.
        pem: SecretSource,
        /// Its name at the authorization server.
        id: Option<String>,
        /// The algorithm to sign with; that of the key's kind if not given.
        algorithm: Option<Algorithm>,
    },
}

/// A client and its proof.
#[derive(Debug)]
pub(super) struct Client {
    id: String,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    Nothing,
    Secret(Value, Option<Way>),
    Key { pem: Value, id: Option<String>, algorithm: Option<Algorithm> },
}

/// How a secret is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Basic,
    Post,
}

/// What a token request begins with.
pub(super) struct Introduced {
    form: Vec<(&'static str, String)>,
    pub(super) authorization: Option<String>,
}

impl Introduced {
    /// With another parameter.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Introduced {
        self.form.push((name, value.to_owned()));
        self
    }

    /// The form.
    pub(super) fn encoded(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.form).finish()
    }
}

impl Client {
    pub(super) fn new(id: String, proof: ClientProof) -> Client {
        let proof = match proof {
            ClientProof::Nothing => Proof::Nothing,
            ClientProof::Secret(source) => Proof::Secret(Value::new(source), None),
            ClientProof::SecretByBasic(source) => Proof::Secret(Value::new(source), Some(Way::Basic)),
            ClientProof::SecretByPost(source) => Proof::Secret(Value::new(source), Some(Way::Post)),
            ClientProof::Key { pem, id, algorithm } => Proof::Key { pem: Value::new(pem), id, algorithm },
        };
        Client { id, proof }
    }

    /// Begins a request to an authorization server.
    pub(super) async fn introduce(
        &self,
        server: &ServerMetadata,
        now: u64,
    ) -> Result<Introduced, UpstreamError> {
        let introduced = Introduced { form: Vec::new(), authorization: None };
        match &self.proof {
            Proof::Nothing => Ok(introduced.with("client_id", &self.id)),
            Proof::Secret(value, way) => {
                let secret = value.current(now).await?;
                match way.unwrap_or_else(|| usual(&server.proofs)) {
                    Way::Basic => {
                        Ok(Introduced { authorization: Some(basic(&self.id, &secret)), ..introduced })
                    }
                    Way::Post => {
                        Ok(introduced.with("client_id", &self.id).with("client_secret", secret.reveal()))
                    }
                }
            }
            Proof::Key { pem, id, algorithm } => {
                let pem = pem.current(now).await?;
                let unusable = UpstreamError::Secret("the key is no private key in PEM that can sign so");
                let signer = Signer::from_pem(pem.reveal().as_bytes(), *algorithm, id.clone());
                let assertion = self.assertion(&signer.ok_or(unusable)?, &server.issuer, now)?;
                Ok(introduced
                    .with("client_id", &self.id)
                    .with("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .with("client_assertion", &assertion))
            }
        }
    }

    /// The audience is the issuer alone: an authorization server that names another's token endpoint as its own gets nothing
    /// that the other would take.
    fn assertion(&self, signer: &Signer, issuer: &str, now: u64) -> Result<String, UpstreamError> {
        let failed = UpstreamError::Secret("the system's random source failed");
        let id = random::digits(32).map_err(|_| failed.clone())?;
        let claims = json!({
            "iss": self.id, "sub": self.id, "aud": issuer, "jti": id,
            "iat": now, "nbf": now, "exp": now.saturating_add(ASSERTION_SECONDS),
        });
        signer.sign(&claims).ok_or(failed)
    }
}

/// Basic, which every server takes, unless it says that it takes the other alone.
fn usual(proofs: &[String]) -> Way {
    let takes = |name: &str| proofs.iter().any(|proof| proof == name);
    if takes("client_secret_post") && !takes("client_secret_basic") { Way::Post } else { Way::Basic }
}

fn basic(id: &str, secret: &Secret) -> String {
    let escaped = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", escaped(id), escaped(secret.reveal()))))
}
