//! Headers against bodies: nothing panics, and what is decoded from a sentinel is text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::message::{Frame, parse};

fuzz_target!(|input: (&str, &str, &str, &[u8])| {
    let (version, method, name, body) = input;
    let _ = mcp::header::decode(name);
    let Ok(Frame::Single(message)) = parse(body) else { return };
    let headers = [("mcp-protocol-version", version), ("mcp-method", method), ("mcp-name", name)];
    let _ = mcp::header::check(&message, &headers);
});
