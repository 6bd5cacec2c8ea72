//! Which tools a caller may see, for the filtering of lists.

use cedar_policy::{Effect, Policy};

use crate::asked::{self, Place, Thing};
use crate::bundle::Bundle;
use crate::est;
use crate::question::Caller;

/// A policy as far as it speaks of any call of a tool; `None` if it says nothing of all of them. A permit without its
/// conditions on the circumstances covers whatever the permit covers; a forbid that has some may not apply.
pub(crate) fn derived(policy: &Policy, reads_context: bool) -> Result<Option<Policy>, String> {
    if !reads_context {
        return Ok(Some(policy.clone()));
    }
    if policy.effect() == Effect::Forbid {
        return Ok(None);
    }
    est::without(policy, est::reads_context).map(Some)
}

impl Bundle {
    /// Whether a caller may see a tool: some permit may apply for some arguments, and no forbid surely applies. Never
    /// hides what [`Bundle::decide`] would allow or hold; what is visible may still be denied when it is called.
    pub fn visible(&self, caller: &Caller<'_>, server: &str, tool: &str) -> bool {
        let Some(pin) = self.tools.get(server, tool).filter(|pin| pin.fields.is_some()) else { return false };
        let thing = Thing::Tool { name: tool, hints: pin.hints };
        let place = Place::of(caller, server, &thing);
        let candidates = self.listing.candidates(&place);
        if candidates.are_none() {
            return false;
        }
        let Ok(asked) = asked::of_listing(place, server, &thing, &candidates.needs()) else { return false };
        // A policy that fails here fails when the tool is called, unless a condition that was left out comes first: it
        // neither shows nor hides.
        let said = candidates.ask(&asked);
        said.forbids.is_empty() && !said.permits.is_empty()
    }
}
