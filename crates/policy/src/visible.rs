//! Which tools a caller may see, for the filtering of lists.

use cedar_policy::{Policy, PolicyId, PolicySet};

use crate::asked::{self, Place, Thing};
use crate::bundle::{Bundle, Source};
use crate::parse::Written;
use crate::question::Caller;

/// What the policies that look at circumstances say of any call.
pub(crate) struct Listing(PolicySet);

/// The permits that look at circumstances, without the conditions that do: a permit without a condition covers whatever
/// it covered with it. They are written anew as one text, since Cedar reads one long text faster than many short ones.
pub(crate) fn derived(sources: &[Source], written: &[Written<'_>]) -> Listing {
    let mut text = String::new();
    for each in written.iter().filter(|each| each.statement.says("context") && !each.statement.forbids()) {
        let Some(source) = sources.get(each.source) else { continue };
        let tokens = &each.statement.tokens;
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
        let mut from = first.at;
        for clause in each.statement.clauses().into_iter().filter(|clause| clause.says_context) {
            text.push_str(source.text.get(from..clause.range.start).unwrap_or_default());
            from = clause.range.end;
        }
        text.push_str(source.text.get(from..last.range().end).unwrap_or_default());
        text.push('\n');
    }
    // Cedar has read these very clauses before. If it could not now, each policy would be missing, which is an error.
    Listing(text.parse().unwrap_or_default())
}

impl Listing {
    /// A policy as far as it speaks of any call of a tool; none if it may say nothing of some: a forbid that looks at
    /// circumstances. `place` counts the policies that are derived.
    pub(crate) fn of<'a>(
        &'a self,
        place: &mut usize,
        written: &'a Written<'_>,
    ) -> Result<Option<&'a Policy>, String> {
        if !written.statement.says("context") {
            return Ok(Some(&written.policy));
        }
        if written.statement.forbids() {
            return Ok(None);
        }
        let derived = self.0.policy(&PolicyId::new(format!("policy{place}")));
        *place += 1;
        derived.map(Some).ok_or_else(|| "the policy cannot be read without its conditions".to_owned())
    }
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
