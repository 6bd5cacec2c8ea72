//! `tollbook wrap` and what it started.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use e2e::gateway::{Gateway, binary, tollbook};

use crate::callers::{printed, silent};
use crate::folders::Mount;

/// Answers each request; a slow one when somebody writes into the pipe `$GO`.
const ECHO: &str = r#"while read -r line; do
    id=$(printf %s "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
    case "$line" in
        *slow*) echo asked >&2; read -r go < "$GO" ;;
    esac
    printf '{"jsonrpc":"2.0","id":%s,"result":{"text":"done"}}\n' "$id"
done"#;

/// A server behind `wrap`, and its client's end.
struct Wrap {
    child: Child,
    input: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
    told: Lines<BufReader<ChildStderr>>,
}

impl Wrap {
    fn start(data: &Path, script: &str) -> Wrap {
        Wrap::with(data, &[], &[], script)
    }

    fn with(data: &Path, options: &[&str], variables: &[(&str, &str)], script: &str) -> Wrap {
        let mut child = Command::new(binary())
            .args(["wrap", "--server", "scripted"])
            .args(options)
            .args(["--", "sh", "-c", script])
            .env("TOLLBOOK_DATA", data)
            .env("GO", data.join("go"))
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let answers = BufReader::new(child.stdout.take().expect("standard output")).lines();
        let told = BufReader::new(child.stderr.take().expect("standard error")).lines();
        Wrap { input: child.stdin.take(), child, answers, told }
    }

    fn ask(&mut self, id: u32, method: &str) {
        self.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#));
    }

    fn send(&mut self, message: &str) {
        let line = format!("{message}\n");
        self.input.as_mut().expect("it is open").write_all(line.as_bytes()).expect("it reads");
    }

    fn answer(&mut self) -> String {
        self.answers.next().expect("an answer").expect("a line")
    }

    fn says(&mut self) -> String {
        self.told.next().expect("words").expect("a line")
    }

    /// Its exit code, and what it said last.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().expect("it ends").code();
        (code, self.told.map_while(Result::ok).last().unwrap_or_default())
    }
}

#[test]
fn no_server_outlives_its_gateway() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), "");
    // It does not care for its input, and has started something of its own.
    let mut wrap = Wrap::start(folder.path(), "sleep 1000 & echo $$ $! >&2; wait");
    let pids = wrap.says();
    gateway.kill();
    let (code, said) = wrap.end();
    assert_eq!(code, Some(70), "{said}");
    for pid in pids.split(' ') {
        while runs(pid) {}
    }
}

/// Whether a process is there and not merely unburied.
fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// A gateway that is told to end lets open calls of a tunnel end and takes no new ones.
#[test]
fn a_tunnel_drains() {
    let folder = tempfile::tempdir().expect("a folder");
    make_pipe(&folder.path().join("go"));
    let gateway = Gateway::start(folder.path(), "[limits]\ndrain_seconds = 60\n");
    let mut wrap = Wrap::start(folder.path(), ECHO);
    wrap.ask(1, "slow");
    assert_eq!(wrap.says(), "asked");

    gateway.signal_stop();
    gateway.logged("no new calls", 1);
    wrap.ask(2, "quick");
    let refused = wrap.answer();
    assert!(refused.contains("\"id\":2") && refused.contains("shutting down"), "{refused}");
    std::fs::write(folder.path().join("go"), "go\n").expect("the server waits for it");
    let answer = wrap.answer();
    assert!(answer.contains("\"id\":1") && answer.contains("done"), "{answer}");

    let (code, said) = wrap.end();
    assert_eq!(code, Some(70));
    assert!(said.contains("the gateway was shut down"), "{said}");
    gateway.stop();
    assert_eq!(ends(folder.path()), ["ok", "refused"]);
}

/// What waits for people holds nobody up, and is told to come again when the gateway ends.
#[test]
fn what_waits_for_people_is_answered_when_the_gateway_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let policies = folder.path().join("read.cedar");
    let held = "@hold(\"oncall\")\npermit (principal, action == Action::\"resources/read\", resource);";
    std::fs::write(&policies, format!("permit (principal, action, resource);\n{held}\n")).expect("written");
    let gateway = Gateway::start(folder.path(), &format!("[policy]\npath = {policies:?}\n"));
    let mut wrap = Wrap::start(folder.path(), ECHO);
    wrap.send(r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a"}}"#);
    let waits = || !tollbook(folder.path(), &["approvals", "list", "--json"]).stdout.is_empty();
    while !waits() {}
    wrap.ask(2, "ping");
    let beside = wrap.answer();
    assert!(beside.contains("\"id\":2") && beside.contains("done"), "{beside}");

    gateway.signal_stop();
    let answer = wrap.answer();
    assert!(answer.contains("\"id\":1") && answer.contains("approval required"), "{answer}");
    assert_eq!(wrap.end().0, Some(70));
    gateway.stop();
    assert!(waits(), "the hold outlives the gateway");
}

