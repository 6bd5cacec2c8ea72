//! `tollbook wrap` and what it started.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use e2e::gateway::{Gateway, binary};

#[test]
fn no_server_outlives_its_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), "");
    // It does not care for its input, and has started something of its own.
    let script = "sleep 1000 & echo $$ $! >&2; wait";
    let mut wrap = Command::new(binary())
        .args(["wrap", "--server", "stubborn", "--", "sh", "-c", script])
        .env("TOLLBOOK_DATA", folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut told = BufReader::new(wrap.stderr.take().expect("standard error")).lines();
    let pids = told.next().expect("the server runs").expect("a line");
    gateway.kill();
    let ended = wrap.wait().expect("it ends");
    assert_eq!(ended.code(), Some(70), "{:?}", told.next());
    for pid in pids.split(' ') {
        assert!(!runs(pid), "{pid} of {pids} still runs");
    }
}

/// Whether a process is there and not merely unburied.
fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
