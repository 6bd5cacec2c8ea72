//! What who asks gets to see of a list: what they may use, of tools in the definition that was accepted.

use ledger::Hash;
use mcp::page::{List, Page};
use policy::Listed;

use crate::judge::{caller, covers, run_of};
use crate::peer::Peer;
use crate::rules::{InForce, Standing};
use crate::scope::Scope;
use crate::wanted::Wanted;

/// Milliseconds that a client may go by a list: a change of grants shows no later.
const FRESH_MS: u64 = 30_000;

/// What who asked gets to see of a list.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// The message that goes on, if not the one that came.
    pub(crate) instead: Option<String>,
    /// Names that were left out.
    pub(crate) hidden: Vec<String>,
    /// The extension that was added.
    pub(crate) added: Option<&'static str>,
}

impl InForce {
    /// Whether a list shows something to who asks in this scope.
    pub(crate) fn shows(&self, scope: &Scope, peer: &Peer, listed: Listed<'_>) -> bool {
        let server = &scope.server;
        let covered = match listed {
            Listed::Tool(tool) => {
                (!self.quarantines() || self.standing(server, tool) == Standing::Accepted)
                    && covers(peer, server, tool)
            }
            // A scope that names tools has nothing else of their server.
            _ => covers(peer, server, ""),
        };
        let run = run_of(scope, peer);
        covered
            && self.bundle.as_ref().is_none_or(|bundle| bundle.visible(&caller(peer, &run), server, listed))
    }

    /// Whether who asks may know that what is wanted is there. What stands in no list is no secret.
    pub(crate) fn shows_wanted(&self, scope: &Scope, peer: &Peer, wanted: &Wanted) -> bool {
        match listed(wanted) {
            Some(listed) => self.shows(scope, peer, listed),
            None => true,
        }
    }

    /// A page as who asks in this scope may see it: of tools in quarantine the definition itself counts, since a server may say
    /// one thing here and another elsewhere at the same time. `digests`: of a page of tools, as in
    /// [`Rules::see`](crate::rules::Rules::see).
    pub(crate) fn show(
        &self,
        (scope, peer): (&Scope, &Peer),
        (list, page): (List, &Page<'_>),
        digests: &[Option<Hash>],
    ) -> Shown {
        if !self.filters(list) && peer.verified.is_none() {
            return Shown::default();
        }
        let (mut keep, mut hidden) = (Vec::new(), Vec::new());
        for (number, (name, _)) in page.named().enumerate() {
            let digest = digests.get(number).copied().flatten();
            let (listed, is_sound) = match list {
                List::Tools => {
                    let is_sound = !self.quarantines() || self.is_accepted(&scope.server, name, digest);
                    (Listed::Tool(name), is_sound)
                }
                List::Prompts => (Listed::Prompt(name), true),
                List::Resources => (Listed::Resource(name), true),
                List::Templates => (Listed::Template, true),
            };
            let shown = is_sound && self.shows(scope, peer, listed);
            if !shown {
                hidden.push(name.to_owned());
            }
            keep.push(shown);
        }
        Shown { instead: Some(page.keeping(&keep, FRESH_MS)), hidden, added: None }
    }

    /// Whether a list differs by who asks for it.
    pub(crate) fn filters(&self, list: List) -> bool {
        self.bundle.is_some() || (list == List::Tools && self.quarantines())
    }
}

/// What a list would show of what is wanted.
fn listed(wanted: &Wanted) -> Option<Listed<'_>> {
    match wanted {
        Wanted::Tool(name) => Some(Listed::Tool(name)),
        Wanted::Prompt(name) | Wanted::CompletePrompt(name) => Some(Listed::Prompt(name)),
        Wanted::Read(uri) | Wanted::Subscribe(uri) => Some(Listed::Resource(uri)),
        Wanted::CompleteResource(_) => Some(Listed::Template),
        Wanted::Message | Wanted::Elicit | Wanted::Roots | Wanted::Tasks | Wanted::Other => None,
    }
}
