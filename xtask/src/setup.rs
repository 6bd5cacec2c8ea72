//! Installs what tests and demo need and a fresh machine lacks.
//!
//! Each need says how to see that it is met; what comes from a lock file is met when a stamp holds that file's
//! content. Nothing is downloaded but packages, by their ordinary clients.

use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::shell::{self, Steps};
use crate::workspace::Workspace;

/// What tests are run with; pinned, as a newer one may need a newer compiler.
const CARGO_NEXTEST: &str = "0.9.143";

/// What licence and ban checks are made with; pinned, as its rules change between versions.
const CARGO_DENY: &str = "0.20.2";

/// What the Debian package is made with; pinned, as its maintainer scripts are part of what is shipped.
const CARGO_DEB: &str = "3.8.0";

/// Debian packages, each with what shows that it is there.
const DEBIAN: [(&str, Shows); 3] = [
    ("golang-go", Shows::Program("go", "version")),
    ("golang-golang-x-mod-dev", Shows::Folder("/usr/share/gocode/src/golang.org/x/mod/sumdb")),
    ("openssl", Shows::Program("openssl", "version")),
];

#[derive(Clone, Copy)]
enum Shows {
    Program(&'static str, &'static str),
    Folder(&'static str),
}

/// All that `test` and `demo` need.
pub(crate) fn all(workspace: &Workspace) -> anyhow::Result<()> {
    let mut steps = Steps::new();
    std::fs::create_dir_all(workspace.tools())?;
    debian(&mut steps)?;
    cargo_tool(workspace, &mut steps, "nextest", CARGO_NEXTEST)?;
    peers(workspace, &mut steps)
}

/// The peers alone: real servers and clients.
pub(crate) fn peers(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    std::fs::create_dir_all(workspace.tools())?;
    let node = workspace.root.join("e2e/peers/node");
    stamped(workspace, "node", &node.join("package-lock.json"), &workspace.node(), || {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved"]).current_dir(&node);
        steps.quiet("install Node peers", &mut npm)
    })?;
    let python = workspace.root.join("e2e/peers/python/requirements.txt");
    stamped(workspace, "python", &python, &workspace.python(), || {
        let venv = workspace.tools().join("venv");
        shell::quietly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&python);
        steps.quiet("install Python peers", &mut pip)
    })
}

/// What `ci` needs beyond.
pub(crate) fn deny(workspace: &Workspace) -> anyhow::Result<()> {
    cargo_tool(workspace, &mut Steps::new(), "deny", CARGO_DENY)
}

/// What `package` needs.
pub(crate) fn deb(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<()> {
    std::fs::create_dir_all(workspace.tools())?;
    cargo_tool(workspace, steps, "deb", CARGO_DEB)
}

/// `cargo`, which finds the tools installed here before those of the machine.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut cargo = Command::new("cargo");
    let mut path = vec![workspace.tools().join("bin")];
    path.extend(std::env::split_paths(&machine_path()));
    if let Ok(path) = std::env::join_paths(path) {
        cargo.env("PATH", path);
    }
    cargo.current_dir(&workspace.root);
    cargo
}

#[expect(clippy::disallowed_methods, reason = "xtask has no configuration; the search path is the machine's")]
fn machine_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn debian(steps: &mut Steps) -> anyhow::Result<()> {
    let missing: Vec<&str> =
        DEBIAN.iter().filter(|(_, shows)| !shows.there()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let quiet = ["-qq", "--yes", "--no-install-recommends"];
    // A machine that has just been made may be at its own updates.
    let patient = ["-o", "Acquire::Retries=5", "-o", "DPkg::Lock::Timeout=600"];
    steps.quiet("apt-get update", Command::new("apt-get").args(patient).args(["-qq", "update"]))?;
    let mut install = Command::new("apt-get");
    install.args(patient).env("DEBIAN_FRONTEND", "noninteractive").arg("install").args(quiet).args(&missing);
    steps.quiet(&format!("install {}", missing.join(", ")), &mut install)
}

impl Shows {
    fn there(self) -> bool {
        match self {
            Self::Program(program, argument) => shell::succeeds(Command::new(program).arg(argument)),
            Self::Folder(folder) => Path::new(folder).is_dir(),
        }
    }
}

/// A subcommand of cargo: the machine's if it is there in that version, else one built into `.tools`.
fn cargo_tool(workspace: &Workspace, steps: &mut Steps, name: &str, version: &str) -> anyhow::Result<()> {
    let output = cargo(workspace).args([name, "--version"]).output().context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let there = output.status.success() && text.split_whitespace().any(|word| word == version);
    if there {
        return Ok(());
    }
    let package = format!("cargo-{name}");
    let mut install = cargo(workspace);
    install
        .env_remove("CARGO_TARGET_DIR")
        .args(["install", "--quiet", "--locked", "--force", &package, "--root"]);
    install.arg(workspace.tools()).args(["--version", version]);
    steps.quiet(&format!("install {package} (minutes)"), &mut install)
}

/// Does `work` unless `made` exists and the stamp holds what `lock` holds.
fn stamped(
    workspace: &Workspace,
    name: &str,
    lock: &Path,
    made: &Path,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stamp = workspace.tools().join(format!("{name}.stamp"));
    let wanted = std::fs::read(lock).with_context(|| format!("cannot read {}", lock.display()))?;
    if made.exists() && std::fs::read(&stamp).is_ok_and(|stamped| stamped == wanted) {
        return Ok(());
    }
    work()?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
