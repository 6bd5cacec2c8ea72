//! The official conformance suite gives through the gateway what it gives directly, scenario by scenario.

use std::process::Command;

use e2e::gateway::Gateway;
use e2e::peers::{Peer, free_port, node, package, repository};

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

/// `least` guards against a suite that ran next to nothing, which would be the same on both ways.
fn check(suite: &[&str], least: u32) {
    let port = free_port();
    let mut fixture = Command::new(node());
    fixture.arg(repository().join("e2e/peers/node/everything-conformance.mjs")).arg(port.to_string());
    let _fixture = Peer::start(fixture, "listening on");
    let direct = format!("http://127.0.0.1:{port}/mcp");
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), &format!("[servers.fixture]\nurl = \"{direct}\"\n"));

    let directly = run(suite, &direct);
    let through = run(suite, &format!("{}/mcp/fixture", gateway.url));

    assert_eq!(directly, through);
    let passed: u32 = directly.iter().map(|scenario| scenario.passed).sum();
    let failed: u32 = directly.iter().map(|scenario| scenario.failed).sum();
    assert!(passed >= least && failed == 0, "{passed} checks passed, {failed} failed: {directly:?}");
    let (data, _) = (gateway.data.clone(), gateway.stop());
    let verified = e2e::gateway::tollbook(&data, &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[derive(Debug, PartialEq, Eq)]
struct Scenario {
    name: String,
    passed: u32,
    failed: u32,
}

/// The suite's summary: `✓ NAME: N passed, M failed` for each scenario.
fn run(suite: &[&str], url: &str) -> Vec<Scenario> {
    let output = Command::new(node())
        .arg(package("@modelcontextprotocol/conformance/dist/index.js"))
        .args(["server", "--url", url])
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
