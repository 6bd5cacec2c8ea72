//! What a client asks for with `/oauth/authorize`, read.
//!
//! Anybody may ask, and what is asked waits for a person: each part of it is small.

use ledger::Hash;

use super::client::Client;
use super::{DIGITS, STATE_BYTES};
use crate::federation::Denied;
use crate::form::Form;
use crate::scope::{Scope, ScopeError};

/// Scopes of OpenID Connect. Clients ask for them out of habit; they say what an ID token is to tell, not what may be called.
const OF_OPENID: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];

/// Longest name of a server, as the gateway has it.
const NAME_BYTES: usize = 64;

/// What a client asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The client's id.
    pub(super) client: String,
    pub(super) redirect: String,
    pub(super) state: Option<String>,
    pub(super) challenge: String,
    /// As text, which takes less place than the set of its words; `None`: not narrowed.
    pub(super) scope: Option<String>,
    pub(super) resource: Option<String>,
    /// Digest of the cookie of the browser that began it.
    pub(super) browser: Hash,
}

impl Asked {
    /// Reads what a client asks of the gateway of that URL, in a browser with a cookie of that digest.
    pub(super) fn read(
        form: &Form,
        own: &str,
        (client, redirect): (&Client, &str),
        browser: Hash,
    ) -> Result<Asked, Denied> {
        let invalid = |why| Denied("invalid_request", why);
        if form.optional("response_type") != Some("code") {
            return Err(Denied("unsupported_response_type", "only codes are given"));
        }
        if form.optional("request").is_some() || form.optional("request_uri").is_some() {
            return Err(Denied("request_not_supported", "request objects are not read"));
        }
        // OAuth 2.1 §4.1.1, and no `plain`: whoever sees the request would have the code.
        let challenge = form.optional("code_challenge").filter(|challenge| challenge.len() == DIGITS);
        let challenge = challenge.filter(|_| form.optional("code_challenge_method") == Some("S256"));
        let challenge = challenge.ok_or(invalid("PKCE with S256 is needed"))?;
        let state = form.optional("state");
        if state.is_some_and(|state| state.len() > STATE_BYTES) {
            return Err(invalid("the state is too long"));
        }
        let resource = match form.all(&["resource"]).as_slice() {
            [] => None,
            [one] if is_ours(own, one) => Some(one.clone()),
            _ => return Err(Denied("invalid_target", "the resource is not one of this gateway")),
        };
        let server = resource.as_deref().and_then(|url| server_of(own, url));
        let scope = form.optional("scope").map_or(Ok(Scope::Unlimited), |text| narrowed(text, server));
        let scope = scope.map_err(|_| Denied("invalid_scope", "that is no scope"))?;
        Ok(Asked {
            client: client.id.clone(),
            redirect: redirect.to_owned(),
            state: state.map(str::to_owned),
            challenge: challenge.to_owned(),
            scope: scope.text(),
            resource,
            browser,
        })
    }

    /// What the run is to be narrowed to.
    pub(super) fn scope(&self) -> Result<Scope, ScopeError> {
        self.scope.as_deref().map_or(Ok(Scope::Unlimited), Scope::parse)
    }
}

/// A scope without what OpenID Connect means by it; where nothing is left of it, none was asked for. A server may have such a
/// name: for a login there the word is its own.
fn narrowed(text: &str, server: Option<&str>) -> Result<Scope, ScopeError> {
    let Scope::Words(mut words) = Scope::parse(text)? else { return Ok(Scope::Unlimited) };
    words.retain(|word| !OF_OPENID.contains(&word.as_str()) || Some(word.as_str()) == server);
    if words.is_empty() { Ok(Scope::Unlimited) } else { Ok(Scope::Words(words)) }
}

fn is_ours(own: &str, resource: &str) -> bool {
    resource == own || server_of(own, resource).is_some()
}

/// The server whose endpoint that is. Whether there is such a server is nothing that a stranger is told.
fn server_of<'a>(own: &str, resource: &'a str) -> Option<&'a str> {
    let path = resource.strip_prefix(own)?.strip_prefix("/mcp/")?;
    // HTTP+SSE has two addresses below the server's.
    let name = path.strip_suffix("/sse").or_else(|| path.strip_suffix("/messages")).unwrap_or(path);
    let is_name = (1..=NAME_BYTES).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::{is_ours, narrowed, server_of};

    #[test]
    fn which_resources_are_ours() {
        let own = "https://gate.example";
        let long = |length| format!("{own}/mcp/{}", "x".repeat(length));
        for (resource, ours, server) in [
            (own, true, None),
            ("https://gate.example/mcp/files", true, Some("files")),
            ("https://gate.example/mcp/a-b_c.d", true, Some("a-b_c.d")),
            ("https://gate.example/mcp/old/sse", true, Some("old")),
            ("https://gate.example/mcp/old/messages", true, Some("old")),
            ("https://gate.example/mcp/sse", true, Some("sse")),
            (&long(64), true, Some("x".repeat(64).as_str())),
            (&long(65), false, None),
            (&long(60_000), false, None),
            ("https://gate.example/mcp/", false, None),
            ("https://gate.example/mcp//sse", false, None),
            ("https://gate.example/mcp/.hidden", false, None),
            ("https://gate.example/mcp/files/more", false, None),
            ("https://gate.example/mcp/files?x", false, None),
            ("https://gate.example/mcp/files#x", false, None),
            ("https://gate.example/mcp/files ", false, None),
            ("https://gate.example/wrap/files", false, None),
            ("https://gate.example.evil/mcp/files", false, None),
            ("https://GATE.example/mcp/files", false, None),
            ("", false, None),
        ] {
            assert_eq!((is_ours(own, resource), server_of(own, resource)), (ours, server), "{resource}");
        }
    }

    #[test]
    fn what_openid_connect_means_does_not_narrow() {
        for (text, server, expected) in [
            ("openid email profile", Some("files"), "unlimited"),
            ("openid profile email address phone offline_access", None, "unlimited"),
            ("offline_access", Some("files"), "unlimited"),
            ("openid files email", Some("files"), "files"),
            ("openid files/read mail", None, "files/read mail"),
            ("openid email profile", Some("email"), "email"),
            ("email/send", Some("files"), "email/send"),
            ("emails", None, "emails"),
            ("OpenID", None, "OpenID"),
        ] {
            assert_eq!(narrowed(text, server).unwrap().to_string(), expected, "{text} {server:?}");
        }
        assert!(narrowed("openid  email", None).is_err());
    }
}