/// When the drain time is over, who still waits is told so.
#[test]
fn a_call_that_outlasts_the_drain_time_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    make_pipe(&folder.path().join("go"));
    let gateway = Gateway::start(folder.path(), "[limits]\ndrain_seconds = 0\n");
    let mut wrap = Wrap::start(folder.path(), ECHO);
    wrap.ask(1, "slow");
    assert_eq!(wrap.says(), "asked");
    gateway.stop();
    let answer = wrap.answer();
    assert!(answer.contains("\"id\":1") && answer.contains("not known"), "{answer}");
    let (code, said) = wrap.end();
    assert_eq!(code, Some(70), "{said}");
    assert_eq!(ends(folder.path()), ["unknown"]);
}

/// A run that cannot be recorded is refused in words, and begins when it can be.
#[test]
fn a_full_disk_is_told_to_the_client() {
    let disk = Mount::new(24);
    let data = disk.path().join("data");
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1; 10 << 20]).expect("there is room");
    let gateway = Gateway::start(&data, "[ledger]\nreserve_bytes = 16777216\nsegment_bytes = 1048576\n");
    let mut wrap = Wrap::start(&data, ECHO);
    wrap.ask(1, "initialize");
    let refused = wrap.answer();
    assert!(refused.contains("\"id\":1") && refused.contains("free some space"), "{refused}");
    std::fs::remove_file(filler).expect("it was there");
    let mut id = 1;
    let answer = loop {
        id += 1;
        wrap.ask(id, "ping");
        let answer = wrap.answer();
        if !answer.contains("free some space") {
            break answer;
        }
    };
    assert!(answer.contains(&format!("\"id\":{id}")) && answer.contains("done"), "{answer}");
    drop(wrap.input.take());
    assert_eq!(wrap.end().0, Some(0));
    gateway.stop();
}

/// Without a gateway the client's first request is answered with what to do.
#[test]
fn a_broken_folder_is_told_to_the_client() {
    let folder = tempfile::tempdir().expect("a folder");
    Gateway::start(folder.path(), "").stop();
    std::fs::remove_file(folder.path().join("keys/root.key")).expect("it was there");
    let mut wrap = Wrap::start(folder.path(), ECHO);
    wrap.ask(7, "initialize");
    let refused = wrap.answer();
    assert!(refused.contains("\"id\":7") && refused.contains("-31010"), "{refused}");
    assert!(refused.contains("root.key") && refused.contains("restore it"), "{refused}");
    let (code, said) = wrap.end();
    assert_eq!(code, Some(70), "{said}");
}

/// `serve` takes the folder from a gateway that was there for `wrap` alone, whose tunnels drain.
#[test]
fn a_gateway_that_wrap_started_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrap = Wrap::start(folder.path(), ECHO);
    wrap.ask(1, "ping");
    assert!(wrap.answer().contains("done"));
    let gateway = Gateway::start(folder.path(), "");
    assert!(gateway.log().contains("taking over"), "{}", gateway.log());
    let (code, said) = wrap.end();
    assert_eq!(code, Some(70));
    assert!(said.contains("the gateway was shut down"), "{said}");
    let mut wrap = Wrap::start(folder.path(), ECHO);
    wrap.ask(1, "ping");
    assert!(wrap.answer().contains("done"));
    drop(wrap.input.take());
    assert_eq!(wrap.end().0, Some(0));
    gateway.stop();
    assert_eq!(ends(folder.path()), ["ok", "ok"]);
}

/// Who could wrap a server under a configured one's name would speak for it: its tools would be pinned as that one's.
#[test]
fn no_wrap_speaks_for_a_configured_server() {
    let configured = "[policy]\npins = \"quarantine\"\n[servers.scripted]\nurl = \"http://127.0.0.1:1/\"\n";
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), configured);
    let over_tcp = ["--gateway", &gateway.url];
    for more in [&[][..], &over_tcp] {
        let line = [&["wrap", "--server", "scripted"], more, &["--", "echo", "it runs"]].concat();
        let refused = tollbook(folder.path(), &line);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!((refused.status.code(), &refused.stdout[..]), (Some(70), &b""[..]), "{more:?}: {said}");
        for part in ["has a server `scripted`", "`--server`", "`[servers.scripted]`"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    gateway.stop();
    assert!(tollbook(folder.path(), &["run", "list", "--json"]).stdout.is_empty(), "nothing was begun");
}

/// The name of a server behind `wrap` is given to another one by a reload.
#[test]
fn a_wrap_ends_when_its_name_is_configured() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), "");
    let mut wrap = Wrap::start(folder.path(), ECHO);
    wrap.ask(1, "ping");
    assert!(wrap.answer().contains("done"));
    gateway.reload("[servers.other]\nurl = \"http://127.0.0.1:1/\"\n");
    gateway.logged("configuration reloaded", 1);
    wrap.ask(2, "ping");
    assert!(wrap.answer().contains("done"), "another name");

    gateway.reload("[servers.scripted]\nurl = \"http://127.0.0.1:1/\"\n");
    let (code, said) = wrap.end();
    assert_eq!(code, Some(70), "{said}");
    assert!(said.contains("has a server of this name now") && said.contains("`--server`"), "{said}");
    gateway.stop();
    let runs = tollbook(folder.path(), &["run", "list", "--json"]).stdout;
    let run: serde_json::Value = serde_json::from_slice(&runs).expect("one run");
    assert!(run["reason"].as_str().is_some_and(|why| why.contains("has a server of this name")), "{run}");
    assert_eq!(ends(folder.path()), ["ok", "ok"]);
}

