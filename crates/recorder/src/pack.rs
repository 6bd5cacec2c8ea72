//! Packs: where sealed payloads end up, many to a file. The written form is `docs/formats/pack.md`.
//!
//! A pack is appended to in order of seq until it is full or the day ends, and then gets an index at its
//! end. A pack without one was open when the process ended; what is whole in it counts, a torn end is cut.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use ledger::Hash;

use crate::clock::Day;
use crate::input::Input;
use crate::{disk, faults, version};

const MAGIC: [u8; 8] = *b"TBPACK01";
const ENTRY_MARK: u32 = u32::from_le_bytes(*b"TBPE");
const INDEX_MARK: u32 = u32::from_le_bytes(*b"TBPX");
const END_MAGIC: [u8; 8] = *b"TBPKEND1";
const HEADER_BYTES: u64 = 16;
const ENTRY_HEADER_BYTES: usize = 4 + 8 + 8 + 32 + 4;
const INDEX_ENTRY_BYTES: usize = 24;
const TRAILER_BYTES: usize = 16;
const BUFFER_BYTES: usize = 1 << 20;
const AHEAD_BYTES: usize = 256 << 10;
/// Further apart, two reads are no walk through the pack.
const NEAR_BYTES: u64 = 4 << 10;

/// Where a blob stands in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// All packs under a folder by their first seq, ascending.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut packs = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
                continue;
            }
            let name = entry.file_name();
            let digits = name.to_str().and_then(|name| name.strip_suffix(".pack"));
            if let Some(first) = digits.and_then(|digits| digits.parse().ok()) {
                packs.push((first, path));
            }
        }
    }
    packs.sort_unstable();
    Ok(packs)
}

/// What is known of one pack.
#[derive(Debug)]
pub(crate) struct PackIndex {
    file: File,
    entries: Vec<Entry>,
    /// End of the last whole entry.
    end: u64,
    finished: bool,
    ahead: Ahead,
}

/// What was read beyond a blob, for the next one: whoever reads all of a pack does it in few steps.
#[derive(Debug, Default)]
struct Ahead {
    at: u64,
    bytes: Vec<u8>,
    /// Where the last read ended; one that goes on from there reads ahead.
    next: u64,
}

impl Ahead {
    /// A part of the file, unless it is large or not near the one before.
    fn bytes(&mut self, file: &File, offset: u64, size: usize) -> io::Result<Option<&[u8]>> {
        let near = offset.checked_sub(self.next).is_some_and(|gap| gap <= NEAR_BYTES);
        self.next = offset.saturating_add(size as u64);
        let within = |at: u64, bytes: &[u8]| {
            let start = usize::try_from(offset.checked_sub(at)?).ok()?;
            bytes.get(start..start.checked_add(size)?).map(|_| start)
        };
        if within(self.at, &self.bytes).is_none() {
            if !near || size > AHEAD_BYTES {
                return Ok(None);
            }
            self.bytes.resize(AHEAD_BYTES, 0);
            let read = file.read_at(&mut self.bytes, offset);
            self.bytes.truncate(*read.as_ref().unwrap_or(&0));
            self.at = offset;
            read?;
        }
        let start = within(self.at, &self.bytes);
        Ok(start.and_then(|start| self.bytes.get(start..start + size)))
    }
}

