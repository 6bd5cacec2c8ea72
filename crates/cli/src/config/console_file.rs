//! `[console]`: where operators' port is, and who may log in there.

use identity::operators::{Role, RoleMap};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

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
    /// Which groups of a provider have which role. Who is in none of them gets no session.
    pub(super) roles: Option<RolesFile>,
}

/// Groups by role.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RolesFile {
    /// See calls and runs.
    #[serde(default)]
    viewer: Vec<String>,
    /// And decide on calls that wait, never on their own.
    #[serde(default)]
    approver: Vec<String>,
    /// See calls and runs, and what operators did.
    #[serde(default)]
    auditor: Vec<String>,
    /// And say who is an operator.
    #[serde(default)]
    admin: Vec<String>,
}

/// Who may use the console.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeskSettings {
    /// Where browsers reach it, if not at its own address.
    pub(crate) public_url: Option<String>,
    /// What groups of a provider make people.
    pub(crate) roles: RoleMap,
}

impl ConsoleFile {
    /// Who may use it; `mistake` is told a place and a text.
    pub(super) fn desk(self, mistake: &mut dyn FnMut(usize, &str)) -> DeskSettings {
        let public_url = self.public_url.map(|url| {
            let text = url.get_ref().trim_end_matches('/').to_owned();
            let host = text.strip_prefix("https://");
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', '@'])) {
                let why =
                    "`[console] public_url` is an https address without a path, like `https://ops.example`";
                mistake(url.span().start, why);
            }
            text
        });
        let roles = self.roles.map(RolesFile::read).unwrap_or_default();
        DeskSettings { public_url, roles }
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
            map.give(role, groups);
        }
        map
    }
}
