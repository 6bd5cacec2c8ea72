//! Clients: those that registered themselves (RFC 7591) and those whose id is the URL of their metadata document. All are
//! public clients; what they say of themselves is shown as that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use serde_json::{Map, Value, json};
use store::state::{RegisteredClient, State};
use tokio::sync::Semaphore;

use super::failures::Failures;
use crate::fetch::{Fetcher, Place, Reach};
use crate::json;
use crate::mint::Mint;
use crate::random;
use crate::settings::Network;

/// Most redirect URIs of a client.
const REDIRECTS: usize = 16;

/// Longest URL of a client, and longest name.
const URL_BYTES: usize = 1024;
const NAME_BYTES: usize = 100;

/// Seconds that a metadata document is kept, and how many are.
const KEPT_SECONDS: u64 = 600;
const KEPT: usize = 256;

/// Documents that are fetched at a time.
const FETCHES: usize = 16;

/// Schemes that no login may lead to: a browser would run or show what is in them.
const SCHEMES: [&str; 8] = ["about", "blob", "data", "file", "filesystem", "ftp", "javascript", "vbscript"];

/// A client as far as it is known.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) name: String,
    redirects: Vec<String>,
}

/// Why a client was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unregistered {
    /// What it says of itself is not to be had.
    Document,
    /// Too many have registered of late.
    Crowded,
    /// The system or the state failed.
    Failed,
}

#[derive(Debug)]
pub(super) struct Clients {
    state: Arc<State>,
    fetcher: Arc<Fetcher>,
    /// Whether documents may be on the loopback: if this gateway is.
    local: bool,
    /// Anybody can have a document fetched: a few at a time, and who comes then is refused.
    fetches: Semaphore,
    /// Documents by their URL, and when they were fetched. Locked for one look-up.
    kept: Mutex<HashMap<String, (u64, Arc<Client>)>>,
    failures: Failures,
}

impl Client {
    /// Whether a login may lead there: a redirect URI of the client, character for character, but for the port on the
    /// loopback (RFC 8252 §7.3).
    pub(super) fn may_lead_to(&self, redirect: &str) -> bool {
        let portless = |url: &str| loopback_without_port(url);
        self.redirects.iter().any(|own| {
            own == redirect || portless(own).is_some_and(|own| portless(redirect).as_ref() == Some(&own))
        })
    }

    /// Reads what a client says of itself; `None`: not to be had.
    fn read(id: String, document: &Map<String, Value>) -> Option<Client> {
        let listed = document.get("redirect_uris")?.as_array()?;
        let redirects: Option<Vec<String>> =
            listed.iter().map(|one| one.as_str().filter(|one| is_redirect(one)).map(str::to_owned)).collect();
        let redirects = redirects.filter(|list| !list.is_empty() && list.len() <= REDIRECTS)?;
        let name = document.get("client_name").and_then(Value::as_str).unwrap_or(&id);
        let shown: String = name.chars().filter(|c| !c.is_control()).take(NAME_BYTES).collect();
        Some(Client { name: shown, id, redirects })
    }
}

impl Clients {
    pub(super) fn new(public_url: &str, fetcher: Arc<Fetcher>, mint: &Mint) -> Clients {
        let local = Place::parse(public_url).is_ok_and(|place| place.is_loopback());
        Clients {
            state: Arc::clone(mint.state()),
            fetcher,
            local,
            fetches: Semaphore::new(FETCHES),
            kept: Mutex::default(),
            failures: Failures::default(),
        }
    }

    pub(super) async fn find(&self, id: &str, now: u64) -> Option<Arc<Client>> {
        if id.len() > URL_BYTES {
            return None;
        }
        if id.contains("://") { self.document(id, now).await } else { self.registered(id).await }
    }

    /// Registers a client.
    pub(super) async fn register(
        &self,
        document: &Map<String, Value>,
        now: u64,
    ) -> Result<Value, Unregistered> {
        let id = random::digits(22).map_err(|_| Unregistered::Failed)?;
        let client = Client::read(format!("dcr-{id}"), document).ok_or(Unregistered::Document)?;
        let row =
            RegisteredClient { id: client.id, name: client.name, redirects: client.redirects, created: now };
        let answer = json!({
            "client_id": row.id,
            "client_id_issued_at": now,
            "client_name": row.name,
            "redirect_uris": row.redirects,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        });
        let state = Arc::clone(&self.state);
        let added = tokio::task::spawn_blocking(move || state.add_client(&row)).await;
        match added.map_err(|_| Unregistered::Failed)? {
            Ok(true) => Ok(answer),
            Ok(false) => Err(Unregistered::Crowded),
            Err(error) => {
                tracing::error!(%error, "a client could not be registered");
                Err(Unregistered::Failed)
            }
        }
    }

    async fn registered(&self, id: &str) -> Option<Arc<Client>> {
        let (state, id) = (Arc::clone(&self.state), id.to_owned());
        let found = tokio::task::spawn_blocking(move || state.client(&id)).await.ok()?;
        let row = found.inspect_err(|error| tracing::error!(%error, "clients cannot be read")).ok()??;
        Some(Arc::new(Client { id: row.id, name: row.name, redirects: row.redirects }))
    }

