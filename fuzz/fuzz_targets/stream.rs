//! Event streams and lines: the items do not depend on how the bytes fall into pieces, nor on whether they are given in pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::framing::lines::{LineDecoder, LineItem};
use mcp::framing::sse::{SseDecoder, SseItem};

const LIMIT: usize = 200;
/// Items of more bytes are given in pieces.
const THRESHOLD: usize = 40;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = (usize::from(input.0).max(1), input.1);
    let whole = bytes.len().max(1);
    assert_eq!(events(bytes, whole, usize::MAX), events(bytes, piece, usize::MAX));
    assert_eq!(events(bytes, whole, THRESHOLD), events(bytes, piece, THRESHOLD));
    assert_eq!(lines(bytes, whole, usize::MAX), lines(bytes, piece, usize::MAX));
    assert_eq!(lines(bytes, whole, usize::MAX), lines(bytes, piece, THRESHOLD));
});

/// Data and type of each event. Comments are cut where the pieces end.
fn events(bytes: &[u8], piece: usize, threshold: usize) -> Vec<Option<(Vec<u8>, Option<String>)>> {
    let mut decoder = SseDecoder::new(LIMIT).in_pieces(threshold);
    let (mut items, mut parts) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Some(item) = decoder.next_item() {
            match item {
                Ok(SseItem::Event(event)) => items.push(Some((event.data.to_vec(), event.event))),
                Ok(SseItem::Comment(_)) => {}
                Ok(SseItem::Part(part)) => parts.extend_from_slice(&part),
                Ok(SseItem::Ended { event, .. }) => items.push(Some((std::mem::take(&mut parts), event))),
                Err(_) => {
                    parts.clear();
                    items.push(None);
                }
            }
        }
    }
    items
}

fn lines(bytes: &[u8], piece: usize, threshold: usize) -> Vec<Option<Vec<u8>>> {
    let mut decoder = LineDecoder::new(LIMIT).in_pieces(threshold);
    let (mut items, mut parts) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        decoder.push(piece);
        while let Some(item) = decoder.next_item() {
            match item {
                Ok(LineItem::Whole(line)) => items.push(Some(line.to_vec())),
                Ok(LineItem::Part(part)) => parts.extend_from_slice(&part),
                Ok(LineItem::Ended) => items.push(Some(std::mem::take(&mut parts))),
                Err(_) => {
                    parts.clear();
                    items.push(None);
                }
            }
        }
    }
    items
}
