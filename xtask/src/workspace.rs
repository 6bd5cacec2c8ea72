//! Where the repository is and what `cargo metadata` says of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// The repository.
pub(crate) struct Workspace {
    /// Its root folder.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// Its crates.
    pub(crate) crates: Vec<Crate>,
}

/// One crate of the workspace.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    /// Relative to the root, with `/`.
    pub(crate) folder: String,
    /// Names of what it depends on, for whatever purpose.
    pub(crate) dependencies: BTreeSet<String>,
}

impl Workspace {
    /// Reads the workspace that xtask belongs to.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = own.parent().context("xtask's folder has no parent")?.to_owned();
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(&root)
            .output()
            .context("cannot run cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).context("cannot read cargo metadata")?;
        let crates = metadata.packages.into_iter().map(|package| package.into_crate(&root)).collect();
        Ok(Self { root, target: metadata.target_directory, crates })
    }

    /// The folder of installed tools.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// The binary that a dev build makes.
    pub(crate) fn binary(&self) -> PathBuf {
        self.target.join("debug/tollbook")
    }

    /// Node from the registry package, newer than the system's.
    pub(crate) fn node(&self) -> PathBuf {
        self.root.join("e2e/peers/node/node_modules/node/bin/node")
    }

    /// Python with the MCP SDK.
    pub(crate) fn python(&self) -> PathBuf {
        self.tools().join("venv/bin/python")
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
}

impl Package {
    fn into_crate(self, root: &Path) -> Crate {
        let folder = self.manifest_path.parent().unwrap_or(root);
        let folder = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned();
        Crate {
            name: self.name,
            folder,
            dependencies: self.dependencies.into_iter().map(|d| d.name).collect(),
        }
    }
}
