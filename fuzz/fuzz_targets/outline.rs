//! A message read in pieces is judged as one that is read at once.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::message::{Frame, parse};
use mcp::outline::Outliner;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let mut outliner = Ok(Outliner::default());
    for piece in bytes.chunks(usize::from(piece).max(1)) {
        outliner = outliner.and_then(|mut outliner: Outliner| outliner.push(piece).map(|()| outliner));
    }
    let outline = outliner.and_then(Outliner::finish);
    let at_once = matches!(parse(bytes), Ok(Frame::Single(_)));
    let in_pieces = outline.is_ok_and(|outline| matches!(parse(outline.text()), Ok(Frame::Single(_))));
    // No input of this size has more members than an outline may have; a key may be too long for it.
    if bytes.len() < 4096 {
        assert_eq!(in_pieces, at_once);
    }
});
