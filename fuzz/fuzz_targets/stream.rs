//! Event streams and lines: the items do not depend on how the bytes fall into pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::framing::lines::LineDecoder;
use mcp::framing::sse::{SseDecoder, SseItem};

const LIMIT: usize = 200;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = (usize::from(input.0).max(1), input.1);
    assert_eq!(events(bytes, bytes.len().max(1)), events(bytes, piece));
    assert_eq!(lines(bytes, bytes.len().max(1)), lines(bytes, piece));
});

/// Data and type of each event. Comments are cut where the pieces end.
fn events(bytes: &[u8], piece: usize) -> Vec<Option<(Vec<u8>, Option<String>)>> {
    let mut decoder = SseDecoder::new(LIMIT);
    let mut items = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Some(item) = decoder.next_item() {
            match item {
                Ok(SseItem::Event(event)) => items.push(Some((event.data.to_vec(), event.event))),
                Ok(SseItem::Comment(_)) => {}
                Err(_) => items.push(None),
            }
        }
    }
    items
}

fn lines(bytes: &[u8], piece: usize) -> Vec<Option<Vec<u8>>> {
    let mut decoder = LineDecoder::new(LIMIT);
    let mut items = Vec::new();
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Some(line) = decoder.next_line() {
            items.push(line.ok().map(|line| line.to_vec()));
        }
    }
    items
}
