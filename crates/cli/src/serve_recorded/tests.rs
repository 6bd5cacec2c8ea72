//! What a client is played, for runs made up line by line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ledger::{Payload, Seq, Status};
use serde_json::Value;
use store::{CallRow, Index, Mode};
use tokio::sync::mpsc;

use super::chosen_server;
use super::client::{Client, Play};
use super::pace::Pace;
use super::place::Order;
use super::tape::{Tape, single};
use super::turn::Ending;
use crate::read::replay::Sealed;
use crate::read::tests::made::{Ask, DAY, Log, ORIGIN, payload, run};

/// Who says a line of a made-up run: the number is the call's.
#[derive(Clone, Copy)]
enum Says {
    /// The client asks.
    Asks(u64),
    /// The server answers.
    Answers(u64, Status),
    /// The server tells something in the course of a call.
    Tells(u64),
    /// The server asks something in the course of a call, and gets an answer.
    AsksBack(u64),
    /// The gateway refuses what the client asks.
    Refused(u64),
    /// The client tells something.
    Client,
    /// The server tells something outside of calls.
    Server,
}

use Says::{Answers, Asks, AsksBack, Client as Told, Refused, Server, Tells};

/// A run as the index and the ledger have it.
struct Made {
    rows: Vec<CallRow>,
    payloads: BTreeMap<Seq, Payload>,
    erased: BTreeSet<Seq>,
}

fn made(lines: &[(Says, &str)]) -> Made {
    let mut log = Log::at(DAY);
    log.open_run(1);
    let mut intents: BTreeMap<u64, Seq> = BTreeMap::new();
    for (says, text) in lines {
        let ask = |call: u64| Ask { call, ..Ask::default() };
        let (seq, by_server) = match *says {
            Asks(call) => {
                let seq = log.intent(ask(call));
                intents.insert(call, seq);
                (seq, false)
            }
            Answers(call, status) => (log.outcome(intents[&call], status, "{}"), true),
            Tells(call) => (log.progress(intents[&call]), true),
            AsksBack(call) => (log.asked_inside(call, 100 + call), true),
            Refused(call) => (log.refused(ask(call), "no refunds for agents"), false),
            Told => (log.message(1, "m"), false),
            Server => (log.message(1, "m"), true),
        };
        set_body(&mut log, seq, text, by_server);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::open(dir.path(), Mode::ReadWrite).unwrap();
    let entries = log.entries();
    index.apply(ORIGIN, &entries).unwrap();
    let payloads = entries.iter().filter_map(|e| Some((e.seq, e.payload?.clone()))).collect();
    Made { rows: index.of_run(run(1)).unwrap(), payloads, erased: BTreeSet::new() }
}

/// Gives a record the message that it is to hold.
fn set_body(log: &mut Log, seq: Seq, text: &str, by_server: bool) {
    let message: Value = serde_json::from_str(text).unwrap();
    let stateless = text.contains("2026-07-28");
    let direction = if by_server { r#""server""# } else { r#""client""# };
    let era = if stateless { r#""stateless""# } else { r#""session""# };
    let reason = r#""no refunds for agents""#;
    let mut fields = vec![("server", r#""files""#), ("direction", direction), ("era", era)];
    let method = message["method"].to_string();
    let name = message["params"]["name"].to_string();
    if message["method"].is_string() {
        fields.push(("method", &method));
    }
    if message["params"]["name"].is_string() {
        fields.push(("name", &name));
    }
    let record = &mut log.records[usize::try_from(seq.0).unwrap()];
    if record.0.verdict == Some(ledger::Verdict::Deny) {
        fields.push(("reason", reason));
    }
    record.1 = Some(payload(&fields, text, &[]));
}

impl Made {
    /// The record of the n-th line's message has a payload whose key is gone.
    fn erase(mut self, seq: u64) -> Made {
        self.erased.insert(Seq(seq));
        self
    }

    fn client(self, order: Order) -> (Arc<Client>, mpsc::Receiver<Bytes>) {
        let Made { rows, payloads, erased } = self;
        let sealed = move |seq| match payloads.get(&seq) {
            _ if erased.contains(&seq) => Sealed::Erased,
            Some(payload) => Sealed::Open(Box::new(payload.clone())),
            None => Sealed::Nothing,
        };
        let play = Play { tape: Tape::of(&rows, sealed), order, pace: Pace::AtOnce };
        let (outside, messages) = mpsc::channel(16);
        (Client::new(Arc::new(play), outside), messages)
    }
}

/// Sends a message; gives what the server said in its course and its answer. Requests of the server are answered.
async fn send(client: &Arc<Client>, text: &str) -> Vec<String> {
    let message = single(text.as_bytes()).unwrap();
    let Some(turn) = client.take(&message) else { return Vec::new() };
    let (out, mut messages) = mpsc::channel(16);
    let playing = {
        let client = Arc::clone(client);
        tokio::spawn(async move {
            match client.play(&turn, Some(&out)).await {
                Ending::Message(message) | Ending::Http { message, .. } => Some(message),
                Ending::Silence => None,
            }
        })
    };
    let mut heard = Vec::new();
    while let Some(message) = messages.recv().await {
        let value: Value = serde_json::from_slice(&message).unwrap();
        if value.get("id").is_some() {
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, value["id"]);
            assert!(client.take(&single(answer.as_bytes()).unwrap()).is_none());
        }
        heard.push(String::from_utf8(message.to_vec()).unwrap());
    }
    heard.extend(playing.await.unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()));
    heard
}

/// The text of the error that the last message is.
async fn error(client: &Arc<Client>, text: &str) -> (i64, String) {
    let heard = send(client, text).await;
    let answer: Value = serde_json::from_str(heard.last().unwrap()).unwrap();
    let error = &answer["error"];
    (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
}

fn call(id: &str, name: &str, more: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}"{more}}}}}"#)
}

fn result(id: &str, text: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"text":"{text}"}}}}"#)
}

