//! Sealing and opening payloads: zstd, then AES-256-GCM in chunks. The written form is `docs/formats/blob.md`.
//!
//! Every blob has a data key of its own, wrapped under the subject's KEK in the blob's header. Chunks are
//! numbered and the last one is marked, so none can be dropped, repeated or put elsewhere; the header is
//! bound to each of them.

use std::cell::RefCell;
use std::io::{self, Read as _, Write};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use ledger::ids::KekId;

use crate::input::Input;
use crate::keystore::{Kek, WRAPPED_BYTES, cipher};
use crate::version;

/// Bytes of a blob before its first chunk.
pub(crate) const HEADER_BYTES: usize = 4 + 16 + NONCE_LEN + WRAPPED_BYTES;
const MAGIC: [u8; 4] = *b"TBB1";
const CHUNK_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;
const LEVEL: i32 = 1;
/// Payloads are never larger than this when opened; a blob that expands beyond is not ours.
const OPENED_BYTES: u64 = 4 << 30;
/// Payloads that say to be no larger than this are expanded in one step.
const ONE_STEP_BYTES: u64 = 1 << 20;

thread_local! {
    /// Contexts are dear to make, so each thread keeps one of a sort.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Why a blob does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// It does not begin as a blob does, or is cut off.
    #[error("this is not a sealed payload")]
    Format,
    /// Another version of this program sealed it.
    #[error(
        "the sealed payload is of a version that this program does not know; use the version of tollbook that wrote it, or a newer one"
    )]
    Version,
    /// It was changed, or sealed under another key.
    #[error("the sealed payload does not open with its key")]
    Authenticity,
    /// What was sealed is not compressed as expected.
    #[error("the sealed payload does not expand")]
    Compression,
}

/// Seals a payload that is small enough to be kept in memory twice.
pub(crate) fn seal(kek: &Kek, payload: &[u8]) -> io::Result<Vec<u8>> {
    let compressed = COMPRESSOR.with_borrow_mut(|kept| -> io::Result<Vec<u8>> {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(zstd::bulk::Compressor::new(LEVEL)?),
        };
        compressor.compress(payload)
    })?;
    let room = HEADER_BYTES + compressed.len() + (compressed.len() / CHUNK_BYTES + 1) * TAG_BYTES;
    let mut sealer = ChunkSealer::begin(kek, Vec::with_capacity(room))?;
    sealer.write_all(&compressed)?;
    sealer.finish()
}

/// Seals a payload that is written to it piece by piece, in bounded memory.
pub(crate) struct Sealer<W: Write> {
    encoder: zstd::stream::write::Encoder<'static, ChunkSealer<W>>,
}

impl<W: Write> Sealer<W> {
    /// Begins a blob.
    pub(crate) fn begin(kek: &Kek, into: W) -> io::Result<Self> {
        Ok(Self { encoder: zstd::stream::write::Encoder::new(ChunkSealer::begin(kek, into)?, LEVEL)? })
    }

