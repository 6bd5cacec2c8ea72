//! Destinations that are down, slow, or lie: nothing is lost, nothing is sent where it was not to go, and nobody else waits.

use std::time::Duration;

use export::Courier;
use store::state::{DestinationRow, State};

use crate::made::{Does, Receiver, ask, courier, pass, state, tell, webhook};

const FINE: Does = Does::Answers("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");

fn row(state: &State, name: &str) -> DestinationRow {
    state.destinations().unwrap().into_iter().find(|row| row.name == name).unwrap()
}

fn header<'a>(request: &'a str, name: &str) -> &'a str {
    request.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap()
}

/// Rounds until there is nothing to deliver: one ends early where the machine is slow. Gives how many were tried.
async fn rounds(courier: &mut Courier) -> usize {
    let mut all = 0;
    loop {
        match courier.round().await.unwrap() {
            0 => return all,
            tried => all += tried,
        }
    }
}

#[tokio::test]
async fn whatever_fails_once_arrives_later_under_the_same_id() {
    for does in [
        Does::Drops,
        Does::Hangs,
        Does::Answers("HTTP/1.1 500 Oh no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        Does::Answers(
            "HTTP/1.1 503 Wait\r\nretry-after: 40\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ),
        Does::Answers(
            "HTTP/1.1 429 Slowly\r\nretry-after: 40\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ),
        Does::Answers("HTTP/1.1 408 Late\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        Does::Answers("SSH-2.0-OpenSSH_9\r\n"),
        Does::Answers("HTTP/1.1 700 What\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let state = state(folder.path());
        let receiver = Receiver::start(does.clone()).await;
        let mut settings = webhook("hook", &receiver.url);
        settings.wait = if matches!(does, Does::Hangs) { Duration::from_secs(2) } else { settings.wait };
        tell(&state, &[&settings]);
        let mut courier = courier(&state, settings);
        ask(&state, "hold_1");
        ask(&state, "hold_2");

        assert_eq!(courier.round().await.unwrap(), 1, "{does:?}: who fails is left alone");
        assert_eq!(courier.round().await.unwrap(), 0, "{does:?}: for a while");
        let failed = row(&state, "hook");
        assert_eq!((failed.failing, failed.waiting, failed.failures, failed.dead), (1, 2, 1, 0), "{does:?}");
        receiver.now_does(FINE);
        pass(2);
        let asked_for_more = matches!(does, Does::Answers(answer) if answer.contains("retry-after"));
        assert_eq!(rounds(&mut courier).await, if asked_for_more { 0 } else { 2 }, "{does:?}");
        pass(38);
        rounds(&mut courier).await;
        let done = row(&state, "hook");
        assert_eq!((done.delivered, done.waiting, done.failures), (2, 0, 0), "{does:?}");
        let seen = receiver.seen();
        let of_first: Vec<&str> = seen
            .iter()
            .filter(|request| request.contains("hold_1"))
            .map(|request| header(request, "webhook-id"))
            .collect();
        assert_eq!(of_first.len(), 2, "{does:?}");
        assert_eq!(of_first[0], of_first[1], "a receiver can tell that it is the same");
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_dead_at_once() {
    for (answer, error) in [
        ("HTTP/1.1 400 Bad\r\ncontent-length: 6\r\n\r\ncanary", "it answers 400"),
        ("HTTP/1.1 404 None\r\ncontent-length: 0\r\n\r\n", "it answers 404"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/canary\r\ncontent-length: 0\r\n\r\n",
            "it answers 302, a redirect, which is not followed; configure the address it leads to",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let state = state(folder.path());
        let receiver = Receiver::start(Does::Answers(answer)).await;
        let settings = webhook("hook", &receiver.url);
        tell(&state, &[&settings]);
        let mut courier = courier(&state, settings);
        ask(&state, "hold_1");
        assert_eq!(courier.round().await.unwrap(), 1);
        let dead = state.dead_letters("hook", 10).unwrap();
        assert_eq!((dead.len(), dead[0].error.as_str()), (1, error));
        assert_eq!((row(&state, "hook").gone, receiver.seen().len()), (None, 1));
    }
}

#[tokio::test]
async fn who_is_gone_is_asked_no_more_until_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let gone = "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let receiver = Receiver::start(Does::Answers(gone)).await;
    let settings = webhook("hook", &receiver.url);
    tell(&state, &[&settings]);
    let mut courier = courier(&state, settings);
    ask(&state, "hold_1");
    ask(&state, "hold_2");
    assert_eq!(courier.round().await.unwrap(), 1);
    ask(&state, "hold_3");
    pass(1_000);
    assert_eq!((courier.round().await.unwrap(), receiver.seen().len()), (0, 1));
    assert_eq!((row(&state, "hook").dead, row(&state, "hook").waiting), (3, 0));
    receiver.now_does(FINE);
    assert_eq!(state.retry_dead("hook", crate::made::now()).unwrap(), Some(3));
    assert_eq!(rounds(&mut courier).await, 3);
    assert_eq!((row(&state, "hook").delivered, row(&state, "hook").dead), (3, 0));
}

#[tokio::test]
async fn a_receiver_that_floods_has_it_and_no_other_waits_for_one_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let (slow, flood) = (Receiver::start(Does::Hangs).await, Receiver::start(Does::Floods).await);
    let mut settings = [webhook("slow", &slow.url), webhook("flood", &flood.url)];
    settings[0].wait = Duration::from_secs(600);
    tell(&state, &[&settings[0], &settings[1]]);
    let [mut slow, mut flood] = settings.map(|settings| courier(&state, settings));
    ask(&state, "hold_1");
    let hanging = tokio::spawn(async move { slow.round().await });
    assert_eq!(flood.round().await.unwrap(), 1);
    assert_eq!(row(&state, "flood").delivered, 1, "its status counts, its body is not read to the end");
    ask(&state, "hold_2");
    assert_eq!(flood.round().await.unwrap(), 1);
    assert!(!hanging.is_finished(), "the other still waits, and nobody for it");
    hanging.abort();
    drop(hanging);
    assert_eq!(row(&state, "slow").waiting, 2, "what was under way is not lost");
}

#[tokio::test]
async fn a_status_stands_whatever_becomes_of_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let receiver = Receiver::start(Does::Stalls("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nha")).await;
    let settings = webhook("hook", &receiver.url);
    tell(&state, &[&settings]);
    ask(&state, "hold_1");
    assert_eq!(courier(&state, settings).round().await.unwrap(), 1);
    assert_eq!((row(&state, "hook").delivered, receiver.seen().len()), (1, 1), "it is not told twice");
}

#[tokio::test]
async fn what_dies_after_a_day_has_been_tried_less_and_less_often() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let receiver = Receiver::start(Does::Drops).await;
    let settings = webhook("hook", &receiver.url);
    tell(&state, &[&settings]);
    let mut courier = courier(&state, settings);
    ask(&state, "hold_1");
    let mut passed = 0;
    while row(&state, "hook").dead == 0 {
        courier.round().await.unwrap();
        pass(250);
        passed += 250;
        assert!(passed < 100_000, "it is never given up");
    }
    assert!(passed >= 86_400, "it was given up after {passed} s");
    let attempts = state.dead_letters("hook", 1).unwrap()[0].attempts;
    assert!((100..346).contains(&attempts), "{attempts}: some 150 s apart");
}

#[tokio::test]
async fn a_test_says_what_came_of_it_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = state(folder.path());
    let receiver = Receiver::start(FINE).await;
    let courier = courier(&state, webhook("hook", &receiver.url));
    assert_eq!(courier.test().await, (true, "it answers 204".to_owned()));
    receiver
        .now_does(Does::Answers("HTTP/1.1 403 No\r\ncontent-length: 6\r\nconnection: close\r\n\r\ncanary"));
    assert_eq!(courier.test().await, (false, "it answers 403".to_owned()));
    let nobody = webhook("hook", "http://127.0.0.1:1/");
    let refused = crate::made::courier(&state, nobody).test().await;
    assert_eq!(refused, (false, "it cannot be reached: connection refused".to_owned()));
    assert!(receiver.seen()[0].contains("\"type\":\"test\""));
    assert_eq!(state.destinations().unwrap(), []);
}
