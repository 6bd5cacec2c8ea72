//! Operators with a password here: who gets in, who does not, what ends a session, and what of all that is noted.

use std::net::IpAddr;
use std::sync::Arc;

use identity::Secret;
use identity::operators::{
    self, EnrolError, Invited, LogIn, LoginRefused, Operators, Role, RoleMap, Vouched,
};
use store::state::{Action, State};

use crate::made::NOW;

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct Desk {
    _folder: tempfile::TempDir,
    pub(crate) state: Arc<State>,
    pub(crate) operators: Operators,
}

impl Desk {
    /// With an operator `mira`, who is an admin.
    pub(crate) async fn open() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let mut roles = RoleMap::default();
        roles.give(Role::Viewer, vec!["eng".to_owned()]);
        let operators = Operators::new(Arc::clone(&state), roles);
        let first = operators::first_link(&state, NOW).unwrap().unwrap();
        let chosen = Secret::new(PASSWORD);
        operators.set_up(first.secret.reveal(), Some("Mira"), chosen, NOW).await.unwrap();
        Desk { _folder: folder, state, operators }
    }

    async fn try_at(&self, name: &str, password: &str, now: u64) -> Result<String, LoginRefused> {
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let asked = LogIn { name, password: Secret::new(password), address };
        self.operators.log_in(asked, now).await.map(|secret| secret.reveal().to_owned())
    }

    async fn session(&self) -> String {
        self.try_at("mira", PASSWORD, NOW).await.unwrap()
    }

    fn is_in(&self, secret: &str, now: u64) -> bool {
        self.operators.operator(secret, now).unwrap().is_some()
    }

    fn noted(&self) -> Vec<String> {
        let line = |action: Action| {
            let Action { who, what, subject, reason, outcome, .. } = action;
            format!("{who} {what} {subject} {}: {}", outcome.as_str(), reason.unwrap_or_default())
        };
        self.state.unrecorded(1000).unwrap().into_iter().map(line).collect()
    }
}

#[tokio::test]
async fn a_password_opens_a_session_and_nothing_else_does() {
    let desk = Desk::open().await;
    let session = desk.try_at("MIRA", PASSWORD, NOW).await.unwrap();
    let mira = desk.operators.operator(&session, NOW).unwrap().unwrap();
    assert_eq!((mira.identity.as_str(), mira.name.as_str()), ("operator:local:mira", "mira"));
    assert_eq!(mira.roles, [Role::Admin]);
    assert!(mira.sent(&mira.csrf) && !mira.sent("") && !mira.sent("x"));

    let long = "x".repeat(1 << 20);
    for (name, password) in [
        ("mira", "correct horse batterz"),
        ("mira", ""),
        ("mira ", PASSWORD),
        ("nobody", PASSWORD),
        ("", ""),
        (&*long, PASSWORD),
        ("other", &*long),
        ("operator:local:mira", PASSWORD),
    ] {
        let refused = desk.try_at(name, password, NOW).await.unwrap_err();
        assert!(matches!(refused, LoginRefused::Wrong), "{refused}");
    }
    let cut = session.get(1..).unwrap();
    let altered = format!("-{cut}");
    for secret in ["", "x", cut, altered.as_str(), &*long, &session.to_lowercase()] {
        assert!(!desk.is_in(secret, NOW), "{secret}");
    }
    let noted = desk.noted().join("\n");
    assert!(noted.contains("operator:local:mira operators.login operator:local:mira done"), "{noted}");
    let wrong = "the name or the password is wrong; from 192.0.2.1";
    assert!(
        noted.contains(&format!("nobody operators.login operator:local:mira refused: {wrong}")),
        "{noted}"
    );
    assert!(noted.contains(&format!("nobody operators.login an unknown name refused: {wrong}")), "{noted}");
    assert!(!noted.contains("correct") && !noted.contains(&session) && !noted.contains("xxx"), "{noted}");
}

