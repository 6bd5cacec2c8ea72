//! Rules of the house that no compiler checks: who depends on whom, sizes, names, links.
//!
//! A rule takes text and gives findings, and knows nothing of files or of exceptions; those stand in `tidy.toml`, each
//! with a reason, and one that nothing needs any more is a finding itself.

mod arrows;
mod documents;
mod exceptions;
mod source;
mod text;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::shell;
use crate::workspace::Workspace;

/// Something against a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Name of the rule, as in `tidy.toml`.
    rule: &'static str,
    /// File, relative to the root.
    path: String,
    /// Line, from 1; 0 if it is about the file.
    line: usize,
    /// Function or type that it is about; empty if none.
    item: String,
    /// What is wrong.
    text: String,
}

impl Finding {
    fn at(rule: &'static str, path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { rule, path: path.to_owned(), line, item: String::new(), text: text.into() }
    }

    fn of(self, item: &str) -> Self {
        Self { item: item.to_owned(), ..self }
    }
}

/// A file of the repository that holds text.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

/// Checks the repository; the error has all findings.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let files = files(&workspace.root)?;
    let text =
        std::fs::read_to_string(workspace.root.join("xtask/tidy.toml")).context("cannot read tidy.toml")?;
    let exceptions = exceptions::parse(&text)?;
    let mut findings = exceptions.apply(check(workspace, &files));
    if findings.is_empty() {
        return Ok(());
    }
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        let Finding { rule, path, line, text, .. } = finding;
        shell::say(&format!("{path}:{line}: {text} [{rule}]"));
    }
    bail!("tidy has {} findings", findings.len())
}

fn check(workspace: &Workspace, files: &[File]) -> Vec<Finding> {
    let mut findings = arrows::check(&workspace.crates);
    let mut sources = source::Sources::default();
    for file in files {
        findings.extend(text::check(&file.path, &file.text));
        if file.path.ends_with(".rs") {
            findings.extend(sources.check(&file.path, &file.text));
        }
        if file.path.ends_with(".md") {
            findings.extend(documents::links(&file.path, &file.text, |target| {
                workspace.root.join(target).exists()
            }));
        }
    }
    findings.extend(sources.crates());
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    findings.extend(documents::readmes(&workspace.crates, text_of));
    let manifest = text_of("Cargo.toml").unwrap_or_default();
    findings.extend(documents::reasons(manifest, text_of("docs/dependencies.md").unwrap_or_default()));
    findings
}

/// The text files that are committed or about to be.
fn files(root: &Path) -> anyhow::Result<Vec<File>> {
    let listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(listed).current_dir(root).output().context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut files = Vec::new();
    for path in names.split('\0').filter(|name| !name.is_empty()) {
        // Deleted and binary files have no text.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    Ok(files)
}
