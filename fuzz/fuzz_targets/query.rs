//! The query language: what parses is shown as something that parses to the same.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use store::Query;

fuzz_target!(|text: &str| {
    let now = Timestamp::from_second(1_790_000_000).expect("a time");
    let Ok(query) = Query::parse(text, now) else { return };
    let shown = query.to_string();
    let again = Query::parse(&shown, now).expect("what is shown parses");
    assert_eq!(again.to_string(), shown);
});
