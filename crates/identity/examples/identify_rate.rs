//! What it costs to know a caller who was seen before: `cargo run --release -p identity --example identify_rate`.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use identity::{
    Credentials, KEY_LIFETIME, Mint, NewKey, Principal, PrincipalKind, RunKey, RunLimits, RunOrder, Scope,
    Settings, Under, Verifier, issue_key,
};
use store::state::State;

const GATE: &str = "https://gate.example";
const FILES: &str = "https://gate.example/mcp/files";
const NOW: u64 = 1_800_000_000;
const ROUNDS: u32 = 50_000;
const RUNS: u32 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let state = Arc::new(State::open(folder.path())?);
    let mint = Mint::new(Arc::clone(&state), RunKey::open(folder.path())?, GATE, RunLimits::default());
    let mint = Arc::new(mint);
    let verifier = Verifier::new(&Settings::new(GATE), Arc::clone(&state), Arc::clone(&mint))?;
    let new = NewKey {
        name: "ci-bot".to_owned(),
        groups: vec!["ci".to_owned()],
        note: String::new(),
        created_by: "ops".to_owned(),
        lifetime: KEY_LIFETIME,
    };
    let key = issue_key(&state, &new, NOW)?;
    let started = Instant::now();
    let mut parent = mint.mint(order(Under::Principal(alice(), Vec::new())), NOW)?;
    for _ in 1..RUNS {
        parent = mint.mint(order(Under::Principal(alice(), Vec::new())), NOW)?;
    }
    say("mint a run, durable", started.elapsed() / RUNS)?;
    let mut child = mint.mint(order(Under::Run(parent.run.id)), NOW)?;
    for _ in 0..6 {
        child = mint.mint(order(Under::Run(child.run.id)), NOW)?;
    }
    for (name, token) in [
        ("service key", key.secret.reveal()),
        ("run token", parent.token.reveal()),
        ("run token, seven runs above", child.token.reveal()),
    ] {
        say(name, identify(&verifier, token).await?)?;
    }
    let mark = state.changes(store::state::Mark::default())?.ok_or("no changes")?.mark;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        state.changes(mark)?;
    }
    say("of it, asking whether anything was committed", started.elapsed() / ROUNDS)
}

async fn identify(verifier: &Verifier, token: &str) -> Result<Duration, Box<dyn Error>> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse()?);
    verifier.identify(&Credentials::of_request(&headers, "POST", FILES), FILES, NOW).await?;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        verifier.identify(&Credentials::of_request(&headers, "POST", FILES), FILES, NOW).await?;
    }
    Ok(started.elapsed() / ROUNDS)
}

fn order(under: Under) -> RunOrder {
    RunOrder {
        under,
        actors: Vec::new(),
        purpose: Some("measure".to_owned()),
        scope: Scope::Unlimited,
        audience: Vec::new(),
        lifetime: None,
        bound: None,
        minted_by: "ops".to_owned(),
        key: None,
        login: None,
    }
}

fn alice() -> Principal {
    Principal { kind: PrincipalKind::User, id: "alice".to_owned(), issuer: "https://idp.example".to_owned() }
}

fn say(what: &str, each: Duration) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(std::io::stdout(), "{:>10.2} µs  {what}", each.as_secs_f64() * 1e6)?)
}
