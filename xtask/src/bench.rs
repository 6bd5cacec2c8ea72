//! Measures the release binary against a direct connection.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::setup;
use crate::shell::Steps;
use crate::workspace::Workspace;

/// Builds both in release mode and runs; what is chosen goes to the bench as it is.
pub(crate) fn run(workspace: &Workspace, chosen: &[&str]) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    // Each alone, as users get it: together they would have each other's features.
    for package in ["cli", "bench"] {
        let mut build = setup::cargo(workspace);
        build.args(["build", "--quiet", "--release", "--package", package]);
        steps.quiet(&format!("build {package}"), &mut build)?;
    }
    let release = workspace.target.join("release");
    let docs = workspace.root.join("docs");
    let folder = workspace.target.join("bench");
    std::fs::create_dir_all(&folder)?;
    let mut bench = Command::new(release.join("bench"));
    bench.args(["run", "--binary"]).arg(release.join("tollbook")).arg("--folder").arg(&folder).args(chosen);
    if chosen.contains(&"--quick") {
        bench.arg("--out").arg(&folder);
    } else {
        bench.arg("--out").arg(docs.join("performance")).arg("--page").arg(docs.join("performance.md"));
    }
    ensure!(bench.status().context("the bench cannot be run")?.success(), "the bench failed");
    Ok(())
}
