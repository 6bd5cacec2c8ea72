//! Runs with a credential of their own: minted, narrowed, revoked.
//!
//! A run token (RFC 9068, `act` as in RFC 8693) is signed with the data folder's run key. What holds is in the state; the
//! token says which run it is for and to whom it may be shown. A child is never wider than the runs above it, whatever
//! happens to them after it was minted: each use looks at all of them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ledger::RunId;
use serde_json::{Value, json};
use store::state::{MintedRun, RunAdded, State, StateError};

use crate::caller::{Actor, Principal};
use crate::random::{self, NoRandomness};
use crate::refused::Reason;
use crate::run_key::RunKey;
use crate::scope::Scope;
use crate::secret::Secret;
use crate::settings::{Binding, RunLimits};
use crate::standing::{DEPTH, Run};

/// Longest purpose, in bytes.
const PURPOSE_BYTES: usize = 1000;
/// Most endpoints that a run is for.
const ENDPOINTS: usize = 64;
/// Longest URL of one, in bytes.
const ENDPOINT_BYTES: usize = 512;

/// Mints, narrows and revokes runs. Everything here blocks on the disk.
#[derive(Debug)]
pub struct Mint {
    state: Arc<State>,
    key: RunKey,
    /// Our issuer identifier, which as an audience stands for all endpoints.
    issuer: Arc<str>,
    limits: RunLimits,
}

/// A run to be minted.
#[derive(Debug, Clone)]
pub struct RunOrder {
    /// For whom, or under which run.
    pub under: Under,
    /// Who will act for the principal, the nearest first.
    pub actors: Vec<Actor>,
    /// The task in words.
    pub purpose: Option<String>,
    /// What it is narrowed to.
    pub scope: Scope,
    /// URLs of the endpoints that it is for; none: all that it can be for.
    pub audience: Vec<String>,
    /// How long it is to live; `None`: as long as is usual. It never outlives the runs above it.
    pub lifetime: Option<Duration>,
    /// Thumbprint of the key that it is bound to.
    pub bound: Option<String>,
    /// Who has it minted, for the listing.
    pub minted_by: String,
    /// The service key that mints it, by the part that may be shown: the run ends when that is revoked.
    pub key: Option<String>,
    /// What the provider said of the login that it is, as a JSON object: for the record.
    pub login: Option<String>,
}

/// What a run stands under.
#[derive(Debug, Clone)]
pub enum Under {
    /// A principal, with its groups of now.
    Principal(Principal, Vec<String>),
    /// A run, whose principal and groups it has.
    Run(RunId),
}

/// A run that was minted.
#[derive(Debug, Clone)]
pub struct Minted {
    /// Its row.
    pub run: MintedRun,
    /// Its token; it is nowhere else.
    pub token: Secret,
}

/// Why a run was not minted or narrowed.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The run above has ended.
    #[error("the run above cannot have children: {0}")]
    Parent(Reason),
    /// Eight runs stand above each other already.
    #[error("eight runs stand above each other already")]
    Depth,
    /// The scope is wider than what stands above.
    #[error("the scope is wider than that of what it is minted under, or than it was")]
    Wider,
    /// An audience that what stands above does not have.
    #[error("the run is to be for an endpoint that what it is minted under is not for")]
    Audience,
    /// More endpoints than a run may have, or too long ones.
    #[error("a run is for 64 endpoints at most, of 512 bytes each")]
    Endpoints,
    /// The key that mints it was revoked.
    #[error("the service key is revoked")]
    Key,
    /// There is no room for one more.
    #[error(
        "1,000 runs live under the same one, or 10,000 of the same principal; let some end, or revoke them"
    )]
    Crowded,
    /// The purpose is too long or holds control characters.
    #[error("a purpose has at most 1000 bytes and no control characters")]
    Purpose,
    /// No lifetime at all.
    #[error("a run lives for a second at least")]
    Lifetime,
    /// Runs must be bound and this one is not.
    #[error("runs must be bound to a key here; present a DPoP proof")]
    Binding,
    /// The run is not there, is revoked, or was changed at the same time.
    #[error("the run is not there, is revoked, or was just changed; look at it and try again")]
    Changed,
    /// The state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The system failed.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// What a new run may have at most.
