//! The keys that open sealed payloads. The written form is `docs/formats/keystore.md`.
//!
//! `root.key` wraps an epoch key, the epoch key wraps one key-encryption key (KEK) per subject, class and
//! month, and a KEK wraps the data key in the header of each blob. Subjects stand here as pseudonyms only.
//! Destroying a KEK therefore makes every payload under it unreadable, in every copy of the log.
//! A new KEK is durable before its first use.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ledger::ids::KekId;
use serde::{Deserialize, Serialize};

use crate::{disk, version};

/// A wrapped 32-byte key: the key and its tag.
pub(crate) const WRAPPED_BYTES: usize = 48;
const TENANT: &str = "-";
const CLASS: &str = "standard";
const EPOCH_CONTEXT: &[u8] = b"tollbook epoch key v1";
const PSEUDONYM_CONTEXT: &[u8] = b"tollbook pseudonym v1";

/// Why the keystore cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A file could not be read or written.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `keystore.json` is not what this version writes.
    #[error("`{}` is damaged; restore it from a copy of the data folder", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// Keys exist without the root key that opens them, or with another one.
    #[error("the keys in `{}` do not open with its `root.key`; restore both from the same copy", path.display())]
    WrongRoot {
        /// The folder of keys.
        path: PathBuf,
    },
    /// A file of keys is gone, and what they open is not.
    #[error("`{}` is missing; restore it from a copy of the data folder, or payloads cannot be opened", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The system's random source failed.
    #[error("no randomness is available")]
    Randomness,
}

/// One key-encryption key.
pub(crate) struct Kek {
    pub(crate) id: KekId,
    key: LessSafeKey,
}

impl std::fmt::Debug for Kek {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kek").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Kek {
    /// Wraps a key under a nonce that must never be used again with this KEK.
    pub(crate) fn wrap(
        &self,
        nonce: [u8; NONCE_LEN],
        context: &[u8],
        key: [u8; 32],
    ) -> Option<[u8; WRAPPED_BYTES]> {
        wrap(&self.key, nonce, context, key)
    }

