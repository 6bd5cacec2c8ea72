//! Keeps the index behind the ledger while the gateway runs. Nothing on the call path waits for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use recorder::{Reader, Recorder};
use store::{Index, Mode};
use tokio::sync::watch;

use crate::read::index::feed;
use crate::read::source::Pace;

/// Between two tries when the index cannot be written.
const RETRY: Duration = Duration::from_secs(5);

/// Calls come first: what the index lacks under load it makes up for afterwards.
const YIELDING: i32 = 10;

/// The thread that feeds the index.
pub(crate) struct Follower {
    /// Records that are in the index.
    indexed: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Follower {
    /// Starts it. It ends when the recorder has closed and everything published is in the index.
    pub(crate) fn start(data: &Path, recorder: &Recorder) -> anyhow::Result<Follower> {
        let data = data.to_owned();
        let published = recorder.published();
        let indexed = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&indexed);
        let thread = std::thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || follow(&data, published, &told))
            .context("cannot start the index thread")?;
        Ok(Follower { indexed, thread })
    }

    /// Follows the number of records that are in the index.
    pub(crate) fn indexed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.indexed)
    }

    /// Waits for the last records to be in the index.
    pub(crate) fn finish(self) {
        if self.thread.join().is_err() {
            tracing::error!("the index thread failed; run `tollbook index rebuild`");
        }
    }
}

fn follow(data: &Path, mut published: watch::Receiver<u64>, indexed: &AtomicU64) {
    // Of this thread alone. Refused, it costs the calls some of their processor time and nothing else.
    let _ = rustix::process::nice(YIELDING);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return tracing::error!("the index thread cannot wait; run `tollbook index rebuild`");
    };
    let mut index = None;
    loop {
        let fed = feed_once(data, &mut index, indexed);
        if let Err(error) = &fed {
            tracing::error!(error = format!("{error:#}"), "the index lags; the ledger does not");
            index = None;
        }
        let closed = runtime.block_on(async {
            if fed.is_err() {
                tokio::time::sleep(RETRY).await;
            }
            published.changed().await.is_err()
        });
        if closed {
            // What was published last may have come after the look above.
            let _ = feed_once(data, &mut index, indexed);
            return;
        }
    }
}

fn feed_once(data: &Path, open: &mut Option<(Reader, Index)>, indexed: &AtomicU64) -> anyhow::Result<()> {
    let (reader, index) = match open {
        Some(open) => open,
        none => none.insert((Reader::open(data)?, Index::open(data, Mode::ReadWrite)?)),
    };
    reader.poll()?;
    indexed.store(index.next(reader.origin())?.0, Ordering::Relaxed);
    feed(reader, index, Pace::Beside, &mut |next, _| indexed.store(next.0, Ordering::Relaxed))?;
    Ok(())
}
