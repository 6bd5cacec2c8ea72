//! Who calls, where an identity provider is configured: each HTTP request presents a credential, and what clients read to
//! find out how to get one is served here.
//!
//! Invariant: without a caller, nothing of a request is read but its head. Sockets of this machine's user need none.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use identity::{
    Caller, Code, Credentials, Logins, Principal, Refused, Resource, RunName, Scope, TokenRequest, Verifier,
};

use crate::clock;
use crate::listen::body;
use crate::listen::login::{self, FORM_BYTES};
use crate::listen::reply::{self, Body};
use crate::listen::visits::Visits;
use crate::peer::{Peer, Verified};
use crate::settings::{CallerSettings, Limits};

/// Identifies callers.
#[derive(Debug)]
pub(crate) struct Callers {
    verifier: Arc<Verifier>,
    logins: Option<Arc<Logins>>,
    settings: identity::Settings,
    refusals: Quota,
    strangers: Strangers,
}

/// How often there come who have yet to say who they are.
#[derive(Debug)]
struct Strangers {
    logins: Visits,
    registrations: Visits,
    refusals: Visits,
}

/// Where a SAML provider has browsers send its responses.
pub(crate) const ASSERTIONS: &str = "/oauth/saml/acs";

/// Refused requests that are recorded in a second. Strangers make them: without a bound they could fill the disk.
const RECORDED: u32 = 20;

/// How often it is looked whether a credential has expired.
const LOOK: Duration = Duration::from_secs(1);

/// How many of something a second may have.
#[derive(Debug, Default)]
struct Quota {
    /// The second and how many were in it. Locked for one look.
    window: Mutex<(u64, u32)>,
}

impl Quota {
    /// Whether one more is within the quota.
    fn take(&self, second: u64) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0 != second {
            *window = (second, 0);
        }
        window.1 = window.1.saturating_add(1);
        window.1 <= RECORDED
    }
}

impl Callers {
    pub(crate) fn new(settings: CallerSettings) -> Callers {
        Callers {
            verifier: settings.verifier,
            logins: settings.logins,
            settings: settings.identity,
            refusals: Quota::default(),
            strangers: Strangers {
                logins: Visits::logins(),
                registrations: Visits::registrations(),
                refusals: Visits::refusals(),
            },
        }
    }

    /// Who makes a request to a server's endpoint.
    pub(crate) async fn identify(
        &self,
        server: &str,
        request: &Request<Incoming>,
    ) -> Result<Arc<Caller>, Refused> {
        let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let url = format!("{}{path}", self.settings.public_url);
        let credentials = Credentials::of_request(request.headers(), request.method().as_str(), &url);
        let caller =
            self.verifier.identify(&credentials, &self.url_of(server), clock::unix_seconds()).await?;
        if !may_use(&caller.scope, server) {
            caller.require(server)?;
        }
        Ok(Arc::new(caller))
    }

    /// With what policies call the principal, and what limits count as one. The same name at two issuers, or of a key, is never
    /// one.
    pub(crate) fn verified(&self, caller: Arc<Caller>) -> Verified {
        let Principal { kind, id, issuer } = &caller.principal;
        let name = self.settings.policy_name(*kind, id, issuer).into();
        Verified { name, run: self.verifier.family(&caller).map(Arc::from), caller }
    }

    /// Whether one more refusal may be recorded now. Beyond that, refusals are counted alone.
    pub(crate) fn may_record(&self) -> bool {
        self.refusals.take(clock::unix_seconds())
    }