const OK: Status = Status::Ok;

#[tokio::test]
async fn repeats_come_in_recorded_order_and_the_last_one_stays() {
    let (ask, other) = (call("1", "read", r#","arguments":{"a":1,"b":2}"#), call("2", "list", ""));
    let run = made(&[
        (Asks(1), &ask),
        (Answers(1, OK), &result("1", "first")),
        (Asks(2), &other),
        (Answers(2, OK), &result("2", "other")),
        (Asks(3), &ask),
        (Answers(3, OK), &result("1", "second")),
    ]);
    let (client, _) = run.client(Order::Any);
    let again = call(r#""x""#, "read", r#","arguments":{ "b":2.0, "a":1 },"_meta":{"k":1}"#);
    for expected in ["first", "second", "second"] {
        assert_eq!(send(&client, &again).await, [result(r#""x""#, expected)]);
    }
    assert_eq!(send(&client, &other).await, [result("2", "other")]);
}

#[tokio::test]
async fn what_happened_inside_a_call_happens_again() {
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":5}}"#;
    let sampling = r#"{"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{"maxTokens":1}}"#;
    let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"late"}}"#;
    let ask = call("1", "slow", r#","_meta":{"progressToken":1}"#);
    let lines = [
        (Asks(1), ask.as_str()),
        (Tells(1), progress),
        (AsksBack(1), sampling),
        (Tells(1), log),
        (Answers(1, OK), &result("1", "done")),
    ];
    let (client, _) = made(&lines).client(Order::Any);
    let with_token = send(&client, &call("5", "slow", r#","_meta":{"progressToken":"t"}"#)).await;
    assert_eq!(
        with_token,
        [
            &progress.replace("Token\":1", "Token\":\"t\""),
            &sampling.replace("77", "1"),
            log,
            result("5", "done").as_str(),
        ]
    );
    let without = send(&client, &call("6", "slow", "")).await;
    assert_eq!(without, [&sampling.replace("77", "2"), log, result("6", "done").as_str()]);
}

#[tokio::test]
async fn what_belongs_to_no_call_follows_what_it_followed() {
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let roots = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let (client, mut outside) =
        made(&[(Told, initialized), (Server, roots), (Server, roots)]).client(Order::Any);
    assert_eq!(send(&client, initialized).await, Vec::<String>::new());
    assert_eq!(outside.recv().await.as_deref(), Some(roots.as_bytes()));
    assert_eq!(outside.recv().await.as_deref(), Some(roots.as_bytes()));
    assert_eq!(send(&client, initialized).await, Vec::<String>::new());
    client.close();
    drop(client);
    assert_eq!(outside.recv().await, None, "it was recorded once");
}

#[tokio::test]
async fn rounds_follow_their_states() {
    const META: &str = r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    let asking = |state: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"input_required","inputRequests":{{"k":{{"method":"roots/list"}}}},"requestState":"{state}"}}}}"#
        )
    };
    let first = call("1", "t", META);
    let second = |state: &str| {
        call("1", "t", &format!(r#","requestState":"{state}","inputResponses":{{"k":{{}}}}{META}"#))
    };
    let asked = Status::InputRequired;
    let run = made(&[
        (Asks(1), &first),
        (Answers(1, asked), &asking("s1")),
        (Asks(2), &second("s1")),
        (Answers(2, OK), &result("1", "one")),
        (Asks(3), &first),
        (Answers(3, asked), &asking("s2")),
        (Asks(4), &second("s2")),
        (Answers(4, OK), &result("1", "two")),
    ]);
    let (client, _) = run.client(Order::Any);
    assert_eq!(send(&client, &first).await, [asking("s1")]);
    assert_eq!(send(&client, &first).await, [asking("s2")]);
    assert_eq!(send(&client, &second("s2")).await, [result("1", "two")]);
    assert_eq!(send(&client, &second("s1")).await, [result("1", "one")]);
    assert_eq!(error(&client, &second("s3")).await.0, -31020);
    let legacy = error(&client, &call("1", "t", "")).await;
    assert!(legacy.1.contains("the run is of the stateless era"), "{legacy:?}");
}

#[tokio::test]
async fn what_was_not_recorded_is_an_error_that_says_so() {
    let run = || {
        made(&[
            (Asks(1), &call("1", "read", r#","arguments":{"a":1}"#)),
            (Answers(1, OK), &result("1", "x")),
            (Refused(2), &call("2", "refund", "")),
            (Asks(3), &call("3", "hang", "")),
        ])
    };
    let (client, _) = run().client(Order::Any);
    let list = r#"{"jsonrpc":"2.0","id":9,"method":"resources/list"}"#;
    for (text, code, expected) in [
        (call("1", "read", ""), -31020, "`tools/call` `read` was not recorded with these parameters"),
        (call("1", "other", ""), -31020, "`tools/call` `other` was not recorded: the run never asked for it"),
        (list.to_owned(), -32601, "`resources/list` was not recorded: the run has no request of this method"),
        (
            call("1", "hang", ""),
            -31020,
            "no answer was recorded for record #4: it was still open when the record was read",
        ),
    ] {
        assert_eq!(error(&client, &text).await, (code, expected.to_owned()));
    }
    let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
    assert_eq!(send(&client, ping).await, [r#"{"jsonrpc":"2.0","id":"p","result":{}}"#]);
    let denied = send(&client, &call("7", "refund", "")).await;
    assert!(denied[0].contains(r#""text":"no refunds for agents"}],"isError":true"#), "{denied:?}");

    let (client, _) = run().erase(2).client(Order::Any);
    let answer = error(&client, &call("1", "read", r#","arguments":{"a":1}"#)).await;
    assert_eq!(answer.1, "the answer of record #2 cannot be shown: the key to this payload was destroyed");
    let (client, _) = run().erase(1).client(Order::Any);
    let answer = error(&client, &call("1", "read", r#","arguments":{"a":1}"#)).await;
    let expected = "`tools/call` `read` was not recorded readably: the request of record #1 cannot be shown, the key to this payload was destroyed";
    assert_eq!(answer, (-31020, expected.to_owned()));
}

#[tokio::test]
async fn strict_demands_the_recorded_order() {
    let greeting =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    let greeted = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#;
    let (a, b) = (call("1", "a", ""), call("1", "b", ""));
    let run = made(&[
        (Asks(1), greeting),
        (Answers(1, OK), greeted),
        (Asks(2), &a),
        (Answers(2, OK), &result("1", "a")),
        (Asks(3), &b),
        (Answers(3, OK), &result("1", "b")),
    ]);
    let (client, _) = run.client(Order::Recorded);
    let early = error(&client, &b).await.1;
    assert_eq!(
        early,
        "`tools/call` `b` was not recorded here: the run goes on with `tools/call` `a` (record #3)"
    );
    assert_eq!(send(&client, greeting).await, [greeted]);
    assert_eq!(send(&client, &a).await, [result("1", "a")]);
    assert_eq!(send(&client, greeting).await, [greeted], "who connects again does not disturb the order");
    assert_eq!(send(&client, &b).await, [result("1", "b")]);
    let late = error(&client, &b).await.1;
    assert_eq!(late, "`tools/call` `b` was not recorded here: the run has ended");
}

#[tokio::test]
async fn a_subscription_lasts_until_the_client_leaves() {
    let meta = |id: &str| format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
    let acknowledged = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{{}}}}}"#,
            meta(id)
        )
    };
    let listen = r#"{"jsonrpc":"2.0","id":"old","method":"subscriptions/listen","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let run = made(&[(Asks(1), listen), (Tells(1), &acknowledged(r#""old""#))]);
    let (client, _) = run.client(Order::Any);
    let asked = listen.replace(r#""old""#, "5");
    let turn = client.take(&single(asked.as_bytes()).unwrap()).unwrap();
    assert!(client.is_streamed(&turn));
    let (out, mut messages) = mpsc::channel(16);
    let playing = tokio::spawn(async move { client.play(&turn, Some(&out)).await });
    assert_eq!(messages.recv().await.as_deref(), Some(acknowledged("5").as_bytes()));
    assert!(!playing.is_finished());
    drop(messages);
    assert!(matches!(playing.await.unwrap(), Ending::Silence));
}

#[tokio::test]
async fn an_answer_that_was_http_alone_stays_so() {
    let mut run = made(&[(Asks(1), &call("1", "read", "")), (Answers(1, Status::Error), "{}")]);
    run.rows[0].http_status = Some(502);
    run.payloads.insert(Seq(2), payload(&[], "Bad Gateway", &[]));
    let (client, _) = run.client(Order::Any);
    let asked = call("3", "read", "");
    let turn = client.take(&single(asked.as_bytes()).unwrap()).unwrap();
    let (out, _messages) = mpsc::channel(16);
    let Ending::Http { status, body, message } = client.play(&turn, Some(&out)).await else {
        panic!("no HTTP")
    };
    assert_eq!((status, body.as_ref()), (502, b"Bad Gateway".as_slice()));
    assert!(message.starts_with(br#"{"jsonrpc":"2.0","id":3,"error":{"code":-32603,"#), "{message:?}");
}

#[tokio::test]
async fn a_cancelled_request_has_no_answer() {
    let sampling = r#"{"jsonrpc":"2.0","id":77,"method":"sampling/createMessage","params":{}}"#;
    let ask = call("1", "slow", "");
    let run = made(&[(Asks(1), &ask), (AsksBack(1), sampling), (Answers(1, OK), &result("1", "done"))]);
    let (client, _) = run.client(Order::Any);
    let turn = client.take(&single(ask.as_bytes()).unwrap()).unwrap();
    let (out, mut messages) = mpsc::channel(16);
    let (playing, id) = (Arc::clone(&client), turn.id.clone());
    let task = tokio::spawn(async move { playing.play(&turn, Some(&out)).await });
    client.keep(&id, task.abort_handle());
    assert!(messages.recv().await.is_some(), "it waits for the answer to this");
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    assert!(client.take(&single(cancel.as_bytes()).unwrap()).is_none());
    assert!(task.await.unwrap_err().is_cancelled());
}

#[test]
fn one_server_of_several_is_to_be_chosen() {
    let servers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let chosen = |called: &[&str], named| chosen_server(&servers(called), named).map_err(|mistake| mistake.0);
    assert_eq!(chosen(&["a"], None), Ok(Some("a".to_owned())));
    assert_eq!(chosen(&["a", "b"], Some("b")), Ok(Some("b".to_owned())));
    let several = "the run called several servers; choose one with `--server`: `a`, `b`";
    assert_eq!(chosen(&["a", "b"], None), Err(several.to_owned()));
    let other = "the run did not call a server `c`; it called `a`, `b`";
    assert_eq!(chosen(&["a", "b"], Some("c")), Err(other.to_owned()));
}
