//! `tollbook backup` beside a running gateway, `tollbook restore`, and files of other versions.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use e2e::gateway::{Gateway, tollbook};
use e2e::load::{Numbers, call, check};
use e2e::upstream::{Upstream, echo};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_under_load_brought_up_to_date_and_restored() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let servers = format!("[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let gateway = Gateway::start(&data, &servers);
    let url = format!("{}/mcp/echo", gateway.url);
    let numbers = Numbers::default();
    let load = tokio::spawn(call(url, numbers.clone(), |heard| heard.answered.len() == 800));
    upstream.saw(300).await;
    let first = in_thread({
        let (data, copy) = (data.clone(), copy.clone());
        move || back_up(&data, &copy, &[])
    })
    .await;
    let heard = load.await.expect("no call failed");
    assert_eq!((heard.answered.len(), heard.refused.len()), (800, 0));

    in_thread(move || {
        let second = back_up(&data, &copy, &[]);
        let number = |report: &Value, name: &str| report[name].as_u64().expect("a number");
        assert!(number(&second, "records") > number(&first, "records"), "{first} {second}");
        assert!(number(&second, "kept") > 0, "{second}");
        let third = back_up(&data, &copy, &[]);
        assert!(number(&third, "bytes") < number(&second, "bytes") + number(&first, "bytes"), "{third}");
        gateway.stop();
        check(&data, &upstream, &heard);

        private(&copy);
        assert!(!copy.join("keys/log.key").exists(), "the key that signs stays");
        verified(&copy);
        let rows = tollbook(&copy, &["calls", "--json", "--limit", "1000", "method:tools/call"]).stdout;
        assert!(String::from_utf8_lossy(&rows).lines().count() >= 300, "a copy can be read");
        let log = Gateway::with_fault(&copy, &servers, "").expect_err("a copy is not recorded into");
        assert!(log.contains("tollbook restore"), "{log}");

        let restored = folder.path().join("restored");
        let said = tollbook(&restored, &["restore", &copy.display().to_string()]);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let again = tollbook(&restored, &["restore", &copy.display().to_string()]);
        assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
        private(&restored);
        let said = tollbook(&restored, &["verify"]);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && text.contains("`tollbook serve` begins the new log"), "{text}");
        read_as_history(&restored);
        let gateway = Gateway::start(&restored, &servers);
        assert!(gateway.log().contains("restore"), "{}", gateway.log());
        gateway.stop();
        verified(&restored);
        read_as_history(&restored);
        let history = history(&restored);
        verified(&history);
        let (old, new) = (key(&data), key(&restored));
        let hash = |key: &str| key.split('+').nth(2).map(str::to_owned);
        assert_ne!(old.split('+').next(), new.split('+').next(), "another origin");
        assert_ne!(hash(&old), hash(&new), "another key");
        // A backup of what was restored has the history too.
        let next = folder.path().join("next");
        back_up(&restored, &next, &[]);
        let next = next.join(history.file_name().expect("a name"));
        verified(&next);
        assert!(!next.join("index").exists(), "an index is no part of a log");
    })
    .await;
}

#[test]
fn without_keys_and_what_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, copy, other) =
        (folder.path().join("data"), folder.path().join("copy"), folder.path().join("other"));
    Gateway::start(&data, "").stop();
    back_up(&data, &copy, &[]);
    back_up(&data, &copy, &["--without-keys"]);
    assert!(!copy.join("keys/root.key").exists() && !copy.join("keys/keystore.json").exists());
    verified(&copy);

    Gateway::start(&other, "").stop();
    for (from, to, expected) in [
        (&other, copy.clone(), "is of log"),
        (&data, data.join("copy"), "lies within the data folder"),
        (&data, other.clone(), "is neither empty nor a backup"),
        (&folder.path().join("none"), folder.path().join("new"), "nothing is recorded in"),
    ] {
        let said = tollbook(from, &["backup", &to.display().to_string()]);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(3) && text.contains(expected), "{text}");
    }
    let restored = folder.path().join("restored");
    let said = tollbook(&restored, &["restore", &copy.display().to_string()]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("has no keys"), "{said:?}");
    Gateway::start(&restored, "").stop();
    verified(&restored);
}