impl PackIndex {
    /// Reads a pack's index, or finds its whole entries if it has none.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut mark = [0; MAGIC.len()];
        // A pack that was begun just now may be empty.
        if file.read_exact_at(&mut mark, 0).is_ok()
            && let Some(found) = version::other(&mark, &MAGIC, 2)
        {
            let text = format!("`{}`: {}", path.display(), version::unknown(found));
            return Err(io::Error::other(text));
        }
        let mut index =
            Self { file, entries: Vec::new(), end: HEADER_BYTES, finished: false, ahead: Ahead::default() };
        if !index.load_finished()? {
            index.extend()?;
        }
        Ok(index)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Finds what was added to an open pack since.
    pub(crate) fn extend(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let header_bytes = u64::try_from(ENTRY_HEADER_BYTES).map_err(io::Error::other)?;
        let mut header = [0; ENTRY_HEADER_BYTES];
        while self.end.saturating_add(header_bytes) <= length {
            self.file.read_exact_at(&mut header, self.end)?;
            let Some((seq, size, _)) = entry_header(&header) else { break };
            let offset = self.end + header_bytes;
            let Some(end) = offset.checked_add(size).filter(|end| *end <= length) else { break };
            self.entries.push(Entry { seq, offset, size });
            self.end = end;
        }
        Ok(())
    }

    /// Where the blob of a leaf stands, if this pack has it.
    pub(crate) fn entry(&self, seq: u64) -> Option<Entry> {
        let at = self.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        self.entries.get(at).copied()
    }

    /// Reads a stored blob whole.
    pub(crate) fn read(&mut self, entry: &Entry) -> io::Result<Vec<u8>> {
        let size = usize::try_from(entry.size).map_err(io::Error::other)?;
        if let Some(bytes) = self.ahead.bytes(&self.file, entry.offset, size)? {
            return Ok(bytes.to_vec());
        }
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, entry.offset)?;
        Ok(bytes)
    }

    /// Reads a stored blob, at most its first `length` bytes.
    pub(crate) fn read_beginning(&mut self, entry: &Entry, length: usize) -> io::Result<Vec<u8>> {
        if entry.size <= length as u64 {
            return self.read(entry);
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, entry.offset)?;
        Ok(bytes)
    }

    /// The digest that stands before a stored blob, none if that is damaged or of another blob; and the one that the blob
    /// has. Read in bounded memory.
    pub(crate) fn digests(&mut self, entry: &Entry) -> io::Result<(Option<Hash>, Hash)> {
        let header_bytes = u64::try_from(ENTRY_HEADER_BYTES).map_err(io::Error::other)?;
        let mut offset = entry.offset.saturating_sub(header_bytes);
        let end = entry.offset.saturating_add(entry.size);
        let whole = usize::try_from(entry.size).map_err(io::Error::other)?.saturating_add(ENTRY_HEADER_BYTES);
        if let Some(bytes) = self.ahead.bytes(&self.file, offset, whole)? {
            let (header, blob) = bytes.split_at_checked(ENTRY_HEADER_BYTES).unwrap_or_default();
            return Ok((declared(entry, header), Hash::of(blob)));
        }
        let step = |offset: u64| usize::try_from(end - offset).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
        let mut buffer = vec![0; step(offset)];
        let mut context = Context::new(&SHA256);
        self.file.read_exact_at(&mut buffer, offset)?;
        let (header, first) = buffer.split_at_checked(ENTRY_HEADER_BYTES).unwrap_or_default();
        let declared = declared(entry, header);
        context.update(first);
        offset += u64::try_from(buffer.len()).map_err(io::Error::other)?;
        while offset < end {
            buffer.truncate(step(offset));
            self.file.read_exact_at(&mut buffer, offset)?;
            context.update(&buffer);
            offset += u64::try_from(buffer.len()).map_err(io::Error::other)?;
        }
        Ok((declared, finish_hash(context)))
    }

    fn load_finished(&mut self) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        let trailer_bytes = u64::try_from(TRAILER_BYTES).map_err(io::Error::other)?;
        let mut trailer = [0; TRAILER_BYTES];
        let Some(trailer_at) = length.checked_sub(trailer_bytes) else { return Ok(false) };
        self.file.read_exact_at(&mut trailer, trailer_at)?;
        let mut input = Input::new(&trailer);
        let (index_bytes, magic) = (input.u64().unwrap_or_default(), input.array::<8>());
        let Some(start) = trailer_at.checked_sub(index_bytes).filter(|_| magic == Some(END_MAGIC)) else {
            return Ok(false);
        };
        let mut bytes = vec![0; usize::try_from(index_bytes).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, start)?;
        let Some(entries) = parse_index(&bytes) else { return Ok(false) };
        self.entries = entries;
        self.end = length;
        self.finished = true;
        Ok(true)
    }
}

