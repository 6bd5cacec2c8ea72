//! The process dies, or the file system fails, at every place where something could be half done.

use e2e::gateway::Gateway;
use e2e::load::{Heard, Numbers, call, check};
use e2e::upstream::{Upstream, echo};

/// Small files, so that all that happens to files happens often.
const LEDGER: &str = "[ledger]\nsegment_bytes = 65536\npack_bytes = 65536\n";
const CALLERS: usize = 4;
/// A gateway that still lives after so many calls of each caller will not reach the point.
const MOST: usize = 1500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_the_first_time_at_each_point() {
    for point in points() {
        dies(&format!("{point}=kill")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_the_fourth_time_at_each_point() {
    for point in points() {
        dies(&format!("{point}@4=kill")).await;
    }
}

/// After such an error nobody knows what the disk holds: the process ends, and the next one finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_itself_when_the_disk_fails() {
    let points = [
        "wal.write",
        "wal.sync",
        "pack.create",
        "pack.write",
        "pack.sync",
        "pack.finish",
        "tile.write",
        "tile.sync",
        "checkpoint.list",
        "checkpoint.replace",
        "partial.remove",
        "state.save",
        "segment.remove",
    ];
    for point in points {
        dies(&format!("{point}@2=eio")).await;
    }
}

/// Without room, calls are refused until there is some; nothing that was accepted is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_while_the_disk_is_full() {
    for point in
        ["wal.prepare@3-5", "tile.write@9-11", "pack.write@9-10", "checkpoint.list@5-6", "state.save@3-4"]
    {
        lives(&format!("{point}=enospc")).await;
    }
}

async fn dies(plan: &str) {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!("{LEDGER}[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let mut heard = Heard::default();
    // It may die before it listens.
    if let Ok(gateway) = Gateway::with_fault(folder.path(), &servers, plan) {
        heard = load(&gateway.url, |heard| heard.answered.len() == MOST).await;
        assert!(heard.answered.len() < CALLERS * MOST, "{plan} was never reached");
        assert!(heard.refused.is_empty(), "{plan}: refused {:?}\n{}", heard.refused, gateway.log());
        tokio::task::spawn_blocking(move || gateway.ended()).await.expect("it has ended");
    }
    settle(folder.path(), servers).await;
    check(folder.path(), &upstream, &heard);
}

async fn lives(plan: &str) {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!("{LEDGER}[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let gateway = Gateway::with_fault(folder.path(), &servers, plan).expect("it comes up");
    let heard = load(&gateway.url, |heard| {
        (!heard.refused.is_empty() && heard.in_a_row > 50) || heard.answered.len() == MOST
    })
    .await;
    assert!(!heard.refused.is_empty(), "{plan}: nothing was refused\n{}", gateway.log());
    let log = tokio::task::spawn_blocking(move || gateway.stop()).await.expect("it stops");
    let says = ["publishing waits for space", "refused until there is space"];
    assert!(says.iter().any(|text| log.contains(text)), "{plan}: the log does not say why:\n{log}");
    check(folder.path(), &upstream, &heard);
}

async fn load(url: &str, enough: fn(&Heard) -> bool) -> Heard {
    let (url, numbers) = (format!("{url}/mcp/echo"), Numbers::default());
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(call(url.clone(), numbers.clone(), enough))).collect();
    let mut heard = Heard::default();
    for caller in callers {
        heard.add(caller.await.expect("the caller ends"));
    }
    heard
}

/// Starts a gateway that finds what the last one left, and stops it.
async fn settle(data: &std::path::Path, servers: String) {
    let data = data.to_owned();
    tokio::task::spawn_blocking(move || Gateway::start(&data, &servers).stop()).await.expect("recovered");
}

/// The points of the binary, as it names them to those who name a wrong one.
fn points() -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let Err(log) = Gateway::with_fault(folder.path(), "", "no.such=kill") else {
        panic!("there is no such point")
    };
    let list = log.split_once("the points are ").expect("a list").1;
    let points: Vec<String> = list.trim().split(", ").map(str::to_owned).collect();
    assert!(points.len() > 20, "{log}");
    points
}
