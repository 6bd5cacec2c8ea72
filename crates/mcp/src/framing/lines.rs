//! Newline-delimited JSON, as on standard streams (MCP basic/transports, stdio).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::TooLarge;

/// Something in a stream of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineItem {
    /// A line.
    Whole(Bytes),
    /// The next part of a line that is given in pieces.
    Part(Bytes),
    /// A line that was given in pieces has ended.
    Ended,
}

/// Takes bytes, gives lines without their LF or CRLF. Holds at most one line of `limit` bytes besides the pushed piece.
#[derive(Debug)]
pub struct LineDecoder {
    limit: usize,
    /// Longer lines are given in pieces.
    threshold: usize,
    /// The line under way, as far as it is not given.
    line: BytesMut,
    /// How many bytes the line under way has, whether they are kept or not.
    length: usize,
    /// The line under way is too long and is being skipped.
    skipping: bool,
    ready: VecDeque<Result<LineItem, TooLarge>>,
}

impl LineDecoder {
    /// A decoder for lines of at most `limit` bytes.
    pub fn new(limit: usize) -> LineDecoder {
        LineDecoder {
            limit,
            threshold: usize::MAX,
            line: BytesMut::new(),
            length: 0,
            skipping: false,
            ready: VecDeque::new(),
        }
    }

    /// Gives lines of more than `threshold` bytes in pieces: [`LineItem::Part`]s, then [`LineItem::Ended`]. Held of those is no
    /// more than the threshold and the pushed piece. [`TooLarge`] may come after parts; then nothing more comes of that line.
    #[must_use]
    pub fn in_pieces(self, threshold: usize) -> LineDecoder {
        LineDecoder { threshold, ..self }
    }

    /// Takes a piece of the stream.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (head, tail) = bytes.split_at(end);
            self.extend(head);
            self.finish();
            bytes = tail.get(1..).unwrap_or_default();
        }
        self.extend(bytes);
        if self.is_in_pieces() {
            // A CR at the end may be the line's.
            let kept = usize::from(self.line.last() == Some(&b'\r'));
            let part = self.line.split_to(self.line.len() - kept);
            self.give_part(part);
        }
    }

    /// The next item; empty lines are passed over.
    ///
    /// # Errors
    /// [`TooLarge`] in the place of a line beyond the limit, as soon as it is: it may never end.
    pub fn next_item(&mut self) -> Option<Result<LineItem, TooLarge>> {
        self.ready.pop_front()
    }

    /// The next whole line, from a decoder that gives no pieces.
    ///
    /// # Errors
    /// As above.
    pub fn next_line(&mut self) -> Option<Result<Bytes, TooLarge>> {
        loop {
            match self.next_item()? {
                Ok(LineItem::Whole(line)) => return Some(Ok(line)),
                Ok(LineItem::Part(_) | LineItem::Ended) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn is_in_pieces(&self) -> bool {
        !self.skipping && self.length > self.threshold
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        self.length = self.length.saturating_add(bytes.len());
        if self.length > self.limit.saturating_add(1) {
            self.skip();
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn skip(&mut self) {
        self.skipping = true;
        self.ready.push_back(Err(TooLarge));
        self.line = BytesMut::new();
    }

    fn finish(&mut self) {
        let mut line = self.line.split();
        let in_pieces = self.is_in_pieces();
        let mut length = std::mem::take(&mut self.length);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
            length -= 1;
        }
        if std::mem::take(&mut self.skipping) {
            return;
        }
        if length > self.limit {
            self.ready.push_back(Err(TooLarge));
        } else if in_pieces && length > 0 {
            self.give_part(line);
            self.ready.push_back(Ok(LineItem::Ended));
        } else if length > 0 {
            self.ready.push_back(Ok(LineItem::Whole(line.freeze())));
        }
    }

    fn give_part(&mut self, part: BytesMut) {
        if !part.is_empty() {
            self.ready.push_back(Ok(LineItem::Part(part.freeze())));
        }
    }
}
