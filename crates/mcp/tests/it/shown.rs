//! Messages as short text, so that tables of expectations can be read.

use mcp::message::{Answer, Frame, Kind, Message, ParseError, parse};

/// What [`parse`] makes of some bytes.
pub(crate) fn verdict(bytes: &[u8]) -> String {
    match parse(bytes) {
        Ok(Frame::Single(message)) => kind(&message),
        Ok(Frame::Batch(messages)) => {
            format!("batch: {}", messages.iter().map(kind).collect::<Vec<_>>().join(" | "))
        }
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &ParseError) -> String {
    format!("{} {error}", error.code().0)
}

fn kind(message: &Message<'_>) -> String {
    match message.kind() {
        Kind::Request { id, method, params } => {
            let params = params.map_or("-", |params| params.get());
            format!("request {} {method} {params}", id.raw())
        }
        Kind::Notification { method, params } => {
            format!("notification {method} {}", params.map_or("-", |params| params.get()))
        }
        Kind::Response { id, outcome } => {
            let id = id.map_or("-".to_owned(), |id| id.raw().to_owned());
            match outcome {
                Answer::Result(result) => format!("result of {id} {}", result.get()),
                Answer::Error(error) => format!("error of {id} {}", error.get()),
            }
        }
    }
}

/// A table of inputs and verdicts: one line each, long inputs cut.
pub(crate) fn table<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> String {
    inputs.into_iter().map(|input| format!("{} → {}\n", shortened(input), verdict(input))).collect()
}

fn shortened(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\\\", "\\");
    if text.len() <= 110 {
        return text;
    }
    let head: String = text.chars().take(110).collect();
    format!("{head}… ({} bytes)", bytes.len())
}
