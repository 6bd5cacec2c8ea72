//! Runs with a credential of their own: never wider than what is above, and over when it is revoked.

use std::sync::Arc;
use std::time::Duration;

use identity::{
    Actor, Binding, Mint, MintError, Reason, RunKey, RunKeyError, RunLimits, RunName, RunOrder, Scope, Under,
};
use ledger::RunId;
use store::state::State;

use crate::made::{FILES, GATE, MAIL, NOW, Stage, alice};

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn below(stage: &Stage, parent: RunId) -> RunOrder {
    RunOrder { under: Under::Run(parent), ..stage.order() }
}

#[tokio::test]
async fn a_run_token_says_all_that_the_run_is() {
    let stage = Stage::set().await;
    let actor = Actor { sub: "agent".to_owned(), iss: "https://b.example".to_owned() };
    let order = RunOrder { actors: vec![actor.clone()], scope: scope("files mail/read"), ..stage.order() };
    let minted = stage.mint.mint(order, NOW).unwrap();
    let caller = stage.bearer(minted.token.reveal()).await.unwrap();
    assert_eq!(caller.principal, alice(&stage.idp.url));
    assert_eq!(caller.groups, ["eng"]);
    assert_eq!(caller.run, RunName::Minted(minted.run.id));
    assert_eq!(caller.run.rule(), "one run token");
    assert_eq!(caller.scope, scope("files mail/read"));
    assert_eq!(caller.purpose.as_deref(), Some("tidy the backlog"));
    assert_eq!(caller.actors, [actor]);
    assert_eq!(caller.expires, NOW + 3_600);
    assert!(caller.require("files/list").is_ok());
    let refused = caller.require("mail/send").unwrap_err();
    assert_eq!((refused.reason, refused.run), (Reason::Scope, Some(minted.run.id)));
    assert_eq!(stage.at(minted.token.reveal(), NOW + 3_600).await.unwrap_err().reason, Reason::RunExpired);
}

#[tokio::test]
async fn the_purpose_and_the_groups_are_not_in_the_token() {
    let stage = Stage::set().await;
    let minted = stage.mint.mint(stage.order(), NOW).unwrap();
    let claims = minted.token.reveal().split('.').nth(1).unwrap().to_owned();
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["aud", "client_id", "exp", "iat", "iss", "jti", "run", "sub"]);
}

#[tokio::test]
async fn a_child_is_never_wider_than_its_parent() {
    let stage = Stage::set().await;
    let bound = |parent: RunId| below(&stage, parent);
    let order =
        RunOrder { scope: scope("files mail/read"), audience: vec![FILES.to_owned()], ..stage.order() };
    let parent =
        stage.mint.mint(RunOrder { lifetime: Some(Duration::from_secs(600)), ..order }, NOW).unwrap().run;
    let (wide, all) = (scope("files mail"), Scope::Unlimited);
    for wider in [wide, all, scope("files other"), scope("mail")] {
        let error = stage.mint.mint(RunOrder { scope: wider, ..bound(parent.id) }, NOW).unwrap_err();
        assert!(matches!(error, MintError::Wider), "{error}");
    }
    for elsewhere in [MAIL, GATE, "https://evil.example/mcp/files", "https://gate.example.evil/mcp/files"] {
        let order =
            RunOrder { scope: scope("files"), audience: vec![elsewhere.to_owned()], ..bound(parent.id) };
        let error = stage.mint.mint(order, NOW).unwrap_err();
        assert!(matches!(error, MintError::Audience), "{error}");
    }
    let order = RunOrder {
        scope: scope("files/list"),
        lifetime: Some(Duration::from_secs(9_999)),
        ..bound(parent.id)
    };
    let child = stage.mint.mint(order, NOW + 100).unwrap();
    assert_eq!(child.run.expires, parent.expires, "not beyond its parent");
    assert_eq!(child.run.audience, [FILES], "its parent's");
    assert_eq!(child.run.groups, parent.groups);
    let caller = stage.at(child.token.reveal(), NOW + 100).await.unwrap();
    assert_eq!(caller.scope, scope("files/list"));
}

#[tokio::test]
async fn narrowing_and_revoking_act_on_the_next_call_and_on_all_below() {
    let stage = Stage::set().await;
    let parent = stage.mint.mint(stage.order(), NOW).unwrap();
    let child = stage
        .mint
        .mint(RunOrder { scope: scope("files mail"), ..below(&stage, parent.run.id) }, NOW)
        .unwrap();
    let grandchild =
        stage.mint.mint(RunOrder { scope: scope("files"), ..below(&stage, child.run.id) }, NOW).unwrap();
    let scopes = async || {
        let mut scopes = Vec::new();
        for minted in [&parent, &child, &grandchild] {
            scopes.push(match stage.bearer(minted.token.reveal()).await {
                Ok(caller) => caller.scope.to_string(),
                Err(refused) => format!("{:?}", refused.reason),
            });
        }
        scopes
    };
    assert_eq!(scopes().await, ["unlimited", "files mail", "files"]);
    stage.mint.narrow(parent.run.id, &scope("mail files/list")).unwrap();
    assert_eq!(scopes().await, ["files/list mail", "files/list mail", "files/list"]);
    for wider in [Scope::Unlimited, scope("mail files"), scope("other")] {
        assert!(matches!(stage.mint.narrow(parent.run.id, &wider), Err(MintError::Wider)), "{wider}");
    }
    stage.mint.narrow(child.run.id, &scope("mail")).unwrap();
    assert_eq!(scopes().await, ["files/list mail", "mail", ""]);
    assert!(stage.mint.revoke(child.run.id, "ops", NOW).unwrap());
    assert!(!stage.mint.revoke(child.run.id, "ops", NOW).unwrap(), "once");
    assert_eq!(scopes().await, ["files/list mail", "RunRevoked", "ParentEnded"]);
    assert!(matches!(stage.mint.narrow(child.run.id, &scope("")), Err(MintError::Changed)));
    let error = stage.mint.mint(below(&stage, grandchild.run.id), NOW).unwrap_err();
    assert!(matches!(error, MintError::Parent(Reason::RunRevoked)), "{error}");
}

