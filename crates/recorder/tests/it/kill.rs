//! A gateway that is killed in the middle of work, by the real signal, again and again.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ledger::{CallId, Kind};

use crate::support::{noise, outcome, run, settings, verified};

const FOLDER: &str = "TOLLBOOK_TEST_KILLED";
const NAME: &str = "kill::what_was_acknowledged_survives_sigkill";

/// Works until killed, and says which calls were opened and closed.
fn work(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let gateway = Arc::new(run(settings(dir)));
        let session = gateway.begin().await;
        let tasks = (0..8).map(|task: usize| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                for turn in 0.. {
                    let opened = gateway.open(session, noise(400 * task)).await.unwrap();
                    let call = opened.call();
                    tell("opened", call);
                    // Some go through the spool.
                    let body = noise(if turn % 16 == task { 80_000 } else { 100 });
                    gateway.recorder.close(opened, outcome(body)).await.unwrap();
                    tell("closed", call);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    });
}

fn tell(what: &str, call: CallId) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what} {call}").unwrap();
    out.flush().unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test starts itself again, told apart by a variable")]
fn what_was_acknowledged_survives_sigkill() {
    if let Some(dir) = std::env::var_os(FOLDER) {
        return work(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut opened, mut closed) = (HashSet::new(), HashSet::new());
    for lives in [40_i32, 300, 90] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut left, mut killed) = (lives, false);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let call = |prefix| line.strip_prefix(prefix).map(|id: &str| id.parse::<CallId>().unwrap());
            opened.extend(call("opened "));
            if let Some(call) = call("closed ") {
                closed.insert(call);
                left = (left - 1).max(0);
            }
            if left == 0 && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        assert!(!child.wait().unwrap().success());
        assert!(killed, "the gateway ended by itself");
    }
    run(settings(dir.path())).shutdown.finish().unwrap();
    let told = verified(dir.path());
    let of = |kind: Kind| -> HashSet<CallId> {
        told.iter().filter(|(_, leaf)| leaf.kind == kind).map(|(_, leaf)| leaf.call.unwrap()).collect()
    };
    let (intents, outcomes, unknown) = (of(Kind::Intent), of(Kind::Outcome), of(Kind::OutcomeUnknown));
    assert!(opened.is_subset(&intents));
    assert!(closed.is_subset(&outcomes));
    assert!(outcomes.is_disjoint(&unknown));
    assert_eq!(outcomes.union(&unknown).count(), intents.len());
    assert!(!unknown.is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("spool")).unwrap().count(), 0);
}
