//! A call has one end.

use recorder::{Opened, Outcome, Recorder};

async fn close(recorder: &Recorder, opened: Opened, outcome: Outcome) {
    drop(recorder.close(opened, outcome.clone()).await);
    drop(recorder.close(opened, outcome).await);
}

fn main() {
    let _ = close;
}
