//! The envelope: what parses is a slice of the input, and reads the same again; an edit changes `_meta` alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp::message::{Frame, Kind, parse};

fuzz_target!(|bytes: &[u8]| {
    let _ = mcp::message::id_of_refused(bytes);
    let Ok(frame) = parse(bytes) else { return };
    for message in frame.messages() {
        assert!(parse(message.raw().as_bytes()).is_ok());
        if let Kind::Request { params: Some(params), .. } = message.kind() {
            let view = mcp::fields::Params::of(params);
            let _ = (view.name(), view.uri(), view.arguments(), view.meta_version(), view.trace());
        }
    }
    if let Frame::Single(message) = &frame
        && let Ok(edited) = mcp::edit::set_meta(message, "tollbook/receipt", "{}")
    {
        assert!(edited.len() >= message.raw().len());
        assert!(parse(edited.as_bytes()).is_ok());
    }
    if let Frame::Single(message) = &frame
        && let Ok(edited) = message.without_params(&["requestState", "inputResponses"])
    {
        assert!(edited.len() <= message.raw().len());
        assert!(parse(edited.as_bytes()).is_ok());
    }
});
