//! Checkpoints, verifier keys and evidence documents of strangers.

#![no_main]

use ledger::evidence::Evidence;
use ledger::{Checkpoint, VerifierKey};
use libfuzzer_sys::fuzz_target;

const KEY: &str = "example.org/log+2be2b5e0+AW4xKAnjl1V3Y7dQYwGXGxSlPvjSjHTpxBVEwPzc1Zmr";

fuzz_target!(|text: &str| {
    let _ = Checkpoint::parse(text);
    let key: Option<VerifierKey> = KEY.parse().ok();
    if let Some(key) = &key {
        assert!(Checkpoint::verify(text, key).is_err(), "nobody has signed this");
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string().parse::<VerifierKey>().ok().map(|key| key.to_string()), Some(key.to_string()));
    }
    if let Ok(evidence) = ledger_evidence(text) {
        let _ = evidence.verify(key.as_ref());
    }
});

fn ledger_evidence(text: &str) -> Result<Evidence, ()> {
    serde_json::from_str(text).map_err(|_| ())
}
