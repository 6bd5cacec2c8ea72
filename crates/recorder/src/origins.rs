//! The logs that a data folder has had: `keys/origins.json`, `keys/log.key`, `keys/log.vkey`.
//!
//! A log that lost leaves which somebody may have seen signed is never continued. The folder then gets a
//! new origin, and the place in this list is the epoch by which frames and segments tell their log.

use std::io;
use std::path::{Path, PathBuf};

use ledger::{LogKey, VerifierKey};
use serde::{Deserialize, Serialize};

use crate::{disk, version};

/// A log that a new one stands in for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predecessor {
    /// Its origin.
    pub origin: String,
    /// The largest size that was signed.
    pub signed: u64,
    /// The size that was found.
    pub found: u64,
    /// Why it ended: `rollback` or `restore`.
    pub reason: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredOrigin {
    origin: String,
    vkey: String,
    created: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    predecessor: Option<Predecessor>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredOrigins {
    v: u32,
    origins: Vec<StoredOrigin>,
}

/// The log that is written now.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) name: String,
    pub(crate) epoch: u64,
    pub(crate) key: LogKey,
    pub(crate) predecessor: Option<Predecessor>,
}

/// A fresh origin: its human part, random digits, the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fresh<'a> {
    pub(crate) name: &'a str,
    pub(crate) suffix: [u8; 4],
    pub(crate) now: u64,
}

/// The newest origin of a keys folder, or a fresh one if there is none.
pub(crate) fn load_or_create(keys: &Path, fresh: Fresh<'_>, seed: [u8; 32]) -> io::Result<Origin> {
    let seed_path = keys.join("log.key");
    let seed = match disk::read_if_present(&seed_path)? {
        Some(bytes) => *bytes
            .first_chunk::<32>()
            .filter(|_| bytes.len() == 32)
            .ok_or_else(|| io::Error::other("`log.key` must be 32 bytes"))?,
        None if keys.join("origins.json").exists() => {
            return Err(io::Error::other("`log.key` is missing; restore it from a copy of the data folder"));
        }
        None => {
            disk::replace_durably(&seed_path, &seed)?;
            seed
        }
    };
    let stored = match read(keys)? {
        Some(stored) => stored,
        None => {
            let stored = add(StoredOrigins { v: 1, origins: Vec::new() }, fresh, &seed, None)?;
            write(keys, &stored)?;
            stored
        }
    };
    let origin = current(&stored, &seed)?;
    write_vkey(keys, &origin.key.verifier().to_string())?;
    Ok(origin)
}

/// Puts the key for people and tools beside the list, if it is not there. The list decides.
fn write_vkey(keys: &Path, vkey: &str) -> io::Result<()> {
    let (path, text) = (keys.join("log.vkey"), format!("{vkey}\n"));
    if disk::read_if_present(&path)?.is_some_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    disk::replace_durably(&path, text.as_bytes())
}

/// Starts a new log in place of one that cannot be continued.
pub(crate) fn succeed(keys: &Path, fresh: Fresh<'_>, predecessor: Predecessor) -> io::Result<()> {
    let bytes = std::fs::read(keys.join("log.key"))?;
    let seed = bytes.first_chunk::<32>().ok_or_else(|| io::Error::other("`log.key` must be 32 bytes"))?;
    let stored = read(keys)?.ok_or_else(|| io::Error::other("`origins.json` is missing"))?;
    write(keys, &add(stored, fresh, seed, Some(predecessor))?)
}

/// Begins a new log, with a key of its own, in a folder that was restored. Gives its origin.
pub(crate) fn take_over(
    from: &Path,
    keys: &Path,
    fresh: Fresh<'_>,
    (seed, predecessor): ([u8; 32], Predecessor),
) -> io::Result<String> {
    let stored = read(from)?.ok_or_else(|| io::Error::other("`origins.json` is missing"))?;
    disk::replace_durably(&keys.join("log.key"), &seed)?;
    write(keys, &add(stored, fresh, &seed, Some(predecessor))?)?;
    load_or_create(keys, fresh, seed).map(|origin| origin.name)
}

/// The folder that a log is put aside into.
pub(crate) fn folder_of(origin: &str) -> String {
    format!("log-{}", suffix(origin))
}

/// What tells the logs of a folder apart: the last part of the origin.
pub(crate) fn suffix(origin: &str) -> &str {
    origin.rsplit('/').next().unwrap_or_default()
}

impl Predecessor {
    /// The logs that were put aside in a data folder, the newest first, and where each is: they can be read and verified, and
    /// nothing is added to them.
    ///
    /// # Errors
    /// When the list of the folder's logs cannot be read.
    pub fn put_aside(dir: &Path) -> io::Result<Vec<(Self, PathBuf)>> {
        let origins = read(&dir.join("keys"))?.map(|stored| stored.origins).unwrap_or_default();
        let earlier = origins.into_iter().rev().filter_map(|stored| stored.predecessor);
        let placed = earlier.map(|log| {
            let folder = dir.join(folder_of(&log.origin));
            (log, folder)
        });
        Ok(placed.filter(|(_, folder)| folder.is_dir()).collect())
    }
}

/// The public key of one of the folder's logs.
pub(crate) fn key_of(keys: &Path, origin: &str) -> io::Result<Option<VerifierKey>> {
    let stored = read(keys)?;
    let found = stored.and_then(|stored| stored.origins.into_iter().find(|stored| stored.origin == origin));
    Ok(found.and_then(|found| found.vkey.parse().ok()))
}

fn add(
    mut stored: StoredOrigins,
    fresh: Fresh<'_>,
    seed: &[u8; 32],
    predecessor: Option<Predecessor>,
) -> io::Result<StoredOrigins> {
    let origin = format!("{}/{:08x}", fresh.name, u32::from_be_bytes(fresh.suffix));
    let key = log_key(&origin, seed)?;
    let vkey = key.verifier().to_string();
    stored.origins.push(StoredOrigin { origin, vkey, created: fresh.now, predecessor });
    Ok(stored)
}

fn current(stored: &StoredOrigins, seed: &[u8; 32]) -> io::Result<Origin> {
    let epoch = stored.origins.len().saturating_sub(1);
    let newest = stored.origins.last().ok_or_else(|| io::Error::other("`origins.json` is empty"))?;
    let key = log_key(&newest.origin, seed)?;
    if key.verifier().to_string() != newest.vkey {
        return Err(io::Error::other("`log.key` is not the key of the log; restore both from the same copy"));
    }
    Ok(Origin {
        name: newest.origin.clone(),
        epoch: u64::try_from(epoch).map_err(io::Error::other)?,
        key,
        predecessor: newest.predecessor.clone(),
    })
}

fn log_key(origin: &str, seed: &[u8; 32]) -> io::Result<LogKey> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    let key = LogKey::from_seed(origin, seed).filter(|_| origin.chars().all(allowed));
    key.ok_or_else(|| io::Error::other(format!("`{origin}` cannot name a log")))
}

fn read(keys: &Path) -> io::Result<Option<StoredOrigins>> {
    let Some(bytes) = disk::read_if_present(&keys.join("origins.json"))? else { return Ok(None) };
    let damaged = |error| {
        let text = format!("`origins.json` is damaged ({error}); restore it from a copy of the data folder");
        io::Error::other(text)
    };
    version::check(&bytes, 1).map_err(|error| io::Error::other(format!("`origins.json`: {error}")))?;
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

fn write(keys: &Path, stored: &StoredOrigins) -> io::Result<()> {
    let text = serde_json::to_string_pretty(stored)?;
    disk::replace_durably(&keys.join("origins.json"), text.as_bytes())
}