    pub(crate) fn unwrap_key(
        &self,
        nonce: [u8; NONCE_LEN],
        context: &[u8],
        wrapped: &[u8],
    ) -> Option<[u8; 32]> {
        unwrap(&self.key, nonce, context, wrapped)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKeys {
    v: u32,
    epoch: StoredEpoch,
    keys: Vec<StoredKek>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEpoch {
    no: u64,
    wrapped: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKek {
    id: KekId,
    /// Ordinal, counted over all keys ever made; `key.created` leaves follow it.
    no: u64,
    tenant: String,
    subject: String,
    class: String,
    month: String,
    created: u64,
    wrapped: String,
}

/// All keys of a data folder, to read and to add to.
pub(crate) struct Keystore {
    folder: PathBuf,
    epoch: LessSafeKey,
    pseudonyms: hmac::Key,
    random: SystemRandom,
    /// The file's content; held while the file is rewritten, so that keys are added one at a time.
    stored: Mutex<StoredKeys>,
    /// Number of keys ever made, for a look without a lock.
    made: AtomicU64,
    /// Keys by subject and by id; locked for a look-up only.
    cached: RwLock<Cache>,
}

#[derive(Default)]
struct Cache {
    by_subject: HashMap<Arc<str>, (String, Arc<Kek>)>,
    by_id: HashMap<KekId, Arc<Kek>>,
}

impl std::fmt::Debug for Keystore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keystore").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Keystore {
    /// Opens the keystore in `folder`, or makes one if the folder has not been recorded with yet.
    ///
    /// # Errors
    /// When a file of a folder in use is missing, they do not match, or the file system fails.
    pub(crate) fn open_or_create(folder: &Path) -> Result<Self, KeystoreError> {
        let root_path = folder.join("root.key");
        let stored_path = folder.join("keystore.json");
        let random = SystemRandom::new();
        // The list of logs is made after the keys.
        let is_used = folder.join("origins.json").exists();
        if let Some(path) = [&root_path, &stored_path].into_iter().find(|path| is_used && !path.exists()) {
            return Err(KeystoreError::Missing { path: path.clone() });
        }
        if !stored_path.exists() {
            let root = match load_root(&root_path)? {
                Some(root) => root,
                None => make_root(&root_path, &random)?,
            };
            let epoch: [u8; 32] = fill(&random)?;
            let stored = StoredEpoch { no: 1, wrapped: wrap_text(&root, EPOCH_CONTEXT, epoch, &random)? };
            write(folder, &StoredKeys { v: 1, epoch: stored, keys: Vec::new() })?;
        }
        Self::open(folder)
    }

    /// Opens an existing keystore.
    ///
    /// # Errors
    /// When a file is missing, they do not match, or the file system fails.
    pub(crate) fn open(folder: &Path) -> Result<Self, KeystoreError> {
        let wrong_root = || KeystoreError::WrongRoot { path: folder.to_owned() };
        let path = folder.join("root.key");
        let root = load_root(&path)?.ok_or(KeystoreError::Missing { path })?;
        let stored = read(folder)?;
        let epoch = unwrap_text(&root, EPOCH_CONTEXT, &stored.epoch.wrapped).ok_or_else(wrong_root)?;
        let pseudonym_key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &epoch), PSEUDONYM_CONTEXT);
        let made = stored.keys.iter().map(|key| key.no + 1).max().unwrap_or_default();
        Ok(Self {
            folder: folder.to_owned(),
            epoch: cipher(&epoch).ok_or_else(wrong_root)?,
            pseudonyms: hmac::Key::new(hmac::HMAC_SHA256, pseudonym_key.as_ref()),
            random: SystemRandom::new(),
            stored: Mutex::new(stored),
            made: AtomicU64::new(made),
            cached: RwLock::default(),
        })
    }

    /// The subject's KEK for a month, if it is known without a look at the disk.
    pub(crate) fn cached(&self, subject: &str, month: &str) -> Option<Arc<Kek>> {
        let cached = self.cached.read().unwrap_or_else(PoisonError::into_inner);
        cached.by_subject.get(subject).filter(|(of, _)| of == month).map(|(_, kek)| Arc::clone(kek))
    }

    /// The subject's KEK for a month; a new one is durable on return. Blocks on the disk.
    ///
    /// # Errors
    /// When the keystore cannot be written.
    pub(crate) fn obtain(
        &self,
        subject: &Arc<str>,
        month: &str,
        now: u64,
    ) -> Result<Arc<Kek>, KeystoreError> {
        let pseudonym = URL_SAFE_NO_PAD.encode(hmac::sign(&self.pseudonyms, subject.as_bytes()));
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let known = stored.keys.iter().rev().find(|key| key.subject == pseudonym && key.month == month);
        let kek = match known {
            Some(known) => self.unwrap_stored(known)?,
            None => self.add(&mut stored, pseudonym, month, now)?,
        };
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        cached.by_subject.insert(Arc::clone(subject), (month.to_owned(), Arc::clone(&kek)));
        cached.by_id.insert(kek.id, Arc::clone(&kek));
        Ok(kek)
    }

    /// The KEK with this id; reads the file again for one that another process has added.
    ///
    /// # Errors
    /// When the keystore cannot be read. A destroyed key gives none.
    pub(crate) fn find(&self, id: KekId) -> Result<Option<Arc<Kek>>, KeystoreError> {
        if let Some(kek) = self.cached.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id) {
            return Ok(Some(Arc::clone(kek)));
        }
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if !stored.keys.iter().any(|key| key.id == id) {
            *stored = read(&self.folder)?;
        }
        let Some(known) = stored.keys.iter().find(|key| key.id == id) else { return Ok(None) };
        let kek = self.unwrap_stored(known)?;
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        cached.by_id.insert(id, Arc::clone(&kek));
        Ok(Some(kek))
    }

    /// Number of keys ever made.
    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    /// Ids of the keys from ordinal `from` on, in the order in which they were made.
    pub(crate) fn made_since(&self, from: u64) -> Vec<KekId> {
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.keys.iter().filter(|key| key.no >= from).map(|key| key.id).collect()
    }

