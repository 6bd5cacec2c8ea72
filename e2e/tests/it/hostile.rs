//! Hostile messages and connections: what each is answered with, and whether the server saw it.
//!
//! Each case is sent on a connection of its own, byte for byte. `hostile.txt` is the table.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use e2e::gateway::{Gateway, tollbook};
use e2e::upstream::{Upstream, echo};
use expect_test::expect_file;

/// A gateway that lost patience has answered by then.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_connections() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!("[limits]\nrequest_seconds = 5\n[servers.s]\nurl = \"{}\"\n", upstream.url);
    let gateway = Gateway::start(folder.path(), &servers);
    let table = tokio::task::spawn_blocking(move || {
        let mut table = String::new();
        for (name, bytes) in messages().into_iter().chain(requests()).chain(connections()) {
            let before = upstream.seen().len();
            let answer = send(&gateway.url, &bytes);
            let seen = upstream.seen();
            let sent = body_of(&bytes);
            let forwarded = match seen.get(before..).unwrap_or_default() {
                [] => "",
                [one] if one.as_ref() == sent => " (forwarded as it came)",
                _ => " (FORWARDED CHANGED)",
            };
            writeln!(table, "{name}\n  {answer}{forwarded}").expect("text grows");
        }
        let log = gateway.stop();
        assert!(!log.contains("panicked") && !log.contains(SECRET), "{log}");
        let verified = tollbook(folder.path(), &["verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        table
    });
    expect_file!["hostile.txt"].assert_eq(&table.await.expect("a table"));
}

/// Stands in the arguments of each message: it may be in no log and in no answer.
const SECRET: &str = "hunter2";

fn messages() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, body: Vec<u8>| cases.push((format!("message: {name}"), post(&body)));
    let call = |inner: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{inner}}}"#);
    let arguments =
        |value: &str| call(&format!(r#"{{"name":"work","arguments":{{"p":"{SECRET}","a":{value}}}}}"#));

    add("a sound one", arguments("1").into());
    for key in ["jsonrpc", "id", "method", "params"] {
        let whole = arguments("1");
        let member = &whole[1..whole.len() - 1];
        let value = match key {
            "jsonrpc" => r#""2.0""#,
            "id" => "2",
            "method" => r#""tools/list""#,
            _ => "{}",
        };
        add(&format!("`{key}` twice"), format!("{{{member},\"{key}\":{value}}}").into());
        let escaped = format!("\\u{:04x}{}", u32::from(key.as_bytes()[0]), &key[1..]);
        add(&format!("`{key}` twice, once escaped"), format!("{{{member},\"{escaped}\":{value}}}").into());
        for variant in [key.to_uppercase(), format!("{}{}", key[..1].to_uppercase(), &key[1..])] {
            add(
                &format!("`{key}` also as `{variant}`"),
                format!("{{{member},\"{variant}\":{value}}}").into(),
            );
        }
    }
    for (name, params) in [
        ("`name` twice", r#"{"name":"work","name":"other"}"#),
        ("`name` also as `Name`", r#"{"name":"work","Name":"other"}"#),
        ("`arguments` twice", r#"{"name":"work","arguments":{},"arguments":{"a":1}}"#),
        ("`arguments` also as `ARGUMENTS`", r#"{"name":"work","arguments":{},"ARGUMENTS":{}}"#),
        ("`_meta` twice", r#"{"_meta":{},"name":"work","_meta":{}}"#),
        ("a key of the arguments twice", r#"{"name":"work","arguments":{"a":1,"a":2}}"#),
        ("a key deep in the arguments twice", r#"{"name":"work","arguments":{"a":[{"b":{"c":1,"c":2}}]}}"#),
        ("a long s for an s", r#"{"name":"work","argument\u017f":{}}"#),
        ("no name", r#"{"arguments":{}}"#),
        ("a name that is a number", r#"{"name":1}"#),
        ("an empty name", r#"{"name":""}"#),
        ("a name with line breaks that end an event", r#"{"name":"a\n\ndata: {}\n\n"}"#),
        ("a name of control characters", r#"{"name":"\u0000\u001b[2J\u202e"}"#),
        ("params that are an array", r#"["work"]"#),
        ("params that are a text", r#""work""#),
        ("params that are null", "null"),
        ("arguments that are an array", r#"{"name":"work","arguments":[1]}"#),
    ] {
        add(name, call(params).into());
    }
    for depth in [60, 127, 128, 129, 1_000, 100_000] {
        add(
            &format!("{depth} arrays in one another"),
            arguments(&("[".repeat(depth) + &"]".repeat(depth))).into(),
        );
        let objects = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        add(&format!("{depth} objects in one another"), arguments(&objects).into());
        add(&format!("{depth} arrays that never close"), arguments(&"[".repeat(depth)).into());
    }
    for number in [
        "1e400",
        "-1e400",
        "-0",
        "1.0",
        "1e2",
        "9007199254740993",
        "18446744073709551616",
        "0.1e-400",
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        ".5",
        "1.",
        "0x10",
        "1_000",
        "1e",
        "--1",
        "1e999999999",
    ] {
        add(&format!("the argument {number}"), arguments(number).into());
        let id =
            format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"work"}}}}"#);
        add(&format!("the id {number}"), id.into());
    }
    add("an argument of 400 digits", arguments(&"9".repeat(400)).into());
    for (name, text) in [
        ("a lone high surrogate", r"\ud800"),
        ("a lone low surrogate", r"\udc00"),
        ("surrogates the wrong way round", r"\udc00\ud800"),
        ("an escaped NUL", r"\u0000"),
        ("an unknown escape", r"\x41"),
        ("a short escape", r"\u12"),
        ("a line break", "\n"),
        ("a raw NUL", "\0"),
        ("a raw escape character", "\u{1b}[2J"),
        ("text that turns round", "\u{202e}txt.exe"),
    ] {
        add(&format!("an argument with {name}"), arguments(&format!("\"{text}\"")).into());
        add(
            &format!("a method with {name}"),
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{text}"}}"#).into(),
        );
        add(
            &format!("an id with {name}"),
            format!(r#"{{"jsonrpc":"2.0","id":"{text}","method":"ping"}}"#).into(),
        );
    }
    for (name, raw) in [
        ("a stray byte ff", &b"\xff"[..]),
        ("an overlong slash", b"\xc0\xaf"),
        ("a surrogate in UTF-8", b"\xed\xa0\x80"),
        ("beyond Unicode", b"\xf5\x80\x80\x80"),
        ("a cut sequence", b"\xe2\x82"),
    ] {
        let mut body = arguments("\"").into_bytes();
        let end = body.len() - 3;
        body.splice(end..end, raw.iter().copied().chain(*b"\""));
        add(&format!("invalid UTF-8: {name}"), body);
    }
    for (name, body) in [
        ("nothing", ""),
        ("white space", " \r\n\t "),
        ("null", "null"),
        ("true", "true"),
        ("a number", "1"),
        ("a text", "\"x\""),
        ("an empty array", "[]"),
        ("an array in an array", "[[]]"),
        ("an empty object", "{}"),
        ("an array of an empty object", "[{}]"),
        (
            "two messages",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}"#,
        ),
        ("rubbish behind", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}x"#),
        ("a comma too much", r#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#),
        ("a comment", r#"{"jsonrpc":"2.0",/**/"id":1,"method":"ping"}"#),
        ("single quotes", "{'jsonrpc':'2.0','id':1,'method':'ping'}"),
        ("cut off", r#"{"jsonrpc":"2.0","id":1,"met"#),
        ("a byte order mark", "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}"),
        ("no jsonrpc", r#"{"id":1,"method":"ping"}"#),
        ("jsonrpc 1.0", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#),
        ("jsonrpc as a number", r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#),
        ("no method", r#"{"jsonrpc":"2.0","id":1}"#),
        ("a method that is a number", r#"{"jsonrpc":"2.0","id":1,"method":1}"#),
        ("a method that is null", r#"{"jsonrpc":"2.0","id":1,"method":null}"#),
        ("an id that is null", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#),
        ("an id that is an object", r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#),
        ("an id that is an array", r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#),
        ("an id that is true", r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#),
        ("a request with a result", r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#),
        ("a response nobody asked for", r#"{"jsonrpc":"2.0","id":99,"result":{}}"#),
        ("an error nobody asked for", r#"{"jsonrpc":"2.0","id":99,"error":{"code":1,"message":"m"}}"#),
        (
            "a response with result and error",
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}"#,
        ),
        (
            "progress of a dead request",
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"dead","progress":1}}"#,
        ),
        (
            "cancelling a dead request",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"dead"}}"#,
        ),
        ("a method that nobody knows", r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#),
    ] {
        add(name, body.into());
    }
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for count in [1, 2, 1_000, 100_000] {
        add(&format!("a batch of {count}"), format!("[{}]", vec![one; count].join(",")).into());
    }
    add("UTF-16", arguments("1").encode_utf16().flat_map(u16::to_le_bytes).collect());
    cases
}

fn requests() -> Vec<(String, Vec<u8>)> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}},"name":"work","arguments":{}}}"#;
    let sound = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: work\r\n";
    let json = "Content-Type: application/json\r\n";
    let cases = [
        ("sound headers", format!("{json}{sound}")),
        ("another method", format!("{json}{}", sound.replace("tools/call", "tools/list"))),
        ("the method in capitals", format!("{json}{}", sound.replace("tools/call", "TOOLS/CALL"))),
        ("another name", format!("{json}{}", sound.replace("work", "rest"))),
        ("the name encoded", format!("{json}{}", sound.replace("work", "=?base64?d29yaw==?="))),
        ("another name encoded", format!("{json}{}", sound.replace("work", "=?base64?cmVzdA==?="))),
        ("a name that is badly encoded", format!("{json}{}", sound.replace("work", "=?base64?d29yaw?="))),
        ("no method", format!("{json}{}", sound.replace("Mcp-Method: tools/call\r\n", ""))),
        ("no name", format!("{json}{}", sound.replace("Mcp-Name: work\r\n", ""))),
        ("two names", format!("{json}{sound}Mcp-Name: rest\r\n")),
        ("two methods", format!("{json}{sound}Mcp-Method: tools/call\r\n")),
        ("another version", format!("{json}{}", sound.replace("2026-07-28", "2025-11-25"))),
        ("a version that nobody knows", format!("{json}{}", sound.replace("2026-07-28", "2099-01-01"))),
        ("no version", format!("{json}{}", sound.replace("MCP-Protocol-Version: 2026-07-28\r\n", ""))),
        ("plain text", format!("Content-Type: text/plain\r\n{sound}")),
        ("a form", format!("Content-Type: application/x-www-form-urlencoded\r\n{sound}")),
        ("no media type", sound.to_owned()),
        ("compressed", format!("{json}Content-Encoding: gzip\r\n{sound}")),
        ("a session that nobody opened", format!("{json}Mcp-Session-Id: dead\r\n")),
        ("an origin that is null", format!("{json}{sound}Origin: null\r\n")),
        ("an origin elsewhere", format!("{json}{sound}Origin: https://evil.example\r\n")),
        (
            "an origin that begins like ours",
            format!("{json}{sound}Origin: http://localhost.evil.example\r\n"),
        ),
        ("two origins", format!("{json}{sound}Origin: http://localhost\r\nOrigin: https://evil.example\r\n")),
        ("a credential of the client", format!("{json}{sound}Authorization: Bearer {SECRET}\r\n")),
    ];
    cases.map(|(name, headers)| (format!("headers: {name}"), with_headers(&headers, body.as_bytes()))).into()
}

fn connections() -> Vec<(String, Vec<u8>)> {
    let large = 17 << 20;
    let cases: [(&str, Vec<u8>); 27] = [
        ("another host", get("/mcp/s", "Host: evil.example\r\n")),
        ("a host that begins like ours", get("/mcp/s", "Host: localhost.evil.example\r\n")),
        ("no host", get("/mcp/s", "")),
        ("two hosts", get("/mcp/s", "Host: localhost\r\nHost: evil.example\r\n")),
        ("an absolute address elsewhere", get("http://evil.example/mcp/s", "Host: localhost\r\n")),
        ("a server that is not there", get("/mcp/none", LOCAL)),
        ("a path with dots", get("/mcp/../healthz", LOCAL)),
        ("a path with encoded dots", get("/mcp/%2e%2e/healthz", LOCAL)),
        ("an empty name", get("/mcp/", LOCAL)),
        ("a path of 100 KiB", get(&format!("/{}", "a".repeat(100 << 10)), LOCAL)),
        ("a header of 100 KiB", get("/mcp/s", &format!("{LOCAL}X-A: {}\r\n", "a".repeat(100 << 10)))),
        ("10,000 headers", get("/mcp/s", &format!("{LOCAL}{}", "X-A: b\r\n".repeat(10_000)))),
        ("a header without a name", get("/mcp/s", &format!("{LOCAL}: b\r\n"))),
        ("a header with a NUL", get("/mcp/s", &format!("{LOCAL}X-A: a\0b\r\n"))),
        ("a folded header", get("/mcp/s", &format!("{LOCAL}X-A: a\r\n b\r\n"))),
        ("another method", get("/mcp/s", LOCAL).iter().skip(3).fold(b"BREW".to_vec(), push)),
        ("a version of HTTP that is not", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("no HTTP", b"EHLO mail.example\r\n\r\n".to_vec()),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("HTTP/2 and rubbish", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nrubbish rubbish rubbish".to_vec()),
        ("two lengths", raw("Content-Length: 2\r\nContent-Length: 3\r\n", b"{}")),
        ("a length and chunks", raw("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
        ("chunks of no number", raw("Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n")),
        ("a length below zero", raw("Content-Length: -1\r\n", b"{}")),
        ("17 MiB announced", raw(&format!("Content-Length: {large}\r\n"), b"{")),
        ("17 MiB in a chunk", raw("Transfer-Encoding: chunked\r\n", &chunk(large))),
        ("a body that does not come", raw("Content-Length: 10\r\n", b"{")),
    ];
    let mut named: Vec<_> =
        cases.into_iter().map(|(name, bytes)| (format!("connection: {name}"), bytes)).collect();
    named.push((
        "connection: headers that do not end".to_owned(),
        b"GET /mcp/s HTTP/1.1\r\nHost: localhost\r\n".to_vec(),
    ));
    named.push(("connection: nothing".to_owned(), Vec::new()));
    named
}

const LOCAL: &str = "Host: localhost\r\n";

fn push(mut bytes: Vec<u8>, byte: &u8) -> Vec<u8> {
    bytes.push(*byte);
    bytes
}

fn chunk(size: usize) -> Vec<u8> {
    let mut bytes = format!("{size:x}\r\n").into_bytes();
    bytes.resize(bytes.len() + size, b' ');
    bytes.extend_from_slice(b"\r\n0\r\n\r\n");
    bytes
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").into()
}

fn raw(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /mcp/s HTTP/1.1\r\n{LOCAL}Content-Type: application/json\r\n{headers}Connection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn post(body: &[u8]) -> Vec<u8> {
    raw(&format!("Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n", body.len()), body)
}

fn with_headers(headers: &str, body: &[u8]) -> Vec<u8> {
    let accept = "Accept: application/json, text/event-stream\r\n";
    let length = body.len();
    let head = format!(
        "POST /mcp/s HTTP/1.1\r\n{LOCAL}{accept}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn body_of(request: &[u8]) -> &[u8] {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(&[], |end| &request[end + 4..])
}

/// Sends bytes, and gives the status and the body of the answer.
fn send(url: &str, bytes: &[u8]) -> String {
    let address = url.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    // The gateway may answer, or hang up, before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let _ = stream.shutdown(Shutdown::Both);
    assert!(
        !answer.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()),
        "the answer tells a secret"
    );
    let text = String::from_utf8_lossy(&answer).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return if ended.is_err() && answer.is_empty() {
            "hangs up hard".to_owned()
        } else {
            "hangs up".to_owned()
        };
    };
    let status = head.split(' ').nth(1).unwrap_or_default();
    let body: String = body.chars().take(230).collect();
    format!("{status} {}", body.replace(['\r', '\n'], " ").trim_end())
}
