//! Checkpoints (C2SP tlog-checkpoint) in signed notes (C2SP signed-note) with Ed25519.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ids::Hash;

/// Signature type of Ed25519 over a note's text.
const ED25519_NOTE: u8 = 0x01;

/// Signature type of a witness's timestamped cosignature (C2SP tlog-cosignature).
const COSIGNATURE: u8 = 0x04;

/// The head of a log at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which never changes.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// Why a note does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a signed note.
    #[error("not a signed note")]
    Form,
    /// Not a checkpoint.
    #[error("the note is no checkpoint")]
    Checkpoint,
    /// No signature by the key.
    #[error("the note carries no signature by the key")]
    Unsigned,
    /// A signature that is not the key's.
    #[error("the signature does not hold")]
    Signature,
    /// The key is for a log of another name.
    #[error("the checkpoint is of another log than the key")]
    Origin,
}

impl Checkpoint {
    /// The text that is signed: origin, size, root, each on a line.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads a note's text; further lines are passed over, as the specification has it.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Checkpoint, NoteError> {
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        let origin = origin.filter(|origin| !origin.is_empty()).ok_or(NoteError::Checkpoint)?;
        let size = size.and_then(decimal).ok_or(NoteError::Checkpoint)?;
        let root = root.and_then(|root| STANDARD.decode(root).ok()).and_then(|root| root.try_into().ok());
        Ok(Checkpoint { origin: origin.to_owned(), size, root: Hash(root.ok_or(NoteError::Checkpoint)?) })
    }

    /// Reads a signed checkpoint and checks that the log's key signed it.
    ///
    /// # Errors
    /// See [`NoteError`].
    pub fn verify(note: &str, key: &VerifierKey) -> Result<Checkpoint, NoteError> {
        let (text, signatures) = split_note(note)?;
        key.check(text, signatures)?;
        let checkpoint = Checkpoint::parse(text)?;
        if checkpoint.origin == key.name { Ok(checkpoint) } else { Err(NoteError::Origin) }
    }
}

/// Decimal without leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The text, with its last line break, and the signature lines.
fn split_note(note: &str) -> Result<(&str, &str), NoteError> {
    if note.contains(|character| character < ' ' && character != '\n') {
        return Err(NoteError::Form);
    }
    let at = note.rfind("\n\n").ok_or(NoteError::Form)?;
    let (text, signatures) = (note.get(..=at), note.get(at + 2..));
    match (text, signatures) {
        (Some(text), Some(signatures)) if signatures.ends_with('\n') => Ok((text, signatures)),
        _ => Err(NoteError::Form),
    }
}

/// The key that signs a log's checkpoints.
pub struct LogKey {
    name: String,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for LogKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key itself never shows.
        formatter.debug_struct("LogKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LogKey {
    /// The key of a log from 32 random bytes. `name` is the origin: no white space, no `+`.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Option<LogKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        is_name(name).then(|| LogKey { name: name.to_owned(), pair })
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        let mut public = [0; 32];
        public.iter_mut().zip(self.pair.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        VerifierKey { name: self.name.clone(), kind: ED25519_NOTE, public }
    }

    /// Signs a checkpoint.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text();
        let signature = self.pair.sign(text.as_bytes());
        let mut bytes = self.verifier().id().to_vec();
        bytes.extend_from_slice(signature.as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.name, STANDARD.encode(bytes))
    }
}

/// A log's public key, written as `name+id+base64` (C2SP signed-note, "Verifier keys").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    /// The log's origin.
    pub name: String,
    /// What the key was written down for.
    kind: u8,
    public: [u8; 32],
}

impl VerifierKey {
    /// The raw Ed25519 public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    fn id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519_NOTE, &self.public)
    }

    fn check(&self, text: &str, signatures: &str) -> Result<(), NoteError> {
        let mut outcome = Err(NoteError::Unsigned);
        for (name, bytes) in signatures.lines().filter_map(signature_line) {
            // Lines of other keys are passed over.
            let Some((id, signature)) = bytes.split_first_chunk::<4>() else { continue };
            if name != self.name || *id != self.id() {
                continue;
            }
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            key.verify(text.as_bytes(), signature).map_err(|_| NoteError::Signature)?;
            outcome = Ok(());
        }
        outcome
    }
}

/// Checks a witness's cosignature on a note: the time (seconds since the Unix epoch) at which the witness saw it.
///
/// # Errors
/// See [`NoteError`].
pub fn check_cosignature(note: &str, witness: &VerifierKey) -> Result<u64, NoteError> {
    let (text, signatures) = split_note(note)?;
    let id = key_id(&witness.name, COSIGNATURE, &witness.public);
    for (name, bytes) in signatures.lines().filter_map(signature_line) {
        let Some((given, rest)) = bytes.split_first_chunk::<4>() else { continue };
        let Some((time, signature)) = rest.split_first_chunk::<8>() else { continue };
        if name != witness.name || *given != id {
            continue;
        }
        let time = u64::from_be_bytes(*time);
        let signed = format!("cosignature/v1\ntime {time}\n{text}");
        let key = UnparsedPublicKey::new(&ED25519, &witness.public);
        return key.verify(signed.as_bytes(), signature).map(|()| time).map_err(|_| NoteError::Signature);
    }
    Err(NoteError::Unsigned)
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind];
        key.extend_from_slice(&self.public);
        let id = u32::from_be_bytes(key_id(&self.name, self.kind, &self.public));
        write!(formatter, "{}+{id:08x}+{}", self.name, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    /// Accepts log keys (type 0x01) and witness keys (type 0x04).
    fn from_str(text: &str) -> Result<VerifierKey, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Form);
        };
        let key = STANDARD.decode(key).map_err(|_| NoteError::Form)?;
        let (kind, public) = key.split_first().ok_or(NoteError::Form)?;
        let public: [u8; 32] = public.try_into().map_err(|_| NoteError::Form)?;
        if !matches!(*kind, ED25519_NOTE | COSIGNATURE) {
            return Err(NoteError::Form);
        }
        let expected = u32::from_be_bytes(key_id(name, *kind, &public));
        if !is_name(name) || id.len() != 8 || u32::from_str_radix(id, 16) != Ok(expected) {
            return Err(NoteError::Form);
        }
        Ok(VerifierKey { name: name.to_owned(), kind: *kind, public })
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|character: char| character.is_whitespace() || character == '+')
}

fn key_id(name: &str, kind: u8, public: &[u8; 32]) -> [u8; 4] {
    let mut bytes = name.as_bytes().to_vec();
    bytes.extend_from_slice(&[b'\n', kind]);
    bytes.extend_from_slice(public);
    let Hash([a, b, c, d, ..]) = Hash::of(&bytes);
    [a, b, c, d]
}

/// `— name base64`.
fn signature_line(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    Some((name, STANDARD.decode(signature).ok()?))
}
