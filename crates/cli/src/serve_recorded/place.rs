//! How far a client has come in a run, and which recorded request its next one is. Pure.

use std::collections::HashMap;

use mcp::error::ErrorCode;

use super::key::Key;
use super::tape::{Exchange, Said, Tape};

/// Whether the client must ask in the recorded order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Any,
    Recorded,
}

/// A request that the run has no answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unrecorded {
    pub(super) code: ErrorCode,
    pub(super) text: String,
}

/// What was asked so far.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// How often each request was asked.
    asked: HashMap<Key, usize>,
    /// How often each notification was sent.
    told: HashMap<String, usize>,
    /// Where the recorded order stands.
    next: usize,
}

impl Place {
    /// The exchange that answers a request: of those that fit the first one that was not played yet, else the last one.
    /// `version` is what an `initialize` asks for; a recorded answer with that version goes first.
    ///
    /// # Errors
    /// [`Unrecorded`] says why none does.
    pub(super) fn advance(
        &mut self,
        tape: &Tape,
        key: &Key,
        version: Option<&str>,
        order: Order,
    ) -> Result<usize, Unrecorded> {
        if order == Order::Recorded && !is_greeting(key) {
            return self.advance_in_order(tape, key);
        }
        let fitting = tape.fitting(key);
        let exchange_of = |index: &&usize| tape.exchange(**index);
        let of_version = |index: &&usize| {
            version.is_some() && exchange_of(index).is_some_and(|found| found.version.as_deref() == version)
        };
        if let Some(index) = fitting.iter().find(of_version) {
            return Ok(*index);
        }
        let times = self.asked.entry(key.clone()).or_default();
        let found = fitting.get(*times).or(fitting.last());
        *times += 1;
        found.copied().ok_or_else(|| unrecorded(tape, key))
    }

    fn advance_in_order(&mut self, tape: &Tape, key: &Key) -> Result<usize, Unrecorded> {
        let rest = tape.exchanges().iter().enumerate().skip(self.next);
        let expected = rest.into_iter().find(|(_, exchange)| !is_greeting(&exchange.key));
        match expected {
            Some((index, exchange)) if exchange.key == *key => {
                self.next = index + 1;
                Ok(index)
            }
            _ if tape.fitting(key).is_empty() => Err(unrecorded(tape, key)),
            expected => Err(out_of_order(key, expected.map(|(_, exchange)| exchange))),
        }
    }

    /// What the server says after a notification of the client.
    pub(super) fn told<'t>(&mut self, tape: &'t Tape, method: &str) -> &'t [Said] {
        let times = self.told.entry(method.to_owned()).or_default();
        let after = tape.after_notification(method, *times);
        *times += 1;
        after
    }
}

/// Requests by which clients find out whom they talk to; how many there are says nothing about the task.
fn is_greeting(key: &Key) -> bool {
    matches!(key.method.as_str(), "initialize" | "server/discover" | "ping")
}

fn unrecorded(tape: &Tape, key: &Key) -> Unrecorded {
    let (text, is_unknown_method) = tape.unknown(key);
    let code = if is_unknown_method { ErrorCode::METHOD_NOT_FOUND } else { ErrorCode::UNRECORDED };
    Unrecorded { code, text }
}

fn out_of_order(key: &Key, expected: Option<&Exchange>) -> Unrecorded {
    let asked = key.describe();
    let text = match expected {
        Some(exchange) if exchange.key.describe() == asked => format!(
            "{asked} was not recorded here with these parameters: the run goes on with record #{}",
            exchange.seq
        ),
        Some(exchange) => format!(
            "{asked} was not recorded here: the run goes on with {} (record #{})",
            exchange.key.describe(),
            exchange.seq
        ),
        None => format!("{asked} was not recorded here: the run has ended"),
    };
    Unrecorded { code: ErrorCode::UNRECORDED, text }
}
