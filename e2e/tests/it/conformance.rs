//! The official conformance suite gives through the gateway what it gives directly, scenario by scenario.

use std::process::Command;

use e2e::gateway::{Gateway, tollbook};
use e2e::peers::{Peer, free_port, node, package, repository};

use crate::callers::{printed, silent};

#[test]
fn requirements_2025_11_25() {
    check(&["--requirements", "2025-11-25"], 80);
}

#[test]
fn requirements_2026_07_28() {
    check(&["--requirements", "2026-07-28"], 190);
}

#[test]
fn suite_all_2025_11_25() {
    check(&["--suite", "all", "--spec-version", "2025-11-25"], 80);
}

#[test]
fn suite_all_2026_07_28() {
    check(&["--suite", "all", "--spec-version", "2026-07-28"], 150);
}

#[test]
fn with_a_credential_2025_11_25() {
    check_with_credential(&["--requirements", "2025-11-25"], 80);
}

#[test]
fn with_a_credential_2026_07_28() {
    check_with_credential(&["--requirements", "2026-07-28"], 190);
}

const POLICIES: &str = r#"permit (principal in Group::"suite", action, resource in Server::"fixture");"#;

struct Fixture {
    url: String,
    _peer: Peer,
}

fn fixture() -> Fixture {
    let port = free_port();
    let mut fixture = Command::new(node());
    fixture.arg(repository().join("e2e/peers/node/everything-conformance.mjs")).arg(port.to_string());
    Fixture { url: format!("http://127.0.0.1:{port}/mcp"), _peer: Peer::start(fixture, "listening on") }
}

/// `least` guards against a suite that ran next to nothing, which would be the same on both ways.
fn check(suite: &[&str], least: u32) {
    let fixture = fixture();
    let direct = &fixture.url;
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), &format!("[servers.fixture]\nurl = \"{direct}\"\n"));

    let through = format!("{}/mcp/fixture", gateway.url);
    let [directly, through] = alike(|| [run(suite, direct, &[]), run(suite, &through, &[])]);

    assert_eq!(directly, through);
    let failed: u32 = directly.iter().map(|scenario| scenario.failed).sum();
    assert!(passed(&directly) >= least && failed == 0, "{failed} checks failed: {directly:?}");
    let (data, _) = (gateway.data.clone(), gateway.stop());
    let verified = tollbook(&data, &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Runs that are alike, of three tries: some scenarios give an answer half a second, in which a busy machine may do nothing.
fn alike(runs: impl Fn() -> [Vec<Scenario>; 2]) -> [Vec<Scenario>; 2] {
    let differ = |[one, other]: &[Vec<Scenario>; 2]| one != other;
    (0..2).fold(runs(), |before, _| if differ(&before) { runs() } else { before })
}

fn passed(scenarios: &[Scenario]) -> u32 {
    scenarios.iter().map(|scenario| scenario.passed).sum()
}

#[derive(Debug, PartialEq, Eq)]
struct Scenario {
    name: String,
    passed: u32,
    failed: u32,
}

/// The same with a credential, before a gateway that asks for one and judges each call by policy.
fn check_with_credential(suite: &[&str], least: u32) {
    let fixture = fixture();
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("suite.cedar");
    std::fs::write(&policies, POLICIES).expect("written");
    let url = format!("http://127.0.0.1:{}", free_port());
    // Tools come and go while the suite runs, so none waits to be accepted.
    let settings = format!(
        "listen = {:?}\npublic_url = {url:?}\n[identity]\n[policy]\npath = {policies:?}\npins = \"flag\"\n\
         [servers.fixture]\nurl = {:?}\n",
        url.trim_start_matches("http://"),
        fixture.url
    );
    let data = folder.path().join("data");
    let gateway = Gateway::with_environment(&data, &settings, &[]).expect("it starts");
    let key = printed(&data, &["keys", "create", "--service", "suite", "--groups", "suite"]);
    let through = format!("{url}/mcp/fixture");
    let preload = repository().join("e2e/peers/node/conformance/credential.mjs");
    let preload = format!("--import={}", preload.display());
    let credential = [("NODE_OPTIONS", preload.as_str()), ("ORIGIN", &url), ("CREDENTIAL", &key)];

    let refused = run(suite, &through, &[]);
    let [directly, secured] = alike(|| [run(suite, &fixture.url, &[]), run(suite, &through, &credential)]);

    let other: Vec<_> = directly.iter().zip(&secured).filter(|(direct, secured)| direct != secured).collect();
    assert!(directly == secured, "{other:#?}");
    assert!(passed(&secured) >= least, "{secured:?}");
    assert!(passed(&refused) < least / 2, "the gateway asks for a credential: {refused:?}");
    let log = gateway.stop();
    let calls = printed(&data, &["calls", "--json", "--limit", "100000"]);
    assert!(calls.contains(&format!("service:suite ({url})")), "{calls}");
    silent(&[key], &[&log, &calls]);
    assert!(tollbook(&data, &["verify"]).status.success());
}

/// The suite's summary: `✓ NAME: N passed, M failed` for each scenario.
fn run(suite: &[&str], url: &str, environment: &[(&str, &str)]) -> Vec<Scenario> {
    let output = Command::new(node())
        .envs(environment.iter().copied())
        .arg(package("@modelcontextprotocol/conformance/dist/index.js"))
        .args(["server", "--timeout", "600000", "--url", url])
        .args(suite)
        .output()
        .expect("the suite runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let scenarios: Vec<Scenario> = text.lines().filter_map(scenario).collect();
    assert!(!scenarios.is_empty(), "no summary:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    scenarios
}

fn scenario(line: &str) -> Option<Scenario> {
    let (name, counts) = line.strip_prefix("✓ ").or_else(|| line.strip_prefix("✗ "))?.rsplit_once(": ")?;
    let (passed, failed) = counts.split_once(" passed, ")?;
    let failed = failed.split_once(" failed")?.0;
    Some(Scenario { name: name.to_owned(), passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}
