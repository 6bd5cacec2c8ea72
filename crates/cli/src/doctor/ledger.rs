//! The ledger's newest part, its keys, the clock it was written by, and the index behind it.

use std::path::Path;

use jiff::Timestamp;
use ledger::proof::{check_inclusion, inclusion};
use ledger::tile::WIDTH;
use ledger::{Checkpoint, Leaf, Seq, leaf_hash};
use recorder::{Predecessor, ReadError, Reader};
use store::{Index, IndexError, Mode};

use super::{Finding, Patient, duration};

const CHECK: &str = "ledger";

/// A running gateway records a heartbeat every ten seconds; after this long something holds it up.
const SILENCE: i64 = 60;

/// How far ahead of the clock a record may be.
const AHEAD: i64 = 60;

/// Records that an index may be behind while a gateway runs.
const LAG: u64 = 1_000;

/// Checks a ledger that has begun.
pub(super) fn check(patient: &Patient<'_>, is_running: bool) -> Vec<Finding> {
    let data = &patient.data;
    let mut findings = history(data);
    if !data.join("log").exists() {
        if !findings.is_empty() {
            let text = "was restored; the new log begins when a gateway starts";
            findings.push(Finding::look(CHECK, text, "`tollbook serve`, or use a client"));
        }
        return findings;
    }
    let reader = match Reader::open(data) {
        Ok(reader) => reader,
        Err(error) => {
            let text = format!("cannot be read: {:#}", anyhow::Error::from(error));
            let remedy = "`tollbook verify`; restore the data folder from one copy";
            findings.push(Finding::wrong(CHECK, text, remedy));
            return findings;
        }
    };
    if reader.size() == 0 {
        findings.push(Finding::ok(CHECK, "has no checkpoint yet"));
        return findings;
    }
    match newest(&reader) {
        Ok(leaves) => {
            let last = leaves.last().map(|(_, leaf)| leaf.time_us).unwrap_or_default();
            let age = (patient.now.as_microsecond() - i64::try_from(last).unwrap_or(i64::MAX)) / 1_000_000;
            findings.push(state(&reader, leaves.len(), age, is_running));
            findings.push(clock(patient.now, age));
            findings.push(keys(&reader, &leaves));
        }
        Err(text) => findings.push(Finding::wrong(CHECK, text, "`tollbook verify` names every bad record")),
    }
    findings.push(index(data, &reader, is_running));
    findings
}

/// The logs that were put aside, and how they are read.
fn history(data: &Path) -> Vec<Finding> {
    const CHECK: &str = "history";
    let logs = match Predecessor::put_aside(data) {
        Ok(logs) => logs,
        Err(error) => {
            let remedy = "restore `keys` from the same copy as the rest";
            return vec![Finding::wrong(CHECK, format!("cannot be listed: {error}"), remedy)];
        }
    };
    let found = logs.iter().map(|(log, folder)| {
        let folder = folder.display();
        let text = format!("{} records of {}: `tollbook --data {folder} calls`", log.found, log.origin);
        Finding::ok(CHECK, text)
    });
    found.collect()
}

/// The newest records, each shown to be in the tree of the checkpoint.
fn newest(reader: &Reader) -> Result<Vec<(Seq, Leaf)>, String> {
    let size = reader.size();
    let note = reader.checkpoint().unwrap_or_default();
    let root = Checkpoint::verify(note, reader.vkey()).map_err(|error| error.to_string())?.root;
    let mut leaves = Vec::new();
    for record in reader.leaves(Seq((size - 1) / WIDTH * WIDTH)) {
        let (seq, bytes) = record.map_err(|error| error.to_string())?;
        let outside = |error: &dyn std::fmt::Display| {
            format!("record {seq} is not in the tree that was signed: {error}")
        };
        let path = inclusion(reader.tiles(), seq.0, size).map_err(|error| outside(&error))?;
        check_inclusion(leaf_hash(&bytes), seq.0, size, root, &path).map_err(|error| outside(&error))?;
        leaves.push((seq, Leaf::decode(&bytes).map_err(|error| format!("record {seq} is none: {error}"))?));
    }
    Ok(leaves)
}

fn state(reader: &Reader, checked: usize, age: i64, is_running: bool) -> Finding {
    let size = reader.size();
    let text = format!(
        "checkpoint of {size} records is signed, the newest {checked} are in it; the last is {} old",
        duration(age.max(0))
    );
    if is_running && age > SILENCE {
        let remedy = "restart the gateway; its log and `serve.log` say why";
        return Finding::wrong(CHECK, format!("{text}, though a gateway runs"), remedy);
    }
    Finding::ok(CHECK, text)
}

/// The clock must not be behind what was recorded: times would run backwards.
fn clock(now: Timestamp, age: i64) -> Finding {
    const CHECK: &str = "clock";
    if age < -AHEAD {
        let text = format!("{now:.0} is {} behind the newest record", duration(-age));
        return Finding::wrong(CHECK, text, "set the clock, and keep it by NTP");
    }
    Finding::ok(CHECK, format!("{now:.0} is not behind the newest record"))
}

/// Whether the newest payload opens.
fn keys(reader: &Reader, leaves: &[(Seq, Leaf)]) -> Finding {
    const CHECK: &str = "keys";
    let sealed = leaves.iter().rev().find(|(_, leaf)| !leaf.blobs.is_empty());
    let opened = sealed.map(|(seq, leaf)| reader.payload(*seq, leaf));
    match opened {
        Some(Err(error @ (ReadError::Missing(_) | ReadError::Altered(_)))) => Finding::wrong(
            CHECK,
            error.to_string(),
            "`tollbook verify`; restore the data folder from one copy",
        ),
        Some(Err(error)) => {
            let text = format!("payloads do not open: {:#}", anyhow::Error::from(error));
            Finding::wrong(CHECK, text, "restore `keys` from the same copy as the rest")
        }
        Some(Ok(_)) | None => {
            let text =
                format!("are those of {}; keep a copy of `tollbook keys show` elsewhere", reader.origin());
            Finding::ok(CHECK, text)
        }
    }
}

fn index(data: &Path, reader: &Reader, is_running: bool) -> Finding {
    const CHECK: &str = "index";
    let next = Index::open(data, Mode::ReadOnly).and_then(|index| index.next(reader.origin()));
    let behind = match next {
        Ok(next) => reader.size().saturating_sub(next.0),
        Err(IndexError::Missing(_)) => {
            return Finding::look(CHECK, "there is none yet", "`tollbook index rebuild`");
        }
        Err(error) => {
            let text = format!("cannot be read: {:#}", anyhow::Error::from(error));
            return Finding::wrong(CHECK, text, "`tollbook index rebuild`; the ledger loses nothing");
        }
    };
    match behind {
        0 => Finding::ok(CHECK, "has every record"),
        _ if !is_running => {
            Finding::ok(CHECK, format!("is {behind} records behind; `tollbook calls` catches up"))
        }
        1..=LAG => Finding::ok(CHECK, format!("is {behind} records behind and catching up")),
        _ => Finding::look(
            CHECK,
            format!("is {behind} records behind"),
            "see the gateway's log, or restart it",
        ),
    }
}
