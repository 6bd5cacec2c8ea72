//! Two hundred kills under load: what the upstream saw is in the ledger, once, and the ledger verifies.

use e2e::gateway::Gateway;
use e2e::load::{Heard, Numbers, call, check};
use e2e::upstream::{Upstream, echo};

const KILLS: usize = 200;
const CALLERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_forwarded_is_lost_or_doubled() {
    let upstream = Upstream::start(echo).await;
    let folder = tempfile::tempdir().expect("a folder");
    let servers = format!("[servers.echo]\nurl = \"{}\"\n", upstream.url);
    let numbers = Numbers::default();
    let mut heard = Heard::default();
    for round in 0..KILLS {
        let gateway = Gateway::start(folder.path(), &servers);
        let url = format!("{}/mcp/echo", gateway.url);
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(call(url.clone(), numbers.clone(), |_| false))).collect();
        // Another moment each time: after so many calls, wherever the ninth one is.
        upstream.saw(upstream.seen().len() + 1 + (round * 7919) % 61).await;
        tokio::task::spawn_blocking(move || gateway.kill()).await.expect("killed");
        for caller in callers {
            heard.add(caller.await.expect("the caller ends"));
        }
    }
    let data = folder.path().to_owned();
    tokio::task::spawn_blocking(move || Gateway::start(&data, &servers).stop()).await.expect("recovered");
    let account = check(folder.path(), &upstream, &heard);
    assert!(account.unknown > 0, "no kill met an open call: the test tests nothing");
    assert!(heard.answered.len() > KILLS, "next to nothing was answered: the test tests nothing");
    assert!(heard.refused.is_empty(), "the disk has room: {:?}", heard.refused);
}
