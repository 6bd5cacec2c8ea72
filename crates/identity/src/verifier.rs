//! Credentials in, caller out: [`Verifier::identify`] is this crate in one function.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ledger::{Hash, RunId};
use store::state::State;
use tokio::sync::watch;

use crate::cache::Cache;
use crate::caller::{Caller, Principal, PrincipalKind, RunName};
use crate::claims::{self, Read, Times};
use crate::credentials::{Credentials, Scheme};
use crate::dpop::{Presented, Proofs};
use crate::fetch::Fetcher;
use crate::jose::{Embedded, Jws, TOKEN_BYTES};
use crate::keys;
use crate::mint::Mint;
use crate::provider::Provider;
use crate::refused::{Reason, Refused};
use crate::settings::{Issuer, Settings};
use crate::standing::Standing;

/// Seconds that clocks of gateways that share a run key may differ.
const OWN_SKEW: u64 = 5;

/// Seconds between writes of a key's last use.
const BETWEEN_USES: u64 = 60;

/// Says who calls.
#[derive(Debug)]
pub struct Verifier {
    mint: Arc<Mint>,
    providers: HashMap<String, Arc<Provider>>,
    fetcher: Arc<Fetcher>,
    standing: Standing,
    verified: Cache<Verified>,
    proofs: Proofs,
    /// When a key's last use was last written. Locked for one look-up.
    uses: Mutex<HashMap<String, u64>>,
}

/// Why there can be no verifier.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The public URL is none that may be.
    #[error("`{0}` cannot be an issuer: write scheme and host alone, https unless it is the loopback")]
    PublicUrl(String),
    /// Two issuers of one URL, or one that is our own.
    #[error("the issuer `{0}` is configured twice, or is Tollbook's own")]
    Twice(String),
    /// An issuer cannot be one as it is configured.
    #[error("the issuer `{url}` cannot be used: {why}")]
    Issuer {
        /// Its URL.
        url: String,
        /// What is wrong.
        why: String,
    },
}

/// A token whose signature held; whether it counts here and now is another question.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) read: Read,
    pub(crate) source: Source,
    fingerprint: Hash,
}

/// Who made a token.
#[derive(Debug)]
pub(crate) enum Source {
    /// A configured issuer, with keys of that generation.
    Issuer(Arc<Provider>, u64),
    /// We, for a run.
    Own(RunId),
}

