//! The data folder: there, private, the user's own, and room left.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use recorder::Limits;

use super::{Finding, Patient};

const CHECK: &str = "data";

/// Checks the folder and the disk below it.
pub(super) fn check(patient: &Patient<'_>) -> Vec<Finding> {
    let data = &patient.data;
    let shown = data.display();
    let meta = match std::fs::metadata(data) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = format!("nothing is recorded yet in `{shown}`");
            return vec![Finding::look(CHECK, text, "use a client; the first call makes the folder")];
        }
        Err(error) => {
            let remedy = "run this as the user that the gateway runs as";
            return vec![Finding::wrong(CHECK, format!("`{shown}` cannot be looked at: {error}"), remedy)];
        }
    };
    let own = rustix::process::geteuid().as_raw();
    let mut findings = Vec::new();
    if meta.uid() != own {
        let text = format!("`{shown}` belongs to user {}, this is user {own}", meta.uid());
        findings.push(Finding::wrong(CHECK, text, "run this as the user that the gateway runs as"));
    }
    let open = open_to_others(data);
    match open.first() {
        Some(first) => {
            let more = open.len() - 1;
            let text = format!(
                "open to other users: `{}`{}",
                first.display(),
                match more {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                }
            );
            findings.push(Finding::wrong(CHECK, text, format!("chmod -R go-rwx '{shown}'")));
        }
        None if findings.is_empty() => {
            findings.push(Finding::ok(CHECK, format!("`{shown}` is private to this user")));
        }
        None => {}
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if rustix::fs::access(data, access).is_err() {
        let text = format!("`{shown}` cannot be written by this user");
        findings.push(Finding::wrong(CHECK, text, format!("chmod u+rwx '{shown}'")));
    }
    findings.push(room(data, patient));
    findings
}

/// What others than the owner may read or write, two levels deep: keys and index, not each tile.
fn open_to_others(data: &Path) -> Vec<PathBuf> {
    let mut paths = vec![data.to_owned()];
    let folders = [data.to_owned(), data.join("keys"), data.join("index"), data.join("log")];
    for folder in folders {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        paths.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
    }
    let is_open = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.mode() & 0o077 != 0);
    paths.into_iter().filter(is_open).collect()
}

/// The limits are those that a gateway refuses calls by.
fn room(data: &Path, patient: &Patient<'_>) -> Finding {
    const CHECK: &str = "disk";
    let space = match recorder::free_space(data) {
        Ok(space) => space,
        Err(error) => {
            return Finding::wrong(
                CHECK,
                format!("free space cannot be measured: {error}"),
                "look at the disk",
            );
        }
    };
    let limits = patient.config.as_ref().map_or_else(Limits::default, |config| config.ledger.clone());
    let percent = space.free.saturating_mul(100) / space.total.max(1);
    let text = format!("{percent} % or {} MiB are free", space.free >> 20);
    if percent < u64::from(limits.refuse_percent) || space.free < limits.refuse_bytes {
        return Finding::wrong(
            CHECK,
            format!("{text}: no new call is accepted"),
            "make room, or move `data`",
        );
    }
    if percent < u64::from(limits.warn_percent) {
        let text = format!("{text}; calls are refused below {} %", limits.refuse_percent);
        return Finding::look(CHECK, text, "make room, or move `data`");
    }
    Finding::ok(CHECK, text)
}
