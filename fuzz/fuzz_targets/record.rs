//! Records and payloads: what decodes encodes to something that decodes to the same.

#![no_main]

use bytes::Bytes;
use ledger::{Leaf, Payload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(leaf) = Leaf::decode(bytes) {
        let again = Leaf::decode(&leaf.encode()).expect("what was encoded decodes");
        assert_eq!(again.encode(), leaf.encode());
    }
    if let Ok(payload) = Payload::decode(&Bytes::copy_from_slice(bytes)) {
        let again = Payload::decode(&Bytes::from(payload.encode())).expect("what was encoded decodes");
        assert_eq!(again.encode(), payload.encode());
    }
});
