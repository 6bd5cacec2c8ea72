//! What a draft bundle would have decided on calls that were decided before.

use ledger::Verdict as Decided;

use crate::bundle::Bundle;
use crate::decide::Verdict;
use crate::question::Question;

/// Keys that a difference keeps of each kind; the counts are of all.
const KEYS: usize = 10_000;

/// Judges past calls by a draft, one after the other. It keeps counts and keys, not calls.
#[derive(Debug)]
pub struct Comparison<'a> {
    draft: &'a Bundle,
    difference: Difference,
}

/// What a draft would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Calls that were compared.
    pub calls: u64,
    /// Were denied or held, would be allowed.
    pub allowed: Flips,
    /// Were allowed or held, would be denied.
    pub denied: Flips,
    /// Were allowed or denied, would be held.
    pub held: Flips,
    /// Would be allowed as long as a limit is not reached. What was used before is not known, and not counted.
    pub limited: u64,
}

/// Calls whose verdict would change to the same one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flips {
    /// How many.
    pub count: u64,
    /// Their keys, the first 10,000.
    pub keys: Vec<String>,
}

impl<'a> Comparison<'a> {
    /// A comparison with a draft.
    pub fn with(draft: &'a Bundle) -> Comparison<'a> {
        Comparison { draft, difference: Difference::default() }
    }

    /// Judges a call by the draft: all that it asked must be allowed. `key` is whatever names the call, `before` what was
    /// decided.
    pub fn consider(&mut self, key: &str, questions: &[Question<'_>], before: Decided) {
        let difference = &mut self.difference;
        difference.calls += 1;
        let (mut now, mut limited) = (Decided::Allow, false);
        for question in questions {
            let judgement = self.draft.decide(question);
            limited |= !judgement.limits.is_empty();
            match judgement.verdict {
                Verdict::Allow => {}
                Verdict::Hold(_) => now = Decided::Hold,
                Verdict::Deny => {
                    now = Decided::Deny;
                    break;
                }
            }
        }
        difference.limited += u64::from(limited && now == Decided::Allow);
        if now == before {
            return;
        }
        let flips = match now {
            Decided::Allow => &mut difference.allowed,
            Decided::Deny => &mut difference.denied,
            Decided::Hold => &mut difference.held,
        };
        flips.count += 1;
        if flips.keys.len() < KEYS {
            flips.keys.push(key.to_owned());
        }
    }

    /// What was found.
    pub fn finish(self) -> Difference {
        self.difference
    }
}
