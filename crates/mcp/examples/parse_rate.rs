//! How long it takes to read a `tools/call` of 1 KiB: `cargo run --release -p mcp --example parse_rate`.

use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

const BATCHES: u32 = 50;
const ROUNDS: u32 = 5_000;

fn main() -> std::io::Result<()> {
    let call = call_of_one_kib();
    let mut batches: Vec<f64> = (0..BATCHES).map(|_| batch(call.as_bytes())).collect();
    batches.sort_by(f64::total_cmp);
    let best = batches.first().copied().unwrap_or_default();
    let median = batches.get(batches.len() / 2).copied().unwrap_or_default();
    writeln!(std::io::stdout(), "{} bytes: {best:.2} µs at best, {median:.2} µs in the median", call.len())
}

/// Microseconds for one message.
fn batch(call: &[u8]) -> f64 {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(mcp::message::parse(black_box(call))).ok();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
}

/// Arguments as they often are: some short members, nested objects, one longer text.
fn call_of_one_kib() -> String {
    let rows: Vec<String> = (0..8)
        .map(|row| format!(r#"{{"id":{row},"name":"row {row}","price":{row}.25,"tags":["a","b"]}}"#))
        .collect();
    let head = r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":"store_rows","arguments":{"table":"orders","dry_run":false,"rows":["#;
    let meta = r#"],"comment":""#;
    let tail = r#""},"_meta":{"progressToken":17,"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let body = format!("{head}{}{meta}", rows.join(","));
    let filler = 1024 - body.len() - tail.len();
    format!("{body}{}{tail}", "lorem ipsum ".repeat(100).get(..filler).unwrap_or_default())
}
