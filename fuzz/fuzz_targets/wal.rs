//! Frames of the write-ahead log and indexes of packs, as a damaged disk may give them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| recorder::fuzzed(bytes));
