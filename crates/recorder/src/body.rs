//! The body of a message: in memory, or, when it is large, encrypted in a file without a name.
//!
//! The file's key is random, lives in this process alone and goes with it: what is left on the disk after a crash says
//! nothing, and destroying a principal's key destroys all that can be read of the principal's messages. The file is no
//! part of the ledger; what is durable is the sealed payload that is made of it. The room that the record keeps for itself is not
//! given to such files.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use bytes::{Bytes, BytesMut};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::disk;
use crate::keystore::cipher;
use crate::sealing::random;

/// Plain bytes of a chunk.
const CHUNK_BYTES: usize = 64 << 10;
const TAG_BYTES: usize = 16;
/// After so many chunks the disk is asked again.
const LOOK_EVERY: usize = 16;

/// The bytes of a message.
#[derive(Debug, Clone)]
pub enum Body {
    /// As they are.
    Memory(Bytes),
    /// In a file, for as long as a clone of this exists.
    Spilled(Arc<Spilled>),
}

impl Body {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::Spilled(spilled) => spilled.length,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces of the body, from its beginning.
    pub fn pieces(&self) -> Pieces {
        Pieces { body: self.clone(), next: 0 }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Memory(Bytes::new())
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Memory(bytes.into())
    }
}

/// A body in a file.
pub struct Spilled {
    file: File,
    key: LessSafeKey,
    length: usize,
}

impl std::fmt::Debug for Spilled {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Spilled").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Reads a body piece by piece. Each step may block on the disk.
#[derive(Debug, Clone)]
pub struct Pieces {
    body: Body,
    next: usize,
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    /// The next piece, at most 64 KiB of a body in a file. After an error there is nothing more.
    fn next(&mut self) -> Option<io::Result<Bytes>> {
        let place = self.next;
        self.next = place.saturating_add(1);
        match &self.body {
            Body::Memory(bytes) => (place == 0 && !bytes.is_empty()).then(|| Ok(bytes.clone())),
            Body::Spilled(spilled) => {
                let piece = spilled.chunk(place).transpose()?;
                if piece.is_err() {
                    self.next = usize::MAX;
                }
                Some(piece)
            }
        }
    }
}

impl Spilled {
    fn chunk(&self, number: usize) -> io::Result<Option<Bytes>> {
        let begin = number.saturating_mul(CHUNK_BYTES);
        let Some(left) = self.length.checked_sub(begin).filter(|left| *left > 0) else { return Ok(None) };
        let length = left.min(CHUNK_BYTES);
        let mut chunk = vec![0; length + TAG_BYTES];
        self.file.read_exact_at(&mut chunk, offset(number)?)?;
        let opened = self.key.open_in_place(nonce(number), Aad::empty(), &mut chunk);
        opened.map_err(|_| io::Error::other("a message that was put aside on the disk was changed there"))?;
        chunk.truncate(length);
        Ok(Some(chunk.into()))
    }
}

/// Says whether the disk has more room than the record keeps for itself.
#[derive(Clone)]
pub(crate) struct Reserve(Arc<dyn Fn() -> bool + Send + Sync>);

impl Reserve {
    pub(crate) fn new(has_room: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(has_room))
    }

    fn check(&self) -> io::Result<()> {
        let full =
            || io::Error::new(io::ErrorKind::StorageFull, "the disk that holds the record is nearly full");
        (self.0)().then_some(()).ok_or_else(full)
    }
}

impl std::fmt::Debug for Reserve {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Reserve")
    }
}

/// Takes a body of unknown size: in memory first, in a file when it grows.
#[derive(Debug)]
pub struct Gathering {
    /// Where the file would be.
    folder: Arc<Path>,
    reserve: Reserve,
    /// Beyond it, a file is begun; then the bytes that do not fill a chunk.
    in_memory: usize,
    waiting: BytesMut,
    spilled: Option<(Spilled, usize)>,
}

impl Gathering {
    pub(crate) fn new(folder: Arc<Path>, reserve: Reserve, in_memory: usize) -> Self {
        Self { folder, reserve, in_memory, waiting: BytesMut::new(), spilled: None }
    }

    /// How many bytes came.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.spilled.as_ref().map_or(0, |(spilled, _)| spilled.length)
    }

    /// Whether none came yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the next piece. May block on the disk once the body is large.
    ///
    /// # Errors
    /// The file cannot be made or written; `StorageFull` if the disk has no room for it beside the record.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        let is_small = self.spilled.is_none() && self.waiting.len() + piece.len() <= self.in_memory;
        self.waiting.extend_from_slice(piece);
        if is_small {
            return Ok(());
        }
        while self.waiting.len() >= CHUNK_BYTES {
            let chunk = self.waiting.split_to(CHUNK_BYTES);
            self.write(chunk)?;
        }
        Ok(())
    }

    /// The whole body. May block on the disk.
    ///
    /// # Errors
    /// As above.
    pub fn finish(mut self) -> io::Result<Body> {
        if self.spilled.is_some() && !self.waiting.is_empty() {
            let last = self.waiting.split();
            self.write(last)?;
        }
        Ok(match self.spilled {
            Some((spilled, _)) => Body::Spilled(Arc::new(spilled)),
            None => Body::Memory(self.waiting.freeze()),
        })
    }

    fn write(&mut self, mut chunk: BytesMut) -> io::Result<()> {
        if self.spilled.as_ref().is_none_or(|(_, number)| number.is_multiple_of(LOOK_EVERY)) {
            self.reserve.check()?;
        }
        let (spilled, number) = match &mut self.spilled {
            Some(spilled) => spilled,
            None => self.spilled.insert((Spilled::create(&self.folder)?, 0)),
        };
        let length = chunk.len();
        let sealed = spilled.key.seal_in_place_separate_tag(nonce(*number), Aad::empty(), &mut chunk);
        let tag = sealed.map_err(|_| io::Error::other("encryption failed"))?;
        let begin = offset(*number)?;
        spilled.file.write_all_at(&chunk, begin)?;
        spilled.file.write_all_at(tag.as_ref(), begin + length as u64)?;
        spilled.length += length;
        *number += 1;
        Ok(())
    }
}

