//! With what the phases give, everything can be written.

use gateway::{HttpUpstream, Released};
use recorder::{Account, Clerk, Decision, Outcome, Recorder};

async fn forward(upstream: &HttpUpstream, released: &Released) {
    drop(upstream.forward(released, http::HeaderMap::new(), None).await);
}

async fn record(recorder: &Recorder, clerk: &Clerk, decision: Decision, account: Account, outcome: Outcome) {
    let Ok(cleared) = clerk.clear(decision, account) else { return };
    let Ok(opened) = recorder.open(cleared).await else { return };
    drop(recorder.close(opened, outcome).await);
}

fn main() {
    let _ = (forward, record);
}
