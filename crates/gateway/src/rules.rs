//! What calls are judged by: policies, and the tools that were accepted. Immutable while a call is judged; who changes either
//! (another configuration, an operator who accepts a tool, a server that offers another one) makes the next.
//!
//! Invariant: a change that [`store::state`] has is in force at the next message. What cannot be put in force leaves what
//! was there, never nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use ledger::Hash;
use mcp::page::Page;
use policy::pin::Names;
use policy::{Bundle, Catalog, Diagnostics, Listed, Server, Source, Tool};
use store::state::{Definition, Mark, Newcomer, Paging, Pin, State, StateError};

use crate::clock;
use crate::peer::Peer;
use crate::scope::Scope;
use crate::settings::ServerSettings;

/// What the gateway is told to judge by.
#[derive(Debug, Clone)]
pub struct RuleSettings {
    /// Where pins are kept.
    pub state: Arc<State>,
    /// The policies; `None`: every call is allowed that pins let through.
    pub policies: Option<Vec<Source>>,
    /// What becomes of tools that are not as they were accepted.
    pub pinning: Pinning,
}

/// What becomes of a tool whose definition is not the accepted one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pinning {
    /// It is recorded.
    #[default]
    Flag,
    /// It is recorded, and nobody sees or calls it until an operator accepts it.
    Quarantine,
}

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The policies have mistakes.
    #[error("the policies cannot be used\n{0}")]
    Policies(Diagnostics),
    /// Servers cannot be told apart.
    #[error(transparent)]
    Catalog(#[from] policy::CatalogError),
    /// A policy asks for a mask that nobody has defined: what it hides would be shown.
    #[error("{place}: `@mask(\"{set}\")` names a set that is not defined")]
    Mask {
        /// The set.
        set: String,
        /// The policy, as `file:line`.
        place: String,
    },
    /// What is pinned cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A thread of the runtime failed.
    #[error("the rules could not be read")]
    Thread,
}

/// The rules, as they change.
#[derive(Debug)]
pub(crate) struct Rules {
    settings: RuleSettings,
    /// Servers of the configuration; those of `wrap` are known by their pins.
    servers: BTreeSet<String>,
    /// Locked for a copy or a swap of the pointer.
    present: RwLock<Arc<InForce>>,
    /// Held while the next rules are made: one at a time.
    renewing: tokio::sync::Mutex<()>,
}

/// The rules that a call is judged by.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) bundle: Option<Arc<Bundle>>,
    pinning: Pinning,
    pins: Arc<HashMap<String, HashMap<String, Known>>>,
    mark: Mark,
}

/// Digests of a tool's definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    accepted: Option<Hash>,
    waiting: Option<Hash>,
}

/// How a tool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As it was accepted.
    Accepted,
    /// Its server has not been asked for its tools yet, or has no such tool.
    Unknown,
    /// It waits for somebody to accept it.
    Waiting,
}

impl Rules {
    /// Reads what is pinned and compiles the policies against it; `None` where nothing is to be judged. Blocks on the
    /// disk.
    pub(crate) fn of(
        settings: Option<RuleSettings>,
        servers: &BTreeMap<String, ServerSettings>,
    ) -> Result<Option<Arc<Rules>>, RulesError> {
        let Some(settings) = settings else { return Ok(None) };
        let servers = servers.keys().cloned().collect();
        let present = InForce::read(&settings, &servers)?;
        let present = RwLock::new(Arc::new(present));
        Ok(Some(Arc::new(Rules { settings, servers, present, renewing: tokio::sync::Mutex::default() })))
    }

