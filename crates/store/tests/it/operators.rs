//! Operators, their links and sessions, as the state keeps them.

use ledger::Hash;
use store::state::{Deed, OperatorLink, OperatorRow, OperatorSession, State};

#[test]
fn an_operators_link_and_sessions_go_with_what_they_were_for() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let row = |name: &str| OperatorRow {
        identity: format!("operator:local:{name}"),
        name: name.to_owned(),
        roles: vec!["viewer".to_owned()],
        groups: Vec::new(),
        password: Some("digest".to_owned()),
        created: 100,
        disabled: None,
    };
    let link = |byte: u8, of: Option<&str>| OperatorLink {
        digest: Hash([byte; 32]),
        identity: of.map(|name| format!("operator:local:{name}")),
        expires: 500,
    };
    assert!(state.add_operator_link(&link(1, None)).unwrap(), "nobody is there");
    assert!(!state.add_operator_link(&link(2, Some("mira"))).unwrap(), "for nobody");
    assert!(!state.use_operator_link(Hash([9; 32]), &row("mira"), 200).unwrap());
    assert!(!state.use_operator_link(Hash([1; 32]), &row("mira"), 500).unwrap(), "too late");
    assert!(state.use_operator_link(Hash([1; 32]), &row("mira"), 499).unwrap());
    assert!(!state.use_operator_link(Hash([1; 32]), &row("mira"), 499).unwrap(), "once");
    assert_eq!(state.operator("operator:local:mira").unwrap(), Some(row("mira")));
    assert!(!format!("{:?}", row("mira")).contains("digest"));

    assert!(state.add_operator(&row("noor"), &link(3, Some("noor"))).unwrap());
    assert!(!state.add_operator(&row("noor"), &link(4, Some("noor"))).unwrap());
    assert!(!state.use_operator_link(Hash([3; 32]), &row("mira"), 200).unwrap(), "it is another's");
    assert!(state.operator_link(Hash([3; 32]), 200).unwrap().is_none(), "and is spent by that");

    let session = OperatorSession {
        digest: Hash([5; 32]),
        identity: "operator:local:mira".to_owned(),
        name: "mira".to_owned(),
        groups: Vec::new(),
        begun: 300,
        used: 300,
    };
    let deed = Deed::done("operators.login", "mira");
    let password = row("mira").password;
    assert!(
        !state.begin_operator_session(&session, Some("an older one"), &deed).unwrap(),
        "replaced meanwhile"
    );
    assert!(state.begin_operator_session(&session, password.as_deref(), &deed).unwrap());
    state.operator_session_used(Hash([5; 32]), 400).unwrap();
    assert_eq!(state.operator_session(Hash([5; 32])).unwrap().unwrap().used, 400);
    assert!(
        state.disable_operator(&row("mira"), 410).unwrap()
            && !state.disable_operator(&row("mira"), 411).unwrap()
    );
    assert_eq!(state.operator_session(Hash([5; 32])).unwrap(), None);
    assert!(
        !state.begin_operator_session(&session, password.as_deref(), &deed).unwrap(),
        "disabled meanwhile"
    );
    assert!(!state.set_operator_roles("operator:local:mira", &[]).unwrap());
    assert_eq!(state.operators().unwrap().len(), 2);
}
