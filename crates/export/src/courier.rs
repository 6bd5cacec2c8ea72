//! One destination's courier: takes what is due, tries each, and keeps what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::state::{Delivery, EventKind, Settled, State, StateError, Told};

use crate::exporter::Counter;
use crate::notice::{Known, Notice};
use crate::pace;
use crate::random::random;
use crate::send::{Sender, Sent};
use crate::settings::{Arguments, DestinationSettings};

/// Deliveries of a round at most, and how long it goes on: what a crash may deliver twice.
const ROUND: u32 = 16;
const ROUND_LASTS: Duration = Duration::from_secs(1);

/// Seconds for which a call's record is waited for where its arguments are to be shown.
const RECORD_WAIT: u64 = 10;

/// Deliveries that may wait, and dead ones that are kept.
const BOUNDS: (u32, u32) = (10_000, 1_000);

/// Where arguments are read. It may block.
pub trait ArgumentSource: fmt::Debug + Send + Sync {
    /// The arguments of a held call, in canonical form; `None`: they cannot be read, or not yet.
    fn arguments(&self, hold: &store::state::Hold) -> Option<String>;
}

/// What all couriers share.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Where events wait.
    pub state: Arc<State>,
    /// Where arguments are read.
    pub arguments: Arc<dyn ArgumentSource>,
    /// The console's address, for links.
    pub console: String,
    /// Seconds since the Unix epoch.
    pub clock: fn() -> u64,
}

/// Takes notices to one destination.
#[derive(Debug)]
pub struct Courier {
    ground: Ground,
    sender: Sender,
    /// Failures in a row.
    failures: u32,
    counter: Arc<Counter>,
}

impl Courier {
    /// A courier to a destination that the state knows ([`State::tell`]).
    pub fn new(settings: DestinationSettings, ground: Ground) -> Courier {
        let counter = Arc::new(Counter::of(&settings.name));
        Courier { ground, sender: Sender::new(settings), failures: 0, counter }
    }

    /// One that goes on counting where another has ended.
    pub(crate) fn counting(self, counter: Arc<Counter>) -> Courier {
        Courier { counter, ..self }
    }

    pub(crate) fn counter(&self) -> Arc<Counter> {
        Arc::clone(&self.counter)
    }

    /// Takes what is due there, until one fails; gives how many it tried. The rest is due another time.
    ///
    /// # Errors
    /// See [`StateError`]: what was told is told again then.
    pub async fn round(&mut self) -> Result<usize, StateError> {
        let (begun, now) = (Instant::now(), (self.ground.clock)());
        let name = self.name();
        let due = self.with_state(move |state| state.due(&name, now, ROUND)).await?;
        let mut settled = Vec::new();
        for delivery in &due {
            let told = self.tell(delivery).await?;
            let is_over = matches!(told, Told::Failed { .. } | Told::Gone { .. });
            settled.push(Settled { event: delivery.event.no, told });
            if is_over || begun.elapsed() > ROUND_LASTS {
                break;
            }
        }
        let tried = settled.len();
        if tried > 0 {
            let (name, now) = (self.name(), (self.ground.clock)());
            self.with_state(move |state| state.settle(&name, &settled, now)).await?;
        }
        Ok(tried)
    }

    /// Keeps the rows of the destination within bounds.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn tidy(&self) -> Result<(), StateError> {
        let (name, now) = (self.name(), (self.ground.clock)());
        let (died, dropped) =
            self.with_state(move |state| state.bound_deliveries(&name, now, BOUNDS)).await?;
        if died + dropped > 0 {
            let destination = self.name();
            tracing::error!(destination, died, dropped, "notices pile up; see `tollbook export list`");
        }
        Ok(())
    }

    /// Sends a test now, and gives what came of it: whether it arrived, and what was said.
    pub async fn test(&self) -> (bool, String) {
        let now = (self.ground.clock)();
        let notice = Notice::test(format!("test{:016x}", random()), now, &self.ground.console);
        match self.sender.send(&notice, now).await {
            Sent::Done(said) => (true, said),
            Sent::Failed(said, _) | Sent::Refused(said) | Sent::Gone(said) => (false, said),
        }
    }

    async fn tell(&mut self, delivery: &Delivery) -> Result<Told, StateError> {
        let now = (self.ground.clock)();
        let notice = match self.notice(delivery, now).await? {
            Ok(notice) => notice,
            Err(told) => return Ok(told),
        };
        let sent = self.sender.send(&notice, now).await;
        let (event, destination) = (delivery.event.id.as_str(), &self.sender.settings().name);
        self.counter.count(&sent);
        Ok(match sent {
            Sent::Done(_) => {
                self.failures = 0;
                Told::Done
            }
            Sent::Failed(error, after) => {
                tracing::warn!(destination, event, error, "a notice was not delivered; it is tried again");
                self.failures = self.failures.saturating_add(1);
                let now = (self.ground.clock)();
                let again =
                    now.saturating_add(pace::wait(delivery.attempts.saturating_add(1), after, random()));
                let pause = now.saturating_add(pace::wait(self.failures, after, random()));
                Told::Failed { error, again, pause }
            }
            Sent::Refused(error) => {
                tracing::error!(destination, event, error, "a notice is refused; see `tollbook export dead`");
                Told::Dead { error }
            }
            Sent::Gone(error) => {
                tracing::error!(
                    destination,
                    error,
                    "nobody is told there any more; see `tollbook export retry`"
                );
                Told::Gone { error }
            }
        })
    }

    /// What is to be told, or what becomes of it instead.
    async fn notice(&self, delivery: &Delivery, now: u64) -> Result<Result<Notice, Told>, StateError> {
        let id = delivery.event.hold.clone();
        let found = self.with_state(move |state| {
            let hold = state.hold(&id)?;
            hold.map(|hold| state.ballots(&id).map(|said| (hold, said))).transpose()
        });
        let Some((hold, said)) = found.await? else {
            return Ok(Err(Told::Dead { error: "the hold is not known any more".to_owned() }));
        };
        let event = &delivery.event;
        let is_shown = self.sender.settings().arguments == Arguments::Shown && event.kind == EventKind::Asked;
        let mut arguments = None;
        if is_shown {
            let (source, asked) = (Arc::clone(&self.ground.arguments), hold.clone());
            let read = tokio::task::spawn_blocking(move || source.arguments(&asked)).await;
            arguments = read.ok().flatten();
            if arguments.is_none() && now < event.at.saturating_add(RECORD_WAIT) {
                return Ok(Err(Told::Later { again: now + 1 }));
            }
        }
        let arguments = arguments.or_else(|| is_shown.then(|| "they could not be read".to_owned()));
        let arguments = arguments.as_deref();
        let known = Known { event, hold: &hold, said: &said, arguments, console: &self.ground.console };
        Ok(Ok(Notice::of(&known)))
    }

    fn name(&self) -> String {
        self.sender.settings().name.clone()
    }

    /// Writes wait for a disk.
    async fn with_state<T: Send + 'static>(
        &self,
        work: impl FnOnce(&State) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let state = Arc::clone(&self.ground.state);
        match tokio::task::spawn_blocking(move || work(&state)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
