//! What CI runs, in the order in which mistakes are cheapest to find. The first failure stops.

use std::process::Command;

use crate::setup;
use crate::shell::Steps;
use crate::tidy;
use crate::workspace::Workspace;

/// Format, lints, tidy, licences, every test, documentation.
pub(crate) fn ci(workspace: &Workspace) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    let cargo = |arguments: &[&str]| command(workspace, arguments);
    steps.quiet("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    steps.own("tidy", || tidy::run(workspace))?;
    steps.own("setup", || setup::all(workspace))?;
    steps.own("setup cargo-deny", || setup::deny(workspace))?;
    steps.quiet(
        "lints",
        &mut cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    )?;
    // Advisories come from a database that is fetched, and CI fetches packages only.
    steps.quiet(
        "licences and bans",
        &mut cargo(&["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]),
    )?;
    let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    steps.quiet("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    unit_tests(workspace, &mut steps)?;
    end_to_end(workspace, &mut steps)?;
    steps.finish("ci");
    Ok(())
}

/// Every test, after installing what they need.
pub(crate) fn test(workspace: &Workspace) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    steps.own("setup", || setup::all(workspace))?;
    unit_tests(workspace, &mut steps)?;
    end_to_end(workspace, &mut steps)?;
    steps.finish("test");
    Ok(())
}

/// The tests of the crates. One selection of packages for all of cargo's runs: another one would build dependencies
/// again with other features.
fn unit_tests(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    let run = ["nextest", "run", "--workspace", "--profile", "ci", "-E", "not package(e2e)"];
    steps.tests("tests", &mut command(workspace, &run))?;
    steps.tests("doctests", &mut command(workspace, &["test", "--quiet", "--workspace", "--doc"]))
}

/// The tests of the binary, as its users get it: built alone, without the features that other crates ask for.
fn end_to_end(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    steps.quiet("build", &mut command(workspace, &["build", "--quiet", "--package", "cli"]))?;
    let run = ["nextest", "run", "--workspace", "--profile", "ci", "-E", "package(e2e)"];
    let mut nextest = command(workspace, &run);
    // Building the tests builds the binary over; theirs is the one that was built alone.
    let binary = workspace.target.join("e2e-tollbook");
    // A gateway of an earlier run may still execute the file that is there.
    let new = workspace.target.join("e2e-tollbook.new");
    std::fs::copy(workspace.binary(), &new)?;
    std::fs::rename(&new, &binary)?;
    steps.tests("end to end", nextest.env("TOLLBOOK_BIN", binary))?;
    // Nextest has built the example with the tests.
    let mut selftest = Command::new("sh");
    selftest
        .arg(workspace.root.join("e2e/foreign/selftest.sh"))
        .arg(workspace.target.join("debug/examples/write_log"));
    steps.quiet("foreign verifiers", &mut selftest)
}

fn command(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut cargo = setup::cargo(workspace);
    cargo.args(arguments);
    cargo
}
