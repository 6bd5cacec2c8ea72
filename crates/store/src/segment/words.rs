//! The words of a segment's texts and the blocks that each stands in: what a free text is looked up in.
//!
//! A word is as many letters and digits as stand together, in lower case; bytes beyond ASCII count as letters. A text that is
//! looked up may begin and end inside a word, so words are searched, all of them, as one text with a line for each.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use memchr::memmem;

use super::bytes::{In, Out};

/// Longer words (encoded bytes, mostly) are not kept; the blocks that have one are always looked at.
const LONGEST: usize = 64;

/// Words while a segment is made.
#[derive(Debug, Default)]
pub(crate) struct WordsBuilder {
    masks: HashMap<Box<[u8]>, u64, Seeded>,
    word: Vec<u8>,
    long: u64,
    escaped: u64,
}

impl WordsBuilder {
    /// Adds a text of the block that `mask` has the bit of.
    pub(crate) fn add(&mut self, text: &str, mask: u64) {
        for word in text.as_bytes().split(|byte| !in_word(*byte)) {
            if word.is_empty() {
                continue;
            }
            if word.len() > LONGEST {
                self.long |= mask;
                continue;
            }
            self.word.clear();
            self.word.extend(word.iter().map(u8::to_ascii_lowercase));
            match self.masks.get_mut(self.word.as_slice()) {
                Some(known) => *known |= mask,
                None => {
                    self.masks.insert(self.word.as_slice().into(), mask);
                }
            }
        }
    }

    /// Notes that the block has arguments with characters written as numbers (`\u0041`): words do not show those.
    pub(crate) fn add_escaped(&mut self, mask: u64) {
        self.escaped |= mask;
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut words: Vec<(Box<[u8]>, u64)> = self.masks.into_iter().collect();
        words.sort_unstable();
        let mut lines = vec![b'\n'];
        for (word, _) in &words {
            lines.extend_from_slice(word);
            lines.push(b'\n');
        }
        let mut out = Out::default();
        out.mask(self.long);
        out.mask(self.escaped);
        out.bytes(&lines);
        words.iter().for_each(|(_, mask)| out.mask(*mask));
        out.0
    }
}

/// The words of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<'a> {
    long: u64,
    escaped: u64,
    lines: &'a [u8],
    masks: &'a [[u8; 8]],
}

/// Where a text is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edges {
    /// In the texts as they are: `a big c` has the whole word `big`.
    Whole,
    /// Inside the arguments' JSON, where an escape may stand before each word or instead of each letter.
    Parts,
}

impl<'a> Words<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Words<'a>> {
        let mut input = In(bytes);
        let (long, escaped) = (input.mask()?, input.mask()?);
        let lines = input.bytes()?;
        let (masks, rest) = input.0.as_chunks::<8>();
        rest.is_empty().then_some(Words { long, escaped, lines, masks })
    }

    /// The blocks in which `text` can stand.
    pub(crate) fn blocks(&self, text: &str, edges: Edges) -> u64 {
        let text = text.as_bytes().to_ascii_lowercase();
        let parts = edges == Edges::Parts;
        let mut blocks = u64::MAX;
        let mut at = 0;
        for word in text.split(|byte| !in_word(*byte)) {
            let (begins, ends) = (at == 0, at + word.len() == text.len());
            at += word.len() + 1;
            if word.is_empty() {
                continue;
            }
            let mut line = Vec::with_capacity(word.len() + 2);
            if !(begins || parts) {
                line.push(b'\n');
            }
            line.extend_from_slice(word);
            if !(ends || parts) {
                line.push(b'\n');
            }
            blocks &= self.long | self.lines_with(&line);
            if blocks == 0 {
                break;
            }
        }
        if parts { blocks | self.escaped } else { blocks }
    }

    fn lines_with(&self, part: &[u8]) -> u64 {
        let mut blocks = 0;
        let (mut line, mut counted) = (0, 0);
        for at in memmem::find_iter(self.lines, part) {
            // The line break that the part itself begins with counts: it begins the line.
            let upto = at + usize::from(part.first() == Some(&b'\n'));
            let between = self.lines.get(counted..upto).unwrap_or_default();
            line += memchr::memchr_iter(b'\n', between).count();
            counted = upto;
            let mask = line.checked_sub(1).and_then(|line| self.masks.get(line));
            blocks |= mask.map_or(0, |mask| u64::from_le_bytes(*mask));
        }
        blocks
    }
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Hashes with a secret: texts are hostile and could be made to collide.
#[derive(Debug, Clone)]
struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Seeded {
        Seeded(RandomState::new().hash_one(0_u64) | 1)
    }
}

impl BuildHasher for Seeded {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding { state: self.0, seed: self.0 }
    }
}

struct Folding {
    state: u64,
    seed: u64,
}

impl Folding {
    fn fold(&mut self, n: u64) {
        let product = u128::from(self.state ^ n) * u128::from(self.seed ^ 0x9e37_79b9_7f4a_7c15);
        let (low, high) = (product & u128::from(u64::MAX), product >> 64);
        self.state = u64::try_from(low ^ high).unwrap_or_default();
    }
}

impl std::hash::Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.fold(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.fold(u64::from_le_bytes(last));
        }
    }

    fn write_usize(&mut self, n: usize) {
        self.fold(n as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::{Edges, Words, WordsBuilder};

    fn blocks(text: &str, edges: Edges) -> u64 {
        let mut builder = WordsBuilder::default();
        builder.add("Read the file: read_file(42)", 1);
        builder.add("müsli \"reading\"", 2);
        builder.add(&"A".repeat(100), 4);
        let bytes = builder.finish();
        Words::read(&bytes).unwrap().blocks(text, edges)
    }

    #[test]
    fn a_text_is_found_in_the_blocks_that_may_have_it() {
        for (text, found) in [
            ("read", 0b111),
            ("READ", 0b111),
            ("ead", 0b111),
            ("read the", 0b101),
            (" read ", 0b101),
            ("ad_fi", 0b101),
            ("reading", 0b110),
            ("üs", 0b110),
            ("rarely", 0b100),
            (" 4 ", 0b100),
            ("42", 0b101),
            ("", u64::MAX),
            ("--", u64::MAX),
        ] {
            assert_eq!(blocks(text, Edges::Whole), found, "{text}");
        }
        assert_eq!(blocks(" 4 ", Edges::Parts), 0b101);
    }
}