impl Spilled {
    fn create(folder: &Path) -> io::Result<Self> {
        let secret: [u8; 32] = random().map_err(io::Error::other)?;
        let key = cipher(&secret).ok_or_else(|| io::Error::other("no cipher"))?;
        Ok(Self { file: nameless(folder)?, key, length: 0 })
    }
}

/// A file (0600) that no name leads to and that is gone when it is closed.
fn nameless(folder: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE.bits().cast_signed();
    let made = OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(flags).open(folder);
    let Err(error) = made else { return made };
    // Not every file system can do that.
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    if !matches!(errno, Some(Errno::OPNOTSUPP | Errno::ISDIR)) {
        return Err(error);
    }
    let random: [u8; 16] = random().map_err(io::Error::other)?;
    let path = folder.join(format!(".{:032x}.tmp", u128::from_be_bytes(random)));
    let file = disk::create(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn offset(number: usize) -> io::Result<u64> {
    u64::try_from(number.saturating_mul(CHUNK_BYTES + TAG_BYTES)).map_err(io::Error::other)
}

/// Chunks are written once, in order, under a key of their own.
fn nonce(number: usize) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    let number = u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes();
    nonce.iter_mut().zip(number).for_each(|(into, from)| *into = from);
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Body, CHUNK_BYTES, Gathering, LOOK_EVERY, Reserve, TAG_BYTES};

    fn gather(folder: &std::path::Path, bytes: &[u8], piece: usize) -> Body {
        let mut gathering = Gathering::new(folder.into(), Reserve::new(|| true), 1000);
        bytes.chunks(piece).for_each(|piece| gathering.push(piece).unwrap());
        assert_eq!(gathering.len(), bytes.len());
        gathering.finish().unwrap()
    }

    fn whole(body: &Body) -> Vec<u8> {
        body.pieces().map(Result::unwrap).collect::<Vec<_>>().concat()
    }

    #[test]
    fn bodies_of_all_sizes_come_back() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 1, 1000, 1001, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            for piece in [1 << 12, 100_000, 1 << 20] {
                let body = gather(folder.path(), &bytes, piece);
                assert_eq!(body.len(), length);
                assert_eq!(whole(&body), bytes);
                assert_eq!(whole(&body.clone()), bytes);
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files without a name");
    }

    #[test]
    fn the_room_of_the_record_is_left() {
        let folder = tempfile::tempdir().unwrap();
        for (looks, chunks) in [(0, 0), (1, LOOK_EVERY), (2, 2 * LOOK_EVERY)] {
            let left = Arc::new(AtomicUsize::new(looks));
            let has_room = {
                let left = Arc::clone(&left);
                move || {
                    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                        .is_ok()
                }
            };
            let mut gathering = Gathering::new(folder.path().into(), Reserve::new(has_room), 1000);
            let piece = vec![b'x'; CHUNK_BYTES];
            let written = (0..3 * LOOK_EVERY).take_while(|_| gathering.push(&piece).is_ok()).count();
            assert_eq!(written, chunks);
            assert_eq!(gathering.push(&piece).unwrap_err().kind(), ErrorKind::StorageFull);
            // What stays in memory needs no room.
            let mut small = Gathering::new(folder.path().into(), Reserve::new(|| false), 1000);
            small.push(b"small").unwrap();
            assert_eq!(whole(&small.finish().unwrap()), b"small");
        }
    }

    #[test]
    fn what_is_in_the_file_is_encrypted_and_bound() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = vec![b'x'; 2 * CHUNK_BYTES];
        let Body::Spilled(spilled) = gather(folder.path(), &bytes, 1 << 20) else { panic!("in memory") };
        let mut written = vec![0; 2 * (CHUNK_BYTES + TAG_BYTES)];
        spilled.file.read_exact_at(&mut written, 0).unwrap();
        assert!(!written.windows(8).any(|part| part == b"xxxxxxxx"));
        // The second chunk in the place of the first.
        let (first, second) = written.split_at(CHUNK_BYTES + TAG_BYTES);
        spilled.file.write_all_at(&[second, first].concat(), 0).unwrap();
        let mut pieces = Body::Spilled(spilled).pieces();
        assert!(pieces.next().unwrap().is_err());
        assert!(pieces.next().is_none());
    }
}