    /// Ends the blob; gives back where it was written to.
    pub(crate) fn finish(self) -> io::Result<W> {
        self.encoder.finish()?.finish()
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

/// The KEK that a blob names.
pub(crate) fn kek_of(sealed: &[u8]) -> Result<KekId, BlobError> {
    let mut input = Input::new(sealed);
    let magic: [u8; 4] = input.array().ok_or(BlobError::Format)?;
    let id = input.array().ok_or(BlobError::Format)?;
    match version::other(&magic, &MAGIC, 1) {
        _ if magic == MAGIC => Ok(KekId(id)),
        Some(_) => Err(BlobError::Version),
        None => Err(BlobError::Format),
    }
}

/// Opens a blob: the encoded payload.
pub(crate) fn open(kek: &Kek, sealed: &[u8]) -> Result<Vec<u8>, BlobError> {
    expand(&decrypt(kek, sealed, sealed.len() as u64)?)
}

/// Opens the beginning of a blob of `size` bytes, of which `sealed` has the first: at most `limit` bytes of the encoded payload.
pub(crate) fn open_beginning(
    kek: &Kek,
    sealed: &[u8],
    size: u64,
    limit: usize,
) -> Result<Vec<u8>, BlobError> {
    let compressed = decrypt(kek, sealed, size)?;
    if sealed.len() as u64 == size && expands_in_one_step(&compressed).is_some() {
        let mut payload = expand(&compressed)?;
        payload.truncate(limit);
        return Ok(payload);
    }
    let decoder = zstd::stream::read::Decoder::new(compressed.as_slice());
    let mut decoder = decoder.map_err(|_| BlobError::Compression)?.take(limit as u64);
    let mut payload = Vec::new();
    // What was cut off is missing to the decoder, after it has given what it could.
    let read = decoder.read_to_end(&mut payload);
    if read.is_err() && sealed.len() as u64 == size {
        return Err(BlobError::Compression);
    }
    Ok(payload)
}

/// How many bytes of a blob hold at least so many of what was sealed, before compression made them fewer.
pub(crate) fn beginning(limit: usize) -> usize {
    HEADER_BYTES + (limit / CHUNK_BYTES + 1) * (CHUNK_BYTES + TAG_BYTES)
}

/// Decrypts a blob of `size` bytes as far as it is there. A chunk that is cut off is left out.
fn decrypt(kek: &Kek, sealed: &[u8], size: u64) -> Result<Vec<u8>, BlobError> {
    let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(BlobError::Format)?;
    let mut input = Input::new(header);
    let context = input.bytes(4 + 16).ok_or(BlobError::Format)?;
    let nonce = input.array().ok_or(BlobError::Format)?;
    let wrapped = input.bytes(WRAPPED_BYTES).ok_or(BlobError::Format)?;
    let key = kek.unwrap_key(nonce, context, wrapped).and_then(|key| cipher(&key));
    let key = key.ok_or(BlobError::Authenticity)?;
    let missing = size.saturating_sub(sealed.len() as u64);
    let mut compressed = Vec::with_capacity(body.len());
    let mut rest = body;
    for counter in 0.. {
        let (chunk, after) = rest.split_at(rest.len().min(CHUNK_BYTES + TAG_BYTES));
        if missing > 0 && chunk.len() < CHUNK_BYTES + TAG_BYTES {
            break;
        }
        let is_last = after.is_empty() && missing == 0;
        let mut chunk = chunk.to_vec();
        let opened = key.open_in_place(chunk_nonce(counter, is_last), Aad::from(header), &mut chunk);
        compressed.extend_from_slice(opened.map_err(|_| BlobError::Authenticity)?);
        if is_last {
            break;
        }
        rest = after;
    }
    Ok(compressed)
}

fn expand(compressed: &[u8]) -> Result<Vec<u8>, BlobError> {
    if let Some(size) = expands_in_one_step(compressed) {
        return expand_in_one_step(compressed, size);
    }
    let decoder = zstd::stream::read::Decoder::new(compressed).map_err(|_| BlobError::Compression)?;
    let mut payload = Vec::new();
    decoder.take(OPENED_BYTES).read_to_end(&mut payload).map_err(|_| BlobError::Compression)?;
    Ok(payload)
}

/// The size that it says to have, if that is small.
fn expands_in_one_step(compressed: &[u8]) -> Option<usize> {
    let size = zstd::zstd_safe::get_frame_content_size(compressed).ok().flatten();
    usize::try_from(size.filter(|size| *size <= ONE_STEP_BYTES)?).ok()
}

fn expand_in_one_step(compressed: &[u8], size: usize) -> Result<Vec<u8>, BlobError> {
    let expanded = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(compressed, size)
    });
    expanded.map_err(|_: io::Error| BlobError::Compression)
}

/// Encrypts what is written to it, chunk by chunk.
struct ChunkSealer<W> {
    into: W,
    key: LessSafeKey,
    header: [u8; HEADER_BYTES],
    chunk: Vec<u8>,
    counter: u64,
}

impl<W: Write> ChunkSealer<W> {
    fn begin(kek: &Kek, mut into: W) -> io::Result<Self> {
        let mut random = [0; 32 + NONCE_LEN];
        SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no randomness is available"))?;
        let mut input = Input::new(&random);
        let (Some(data_key), Some(nonce)) = (input.array::<32>(), input.array::<NONCE_LEN>()) else {
            return Err(io::Error::other("no randomness is available"));
        };
        let context = [MAGIC.as_slice(), &kek.id.0].concat();
        let wrapped =
            kek.wrap(nonce, &context, data_key).ok_or_else(|| io::Error::other("wrapping failed"))?;
        let bytes = [context.as_slice(), &nonce, &wrapped].concat();
        let header = bytes.first_chunk().copied().ok_or_else(|| io::Error::other("wrapping failed"))?;
        let key = cipher(&data_key).ok_or_else(|| io::Error::other("no cipher"))?;
        into.write_all(&header)?;
        Ok(Self { into, key, header, chunk: Vec::new(), counter: 0 })
    }

