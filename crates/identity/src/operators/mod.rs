//! Operators: who may look and decide on the console, apart from those who call.
//!
//! * [`Operators::log_in`] takes a name and a password, [`Operators::admit`] a person whom a provider vouches for; both give
//!   a session, which [`Operators::operator`] finds again. What an operator may do is in one table (`role.rs`).
//! * [`add`], [`link`], [`set_roles`] and [`disable`] say who is an operator, for commands and console alike; they act on a
//!   state in the hands of who does it ([`State::acting`]).
//!
//! Invariant: each login, refused or not, is noted in the state for the record, refused ones up to a number a second;
//! time and answer do not tell whether a name is known.

mod enrol;
mod federated;
mod password;
mod role;
mod throttle;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time;
use ledger::Hash;
use store::state::{Deed, OperatorRow, OperatorSession, State, StateError};
use tokio::sync::Semaphore;

pub use self::enrol::{
    EnrolError, Invitation, Invited, add, disable, first_link, link, set_groups, set_roles,
};
use self::federated::Abroad;
pub use self::role::{Permission, Role, RoleMap};
use self::throttle::Throttle;
use crate::jose;
use crate::random::{self, NoRandomness};
use crate::secret::Secret;

/// Seconds after which an unused session ends.
const IDLE: u64 = 30 * 60;

/// Seconds after which every session ends.
const LONGEST: u64 = 12 * 60 * 60;

/// Uses of a session within so many seconds are noted once.
const NOTED: u64 = 60;

/// Digits of a session's secret: above 256 bits.
const DIGITS: usize = 43;

/// Longest name that is looked at.
const NAME_BYTES: usize = 64;

/// Passwords that are digested at a time; each takes 19 MiB and a core.
const DIGESTS: usize = 2;

/// How long a login waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Refused logins that are noted in a second. Strangers make them: without a bound they could fill the disk.
const NOTED_REFUSALS: u32 = 5;

/// Who a stranger is in the record.
const NOBODY: &str = "nobody";

/// Logs operators in and knows them again.
#[derive(Debug)]
pub struct Operators {
    state: Arc<State>,
    roles: RoleMap,
    throttle: Throttle,
    turns: Arc<Semaphore>,
    refusals: Refusals,
    /// `None`: passwords alone.
    abroad: Option<Abroad>,
}

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who it is: `kind:issuer:subject`, as of callers, so that one person can be told in both.
    pub identity: String,
    /// What they are called.
    pub name: String,
    /// What they are.
    pub roles: Vec<Role>,
    /// The groups for which they approve.
    pub groups: Vec<String>,
    /// What a form must send back, so that it is known to be ours.
    pub csrf: String,
}

/// An attempt to log in with a password.
#[derive(Debug)]
pub struct LogIn<'a> {
    /// What was typed as name.
    pub name: &'a str,
    /// What was typed as password.
    pub password: Secret,
    /// Where it comes from.
    pub address: IpAddr,
}