/// The digest in the header of an entry, if it is that entry's.
fn declared(entry: &Entry, header: &[u8]) -> Option<Hash> {
    let (seq, size, digest) = entry_header(header)?;
    ((seq, size) == (entry.seq, entry.size)).then_some(digest)
}

/// Adds blobs, in order of seq.
#[derive(Debug)]
pub(crate) struct PackWriter {
    folder: PathBuf,
    limit: u64,
    open: Option<OpenPack>,
    /// Newest seq that is stored; earlier ones are never stored again.
    newest: Option<u64>,
}

#[derive(Debug)]
struct OpenPack {
    file: File,
    day: Day,
    entries: Vec<Entry>,
    /// Bytes written and waiting.
    end: u64,
    waiting: Vec<u8>,
    /// Whether something written is not durable yet.
    unsynced: bool,
}

/// Where a blob comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    Bytes(&'a [u8]),
    File(&'a Path),
}

impl PackWriter {
    /// Takes up the newest pack: an unfinished one is checked blob by blob, cut behind the last whole one,
    /// and finished.
    pub(crate) fn resume(folder: PathBuf, limit: u64) -> io::Result<Self> {
        disk::create_folder(&folder)?;
        let mut writer = Self { folder, limit, open: None, newest: None };
        for (_, path) in list(&writer.folder)?.into_iter().rev() {
            let index = PackIndex::load(&path)?;
            if index.is_finished() {
                writer.newest = index.entries().last().map(|entry| entry.seq);
                break;
            }
            writer.finish_open(&path, index)?;
            if writer.newest.is_some() {
                break;
            }
        }
        Ok(writer)
    }

    /// Whether the blob of this leaf is stored already.
    pub(crate) fn holds(&self, seq: u64) -> bool {
        self.newest.is_some_and(|newest| seq <= newest)
    }

    /// Adds a blob; durable after `sync`.
    pub(crate) fn append(&mut self, day: Day, seq: u64, digest: Hash, source: Source<'_>) -> io::Result<()> {
        let size = match source {
            Source::Bytes(bytes) => u64::try_from(bytes.len()).map_err(io::Error::other)?,
            Source::File(path) => std::fs::metadata(path)?.len(),
        };
        let full = |open: &OpenPack| open.day != day || open.end.saturating_add(size) > self.limit;
        if self.open.as_ref().is_some_and(full) {
            self.finish()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => OpenPack::create(&self.folder, day, seq)?,
        };
        open.append(seq, size, digest, source)?;
        self.open = Some(open);
        self.newest = Some(seq);
        Ok(())
    }

    /// Makes what was added durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), OpenPack::sync)
    }

    /// Gives the open pack its index and closes it.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        faults::at("pack.finish")?;
        let index = encode_index(&open.entries)?;
        open.waiting.extend_from_slice(&index);
        open.sync()
    }

    fn finish_open(&mut self, path: &Path, mut index: PackIndex) -> io::Result<()> {
        let mut whole = Vec::new();
        let mut end = HEADER_BYTES;
        for entry in std::mem::take(&mut index.entries) {
            let (declared, found) = index.digests(&entry)?;
            if declared != Some(found) {
                break;
            }
            end = entry.offset.saturating_add(entry.size);
            whole.push(entry);
        }
        let Some(newest) = whole.last() else { return disk::remove_if_present(path) };
        self.newest = Some(newest.seq);
        let file = disk::open_or_create(path)?;
        file.set_len(end)?;
        file.write_all_at(&encode_index(&whole)?, end)?;
        file.sync_all()
    }
}

