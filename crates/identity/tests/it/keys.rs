//! Service keys: their life from issue to revocation.

use std::time::Duration;

use identity::{KeyError, NewKey, PrincipalKind, Reason, RunName, issue_key, rotate_key};

use crate::made::{GATE, NOW, Stage};

const DAY: u64 = 24 * 60 * 60;

async fn reason(stage: &Stage, key: &str, now: u64) -> Option<Reason> {
    stage.at(key, now).await.err().map(|refused| refused.reason)
}

#[tokio::test]
async fn a_key_stands_for_its_holder_until_it_expires() {
    let stage = Stage::set().await;
    let issued = stage.key();
    let key = issued.secret.reveal();
    assert!(key.starts_with(&format!("tbk_{}_", issued.key.id)));
    let caller = stage.bearer(key).await.unwrap();
    assert_eq!(caller.principal.kind, PrincipalKind::Service);
    assert_eq!((caller.principal.id.as_str(), caller.principal.issuer.as_str()), ("ci-bot", GATE));
    assert_eq!(caller.groups, ["ci"]);
    assert_eq!(caller.run, RunName::Unnamed);
    assert_eq!(caller.key, Some(issued.key.id.clone()));
    assert_eq!(reason(&stage, key, NOW + 90 * DAY - 1).await, None);
    assert_eq!(reason(&stage, key, NOW + 90 * DAY).await, Some(Reason::KeyExpired));
    assert_eq!(stage.verifier.again(&caller, NOW + 90 * DAY).unwrap_err().reason, Reason::KeyExpired);
}

#[tokio::test]
async fn a_rotated_key_overlaps_and_a_revoked_one_ends_at_once() {
    let stage = Stage::set().await;
    let first = stage.key();
    let id = first.key.id.clone();
    let caller = stage.bearer(first.secret.reveal()).await.unwrap();
    let hour = Duration::from_secs(3_600);
    let second = rotate_key(&stage.state, &id, identity::KEY_LIFETIME, hour, NOW).unwrap();
    assert_ne!(first.secret, second.secret);
    assert_eq!(reason(&stage, first.secret.reveal(), NOW + 3_599).await, None);
    assert_eq!(reason(&stage, first.secret.reveal(), NOW + 3_600).await, Some(Reason::KeyExpired));
    assert_eq!(reason(&stage, second.secret.reveal(), NOW + 3_600).await, None);
    let third = rotate_key(&stage.state, &id, identity::KEY_LIFETIME, Duration::ZERO, NOW).unwrap();
    assert_eq!(reason(&stage, first.secret.reveal(), NOW).await, Some(Reason::KeyNotKnown), "two before");
    assert_eq!(reason(&stage, second.secret.reveal(), NOW).await, Some(Reason::KeyExpired), "no overlap");
    assert_eq!(stage.verifier.again(&caller, NOW).unwrap_err().reason, Reason::KeyNotKnown);
    assert!(stage.state.revoke_key(&id, NOW).unwrap());
    assert_eq!(reason(&stage, third.secret.reveal(), NOW).await, Some(Reason::KeyRevoked));
    let error = rotate_key(&stage.state, &id, identity::KEY_LIFETIME, hour, NOW).unwrap_err();
    assert!(matches!(error, KeyError::Unknown(_)), "{error}");
}

#[tokio::test]
async fn somebody_elses_secret_is_no_key_of_this_id() {
    let stage = Stage::set().await;
    let (one, two) = (stage.key(), stage.key());
    // A well-formed key with the one's id and the other's secret: its check digits are made anew.
    let (id, secret) = (&one.key.id, two.secret.reveal().get(13..56).unwrap());
    let checked = format!("tbk_{id}_{secret}");
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number = crc32c::crc32c(checked.as_bytes());
    let mut check = Vec::new();
    for _ in 0..6 {
        check.push(char::from(digits[(number % 62) as usize]));
        number /= 62;
    }
    let mixed = checked + &check.iter().rev().collect::<String>();
    assert_eq!(reason(&stage, &mixed, NOW).await, Some(Reason::KeyNotKnown));
}

#[tokio::test]
async fn only_a_digest_is_kept() {
    let stage = Stage::set().await;
    let issued = stage.key();
    stage.bearer(issued.secret.reveal()).await.unwrap();
    let secret = &issued.secret.reveal().as_bytes()[13..];
    let mut files = 0;
    for file in std::fs::read_dir(stage.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        files += 1;
    }
    assert!(files >= 2, "{files}");
    assert!(!format!("{issued:?}").contains(issued.secret.reveal().get(13..).unwrap()));
}

#[tokio::test]
async fn the_last_use_is_written_once_a_minute() {
    let stage = Stage::set().await;
    let issued = stage.key();
    let used = async |now: u64, expected: u64| {
        stage.at(issued.secret.reveal(), now).await.unwrap();
        // The write is on its way on another thread.
        while stage.state.key(&issued.key.id).unwrap().unwrap().used != Some(expected) {
            tokio::task::yield_now().await;
        }
    };
    used(NOW, NOW).await;
    used(NOW + 59, NOW).await;
    used(NOW + 60, NOW + 60).await;
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let stage = Stage::set().await;
    for (name, group) in [("", "ci"), ("ci\nbot", "ci"), ("ci", " "), ("ci", &"x".repeat(257))] {
        let new = NewKey {
            name: name.to_owned(),
            groups: vec![group.to_owned()],
            note: String::new(),
            created_by: "ops".to_owned(),
            lifetime: identity::KEY_LIFETIME,
        };
        assert!(matches!(issue_key(&stage.state, &new, NOW), Err(KeyError::Name(_))), "{name} {group}");
    }
    assert_eq!(stage.state.keys("").unwrap(), []);
}
