//! `[export.NAME]`: who is told of calls that wait for people.

use std::collections::BTreeMap;
use std::time::Duration;

use export::{Address, Arguments, DestinationSettings, Mail, MailTls, Secret, SigningKey, Sink, Url};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use store::state::EventKind;
use toml::Spanned;

use super::Reading;

/// Longest that one attempt may take, of a request and of a mail.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
const MAIL_WAIT: Duration = Duration::from_secs(30);

/// Longest name.
const NAME: usize = 64;

/// What people are told of without being asked of what.
const EVENTS: [EventKind; 5] =
    [EventKind::Asked, EventKind::Approved, EventKind::Refused, EventKind::Expired, EventKind::Withdrawn];

/// Who is told of calls that wait for people, and how.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ExportFile {
    /// `webhook` (Standard Webhooks), `slack`, `teams` or `email`.
    #[cfg_attr(test, schemars(with = "String", extend("enum" = ["webhook", "slack", "teams", "email"])))]
    kind: Spanned<String>,
    /// Where a webhook is: an https address, or http on loopback; a value, `file:PATH` or `env:NAME`. Not for `email`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    url: Option<Spanned<String>>,
    /// For `webhook`: what signs, `whsec_…`; several while they change. Each is a value, `file:PATH` or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    secrets: Option<Vec<Spanned<String>>>,
    /// For `email`: the mail server.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    host: Option<Spanned<String>>,
    /// Its port; 587 with `starttls`, 465 with `implicit`, 25 with `none`.
    #[cfg_attr(test, schemars(range(min = 1, max = 65535)))]
    port: Option<u16>,
    /// How the connection to it is protected: `starttls` (the default), `implicit`, or `none` on loopback.
    #[cfg_attr(test, schemars(with = "Option<String>", extend("enum" = ["starttls", "implicit", "none"])))]
    tls: Option<Spanned<String>>,
    /// Who logs in there: a value, `file:PATH` or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    user: Option<Spanned<String>>,
    /// With which password: a value, `file:PATH` or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    password: Option<Spanned<String>>,
    /// Who mail is from, like `Tollbook <tollbook@example.com>`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    from: Option<Spanned<String>>,
    /// Who it is to.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    to: Option<Vec<Spanned<String>>>,
    /// Only of calls that ask one of these groups; of all if not given.
    groups: Option<Vec<String>>,
    /// Of what: `asked`, `approved`, `refused`, `expired`, `withdrawn`, `used`, `outcome`; the first five if not given.
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>"))]
    events: Option<Vec<Spanned<String>>>,
    /// Whether who is asked is shown the call's arguments, up to 2 KiB of them.
    #[serde(default)]
    arguments: bool,
}

