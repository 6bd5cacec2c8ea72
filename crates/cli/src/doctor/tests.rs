//! What the doctor says of a healthy installation, and of one thing wrong at a time.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};

use super::{DoctorArgs, run};
use crate::setup::tests::Home;

const DATA: &str = ".local/state/tollbook";
const CONFIG: &str = ".config/tollbook/tollbook.toml";

/// The exit code, and the lines but those of the disk and of times, which differ from machine to machine.
fn lines(home: &Home, now: Timestamp) -> String {
    let mut out = Vec::new();
    let code = run(&DoctorArgs { json: false }, &home.environment(), now, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap().replace(&home.path("").display().to_string(), "HOME/");
    let plain = |line: &&str| !line.contains(" disk ") && !line.starts_with("✓ clock");
    let lines: Vec<&str> = text.lines().filter(plain).collect();
    format!("{code}\n{}\n", lines.join("\n"))
}

fn check(home: &Home, expected: &Expect) {
    expected.assert_eq(&lines(home, crate::clock::now()));
}

/// Records nothing but what every log begins and ends with.
fn record(home: &Home) {
    let started = recorder::start(recorder::Settings::at(home.path(DATA))).unwrap();
    drop((started.recorder, started.clerk));
    started.shutdown.finish().unwrap();
}

/// The line that begins so, without what differs from log to log.
fn line(text: &str, start: &str) -> String {
    text.lines().find(|line| line.starts_with(start)).unwrap_or(text).to_owned()
}

#[test]
fn nothing_yet() {
    let home = Home::new();
    check(
        &home,
        &expect![[r#"
            0
            ✓ config    no `HOME/.config/tollbook/tollbook.toml`: the defaults hold
            ! clients   no client with MCP servers was found → configure a server in a client, then `tollbook init`
            ✓ gateway   none runs; the first `tollbook wrap` starts one
            ! data      nothing is recorded yet in `HOME/.local/state/tollbook` → use a client; the first call makes the folder
        "#]],
    );
}

#[test]
fn clients_that_go_past_and_clients_that_cannot_work() {
    let home = Home::new();
    let servers =
        r#"{"mcpServers": {"a": {"command": "x"}, "b": {"command": "y"}, "line": {"command": "npx y"}}}"#;
    home.write(".cursor/mcp.json", servers);
    home.write(".gemini/settings.json", "{ no");
    home.write(
        ".mcp.json",
        r#"{"mcpServers": {"gone": {"url": "http://127.0.0.1:9/mcp/gone"}, "b": {"command": "y"}}}"#,
    );
    home.write(
        "project/.mcp.json",
        r#"{"mcpServers": {
            "gone": {"type": "http", "url": "http://127.0.0.1:9/mcp/gone"},
            "old": {"command": "/opt/old/tollbook", "args": ["wrap", "--server", "old", "--", "y"]}}}"#,
    );
    home.write(CONFIG, "listen = \"127.0.0.1:9\"\n");
    check(
        &home,
        &expect![[r#"
            1
            ✓ config    `HOME/.config/tollbook/tollbook.toml` is valid
            ✕ clients   Gemini CLI: HOME/.gemini/settings.json:1:3: a key in double quotes or `}` is expected → correct the file; the client cannot read it either
            ✓ clients   Claude Code (~/project/.mcp.json): 2 of 2 servers go through Tollbook
            ✕ clients   Claude Code: `gone` points at the gateway's `gone`, which is not configured → write `[servers.gone]` into `tollbook.toml`
            ✕ clients   Claude Code: `old` starts `/opt/old/tollbook`, which is not there → install it there, or `tollbook init --undo` and `tollbook init`
            ! clients   Claude Code: `old` starts `y`, which is not found → install it, or write its path into the client's configuration
            ! clients   Cursor (~/.cursor/mcp.json): 2 of 3 servers go past Tollbook: a, b → `tollbook init`
            ! clients   Cursor: `line` goes past Tollbook: its `command` is a line for a shell; put the program in `command`, the rest in `args` → `init` leaves it: change the entry by hand if it is to be recorded
            ✕ gateway   clients point at 127.0.0.1:9, where nothing answers: Connection refused (os error 111) → keep `tollbook serve` running
            ! data      nothing is recorded yet in `HOME/.local/state/tollbook` → use a client; the first call makes the folder
        "#]],
    );
}

#[test]
fn a_wrapped_server_has_no_configured_name() {
    let home = Home::new();
    let entry =
        |more: &str| format!(r#"{{"command": "tollbook", "args": ["wrap", {more} "--", "tollbook"]}}"#);
    let [bank, other, far] = [
        r#""--server", "bank","#,
        r#""--server", "other","#,
        r#""--server", "bank", "--gateway", "http://gate:7800","#,
    ]
    .map(entry);
    let servers = format!(r#"{{"mcpServers": {{"bank": {bank}, "other": {other}, "far": {far}}}}}"#);
    home.write(".cursor/mcp.json", &servers);
    home.write(CONFIG, "listen = \"127.0.0.1:9\"\n[servers.bank]\nurl = \"http://127.0.0.1:9/\"\n");
    let text = lines(&home, crate::clock::now());
    let found: Vec<&str> = text.lines().filter(|line| line.contains(" clients   ")).collect();
    expect![[r#"
        ✓ clients   Cursor (~/.cursor/mcp.json): 3 of 3 servers go through Tollbook
        ✕ clients   Cursor: `bank` is wrapped as `bank`, the name of a configured server: the gateway refuses it → give it another name with `--server`"#]]
    .assert_eq(&found.join("\n"));
}

#[test]
fn servers_that_are_there_and_servers_that_are_not() {
    let home = Home::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = format!(
        "listen = \"127.0.0.1:9\"\n[servers.here]\nurl = \"http://127.0.0.1:{port}/\"\n[servers.gone]\n\
         url = \"http://127.0.0.1:9/\"\n[servers.own]\ncommand = \"tollbook\"\n[servers.none]\ncommand = \"no-such\"\n"
    );
    home.write(CONFIG, &config);
    let text = lines(&home, crate::clock::now());
    let found: Vec<&str> = text.lines().filter(|line| line.contains(" servers   ")).collect();
    expect![[r#"
        ✕ servers   `gone`: 127.0.0.1 cannot be reached: Connection refused (os error 111) → see whether the server runs, and `url` of `[servers.gone]`
        ✓ servers   `here`: 127.0.0.1 can be reached
        ✕ servers   `none`: there is no program `no-such` → install it, or give its path in `[servers.none]`
        ✓ servers   `own`: `HOME/bin/tollbook`"#]]
    .assert_eq(&found.join("\n"));
}

#[test]
fn a_configuration_that_cannot_be_used() {
    let home = Home::new();
    home.write(CONFIG, "listn = 1\n[limits]\n");
    let text = lines(&home, crate::clock::now());
    assert!(text.starts_with("1\n✕ config    the configuration cannot be used: HOME/"), "{text}");
    assert!(text.contains("tollbook.toml:1: there is no `listn`; did you mean `listen`?"), "{text}");
}

#[test]
fn a_ledger_in_order_and_the_clock() {
    let home = Home::new();
    record(&home);
    let text = lines(&home, crate::clock::now());
    let others = text.lines().filter(|line| !line.contains("disk"));
    assert!(!others.into_iter().any(|line| line.starts_with('✕')), "{text}");
    assert!(line(&text, "✓ ledger").contains("is signed, the newest"), "{text}");
    assert!(line(&text, "✓ keys").contains("are those of tollbook/"), "{text}");
    assert!(line(&text, "! index").contains("there is none yet"), "{text}");
    let early = crate::clock::now() - SignedDuration::from_mins(190);
    assert!(line(&lines(&home, early), "✕ clock").contains("3 h behind the newest record"));
}

#[test]
fn folders_open_to_others() {
    let home = Home::new();
    record(&home);
    let open = |name: &str, mode| {
        std::fs::set_permissions(home.path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    open(DATA, 0o755);
    open(&format!("{DATA}/keys/root.key"), 0o640);
    expect![
        "✕ data      open to other users: `HOME/.local/state/tollbook` and 1 more → chmod -R go-rwx 'HOME/.local/state/tollbook'"
    ]
    .assert_eq(&line(&lines(&home, crate::clock::now()), "✕ data"));
}

#[test]
fn a_ledger_that_was_altered() {
    let home = Home::new();
    record(&home);
    let mut files: Vec<_> =
        home.files().into_keys().filter(|path| path.display().to_string().contains("tile/entries")).collect();
    let path = files.pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let text = lines(&home, crate::clock::now());
    assert!(text.starts_with("1\n"), "{text}");
    assert!(line(&text, "✕ ledger").contains("is not in the tree that was signed"), "{text}");

    home.write(&format!("{DATA}/log/checkpoint"), "nonsense");
    let text = lines(&home, crate::clock::now());
    assert!(line(&text, "✕ ledger").contains("cannot be read: the log's checkpoint does not hold"), "{text}");
}

/// A socket where each connection gets this answer.
fn answering(home: &Home, answer: &'static [u8]) {
    let listener = UnixListener::bind(home.path(DATA).join("gateway.sock")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
}

#[test]
fn a_gateway_that_runs() {
    let home = Home::new();
    record(&home);
    answering(&home, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n");
    let now = crate::clock::now();
    let text = lines(&home, now);
    let expected =
        format!("✓ gateway   process {} answers at `HOME/{DATA}/gateway.sock`", std::process::id());
    assert_eq!(line(&text, "✓ gateway"), expected);
    home.write(CONFIG, "listen = \"127.0.0.1:9\"\n[servers.a]\ncommand = \"tollbook\"\n");
    let text = lines(&home, now);
    assert!(line(&text, "! gateway").contains("it takes over from process"), "{text}");
    let later = now + SignedDuration::from_mins(10);
    assert!(line(&lines(&home, later), "✕ ledger").contains("though a gateway runs"));
}

#[test]
fn something_else_at_the_socket() {
    let home = Home::new();
    record(&home);
    answering(&home, b"220 mail.example ESMTP\r\n");
    assert!(line(&lines(&home, crate::clock::now()), "✕ gateway").contains("is no gateway"));
}

#[test]
fn for_machines() {
    let home = Home::new();
    let mut out = Vec::new();
    let code = run(&DoctorArgs { json: true }, &home.environment(), Timestamp::UNIX_EPOCH, &mut out).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((code, &report["ok"]), (0, &true.into()));
    assert_eq!(report["checks"][0]["check"], "config");
    assert_eq!(report["checks"][1]["state"], "look");
    assert_eq!(report["checks"][1]["remedy"], "configure a server in a client, then `tollbook init`");
}
