//! Newline-delimited JSON, as on standard streams (MCP basic/transports, stdio).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::TooLarge;

/// Takes bytes, gives lines without their LF or CRLF. Holds at most one line of `limit` bytes besides the pushed piece.
#[derive(Debug)]
pub struct LineDecoder {
    limit: usize,
    line: BytesMut,
    /// The line under way is too long and is being skipped.
    skipping: bool,
    ready: VecDeque<Result<Bytes, TooLarge>>,
}

impl LineDecoder {
    /// A decoder for lines of at most `limit` bytes.
    pub fn new(limit: usize) -> LineDecoder {
        LineDecoder { limit, line: BytesMut::new(), skipping: false, ready: VecDeque::new() }
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
    }

    /// The next whole line; empty lines are passed over.
    ///
    /// # Errors
    /// [`TooLarge`] in the place of a line beyond the limit, as soon as it is: it may never end.
    pub fn next_line(&mut self) -> Option<Result<Bytes, TooLarge>> {
        self.ready.pop_front()
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        if self.line.len().saturating_add(bytes.len()) > self.limit.saturating_add(1) {
            self.skipping = true;
            self.ready.push_back(Err(TooLarge));
            self.line.clear();
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self) {
        let mut line = self.line.split();
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        if std::mem::take(&mut self.skipping) {
            return;
        }
        if line.len() > self.limit {
            self.ready.push_back(Err(TooLarge));
        } else if !line.is_empty() {
            self.ready.push_back(Ok(line.freeze()));
        }
    }
}
