//! A gateway's identity on a stage: a state, a mint, a verifier, and one provider with a key of each kind.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::HeaderMap;
use identity::{
    Caller, Credentials, Issuer, Mint, NewKey, Principal, PrincipalKind, Refused, RunKey, RunOrder, Scope,
    Settings, Under, Verifier,
};
use serde_json::json;
use store::state::State;

use crate::provider::Idp;
use crate::signing::{Draft, Pair};

/// The present.
pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const GATE: &str = "https://gate.example";
pub(crate) const FILES: &str = "https://gate.example/mcp/files";
pub(crate) const MAIL: &str = "https://gate.example/mcp/mail";

/// One for all stages of a test: making it takes a while.
static RSA: LazyLock<Pair> = LazyLock::new(Pair::rsa);

pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) state: Arc<State>,
    pub(crate) mint: Arc<Mint>,
    pub(crate) settings: Settings,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) idp: Idp,
    pub(crate) rsa: &'static Pair,
    pub(crate) p256: Pair,
}

impl Stage {
    pub(crate) async fn set() -> Stage {
        Stage::with(|_| {}).await
    }

    /// With the provider's settings, or others, changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Stage {
        let (rsa, p256, ed) = (&*RSA, Pair::ec("P-256"), Pair::ed());
        let idp = Idp::start(&[rsa.published("rsa"), p256.published("p256"), ed.published("ed")]).await;
        let mut settings = Settings { fetch_wait: Duration::from_secs(60), ..Settings::new(GATE) };
        settings.issuers.push(Issuer { groups_claim: Some("groups".to_owned()), ..Issuer::new(&idp.url) });
        change(&mut settings);
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let key = RunKey::open(folder.path()).unwrap();
        let mint = Arc::new(Mint::new(Arc::clone(&state), key, GATE, settings.runs.clone()));
        let verifier = Verifier::new(&settings, Arc::clone(&state), Arc::clone(&mint)).unwrap();
        let verifier = Arc::new(verifier);
        Stage { folder, state, mint, settings, verifier, idp, rsa, p256 }
    }

    /// The same after a restart at that time.
    pub(crate) fn restarted(self, now: u64) -> Stage {
        let made = Verifier::new(&self.settings, Arc::clone(&self.state), Arc::clone(&self.mint));
        Stage { verifier: Arc::new(made.unwrap().begun(now)), ..self }
    }

    /// A token of the provider that counts, to be made one that does not.
    pub(crate) fn draft(&self) -> Draft {
        let header = json!({ "alg": "ES256", "kid": "p256", "typ": "JWT" });
        let claims = json!({
            "iss": self.idp.url, "sub": "alice", "aud": FILES, "client_id": "editor", "jti": "t-1",
            "groups": ["eng", "ops"], "iat": NOW - 10, "exp": NOW + 300,
        });
        Draft::new(&header, &claims)
    }

    pub(crate) fn token(&self) -> String {
        self.draft().sign(&self.p256)
    }

    pub(crate) async fn bearer(&self, token: &str) -> Result<Caller, Refused> {
        self.at(token, NOW).await
    }

    pub(crate) async fn at(&self, token: &str, now: u64) -> Result<Caller, Refused> {
        let headers = authorization(&format!("Bearer {token}"));
        self.verifier.identify(&Credentials::of_request(&headers, "POST", FILES), FILES, now).await
    }

    /// A run of alice's.
    pub(crate) fn order(&self) -> RunOrder {
        RunOrder {
            under: Under::Principal(alice(&self.idp.url), vec!["eng".to_owned()]),
            actors: Vec::new(),
            purpose: Some("tidy the backlog".to_owned()),
            scope: Scope::Unlimited,
            audience: Vec::new(),
            lifetime: None,
            bound: None,
            minted_by: "alice".to_owned(),
            key: None,
            login: None,
        }
    }

    pub(crate) fn key(&self) -> identity::IssuedKey {
        let new = NewKey {
            name: "ci-bot".to_owned(),
            groups: vec!["ci".to_owned()],
            note: "nightly".to_owned(),
            created_by: "ops".to_owned(),
            lifetime: identity::KEY_LIFETIME,
        };
        identity::issue_key(&self.state, &new, NOW).unwrap()
    }
}

pub(crate) fn alice(issuer: &str) -> Principal {
    Principal { kind: PrincipalKind::User, id: "alice".to_owned(), issuer: issuer.to_owned() }
}

pub(crate) fn authorization(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value.parse().unwrap());
    headers
}

/// What was logged while `work` ran.
pub(crate) fn logged<T>(work: impl Future<Output = T>) -> impl Future<Output = (T, String)> {
    // Each use has its own future, and they are large.
    log_of(Box::pin(work))
}

async fn log_of<T>(work: std::pin::Pin<Box<impl Future<Output = T>>>) -> (T, String) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let done = work.await;
    drop(guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    (done, text)
}

#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
