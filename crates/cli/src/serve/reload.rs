//! SIGHUP: the configuration is read again, and used from then on if it can be.
//!
//! A file with mistakes changes nothing. A good one is in the ledger before it is in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use export::Exporter;
use gateway::Control;
use recorder::Recorder;
use store::state::State;
use tokio::signal::unix::Signal;
use tokio::sync::oneshot;

use super::{ServeArgs, read_config, settings};
use crate::config::Config;
use crate::environment::Environment;

/// What a reload needs, and the configuration in force.
#[derive(Debug)]
pub(super) struct Reload {
    start: (ServeArgs, Environment, Arc<State>),
    control: Control,
    recorder: Recorder,
    exporter: Exporter,
    config: Config,
    counts: Arc<Reloads>,
}

/// How often the configuration was read again.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    pub(super) applied: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Reload {
    pub(super) fn new(
        start: (ServeArgs, Environment, Arc<State>),
        control: Control,
        (recorder, exporter): (Recorder, Exporter),
        config: Config,
    ) -> Reload {
        Reload { start, control, recorder, exporter, config, counts: Arc::default() }
    }

    pub(super) fn counts(&self) -> Arc<Reloads> {
        Arc::clone(&self.counts)
    }

    /// Reloads at each signal, one after the other, until that ends; gives who tells people.
    pub(super) async fn at_each(mut self, mut hangup: Signal, mut ended: oneshot::Receiver<()>) -> Exporter {
        loop {
            tokio::select! {
                _ = &mut ended => return self.exporter,
                signal = hangup.recv() => if signal.is_none() { return self.exporter },
            }
            match self.reload().await {
                Ok(()) => self.counts.applied.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "SIGHUP: the configuration was not reloaded; the one before stays in force"
                    );
                    self.counts.refused.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        let (args, environment, state) = &self.start;
        let mut config = read_config(args, environment)?;
        for key in self.config.keep_fixed(&mut config) {
            tracing::warn!("`{key}` has changed and is used after a restart only");
        }
        let next = self.control.prepare(settings(&config, args, state)?)?;
        let recorded = self.recorder.reconfigure(config.digest).await;
        recorded.context("that the configuration changed cannot be recorded")?;
        self.control.apply(next);
        if let Err(error) = self.exporter.change(&config.export).await {
            tracing::error!(%error, "`[export]` is as it was: the state cannot be used; send SIGHUP again");
        }
        let servers = |config: &Config| config.servers.keys().cloned().collect::<Vec<_>>().join(", ");
        tracing::info!(servers = servers(&config), digest = %config.digest.to_hex(), "configuration reloaded");
        self.config = config;
        Ok(())
    }
}