impl OpenPack {
    fn create(folder: &Path, day: Day, first: u64) -> io::Result<Self> {
        let folder = folder.join(day.folder());
        disk::create_folder(&folder)?;
        faults::at("pack.create")?;
        let file = disk::create(&folder.join(format!("{first:020}.pack")))?;
        disk::sync_folder(&folder)?;
        let waiting = [MAGIC.as_slice(), &first.to_le_bytes()].concat();
        Ok(Self { file, day, entries: Vec::new(), end: HEADER_BYTES, waiting, unsynced: true })
    }

    fn append(&mut self, seq: u64, size: u64, digest: Hash, source: Source<'_>) -> io::Result<()> {
        let start = self.waiting.len();
        self.waiting.extend_from_slice(&ENTRY_MARK.to_le_bytes());
        self.waiting.extend_from_slice(&seq.to_le_bytes());
        self.waiting.extend_from_slice(&size.to_le_bytes());
        self.waiting.extend_from_slice(&digest.0);
        let crc = crc32c::crc32c(self.waiting.get(start..).unwrap_or_default());
        self.waiting.extend_from_slice(&crc.to_le_bytes());
        let header_bytes = u64::try_from(ENTRY_HEADER_BYTES).map_err(io::Error::other)?;
        let offset = self.end.saturating_add(header_bytes);
        match source {
            Source::Bytes(bytes) => self.waiting.extend_from_slice(bytes),
            Source::File(path) => self.copy(path)?,
        }
        self.entries.push(Entry { seq, offset, size });
        self.end = offset.saturating_add(size);
        if self.waiting.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    fn copy(&mut self, path: &Path) -> io::Result<()> {
        let mut from = File::open(path)?;
        loop {
            self.write()?;
            self.waiting.resize(BUFFER_BYTES, 0);
            let count = from.read(&mut self.waiting)?;
            self.waiting.truncate(count);
            if count == 0 {
                return Ok(());
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        self.unsynced |= !self.waiting.is_empty();
        faults::at("pack.write")?;
        self.file.write_all(&self.waiting)?;
        self.waiting.clear();
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        if self.unsynced {
            faults::at("pack.sync")?;
            self.file.sync_data()?;
            self.unsynced = false;
        }
        Ok(())
    }
}

pub(crate) fn finish_hash(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Hash(hash)
}

fn entry_header(bytes: &[u8]) -> Option<(u64, u64, Hash)> {
    let mut input = Input::new(bytes);
    let mark = input.u32()?;
    let (seq, size, digest) = (input.u64()?, input.u64()?, Hash(input.array()?));
    let checked = bytes.get(..ENTRY_HEADER_BYTES - 4)?;
    (mark == ENTRY_MARK && input.u32()? == crc32c::crc32c(checked)).then_some((seq, size, digest))
}

fn encode_index(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let count = u32::try_from(entries.len()).map_err(io::Error::other)?;
    let mut bytes = [INDEX_MARK.to_le_bytes(), count.to_le_bytes()].concat();
    for entry in entries {
        bytes.extend_from_slice(&entry.seq.to_le_bytes());
        bytes.extend_from_slice(&entry.offset.to_le_bytes());
        bytes.extend_from_slice(&entry.size.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    let length = u64::try_from(bytes.len()).map_err(io::Error::other)?;
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&END_MAGIC);
    Ok(bytes)
}

pub(crate) fn parse_index(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (checked, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut input = Input::new(checked);
    let mark = input.u32()?;
    let count = input.length()?;
    let mut entries = Vec::with_capacity(count.min(checked.len() / INDEX_ENTRY_BYTES));
    for _ in 0..count {
        entries.push(Entry { seq: input.u64()?, offset: input.u64()?, size: input.u64()? });
    }
    let sound = mark == INDEX_MARK && input.is_empty() && Input::new(crc).u32()? == crc32c::crc32c(checked);
    sound.then_some(entries)
}
