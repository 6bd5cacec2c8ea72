//! An upstream that misbehaves: what it writes is bytes, not HTTP responses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

/// What it does with a connection once it has read a request's body.
pub type Act = fn(&mut TcpStream, &str);

/// Starts it and gives its address; it serves until the process ends.
///
/// # Panics
/// When no port is free.
pub fn start(act: Act) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream, act));
        }
    });
    format!("http://{address}/mcp")
}

fn serve(mut stream: TcpStream, act: Act) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if !matches!(lines.read_line(&mut line), Ok(1..)) {
            return;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    if lines.read_exact(&mut body).is_ok() {
        act(&mut stream, &String::from_utf8_lossy(&body));
    }
}

/// Makes a `tools/call` of the stateless era under id 7 to the server `bad` of a gateway: the body, its status behind it in
/// brackets, and whether the response was whole.
///
/// # Panics
/// When curl is missing.
pub fn ask(gateway: &str) -> (Vec<u8>, bool) {
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"_meta":{meta},"name":"work","arguments":{{}}}}}}"#
    );
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "600", "--write-out", " [%{http_code}]"])
        .args(["--header", "Content-Type: application/json"])
        .args(["--header", "Accept: application/json, text/event-stream"])
        .args(["--header", "MCP-Protocol-Version: 2026-07-28", "--header", "Mcp-Method: tools/call"])
        .args(["--header", "Mcp-Name: work", "--data", &body])
        .arg(format!("{gateway}/mcp/bad"))
        .output()
        .expect("curl runs");
    (output.stdout, output.status.success())
}

/// Writes a whole response.
pub fn respond(stream: &mut TcpStream, status: &str, media_type: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The gateway may have hung up.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// Begins an event stream, which ends when the connection does.
pub fn begin_events(stream: &mut TcpStream) {
    // As above.
    let _ =
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
}

/// Writes one event.
pub fn event(stream: &mut TcpStream, data: &str) {
    // As above.
    let _ = stream.write_all(format!("data: {data}\n\n").as_bytes());
}

/// Holds the connection until the other side closes it.
pub fn hold(stream: &mut TcpStream) {
    // Whatever comes, the connection has ended then.
    let _ = stream.read(&mut [0; 64]);
}