#[tokio::test]
async fn who_tries_too_often_waits_whether_or_not_there_is_such_a_name() {
    let desk = Desk::open().await;
    for name in ["mira", "nobody"] {
        for _ in 0..5 {
            assert!(matches!(desk.try_at(name, "wrong", NOW).await, Err(LoginRefused::Wrong)));
        }
        assert!(matches!(desk.try_at(name, PASSWORD, NOW).await, Err(LoginRefused::Throttled(1))), "{name}");
    }
    assert!(desk.try_at("mira", PASSWORD, NOW + 2).await.is_ok(), "after the wait");
    let noted = desk.noted();
    let refused = noted.iter().filter(|line| line.contains("refused")).count();
    assert_eq!(refused, 5, "of a second no more are noted: {noted:?}");
    assert_eq!(desk.operators.unnoted(), 7, "the others are counted");
    desk.try_at("x", "wrong", NOW + 3).await.unwrap_err();
    assert!(desk.noted().last().unwrap().ends_with("before it 7 were not noted"), "{:?}", desk.noted());
}

#[tokio::test]
async fn a_session_ends_by_time_by_logout_and_by_what_others_change() {
    let desk = Desk::open().await;
    let session = desk.session().await;
    assert!(desk.is_in(&session, NOW + 1799), "half an hour less a second");
    assert!(desk.is_in(&session, NOW + 1799 + 1799), "each use counts");
    assert!(!desk.is_in(&session, NOW + 3598 + 1800), "unused for half an hour");
    assert!(!desk.is_in(&session, NOW + 3598), "and then it is gone");

    let used = desk.session().await;
    for later in (0..43_200).step_by(1000) {
        assert!(desk.is_in(&used, NOW + later), "{later}");
    }
    assert!(!desk.is_in(&used, NOW + 43_200), "twelve hours");

    let left = desk.session().await;
    let mira = desk.operators.operator(&left, NOW).unwrap().unwrap();
    assert!(desk.operators.log_out(&mira, &left, NOW).unwrap());
    assert!(!desk.is_in(&left, NOW) && !desk.operators.log_out(&mira, &left, NOW).unwrap());

    let ops = desk.state.acting("os:0", NOW);
    let (one, two) = (desk.session().await, desk.session().await);
    operators::set_roles(&ops, "mira", &[Role::Auditor, Role::Viewer]).unwrap();
    assert!(!desk.is_in(&one, NOW) && !desk.is_in(&two, NOW), "other roles, another login");
    let again = desk.session().await;
    let roles = desk.operators.operator(&again, NOW).unwrap().unwrap().roles;
    assert_eq!(roles, [Role::Auditor, Role::Viewer]);

    let link = operators::link(&ops, "mira", NOW).unwrap();
    let other = Secret::new("another long password");
    desk.operators.set_up(link.secret.reveal(), None, other, NOW).await.unwrap();
    assert!(!desk.is_in(&again, NOW), "another password, another login");
    assert!(
        matches!(desk.try_at("mira", PASSWORD, NOW).await, Err(LoginRefused::Wrong)),
        "the old one is gone"
    );

    let last = desk.try_at("mira", "another long password", NOW).await.unwrap();
    operators::disable(&ops, "mira", NOW).unwrap();
    assert!(!desk.is_in(&last, NOW));
    let refused = desk.try_at("mira", "another long password", NOW).await;
    assert!(matches!(refused, Err(LoginRefused::Wrong)), "disabled, and not told");
    let noted = desk.noted().join("\n");
    for expected in [
        "operator:local:mira operators.setup operator:local:mira done",
        "operator:local:mira operators.logout operator:local:mira done",
        "os:0 operators.roles operator:local:mira done: auditor viewer",
        "os:0 operators.link operator:local:mira done",
        "os:0 operators.disable operator:local:mira done",
    ] {
        assert!(noted.contains(expected), "{expected} in\n{noted}");
    }
}