impl Verifier {
    /// A verifier for these settings. `mint` must be of the same public URL.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(settings: &Settings, state: Arc<State>, mint: Arc<Mint>) -> Result<Verifier, SetupError> {
        let own = || SetupError::PublicUrl(settings.public_url.clone());
        let place = crate::fetch::Place::parse(&settings.public_url).map_err(|_| own())?;
        if !place.is_origin() || settings.public_url.ends_with('/') || **mint.issuer() != *settings.public_url
        {
            return Err(own());
        }
        let fetcher = Arc::new(Fetcher::new(settings.fetch_wait));
        let mut providers = HashMap::new();
        for issuer in &settings.issuers {
            let provider = provider(issuer, &fetcher)?;
            let twice = issuer.url == settings.public_url;
            if twice || providers.insert(issuer.url.clone(), Arc::new(provider)).is_some() {
                return Err(SetupError::Twice(issuer.url.clone()));
            }
        }
        Ok(Verifier {
            mint,
            providers,
            fetcher,
            standing: Standing::new(state),
            verified: Cache::default(),
            proofs: Proofs::new(settings.proof_age.as_secs()),
            uses: Mutex::default(),
        })
    }

    /// The same in a process that began then, in seconds since the Unix epoch: no proof counts that another one may have seen.
    #[must_use]
    pub fn begun(mut self, now: u64) -> Verifier {
        self.proofs.started = now;
        self
    }

    /// Says who presents these credentials at the endpoint `resource`, its full URL.
    ///
    /// What is revoked, narrowed or expired by now does not count, whichever process said so: the state is looked at each
    /// time. `now` is in seconds since the Unix epoch. Waits for the network only where an issuer's keys are missing.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn identify(
        &self,
        credentials: &Credentials<'_>,
        resource: &str,
        now: u64,
    ) -> Result<Caller, Refused> {
        let (scheme, token) = credentials.token()?;
        self.standing.refresh(now)?;
        if keys::is_key(token) {
            return if scheme == Scheme::Bearer {
                self.key(token, now)
            } else {
                Err(Reason::NotBound.into())
            };
        }
        let verified = self.verified(token, now).await?;
        verified.for_endpoint(resource, self.mint.issuer()).map_err(|reason| verified.refused(reason))?;
        let caller = self.caller(&verified, now)?;
        self.bound(&verified, credentials, (scheme, token), now)
            .map_err(|reason| verified.refused(reason))?;
        Ok(caller)
    }

    /// The caller as it stands now, for what has been open since it was identified: refused if its run or key has ended
    /// meanwhile. That an access token has expired is no reason: it held when this was opened.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn again(&self, caller: &Caller, now: u64) -> Result<Caller, Refused> {
        self.standing.refresh(now)?;
        let mut caller = caller.clone();
        if let RunName::Minted(run) = caller.run {
            let refused = |reason| Refused { reason, issuer: None, run: Some(run) };
            caller.scope = self.standing.run(run, now).map_err(refused)?.scope;
        } else if let Some(id) = &caller.key {
            let key = self.standing.key(id).ok_or(Reason::KeyNotKnown)?;
            keys::holds(&key, caller.fingerprint, now)?;
        }
        Ok(caller)
    }

    /// What names the run together with all that it minted; `None`: nothing in the credential names one.
    pub fn family(&self, caller: &Caller) -> Option<String> {
        match caller.run {
            RunName::Minted(run) => Some(self.standing.first(run).to_string()),
            RunName::Login(digest) | RunName::Token(digest) => Some(digest.to_string()),
            RunName::Unnamed => None,
        }
    }

    /// Counts the changes of keys and runs: whoever holds something open waits for the next one and asks
    /// [`Verifier::again`]. It counts while [`Verifier::keep`] runs.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.standing.watch()
    }

    /// Renews issuers' keys before a call needs them, and looks five times a second for what other processes have
    /// changed. Runs until it is dropped; `clock` gives seconds since the Unix epoch.
    pub async fn keep(&self, clock: impl Fn() -> u64) {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(200));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for tick in 0_u64.. {
            ticks.tick().await;
            let now = clock();
            // It is logged, and each call that follows is refused.
            let _ = self.standing.refresh(now);
            if tick.is_multiple_of(25) {
                self.standing.forget(now);
                self.tend(now).await;
            }
        }
    }

    /// Renews the keys of issuers whose keys are old.
    pub async fn tend(&self, now: u64) {
        for provider in self.providers.values() {
            provider.tend(now).await;
        }
    }

    /// The key set of run tokens, as JSON.
    pub fn run_keys(&self) -> String {
        self.mint.key().set().to_string()
    }

    pub(crate) fn provider(&self, issuer: &str) -> Option<&Arc<Provider>> {
        self.providers.get(issuer)
    }

    pub(crate) fn fetcher(&self) -> &Arc<Fetcher> {
        &self.fetcher
    }

    pub(crate) fn mint(&self) -> &Arc<Mint> {
        &self.mint
    }

    pub(crate) fn refresh(&self, now: u64) -> Result<(), Reason> {
        self.standing.refresh(now)
    }

    /// The caller that a service key names.
    pub(crate) fn key(&self, text: &str, now: u64) -> Result<Caller, Refused> {
        let fingerprint = Hash::of(text.as_bytes());
        let key = self.standing.key(keys::id_of(text)?).ok_or(Reason::KeyNotKnown)?;
        keys::holds(&key, fingerprint, now)?;
        self.note_use(&key.id, now);
        Ok(Caller {
            principal: Principal {
                kind: PrincipalKind::Service,
                id: key.name.clone(),
                issuer: self.mint.issuer().to_string(),
            },
            groups: key.groups.clone(),
            run: RunName::Unnamed,
            scope: crate::Scope::Unlimited,
            purpose: None,
            actors: Vec::new(),
            client: None,
            login: None,
            key: Some(key.id.clone()),
            expires: key.expires,
            run_ends: None,
            fingerprint,
        })
    }

    /// A token whose signature holds, from memory if it was seen before.
    pub(crate) async fn verified(&self, token: &str, now: u64) -> Result<Arc<Verified>, Refused> {
        if token.len() > TOKEN_BYTES {
            return Err(Reason::Oversized.into());
        }
        let fingerprint = Hash::of(token.as_bytes());
        if let Some(known) = self.verified.find(&fingerprint).filter(|known| known.is_current(now)) {
            known.read.times.check(now).map_err(|reason| known.refused(reason))?;
            return Ok(known);
        }
        let jws = Jws::parse(token, Embedded::Refused)?;
        let issuer = claims::text(&jws.claims, "iss").ok().flatten().ok_or(Reason::Issuer)?;
        let (read, source) = if issuer == &**self.mint.issuer() {
            self.own(&jws, now).map_err(|reason| Refused::from(reason).of(self.mint.issuer()))?
        } else {
            let provider = self.providers.get(issuer).ok_or(Reason::Issuer)?;
            let read = foreign(provider, &jws, now).await;
            read.map_err(|reason| Refused::from(reason).of(&provider.name))?
        };
        let verified = Arc::new(Verified { read, source, fingerprint });
        self.verified.keep(fingerprint, Arc::clone(&verified));
        Ok(verified)
    }

    /// The caller that a verified token names, if it holds now.
    pub(crate) fn caller(&self, verified: &Verified, now: u64) -> Result<Caller, Refused> {
        let read = &verified.read;
        let mut caller = Caller {
            principal: read.principal.clone(),
            groups: read.groups.clone(),
            run: read.run.clone(),
            scope: read.scope.clone(),
            purpose: None,
            actors: read.actors.clone(),
            client: read.client.clone(),
            login: None,
            key: None,
            expires: read.times.until,
            run_ends: None,
            fingerprint: verified.fingerprint,
        };
        if let Source::Own(run) = verified.source {
            let effective = self.standing.run(run, now).map_err(|reason| verified.refused(reason))?;
            let run = effective.run;
            caller.principal =
                Principal { kind: run.kind, id: run.row.principal.clone(), issuer: run.row.issuer.clone() };
            caller.groups.clone_from(&run.row.groups);
            caller.purpose.clone_from(&run.row.purpose);
            caller.actors.clone_from(&run.actors);
            caller.login.clone_from(&run.row.login);
            caller.scope = effective.scope;
            caller.expires = run.row.expires.min(read.times.until);
            caller.run_ends = Some(run.row.expires);
        }
        Ok(caller)
    }

    /// Checks that a bound token came with a proof of its key, and one that is not came as a bearer token.
    fn bound(
        &self,
        verified: &Verified,
        credentials: &Credentials<'_>,
        (scheme, token): (Scheme, &str),
        now: u64,
    ) -> Result<(), Reason> {
        let Some(bound) = &verified.read.bound else {
            return if scheme == Scheme::Dpop { Err(Reason::NotBound) } else { Ok(()) };
        };
        let proof = credentials.proof().filter(|_| scheme == Scheme::Dpop).ok_or(Reason::ProofMissing)?;
        let presented = Presented { proof, method: credentials.method(), url: credentials.url() };
        let thumbprint = self.proofs.check(presented, Some(token), now)?;
        if thumbprint == *bound { Ok(()) } else { Err(Reason::OtherKey) }
    }

    /// The thumbprint of a proof that came with a request to the token endpoint.
    pub(crate) fn proved(&self, presented: Presented<'_>, now: u64) -> Result<String, Reason> {
        self.proofs.check(presented, None, now)
    }

    /// Reads a run token.
    fn own(&self, jws: &Jws<'_>, now: u64) -> Result<(Read, Source), Reason> {
        let key = self.mint.key();
        if jws.kind.as_deref() != Some("at+jwt") {
            return Err(Reason::Type);
        }
        if jws.key_id.as_deref() != Some(key.id()) {
            return Err(Reason::KeyUnknown);
        }
        if !key.public().fits(jws.algorithm) {
            return Err(Reason::KeyUnfit);
        }
        if !jws.signed_by(key.public()) {
            return Err(Reason::Signature);
        }
        let text = |name| claims::text(&jws.claims, name)?.ok_or(Reason::Claim(name));
        let run: RunId = text("run")?.parse().map_err(|_| Reason::Claim("run"))?;
        let issuer = self.mint.issuer().to_string();
        let principal = Principal { kind: PrincipalKind::User, id: text("sub")?.to_owned(), issuer };
        let read = Read {
            // Principal, groups and scope are the row's: they are read with each use.
            principal,
            groups: Vec::new(),
            run: RunName::Minted(run),
            scope: crate::Scope::Words(std::collections::BTreeSet::new()),
            actors: Vec::new(),
            client: Some(text("client_id")?.to_owned()),
            times: Times::read(&jws.claims, OWN_SKEW, now)?,
            audience: claims::audience(&jws.claims)?,
            bound: claims::bound(&jws.claims)?,
        };
        Ok((read, Source::Own(run)))
    }

    /// Writes a key's last use, once a minute and off the async threads.
    fn note_use(&self, id: &str, now: u64) {
        {
            let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            if uses.get(id).is_some_and(|last| now < last + BETWEEN_USES) {
                return;
            }
            uses.insert(id.to_owned(), now);
        }
        let (state, id) = (Arc::clone(self.standing.state()), id.to_owned());
        // Ends with its one write; nobody waits for it.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = state.key_used(&id, now) {
                tracing::warn!(key = id, %error, "the last use of a key was not written");
            }
        });
    }
}