/// Over HTTP a gateway that identifies its callers wants a token, from a file or a variable.
#[test]
fn a_wrap_says_who_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let gateway = Gateway::start(data, "public_url = \"http://127.0.0.1:7800\"\n[identity]\n");
    let key = printed(data, &["keys", "create", "--service", "night-run"]);
    let file = |name: &str, text: &str| {
        let path = data.join(name);
        std::fs::write(&path, format!("{text}\n")).expect("written");
        path.to_str().expect("a path").to_owned()
    };
    let (good, bad) = (file("good", &key), file("bad", "tbk_aaaa1111_canary"));
    let (none, two) = (data.join("none").to_str().expect("a path").to_owned(), file("two", "canary canary"));
    let to = ["--gateway", &gateway.url];
    for (more, expected) in [
        (&[][..], "the gateway wants to know who calls: put a service key"),
        (&["--token-file", &bad], "the gateway does not accept the token ("),
        (&["--token-file", &none], "cannot read `"),
        (&["--token-file", &two], "the token is none"),
    ] {
        let mut wrap = Wrap::with(data, &[&to, more].concat(), &[], "echo it runs");
        wrap.ask(7, "initialize");
        let refused = wrap.answer();
        assert!(refused.contains("\"id\":7") && refused.contains("not recorded"), "{refused}");
        let (code, said) = wrap.end();
        assert_eq!(code, Some(70), "{said}");
        assert!(said.contains(expected) && !said.contains("canary"), "{expected}: {said}");
    }

    let answers = |options: &[&str], variables: &[(&str, &str)]| {
        // What the gateway is shown is not for the server.
        let script = format!("echo \"has ${{TOLLBOOK_TOKEN:-none}}\" >&2\n{ECHO}");
        let mut wrap = Wrap::with(data, options, variables, &script);
        assert_eq!(wrap.says(), "has none");
        wrap.ask(1, "ping");
        assert!(wrap.answer().contains("done"));
        drop(wrap.input.take());
        assert_eq!(wrap.end().0, Some(0));
    };
    answers(&[&to[..], &["--token-file", &good]].concat(), &[]);
    answers(&to, &[("TOLLBOOK_TOKEN", &key)]);
    answers(&[&to[..], &["--token-file", &good]].concat(), &[("TOLLBOOK_TOKEN", "tbk_aaaa1111_no")]);
    // The kernel says whose it is.
    answers(&[], &[]);
    let log = gateway.stop();
    let runs = printed(data, &["run", "list", "--json"]);
    let service = "service:night-run (http://127.0.0.1:7800)";
    assert_eq!(runs.matches(service).count(), 3, "{runs}");
    assert_eq!(ends(data), ["ok"; 4]);
    silent(&[key], &[&log, &runs]);
}

#[test]
fn what_cannot_be_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(folder.path(), "");
    let named = tollbook(folder.path(), &["wrap", "--server", "a b", "--", "true"]);
    let said = String::from_utf8_lossy(&named.stderr).into_owned();
    assert!(named.status.code() == Some(2) && said.contains("1 to 64 of a-z"), "{said}");

    let missing = tollbook(folder.path(), &["wrap", "--server", "none", "--", "/no/such/program"]);
    assert_eq!(missing.status.code(), Some(127));
    gateway.stop();
    let runs = tollbook(folder.path(), &["run", "list", "--json"]).stdout;
    let run: serde_json::Value = serde_json::from_slice(&runs).expect("one run");
    assert_eq!(run["reason"], "the server could not be started");
    let listed = tollbook(folder.path(), &["run", "list"]).stdout;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    assert!(listed.contains("SERVER") && listed.contains("  none  "), "{listed}");
    let replayed = tollbook(folder.path(), &["replay", "last", "--as-server"]);
    let said = String::from_utf8_lossy(&replayed.stderr).into_owned();
    assert!(replayed.status.code() == Some(2) && said.contains("has no calls to replay"), "{said}");
}

/// How its calls ended, in alphabetical order.
fn ends(data: &Path) -> Vec<String> {
    let calls = tollbook(data, &["calls", "--json", "server:scripted"]);
    let lines = String::from_utf8_lossy(&calls.stdout).into_owned();
    let status = |line: &str| {
        let call: serde_json::Value = serde_json::from_str(line).expect("JSON");
        call["status"].as_str().expect("a status").to_owned()
    };
    let mut ends: Vec<String> = lines.lines().map(status).collect();
    ends.sort();
    ends
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}