    /// Where pins are kept.
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.settings.state
    }

    /// The rules as they are now. Costs a microsecond unless something has changed.
    pub(crate) async fn present(&self) -> Result<Arc<InForce>, RulesError> {
        let present = self.loaded();
        if self.settings.state.changes(present.mark)?.is_none() {
            return Ok(present);
        }
        self.renew().await
    }

    /// Enters the tools of a server's answer to a list that was to go on at `cursor`. Gives those that are new or different, as they
    /// are kept now. `digests`: those of the page's tools, one for each; what has none cannot be pinned.
    pub(crate) async fn see(
        &self,
        server: &str,
        (page, cursor): (&Page<'_>, Option<Hash>),
        digests: &[Option<Hash>],
    ) -> Result<Vec<Pin>, RulesError> {
        let present = self.loaded();
        let tools = page.named().zip(digests).filter_map(|((name, json), digest)| {
            let digest = (*digest)?;
            (!present.is_as_seen(server, name, digest))
                .then(|| (name.to_owned(), Definition { json: json.to_owned(), digest }))
        });
        let tools: Vec<_> = tools.collect();
        let (state, now) = (Arc::clone(&self.settings.state), clock::unix_seconds());
        let newcomer = match self.settings.pinning {
            Pinning::Flag => Newcomer::Pinned,
            Pinning::Quarantine => Newcomer::Waiting,
        };
        let matters =
            !tools.is_empty() || (newcomer == Newcomer::Waiting && state.is_first_list_open(server, now)?);
        if !matters {
            return Ok(Vec::new());
        }
        let paging = Paging { cursor, next: page.next_cursor().map(|next| Hash::of(next.as_bytes())) };
        let server = server.to_owned();
        let see = move || state.see_tools((&server, paging), &tools, newcomer, now);
        let changed = tokio::task::spawn_blocking(see).await.map_err(|_| RulesError::Thread)??;
        self.renew().await?;
        Ok(changed)
    }

    /// Makes the next rules.
    async fn renew(&self) -> Result<Arc<InForce>, RulesError> {
        let _alone = self.renewing.lock().await;
        let present = self.loaded();
        let Some(changes) = self.settings.state.changes(present.mark)? else { return Ok(present) };
        let unchanged = InForce { mark: changes.mark, ..InForce::clone(&present) };
        if changes.pins.is_empty() {
            return Ok(self.replace(unchanged));
        }
        let (settings, servers) = (self.settings.clone(), self.servers.clone());
        let read = move || InForce::after(&present, &settings, &servers);
        let next = tokio::task::spawn_blocking(read).await.map_err(|_| RulesError::Thread)??;
        Ok(self.replace(next))
    }

    fn loaded(&self) -> Arc<InForce> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, next: InForce) -> Arc<InForce> {
        let next = Arc::new(next);
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        next
    }
}

impl InForce {
    fn read(settings: &RuleSettings, servers: &BTreeSet<String>) -> Result<InForce, RulesError> {
        let (mark, pins) = pinned(settings)?;
        let bundle = match &settings.policies {
            Some(policies) => Some(Arc::new(compile(policies, servers, &pins)?)),
            None => None,
        };
        Ok(InForce { bundle, pinning: settings.pinning, pins: Arc::new(known(pins)), mark })
    }

    /// The rules after a change. Where the policies do not fit what was accepted, they stay as they were compiled, and with
    /// them what they were compiled for: a tool that was accepted since waits until they fit.
    fn after(
        before: &InForce,
        settings: &RuleSettings,
        servers: &BTreeSet<String>,
    ) -> Result<InForce, RulesError> {
        let mistakes = match InForce::read(settings, servers) {
            Err(RulesError::Policies(mistakes)) => mistakes,
            other => return other,
        };
        tracing::error!(%mistakes, "the policies do not fit the tools any more; they stay as they were");
        let (mark, pins) = pinned(settings)?;
        let mut pins = known(pins);
        for (server, tools) in &mut pins {
            for (tool, now) in tools {
                let accepted = before.known(server, tool).and_then(|known| known.accepted);
                if accepted != now.accepted {
                    *now = Known { accepted, waiting: now.waiting.or(now.accepted) };
                }
            }
        }
        Ok(InForce { pins: Arc::new(pins), mark, ..InForce::clone(before) })
    }

    /// How a tool stands that is to be called.
    pub(crate) fn standing(&self, server: &str, tool: &str) -> Standing {
        match self.known(server, tool) {
            Some(Known { waiting: Some(_), .. }) => Standing::Waiting,
            Some(Known { accepted: Some(_), .. }) => Standing::Accepted,
            _ => Standing::Unknown,
        }
    }

    /// Whether anything is known of a server's tools.
    pub(crate) fn has_pins(&self, server: &str) -> bool {
        self.pins.contains_key(server)
    }

    /// Whether this definition of a tool is the accepted one, and no other waits.
    pub(crate) fn is_accepted(&self, server: &str, tool: &str, digest: Option<Hash>) -> bool {
        let is = |known: Known| known.waiting.is_none() && digest.is_some() && known.accepted == digest;
        self.known(server, tool).is_some_and(is)
    }

