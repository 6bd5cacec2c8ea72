//! A token that several requests need: one of them gets it, the others wait for that and no longer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::UpstreamError;
use super::challenge::Challenge;
use super::token::Token;
use crate::secret::Secret;

/// Seconds for which a failure answers who asks: a server that is down is not asked by every call.
const FAILED_SECONDS: u64 = 2;

/// Seconds between tokens that are got because one was refused.
const BETWEEN_REFUSALS: u64 = 10;

/// Room for one token.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Locked for single reads and writes.
    held: Mutex<Held>,
    /// Held while a token is got.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct Held {
    token: Option<Arc<Token>>,
    failed: Option<(u64, UpstreamError)>,
    /// What the server wants; empty if it did not say.
    wanted: Vec<String>,
    replaced: Option<u64>,
}

impl Slot {
    /// The token that may be used now.
    pub(super) fn usable(&self, now: u64) -> Option<Arc<Token>> {
        self.held().token.filter(|token| token.is_usable(now))
    }

    /// Whether nobody gets a token at the moment.
    pub(super) fn is_idle(&self) -> bool {
        self.turn.try_lock().is_ok()
    }

    /// The token in the slot, if it is none of those that were refused, else the one that `getting` gets.
    pub(super) async fn fill(
        &self,
        (refused, now): (Option<&Secret>, u64),
        getting: impl Future<Output = Result<Token, UpstreamError>>,
    ) -> Result<Arc<Token>, UpstreamError> {
        let _one = self.turn.lock().await;
        let held = self.held();
        let other = held.token.filter(|token| token.is_usable(now) && Some(&token.access) != refused);
        if let Some(token) = other.filter(|token| refused.is_some() || !token.is_due(now)) {
            return Ok(token);
        }
        if let Some((_, error)) = held.failed.filter(|(at, _)| now.abs_diff(*at) < FAILED_SECONDS) {
            return Err(error);
        }
        match getting.await {
            Ok(token) => {
                let token = Arc::new(token);
                let mut held = self.lock();
                held.token = Some(Arc::clone(&token));
                held.failed = None;
                Ok(token)
            }
            Err(error) => {
                // A token that still holds stays.
                let mut held = self.lock();
                held.token = held.token.take().filter(|token| Some(&token.access) != refused);
                // Nobody was asked where there is nothing to ask with, and that may change at once.
                let was_asked = !matches!(error, UpstreamError::Unconnected | UpstreamError::NoCaller);
                held.failed = was_asked.then(|| (now, error.clone()));
                Err(error)
            }
        }
    }

    /// What the server wants.
    pub(super) fn wanted(&self) -> Vec<String> {
        self.held().wanted
    }

    /// Takes to heart what a server wants. Scopes add up, so that one call's are not lost over another's. `false`: the token had
    /// all of it.
    pub(super) fn want(&self, challenge: &Challenge, refused: &Token) -> bool {
        let mut held = self.lock();
        let mut wanted = if challenge.wants_scope { refused.asked.clone() } else { Vec::new() };
        wanted.extend(held.wanted.iter().filter(|scope| !refused.asked.contains(scope)).cloned());
        let is_more = challenge.scopes.iter().any(|scope| !refused.asked.contains(scope));
        for scope in &challenge.scopes {
            if !wanted.contains(scope) {
                wanted.push(scope.clone());
            }
        }
        held.wanted = wanted;
        is_more
    }

    /// Whether another token may be got because one was refused; it is taken for got then.
    pub(super) fn may_replace(&self, now: u64) -> bool {
        let mut held = self.lock();
        let is_soon = held.replaced.is_some_and(|at| now.abs_diff(at) < BETWEEN_REFUSALS);
        if !is_soon {
            held.replaced = Some(now);
        }
        !is_soon
    }

    fn held(&self) -> Held {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
