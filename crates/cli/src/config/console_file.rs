//! `[console]`: where operators' port is, and who may log in there.

use identity::operators::{Role, RoleMap};
use identity::{LoginSettings, Secret};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::identity_file::IdentityFile;
use super::{ConsoleAt, Reading};

#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ConsoleFile {
    /// Address and port; loopback only, since passwords cross it. Without this section `127.0.0.1:7801`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) listen: Option<Spanned<String>>,
    /// The https address by which browsers reach the console, where a proxy on this machine ends their TLS.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(super) public_url: Option<Spanned<String>>,
    /// Logging operators in through an issuer; needs `[console.roles]`.
    pub(super) login: Option<OperatorLoginFile>,
    /// Which groups of that issuer have which role. Who is in none of them gets no session.
    #[cfg_attr(test, schemars(with = "Option<RolesFile>"))]
    pub(super) roles: Option<Spanned<RolesFile>>,
}

/// How operators log in through an issuer.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct OperatorLoginFile {
    /// The issuer that they log in with: a name below `[identity.issuers]`.
    #[cfg_attr(test, schemars(with = "String"))]
    issuer: Spanned<String>,
    /// The console's client id there. Its redirect URI is the console's address and `/login/callback`.
    client_id: String,
    /// The console's secret there: a value, `file:PATH` or `env:NAME`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    client_secret: Option<Spanned<String>>,
    /// Scopes to ask the issuer for; `openid` among them.
    scopes: Option<Vec<String>>,
}

/// Groups by role.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RolesFile {
    /// See calls and runs.
    viewer: Option<Vec<String>>,
    /// And decide on calls that wait, never on their own.
    approver: Option<Vec<String>>,
    /// See calls and runs, and what operators did.
    auditor: Option<Vec<String>>,
    /// And say who is an operator.
    admin: Option<Vec<String>>,
}

/// Who may use the console.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeskSettings {
    /// Where browsers reach it, if not at its own address.
    pub(crate) public_url: Option<String>,
    /// What groups of a provider make people.
    pub(crate) roles: RoleMap,
    /// The provider that operators log in with.
    pub(crate) login: Option<LoginSettings>,
}

impl DeskSettings {
    /// Whether operators log in otherwise there.
    pub(super) fn is_login_other(&self, next: &DeskSettings) -> bool {
        let told = |desk: &DeskSettings| {
            let login = desk.login.as_ref()?;
            let LoginSettings { issuer, client_id, client_secret, scopes, .. } = login.clone();
            Some((issuer, client_id, client_secret, scopes))
        };
        told(self) != told(next)
    }
}

impl Reading<'_> {
    /// Where the console is, and who may use it.
    pub(super) fn desk(
        &mut self,
        file: Option<ConsoleFile>,
        identity: Option<&IdentityFile>,
    ) -> (ConsoleAt, DeskSettings) {
        let file = file.unwrap_or_default();
        let console = file.listen.as_ref().map_or(ConsoleAt::Default, |listen| self.console(listen));
        let public_url = file.public_url.map(|url| {
            let text = url.get_ref().trim_end_matches('/').to_owned();
            let host = text.strip_prefix("https://");
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', '@'])) {
                let why =
                    "`[console] public_url` is an https address without a path, like `https://ops.example`";
                self.mistake(url.span().start, why);
            }
            text
        });
        let roles = file.roles.map(|roles| (roles.span().start, roles.into_inner().read()));
        let login = file.login.map(|login| {
            if roles.is_none() {
                let why = "`[console.login]` needs `[console.roles]`: nobody has a role without";
                self.mistake(login.issuer.span().start, why);
            }
            self.operator_login(login, identity)
        });
        if let (Some((at, _)), None) = (&roles, &login) {
            self.mistake(
                *at,
                "`[console.roles]` needs `[console.login]`: the groups are those of its issuer",
            );
        }
        let roles = roles.map(|(_, roles)| roles).unwrap_or_default();
        (console, DeskSettings { public_url, roles, login })
    }

    fn operator_login(&mut self, file: OperatorLoginFile, identity: Option<&IdentityFile>) -> LoginSettings {
        let name = file.issuer.get_ref();
        let url = identity.and_then(|identity| identity.issuer(name)).map(str::to_owned);
        if url.is_none() {
            let why = format!("`issuer`: there is no `[identity.issuers.{name}]`");
            self.mistake(file.issuer.span().start, &why);
        }
        let default = LoginSettings::new(url.unwrap_or_default(), file.client_id);
        let secret = file.client_secret.as_ref().and_then(|secret| self.secret(secret));
        LoginSettings {
            client_secret: secret.map(Secret::new),
            scopes: file.scopes.unwrap_or(default.scopes),
            ..default
        }
    }
}

impl RolesFile {
    fn read(self) -> RoleMap {
        let RolesFile { viewer, approver, auditor, admin } = self;
        let mut map = RoleMap::default();
        for (role, groups) in [
            (Role::Viewer, viewer),
            (Role::Approver, approver),
            (Role::Auditor, auditor),
            (Role::Admin, admin),
        ] {
            map.give(role, groups.unwrap_or_default());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::super::interpret;
    use crate::environment::Environment;

    #[test]
    fn what_nobody_could_log_in_with_is_a_mistake() {
        let text = r#"
            [console]
            public_url = "http://ops.example/console"
            [console.roles]
            admin = ["staff"]
        "#;
        let mistakes = interpret("t.toml", text, &Environment::read()).unwrap_err().to_string();
        expect![[r#"
            the configuration cannot be used:
              t.toml:3: `[console] public_url` is an https address without a path, like `https://ops.example`
              t.toml:4: `[console.roles]` needs `[console.login]`: the groups are those of its issuer
        "#]]
        .assert_eq(&mistakes);
        let text = r#"
            [console.login]
            issuer = "corporate"
            client_id = "x"
        "#;
        let mistakes = interpret("t.toml", text, &Environment::read()).unwrap_err().to_string();
        expect![[r#"
            the configuration cannot be used:
              t.toml:3: `[console.login]` needs `[console.roles]`: nobody has a role without
              t.toml:3: `issuer`: there is no `[identity.issuers.corporate]`
        "#]]
        .assert_eq(&mistakes);
    }
}
