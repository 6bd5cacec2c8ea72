//! Tells clients that what they may see has changed: another policy, a tool that was accepted or put in quarantine, a scope
//! that was narrowed (MCP, "List Changed Notification").
//!
//! Each stream that can be told compares what its caller may see with what that was before, whenever rules, keys or runs
//! have changed. What differs is said in notifications of the gateway's own, and recorded as such. So is that a hold has ended to
//! whose page a user was led by a call that does not wait any more.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ledger::Hash;
use mcp::page::Lists;
use tokio::sync::watch;

use crate::callers::Callers;
use crate::peer::Peer;
use crate::rules::{InForce, Rules};
use crate::scope::Scope;

/// How often it is looked whether another process has changed something while no message came.
const LOOK: Duration = Duration::from_millis(200);

/// What grants follow from; shared by a gateway and those that take its place.
#[derive(Debug)]
pub(crate) struct Grants {
    /// Locked for a copy or a swap of the pointer.
    rules: RwLock<Option<Arc<Rules>>>,
    callers: Option<Arc<Callers>>,
    /// Counts changes.
    changed: watch::Sender<u64>,
}

/// A stream's ear for changes.
#[derive(Debug)]
pub(crate) struct Hearing {
    grants: Arc<Grants>,
    scope: Arc<Scope>,
    peer: Arc<Peer>,
    changes: watch::Receiver<u64>,
    /// Whether something has changed since `seen`.
    is_stale: bool,
    seen: Option<View>,
}

/// What a stream's client is to be told.
#[derive(Debug)]
pub(crate) enum News {
    /// These lists have changed.
    Lists(Lists),
    /// A hold has ended to whose page its user was led.
    Over(String),
}

/// What decides about what a caller sees.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    /// The tools that are shown; `None`: nothing is known of the server's tools yet.
    tools: Option<Hash>,
    /// What all else that is shown follows from.
    others: Hash,
}

impl Grants {
    pub(crate) fn new(rules: Option<Arc<Rules>>, callers: Option<Arc<Callers>>) -> Arc<Grants> {
        Arc::new(Grants { rules: RwLock::new(rules), callers, changed: watch::Sender::new(0) })
    }

    /// Other rules are in force.
    pub(crate) fn renew(&self, rules: Option<Arc<Rules>>) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        self.changed.send_modify(|count| *count += 1);
    }

    /// An ear for the stream of a caller.
    pub(crate) async fn hearing(self: &Arc<Self>, scope: &Arc<Scope>, peer: &Arc<Peer>) -> Hearing {
        let mut hearing = Hearing {
            grants: Arc::clone(self),
            scope: Arc::clone(scope),
            peer: Arc::clone(peer),
            changes: self.changed.subscribe(),
            is_stale: false,
            seen: None,
        };
        hearing.seen = hearing.view().await;
        hearing
    }

    /// Looks for what other processes and other messages have changed, until it is dropped.
    pub(crate) async fn follow(&self) {
        let mut last: Option<Arc<InForce>> = None;
        let mut callers = self.callers.as_ref().map(|callers| callers.changes());
        loop {
            match &mut callers {
                Some(changes) => {
                    if let Ok(Ok(())) = tokio::time::timeout(LOOK, changes.changed()).await {
                        self.changed.send_modify(|count| *count += 1);
                    }
                }
                None => tokio::time::sleep(LOOK).await,
            }
            let present = self.present().await;
            let is_new = match (&last, &present) {
                (Some(last), Some(present)) => !last.says_the_same(present),
                (last, present) => last.is_some() != present.is_some(),
            };
            if is_new {
                last = present;
                self.changed.send_modify(|count| *count += 1);
            }
        }
    }

    /// The rules, where there are some that can be read.
    async fn present(&self) -> Option<Arc<InForce>> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        match rules.present().await {
            Ok(present) => Some(present),
            Err(error) => {
                // Each call that comes meanwhile is refused, and says so.
                tracing::debug!(%error, "it cannot be told whether grants have changed");
                None
            }
        }
    }
}

impl Hearing {
    /// Resolves when there is something to tell. Nothing is lost if it is dropped meanwhile.
    pub(crate) async fn next(&mut self) -> News {
        let scope = Arc::clone(&self.scope);
        tokio::select! {
            hold = scope.next_over() => News::Over(hold),
            lists = self.next_lists() => News::Lists(lists),
        }
    }

    /// Resolves when what the caller may see differs from what it was.
    async fn next_lists(&mut self) -> Lists {
        loop {
            if !self.is_stale {
                if self.changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                self.is_stale = true;
            }
            let view = self.view().await;
            self.is_stale = false;
            let Some(now) = view else { continue };
            let before = self.seen.replace(now.clone());
            let lists = before.map(|before| now.differs(&before)).unwrap_or_default();
            if lists != Lists::default() {
                return lists;
            }
        }
    }

    /// `None`: the caller may no more, or it cannot be told; what is open ends elsewhere.
    async fn view(&self) -> Option<View> {
        let peer = match &self.grants.callers {
            Some(callers) => callers.as_now(&self.peer)?,
            None => Peer::clone(&self.peer),
        };
        let scope = peer.verified.as_ref().map(|verified| verified.caller.scope.text());
        let rules = self.grants.present().await;
        let policy = rules.as_ref().and_then(|rules| rules.policy());
        let others = Hash::of(format!("{scope:?} {policy:?}").as_bytes());
        let tools = match &rules {
            Some(rules) => rules.shown_tools(&self.scope, &peer),
            None => Some(others),
        };
        Some(View { tools, others })
    }
}

/// As [`Hearing::next`]; never, where nobody listens.
pub(crate) async fn heard(hearing: &mut Option<Hearing>) -> News {
    match hearing {
        Some(hearing) => hearing.next().await,
        None => std::future::pending().await,
    }
}

impl View {
    /// What was learned of a server at first sight is no change.
    fn differs(&self, before: &View) -> Lists {
        let others = self.others != before.others;
        let tools = match before.tools {
            Some(_) => self.tools != before.tools,
            None => others,
        };
        Lists { tools, prompts: others, resources: others }
    }
}

#[cfg(test)]
mod tests {
    use ledger::Hash;
    use mcp::page::Lists;

    use super::View;

    fn view(tools: Option<&str>, others: &str) -> View {
        let hash = |text: &str| Hash::of(text.as_bytes());
        View { tools: tools.map(hash), others: hash(others) }
    }

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let all = Lists { tools: true, prompts: true, resources: true };
        let but_tools = Lists { tools: false, ..all };
        let before = view(Some("a"), "x");
        for (now, expected) in [
            (view(Some("a"), "x"), Lists::default()),
            (view(Some("b"), "x"), Lists { tools: true, ..Lists::default() }),
            (view(Some("a"), "y"), but_tools),
            (view(Some("b"), "y"), all),
        ] {
            assert_eq!(now.differs(&before), expected, "{now:?}");
        }
        let unknown = view(None, "x");
        assert_eq!(before.differs(&unknown), Lists::default(), "first sight is no change");
        assert_eq!(view(None, "y").differs(&unknown), all, "it cannot be told of the tools");
    }
}
