//! Requests of the stateless era (MCP 2026-07-28).

use bytes::Bytes;

/// The protocol version that they name.
pub(crate) const VERSION: &str = "2026-07-28";

/// Words of which texts are made: they compress as prose does, not as zeros.
const WORDS: [&str; 48] = [
    "account", "after", "answer", "before", "between", "branch", "call", "check", "client", "commit",
    "count", "customer", "day", "error", "file", "folder", "from", "invoice", "issue", "key", "ledger",
    "line", "list", "meeting", "message", "name", "number", "open", "order", "path", "people", "price",
    "project", "query", "read", "record", "report", "result", "server", "since", "status", "table", "text",
    "time", "update", "value", "which", "write",
];

/// A `tools/call`.
pub(crate) fn call(id: u64, tool: &str, arguments: &str) -> Bytes {
    request(id, "tools/call", &format!(r#""name":"{tool}","arguments":{{{arguments}}},"#))
}

/// A `tools/list`.
pub(crate) fn list() -> Bytes {
    request(0, "tools/list", "")
}

fn request(id: u64, method: &str, params: &str) -> Bytes {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}"_meta":{{"io.modelcontextprotocol/protocolVersion":"{VERSION}","io.modelcontextprotocol/clientInfo":{{"name":"bench","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{{}},"progressToken":{id}}}}}}}"#
    )
    .into()
}

/// A `tools/call` whose answer is its own text, of so many bytes.
pub(crate) fn echo(id: u64, bytes: usize) -> Bytes {
    call(id, "echo", &format!(r#""text":"{}""#, text(id, bytes)))
}

/// A text of so many bytes; another one for each seed.
pub(crate) fn text(seed: u64, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 40).unwrap_or_default();
        match at % 7 {
            0 => text.push_str(&(at % 10_000).to_string()),
            _ => text.push_str(WORDS.get(at % WORDS.len()).copied().unwrap_or_default()),
        }
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_request_is_json_of_the_size_asked_for() {
        let request: serde_json::Value = serde_json::from_slice(&super::echo(7, 1024)).unwrap();
        assert_eq!(request["params"]["arguments"]["text"].as_str().unwrap().len(), 1024);
        assert_ne!(super::text(1, 64), super::text(2, 64));
    }
}
