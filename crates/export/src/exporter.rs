//! All couriers at once, and what they count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::state::{DestinationRow, State, StateError};
use tokio::task::JoinHandle;

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
    ground: Ground,
    /// By the destination's name.
    couriers: BTreeMap<String, Running>,
    meters: Arc<Meters>,
}

/// A courier at work. Dropping it ends it.
#[derive(Debug)]
struct Running {
    settings: DestinationSettings,
    task: JoinHandle<()>,
}

/// What was counted since the start.
#[derive(Debug)]
pub struct Meters {
    state: Arc<State>,
    /// Of those that are told now. Locked for single looks and changes.
    counters: Mutex<Vec<Arc<Counter>>>,
}

/// What was counted of the destinations of one section of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// The section's name.
    pub name: String,
    /// Notices that arrived since the start.
    pub delivered: u64,
    /// Attempts that failed since the start.
    pub failed: u64,
    /// Notices that wait.
    pub waiting: u64,
    /// Notices that are not tried any more.
    pub dead: u64,
    /// Since when the oldest that waits does.
    pub oldest: Option<u64>,
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
    pub fn start(destinations: &[DestinationSettings], ground: Ground) -> Result<Exporter, StateError> {
        tell(&ground.state, destinations)?;
        let meters = Arc::new(Meters { state: Arc::clone(&ground.state), counters: Mutex::default() });
        let mut exporter = Exporter { ground, couriers: BTreeMap::new(), meters };
        exporter.begin(destinations);
        Ok(exporter)
    }

    /// Tells these from now on. Couriers to destinations that stay as they are go on; what one was about to tell whose settings have
    /// changed may be told twice.
    ///
    /// # Errors
    /// See [`StateError`]; those before are told on.
    pub async fn change(&mut self, destinations: &[DestinationSettings]) -> Result<(), StateError> {
        let stays = |one: &DestinationSettings| {
            self.couriers.get(&one.name).is_some_and(|running| running.settings == *one)
        };
        if destinations.len() == self.couriers.len() && destinations.iter().all(stays) {
            return Ok(());
        }
        let (state, next) = (Arc::clone(&self.ground.state), destinations.to_vec());
        if let Ok(told) = tokio::task::spawn_blocking(move || tell(&state, &next)).await {
            told?;
        }
        let ending = self.couriers.extract_if(.., |_, running| !destinations.contains(&running.settings));
        end(ending.map(|(_, running)| running).collect()).await;
        self.begin(destinations);
        Ok(())
    }

    /// Begins those that are not at work.
    fn begin(&mut self, destinations: &[DestinationSettings]) {
        let mut counters = self.meters.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.retain(|counter| destinations.iter().any(|one| one.name == counter.name));
        for settings in destinations {
            if self.couriers.contains_key(&settings.name) {
                continue;
            }
            let known = counters.iter().find(|counter| counter.name == settings.name).cloned();
            let courier = Courier::new(settings.clone(), self.ground.clone());
            let courier = if let Some(known) = known {
                courier.counting(known)
            } else {
                counters.push(courier.counter());
                courier
            };
            let running = Running { settings: settings.clone(), task: tokio::spawn(at_work(courier)) };
            self.couriers.insert(settings.name.clone(), running);
        }
    }

    /// What is counted.
    #[must_use]
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.meters)
    }

    /// Ends the couriers, and waits until they have.
    pub async fn stop(self) {
        end(self.couriers.into_values().collect()).await;
    }
}

/// Ends couriers, and waits until they have.
async fn end(mut couriers: Vec<Running>) {
    couriers.iter().for_each(|running| running.task.abort());
    for running in &mut couriers {
        // It has ended; who was aborted says so.
        let _ = (&mut running.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn tell(state: &State, destinations: &[DestinationSettings]) -> Result<(), StateError> {
    let rows: Vec<_> = destinations.iter().map(DestinationSettings::row).collect();
    for (destination, waiting) in state.tell(&rows)? {
        tracing::warn!(destination, waiting, "it is configured no more; what it was not told is dropped");
    }
    Ok(())
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
    /// Of each section of the configuration: those who get mail by one section are one.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn counts(&self) -> Result<Vec<Counts>, StateError> {
        let rows = self.state.destinations()?;
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: BTreeMap<String, Counts> = BTreeMap::new();
        for row in rows {
            let Some(counter) = counters.iter().find(|counter| counter.name == row.name) else { continue };
            let section = DestinationSettings::section(&row.name).to_owned();
            all.entry(section).or_default().add(counter, &row);
        }
        Ok(all.into_iter().map(|(name, counts)| Counts { name, ..counts }).collect())
    }
}

impl Counts {
    fn add(&mut self, counter: &Counter, row: &DestinationRow) {
        self.delivered += counter.delivered.load(Ordering::Relaxed);
        self.failed += counter.failed.load(Ordering::Relaxed);
        self.waiting += row.waiting;
        self.dead += row.dead;
        self.oldest = self.oldest.into_iter().chain(row.oldest).min();
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
