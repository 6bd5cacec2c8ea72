//! The examples in `docs/formats/` are what the code writes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ledger::payload::BODY;
use ledger::{Hash, Kind, Status, Verdict, leaf_hash};

use crate::evidence::single;
use crate::payload;
use crate::record::example;

const RECORD: &str = include_str!("../../../../docs/formats/record.md");
const EVIDENCE: &str = include_str!("../../../../docs/formats/evidence.md");

fn shows(page: &str, text: &str) {
    assert!(page.contains(text), "the page does not have: {text}");
}

#[test]
fn the_page_on_records_shows_a_leaf_and_its_hash() {
    let leaf = example(Kind::Outcome).encode();
    shows(RECORD, &format!("```json\n{}\n```", std::str::from_utf8(&leaf).unwrap()));
    shows(RECORD, &format!("\n`{}`\n", leaf_hash(&leaf)));
}

#[test]
fn the_page_on_records_has_every_word() {
    let kinds = Kind::ALL.iter().map(|kind| kind.as_str());
    let words = kinds.chain(Verdict::ALL.iter().map(|word| word.as_str()));
    for word in words.chain(Status::ALL.iter().map(|word| word.as_str())) {
        shows(RECORD, &format!("`{word}`"));
    }
    // Every member that some kind has.
    for kind in Kind::ALL {
        let leaf: serde_json::Value = serde_json::from_slice(&example(*kind).encode()).unwrap();
        leaf.as_object().unwrap().keys().for_each(|name| shows(RECORD, &format!("\n| `{name}` |")));
    }
}

#[test]
fn the_page_on_records_shows_a_payload_and_its_disclosures() {
    let payload = payload::example();
    let encoded = payload.encode();
    let (header, body) = encoded[4..].split_at(encoded.len() - 4 - payload.body.len());
    shows(RECORD, &format!("```json\n{}\n```", std::str::from_utf8(header).unwrap()));
    shows(RECORD, &format!("is the header ({} bytes)", header.len()));
    shows(RECORD, &format!("```json\n{}\n```", std::str::from_utf8(body).unwrap()));
    for name in payload.names().chain([BODY]) {
        let disclosure = payload.disclose(name).unwrap();
        let array = String::from_utf8(URL_SAFE_NO_PAD.decode(&disclosure).unwrap()).unwrap();
        shows(RECORD, &format!("| `{array}` | `{}` |", Hash::of(disclosure.as_bytes())));
    }
    shows(RECORD, &payload.disclose("method").unwrap());
}

#[test]
fn the_page_on_evidence_shows_a_document() {
    let json = serde_json::to_string_pretty(&single()).unwrap();
    shows(EVIDENCE, &format!("```json\n{json}\n```"));
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let members =
        document.as_object().unwrap().keys().chain(document["records"][0].as_object().unwrap().keys());
    members.for_each(|name| shows(EVIDENCE, &format!("\n| `{name}` |")));
}