    fn add(
        &self,
        stored: &mut StoredKeys,
        subject: String,
        month: &str,
        created: u64,
    ) -> Result<Arc<Kek>, KeystoreError> {
        let id = KekId(fill(&self.random)?);
        let key: [u8; 32] = fill(&self.random)?;
        let no = self.made();
        stored.keys.push(StoredKek {
            id,
            no,
            tenant: TENANT.to_owned(),
            subject,
            class: CLASS.to_owned(),
            month: month.to_owned(),
            created,
            wrapped: wrap_text(&self.epoch, &id.0, key, &self.random)?,
        });
        if let Err(error) = write(&self.folder, stored) {
            stored.keys.pop();
            return Err(error);
        }
        self.made.store(no + 1, Ordering::Release);
        let key = cipher(&key).ok_or(KeystoreError::Randomness)?;
        Ok(Arc::new(Kek { id, key }))
    }

    fn unwrap_stored(&self, stored: &StoredKek) -> Result<Arc<Kek>, KeystoreError> {
        let key = unwrap_text(&self.epoch, &stored.id.0, &stored.wrapped).and_then(|key| cipher(&key));
        let key = key.ok_or_else(|| KeystoreError::WrongRoot { path: self.folder.clone() })?;
        Ok(Arc::new(Kek { id: stored.id, key }))
    }
}

fn read(folder: &Path) -> Result<StoredKeys, KeystoreError> {
    let path = folder.join("keystore.json");
    let bytes = std::fs::read(&path).map_err(|source| KeystoreError::Io { path: path.clone(), source })?;
    version::check(&bytes, 1).map_err(|source| KeystoreError::Io { path: path.clone(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| KeystoreError::Format { path, source })
}

fn write(folder: &Path, stored: &StoredKeys) -> Result<(), KeystoreError> {
    let path = folder.join("keystore.json");
    let text = serde_json::to_string_pretty(stored)
        .map_err(|source| KeystoreError::Format { path: path.clone(), source })?;
    disk::replace_durably(&path, text.as_bytes()).map_err(|source| KeystoreError::Io { path, source })
}

fn load_root(path: &Path) -> Result<Option<LessSafeKey>, KeystoreError> {
    let io_error = |source| KeystoreError::Io { path: path.to_owned(), source };
    let Some(bytes) = disk::read_if_present(path).map_err(io_error)? else { return Ok(None) };
    match bytes.first_chunk::<32>().filter(|_| bytes.len() == 32).and_then(cipher) {
        Some(key) => Ok(Some(key)),
        None => Err(io_error(io::Error::other("it must be 32 bytes"))),
    }
}

fn make_root(path: &Path, random: &SystemRandom) -> Result<LessSafeKey, KeystoreError> {
    let key: [u8; 32] = fill(random)?;
    disk::replace_durably(path, &key)
        .map_err(|source| KeystoreError::Io { path: path.to_owned(), source })?;
    cipher(&key).ok_or(KeystoreError::Randomness)
}

fn fill<const N: usize>(random: &SystemRandom) -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| KeystoreError::Randomness)?;
    Ok(bytes)
}

pub(crate) fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn wrap(
    with: &LessSafeKey,
    nonce: [u8; NONCE_LEN],
    context: &[u8],
    key: [u8; 32],
) -> Option<[u8; WRAPPED_BYTES]> {
    let mut wrapped = key.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    with.seal_in_place_append_tag(nonce, Aad::from(context), &mut wrapped).ok()?;
    wrapped.first_chunk().copied()
}

fn unwrap(with: &LessSafeKey, nonce: [u8; NONCE_LEN], context: &[u8], wrapped: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = wrapped.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let key = with.open_in_place(nonce, Aad::from(context), &mut bytes).ok()?;
    key.first_chunk::<32>().copied().filter(|_| key.len() == 32)
}

fn wrap_text(
    with: &LessSafeKey,
    context: &[u8],
    key: [u8; 32],
    random: &SystemRandom,
) -> Result<String, KeystoreError> {
    let nonce: [u8; NONCE_LEN] = fill(random)?;
    let wrapped = wrap(with, nonce, context, key).ok_or(KeystoreError::Randomness)?;
    Ok(URL_SAFE_NO_PAD.encode([nonce.as_slice(), &wrapped].concat()))
}

fn unwrap_text(with: &LessSafeKey, context: &[u8], text: &str) -> Option<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (nonce, wrapped) = bytes.split_first_chunk::<NONCE_LEN>()?;
    unwrap(with, *nonce, context, wrapped)
}
