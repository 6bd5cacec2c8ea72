//! The inside of strings, and UTF-8, across pieces.

use crate::message::ParseError;

/// Checks UTF-8 piece by piece.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The first bytes of a character that the last piece cut.
    cut: Vec<u8>,
}

impl Utf8 {
    pub(super) fn check(&mut self, piece: &[u8]) -> Result<(), ParseError> {
        let mut rest = piece;
        while !self.cut.is_empty() {
            let Some((byte, after)) = rest.split_first() else { return Ok(()) };
            self.cut.push(*byte);
            rest = after;
            match std::str::from_utf8(&self.cut) {
                Ok(_) => self.cut.clear(),
                Err(error) if error.error_len().is_some() => return Err(ParseError::NotUtf8),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(ParseError::NotUtf8),
            Err(error) => {
                self.cut.extend_from_slice(rest.get(error.valid_up_to()..).unwrap_or_default());
                Ok(())
            }
        }
    }

    pub(super) fn finish(&self) -> Result<(), ParseError> {
        if self.cut.is_empty() { Ok(()) } else { Err(ParseError::NotUtf8) }
    }
}

/// Where in a string the reader is.
#[derive(Debug, Default)]
pub(super) struct Chars {
    place: Place,
    /// Digits of `\u` so far.
    unit: u32,
    /// The first half of a pair was read, and the second must follow.
    is_half: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Plain,
    Escape,
    /// Hexadecimal digits still to come.
    Digits(u8),
}

impl Chars {
    /// Takes bytes up to and with the closing quote, or all. Gives how many, and whether the string is over.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), ParseError> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            if self.place == Place::Plain && !self.is_half {
                let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                if rest.iter().take(plain).any(|byte| *byte < 0x20) {
                    return Err(ParseError::NotJson);
                }
                taken += plain;
            }
            let Some(byte) = bytes.get(taken) else { break };
            taken += 1;
            if self.step(*byte)? {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    /// One byte; `true` for the closing quote.
    fn step(&mut self, byte: u8) -> Result<bool, ParseError> {
        self.place = match (self.place, byte) {
            // After the first half of a pair nothing but `\u` may come.
            (Place::Plain, b'\\') => Place::Escape,
            (Place::Plain, _) if self.is_half => return Err(ParseError::NotJson),
            (Place::Plain, b'"') => return Ok(true),
            (Place::Plain, _) => Place::Plain,
            (Place::Escape, b'u') => {
                self.unit = 0;
                Place::Digits(4)
            }
            (Place::Escape, _) if self.is_half => return Err(ParseError::NotJson),
            (Place::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Place::Plain,
            (Place::Escape, _) => return Err(ParseError::NotJson),
            (Place::Digits(left), digit) => {
                let value = char::from(digit).to_digit(16).ok_or(ParseError::NotJson)?;
                self.unit = self.unit << 4 | value;
                if left > 1 {
                    Place::Digits(left - 1)
                } else {
                    self.end_unit()?;
                    Place::Plain
                }
            }
        };
        Ok(false)
    }

    fn end_unit(&mut self) -> Result<(), ParseError> {
        self.is_half = match (self.is_half, self.unit) {
            (false, 0xd800..=0xdbff) => true,
            (true, 0xdc00..=0xdfff) => false,
            (false, 0xdc00..=0xdfff) | (true, _) => return Err(ParseError::NotJson),
            (false, _) => false,
        };
        Ok(())
    }
}
