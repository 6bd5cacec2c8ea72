//! A call cannot be opened before it was decided on.

use recorder::{Account, Recorder};

async fn open(recorder: &Recorder, account: Account) {
    drop(recorder.open(account).await);
}

fn main() {
    let _ = open;
}
