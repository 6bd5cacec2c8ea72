//! Decides on each message before it is recorded as cleared. The only holder of the recorder's [`Clerk`], and so the
//! only place where a [`Cleared`] can come from.

use ledger::Verdict;
use recorder::{Account, Cleared, Clerk, Decision, Refusal};

/// Decides; owns the right to clear.
#[derive(Debug)]
pub(crate) struct Decider {
    clerk: Clerk,
}

impl Decider {
    pub(crate) fn new(clerk: Clerk) -> Decider {
        Decider { clerk }
    }

    /// Allows or refuses, as it was judged. Where nothing was judged, the record says that no policy was asked.
    pub(crate) fn decide(&self, decision: Decision, account: Account) -> Result<Cleared, Refusal> {
        self.clerk.clear(decision, account)
    }

    /// Refuses what breaks the protocol.
    pub(crate) fn refuse(&self, account: Account, reason: String) -> Refusal {
        self.clerk.refuse(Decision { verdict: Verdict::Deny, policy: None, reason: Some(reason) }, account)
    }
}