struct Bounds {
    principal: Principal,
    groups: Vec<String>,
    scope: Scope,
    audience: Vec<String>,
    until: u64,
    parent: Option<RunId>,
    bound: Option<String>,
}

impl Mint {
    /// Made by `cli` for commands, and by the verifier's owner for the gateway.
    pub fn new(state: Arc<State>, key: RunKey, public_url: &str, limits: RunLimits) -> Mint {
        Mint { state, key, issuer: public_url.into(), limits }
    }

    pub(crate) fn key(&self) -> &RunKey {
        &self.key
    }

    pub(crate) fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// Mints a run: its row is durable on return.
    ///
    /// # Errors
    /// See [`MintError`].
    pub fn mint(&self, order: RunOrder, now: u64) -> Result<Minted, MintError> {
        check_purpose(order.purpose.as_deref())?;
        if order.audience.len() > ENDPOINTS || order.audience.iter().any(|one| one.len() > ENDPOINT_BYTES) {
            return Err(MintError::Endpoints);
        }
        let bounds = self.bounds(&order.under, now)?;
        if !bounds.scope.includes(&order.scope) {
            return Err(MintError::Wider);
        }
        let audience = if order.audience.is_empty() { bounds.audience.clone() } else { order.audience };
        if !audience.iter().all(|one| self.is_for(&bounds.audience, one)) {
            return Err(MintError::Audience);
        }
        // A child of a bound run is bound: to the same key, unless it is given another.
        let bound = order.bound.or(bounds.bound);
        if self.limits.binding == Binding::Required && bound.is_none() {
            return Err(MintError::Binding);
        }
        let lifetime = order.lifetime.unwrap_or(self.limits.lifetime).min(self.limits.longest).as_secs();
        if lifetime == 0 {
            return Err(MintError::Lifetime);
        }
        let run = MintedRun {
            id: RunId::new(random::bytes()?),
            kind: bounds.principal.kind.as_str().to_owned(),
            principal: bounds.principal.id,
            issuer: bounds.principal.issuer,
            groups: bounds.groups,
            actors: json!(order.actors).to_string(),
            purpose: order.purpose,
            scope: order.scope.text(),
            audience,
            parent: bounds.parent,
            bound,
            created: now,
            expires: now.saturating_add(lifetime).min(bounds.until),
            minted_by: order.minted_by,
            revoked: None,
            revoked_by: None,
            login: order.login,
            key: order.key,
        };
        let token = self.token(&run, &order.actors, now..run.expires)?;
        match self.state.add_run(&run)? {
            RunAdded::Done => Ok(Minted { run, token }),
            RunAdded::KeyRevoked => Err(MintError::Key),
            RunAdded::Crowded => Err(MintError::Crowded),
        }
    }

    /// Another token for a run that holds, which ends before the run does.
    pub(crate) fn renew(&self, run: RunId, until: u64, now: u64) -> Result<Minted, MintError> {
        let run = self.state.minted_run(run)?.and_then(Run::read).ok_or(MintError::Changed)?;
        run.check(now).map_err(MintError::Parent)?;
        let token = self.token(&run.row, &run.actors, now..until.min(run.row.expires))?;
        Ok(Minted { run: run.row, token })
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Narrows a run, and with it all runs below; it acts from the next call on.
    ///
    /// # Errors
    /// See [`MintError`].
    pub fn narrow(&self, run: RunId, scope: &Scope) -> Result<(), MintError> {
        let row = self.state.minted_run(run)?.ok_or(MintError::Changed)?;
        let before = row.scope.clone();
        let known = Run::read(row).ok_or(MintError::Changed)?;
        let text = scope.text().filter(|_| known.scope().includes(scope)).ok_or(MintError::Wider)?;
        let done = self.state.rescope_run(run, before.as_deref(), &text)?;
        if done { Ok(()) } else { Err(MintError::Changed) }
    }

    /// Revokes a run, and with it all runs below; it acts from the next call on. `false`: it was not there or revoked
    /// before.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn revoke(&self, run: RunId, by: &str, now: u64) -> Result<bool, StateError> {
        self.state.revoke_run(run, by, now)
    }

