//! Requests as they are written on the wire.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// One request on a connection of its own: `line` is the request's without its version, `headers` end each with a line end. Gives
/// status, head and body.
///
/// # Panics
/// When nobody answers.
pub fn exchange(url: &str, line: &str, headers: &str, body: &str) -> (u16, String, String) {
    let address = url.trim_start_matches("http://").split('/').next().expect("an address");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let host = if headers.contains("host:") { String::new() } else { format!("host: {address}\r\n") };
    let length = body.len();
    let head =
        format!("{line} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (status, head.to_owned(), body.to_owned())
}
