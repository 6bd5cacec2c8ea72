//! Where notices go, as the configuration has it: parsed once, so that nothing that is sent can be sent in the clear or to nowhere.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use lettre::message::Mailbox;
use store::state::{Destination, EventKind};

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationSettings {
    /// Its name: `[export.NAME]`.
    pub name: String,
    /// What it is.
    pub sink: Sink,
    /// Of what it is told.
    pub kinds: Vec<EventKind>,
    /// Of holds that ask one of these groups; `None`: of all.
    pub groups: Option<Vec<String>>,
    /// Whether it is shown arguments.
    pub arguments: Arguments,
    /// Longest that one attempt may take.
    pub wait: Duration,
}

/// Whether a destination is shown what calls hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    /// No.
    Left,
    /// The beginning, with what asks.
    Shown,
}

/// What takes notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A program, by Standard Webhooks.
    Webhook {
        /// Its address.
        url: Url,
        /// What signs; several while they change.
        keys: Vec<SigningKey>,
    },
    /// A Slack channel, by an incoming webhook.
    Slack {
        /// The webhook's address, which is a secret.
        url: Url,
    },
    /// A Teams channel, by an incoming webhook of Workflows.
    Teams {
        /// The webhook's address, which is a secret.
        url: Url,
    },
    /// People's mailboxes.
    Email(Box<Mail>),
}

/// How mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// Who logs in there.
    pub login: Option<(String, Secret)>,
    /// Who it is from.
    pub from: Address,
    /// Who it is to.
    pub to: Vec<Address>,
    /// Of these, who gets it from here; `None`: all.
    pub only: Option<Address>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// From its first byte.
    Implicit,
    /// After STARTTLS, without which nothing is sent.
    Starttls,
    /// Not at all: on the loopback alone.
    Plain,
}

/// A secret: its `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// An address over https, or over http on the loopback. It may be a secret: its `Debug` says the host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

/// A key of Standard Webhooks.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Vec<u8>);

/// A mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(pub(crate) Mailbox);

/// Why something of a destination cannot be used. Says nothing of what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The address.
    #[error(
        "an https address without user and fragment, like `https://hooks.example/x`; http on loopback alone"
    )]
    Url,
    /// The key.
    #[error("a Standard Webhooks secret: `whsec_` and 24 to 64 bytes in base64")]
    Key,
    /// The mailbox.
    #[error("a mail address, like `tollbook@example.com` or `Tollbook <tollbook@example.com>`")]
    Address,
}

impl DestinationSettings {
    /// A destination for each who gets mail: what a mail server refuses for one of them holds up no other. That of one alone keeps
    /// its name; those of several are `NAME/ADDRESS`.
    #[must_use]
    pub fn apart(self) -> Vec<DestinationSettings> {
        let Sink::Email(mail) = &self.sink else { return vec![self] };
        let mut all: Vec<&Address> = Vec::with_capacity(mail.to.len());
        for to in &mail.to {
            if !all.iter().any(|other| other.0.email == to.0.email) {
                all.push(to);
            }
        }
        if all.len() < 2 {
            return vec![self];
        }
        let one = |only: &Address| {
            let mail = Mail { only: Some(only.clone()), ..Mail::clone(mail) };
            let name = format!("{}/{}", self.name, only.0.email);
            DestinationSettings { name, sink: Sink::Email(Box::new(mail)), ..self.clone() }
        };
        all.into_iter().map(one).collect()
    }

    /// The name in the configuration of a destination of this name.
    #[must_use]
    pub fn section(name: &str) -> &str {
        name.split_once('/').map_or(name, |(section, _)| section)
    }

    /// What the store is to know of it.
    #[must_use]
    pub fn row(&self) -> Destination {
        Destination { name: self.name.clone(), kinds: self.kinds.clone(), groups: self.groups.clone() }
    }
}

impl Secret {
    /// Holds a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn parse(text: &str) -> Result<Url, SettingsError> {
        let uri: Uri = text.trim().parse().map_err(|_| SettingsError::Url)?;
        let authority = uri.authority().ok_or(SettingsError::Url)?;
        if authority.as_str().contains('@') || text.contains('#') || authority.host().is_empty() {
            return Err(SettingsError::Url);
        }
        match uri.scheme_str() {
            Some("https") => Ok(Url(uri)),
            Some("http") if is_loopback(authority.host()) => Ok(Url(uri)),
            _ => Err(SettingsError::Url),
        }
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Whether a host's name is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = host.parse().ok();
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

impl Mail {
    /// Whether it is sent to this machine alone.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_loopback(&self.host)
    }
}

impl SigningKey {
    /// Reads a key.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn parse(text: &str) -> Result<SigningKey, SettingsError> {
        let text = text.trim().strip_prefix("whsec_").ok_or(SettingsError::Key)?;
        let bytes = STANDARD.decode(text).map_err(|_| SettingsError::Key)?;
        if (24..=64).contains(&bytes.len()) { Ok(SigningKey(bytes)) } else { Err(SettingsError::Key) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Address {
    /// Reads a mailbox.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn parse(text: &str) -> Result<Address, SettingsError> {
        if text.chars().any(char::is_control) {
            return Err(SettingsError::Address);
        }
        text.parse().map(Address).map_err(|_| SettingsError::Address)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Url({})", self.0.host().unwrap_or_default())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SigningKey")
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, SigningKey, Url};

    #[test]
    fn nothing_goes_out_in_the_clear() {
        for (url, may) in [
            ("https://hooks.example/services/x", true),
            ("https://10.0.0.1/x", true),
            ("http://127.0.0.1:9/x", true),
            ("http://[::1]:9/x", true),
            ("http://localhost:9", true),
            ("http://hooks.example/x", false),
            ("http://localhost.hooks.example/x", false),
            ("http://127.0.0.1.hooks.example/x", false),
            ("https://user:word@hooks.example/x", false),
            ("https://hooks.example/x#y", false),
            ("file:///etc/passwd", false),
            ("https:///x", false),
            ("hooks.example", false),
            ("", false),
        ] {
            assert_eq!(Url::parse(url).is_ok(), may, "{url}");
        }
    }

    #[test]
    fn keys_are_those_of_standard_webhooks() {
        assert!(SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_ok());
        for wrong in
            ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_MfKQ", "whsec_!!!!", "whpk_AAAA"]
        {
            assert!(SigningKey::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_address_is_two() {
        assert!(Address::parse("Tollbook <tollbook@example.com>").is_ok());
        for wrong in ["", "x", "a@b, c@d", "a@b\r\nBcc: c@d", "a@b\nX: y", "<a@b> <c@d>"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let url = Url::parse("https://hooks.example/services/canary").unwrap();
        assert_eq!(format!("{url:?}"), "Url(hooks.example)");
    }
}
