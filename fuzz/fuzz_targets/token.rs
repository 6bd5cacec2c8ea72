//! Whatever is presented as a credential: nobody who does not hold a key gets in.

#![no_main]

use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use identity::{Credentials, Issuer, KeySource, Mint, RunKey, Settings, Verifier};
use libfuzzer_sys::fuzz_target;
use store::state::State;
use tokio::runtime::Runtime;

const URL: &str = "https://gate.example";

struct Gate {
    runtime: Runtime,
    verifier: Verifier,
    _folder: tempfile::TempDir,
}

fuzz_target!(|presented: &[u8]| {
    static GATE: OnceLock<Gate> = OnceLock::new();
    let gate = GATE.get_or_init(gate);
    let mut headers = HeaderMap::new();
    let Ok(value) = http::HeaderValue::from_bytes(presented) else { return };
    headers.insert(AUTHORIZATION, value);
    let url = format!("{URL}/mcp/bank");
    let credentials = Credentials::of_request(&headers, "POST", &url);
    let caller = gate.runtime.block_on(gate.verifier.identify(&credentials, &url, 1_795_262_400));
    assert!(caller.is_err(), "a stranger is let in");
});

/// A gate with one issuer, whose key is that of RFC 7517, appendix A.1.
fn gate() -> Gate {
    let keys = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1"}]}"#;
    let mut settings = Settings::new(URL);
    let issuer = Issuer::new("https://idp.example");
    settings.issuers.push(Issuer { keys: KeySource::Fixed(keys.to_owned()), ..issuer });
    let folder = tempfile::tempdir().expect("a folder");
    let state = Arc::new(State::open(folder.path()).expect("a state"));
    let key = RunKey::open(folder.path()).expect("a key");
    let mint = Arc::new(Mint::new(Arc::clone(&state), key, URL, settings.runs.clone()));
    let verifier = Verifier::new(&settings, state, mint).expect("a verifier");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    Gate { runtime: runtime.expect("a runtime"), verifier, _folder: folder }
}