    /// The answer to who was refused (RFC 6750 §3, RFC 9728 §5.1).
    pub(crate) fn challenge(&self, server: &str, refused: &Refused) -> Response<Body> {
        let url = self.url_of(server);
        let resource = Resource { url: &url, name: server, scopes: &[] };
        let needed = (refused.code() == Code::InsufficientScope).then_some(server);
        let mut response = reply::text(refused.code().status(), &refused.to_string());
        for challenge in resource.challenges(refused, needed) {
            response.headers_mut().append(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// Who calls, as it stands now; `None`: it may no more. Who was not verified stands as it was.
    pub(crate) fn as_now(&self, peer: &Peer) -> Option<Peer> {
        let Some(verified) = &peer.verified else { return Some(peer.clone()) };
        let caller = self.verifier.again(&verified.caller, clock::unix_seconds()).ok()?;
        let verified = Verified { caller: Arc::new(caller), ..verified.clone() };
        Some(Peer { verified: Some(verified), ..peer.clone() })
    }

    /// Counts the changes of keys and runs.
    pub(crate) fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.verifier.changes()
    }

    /// Whether the caller would be let in by now.
    pub(crate) fn stands(&self, server: &str, caller: &Caller) -> bool {
        let again = self.verifier.again(caller, clock::unix_seconds());
        again.is_ok_and(|caller| may_use(&caller.scope, server))
    }

    /// Resolves when the caller would be refused by now: its run or key has ended or was revoked, or was narrowed so that the
    /// server is out of reach. That an access token has expired is no reason: what is open was opened while it held, and whatever
    /// comes next presents another.
    pub(crate) async fn refused_later(&self, server: &str, caller: &Caller) {
        self.until_not(|| self.stands(server, caller)).await;
    }

    /// As [`Callers::refused_later`], and when the credential expires, whatever it is: for what brings calls that present no
    /// credential of their own.
    pub(crate) async fn ended_later(&self, server: &str, caller: &Caller) {
        self.until_not(|| clock::unix_seconds() < caller.expires && self.stands(server, caller)).await;
    }

    async fn until_not(&self, holds: impl Fn() -> bool) {
        let mut changes = self.verifier.changes();
        while holds() {
            // Expiry is no change of any row, and is looked for each second.
            let _ = tokio::time::timeout(LOOK, changes.changed()).await;
        }
    }

    /// Follows what other processes change, until it is dropped.
    pub(crate) async fn keep(&self) {
        self.verifier.keep(clock::unix_seconds).await;
    }

    /// The documents, the token endpoint and the logins; gives the request back that is for other paths. `address`: from where it
    /// comes.
    pub(crate) async fn serve(
        &self,
        request: Request<Incoming>,
        address: Option<IpAddr>,
        limits: &Limits,
    ) -> Served {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::POST, "/oauth/token") => self.token(request, address, limits).await,
            (&Method::GET, "/oauth/keys") => Served::Answer(document(self.verifier.run_keys())),
            (&Method::GET, "/oauth/client.json") => Served::Answer(document(self.settings.client_document())),
            (&Method::GET, "/.well-known/oauth-authorization-server") => {
                Served::Answer(document(self.settings.server_metadata()))
            }
            (method, _) if login::wanted(&path).is_some() => {
                let logins = self.logins.as_ref().filter(|_| login::wanted(&path).as_ref() == Some(method));
                let Some(logins) = logins else { return Served::Answer(reply::empty(StatusCode::NOT_FOUND)) };
                match self.strangers.enter(&path, address) {
                    Ok(()) => self.landed(login::serve(logins, request, limits).await),
                    Err(response) => Served::Answer(*response),
                }
            }
            (&Method::GET, _) => match path.strip_prefix("/.well-known/oauth-protected-resource/mcp/") {
                Some(server) if crate::listen::wrap::is_server_name(server) => {
                    let url = self.url_of(server);
                    let resource = Resource { url: &url, name: server, scopes: &[] };
                    Served::Answer(document(self.settings.resource_metadata(&resource)))
                }
                _ => Served::Not(request),
            },
            _ => Served::Not(request),
        }
    }

