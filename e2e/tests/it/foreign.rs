//! Verifiers that are not ours read a log that the binary wrote.

use std::path::Path;
use std::process::{Command, Output};

use e2e::gateway::{Gateway, tollbook};
use e2e::peers::repository;
use e2e::upstream::{Upstream, echo};
use serde_json::json;

/// Two records each; in the end there are more than one bundle holds, so that there are full and partial tiles.
const CALLS: usize = 80;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_and_openssl_agree() {
    let upstream = Upstream::start(echo).await;
    let servers = format!("[servers.echo]\nurl = \"{}\"\n", upstream.url);
    tokio::task::spawn_blocking(move || check(&servers)).await.expect("all is as it should be");
}

fn check(servers: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let [data, fork] = ["data", "fork"].map(|name| folder.path().join(name));
    let go = go_verifier(folder.path());
    write_log(&data, servers, "first", CALLS);
    let early = folder.path().join("early");
    std::fs::copy(data.join("log/checkpoint"), &early).expect("a checkpoint");
    // One key, two histories: what a stolen or restored data folder would be used for.
    copy(&data, &fork);
    write_log(&data, servers, "second", CALLS);
    // The shorter one, however many heartbeats each has.
    write_log(&fork, servers, "another", CALLS / 2);

    let log = data.join("log");
    let vkey = data.join("keys/log.vkey");
    let forked = fork.join("log/checkpoint");
    accepts(&verify_with_go(&go, &log, &vkey, None));
    accepts(&verify_with_go(&go, &log, &vkey, Some(&early)));
    accepts(&script("openssl-check.sh", &[&log, &vkey]));
    accepts(&script("openssl-root.sh", &[&log]));
    accepts(&script("openssl-check.sh", &[&fork.join("log"), &vkey]));
    rejects(&verify_with_go(&go, &log, &vkey, Some(&forked)), "inconsistent");

    let bent = folder.path().join("bent");
    let flips = [
        ("tile/entries/000", 700, "record "),
        ("tile/0/000", 40, "tile/0/000"),
        ("checkpoint", 30, "checkpoint:"),
    ];
    for (file, at, named) in flips {
        copy(&log, &bent);
        flip(&bent.join(file), at);
        rejects(&verify_with_go(&go, &bent, &vkey, None), named);
    }
    rejects(&script("openssl-check.sh", &[&bent, &vkey]), "Verification Failure");
    copy(&log, &bent);
    flip(&bent.join("tile/entries/000"), 700);
    rejects(&script("openssl-root.sh", &[&bent]), "do not make the signed root");
    copy(&log, &bent);
    std::fs::copy(&forked, bent.join("checkpoint")).expect("a copy");
    rejects(&verify_with_go(&go, &bent, &vkey, None), "tlogcheck: ");
    rejects(&script("openssl-root.sh", &[&bent]), "openssl-root");
}

/// Runs a gateway for so many calls.
fn write_log(data: &Path, servers: &str, text: &str, calls: usize) {
    let gateway = Gateway::start(data, servers);
    for number in 0..calls {
        let arguments = json!({"text": text, "n": number});
        let params = json!({"name": "work", "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params});
        let sent = Command::new("curl")
            .args(["--silent", "--fail", "--output", "/dev/null"])
            .args(["--header", "Content-Type: application/json", "--data", &body.to_string()])
            .arg(format!("{}/mcp/echo", gateway.url))
            .status();
        assert!(sent.expect("curl runs").success());
    }
    gateway.stop();
    let verified = tollbook(data, &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

fn go_verifier(folder: &Path) -> std::path::PathBuf {
    let program = folder.join("tlogcheck");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(repository().join("e2e/foreign/tlogcheck/main.go"))
        .envs([("GOPATH", "/usr/share/gocode"), ("GO111MODULE", "off")])
        .output()
        .expect("go runs: `cargo xtask test` installs it");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    program
}

fn verify_with_go(program: &Path, log: &Path, vkey: &Path, older: Option<&Path>) -> Output {
    let mut go = Command::new(program);
    go.arg("-log").arg(log).arg("-vkey").arg(vkey);
    if let Some(older) = older {
        go.arg("-old").arg(older);
    }
    go.output().expect("the verifier runs")
}

fn script(name: &str, arguments: &[&Path]) -> Output {
    let script = repository().join("e2e/foreign").join(name);
    Command::new("sh").arg(script).args(arguments).output().expect("the script runs")
}

fn accepts(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// A verifier that fails for another reason than the one it names does not count.
fn rejects(output: &Output, reason: &str) {
    let said = said(output);
    assert!(output.status.code() == Some(1) && said.contains(reason), "{reason}: {said}");
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().expect("cp runs");
    assert!(copied.success());
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("the file is written");
}
