//! A token for each caller, got in exchange for the caller's own or for Tollbook's word on who calls (RFC 8693).
//!
//! * Who has no access token of an issuer (a run token, a service key) is vouched for by a statement that Tollbook signs with the
//!   key of its run tokens, for the authorization server alone and for a minute.
//! * Tokens are kept by principal, client, run and scope, so that nobody gets what another, or the same one with less, was given.
//!   They are dropped when the caller no longer stands, and used no longer than its credential holds.
//! * Who is not verified gets none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use ledger::Hash;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::UpstreamError;
use super::challenge::Challenge;
use super::oauth::{Grant, OAuth, Subject};
use super::slot::Slot;
use super::token::Token;
use crate::caller::{Caller, RunName};
use crate::credentials::Credentials;
use crate::mint::act;
use crate::random;
use crate::secret::Secret;
use crate::verifier::Verifier;

/// Callers whose tokens are kept.
const MOST: usize = 4096;

/// How long a statement holds: it is used at once.
const STATEMENT_SECONDS: u64 = 60;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// On whose behalf a request goes to a server.
#[derive(Debug, Clone, Copy)]
pub struct OnBehalf<'a> {
    /// Who was verified.
    pub caller: &'a Arc<Caller>,
    /// The headers that the caller's request came with.
    pub headers: &'a HeaderMap,
}

/// Exchanges tokens for one server.
#[derive(Debug)]
pub(super) struct Exchange {
    oauth: OAuth,
    audience: Option<String>,
    verifier: Option<Arc<Verifier>>,
    /// Tells that a key or run has changed. Locked for one look.
    changes: Mutex<Option<watch::Receiver<u64>>>,
    /// Locked for one look-up, or to drop what no longer stands.
    entries: Mutex<HashMap<Hash, Entry>>,
}

#[derive(Debug)]
struct Entry {
    caller: Arc<Caller>,
    slot: Arc<Slot>,
    used: u64,
}

impl Exchange {
    pub(super) fn new(oauth: OAuth, audience: Option<String>, verifier: Option<Arc<Verifier>>) -> Exchange {
        let changes = Mutex::new(verifier.as_ref().map(|verifier| verifier.changes()));
        Exchange { oauth, audience, verifier, changes, entries: Mutex::default() }
    }

    /// A token for the caller that may be used now.
    pub(super) async fn token(
        &self,
        who: Option<OnBehalf<'_>>,
        now: u64,
    ) -> Result<Arc<Token>, UpstreamError> {
        self.forget(now);
        let who = who.ok_or(UpstreamError::NoCaller)?;
        let slot = self.slot(who.caller, now);
        if let Some(token) = slot.usable(now).filter(|token| !token.is_due(now)) {
            return Ok(token);
        }
        let grant = Grant::For(self.subject(who, now)?);
        slot.fill((None, now), Box::pin(self.oauth.fetch(&slot, grant, now))).await
    }

    /// A token for the caller instead of one that was refused.
    pub(super) async fn after(
        &self,
        who: Option<OnBehalf<'_>>,
        refused: (&Token, &Challenge),
        now: u64,
    ) -> Result<Arc<Token>, UpstreamError> {
        let who = who.ok_or(UpstreamError::NoCaller)?;
        let slot = self.slot(who.caller, now);
        let grant = Grant::For(self.subject(who, now)?);
        self.oauth.after((&slot, grant), refused, now).await
    }

    /// Drops the tokens of callers that no longer stand, if any key or run has changed.
    pub(super) fn forget(&self, now: u64) {
        let Some(verifier) = &self.verifier else { return };
        let has_changed = {
            let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
            changes.as_mut().is_some_and(|changes| {
                let has_changed = changes.has_changed().unwrap_or(true);
                changes.mark_unchanged();
                has_changed
            })
        };
        if has_changed {
            let stands = |caller: &Caller| now < caller.expires && verifier.again(caller, now).is_ok();
            self.entries().retain(|_, entry| stands(&entry.caller));
        }
    }

    fn slot(&self, caller: &Arc<Caller>, now: u64) -> Arc<Slot> {
        let key = key_of(caller);
        let mut entries = self.entries();
        if entries.len() >= MOST && !entries.contains_key(&key) {
            entries.retain(|_, entry| entry.slot.usable(now).is_some());
        }
        if entries.len() >= MOST && !entries.contains_key(&key) {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            oldest.and_then(|oldest| entries.remove(&oldest));
        }
        let entry = entries.entry(key).or_insert_with(|| Entry {
            caller: Arc::clone(caller),
            slot: Arc::default(),
            used: now,
        });
        entry.used = now;
        Arc::clone(&entry.slot)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Hash, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is given in exchange.
    fn subject(&self, who: OnBehalf<'_>, now: u64) -> Result<Subject, UpstreamError> {
        let is_own = matches!(who.caller.run, RunName::Minted(_)) || who.caller.key.is_some();
        let (audience, until) = (self.audience.clone(), who.caller.expires);
        if is_own {
            let token = self.statement(who.caller, now)?;
            return Ok(Subject { token, kind: JWT, audience, until });
        }
        let (_, token) =
            Credentials::of_request(who.headers, "", "").token().map_err(|_| UpstreamError::NoCaller)?;
        Ok(Subject { token: Secret::new(token), kind: ACCESS_TOKEN, audience, until })
    }

    /// Tollbook's word on who calls.
    fn statement(&self, caller: &Caller, now: u64) -> Result<Secret, UpstreamError> {
        let verifier = self.verifier.as_ref().ok_or(UpstreamError::NoCaller)?;
        let id =
            random::digits(32).map_err(|_| UpstreamError::Secret("the system's random source failed"))?;
        let mut claims = json!({
            "iss": &**verifier.mint().issuer(),
            "sub": caller.principal.id,
            "sub_iss": caller.principal.issuer,
            "aud": self.oauth.settings.issuer,
            "jti": id,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(STATEMENT_SECONDS).min(caller.expires),
        });
        let run = match caller.run {
            RunName::Minted(run) => Some(Value::from(run.to_string())),
            _ => None,
        };
        let more =
            [("run", run), ("act", act(&caller.actors)), ("scope", caller.scope.text().map(Value::from))];
        if let Some(claims) = claims.as_object_mut() {
            claims.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        Ok(Secret::new(verifier.mint().key().state(&claims)))
    }
}

/// What tells callers apart whose tokens must not be mixed up.
fn key_of(caller: &Caller) -> Hash {
    let parts = json!([
        caller.principal.to_string(),
        caller.client,
        caller.key,
        format!("{:?}", caller.run),
        caller.scope.text(),
        caller.groups,
        caller.actors,
    ]);
    Hash::of(parts.to_string().as_bytes())
}
