//! Rows that will not change any more, many together: compressed, with a summary and the words of their texts.
//!
//! A segment has up to 64 blocks of up to 64 rows. What a query can find is narrowed down to blocks by the summary and the
//! words (`Segment::blocks`); only those are expanded and their rows judged one by one. So a search for what is rare or
//! absent reads a few per cent of what there is.
//!
//! Invariant: the summary and the words may let through a block without a match, never keep back one with a match.

pub(crate) mod bytes;
pub(crate) mod code;
pub(crate) mod filter;
pub(crate) mod summary;
pub(crate) mod words;

use std::cell::RefCell;

use jiff::civil::Date;

use crate::row::CallRow;
use bytes::{In, Out};
use summary::{Summary, SummaryBuilder};
use words::WordsBuilder;

/// Rows in a block: what is expanded at once to judge one of them.
pub(crate) const BLOCK_ROWS: usize = 64;
/// Rows in a segment at most: a mask has a bit for each block.
pub(crate) const SEGMENT_ROWS: usize = BLOCK_ROWS * 64;

const LEVEL: i32 = 1;
/// No block, summary or list of words that this program writes is larger.
const EXPANDED_BYTES: usize = 64 << 20;

thread_local! {
    /// A context is dear to make, so each thread keeps one.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// A segment as it is written.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) rows: usize,
    pub(crate) summary: Vec<u8>,
    pub(crate) words: Vec<u8>,
    pub(crate) blocks: Vec<Vec<u8>>,
}

/// A segment under construction; rows come in order of their ids.
#[derive(Default)]
pub(crate) struct Packer {
    summary: SummaryBuilder,
    words: WordsBuilder,
    blocks: Vec<Vec<u8>>,
    block: Out,
    rows: usize,
}

impl Packer {
    /// Adds a row; the caller stops at [`SEGMENT_ROWS`].
    pub(crate) fn add(&mut self, row: &CallRow) -> std::io::Result<()> {
        if self.rows > 0 && self.rows.is_multiple_of(BLOCK_ROWS) {
            self.end_block()?;
        }
        let mask = 1_u64.checked_shl(u32::try_from(self.rows / BLOCK_ROWS).unwrap_or(u32::MAX));
        let mask = mask.ok_or_else(|| std::io::Error::other("the segment is full"))?;
        self.summary.add(row, mask);
        code::write(&mut self.block, row);
        let texts = [&row.name, &row.args, &row.error, &row.result, &row.reason];
        texts.into_iter().flatten().for_each(|text| self.words.add(text, mask));
        if row.args.as_ref().is_some_and(|args| args.contains("\\u")) {
            self.words.add_escaped(mask);
        }
        self.rows += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> std::io::Result<Packed> {
        self.end_block()?;
        let summary = self.summary.finish();
        Ok(Packed {
            first: summary.blocks.first().map_or(0, |block| block.first),
            last: summary.blocks.last().map_or(0, |block| block.last),
            rows: self.rows,
            summary: zstd::bulk::compress(&summary.write(), LEVEL)?,
            words: zstd::bulk::compress(&self.words.finish(), LEVEL)?,
            blocks: self.blocks,
        })
    }

    fn end_block(&mut self) -> std::io::Result<()> {
        self.blocks.push(zstd::bulk::compress(&self.block.0, LEVEL)?);
        self.block.0.clear();
        Ok(())
    }
}

/// Expands a summary.
pub(crate) fn summary(bytes: &[u8]) -> Option<Summary> {
    Summary::read(&expand(bytes)?)
}

/// Expands a list of words.
pub(crate) fn expand(bytes: &[u8]) -> Option<Vec<u8>> {
    let size = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten()?;
    let size = usize::try_from(size).ok().filter(|size| *size <= EXPANDED_BYTES)?;
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        decompressor.decompress(bytes, size).ok()
    })
}

/// Expands the rows of a block.
pub(crate) fn rows(bytes: &[u8], day: Date) -> Option<Vec<CallRow>> {
    let bytes = expand(bytes)?;
    let mut input = In(&bytes);
    let mut rows = Vec::with_capacity(BLOCK_ROWS);
    while !input.is_empty() {
        rows.push(code::read(&mut input, day)?);
    }
    Some(rows)
}
