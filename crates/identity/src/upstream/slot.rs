//! A token that several requests need: one of them gets it, the others wait for that and no longer.

use std::sync::{Arc, Mutex, PoisonError};

use super::UpstreamError;
use super::token::Token;
use crate::secret::Secret;

/// Seconds for which a failure answers who asks: a server that is down is not asked by every call.
const FAILED_SECONDS: u64 = 2;

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
                self.hold(Held { token: Some(Arc::clone(&token)), failed: None });
                Ok(token)
            }
            Err(error) => {
                // A token that still holds stays.
                let token = self.held().token.filter(|token| Some(&token.access) != refused);
                self.hold(Held { token, failed: Some((now, error.clone())) });
                Err(error)
            }
        }
    }

    fn held(&self) -> Held {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}