#[test]
fn a_damaged_copy_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    Gateway::start(&data, "").stop();
    back_up(&data, &copy, &[]);
    let bundles = copy.join("log/tile/entries/000.p");
    let bundle = std::fs::read_dir(bundles).expect("a folder").next().expect("one").expect("one").path();
    let mut bytes = std::fs::read(&bundle).expect("a bundle");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&bundle, bytes).expect("it is written");
    assert_eq!(tollbook(&copy, &["verify"]).status.code(), Some(1));
    let restored = folder.path().join("restored");
    let said = tollbook(&restored, &["restore", &copy.display().to_string()]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(!restored.exists(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_another_version_are_refused_with_words() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole");
    let gateway = Gateway::start(&whole, &format!("[servers.echo]\nurl = \"{}\"\n", upstream.url));
    call(format!("{}/mcp/echo", gateway.url), Numbers::default(), |heard| heard.answered.len() == 5).await;
    in_thread(move || {
        gateway.stop();
        for (file, known, newer) in [
            ("keys/keystore.json", r#""v": 1"#, r#""v": 2"#),
            ("keys/origins.json", r#""v": 1"#, r#""v": 2"#),
            ("state.json", r#""v":1"#, r#""v":2"#),
            ("wal/0", "TBWAL001", "TBWAL002"),
            ("log/pack", "TBPACK01", "TBPACK02"),
        ] {
            let copy = folder.path().join("copy");
            let _ = std::fs::remove_dir_all(&copy);
            let copied = std::process::Command::new("cp").arg("-r").arg(&whole).arg(&copy).status();
            assert!(copied.expect("cp runs").success());
            assert!(patch(&copy.join(file), known, newer) > 0, "{file} has a version");
            let log = Gateway::with_fault(&copy, "", "").expect_err("it is refused");
            let last = log.lines().last().unwrap_or_default();
            assert!(last.contains("of format version") && last.contains("newer one"), "{file}: {last}");
        }
    })
    .await;
}

/// Replaces a text in a file, or in every file of a folder; gives how often.
fn patch(path: &Path, known: &str, newer: &str) -> usize {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a folder");
        return entries.map(|entry| patch(&entry.expect("an entry").path(), known, newer)).sum();
    }
    let mut bytes = std::fs::read(path).expect("a file");
    let Some(at) = bytes.windows(known.len()).position(|window| window == known.as_bytes()) else { return 0 };
    bytes[at..at + known.len()].copy_from_slice(newer.as_bytes());
    std::fs::write(path, bytes).expect("it is written");
    1
}

fn back_up(data: &Path, copy: &Path, more: &[&str]) -> Value {
    let folder = copy.display().to_string();
    let said = tollbook(data, &[&["backup", &folder, "--json"], more].concat());
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    let report: Value = serde_json::from_slice(&said.stdout).expect("a report");
    assert_eq!(report["ok"], true, "{report}");
    report
}

/// Each command that finds little says where there is more, and the calls are there.
fn read_as_history(restored: &Path) {
    let folder = history(restored);
    for (command, told) in
        [(&["calls"][..], "calls"), (&["run", "list"], "run list"), (&["replay", "ffff"], "run list")]
    {
        let said = String::from_utf8_lossy(&tollbook(restored, command).stderr).into_owned();
        assert!(
            said.contains(&format!("tollbook --data '{}' {told}", folder.display())),
            "{command:?}: {said}"
        );
    }
    let doctor = String::from_utf8_lossy(&tollbook(restored, &["doctor"]).stdout).into_owned();
    assert!(doctor.contains(&format!("tollbook --data {} calls", folder.display())), "{doctor}");
    let rows = tollbook(&folder, &["calls", "--json", "--limit", "1000", "method:tools/call"]).stdout;
    assert!(String::from_utf8_lossy(&rows).lines().count() >= 300);
    let replayed = tollbook(&folder, &["replay", "last"]);
    let text = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success() && text.contains("tools/call"), "{text}");
}

fn verified(path: &Path) {
    let said = tollbook(Path::new("/nowhere"), &["verify", &path.display().to_string()]);
    assert!(said.status.success(), "{}: {said:?}", path.display());
}

fn key(data: &Path) -> String {
    String::from_utf8_lossy(&tollbook(data, &["keys", "show"]).stdout).trim().to_owned()
}

fn history(data: &Path) -> PathBuf {
    let entries = std::fs::read_dir(data).expect("a folder");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let is_log =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"));
    paths.find(is_log).expect("a log that was put aside")
}

/// Everything in it is its owner's alone.
fn private(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let meta = path.metadata().expect("it is there");
        assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
        if meta.is_dir() {
            private(&path);
        }
    }
}

async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it is done")
}
