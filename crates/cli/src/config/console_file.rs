//! `[console]`: where operators' port is, and who may log in there.

use identity::operators::{Role, RoleMap};
use identity::{LoginSettings, SamlSettings, Secret};
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
    /// The issuer that they log in with: a name below `[identity.issuers]`, or `saml` for the provider of `[identity.saml]`,
    /// to which the console is a service of its own, with metadata at its address and `/login/saml/metadata`.
    #[cfg_attr(test, schemars(with = "String"))]
    issuer: Spanned<String>,
    /// The console's client id there. Its redirect URI is the console's address and `/login/callback`. Not for `saml`.
    client_id: Option<String>,
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
    pub(crate) login: Option<OperatorLogin>,
}

/// The name of `[identity.saml]` among issuers.
const SAML: &str = "saml";

/// How operators log in with a provider.
#[derive(Debug, Clone)]
pub(crate) enum OperatorLogin {
    /// With OpenID Connect.
    Issuer(LoginSettings),
    /// With SAML.
    Saml(SamlSettings),
}

impl DeskSettings {
    /// Whether operators log in otherwise there.
    pub(super) fn is_login_other(&self, next: &DeskSettings) -> bool {
        let told = |desk: &DeskSettings| {
            let Some(OperatorLogin::Issuer(login)) = &desk.login else { return None };
            let LoginSettings { issuer, client_id, client_secret, scopes, .. } = login.clone();
            Some((issuer, client_id, client_secret, scopes))
        };
        let saml = |desk: &DeskSettings| match &desk.login {
            Some(OperatorLogin::Saml(saml)) => Some(saml.clone()),
            _ => None,
        };
        told(self) != told(next) || saml(self) != saml(next)
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
        let has_login = file.login.is_some();
        let login = file.login.and_then(|login| {
            if roles.is_none() {
                let why = "`[console.login]` needs `[console.roles]`: nobody has a role without";
                self.mistake(login.issuer.span().start, why);
            }
            self.operator_login(login, identity)
        });
        if let (Some((at, _)), false) = (&roles, has_login) {
            self.mistake(
                *at,
                "`[console.roles]` needs `[console.login]`: the groups are those of its issuer",
            );
        }
        let roles = roles.map(|(_, roles)| roles).unwrap_or_default();
        (console, DeskSettings { public_url, roles, login })
    }

    fn operator_login(
        &mut self,
        file: OperatorLoginFile,
        identity: Option<&IdentityFile>,
    ) -> Option<OperatorLogin> {
        let (name, at) = (file.issuer.get_ref(), file.issuer.span().start);
        let url = identity.and_then(|identity| identity.issuer(name)).map(str::to_owned);
        let saml = identity.and_then(IdentityFile::saml).filter(|_| name == SAML);
        match (url, saml) {
            (Some(_), Some(_)) => {
                let why = "`issuer`: `saml` is both `[identity.saml]` and an issuer's name; give the issuer another";
                self.mistake(at, why);
                None
            }
            (None, None) => {
                self.mistake(at, &format!("`issuer`: there is no `{}`", section(name)));
                None
            }
            (Some(url), None) => self.issuer_login(file, url),
            (None, Some(saml)) => {
                self.saml_login(&file, &saml);
                Some(OperatorLogin::Saml(saml))
            }
        }
    }

    fn issuer_login(&mut self, file: OperatorLoginFile, url: String) -> Option<OperatorLogin> {
        let Some(client_id) = file.client_id else {
            self.mistake(
                file.issuer.span().start,
                "`[console.login]` needs `client_id`: the console's name there",
            );
            return None;
        };
        let default = LoginSettings::new(url, client_id);
        let secret = file.client_secret.as_ref().and_then(|secret| self.secret(secret));
        Some(OperatorLogin::Issuer(LoginSettings {
            client_secret: secret.map(Secret::new),
            scopes: file.scopes.unwrap_or(default.scopes),
            ..default
        }))
    }

    fn saml_login(&mut self, file: &OperatorLoginFile, saml: &SamlSettings) {
        let at = file.issuer.span().start;
        if saml.groups_attribute.is_none() {
            let why = "`[console.login]` with `saml` needs `[identity.saml] groups_attribute`: nobody has a role without";
            self.mistake(at, why);
        }
        if file.client_id.is_some() || file.client_secret.is_some() || file.scopes.is_some() {
            let why = "`client_id`, `client_secret` and `scopes` are not for `saml`: remove them";
            self.mistake(at, why);
        }
    }
}

/// Where a provider of that name would stand.
fn section(name: &str) -> String {
    if name == SAML { "[identity.saml]".to_owned() } else { format!("[identity.issuers.{name}]") }
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

    #[test]
    fn a_saml_provider_is_no_client_s() {
        let told = |text: &str| {
            let text = format!(
                "public_url = \"https://gate.example\"\n[console.roles]\nadmin = [\"staff\"]\n{text}"
            );
            let read = interpret("t.toml", &text, &Environment::read());
            read.map(|config| config.desk.login.is_some()).map_err(|error| error.to_string())
        };
        let saml =
            "[identity.saml]\nentity_id = \"https://idp.example\"\nmetadata = \"https://idp.example/m\"\n";
        let login = "[console.login]\nissuer = \"saml\"\n";
        assert_eq!(told(&format!("{saml}groups_attribute = \"groups\"\n{login}")), Ok(true));
        let mistakes = [
            told(login),
            told(&format!("{saml}{login}client_id = \"x\"\n")),
            told(&format!(
                "{saml}groups_attribute = \"groups\"\n[identity.issuers.saml]\nurl = \"https://a.example\"\n{login}"
            )),
            told("[identity.issuers.a]\nurl = \"https://a.example\"\n[console.login]\nissuer = \"a\"\n"),
        ];
        let mistakes = mistakes
            .map(|told| told.unwrap_err().lines().skip(1).map(str::trim).collect::<Vec<_>>().join("\n"));
        expect![[r#"
              t.toml:5: `issuer`: there is no `[identity.saml]`
              t.toml:8: `[console.login]` with `saml` needs `[identity.saml] groups_attribute`: nobody has a role without
              t.toml:8: `client_id`, `client_secret` and `scopes` are not for `saml`: remove them
              t.toml:11: `issuer`: `saml` is both `[identity.saml]` and an issuer's name; give the issuer another
              t.toml:7: `[console.login]` needs `client_id`: the console's name there"#]].assert_eq(&mistakes.join("\n"));
    }
}
