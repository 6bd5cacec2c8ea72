//! All couriers at once, and what they count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::state::{DestinationRow, State, StateError};
use tokio::task::JoinSet;

use crate::courier::{Courier, Ground};
use crate::send::Sent;
use crate::settings::DestinationSettings;

/// Between two looks for what is due.
const LOOK: Duration = Duration::from_millis(250);

/// Looks between two cleanings.
const CLEAN: u32 = 240;

/// Looks that are left out when the state cannot be used.
const TROUBLE: u32 = 20;

/// The couriers of all destinations, each a task of its own. Dropping it ends them; what was not told is told after a start.
#[derive(Debug)]
pub struct Exporter {
    couriers: JoinSet<()>,
    meters: Arc<Meters>,
}

/// What was counted since the start.
#[derive(Debug)]
pub struct Meters {
    state: Arc<State>,
    counters: Vec<Arc<Counter>>,
}

/// What was counted of one destination.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Notices that arrived since the start.
    pub delivered: u64,
    /// Attempts that failed since the start.
    pub failed: u64,
    /// How it stands.
    pub row: DestinationRow,
}

#[derive(Debug)]
pub(crate) struct Counter {
    name: String,
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl Exporter {
    /// Tells these destinations from now on, and no others. Needs a runtime.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn start(destinations: &[DestinationSettings], ground: &Ground) -> Result<Exporter, StateError> {
        let rows: Vec<_> = destinations.iter().map(DestinationSettings::row).collect();
        for (destination, waiting) in ground.state.tell(&rows)? {
            tracing::warn!(destination, waiting, "it is configured no more; what it was not told is dropped");
        }
        let (mut couriers, mut counters) = (JoinSet::new(), Vec::new());
        for settings in destinations {
            let courier = Courier::new(settings.clone(), ground.clone());
            counters.push(courier.counter());
            couriers.spawn(at_work(courier));
        }
        Ok(Exporter { couriers, meters: Arc::new(Meters { state: Arc::clone(&ground.state), counters }) })
    }

    /// What is counted.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters)
    }

    /// Ends the couriers, and waits until they have.
    pub async fn stop(mut self) {
        self.couriers.shutdown().await;
    }
}

async fn at_work(mut courier: Courier) {
    let mut looks: u32 = 0;
    let mut timer = tokio::time::interval(LOOK);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if looks.is_multiple_of(CLEAN)
            && let Err(error) = courier.tidy().await
        {
            tracing::error!(error = format!("{error}"), "notices cannot be cleaned up");
        }
        match courier.round().await {
            // There may be more.
            Ok(tried) if tried > 0 => {}
            Ok(_) => drop(timer.tick().await),
            Err(error) => {
                tracing::error!(error = format!("{error}"), "notices cannot be delivered");
                for _ in 0..TROUBLE {
                    timer.tick().await;
                }
            }
        }
        looks = looks.wrapping_add(1);
    }
}

impl Meters {
    /// Of each destination.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn counts(&self) -> Result<Vec<Counts>, StateError> {
        let rows = self.state.destinations()?;
        let counted = |row: DestinationRow| {
            let counter = self.counters.iter().find(|counter| counter.name == row.name)?;
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            Some(Counts { delivered: read(&counter.delivered), failed: read(&counter.failed), row })
        };
        Ok(rows.into_iter().filter_map(counted).collect())
    }
}

impl Counter {
    pub(crate) fn of(name: &str) -> Counter {
        Counter { name: name.to_owned(), delivered: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    pub(crate) fn count(&self, sent: &Sent) {
        let counter = if matches!(sent, Sent::Done(_)) { &self.delivered } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