    fn seal_chunk(&mut self, last: Last) -> io::Result<()> {
        let nonce = chunk_nonce(self.counter, last == Last::Yes);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(self.header.as_slice()), &mut self.chunk)
            .map_err(|_| io::Error::other("encryption failed"))?;
        self.into.write_all(&self.chunk)?;
        self.chunk.clear();
        self.counter += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<W> {
        self.seal_chunk(Last::Yes)?;
        Ok(self.into)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

impl<W: Write> Write for ChunkSealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.seal_chunk(Last::No)?;
        }
        let (taken, _) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
        self.chunk.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn chunk_nonce(counter: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    let bytes = counter.to_be_bytes().into_iter().chain(u32::from(last).to_be_bytes());
    for (into, from) in nonce.iter_mut().zip(bytes) {
        *into = from;
    }
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use super::{
        BlobError, CHUNK_BYTES, HEADER_BYTES, Sealer, TAG_BYTES, beginning, kek_of, open, open_beginning,
        seal,
    };
    use crate::keystore::{Kek, Keystore};

    fn kek() -> Arc<Kek> {
        let folder = tempfile::tempdir().unwrap();
        let keystore = Keystore::open_or_create(folder.path()).unwrap();
        keystore.obtain(&Arc::from("someone"), "2026-11", 1).unwrap()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..length).map(step).collect()
    }

    #[test]
    fn payloads_of_all_sizes_open_again() {
        let kek = kek();
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 300_000] {
            let payload = noise(length);
            let whole = seal(&kek, &payload).unwrap();
            let mut sealer = Sealer::begin(&kek, Vec::new()).unwrap();
            payload.chunks(length / 3 + 1).for_each(|piece| sealer.write_all(piece).unwrap());
            let parts = sealer.finish().unwrap();
            assert_eq!(kek_of(&whole), Ok(kek.id));
            assert_eq!(open(&kek, &whole).unwrap(), payload);
            assert_eq!(open(&kek, &parts).unwrap(), payload);
        }
    }

    #[test]
    fn the_beginning_opens_alone() {
        let kek = kek();
        let payload = noise(5 * CHUNK_BYTES);
        let sealed = seal(&kek, &payload).unwrap();
        let limit = CHUNK_BYTES;
        let opened = open_beginning(&kek, &sealed[..beginning(limit)], sealed.len() as u64, limit).unwrap();
        assert_eq!(opened, payload[..limit]);
        let whole = open_beginning(&kek, &sealed, sealed.len() as u64, limit).unwrap();
        assert_eq!(whole, payload[..limit]);
        let mut bent = sealed[..beginning(limit)].to_vec();
        bent[HEADER_BYTES + 7] ^= 1;
        let opened = open_beginning(&kek, &bent, sealed.len() as u64, limit);
        assert_eq!(opened, Err(BlobError::Authenticity));
        // The first bytes of a blob are no blob.
        let opened = open_beginning(&kek, &sealed[..beginning(limit)], beginning(limit) as u64, limit);
        assert_eq!(opened, Err(BlobError::Authenticity));
    }

    #[test]
    fn changed_cut_and_reordered_blobs_do_not_open() {
        let kek = kek();
        let sealed = seal(&kek, &noise(3 * CHUNK_BYTES)).unwrap();
        for at in [4, 21, 40, HEADER_BYTES, HEADER_BYTES + CHUNK_BYTES + TAG_BYTES, sealed.len() - 1] {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert_eq!(open(&kek, &bent), Err(BlobError::Authenticity), "byte {at}");
        }
        let chunk = CHUNK_BYTES + TAG_BYTES;
        assert_eq!(open(&kek, &sealed[..HEADER_BYTES + 2 * chunk]), Err(BlobError::Authenticity));
        let mut swapped = sealed.clone();
        swapped[HEADER_BYTES..HEADER_BYTES + 2 * chunk].rotate_left(chunk);
        assert_eq!(open(&kek, &swapped), Err(BlobError::Authenticity));
    }
}
