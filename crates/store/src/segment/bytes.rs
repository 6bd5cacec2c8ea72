//! Numbers and texts as bytes, and back. What cannot be read gives `None`: the file is damaged.

/// Bytes under construction.
#[derive(Debug, Default)]
pub(crate) struct Out(pub(crate) Vec<u8>);

impl Out {
    /// Seven bits a byte, the lowest first.
    pub(crate) fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n.to_le_bytes().first().copied().unwrap_or(0) | 0x80);
            n >>= 7;
        }
        self.0.push(n.to_le_bytes().first().copied().unwrap_or(0));
    }

    /// A number that may be negative; small ones are short either way.
    pub(crate) fn signed(&mut self, n: i64) {
        self.number(((n << 1) ^ (n >> 63)).cast_unsigned());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn array(&mut self, bytes: &[u8; 16]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn mask(&mut self, mask: u64) {
        self.0.extend_from_slice(&mask.to_le_bytes());
    }
}

/// Bytes that are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct In<'a>(pub(crate) &'a [u8]);

impl<'a> In<'a> {
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut n = 0_u64;
        for place in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            n |= u64::from(byte & 0x7f).checked_shl(place)?;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let n = self.number()?;
        Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    pub(crate) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(crate) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    pub(crate) fn array(&mut self) -> Option<[u8; 16]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(crate) fn mask(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{In, Out};

    #[test]
    fn what_is_written_is_read() {
        let mut out = Out::default();
        for n in [0, 1, 127, 128, 300, u64::MAX] {
            out.number(n);
        }
        for n in [0, -1, 1, i64::MIN, i64::MAX] {
            out.signed(n);
        }
        out.text("ü");
        out.mask(u64::MAX);
        let mut input = In(&out.0);
        for n in [0, 1, 127, 128, 300, u64::MAX] {
            assert_eq!(input.number(), Some(n));
        }
        for n in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(input.signed(), Some(n));
        }
        assert_eq!(input.text().as_deref(), Some("ü"));
        assert_eq!(input.mask(), Some(u64::MAX));
        assert!(input.is_empty());
        assert_eq!(input.number(), None);
    }
}