#[tokio::test]
async fn another_process_revokes_and_the_next_call_knows() {
    let stage = Stage::set().await;
    let minted = stage.mint.mint(stage.order(), NOW).unwrap();
    // What a command has open is another connection, as another process has it.
    let state = Arc::new(State::open(stage.folder.path()).unwrap());
    let key = RunKey::open(stage.folder.path()).unwrap();
    let command = Mint::new(state, key, GATE, RunLimits::default());
    for _ in 0..50 {
        assert!(stage.bearer(minted.token.reveal()).await.is_ok());
    }
    assert!(command.revoke(minted.run.id, "ops", NOW).unwrap());
    assert_eq!(stage.bearer(minted.token.reveal()).await.unwrap_err().reason, Reason::RunRevoked);
    let late = command.mint(stage.order(), NOW).unwrap();
    assert!(stage.bearer(late.token.reveal()).await.is_ok(), "and so with a run that it has minted");
}

#[tokio::test]
async fn what_is_open_hears_of_a_revocation() {
    let stage = Stage::set().await;
    let minted = stage.mint.mint(stage.order(), NOW).unwrap();
    let caller = stage.bearer(minted.token.reveal()).await.unwrap();
    let mut changes = stage.verifier.changes();
    changes.mark_unchanged();
    assert_eq!(stage.verifier.again(&caller, NOW).unwrap(), caller);
    let command = Arc::new(State::open(stage.folder.path()).unwrap());
    let heard = async {
        changes.changed().await.unwrap();
        stage.verifier.again(&caller, NOW).unwrap_err().reason
    };
    let revoke = async {
        command.revoke_run(minted.run.id, "ops", NOW).unwrap();
        std::future::pending::<()>().await;
    };
    let reason = tokio::select! {
        reason = heard => reason,
        () = stage.verifier.keep(|| NOW) => Reason::NoCredentials,
        () = revoke => Reason::NoCredentials,
    };
    assert_eq!(reason, Reason::RunRevoked);
}

#[tokio::test]
async fn orders_that_cannot_be_are_refused() {
    let stage = Stage::set().await;
    let order = || stage.order();
    let mint = |order| stage.mint.mint(order, NOW).unwrap_err().to_string();
    for (order, expected) in [
        (RunOrder { purpose: Some("x".repeat(1_001)), ..order() }, "1000 bytes"),
        (RunOrder { purpose: Some("a\nb".to_owned()), ..order() }, "control characters"),
        (RunOrder { lifetime: Some(Duration::ZERO), ..order() }, "a second at least"),
        (RunOrder { audience: vec!["https://other.example".to_owned()], ..order() }, "not for"),
        (RunOrder { audience: vec![FILES.to_owned(); 65], ..order() }, "64 endpoints"),
        (RunOrder { audience: vec![format!("{FILES}/{}", "x".repeat(500))], ..order() }, "512 bytes"),
        (RunOrder { under: Under::Run(RunId([7; 16])), ..order() }, "the run is not known"),
    ] {
        let text = mint(order);
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let long = RunOrder { lifetime: Some(Duration::from_secs(1 << 40)), ..order() };
    assert_eq!(stage.mint.mint(long, NOW).unwrap().run.expires, NOW + 12 * 3_600, "the longest there is");
    let expired = stage.mint.mint(order(), NOW - 9_999).unwrap();
    assert!(mint(below(&stage, expired.run.id)).contains("the run has expired"));
    let mut above = stage.mint.mint(order(), NOW).unwrap().run.id;
    for _ in 0..7 {
        above = stage.mint.mint(below(&stage, above), NOW).unwrap().run.id;
    }
    assert!(mint(below(&stage, above)).contains("eight runs"));
}

#[tokio::test]
async fn where_runs_must_be_bound_none_is_minted_without() {
    let stage = Stage::with(|settings| settings.runs.binding = Binding::Required).await;
    assert!(matches!(stage.mint.mint(stage.order(), NOW), Err(MintError::Binding)));
    let bound = RunOrder { bound: Some("x".to_owned()), ..stage.order() };
    let parent = stage.mint.mint(bound, NOW).unwrap().run;
    let child = stage.mint.mint(below(&stage, parent.id), NOW).unwrap().run;
    assert_eq!(child.bound.as_deref(), Some("x"), "its parent's");
}

#[test]
fn the_run_key_is_private_whole_and_the_same_tomorrow() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let first = format!("{:?}", RunKey::open(folder.path()).unwrap());
    assert_eq!(first, format!("{:?}", RunKey::open(folder.path()).unwrap()));
    let path = folder.path().join("run.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(RunKey::open(folder.path()), Err(RunKeyError::Open(_))));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(RunKey::open(folder.path()), Err(RunKeyError::Form(_))));
}
