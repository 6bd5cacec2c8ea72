//! Policy files: a `.cedar` file, or all of a folder.

use std::path::Path;

use anyhow::{Context as _, ensure};
use policy::Source;

/// Reads the file, or the `.cedar` files of the folder in the order of their names.
///
/// # Errors
/// If there is nothing to read, or it is no text.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Source>> {
    let unreadable = || format!("the policies in `{}` cannot be read", path.display());
    if !std::fs::metadata(path).with_context(unreadable)?.is_dir() {
        return Ok(vec![source(path)?]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).with_context(unreadable)? {
        let file = entry.with_context(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "cedar") {
            files.push(file);
        }
    }
    ensure!(
        !files.is_empty(),
        "`{}` has no `.cedar` file: every call would be denied; `tollbook policy init` writes a first one",
        path.display()
    );
    files.sort();
    files.iter().map(|file| source(file)).collect()
}

fn source(file: &Path) -> anyhow::Result<Source> {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    let text =
        std::fs::read_to_string(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
    Ok(Source { name, text })
}