impl Reading<'_> {
    /// Those with which nothing is wrong.
    pub(super) fn destinations(
        &mut self,
        files: &BTreeMap<String, Spanned<ExportFile>>,
    ) -> Vec<DestinationSettings> {
        let all: Vec<_> =
            files.iter().filter_map(|(name, written)| self.destination(name, written)).collect();
        all.into_iter().flat_map(DestinationSettings::apart).collect()
    }

    fn destination(&mut self, name: &str, written: &Spanned<ExportFile>) -> Option<DestinationSettings> {
        let (at, file) = (written.span().start, written.get_ref());
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > NAME || !name.chars().all(fits) {
            self.mistake(at, &format!("`{name}` is no name: 1 to 64 of a-z A-Z 0-9 - _"));
        }
        let kinds = file.events.as_ref().map_or_else(|| EVENTS.to_vec(), |words| self.events(words));
        self.strangers(file);
        let sink = match file.kind.get_ref().as_str() {
            "webhook" => self.webhook(file, at),
            "slack" => self.url(file, at).map(|url| Sink::Slack { url }),
            "teams" => self.url(file, at).map(|url| Sink::Teams { url }),
            "email" => self.mail(file, at),
            _ => {
                self.mistake(file.kind.span().start, "`kind` is one of `webhook`, `slack`, `teams`, `email`");
                None
            }
        };
        let sink = sink?;
        let wait = if matches!(sink, Sink::Email(_)) { MAIL_WAIT } else { REQUEST_WAIT };
        let arguments = if file.arguments { Arguments::Shown } else { Arguments::Left };
        Some(DestinationSettings {
            name: name.to_owned(),
            sink,
            kinds,
            groups: file.groups.clone(),
            arguments,
            wait,
        })
    }

    fn events(&mut self, words: &[Spanned<String>]) -> Vec<EventKind> {
        let mut kinds = Vec::new();
        for word in words {
            match EventKind::of(word.get_ref()) {
                Some(kind) => kinds.push(kind),
                None => {
                    let all: Vec<String> =
                        EventKind::ALL.iter().map(|kind| format!("`{}`", kind.as_str())).collect();
                    self.mistake(word.span().start, &format!("`events` are of {}", all.join(", ")));
                }
            }
        }
        kinds
    }

    /// Keys of another kind would do nothing.
    fn strangers(&mut self, file: &ExportFile) {
        let at = |key: &Option<Spanned<String>>| key.as_ref().map(|key| key.span().start);
        let first = |keys: &Option<Vec<Spanned<String>>>| {
            keys.as_ref().map(|keys| keys.first().map_or(file.kind.span().start, |key| key.span().start))
        };
        let kind = file.kind.get_ref().as_str();
        let keys = [
            ("url", at(&file.url), &["webhook", "slack", "teams"][..]),
            ("secrets", first(&file.secrets), &["webhook"]),
            ("host", at(&file.host), &["email"]),
            ("port", file.port.map(|_| file.kind.span().start), &["email"]),
            ("tls", at(&file.tls), &["email"]),
            ("user", at(&file.user), &["email"]),
            ("password", at(&file.password), &["email"]),
            ("from", at(&file.from), &["email"]),
            ("to", first(&file.to), &["email"]),
        ];
        for (key, at, kinds) in keys {
            if let Some(at) = at.filter(|_| !kinds.contains(&kind)) {
                self.mistake(at, &format!("`{key}` is not for `{kind}`"));
            }
        }
    }

    fn url(&mut self, file: &ExportFile, at: usize) -> Option<Url> {
        let Some(written) = &file.url else {
            self.mistake(at, &format!("`{}` needs `url`", file.kind.get_ref()));
            return None;
        };
        let url = Url::parse(&self.secret(written)?);
        url.map_err(|error| self.mistake(written.span().start, &format!("`url` is {error}"))).ok()
    }

    fn webhook(&mut self, file: &ExportFile, at: usize) -> Option<Sink> {
        let url = self.url(file, at);
        let written = file.secrets.as_deref().unwrap_or_default();
        if written.is_empty() {
            self.mistake(
                at,
                "`webhook` needs `secrets`, at least one: without, anybody could send what it sends",
            );
        }
        let mut keys = Vec::new();
        for secret in written {
            match self.secret(secret).map(|text| SigningKey::parse(&text)) {
                Some(Ok(key)) => keys.push(key),
                Some(Err(error)) => self.mistake(secret.span().start, &format!("`secrets`: {error}")),
                None => {}
            }
        }
        (keys.len() == written.len() && !keys.is_empty()).then_some(Sink::Webhook { url: url?, keys })
    }

    fn mail(&mut self, file: &ExportFile, at: usize) -> Option<Sink> {
        let (Some(host), Some(from), Some(to)) = (&file.host, &file.from, &file.to) else {
            self.mistake(at, "`email` needs `host`, `from` and `to`");
            return None;
        };
        let (tls, port) = match file.tls.as_ref().map_or("starttls", |tls| tls.get_ref().as_str()) {
            "starttls" => (MailTls::Starttls, 587),
            "implicit" => (MailTls::Implicit, 465),
            "none" => (MailTls::Plain, 25),
            _ => {
                let at = file.tls.as_ref().map_or(at, |tls| tls.span().start);
                self.mistake(at, "`tls` is `starttls`, `implicit` or `none`");
                return None;
            }
        };
        let login = match (&file.user, &file.password) {
            (Some(user), Some(password)) => Some((self.secret(user)?, Secret::new(self.secret(password)?))),
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => {
                self.mistake(one.span().start, "`user` and `password` go together");
                None
            }
        };
        let from = self.address("from", from);
        if to.is_empty() {
            self.mistake(at, "`to` names nobody");
        }
        let all: Vec<Option<Address>> = to.iter().map(|to| self.address("to", to)).collect();
        let to = all.into_iter().collect::<Option<Vec<_>>>()?;
        let mail = Mail {
            host: host.get_ref().clone(),
            port: file.port.unwrap_or(port),
            tls,
            login,
            from: from?,
            to,
            only: None,
        };
        if tls == MailTls::Plain && !mail.is_local() {
            self.mistake(
                host.span().start,
                "mail beyond this machine needs TLS: `tls` is `starttls` or `implicit`",
            );
        }
        Some(Sink::Email(Box::new(mail)))
    }

    fn address(&mut self, key: &str, written: &Spanned<String>) -> Option<Address> {
        let read = Address::parse(written.get_ref());
        read.map_err(|error| self.mistake(written.span().start, &format!("`{key}`: {error}"))).ok()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::interpret;
    use crate::environment::Environment;

    #[test]
    fn each_who_gets_mail_is_a_destination() {
        let names = |to: &str| -> Vec<String> {
            let text = format!(
                "[export.m]\nkind = \"email\"\nhost = \"mail.example\"\nfrom = \"t@example.com\"\nto = [{to}]"
            );
            let config = interpret("t.toml", &text, &Environment::read()).unwrap();
            config.export.into_iter().map(|one| one.name).collect()
        };
        assert_eq!(names("\"ann@example.com\""), ["m"]);
        assert_eq!(names("\"ann@example.com\", \"Ann <ann@example.com>\""), ["m"]);
        let two = names("\"ann@example.com\", \"Bob <bob@example.com>\"");
        assert_eq!(two, ["m/ann@example.com", "m/bob@example.com"]);
    }

    #[test]
    fn destinations_are_whole_and_nothing_goes_out_in_the_clear() {
        let text = r#"
            [export."a.b"]
            kind = "slack"
            [export.b]
            kind = "webhook"
            url = "http://hooks.example/canary"
            [export.c]
            kind = "webhook"
            url = "https://hooks.example/x"
            secrets = ["canary", "env:NO_SUCH_VARIABLE_HERE"]
            events = ["asked", "nonsense"]
            [export.d]
            kind = "email"
            host = "mail.example"
            tls = "none"
            from = "tollbook"
            to = ["oncall@example.com\r\nBcc: eve@example.com"]
            user = "x"
            url = "https://x"
            [export.e]
            kind = "email"
            [export.f]
            kind = "pigeon"
            [export.g]
            kind = "email"
            host = "mail.example"
            tls = "none"
            from = "a@example.com"
            to = ["b@example.com"]
        "#;
        let mistakes = interpret("t.toml", text, &Environment::read()).unwrap_err().to_string();
        expect![[r#"
            the configuration cannot be used:
              t.toml:2: `a.b` is no name: 1 to 64 of a-z A-Z 0-9 - _
              t.toml:2: `slack` needs `url`
              t.toml:4: `webhook` needs `secrets`, at least one: without, anybody could send what it sends
              t.toml:6: `url` is an https address without user and fragment, like `https://hooks.example/x`; http on loopback alone
              t.toml:10: `secrets`: a Standard Webhooks secret: `whsec_` and 24 to 64 bytes in base64
              t.toml:10: the environment has no `NO_SUCH_VARIABLE_HERE`
              t.toml:11: `events` are of `asked`, `approved`, `refused`, `expired`, `withdrawn`, `used`, `outcome`
              t.toml:16: `from`: a mail address, like `tollbook@example.com` or `Tollbook <tollbook@example.com>`
              t.toml:17: `to`: a mail address, like `tollbook@example.com` or `Tollbook <tollbook@example.com>`
              t.toml:18: `user` and `password` go together
              t.toml:19: `url` is not for `email`
              t.toml:20: `email` needs `host`, `from` and `to`
              t.toml:23: `kind` is one of `webhook`, `slack`, `teams`, `email`
              t.toml:26: mail beyond this machine needs TLS: `tls` is `starttls` or `implicit`
        "#]]
        .assert_eq(&mistakes);
    }
}