    fn bounds(&self, under: &Under, now: u64) -> Result<Bounds, MintError> {
        let parent = match under {
            Under::Principal(principal, groups) => {
                return Ok(Bounds {
                    principal: principal.clone(),
                    groups: groups.clone(),
                    scope: Scope::Unlimited,
                    audience: vec![self.issuer.to_string()],
                    until: u64::MAX,
                    parent: None,
                    bound: None,
                });
            }
            Under::Run(parent) => *parent,
        };
        let chain = self.chain(parent, now)?;
        let nearest = chain.first().ok_or(MintError::Parent(Reason::RunUnknown))?;
        let principal = Principal {
            kind: nearest.kind,
            id: nearest.row.principal.clone(),
            issuer: nearest.row.issuer.clone(),
        };
        Ok(Bounds {
            principal,
            groups: nearest.row.groups.clone(),
            scope: chain.iter().fold(Scope::Unlimited, |scope, run| scope.within(run.scope())),
            audience: nearest.row.audience.clone(),
            until: chain.iter().map(|run| run.row.expires).min().unwrap_or(now),
            parent: Some(parent),
            bound: nearest.row.bound.clone(),
        })
    }

    /// A run and all above it, from the state itself, all of which hold.
    fn chain(&self, run: RunId, now: u64) -> Result<Vec<Run>, MintError> {
        let mut chain = Vec::new();
        let mut next = Some(run);
        while let Some(id) = next {
            // The new run is one more.
            if chain.len() + 1 >= DEPTH {
                return Err(MintError::Depth);
            }
            let row = self.state.minted_run(id)?.and_then(Run::read);
            let run = row.ok_or(MintError::Parent(Reason::RunUnknown))?;
            run.check(now).map_err(MintError::Parent)?;
            next = run.row.parent;
            chain.push(run);
        }
        Ok(chain)
    }

    /// Whether what is for `audience` is for an endpoint.
    fn is_for(&self, audience: &[String], endpoint: &str) -> bool {
        let within = endpoint == &*self.issuer
            || endpoint.strip_prefix(&*self.issuer).is_some_and(|path| path.starts_with('/'));
        within && audience.iter().any(|one| one == endpoint || **one == *self.issuer)
    }

    fn token(&self, run: &MintedRun, actors: &[Actor], holds: Range<u64>) -> Result<Secret, MintError> {
        let id: [u8; 16] = random::bytes()?;
        let mut claims = json!({
            "iss": &*self.issuer,
            "aud": run.audience,
            "sub": run.principal,
            "client_id": actors.first().map_or(run.principal.as_str(), |actor| actor.sub.as_str()),
            "run": run.id.to_string(),
            "jti": crate::jose::encode(id),
            "iat": holds.start,
            "exp": holds.end,
        });
        if let Some(claims) = claims.as_object_mut() {
            let more = [
                ("act", act(actors)),
                ("scope", run.scope.clone().map(Value::from)),
                ("cnf", run.bound.as_ref().map(|bound| json!({ "jkt": bound }))),
            ];
            claims.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        Ok(Secret::new(self.key.sign(&claims)))
    }
}

/// The `act` claim: the nearest actor outermost.
pub(crate) fn act(actors: &[Actor]) -> Option<Value> {
    actors.iter().rev().fold(None, |within, actor| {
        let mut claim = json!({ "sub": actor.sub, "iss": actor.iss });
        if let (Some(within), Some(claim)) = (within, claim.as_object_mut()) {
            claim.insert("act".to_owned(), within);
        }
        Some(claim)
    })
}

fn check_purpose(purpose: Option<&str>) -> Result<(), MintError> {
    let sound = |text: &str| text.len() <= PURPOSE_BYTES && !text.chars().any(char::is_control);
    if purpose.is_none_or(sound) { Ok(()) } else { Err(MintError::Purpose) }
}
