//! Verifiers that are not ours read a log that the binary wrote.

use std::path::Path;
use std::process::{Command, Output};

use e2e::gateway::{Gateway, tollbook};
use e2e::peers::repository;
use e2e::upstream::{Upstream, echo};

/// More than one bundle, so that there are full and partial tiles of two levels.
const CALLS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go_and_openssl_agree() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!("[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let data = folder.path().to_owned();
    tokio::task::spawn_blocking(move || write_log(&data, &servers)).await.expect("a log");
    let log = folder.path().join("log");
    let vkey = folder.path().join("keys/log.vkey");

    let go = go_verifier(folder.path());
    accepts(&verify_with_go(&go, &log, &vkey));
    accepts(&verify_with_openssl(&log, &vkey));

    let forged = folder.path().join("forged");
    for (file, at) in [("tile/entries/000", 700), ("tile/0/000", 40), ("checkpoint", 30)] {
        copy(&log, &forged);
        flip(&forged.join(file), at);
        rejects(&verify_with_go(&go, &forged, &vkey), file);
    }
    copy(&log, &forged);
    flip(&forged.join("checkpoint"), 30);
    rejects(&verify_with_openssl(&forged, &vkey), "checkpoint");
}

fn write_log(data: &Path, servers: &str) {
    let gateway = Gateway::start(data, servers);
    for number in 0..CALLS {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"work","arguments":{{"n":{number}}}}}}}"#
        );
        let status = Command::new("curl")
            .args([
                "--silent",
                "--fail",
                "--output",
                "/dev/null",
                "--header",
                "Content-Type: application/json",
            ])
            .args(["--data", &body, &format!("{}/mcp/echo", gateway.url)])
            .status()
            .expect("curl runs");
        assert!(status.success());
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

fn verify_with_go(program: &Path, log: &Path, vkey: &Path) -> Output {
    Command::new(program).arg("-log").arg(log).arg("-vkey").arg(vkey).output().expect("the verifier runs")
}

fn verify_with_openssl(log: &Path, vkey: &Path) -> Output {
    let script = repository().join("e2e/foreign/openssl-check.sh");
    Command::new("bash").arg(script).arg(log).arg(vkey).output().expect("the script runs")
}

fn accepts(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

fn rejects(output: &Output, file: &str) {
    assert_eq!(output.status.code(), Some(1), "a flipped byte in {file}: {}", said(output));
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
