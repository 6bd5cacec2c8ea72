//! The bytes of a write-ahead log: segment headers and frames. The written form is `docs/formats/wal.md`.
//!
//! A frame is what one group commit made durable. It names the hash of the frame before it, so frames can
//! neither be left out nor put in another order. Pure: no file is touched here.

use aws_lc_rs::digest::{self, SHA256};

use crate::input::Input;
use crate::version;

/// Room that a segment's header takes; the first frame starts here.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 128;
/// Bytes of a frame before its records.
pub(crate) const FRAME_HEADER_BYTES: usize = 66;
/// First bytes of every frame, `TBFR` when read as a little-endian word.
pub(crate) const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"TBFR");
/// Bytes of a reference to a spooled blob: its digest and its size.
pub(crate) const SPOOL_REFERENCE_BYTES: usize = 40;

const SEGMENT_MAGIC: [u8; 8] = *b"TBWAL001";
const SPOOLED: u32 = 1 << 31;
const BEFORE_CHECKED: usize = 12;

/// SHA-256 of a byte string.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&SHA256, bytes).as_ref());
    hash
}

/// Which log a segment or frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// Replica slot; always 0 for a single gateway.
    pub(crate) slot: u16,
    /// Number of the origin in `origins.json`, so that frames of an abandoned log are never taken up.
    pub(crate) epoch: u64,
}

/// Header of one segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) lineage: Lineage,
    pub(crate) segment: u64,
    pub(crate) first_seq: u64,
    /// Hash of the last frame of the segment before; zeros in the first segment of a log.
    pub(crate) previous_frame: [u8; 32],
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&self.lineage.slot.to_le_bytes());
        bytes.extend_from_slice(&self.lineage.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.previous_frame);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let mut header = [0; SEGMENT_HEADER_BYTES];
        for (into, from) in header.iter_mut().zip(bytes) {
            *into = from;
        }
        header
    }

    /// The version of a segment that another version of this program wrote.
    pub(crate) fn other_version(bytes: &[u8]) -> Option<String> {
        version::other(bytes, &SEGMENT_MAGIC, 3)
    }

    /// Reads a header; none if it is not one or its checksum is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input::new(bytes);
        let magic: [u8; 8] = input.array()?;
        let lineage = Lineage { slot: input.u16()?, epoch: input.u64()? };
        let header =
            Self { lineage, segment: input.u64()?, first_seq: input.u64()?, previous_frame: input.array()? };
        let checked = bytes.get(..8 + 2 + 8 + 8 + 8 + 32)?;
        (magic == SEGMENT_MAGIC && input.u32()? == crc32c::crc32c(checked)).then_some(header)
    }
}

/// The sealed payload that goes with a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blob<'a> {
    None,
    Inline(&'a [u8]),
    Spooled { digest: [u8; 32], size: u64 },
}

impl Blob<'_> {
    /// Bytes that this blob takes in a frame.
    pub(crate) const fn framed_bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Inline(bytes) => bytes.len(),
            Self::Spooled { .. } => SPOOL_REFERENCE_BYTES,
        }
    }
}

/// Bytes that a record takes in a frame.
pub(crate) const fn record_bytes(leaf: usize, blob: &Blob<'_>) -> usize {
    8 + leaf + blob.framed_bytes()
}

/// Builds one frame in a buffer that is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
    start: usize,
    count: u32,
}

/// Place of a frame in its log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FramePlace {
    pub(crate) lineage: Lineage,
    pub(crate) first_seq: u64,
    pub(crate) previous_frame: [u8; 32],
}

impl FrameBuilder {
    /// Starts a frame; `header` is set when it is the first of a segment, and is written in front of it.
    pub(crate) fn begin(&mut self, header: Option<&SegmentHeader>) {
        self.bytes.clear();
        if let Some(header) = header {
            self.bytes.extend_from_slice(&header.encode());
        }
        self.start = self.bytes.len();
        self.bytes.resize(self.start + FRAME_HEADER_BYTES, 0);
        self.count = 0;
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    /// Bytes to write so far, a segment header included.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record. The caller keeps the frame within the segment, so lengths fit 31 bits.
    pub(crate) fn push(&mut self, leaf: &[u8], blob: &Blob<'_>) {
        self.bytes.extend_from_slice(&length_word(leaf.len()).to_le_bytes());
        let flag = if matches!(blob, Blob::Spooled { .. }) { SPOOLED } else { 0 };
        self.bytes.extend_from_slice(&(length_word(blob.framed_bytes()) | flag).to_le_bytes());
        self.bytes.extend_from_slice(leaf);
        match blob {
            Blob::None => {}
            Blob::Inline(sealed) => self.bytes.extend_from_slice(sealed),
            Blob::Spooled { digest, size } => {
                self.bytes.extend_from_slice(digest);
                self.bytes.extend_from_slice(&size.to_le_bytes());
            }
        }
        self.count += 1;
    }

    /// Completes the frame: what to write, and the frame's hash for the next one to name.
    pub(crate) fn finish(&mut self, place: &FramePlace) -> (&[u8], [u8; 32]) {
        let total = self.bytes.len() - self.start;
        let mut head = Vec::with_capacity(FRAME_HEADER_BYTES);
        head.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
        head.extend_from_slice(&length_word(total - BEFORE_CHECKED).to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&place.lineage.slot.to_le_bytes());
        head.extend_from_slice(&place.lineage.epoch.to_le_bytes());
        head.extend_from_slice(&place.first_seq.to_le_bytes());
        head.extend_from_slice(&self.count.to_le_bytes());
        head.extend_from_slice(&place.previous_frame);
        self.patch(0, &head);
        let checked = self.bytes.get(self.start + BEFORE_CHECKED..).unwrap_or_default();
        let crc = crc32c::crc32c(checked);
        self.patch(8, &crc.to_le_bytes());
        let hash = sha256(self.bytes.get(self.start..).unwrap_or_default());
        (&self.bytes, hash)
    }

    fn patch(&mut self, offset: usize, with: &[u8]) {
        for (into, from) in self.bytes.iter_mut().skip(self.start + offset).zip(with) {
            *into = *from;
        }
    }
}

fn length_word(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// One record of a frame as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) leaf: &'a [u8],
    pub(crate) blob: Blob<'a>,
}

/// One frame as read.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) place: FramePlace,
    pub(crate) records: Vec<Record<'a>>,
    /// Bytes of the whole frame.
    pub(crate) size: usize,
    /// SHA-256 of the whole frame.
    pub(crate) hash: [u8; 32],
}

