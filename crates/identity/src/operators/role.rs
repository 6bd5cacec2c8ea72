//! What an operator may do: the one table of roles and permissions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::EnrolError;

/// What an operator is; one may be several things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees what happens.
    Viewer,
    /// Decides on calls that wait, never on their own.
    Approver,
    /// Sees what operators did.
    Auditor,
    /// Says who is an operator.
    Admin,
}

/// Something that not every operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// To see calls and runs.
    SeeCalls,
    /// To decide on calls that wait.
    Approve,
    /// To see what operators did.
    SeeActions,
    /// To add, change and disable operators.
    ManageOperators,
}

/// Who may do what. An admin is no approver: who says who may approve does not approve by that.
const TABLE: [(Role, &str, &[Permission]); 4] = [
    (Role::Viewer, "viewer", &[Permission::SeeCalls]),
    (Role::Approver, "approver", &[Permission::SeeCalls, Permission::Approve]),
    (Role::Auditor, "auditor", &[Permission::SeeCalls, Permission::SeeActions]),
    (Role::Admin, "admin", &[Permission::SeeCalls, Permission::SeeActions, Permission::ManageOperators]),
];

/// Which groups of a provider make somebody what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleMap(BTreeMap<Role, Vec<String>>);

impl Role {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Role> {
        TABLE.iter().map(|(role, ..)| *role)
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        TABLE.iter().find(|(role, ..)| *role == self).map_or("", |(_, word, _)| word)
    }

    /// Whether it permits something: the one place where that is looked up.
    #[must_use]
    pub fn permits(self, wanted: Permission) -> bool {
        TABLE.iter().any(|(role, _, permissions)| *role == self && permissions.contains(&wanted))
    }
}

impl Permission {
    /// What is permitted, in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::SeeCalls => "to see calls",
            Permission::Approve => "to decide on calls that wait",
            Permission::SeeActions => "to see what operators did",
            Permission::ManageOperators => "to manage operators",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = EnrolError;

    fn from_str(text: &str) -> Result<Role, EnrolError> {
        let found = TABLE.iter().find(|(_, word, _)| *word == text);
        found.map(|(role, ..)| *role).ok_or_else(|| EnrolError::NoRole(text.to_owned()))
    }
}

impl RoleMap {
    /// Makes members of these groups that.
    pub fn give(&mut self, role: Role, groups: Vec<String>) {
        self.0.entry(role).or_default().extend(groups);
    }

    /// What somebody in these groups is.
    #[must_use]
    pub fn of(&self, groups: &[String]) -> Vec<Role> {
        let has = |wanted: &Vec<String>| wanted.iter().any(|group| groups.contains(group));
        self.0.iter().filter(|(_, wanted)| has(wanted)).map(|(role, _)| *role).collect()
    }

    /// Whether some group makes admins.
    #[must_use]
    pub fn makes_admins(&self) -> bool {
        self.0.get(&Role::Admin).is_some_and(|groups| !groups.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{Permission, Role, RoleMap};

    #[test]
    fn roles_have_what_the_table_gives_them() {
        use Permission::{Approve, ManageOperators, SeeActions, SeeCalls};
        for (role, expected) in [
            (Role::Viewer, vec![SeeCalls]),
            (Role::Approver, vec![SeeCalls, Approve]),
            (Role::Auditor, vec![SeeCalls, SeeActions]),
            (Role::Admin, vec![SeeCalls, SeeActions, ManageOperators]),
        ] {
            let all = [SeeCalls, Approve, SeeActions, ManageOperators];
            let has: Vec<_> = all.into_iter().filter(|wanted| role.permits(*wanted)).collect();
            assert_eq!(has, expected, "{role}");
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
        }
        assert!("root".parse::<Role>().is_err() && "Admin".parse::<Role>().is_err());
    }

    #[test]
    fn groups_make_roles() {
        let mut map = RoleMap::default();
        map.give(Role::Admin, vec!["platform".to_owned()]);
        map.give(Role::Viewer, vec!["eng".to_owned(), "platform".to_owned()]);
        let of =
            |groups: &[&str]| map.of(&groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["platform"]), [Role::Viewer, Role::Admin]);
        assert_eq!(of(&["eng", "x"]), [Role::Viewer]);
        assert_eq!(of(&["Platform"]), []);
        assert_eq!(of(&[]), []);
    }
}
