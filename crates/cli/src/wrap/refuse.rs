//! What a client is told when there is no gateway: an error under its request's id instead of a stream that closes.

use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use mcp::error::{ErrorCode, error_response};
use mcp::message::Kind;

/// Patience with a client's first request: it sends one when it has started a server.
const WAIT: Duration = Duration::from_secs(10);

/// Answers the client's first request with the reason why there is no server. A person at a terminal has read it already.
pub(super) fn first_request(why: &str) {
    if rustix::termios::isatty(std::io::stdin()) {
        return;
    }
    let (found, first) = sync_channel(1);
    // Reading standard input cannot be given up; the process ends without waiting for the thread.
    let reading = std::thread::Builder::new().name("client".to_owned()).spawn(move || {
        let ids = std::io::stdin().lock().lines().map_while(Result::ok).find_map(|line| id_of_request(&line));
        // Nobody may wait any more.
        let _ = found.send(ids);
    });
    if reading.is_err() {
        return;
    }
    if let Ok(Some(id)) = first.recv_timeout(WAIT) {
        let text = format!("the call was not recorded and therefore not made: {why}");
        // The client may have gone.
        let _ = writeln!(std::io::stdout(), "{}", error_response(Some(&id), ErrorCode::NOT_RECORDED, &text));
    }
}

fn id_of_request(line: &str) -> Option<String> {
    let frame = mcp::message::parse(line.as_bytes()).ok()?;
    frame.messages().iter().find_map(|message| match message.kind() {
        Kind::Request { id, .. } => Some(id.raw().to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::id_of_request;

    #[test]
    fn only_requests_are_answered() {
        for (line, id) in [
            (r#"{"jsonrpc":"2.0","id":"a-1","method":"initialize"}"#, Some(r#""a-1""#)),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, None),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, None),
            ("Content-Length: 12", None),
        ] {
            assert_eq!(id_of_request(line).as_deref(), id, "{line}");
        }
    }
}
