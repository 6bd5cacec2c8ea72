//! Another configuration for a gateway at work: what is there now, and how something else takes its place.
//!
//! A [`Gateway`] never changes. A reload makes the next one, which shares runs, streams and counts with it, and puts it where
//! new requests look. Requests that have begun keep the one that they began with. Servers that are not carried over
//! drain as all do at shutdown.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::listen::guard::Hosts;
use crate::meter::Meters;
use crate::rules::{Rules, RulesError};
use crate::settings::Settings;
use crate::terms::Terms;
use crate::upstream::Server;
use crate::{Gateway, StartError, prepared};

/// Why the runs of a server that is not carried over end.
const REMOVED: &str = "the server was removed from the configuration or changed";

/// The gateway that new requests get.
#[derive(Debug)]
pub(crate) struct Present {
    /// Locked for a copy or a swap of the pointer.
    gateway: RwLock<Arc<Gateway>>,
}

impl Present {
    pub(crate) fn new(gateway: Gateway) -> Present {
        Present { gateway: RwLock::new(Arc::new(gateway)) }
    }

    pub(crate) fn gateway(&self) -> Arc<Gateway> {
        Arc::clone(&self.gateway.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, next: Gateway) -> Arc<Gateway> {
        let next = Arc::new(next);
        *self.gateway.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        next
    }
}

/// Counts of a running gateway, and another configuration for it.
#[derive(Debug, Clone)]
pub struct Control {
    pub(crate) present: Arc<Present>,
}

/// A configuration that can be used from now on. What is not carried over ends when it is.
#[derive(Debug)]
pub struct Next {
    gateway: Gateway,
    terms: Terms,
    retired: Vec<Arc<Server>>,
}

impl Control {
    /// What was counted since the start.
    pub fn meters(&self) -> Arc<Meters> {
        Arc::clone(&self.present.gateway().meters)
    }

    /// Makes the next configuration without using it. Listeners stay as they are: `listen`, `socket` and `stderr_dir` are
    /// passed over.
    ///
    /// # Errors
    /// See [`StartError`]; nothing has changed.
    pub fn prepare(&self, settings: Settings) -> Result<Next, StartError> {
        let now = self.present.gateway();
        let rules = Rules::of(settings.rules, &settings.servers)?;
        let terms = Terms::new(settings.receipts, rules, &settings.servers);
        now.meters.know(settings.servers.keys().map(String::as_str));
        let mut servers = BTreeMap::new();
        for (name, wanted) in settings.servers {
            let ground = now.ground(&settings.limits);
            let server = match now.servers.get(&name) {
                Some(server) if server.is(&wanted, &settings.limits) => Arc::clone(server),
                Some(server) if server.goes_on_as(&wanted) => {
                    Arc::new(prepared(&name, wanted, &ground)?.in_place_of(server))
                }
                _ => Arc::new(prepared(&name, wanted, &ground)?),
            };
            servers.insert(name, server);
        }
        let is_retired = |(name, server): &(&String, &Arc<Server>)| {
            servers.get(*name).is_none_or(|next: &Arc<Server>| !next.shares_end_with(server))
        };
        let retired = now.servers.iter().filter(is_retired).map(|(_, server)| Arc::clone(server)).collect();
        if now.pipeline.has_no_rules()
            && let Some(rules) = &terms.rules
        {
            now.pipeline.allowance().restore(rules.state()).map_err(RulesError::State)?;
        }
        let gateway = Gateway {
            pipeline: Arc::clone(&now.pipeline),
            servers,
            runs: Arc::clone(&now.runs),
            streams: Arc::clone(&now.streams),
            declared: Arc::clone(&now.declared),
            places: now.places.clone(),
            owners: Arc::clone(&now.owners),
            callers: now.callers.clone(),
            credentials: now.credentials.clone(),
            meters: Arc::clone(&now.meters),
            stderr_dir: now.stderr_dir.clone(),
            hosts: Hosts::new(&settings.allowed_hosts),
            limits: settings.limits,
            tls: settings.tls,
        };
        Ok(Next { gateway, retired, terms })
    }

    /// Gives it to every request, and every TLS connection, from now on.
    pub fn apply(&self, next: Next) {
        let gateway = self.present.replace(next.gateway);
        gateway.runs.configure(gateway.servers.keys());
        gateway.pipeline.replace_terms(next.terms);
        for server in next.retired {
            tracing::info!(server = &*server.name, "the server drains");
            tokio::spawn(retire(Arc::clone(&gateway), server));
        }
    }
}

/// Lets the open exchanges of a server end for the drain time; what is open after that is recorded as unknown.
async fn retire(gateway: Arc<Gateway>, server: Arc<Server>) {
    let mut sessions = gateway.runs.take_of(&server.name);
    gateway.declared.forget(&server.name);
    server.retire(gateway.limits.drain).await;
    if !gateway.servers.contains_key(&*server.name) {
        // A request that had begun before the change may have begun a session after it.
        sessions.extend(gateway.runs.take_of(&server.name));
    }
    for session in sessions {
        gateway.close_run(&session.scope, REMOVED).await;
    }
    tracing::info!(server = &*server.name, "the server has drained");
}