    async fn token(&self, request: Request<Incoming>, address: Option<IpAddr>, limits: &Limits) -> Served {
        let (parts, incoming) = request.into_parts();
        let form = match body::read_within(incoming, FORM_BYTES, limits.request_wait).await {
            Ok(form) => form,
            Err(error) => return Served::Answer(reply::text(StatusCode::BAD_REQUEST, &error.to_string())),
        };
        let url = format!("{}/oauth/token", self.settings.public_url);
        let asked = TokenRequest { headers: &parts.headers, body: &form, url: &url };
        let mut answer = match &self.logins {
            Some(logins) => logins.answer(asked, clock::unix_seconds()).await,
            None => self.verifier.answer(asked, clock::unix_seconds()).await,
        };
        // Counted only where it is refused: a proxy's many clients renew their tokens from one address, and a stranger behind it must
        // not keep them from that.
        if answer.status.is_client_error()
            && answer.reused.is_none()
            && let Err(seconds) = self.strangers.refusals.enter(address, clock::unix_ms())
        {
            let text = "too many requests for tokens were refused just now; try again soon";
            return Served::Answer(reply::too_often(text, seconds));
        }
        match (&answer.minted, &answer.refused) {
            (Some(run), _) => tracing::info!(%run, "a run was minted"),
            (None, Some(reason)) => tracing::info!(reason, "no run was minted"),
            (None, None) => {}
        }
        let (refused, resource) = (answer.reused.take(), answer.resource.take());
        self.landed(login::Served { response: login::told(answer), refused, resource })
    }

    fn landed(&self, served: login::Served) -> Served {
        let login::Served { response, refused, resource } = served;
        let Some(refused) = refused else { return Served::Answer(response) };
        let endpoints = format!("{}/mcp/", self.settings.public_url);
        let server = resource.as_deref().and_then(|url| url.strip_prefix(&endpoints)).unwrap_or_default();
        Served::Refused(response, refused, server.split('/').next().unwrap_or_default().to_owned())
    }

    /// The endpoint of a server, as clients use it.
    fn url_of(&self, server: &str) -> String {
        format!("{}/mcp/{server}", self.settings.public_url)
    }
}

impl Strangers {
    /// Lets a request in for one of the paths of logins; else gives what it is answered.
    fn enter(&self, path: &str, address: Option<IpAddr>) -> Result<(), Box<Response<Body>>> {
        let (visits, text) = match path {
            "/oauth/authorize" => (&self.logins, "too many logins were begun just now; try again soon"),
            "/oauth/register" => {
                (&self.registrations, "too many clients registered just now; try again soon")
            }
            // A ticket, a state or a response of the provider's is brought there.
            _ => return Ok(()),
        };
        let entered = visits.enter(address, clock::unix_ms());
        entered.map_err(|seconds| Box::new(reply::too_often(text, seconds)))
    }
}

/// Whether a request was for this module.
pub(crate) enum Served {
    Answer(Response<Body>),
    /// What a provider brought was refused, or what holds once came twice, for a login at that server, as far as that is known.
    Refused(Response<Body>, Refused, String),
    Not(Request<Incoming>),
}

/// Whether the scope has a server or something of it.
fn may_use(scope: &Scope, server: &str) -> bool {
    match scope {
        Scope::Unlimited => true,
        Scope::Words(words) => {
            words.iter().any(|word| word.split_once('/').map_or(word.as_str(), |(of, _)| of) == server)
        }
    }
}

/// What a run's first record says of the credential, as JSON. Nothing of it is a secret.
pub(crate) fn described(caller: &Caller) -> String {
    let run = match &caller.run {
        RunName::Minted(run) => Some(run.to_string()),
        _ => None,
    };
    let actors: Vec<&str> = caller.actors.iter().map(|actor| actor.sub.as_str()).collect();
    serde_json::json!({
        "issuer": caller.principal.issuer,
        "kind": caller.principal.kind.as_str(),
        "id": caller.principal.id,
        "groups": caller.groups,
        "scope": caller.scope.text(),
        "purpose": caller.purpose,
        "actors": actors,
        "client": caller.client,
        "key": caller.key,
        "login": caller.login.as_deref().and_then(|login| serde_json::from_str::<serde_json::Value>(login).ok()),
        "run": run,
        "expires": caller.expires,
    })
    .to_string()
}

fn document(json: String) -> Response<Body> {
    reply::json(StatusCode::OK, Bytes::from(json))
}

#[cfg(test)]
mod tests {
    use super::{Quota, RECORDED};

    #[test]
    fn a_second_has_its_quota_and_the_next_one_its_own() {
        let quota = Quota::default();
        let taken = (0..100).filter(|_| quota.take(7)).count();
        assert_eq!(taken, RECORDED as usize);
        assert!(quota.take(8), "another second");
        assert!(quota.take(6), "a clock that steps back begins anew");
    }
}