/// A person whom a provider vouches for, whatever the protocol.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// Who vouches.
    pub issuer: String,
    /// Whom the provider means.
    pub subject: String,
    /// What they are called, if the provider says it.
    pub name: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
    /// When the provider's session ends, if it says so: theirs ends then, too.
    pub until: Option<u64>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum LoginRefused {
    /// It is not said which.
    #[error("the name or the password is wrong")]
    Wrong,
    /// Too many attempts.
    #[error("too many attempts; wait {0} s and try again")]
    Throttled(u64),
    /// Too many people at a time.
    #[error("too many logins at a time; try again")]
    Busy,
    /// None of the groups has a role.
    #[error("you are known to the provider, but none of your groups has a role here; ask an admin")]
    NoRole,
    /// An admin said so.
    #[error("this operator is disabled; ask an admin")]
    Disabled,
    /// The provider did not vouch for anybody.
    #[error("{0}")]
    NotVouched(&'static str),
    /// The state failed.
    #[error("the login cannot be noted now, and so is not made; see the log")]
    State(#[from] StateError),
    /// The system failed.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The identity of somebody with a password here.
fn local_identity(name: &str) -> String {
    format!("operator:local:{name}")
}

/// Names under which somebody may be known, as a caller and as an operator: who shares one with another is taken for the same
/// person. `identity` is `kind:issuer:subject`.
#[must_use]
pub fn names(identity: &str, name: &str) -> Vec<String> {
    let subject = identity.rsplit(':').next().unwrap_or_default();
    let mut names = vec![identity.to_lowercase(), name.to_lowercase(), subject.to_lowercase()];
    names.sort_unstable();
    names.dedup();
    names
}

impl Operator {
    /// Whether one of their roles permits something.
    #[must_use]
    pub fn may(&self, wanted: Permission) -> bool {
        self.roles.iter().any(|role| role.permits(wanted))
    }

    /// Whether a form sends back what it was given.
    #[must_use]
    pub fn sent(&self, csrf: &str) -> bool {
        constant_time::verify_slices_are_equal(self.csrf.as_bytes(), csrf.as_bytes()).is_ok()
    }
}

/// By what an operator is known.
enum Proved {
    /// The password of this digest, which may be replaced while it is checked.
    Password(Option<String>),
    /// A provider's word: these groups, and until when.
    Elsewhere(Vec<String>, Option<u64>),
}

impl Operators {
    /// Those of a state, and those whose groups `roles` knows.
    pub fn new(state: Arc<State>, roles: RoleMap) -> Operators {
        Operators {
            state,
            roles,
            throttle: Throttle::default(),
            turns: Arc::new(Semaphore::new(DIGESTS)),
            refusals: Refusals::default(),
            abroad: None,
        }
    }

    /// The state that these are kept in.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Refused logins and acts that were not noted, since the start.
    pub fn unnoted(&self) -> u64 {
        self.refusals.all.load(Ordering::Relaxed)
    }

    /// Begins a session for who knows the password; gives its secret.
    ///
    /// # Errors
    /// See [`LoginRefused`]; it is noted.
    pub async fn log_in(&self, asked: LogIn<'_>, now: u64) -> Result<Secret, LoginRefused> {
        let name = asked.name.to_ascii_lowercase();
        let is_name = name.len() <= NAME_BYTES && asked.password.reveal().len() <= password::MOST;
        let name = if is_name { name } else { String::new() };
        let known = self.state.operator(&local_identity(&name))?;
        let tried = match self.throttle.take(&name, asked.address, now) {
            Ok(()) => self.check(known.as_ref(), asked.password).await,
            Err(wait) => Err(LoginRefused::Throttled(wait)),
        };
        let begun = match (tried, &known) {
            (Ok(()), Some(row)) => {
                self.throttle.forgive(&name, asked.address);
                self.begin((&row.identity, &row.name), Proved::Password(row.password.clone()), now).await
            }
            (Ok(()), None) => Err(LoginRefused::Wrong),
            (Err(refused), _) => Err(refused),
        };
        if let Err(refused) = &begun {
            // What was typed as a name may be a password.
            let whom = known.as_ref().map_or("an unknown name", |row| &row.identity);
            let reason = format!("{refused}; from {}", asked.address);
            self.refused(NOBODY, &Deed::refused("operators.login", whom).because(&reason), now).await;
        }
        begun
    }

    /// Begins a session for a person of a provider; gives its secret.
    ///
    /// # Errors
    /// See [`LoginRefused`]; it is noted.
    pub async fn admit(&self, person: &Vouched, now: u64) -> Result<Secret, LoginRefused> {
        let identity = format!("user:{}:{}", person.issuer, person.subject);
        let begun = match self.roles.of(&person.groups).as_slice() {
            [] => Err(LoginRefused::NoRole),
            _ => {
                let name = person.name.as_deref().unwrap_or(&person.subject);
                let proved = Proved::Elsewhere(person.groups.clone(), person.until);
                self.begin((&identity, name), proved, now).await
            }
        };
        if let Err(refused) = &begun {
            let reason = refused.to_string();
            self.refused(&identity, &Deed::refused("operators.login", &identity).because(&reason), now).await;
        }
        begun
    }

    /// Who a session is of, if it holds now. Blocks on the disk once a minute.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn operator(&self, secret: &str, now: u64) -> Result<Option<Operator>, StateError> {
        if secret.len() != DIGITS {
            return Ok(None);
        }
        let digest = Hash::of(secret.as_bytes());
        let Some(session) = self.state.operator_session(digest)? else { return Ok(None) };
        let is_over =
            now >= session.used.saturating_add(IDLE) || now >= session.begun.saturating_add(LONGEST);
        if is_over {
            self.state.end_operator_session(digest, None)?;
            return Ok(None);
        }
        let (roles, groups) = self.standing_of(&session)?;
        if roles.is_empty() {
            return Ok(None);
        }
        if now >= session.used.saturating_add(NOTED) {
            self.state.operator_session_used(digest, now)?;
        }
        let csrf = jose::encode(Hash::of(format!("csrf:{secret}").as_bytes()).0);
        Ok(Some(Operator { identity: session.identity, name: session.name, roles, groups, csrf }))
    }

    /// Ends a session. Blocks on the disk.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn log_out(&self, operator: &Operator, secret: &str, now: u64) -> Result<bool, StateError> {
        let deed = Deed::done("operators.logout", &operator.identity);
        let digest = Hash::of(secret.as_bytes());
        self.state.acting(&operator.identity, now).end_operator_session(digest, Some(&deed))
    }

    /// Notes what was refused, up to a number a second; the rest is counted. Where it cannot be noted, the log says so.
    pub async fn refused(&self, who: &str, deed: &Deed<'_>, now: u64) {
        let Some(unnoted) = self.refusals.take(now) else { return };
        let state = self.state.acting(who, now);
        let (what, subject) = (deed.what.to_owned(), deed.subject.to_owned());
        let mut reason = deed.reason.unwrap_or("refused").to_owned();
        if unnoted > 0 {
            reason.push_str(&format!("; before it {unnoted} were not noted"));
        }
        let note = move || state.note(&Deed::refused(&what, &subject).because(&reason));
        match tokio::task::spawn_blocking(note).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "what was refused on the console is not noted"),
            Err(_) => tracing::error!("what was refused on the console is not noted"),
        }
    }

    async fn check(&self, known: Option<&OperatorRow>, typed: Secret) -> Result<(), LoginRefused> {
        let kept = known.filter(|row| row.disabled.is_none()).and_then(|row| row.password.clone());
        let is = self.digested(move || password::is(typed.reveal(), kept.as_deref())).await?;
        if is { Ok(()) } else { Err(LoginRefused::Wrong) }
    }

    /// Does what digests a password, when it is its turn.
    async fn digested<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LoginRefused> {
        let turn = tokio::time::timeout(TURN, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(LoginRefused::Busy) };
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.map_err(|_| LoginRefused::Busy)
    }

    async fn begin(
        &self,
        (identity, name): (&str, &str),
        proved: Proved,
        now: u64,
    ) -> Result<Secret, LoginRefused> {
        let (groups, until, password) = match proved {
            Proved::Password(digest) => (Vec::new(), None, digest),
            Proved::Elsewhere(groups, until) => (groups, until, None),
        };
        let secret = random::digits(DIGITS)?;
        let session = OperatorSession {
            digest: Hash::of(secret.as_bytes()),
            identity: identity.to_owned(),
            name: name.to_owned(),
            groups,
            // One that ends sooner counts as begun sooner: the longest time of a session is counted from here.
            begun: until.map_or(now, |until| until.saturating_sub(LONGEST).min(now)),
            used: now,
        };
        let state = self.state.acting(identity, now);
        let begin = move || {
            let deed = Deed::done("operators.login", &session.identity);
            state.begin_operator_session(&session, password.as_deref(), &deed)
        };
        match tokio::task::spawn_blocking(begin).await.map_err(|_| LoginRefused::Busy)?? {
            true => Ok(Secret::new(secret)),
            false => Err(LoginRefused::Disabled),
        }
    }

    /// What the operator of a session is now: of who has a password here by their row, else by the groups of the login.
    fn standing_of(&self, session: &OperatorSession) -> Result<(Vec<Role>, Vec<String>), StateError> {
        let row = self.state.operator(&session.identity)?;
        Ok(match row {
            Some(row) if row.disabled.is_some() => (Vec::new(), Vec::new()),
            Some(row) => (row.roles.iter().filter_map(|role| role.parse().ok()).collect(), row.groups),
            None => (self.roles.of(&session.groups), session.groups.clone()),
        })
    }
}

/// Which refusals are noted.
#[derive(Debug, Default)]
struct Refusals {
    /// The second, how many were in it, how many were not noted since one was. Locked for one look.
    window: Mutex<(u64, u32, u64)>,
    all: AtomicU64,
}

impl Refusals {
    /// Whether one more may be noted, and how many were not before it.
    fn take(&self, second: u64) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0 != second {
            (window.0, window.1) = (second, 0);
        }
        window.1 = window.1.saturating_add(1);
        if window.1 <= NOTED_REFUSALS {
            return Some(std::mem::take(&mut window.2));
        }
        window.2 = window.2.saturating_add(1);
        self.all.fetch_add(1, Ordering::Relaxed);
        None
    }
}