    /// The names of all tools that are known, accepted or not.
    pub(crate) fn names(&self) -> Names {
        let tools = |(server, tools): (&'_ String, &'_ HashMap<String, Known>)| -> Vec<(String, String)> {
            tools.keys().map(|tool| (server.clone(), tool.clone())).collect()
        };
        let all: Vec<(String, String)> = self.pins.iter().flat_map(tools).collect();
        Names::of(all.iter().map(|(server, tool)| (server.as_str(), tool.as_str())))
    }

    /// Whether other rules have the same policies and the same pins.
    pub(crate) fn says_the_same(&self, other: &InForce) -> bool {
        self.policy() == other.policy() && self.pins == other.pins
    }

    /// Digest of the tools of a server, as a list shows them to who asks; `None` if none is known.
    pub(crate) fn shown_tools(&self, scope: &Scope, peer: &Peer) -> Option<Hash> {
        let pins = self.pins.get(&*scope.server)?;
        let mut shown: Vec<(&String, Option<Hash>)> = pins
            .iter()
            .filter(|(tool, _)| self.shows(scope, peer, Listed::Tool(tool)))
            .map(|(tool, known)| (tool, known.accepted))
            .collect();
        shown.sort_unstable();
        Some(Hash::of(format!("{shown:?}").as_bytes()))
    }

    /// Digest of a tool's accepted definition.
    pub(crate) fn accepted(&self, server: &str, tool: &str) -> Option<Hash> {
        self.known(server, tool)?.accepted
    }

    /// Whether a tool that waits is kept from everybody.
    pub(crate) fn quarantines(&self) -> bool {
        self.pinning == Pinning::Quarantine
    }

    /// Digest of the policies.
    pub(crate) fn policy(&self) -> Option<Hash> {
        self.bundle.as_ref().map(|bundle| bundle.digest())
    }

    /// Whether seeing that definition once more changes nothing.
    fn is_as_seen(&self, server: &str, tool: &str, digest: Hash) -> bool {
        let seen = |known: Known| known.waiting.or(known.accepted) == Some(digest);
        self.known(server, tool).is_some_and(seen)
    }

    fn known(&self, server: &str, tool: &str) -> Option<Known> {
        self.pins.get(server)?.get(tool).copied()
    }
}

/// What is pinned, and up to which change.
fn pinned(settings: &RuleSettings) -> Result<(Mark, Vec<Pin>), RulesError> {
    // The mark first: what changes while the rest is read is seen as a change later.
    Ok((settings.state.mark()?, settings.state.pins()?))
}

fn known(pins: Vec<Pin>) -> HashMap<String, HashMap<String, Known>> {
    let mut known: HashMap<String, HashMap<String, Known>> = HashMap::new();
    for pin in pins {
        let digest = |side: &Option<Definition>| side.as_ref().map(|side| side.digest);
        let digests = Known { accepted: digest(&pin.accepted), waiting: digest(&pin.waiting) };
        known.entry(pin.server).or_default().insert(pin.tool, digests);
    }
    known
}

/// Compiles policies against what was accepted.
fn compile(policies: &[Source], servers: &BTreeSet<String>, pins: &[Pin]) -> Result<Bundle, RulesError> {
    let bundle = Bundle::compile(policies, &catalog(servers, pins)?).map_err(RulesError::Policies)?;
    if let Some((set, place)) = bundle.mask_sets().next() {
        return Err(RulesError::Mask { set: set.to_owned(), place: place.to_owned() });
    }
    Ok(bundle)
}

/// What policies may speak of: the servers of the configuration and of pins, with their accepted tools.
///
/// # Errors
/// If a server's name cannot stand in a policy.
pub fn catalog(servers: &BTreeSet<String>, pins: &[Pin]) -> Result<Catalog, policy::CatalogError> {
    let mut named: BTreeSet<&str> = servers.iter().map(String::as_str).collect();
    named.extend(pins.iter().map(|pin| pin.server.as_str()));
    let tools = |server: &str| -> Option<Vec<Tool>> {
        let of_server: Vec<&Pin> = pins.iter().filter(|pin| pin.server == server).collect();
        let accepted = of_server.iter().filter_map(|pin| Tool::of_definition(&pin.accepted.as_ref()?.json));
        (!of_server.is_empty()).then(|| accepted.collect())
    };
    Catalog::of(
        named
            .into_iter()
            .map(|name| Server { name: name.to_owned(), tools: tools(name), prompts: Vec::new() })
            .collect(),
    )
}

#[cfg(test)]
mod tests;
