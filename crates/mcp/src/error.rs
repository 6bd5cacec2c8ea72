//! The errors that a gateway answers with, as JSON texts.

use crate::era::Era;

/// A JSON-RPC error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorCode(pub i32);

impl ErrorCode {
    /// JSON-RPC 2.0: not JSON.
    pub const PARSE_ERROR: ErrorCode = ErrorCode(-32700);
    /// JSON-RPC 2.0: JSON, but no request.
    pub const INVALID_REQUEST: ErrorCode = ErrorCode(-32600);
    /// JSON-RPC 2.0: no such method.
    pub const METHOD_NOT_FOUND: ErrorCode = ErrorCode(-32601);
    /// JSON-RPC 2.0: parameters that the method does not take.
    pub const INVALID_PARAMS: ErrorCode = ErrorCode(-32602);
    /// JSON-RPC 2.0: failed on the way.
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(-32603);
    /// MCP 2026-07-28: headers and body differ.
    pub const HEADER_MISMATCH: ErrorCode = ErrorCode(-32020);
    /// MCP 2026-07-28: the client does not say that it can what the answer would need.
    pub const MISSING_CAPABILITY: ErrorCode = ErrorCode(-32021);
    /// MCP up to 2025-11-25: no such resource. Later versions say invalid parameters.
    pub const RESOURCE_NOT_FOUND: ErrorCode = ErrorCode(-32002);
    /// Tollbook: denied by policy. Own codes stay out of JSON-RPC's reserved range (MCP 2026-07-28, basic/index).
    pub const DENIED: ErrorCode = ErrorCode(-31001);
    /// Tollbook: could not be recorded, therefore not made.
    pub const NOT_RECORDED: ErrorCode = ErrorCode(-31010);
    /// Tollbook: a replayed run has no answer to this request.
    pub const UNRECORDED: ErrorCode = ErrorCode(-31020);
}

/// An error response. `id` is the request's id as it was written; without one it is `null`.
pub fn error_response(id: Option<&str>, code: ErrorCode, message: &str) -> String {
    let id = id.unwrap_or("null");
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{},"message":{}}}}}"#,
        code.0,
        json_string(message)
    )
}

/// Says that there is no such resource, as servers of the era do (MCP server/resources, "Error Handling").
pub fn resource_not_found(id: Option<&str>, uri: &str, era: Era) -> String {
    let code = match era {
        Era::Session => ErrorCode::RESOURCE_NOT_FOUND,
        Era::Stateless => ErrorCode::INVALID_PARAMS,
    };
    let (id, uri) = (id.unwrap_or("null"), json_string(uri));
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{},"message":"Resource not found","data":{{"uri":{uri}}}}}}}"#,
        code.0
    )
}

/// A tool result that says the tool was not run: models see it, SDKs do not throw.
pub fn tool_error_result(id: &str, text: &str, era: Era) -> String {
    let result_type = match era {
        Era::Session => "",
        Era::Stateless => r#","resultType":"complete""#,
    };
    let text = json_string(text);
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":{text}}}],"isError":true{result_type}}}}}"#
    )
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
