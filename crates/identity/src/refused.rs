//! Why credentials do not count. A reason is a fixed text: nothing that was presented can be in it, and so not in a log
//! or a record either.

use std::sync::Arc;

use ledger::RunId;

use crate::saml::Flaw;

/// A refusal, with what is known for certain about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The configured issuer that the token names, whether or not it made it.
    pub issuer: Option<Arc<str>>,
    /// The run that a verified token is for.
    pub run: Option<RunId>,
}

/// What to tell the client: the error codes of RFC 6750 §3.1 and RFC 9449 §7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Nothing was presented: 401 without an error.
    Missing,
    /// `invalid_request`: 400.
    InvalidRequest,
    /// `invalid_token`: 401.
    InvalidToken,
    /// `invalid_dpop_proof`: 401.
    InvalidProof,
    /// `insufficient_scope`: 403.
    InsufficientScope,
    /// It cannot be told now: 503, to be tried again.
    Unavailable,
}

/// Why credentials do not count, for operators and the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No `Authorization` header.
    #[error("no credentials were presented")]
    NoCredentials,
    /// Two `Authorization` or two `DPoP` headers.
    #[error("credentials were presented twice")]
    SeveralCredentials,
    /// Neither `Bearer` nor `DPoP`, or not of their form.
    #[error("the `Authorization` header has another form than `Bearer` or `DPoP` and a token")]
    Scheme,
    /// RFC 6750 §2.3: logs and histories keep URLs.
    #[error("the URL's query holds a token; it must be in the `Authorization` header")]
    TokenInQuery,
    /// Above 16 KiB.
    #[error("the token is larger than 16 KiB")]
    Oversized,

    /// Not three parts of base64url.
    #[error("the token is no signed JWT")]
    Malformed,
    /// Header or claims are no JSON object, or a key stands twice in them.
    #[error("the token's header or claims are not JSON with each key once")]
    Json,
    /// `crit` or `b64`.
    #[error("the token's header asks for an extension that is not known")]
    Critical,
    /// `jwk`, `jku` or `x5u`.
    #[error("the token's header brings its own key or says where to fetch it")]
    KeyInHeader,
    /// Another member of the header has a form that cannot be right.
    #[error("the token's header is not that of an access token")]
    Header,
    /// `none`, HMAC, or an unknown one.
    #[error("the token's algorithm is none with a public key")]
    AlgorithmUnknown,
    /// One that the issuer's settings do not list.
    #[error("the token's algorithm is not among the issuer's `algorithms`")]
    AlgorithmNotAllowed,
    /// `iss` is missing or nobody who is configured.
    #[error("the token's issuer is not configured")]
    Issuer,
    /// `typ` is not what the issuer's settings allow.
    #[error("the token's `typ` is not among the issuer's `types`")]
    Type,
    /// The issuer has no such key.
    #[error("the issuer has no key of the token's `kid`")]
    KeyUnknown,
    /// The issuer's key of that name is of another kind, curve or algorithm.
    #[error("the issuer's key of that `kid` is for another algorithm")]
    KeyUnfit,
    /// The signature is not the key's.
    #[error("the token's signature does not hold")]
    Signature,
    /// For somebody else, or for another server of ours.
    #[error("the token is for another audience")]
    Audience,
    /// After `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before `nbf`.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iat` lies in the future.
    #[error("the token was issued in the future; compare the clocks")]
    IssuedInFuture,
    /// A claim that must be there is not, or is not what it should be.
    #[error("the claim `{0}` is missing or not of its form")]
    Claim(&'static str),
    /// The claim that names the principal, by the issuer's settings.
    #[error("the issuer's `principal_claim` is missing or not of its form")]
    PrincipalClaim,
    /// The claim that names groups, by the issuer's settings.
    #[error("the issuer's `groups_claim` is not of its form")]
    GroupsClaim,
    /// The token says that groups are to be asked for elsewhere.
    #[error("the token leaves the groups out as too many; let the issuer send only those that matter here")]
    GroupsElsewhere,
    /// An address that the issuer has not verified.
    #[error("the principal's address is not verified by the issuer")]
    Unverified,
    /// An ID, refresh or logout token.
    #[error("the token is an ID, refresh or logout token and no access token")]
    NotAccessToken,
    /// Bound by a method that is not supported here.
    #[error("the token is bound to its holder by a method that is not supported")]
    Confirmation,
    /// A bound token without a proof.
    #[error("the token is bound to a key and came without a proof of it")]
    ProofMissing,
    /// The `DPoP` scheme with a token that is not bound.
    #[error("the token is bound to no key and came with the `DPoP` scheme")]
    NotBound,
    /// A proof by another key than the token's.
    #[error("the proof is by another key than the token's")]
    OtherKey,

    /// Not of a service key's form, or mistyped.
    #[error("the service key is not of its form")]
    KeyForm,
    /// No such key, or another secret.
    #[error("the service key is not known")]
    KeyNotKnown,
    /// After its end.
    #[error("the service key has expired; rotate it")]
    KeyExpired,
    /// Revoked, or replaced and past the overlap.
    #[error("the service key is revoked")]
    KeyRevoked,

    /// A code of a login, which holds once.
    #[error("a code came a second time: somebody may have stolen it, and its login is revoked")]
    CodeReused,
    /// A refresh token of a login, which holds once.
    #[error("a refresh token came a second time: somebody may have stolen it, and its login is revoked")]
    RefreshReused,

    /// The run of a token that we signed is not in the state.
    #[error("the run is not known")]
    RunUnknown,
    /// After its end.
    #[error("the run has expired")]
    RunExpired,
    /// Revoked.
    #[error("the run is revoked")]
    RunRevoked,
    /// A run above it has ended.
    #[error("a run above this one is revoked or has expired")]
    ParentEnded,

    /// Not a signed JWT with its key, of type `dpop+jwt`.
    #[error("the proof is no `dpop+jwt`")]
    ProofForm,
    /// Its key is none for signatures, or a private one.
    #[error("the proof's key is none that may be used")]
    ProofKey,
    /// Not signed by its key.
    #[error("the proof's signature does not hold")]
    ProofSignature,
    /// `htm` differs.
    #[error("the proof is for another method")]
    ProofMethod,
    /// `htu` differs.
    #[error("the proof is for another URL")]
    ProofUrl,
    /// `iat` is too old or in the future.
    #[error("the proof is too old or from the future; compare the clocks")]
    ProofTime,
    /// `iat` is so early that it may have been seen before a restart.
    #[error("the proof may have been used before the gateway began; make another one, in a few seconds")]
    ProofEarly,
    /// Seen before.
    #[error("the proof was used before")]
    ProofReplayed,
    /// `ath` differs or is missing.
    #[error("the proof is for another token")]
    ProofToken,

    /// The run's or token's scope does not cover what is asked.
    #[error("the scope does not cover this")]
    Scope,

    /// The issuer's keys could not be fetched yet.
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable,
    /// The issuer's keys could not be fetched for longer than its settings allow.
    #[error("the issuer's keys are older than `stale_hours` and cannot be fetched")]
    KeysStale,
    /// A SAML response that logs nobody in.
    #[error(transparent)]
    Saml(#[from] Flaw),

    /// What is revoked cannot be told.
    #[error("the state of keys and runs cannot be read")]
    State,
    /// More proofs than can be remembered.
    #[error("too many proofs at a time")]
    Crowded,
}

impl Reason {
    /// What to tell the client.
    pub fn code(self) -> Code {
        use Reason::{
            Crowded, KeysStale, KeysUnavailable, NoCredentials, Oversized, ProofEarly, ProofForm, ProofKey,
            ProofMethod, ProofReplayed, ProofSignature, ProofTime, ProofToken, ProofUrl, Scheme, Scope,
            SeveralCredentials, State, TokenInQuery,
        };
        match self {
            NoCredentials => Code::Missing,
            SeveralCredentials | Scheme | TokenInQuery | Oversized => Code::InvalidRequest,
            ProofForm | ProofKey | ProofSignature | ProofMethod | ProofUrl | ProofTime | ProofEarly
            | ProofReplayed | ProofToken => Code::InvalidProof,
            Scope => Code::InsufficientScope,
            KeysUnavailable | KeysStale | State | Crowded => Code::Unavailable,
            _ => Code::InvalidToken,
        }
    }
}

impl Refused {
    /// What to tell the client.
    pub fn code(&self) -> Code {
        self.reason.code()
    }

    pub(crate) fn of(self, issuer: &Arc<str>) -> Refused {
        Refused { issuer: Some(Arc::clone(issuer)), ..self }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Refused {
        Refused { reason, issuer: None, run: None }
    }
}

impl Code {
    /// The `error` of a challenge; none where nothing was presented or nothing is wrong with it.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Code::Missing | Code::Unavailable => None,
            Code::InvalidRequest => Some("invalid_request"),
            Code::InvalidToken => Some("invalid_token"),
            Code::InvalidProof => Some("invalid_dpop_proof"),
            Code::InsufficientScope => Some("insufficient_scope"),
        }
    }

    /// The HTTP status.
    pub fn status(self) -> http::StatusCode {
        match self {
            Code::Missing | Code::InvalidToken | Code::InvalidProof => http::StatusCode::UNAUTHORIZED,
            Code::InvalidRequest => http::StatusCode::BAD_REQUEST,
            Code::InsufficientScope => http::StatusCode::FORBIDDEN,
            Code::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