impl Verified {
    /// Whether its signature need not be checked again.
    fn is_current(&self, now: u64) -> bool {
        match &self.source {
            Source::Issuer(provider, generation) => provider.vouches(*generation, now),
            Source::Own(_) => true,
        }
    }

    /// Whether the token is for an endpoint: for its URL, or for all endpoints.
    pub(crate) fn for_endpoint(&self, resource: &str, own: &str) -> Result<(), Reason> {
        let general: &[String] = match &self.source {
            Source::Issuer(provider, _) => &provider.settings.audiences,
            Source::Own(_) => &[],
        };
        let is_own = matches!(self.source, Source::Own(_));
        let counts = |one: &String| one == resource || general.contains(one) || (is_own && one == own);
        if self.read.audience.iter().any(counts) { Ok(()) } else { Err(Reason::Audience) }
    }

    /// The endpoints that it is for, as an audience of runs; `None`: none at all.
    pub(crate) fn endpoints(&self, own: &str) -> Option<Vec<String>> {
        if self.for_endpoint(own, own).is_ok() {
            return Some(vec![own.to_owned()]);
        }
        let ours = |one: &&String| one.strip_prefix(own).is_some_and(|path| path.starts_with('/'));
        let endpoints: Vec<String> = self.read.audience.iter().filter(ours).cloned().collect();
        (!endpoints.is_empty()).then_some(endpoints)
    }

    pub(crate) fn refused(&self, reason: Reason) -> Refused {
        match &self.source {
            Source::Issuer(provider, _) => Refused::from(reason).of(&provider.name),
            Source::Own(run) => Refused { reason, issuer: None, run: Some(*run) },
        }
    }
}

async fn foreign(provider: &Arc<Provider>, jws: &Jws<'_>, now: u64) -> Result<(Read, Source), Reason> {
    let generation = provider.verify(jws, now).await?;
    let read = claims::read(&jws.claims, jws.kind.as_deref(), &provider.settings, now)?;
    Ok((read, Source::Issuer(Arc::clone(provider), generation)))
}

fn provider(issuer: &Issuer, fetcher: &Arc<Fetcher>) -> Result<Provider, SetupError> {
    let failed = |why: String| SetupError::Issuer { url: issuer.url.clone(), why };
    if issuer.algorithms.is_empty() || issuer.types.is_empty() {
        return Err(failed("`algorithms` and `types` must not be empty".to_owned()));
    }
    if issuer.audiences.iter().any(|audience| audience.trim().is_empty()) {
        return Err(failed("an audience is empty".to_owned()));
    }
    Provider::new(issuer.clone(), Arc::clone(fetcher)).map_err(|error| failed(error.to_string()))
}
