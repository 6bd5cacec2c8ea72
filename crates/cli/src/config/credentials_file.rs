//! `[servers.NAME.credentials]`: what the gateway shows a server.

use std::time::Duration;

use http::Uri;
use identity::{SecretCommand, SecretSource, TokenSource};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::Reading;

/// How long a program may take, and how long what it printed is used, unless the file says otherwise.
const COMMAND_WAIT: Duration = Duration::from_secs(10);
const COMMAND_HOLDS: Duration = Duration::from_secs(300);

/// What the gateway shows a server; never what a caller showed the gateway.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct CredentialsFile {
    /// Where the token comes from: `bearer` (it is given).
    #[cfg_attr(test, schemars(with = "String", extend("enum" = ["bearer"])))]
    kind: Spanned<String>,
    /// The token of `bearer`: a value, `file:PATH` (read again when it changes) or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    token: Option<Spanned<String>>,
    /// Program and arguments that print the token of `bearer`.
    command: Option<Vec<String>>,
    /// Longest that `command` may take, in seconds.
    #[cfg_attr(test, schemars(range(min = 1)))]
    command_seconds: Option<u64>,
    /// How long what `command` printed is used before it is asked again, in seconds; a token that the server refuses is asked
    /// for anew at once.
    #[cfg_attr(test, schemars(range(min = 1)))]
    holds_seconds: Option<u64>,
}

impl Reading<'_> {
    /// What the credentials mean, for a server at this address.
    pub(super) fn credentials(&mut self, file: &Spanned<CredentialsFile>, url: &Uri) -> Option<TokenSource> {
        let at = file.span().start;
        let written = file.get_ref();
        if !is_private(url) {
            self.mistake(at, "credentials are shown over https only, or over http on loopback; see `url`");
        }
        match written.kind.get_ref().as_str() {
            "bearer" => self.bearer(written, at).map(TokenSource::Bearer),
            _ => {
                self.mistake(written.kind.span().start, "`kind` is `bearer`");
                None
            }
        }
    }

    fn bearer(&mut self, file: &CredentialsFile, at: usize) -> Option<SecretSource> {
        match (&file.token, &file.command) {
            (Some(token), None) => self.source(token),
            (None, Some(line)) if line.first().is_some_and(|program| !program.is_empty()) => {
                Some(SecretSource::Command(SecretCommand {
                    line: line.clone(),
                    env: self.environment.for_children.clone(),
                    wait: file.command_seconds.map_or(COMMAND_WAIT, Duration::from_secs),
                    holds: file.holds_seconds.map_or(COMMAND_HOLDS, Duration::from_secs),
                }))
            }
            _ => {
                self.mistake(at, "`bearer` needs `token`, or `command` with a program; one of them");
                None
            }
        }
    }

    /// Where a secret comes from. A file must be there now; what it holds later is read then.
    pub(super) fn source(&mut self, written: &Spanned<String>) -> Option<SecretSource> {
        let value = self.secret(written)?;
        match written.get_ref().strip_prefix("file:") {
            Some(path) => Some(SecretSource::File(self.environment.resolve(path.as_ref()))),
            None => Some(SecretSource::Fixed(identity::Secret::new(value))),
        }
    }
}

/// Whether nobody on the way can read what goes there.
fn is_private(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme_str() == Some("https") || is_loopback
}
