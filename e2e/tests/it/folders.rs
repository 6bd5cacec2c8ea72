//! Data folders that are full, locked, damaged or incomplete: what `serve` says, and what `verify` says.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::gateway::{Gateway, tollbook};
use e2e::load::{Heard, Numbers, call, check};
use e2e::upstream::{Upstream, echo};
use expect_test::expect;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_named_and_never_built_upon() {
    let upstream = Upstream::start(echo).await;
    let servers = format!("[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole");
    let gateway = Gateway::start(&whole, &servers);
    call(format!("{}/mcp/echo", gateway.url), Numbers::default(), |heard| heard.answered.len() == 20).await;
    let shown = tokio::task::spawn_blocking(move || {
        gateway.stop();
        table(&whole, &servers)
    });
    expect![[r#"
        wal/N/N.wal: gone
          verify: ok
          serve: starts; verify then: ok
        wal/N/N.wal: a bit flipped
          verify: ok
          serve: tollbook: the ledger cannot be opened: the write-ahead log is damaged in `DATA/wal/N/N.wal` at offset N: a bad frame stands before valid ones; do not delete it: run `tollbook verify` to see what is published, then restore the data folder from a copy
        state.json: gone
          verify: ok
          serve: starts; verify then: ok
        state.json: cut off
          verify: ok
          serve: tollbook: the ledger cannot be opened: cannot use `DATA/state.json`: it is damaged (EOF while parsing a string at line N column N); restore the data folder from a copy
        log/checkpoint: gone
          verify: tollbook: `DATA` cannot be verified: there is no `DATA/log/checkpoint`; a gateway that starts on this folder puts the last one back
          serve: starts; verify then: ok
        log/checkpoint: cut off
          verify: log: the checkpoint does not hold: not a signed note
          serve: starts; verify then: ok
        log/tile/N: gone
          verify: no: record N
          serve: tollbook: the ledger cannot be opened: the write-ahead log is damaged in `DATA/wal/N/N.wal` at offset N: a published tile is missing or damaged; do not delete it: run `tollbook verify` to see what is published, then restore the data folder from a copy
        log/tile/N: a bit flipped
          verify: no: record N
          serve: tollbook: the ledger cannot be opened: the write-ahead log is damaged in `DATA/wal/N/N.wal` at offset N: a record differs from the one that is published; do not delete it: run `tollbook verify` to see what is published, then restore the data folder from a copy
        log/tile/entries: gone
          verify: no: record N
          serve: tollbook: the ledger cannot be opened: cannot use `DATA/log`: `tile/entries/N.p/N` is missing or damaged
        log/tile/entries: a bit flipped
          verify: no: record N
          serve: starts; verify then: no: record N
        log/pack: gone
          verify: no: record N
          serve: starts; verify then: no: record N
        log/pack: a bit flipped
          verify: no: record N
          serve: starts; verify then: no: record N
        keys/log.key: gone
          verify: ok
          serve: tollbook: the ledger cannot be opened: cannot use `DATA/keys`: `log.key` is missing; restore it from a copy of the data folder
        keys/log.key: a bit flipped
          verify: ok
          serve: tollbook: the ledger cannot be opened: cannot use `DATA/keys`: `log.key` is not the key of the log; restore both from the same copy
        keys/log.vkey: gone
          verify: tollbook: `DATA` cannot be verified: no key for the log in `DATA`; give one with `--vkey`
          serve: starts; verify then: ok
        keys/log.vkey: cut off
          verify: tollbook: `DATA` cannot be verified: `DATA/keys/log.vkey` holds no key of a log; give one with `--vkey`
          serve: starts; verify then: ok
        keys/root.key: gone
          verify: ok
          serve: tollbook: the ledger cannot be opened: `DATA/keys/root.key` is missing; restore it from a copy of the data folder, or payloads cannot be opened
        keys/keystore.json: gone
          verify: ok
          serve: tollbook: the ledger cannot be opened: `DATA/keys/keystore.json` is missing; restore it from a copy of the data folder, or payloads cannot be opened
        keys/keystore.json: cut off
          verify: ok
          serve: tollbook: the ledger cannot be opened: `DATA/keys/keystore.json` is damaged; restore it from a copy of the data folder: EOF while parsing an object at line N column N
        keys/origins.json: gone
          verify: ok
          serve: tollbook: the ledger cannot be opened: cannot use `DATA/keys`: `origins.json` is missing; restore it from a copy of the data folder
        keys/origins.json: cut off
          verify: ok
          serve: tollbook: the ledger cannot be opened: cannot use `DATA/keys`: `origins.json` is damaged (EOF while parsing an object at line N column N); restore it from a copy of the data folder
        index: a bit flipped
          verify: ok
          serve: starts; verify then: ok
    "#]].assert_eq(&shown.await.expect("a table"));
}

/// Does something to a file.
type Damage = fn(&Path);

/// What is done to a file of a copy, and what follows.
fn table(whole: &Path, servers: &str) -> String {
    let cases: [(&str, Damage, &str); 22] = [
        ("gone", remove, "wal/0/0000000000000000.wal"),
        ("a bit flipped", flip, "wal/0/0000000000000000.wal"),
        ("gone", remove, "state.json"),
        ("cut off", cut, "state.json"),
        ("gone", remove, "log/checkpoint"),
        ("cut off", cut, "log/checkpoint"),
        ("gone", remove, "log/tile/0"),
        ("a bit flipped", flip, "log/tile/0"),
        ("gone", remove, "log/tile/entries"),
        ("a bit flipped", flip, "log/tile/entries"),
        ("gone", remove, "log/pack"),
        ("a bit flipped", flip, "log/pack"),
        ("gone", remove, "keys/log.key"),
        ("a bit flipped", flip, "keys/log.key"),
        ("gone", remove, "keys/log.vkey"),
        ("cut off", cut, "keys/log.vkey"),
        ("gone", remove, "keys/root.key"),
        ("gone", remove, "keys/keystore.json"),
        ("cut off", cut, "keys/keystore.json"),
        ("gone", remove, "keys/origins.json"),
        ("cut off", cut, "keys/origins.json"),
        ("a bit flipped", flip, "index"),
    ];
    let mut shown = String::new();
    for (done, how, file) in cases {
        let copy = whole.with_file_name("copy");
        let _ = std::fs::remove_dir_all(&copy);
        let copied = Command::new("cp").arg("-r").arg(whole).arg(&copy).status().expect("cp runs");
        assert!(copied.success());
        how(&copy.join(file));
        let verified = verdict(&copy);
        let started = match Gateway::with_fault(&copy, servers, "") {
            Ok(gateway) => {
                gateway.stop();
                format!("starts; verify then: {}", verdict(&copy))
            }
            Err(log) => log.lines().last().unwrap_or_default().to_owned(),
        };
        let text = format!("{file}: {done}\n  verify: {verified}\n  serve: {started}\n");
        shown.push_str(&masked(&text.replace(&copy.display().to_string(), "DATA")));
    }
    shown
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.expect("it was there");
}

/// Flips a bit in the middle of what is written of a file, or of the first and largest file in a folder.
fn flip(path: &Path) {
    let path = largest(path);
    let mut bytes = std::fs::read(&path).expect("it is there");
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty");
    bytes[written / 2] ^= 1;
    std::fs::write(&path, bytes).expect("it is written");
}

fn largest(path: &Path) -> PathBuf {
    if path.is_file() {
        return path.to_owned();
    }
    let entries =
        std::fs::read_dir(path).expect("a folder").map(|entry| largest(&entry.expect("an entry").path()));
    entries.max_by_key(|path| path.metadata().expect("a file").len()).expect("a folder that is not empty")
}

/// Cuts a text off near its beginning.
fn cut(path: &Path) {
    let text = std::fs::read(path).expect("it is there");
    std::fs::write(path, &text[..10]).expect("it is written");
}

/// Whether it verifies; if not, what is named first.
fn verdict(data: &Path) -> String {
    let output = tollbook(data, &["verify"]);
    if output.status.success() {
        return "ok".to_owned();
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let said = said.split("what to do: ").next().unwrap_or_default();
    // Which member of a record the bit is in is chance.
    let named = said.lines().find(|line| line.starts_with("record ")).and_then(|line| line.split_once(':'));
    match named {
        Some((record, _)) => format!("no: {record}"),
        None => said.lines().next_back().unwrap_or_default().to_owned(),
    }
}

/// Numbers depend on how the calls fell into commits.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut before = ' ';
    for character in text.chars() {
        match (character.is_ascii_digit(), before) {
            (true, 'N') => {}
            (true, ' ' | '/') => masked.push('N'),
            (true, _) | (false, _) => masked.push(character),
        }
        before = masked.chars().next_back().unwrap_or(' ');
    }
    masked
}

#[test]
fn one_gateway_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), "");
    let second = Gateway::with_fault(folder.path(), "", "").expect_err("the folder is in use");
    assert!(
        second.contains("another gateway") && second.contains(&format!("`kill {}`", gateway.pid())),
        "{second}"
    );
    gateway.stop();
    Gateway::start(folder.path(), "").stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_deleted_at_work_comes_back() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), &format!("[servers.echo]\nurl = \"{}\"\n", upstream.url));
    let (url, numbers) = (format!("{}/mcp/echo", gateway.url), Numbers::default());
    let mut heard = call(url.clone(), numbers.clone(), |heard| heard.answered.len() == 30).await;
    while rows(folder.path()) < 30 {}
    remove(&folder.path().join("index"));
    heard.add(call(url, numbers, |heard| heard.answered.len() == 30).await);
    let data = folder.path().to_owned();
    tokio::task::spawn_blocking(move || gateway.stop()).await.expect("it stops");
    assert_eq!(rows(&data), 60);
    check(&data, &upstream, &heard);
}

