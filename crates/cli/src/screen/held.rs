//! What the records of a scene hold, opened when it is shown. Hostile bytes: they pass through `text` when they are drawn.

use ledger::Seq;

use super::film::Scene;
use crate::read::replay::{Sealed, missing};

/// How much of a message is kept to be shown and compared.
const KEPT: usize = 1 << 20;

/// What the records of a scene hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Detail {
    pub(super) rounds: Vec<RoundDetail>,
}

/// What one round holds, as it crossed.
#[derive(Debug, Clone, Default)]
pub(super) struct RoundDetail {
    pub(super) asked: Held,
    pub(super) answered: Option<Held>,
}

/// The beginning of a text, and how long it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Excerpt {
    pub(super) beginning: Vec<u8>,
    pub(super) bytes: usize,
}

impl Excerpt {
    fn of(text: &[u8]) -> Excerpt {
        Excerpt { beginning: text.get(..KEPT).unwrap_or(text).to_vec(), bytes: text.len() }
    }
}

/// One message.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// Arguments or params of a request; result or error of an answer.
    pub(super) part: Option<Excerpt>,
    /// The message.
    pub(super) raw: Excerpt,
    /// Why there is nothing to show.
    pub(super) missing: Option<String>,
}

impl Detail {
    /// Opens the payloads of a scene.
    pub(super) fn of(scene: &Scene, sealed: &dyn Fn(Seq) -> Sealed) -> Detail {
        let rounds = scene.rounds.iter().map(|round| RoundDetail {
            asked: Held::of(&sealed(round.asked), &["arguments", "params"]),
            // A refusal ends with the record that it is.
            answered: round
                .answered
                .filter(|seq| *seq != round.asked)
                .map(|seq| Held::of(&sealed(seq), &["error", "result"])),
        });
        Detail { rounds: rounds.collect() }
    }
}

impl Held {
    fn of(sealed: &Sealed, names: &[&str]) -> Held {
        let Sealed::Open(payload) = sealed else {
            return Held { missing: missing(sealed), ..Held::default() };
        };
        let span = names.iter().find_map(|name| payload.spans.get(*name));
        let part = span.and_then(|span| payload.body.get(span.clone())).map(Excerpt::of);
        Held { part, raw: Excerpt::of(&payload.body), missing: None }
    }
}
