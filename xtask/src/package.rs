//! What is handed to those who install: the release binary, its manual pages, its completions, a Debian package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::setup;
use crate::shell::{self, Steps, say};
use crate::workspace::Workspace;

/// Shells by the name that `tollbook completions` knows, with the file that holds what it prints.
const SHELLS: [(&str, &str); 3] =
    [("bash", "tollbook.bash"), ("zsh", "_tollbook"), ("fish", "tollbook.fish")];

/// Makes it all and says where it is.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    setup::deb(workspace, &mut steps)?;
    let build = ["build", "--quiet", "--release", "--locked", "--package", "cli", "--bin", "tollbook"];
    steps.quiet("build the release (minutes)", setup::cargo(workspace).args(build))?;
    let binary = workspace.target.join("release/tollbook");
    // The manifest names what lies here.
    let folder = workspace.target.join("release/package");
    steps.own("manual pages", || pages(&binary, &folder.join("man")))?;
    steps.own("completions", || completions(&binary, &folder))?;
    let package = debian(workspace, &mut steps)?;
    for made in [&binary, &folder, &package] {
        say(&format!("  {}", made.display()));
    }
    Ok(())
}

/// Gives the package's path, as cargo-deb names it after version and architecture.
fn debian(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<PathBuf> {
    let mut package = PathBuf::new();
    steps.own("Debian package", || {
        let mut deb = setup::cargo(workspace);
        deb.args(["deb", "--no-build", "--no-strip", "--locked", "--package", "cli"]);
        let output = deb.output().context("cannot run cargo deb")?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "cargo deb failed:\n{said}");
        if !said.is_empty() {
            say(said.trim_end());
        }
        package = String::from_utf8_lossy(&output.stdout).trim().into();
        Ok(())
    })?;
    Ok(package)
}

/// Compressed as Debian wants them; without the time, so that the same binary gives the same package.
fn pages(binary: &Path, folder: &Path) -> anyhow::Result<()> {
    afresh(folder)?;
    shell::quietly(Command::new(binary).args(["man", "--output"]).arg(folder))?;
    let mut pages: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        pages.push(entry?.path());
    }
    shell::quietly(Command::new("gzip").args(["-9", "--no-name"]).args(pages))
}

fn completions(binary: &Path, folder: &Path) -> anyhow::Result<()> {
    for (shell, file) in SHELLS {
        let output = Command::new(binary).args(["completions", shell]).output()?;
        anyhow::ensure!(output.status.success(), "no completions for {shell}");
        let path = folder.join(file);
        std::fs::write(&path, output.stdout).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// An empty folder: pages of commands that are gone would be packaged.
fn afresh(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}