fn rows(data: &Path) -> usize {
    let calls = tollbook(data, &["calls", "--json", "--limit", "1000", "method:tools/call"]);
    String::from_utf8_lossy(&calls.stdout).lines().count()
}

/// A file system of its own, which others can fill.
pub(crate) struct Mount(tempfile::TempDir);

impl Mount {
    pub(crate) fn new(megabytes: u32) -> Mount {
        let folder = tempfile::tempdir().expect("a folder");
        mount(&["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"], folder.path());
        Mount(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // It is gone with the machine otherwise.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn mount(arguments: &[&str], path: &Path) {
    let mounted = Command::new("mount").args(arguments).arg(path).status().expect("mount runs");
    assert!(mounted.success(), "the tests run as root");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_until_there_is_room() {
    let upstream = Upstream::start(echo).await;
    let disk = Mount::new(24);
    let data = disk.0.path().join("data");
    let ledger = "[ledger]\nsegment_bytes = 1048576\npack_bytes = 1048576\nreserve_bytes = 4194304\n";
    let gateway = Gateway::start(&data, &format!("{ledger}[servers.echo]\nurl = \"{}\"\n", upstream.url));
    let (url, numbers) = (format!("{}/mcp/echo", gateway.url), Numbers::default());
    let filler = disk.0.path().join("filler");
    std::fs::write(&filler, vec![1; 10 << 20]).expect("there is room");

    let is_refused = |heard: &Heard| heard.refused.len() >= 5 || heard.answered.len() >= 3000;
    let mut heard = call(url.clone(), numbers.clone(), is_refused).await;
    assert!(!heard.refused.is_empty() && !heard.answered.is_empty(), "{}", gateway.log());
    std::fs::remove_file(filler).expect("it was there");
    heard.add(call(url, numbers, |heard| heard.in_a_row > 20).await);

    let stopped = data.clone();
    tokio::task::spawn_blocking(move || gateway.stop()).await.expect("it stops");
    check(&stopped, &upstream, &heard);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused() {
    let disk = Mount::new(64);
    let data = disk.0.path().join("data");
    Gateway::start(&data, "").stop();
    mount(&["-o", "remount,ro"], disk.0.path());
    // The configuration stands elsewhere, as it cannot be written either.
    let output = tollbook(&data, &["serve", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("Read-only"), "{said}");
    let verified = tollbook(&data, &["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
