//! Keeps the index behind the ledger while the gateway runs. Nothing on the call path waits for it.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::Context as _;
use recorder::Recorder;

/// The thread that feeds the index.
pub(crate) struct Follower {
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts it. It ends when the recorder's publisher has ended and everything is in the index.
    pub(crate) fn start(data: &Path, recorder: &Recorder) -> anyhow::Result<Follower> {
        let data = data.to_owned();
        let published = recorder.published();
        let thread = std::thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || follow(&data, published))
            .context("cannot start the index thread")?;
        Ok(Follower { thread })
    }

    /// Waits for the last records to be in the index.
    pub(crate) fn finish(self) {
        if self.thread.join().is_err() {
            tracing::error!("the index thread failed; run `tollbook index rebuild`");
        }
    }
}

fn follow(data: &PathBuf, published: tokio::sync::watch::Receiver<u64>) {
    todo!()
}
