//! `tollbook backup` and `tollbook restore`: a copy of the ledger and of the state beside a running gateway, and a data folder made
//! of one.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use recorder::{Backup, Keys, RestoreError, Restored};
use serde::Serialize;
use store::state::{Ended, Restoring, StateCopy};

use crate::clock;
use crate::credentials::{day, who};
use crate::environment::Environment;
use crate::read::text::json_line;

/// Answered with no: what was copied does not verify.
const NO: u8 = 1;

/// Calls come first.
const YIELDING: i32 = 10;

/// Copy what is recorded into a folder, or bring an earlier copy up to date, and verify it whole.
///
/// Works while the gateway runs. Takes everything up to one checkpoint: at most the last second is not in it. What is in the copy
/// already is not copied again. A copy can be verified and read (`--data DIR`) like a data folder, but not recorded into.
///
/// The copy holds the keys that open payloads, and the state: operators, service keys, runs, pins, approvals. Whoever has it can
/// read every message in it. Keep it as secret as the data folder, or leave both out with `--without-keys`. Keys that sign, and
/// what opens the servers that were connected, are never in it.
///
/// Exit code 1: what was copied does not verify.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Folder for the copy: empty, or an earlier copy of the same log. Best on another disk.
    folder: PathBuf,
    /// Leave out the keys that open payloads, and the state.
    #[arg(long)]
    without_keys: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Make a data folder of a backup. The data folder must be empty: name it with `--data`.
///
/// The log in the backup becomes history: calls that came after the backup may be signed somewhere, so nothing is added to it.
/// It stays in the folder beside the new log, which names it in its first record, has an origin of its own and is signed by a
/// new key.
///
/// Of the state, who and what there is comes back. What lets anybody in or through does not, as nobody knows what was revoked or used
/// since the backup: runs and approvals end, service keys and passwords are to be made anew, servers to be connected again. What
/// is to be done is printed.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Folder that `tollbook backup` made.
    folder: PathBuf,
}

/// Runs `backup`.
pub(crate) fn backup(
    args: &BackupArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    // Refused, it costs the calls some of their processor time and nothing else.
    let _ = rustix::process::nice(YIELDING);
    let keys = if args.without_keys { Keys::None } else { Keys::Payloads };
    let folder = environment.resolve(&args.folder);
    let mut has_state = false;
    let mut beside = || -> io::Result<()> {
        let copied = match keys {
            Keys::Payloads => StateCopy::make(&environment.data, &folder).map(|copy| copy.is_some()),
            // It may be there from a backup before.
            Keys::None => StateCopy::remove(&folder).map(|()| false),
        };
        has_state = copied.map_err(io::Error::other)?;
        Ok(())
    };
    let backup = recorder::back_up(&environment.data, &folder, keys, &mut beside)?;
    if args.json {
        writeln!(out, "{}", json_line(&Shown { state: has_state, ..Shown::of(&backup, keys) })?)?;
    } else {
        write!(out, "{}", tell(&backup, keys, &folder))?;
    }
    Ok(if backup.report.ok { 0 } else { NO })
}

/// Runs `restore`.
pub(crate) fn restore(
    args: &RestoreArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let from = environment.resolve(&args.folder);
    // Looked at first: of a backup that is not sound nothing is restored.
    let copy = StateCopy::open(&from)?;
    let mut state = None;
    let mut beside = |taken, records| -> io::Result<()> {
        let Some(copy) = &copy else { return Ok(()) };
        let how = Restoring { who: &who(), now: clock::unix_seconds(), taken, records };
        state = Some((taken, copy.restore(&environment.data, how).map_err(io::Error::other)?));
        Ok(())
    };
    let restored = match recorder::restore(&from, &environment.data, &mut beside) {
        Err(RestoreError::Damaged(report)) => {
            write!(out, "{report}")?;
            writeln!(std::io::stderr(), "tollbook: {}", RestoreError::Damaged(report))?;
            return Ok(NO);
        }
        restored => restored?,
    };
    let Restored { origin, predecessor, history, keys } = restored;
    let data = environment.data.display();
    writeln!(out, "restored to {data}")?;
    writeln!(
        out,
        "history  {} records of {}, in {}",
        predecessor.found,
        predecessor.origin,
        history.display()
    )?;
    writeln!(out, "new log  {origin}; `tollbook serve` begins it and names the history in its first record")?;
    writeln!(out, "calls before  are read with: tollbook --data {} calls", history.display())?;
    if keys == Keys::None {
        writeln!(out, "the backup has no keys: payloads of the history cannot be read here")?;
    }
    match &state {
        Some((taken, ended)) => write!(out, "{}", tell_state(*taken, ended))?,
        None => writeln!(
            out,
            "the backup has no state: operators, service keys, runs and pins are to be made anew"
        )?,
    }
    writeln!(out, "keep the new public key somewhere else: tollbook --data {data} keys show")?;
    Ok(0)
}

#[derive(Serialize)]
struct Shown<'a> {
    ok: bool,
    origin: &'a str,
    records: u64,
    files: u64,
    bytes: u64,
    kept: u64,
    keys: Keys,
    state: bool,
}

impl Shown<'_> {
    fn of(backup: &Backup, keys: Keys) -> Shown<'_> {
        let Backup { origin, size, files, bytes, kept, report } = backup;
        Shown {
            ok: report.ok,
            origin,
            records: *size,
            files: *files,
            bytes: *bytes,
            kept: *kept,
            keys,
            state: false,
        }
    }
}

fn tell(backup: &Backup, keys: Keys, folder: &Path) -> String {
    let Backup { origin, size, files, bytes, kept, report } = backup;
    let copied = format!("copied {files} files, {} KiB; {kept} were there\n", bytes.div_ceil(1024));
    let said = match keys {
        Keys::Payloads => {
            "it holds the keys that open payloads, and the state: keep it as secret as the data folder\n"
        }
        Keys::None => {
            "it holds no keys and no state: keep `keys/root.key` and `keys/keystore.json` elsewhere\n"
        }
    };
    match report.ok {
        true => format!("{size} records of {origin} in {}\n{copied}{report}{said}", folder.display()),
        false => format!(
            "{copied}{report}the copy is not sound: if `tollbook verify` finds the data folder sound, take a new backup into an \
             empty folder\n"
        ),
    }
}

/// What is to be done before all is as it was.
fn tell_state(taken: u64, ended: &Ended) -> String {
    let Ended { runs, keys, operators, holds, servers } = ended;
    let mut said = format!(
        "state    as of {}; ended: {runs} runs, {holds} calls that waited or were approved\n",
        day(taken)
    );
    for (count, what) in [
        (*keys, "service keys need another secret: tollbook keys list, keys rotate ID"),
        (*operators, "operators need another password: tollbook operators list, operators link NAME"),
    ] {
        if count > 0 {
            said.push_str(&format!("do       {count} {what}\n"));
        }
    }
    for server in servers {
        said.push_str(&format!("do       tollbook servers connect {server}\n"));
    }
    said.push_str(
        "do       again what operators did after that time: disable operators, take roles and groups away, revoke keys, accept tools\n",
    );
    said
}