#[tokio::test]
async fn a_link_holds_once_for_an_hour_and_for_its_operator() {
    let desk = Desk::open().await;
    let chosen = || Secret::new("a password of theirs");
    assert!(operators::first_link(&desk.state, NOW).unwrap().is_none(), "there is an operator");
    let invited = operators::add(&desk.state, "Noor", &[Role::Approver], NOW).unwrap();
    let link = invited.secret.reveal();
    for _ in 0..2 {
        let whom = desk.operators.invited(link, NOW).unwrap();
        assert_eq!(whom, Invited::Operator("noor".to_owned()), "looking does not use it up");
    }
    let altered = format!("{}-", link.get(1..).unwrap());
    for (secret, now) in [(altered.as_str(), NOW), ("", NOW), (link, NOW + 3600)] {
        let refused = desk.operators.set_up(secret, None, chosen(), now).await;
        assert!(matches!(refused, Err(EnrolError::Link)), "{secret} at {now}");
    }
    for short in ["eleven char", "noor"] {
        let refused = desk.operators.set_up(link, None, Secret::new(short), NOW).await;
        assert!(matches!(refused, Err(EnrolError::Password(_))), "{short}");
    }
    desk.operators.set_up(link, Some("mira"), chosen(), NOW).await.unwrap();
    assert!(matches!(desk.operators.set_up(link, None, chosen(), NOW).await, Err(EnrolError::Link)), "used");
    assert!(desk.try_at("noor", "a password of theirs", NOW).await.is_ok());
    assert!(desk.try_at("mira", PASSWORD, NOW).await.is_ok(), "a name that is sent along changes nobody");

    let old = operators::link(&desk.state, "noor", NOW).unwrap();
    let new = operators::link(&desk.state, "noor", NOW).unwrap();
    assert!(matches!(desk.operators.invited(old.secret.reveal(), NOW), Err(EnrolError::Link)), "replaced");
    operators::disable(&desk.state, "noor", NOW).unwrap();
    assert!(matches!(desk.operators.invited(new.secret.reveal(), NOW), Err(EnrolError::Link)), "disabled");
    assert!(matches!(operators::link(&desk.state, "noor", NOW), Err(EnrolError::Unknown(_))));
    assert!(matches!(operators::add(&desk.state, "mira", &[Role::Viewer], NOW), Err(EnrolError::Taken(_))));
    for name in ["", "a b", "näme", "a/b", "a:b", &"x".repeat(65)] {
        assert!(matches!(operators::add(&desk.state, name, &[Role::Viewer], NOW), Err(EnrolError::Name)));
    }
    let noted = desk.noted().join("\n");
    assert_eq!(noted.matches("nobody operators.setup an unknown link refused").count(), 4, "{noted}");
    assert!(!noted.contains(link), "{noted}");
}

#[tokio::test]
async fn the_first_link_is_for_one_admin_and_the_next_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(State::open(folder.path()).unwrap());
    let operators = Operators::new(Arc::clone(&state), RoleMap::default());
    let old = operators::first_link(&state, NOW).unwrap().unwrap();
    let new = operators::first_link(&state, NOW).unwrap().unwrap();
    assert!(matches!(operators.invited(old.secret.reveal(), NOW), Err(EnrolError::Link)));
    assert_eq!(operators.invited(new.secret.reveal(), NOW).unwrap(), Invited::First);
    operators::add(&state, "noor", &[Role::Viewer], NOW).unwrap();
    let late = operators.set_up(new.secret.reveal(), Some("mallory"), Secret::new(PASSWORD), NOW).await;
    assert!(matches!(late, Err(EnrolError::Link)), "an operator came another way meanwhile");
    assert!(state.operator("operator:local:mallory").unwrap().is_none());
}

#[tokio::test]
async fn a_person_of_a_provider_is_what_their_groups_make_them() {
    let desk = Desk::open().await;
    let person = |groups: &[&str]| Vouched {
        issuer: "https://idp.example".to_owned(),
        subject: "alice".to_owned(),
        name: Some("Alice".to_owned()),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        until: None,
    };
    for none in [person(&[]), person(&["sales"])] {
        assert!(matches!(desk.operators.admit(&none, NOW).await, Err(LoginRefused::NoRole)));
    }
    let session = desk.operators.admit(&person(&["eng"]), NOW).await.unwrap();
    let alice = desk.operators.operator(session.reveal(), NOW).unwrap().unwrap();
    assert_eq!((&*alice.identity, &*alice.name), ("user:https://idp.example:alice", "Alice"));
    assert_eq!(alice.roles, [Role::Viewer]);
    let others = Operators::new(Arc::clone(&desk.state), RoleMap::default());
    assert!(others.operator(session.reveal(), NOW).unwrap().is_none(), "the map of now counts");
    operators::disable(&desk.state, &alice.identity, NOW).unwrap();
    assert!(!desk.is_in(session.reveal(), NOW));
    assert!(matches!(desk.operators.admit(&person(&["eng"]), NOW).await, Err(LoginRefused::Disabled)));
}