/// What stands at an offset of a segment.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Frame(Frame<'a>),
    /// Zeros where a frame would start.
    Nothing,
    /// Neither a whole frame nor nothing.
    Damaged,
}

/// Reads what stands at the start of `bytes`.
pub(crate) fn read_frame(bytes: &[u8]) -> Found<'_> {
    let magic = bytes.first_chunk::<4>().map(|magic| u32::from_le_bytes(*magic));
    match magic {
        None | Some(0) => Found::Nothing,
        Some(FRAME_MAGIC) => parse(bytes).map_or(Found::Damaged, Found::Frame),
        Some(_) => Found::Damaged,
    }
}

fn parse(bytes: &[u8]) -> Option<Frame<'_>> {
    let mut input = Input::new(bytes);
    let _magic = input.u32()?;
    let length = input.length()?;
    let crc = input.u32()?;
    let size = BEFORE_CHECKED.checked_add(length)?;
    let checked = input.bytes(length)?;
    if crc32c::crc32c(checked) != crc {
        return None;
    }
    let mut input = Input::new(checked);
    let lineage = Lineage { slot: input.u16()?, epoch: input.u64()? };
    let first_seq = input.u64()?;
    let count = input.u32()?;
    let previous_frame = input.array()?;
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(record(&mut input)?);
    }
    let hash = sha256(bytes.get(..size)?);
    let place = FramePlace { lineage, first_seq, previous_frame };
    input.is_empty().then_some(Frame { place, records, size, hash })
}

fn record<'a>(input: &mut Input<'a>) -> Option<Record<'a>> {
    let leaf_length = input.length()?;
    let blob_word = input.u32()?;
    let leaf = input.bytes(leaf_length)?;
    let blob_length = usize::try_from(blob_word & !SPOOLED).ok()?;
    let stored = input.bytes(blob_length)?;
    let blob = if blob_word & SPOOLED != 0 {
        let mut reference = Input::new(stored);
        Blob::Spooled { digest: reference.array()?, size: reference.u64()? }
    } else if stored.is_empty() {
        Blob::None
    } else {
        Blob::Inline(stored)
    };
    Some(Record { leaf, blob })
}

#[cfg(test)]
mod tests {
    use super::{Blob, Found, FrameBuilder, FramePlace, Lineage, SegmentHeader, read_frame, sha256};

    const LINEAGE: Lineage = Lineage { slot: 0, epoch: 3 };

    fn frame() -> Vec<u8> {
        let mut builder = FrameBuilder::default();
        builder.begin(None);
        builder.push(b"{\"v\":1}", &Blob::None);
        builder.push(b"{\"v\":2}", &Blob::Inline(b"sealed"));
        builder.push(b"{\"v\":3}", &Blob::Spooled { digest: [7; 32], size: 1 << 40 });
        let place = FramePlace { lineage: LINEAGE, first_seq: 41, previous_frame: [9; 32] };
        builder.finish(&place).0.to_vec()
    }

    #[test]
    fn a_frame_reads_back() {
        let bytes = frame();
        let Found::Frame(read) = read_frame(&bytes) else { panic!("no frame") };
        assert_eq!((read.place.first_seq, read.size), (41, bytes.len()));
        assert_eq!(read.hash, sha256(&bytes));
        let blobs: Vec<_> = read.records.iter().map(|record| record.blob).collect();
        assert_eq!(
            blobs,
            [Blob::None, Blob::Inline(b"sealed"), Blob::Spooled { digest: [7; 32], size: 1 << 40 }]
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = frame();
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 0x10;
            assert!(matches!(read_frame(&bent), Found::Damaged), "byte {at}");
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = frame();
        for length in 4..bytes.len() {
            assert!(matches!(read_frame(&bytes[..length]), Found::Damaged), "cut at {length}");
        }
        assert!(matches!(read_frame(&[0; 64]), Found::Nothing));
    }

    #[test]
    fn a_segment_header_reads_back_and_is_checked() {
        let header = SegmentHeader { lineage: LINEAGE, segment: 5, first_seq: 99, previous_frame: [1; 32] };
        let mut bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        bytes[20] ^= 1;
        assert_eq!(SegmentHeader::decode(&bytes), None);
    }
}