    /// The client whose metadata document is there: its `client_id` must be that URL.
    async fn document(&self, id: &str, now: u64) -> Option<Arc<Client>> {
        if let Some((fetched, client)) = self.kept().get(id)
            && now.abs_diff(*fetched) < KEPT_SECONDS
        {
            return Some(Arc::clone(client));
        }
        let place = Place::parse(id).ok().filter(|place| !place.is_origin())?;
        if self.failures.has(id, &place, now) {
            return None;
        }
        let is_local = self.local && place.is_loopback();
        let reach = if is_local { Reach::Loopback } else { Reach::Over(Network::Public) };
        let bytes = {
            let _one = self.fetches.try_acquire().ok()?;
            self.fetcher.get(&place, reach).await
        };
        if let Err(error) = &bytes {
            // Anybody can name a client: its URL is not for the log.
            tracing::info!(why = error.kind(), "a client's document cannot be fetched");
            self.failures.note_fetch(id, &place, error, now);
        }
        let document = json::object(&bytes.ok()?);
        let own =
            |document: &Map<String, Value>| document.get("client_id").and_then(Value::as_str) == Some(id);
        let client = document.filter(own).and_then(|document| Client::read(id.to_owned(), &document));
        let Some(client) = client.map(Arc::new) else {
            self.failures.note_document(id, now);
            return None;
        };
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(id.to_owned(), (now, Arc::clone(&client)));
        Some(client)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u64, Arc<Client>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a login may lead there at all: https, http on the loopback, or an application's own scheme.
fn is_redirect(url: &str) -> bool {
    let plain = url.len() <= URL_BYTES && url.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || url.contains(['#', '\\', '"', '<', '>']) {
        return false;
    }
    let Some((scheme, rest)) = url.split_once(':') else { return false };
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "https" || scheme == "http" {
        return Place::parse(url).is_ok();
    }
    let named = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    named && !rest.is_empty() && !SCHEMES.contains(&scheme.as_str())
}

/// Whether a redirect leads to a program that listens on this machine. Nobody else may be led to unasked: an application's
/// scheme may be a browser's, with any page in it.
pub(super) fn stays_here(redirect: &str) -> bool {
    Place::parse(redirect).is_ok_and(|place| place.is_loopback() && !place.is_secure())
}

/// A URL of the loopback without its port: scheme, host, path and query.
fn loopback_without_port(url: &str) -> Option<(String, String)> {
    let place = Place::parse(url).ok().filter(Place::is_loopback)?;
    let uri: Uri = url.parse().ok()?;
    // By name too: clients that take any free port have it so in their documents, whatever RFC 8252 §8.3 advises.
    let host = uri.host().filter(|host| ["127.0.0.1", "[::1]", "localhost"].contains(host))?;
    let plain = uri.scheme_str() == Some("http") && !place.is_secure();
    plain.then(|| (host.to_owned(), uri.path_and_query().map_or_else(String::new, ToString::to_string)))
}

#[cfg(test)]
mod tests {
    use super::{Client, is_redirect, stays_here};

    #[test]
    fn where_logins_may_lead() {
        for (url, may) in [
            ("https://app.example/cb", true),
            ("http://127.0.0.1/cb", true),
            ("http://localhost:33418/", true),
            ("cursor://anysphere.cursor/callback", true),
            ("com.example.app:/cb", true),
            ("http://app.example/cb", false),
            ("https://user@app.example/cb", false),
            ("https://app.example/cb#x", false),
            ("javascript:alert(1)", false),
            ("JavaScript:alert(1)", false),
            ("data:text/html,x", false),
            ("//app.example/cb", false),
            ("app.example/cb", false),
            ("https://app.example/\ncb", false),
            ("", false),
        ] {
            assert_eq!(is_redirect(url), may, "{url}");
        }
    }

    #[test]
    fn which_redirects_stay_on_this_machine() {
        for (url, stays) in [
            ("http://127.0.0.1:33418/cb", true),
            ("HTTP://[::1]:33418/cb", true),
            ("http://localhost/cb", true),
            ("https://app.example/cb", false),
            ("HTTPS://app.example/cb", false),
            ("https://localhost/cb", false),
            ("http://localhost.app.example/cb", false),
            ("http://127.0.0.1@app.example/cb", false),
            ("microsoft-edge:https://app.example/cb", false),
            ("cursor://anysphere.cursor/callback", false),
            ("com.example.app:/cb", false),
        ] {
            assert_eq!(stays_here(url), stays, "{url}");
        }
    }

    #[test]
    fn redirects_are_equal_but_for_a_loopback_port() {
        let redirects = ["https://app.example/cb", "http://127.0.0.1/cb", "http://localhost:1/cb"];
        let redirects = redirects.map(str::to_owned).to_vec();
        let client = Client { id: "c".to_owned(), name: "c".to_owned(), redirects };
        for (url, may) in [
            ("https://app.example/cb", true),
            ("http://127.0.0.1:33418/cb", true),
            ("http://localhost:1/cb", true),
            ("http://localhost:2/cb", true),
            ("http://localhost/cb", true),
            ("http://localhost.evil.example:2/cb", false),
            ("http://localhost@evil.example:2/cb", false),
            ("http://localhost:2/other", false),
            ("https://localhost:2/cb", false),
            ("http://127.0.0.2:2/cb", false),
            ("https://app.example:443/cb", false),
            ("https://app.example/cb/", false),
            ("https://app.example/cb?x=1", false),
            ("https://app.example/CB", false),
            ("https://app.example.evil/cb", false),
            ("http://127.0.0.1:33418/other", false),
            ("http://127.0.0.1:33418/cb?x", false),
            ("http://127.0.0.1.evil/cb", false),
            ("http://[::1]:33418/cb", false),
            ("https://127.0.0.1/cb", false),
        ] {
            assert_eq!(client.may_lead_to(url), may, "{url}");
        }
    }
}
