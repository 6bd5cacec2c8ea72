//! What a task's client is told, in the extension's words (SEP-2663).

use std::collections::BTreeMap;

use ledger::Hash;
use mcp::error::ErrorCode;
use mcp::fields::ResultView;
use mcp::message::{Answer, Frame, Kind};
use mcp::mrtr::InputRequired;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use store::state::{HoldTask, TaskStanding};

use super::TaskId;
use crate::account::json_text;
use crate::clock;

/// Milliseconds between two questions. People take longer, and each question is a record.
const INTERVAL: u64 = 5_000;

/// What came of a task's call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Came {
    /// The result that its client is shown.
    Result(Box<RawValue>),
    /// The JSON-RPC error that its client is shown.
    Error(Box<RawValue>),
    /// There is no answer, and why.
    Lost(String),
    /// The server asks something of the client before it can answer.
    Asks(Asks),
}

/// What a server asks of a task's client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asks {
    /// Which time: a key is not used twice in a task's life.
    round: u32,
    /// By the server's own keys.
    requests: BTreeMap<String, Box<RawValue>>,
    /// The server's state, as JSON.
    state: Option<String>,
}

/// An answer's `result`, and how it stands in the record.
#[derive(Debug)]
pub(crate) struct Told {
    /// What is sent, JSON.
    pub(crate) result: String,
    /// The same with digests in the place of the task's id and of what the server has said.
    pub(crate) recorded: String,
}

impl Came {
    /// What an answer comes to. `round`: how often the server has asked before.
    pub(crate) fn of(answer: &[u8], round: u32) -> Came {
        let Ok(Frame::Single(message)) = mcp::message::parse(answer) else {
            return Came::lost("what the server answered cannot be read");
        };
        match message.kind() {
            Kind::Response { outcome: Answer::Error(error), .. } => Came::Error((*error).to_owned()),
            Kind::Response { outcome: Answer::Result(result), .. } => {
                let view = ResultView::of(result);
                if view.is_task() {
                    return Came::lost(
                        "the server answered with a task of its own, though its client takes none now",
                    );
                }
                let Some(asked) = InputRequired::of(result) else {
                    return Came::Result((*result).to_owned());
                };
                let requests = view.raw_input_requests().into_iter();
                let requests = requests.map(|(key, request)| (key, request.to_owned())).collect();
                Came::Asks(Asks { round, requests, state: asked.state.map(|state| json_text(&state)) })
            }
            _ => Came::lost("what the server answered is no answer"),
        }
    }

    /// Where the protocol, and not the tool, has failed.
    pub(crate) fn lost(why: &str) -> Came {
        Came::Lost(why.to_owned())
    }
}

impl Asks {
    /// How often the server has asked with this.
    pub(crate) fn rounds(&self) -> u32 {
        self.round.saturating_add(1)
    }

    /// What answers all that is asked, as `inputResponses` by the server's own keys; `None`: something is not answered.
    pub(crate) fn answers(&self, responses: &BTreeMap<String, &RawValue>) -> Option<String> {
        let answers = self.requests.keys().map(|key| {
            let answer = responses.get(&self.key(key))?;
            Some(format!("{}:{}", json_text(key), answer.get()))
        });
        let answers: Option<Vec<String>> = answers.collect();
        Some(format!("{{{}}}", answers?.join(",")))
    }

    /// What the next round brings the server, as members of its params: these answers, and the server's own state.
    pub(crate) fn bring(&self, answers: Option<String>) -> Vec<(&'static str, String)> {
        let answers = answers.map(|answers| ("inputResponses", answers));
        let state = self.state.clone().map(|state| ("requestState", state));
        answers.into_iter().chain(state).collect()
    }

    /// Whether the server asks nothing and wants to be asked again.
    pub(crate) fn is_nothing(&self) -> bool {
        self.requests.is_empty()
    }

    fn key(&self, key: &str) -> String {
        format!("{}/{key}", self.round)
    }

    fn as_json(&self) -> String {
        let requests = self.requests.iter();
        let members: Vec<String> = requests
            .map(|(key, request)| format!("{}:{}", json_text(&self.key(key)), request.get()))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

impl Told {
    /// Of a task that was made just now.
    pub(crate) fn made(task: &TaskId, row: &HoldTask, waits: &str) -> Told {
        let mut members = members(task, row, ("working", Some(waits)));
        members.insert("resultType".to_owned(), "task".into());
        let result = Value::from(members).to_string();
        Told { recorded: without_id(task, &result), result }
    }

    /// Of a task as it stands; `None`: what it came to is missing.
    pub(crate) fn now(task: &TaskId, row: &HoldTask, (waits, came): (&str, Option<&Came>)) -> Option<Told> {
        let (status, why, said) = match (row.standing, came) {
            (TaskStanding::Waits, _) => ("working", Some(waits), None),
            (TaskStanding::Runs, _) => ("working", Some("the call is being made"), None),
            (TaskStanding::Cancelled, _) => ("cancelled", Some(crate::asking::DECLINED), None),
            // It is asked again with the next question.
            (TaskStanding::Asks, Some(Came::Asks(asks))) if asks.is_nothing() => {
                ("working", Some("the server is not ready yet"), None)
            }
            (TaskStanding::Asks, Some(Came::Asks(asks))) => {
                ("input_required", None, Some(("inputRequests", asks.as_json())))
            }
            (TaskStanding::Done, Some(Came::Result(result))) => {
                ("completed", None, Some(("result", result.get().to_owned())))
            }
            (TaskStanding::Done, Some(Came::Error(error))) => {
                ("failed", None, Some(("error", error.get().to_owned())))
            }
            (TaskStanding::Done, Some(Came::Lost(why))) => {
                let code = ErrorCode::INTERNAL_ERROR.0;
                (
                    "failed",
                    Some(why.as_str()),
                    Some(("error", json!({ "code": code, "message": why }).to_string())),
                )
            }
            (TaskStanding::Asks | TaskStanding::Done, _) => return None,
        };
        let mut members = members(task, row, (status, why));
        members.insert("resultType".to_owned(), "complete".into());
        let result = Value::from(members).to_string();
        let Some((name, said)) = said else {
            return Some(Told { recorded: without_id(task, &result), result });
        };
        let open = result.strip_suffix('}')?;
        let digest = Hash::of(said.as_bytes()).to_hex();
        let recorded = format!("{},\"{name}\":{{\"sha256\":\"{digest}\"}}}}", without_id(task, open));
        Some(Told { result: format!("{open},\"{name}\":{said}}}"), recorded })
    }

    /// That something was heard.
    pub(crate) fn heard() -> Told {
        let result = r#"{"resultType":"complete"}"#.to_owned();
        Told { recorded: result.clone(), result }
    }
}

fn without_id(task: &TaskId, text: &str) -> String {
    text.replace(task.as_str(), &task.as_digest())
}

fn members(task: &TaskId, row: &HoldTask, (status, message): (&str, Option<&str>)) -> Map<String, Value> {
    let mut members = Map::new();
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    add("taskId", task.as_str().into());
    add("status", status.into());
    if let Some(message) = message {
        add("statusMessage", message.into());
    }
    add("createdAt", clock::rfc3339(row.made).into());
    add("lastUpdatedAt", clock::rfc3339(row.turned).into());
    add("ttlMs", row.until.saturating_sub(row.made).saturating_mul(1000).into());
    add("pollIntervalMs", INTERVAL.into());
    members
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;
    use serde_json::{Value, json};
    use store::state::{HoldTask, TaskOwner, TaskStanding};

    use super::{Came, Told};
    use crate::tasks::TaskId;

    fn came(member: &str) -> Came {
        Came::of(format!(r#"{{"jsonrpc":"2.0","id":"tollbook-1",{member}}}"#).as_bytes(), 2)
    }

    fn told(standing: TaskStanding, came: Option<&Came>) -> Option<(Value, String)> {
        let text = String::new;
        let owner = TaskOwner { principal: text(), run: text(), server: text() };
        let (made, turned, until) = (1_795_317_000, 1_795_317_060, 1_795_318_000);
        let row = HoldTask {
            hold: "hold_1".to_owned(),
            owner,
            standing,
            call: Vec::new(),
            said: None,
            made,
            turned,
            until,
        };
        let Told { result, recorded } =
            Told::now(&TaskId::of("tollbook.0.task-secret".to_owned()), &row, ("it waits", came))?;
        assert!(!recorded.contains("task-secret"), "{recorded}");
        let _: Value = serde_json::from_str(&recorded).expect("the record is JSON");
        Some((serde_json::from_str(&result).expect("JSON"), recorded))
    }

    #[test]
    fn what_came_is_told_in_the_extensions_words() {
        let result = came(r#""result":{"content":[],"isError":true,"n":1.50}"#);
        let error = came(r#""error":{"code":-1,"message":"no"}"#);
        let lost = came(r#""result":{"resultType":"task","taskId":"its own","status":"working"}"#);
        let asks = came(
            r#""result":{"resultType":"input_required","inputRequests":{"why":{"method":"x"}},"requestState":"s\"t"}"#,
        );
        let again = came(r#""result":{"resultType":"input_required","requestState":"later"}"#);
        let (of_result, recorded) = told(TaskStanding::Done, Some(&result)).expect("told");
        assert_eq!(
            of_result,
            json!({
                "resultType": "complete", "taskId": "tollbook.0.task-secret", "status": "completed",
                "createdAt": "2026-11-22T03:10:00Z", "lastUpdatedAt": "2026-11-22T03:11:00Z",
                "ttlMs": 1_000_000, "pollIntervalMs": 5_000,
                "result": {"content": [], "isError": true, "n": 1.50}
            })
        );
        assert!(!recorded.contains("isError"), "what the server said is in its call's record: {recorded}");
        for (standing, came, status, member) in [
            (TaskStanding::Waits, None, "working", json!(null)),
            (TaskStanding::Runs, None, "working", json!(null)),
            (TaskStanding::Cancelled, None, "cancelled", json!(null)),
            (TaskStanding::Done, Some(&error), "failed", json!({"code": -1, "message": "no"})),
            (TaskStanding::Asks, Some(&again), "working", json!(null)),
        ] {
            let (answer, _) = told(standing, came).expect("told");
            assert_eq!((&answer["status"], &answer["error"]), (&json!(status), &member), "{answer}");
        }
        assert_eq!(told(TaskStanding::Done, Some(&lost)).expect("told").0["error"]["code"], -32603);
        let (asked, _) = told(TaskStanding::Asks, Some(&asks)).expect("told");
        assert_eq!(asked["inputRequests"], json!({"2/why": {"method": "x"}}), "{asked}");
        for (standing, came) in [(TaskStanding::Done, None), (TaskStanding::Done, Some(&asks))] {
            assert!(told(standing, came).is_none(), "it is not made up");
        }
    }

    #[test]
    fn a_round_begins_when_all_is_answered_by_the_keys_of_its_own() {
        let Came::Asks(asks) = came(
            r#""result":{"resultType":"input_required","inputRequests":{"a":{"method":"x"},"b\"":{"method":"y"}},"requestState":"s"}"#,
        ) else {
            panic!("it asks")
        };
        let one = RawValue::from_string("1.50".to_owned()).expect("JSON");
        let answers = |keys: &[&str]| {
            let given: BTreeMap<String, &RawValue> =
                keys.iter().map(|key| ((*key).to_owned(), &*one)).collect();
            asks.answers(&given)
        };
        assert_eq!(answers(&["2/a"]), None);
        assert_eq!(answers(&["a", "b\""]), None);
        assert_eq!(answers(&["1/a", "2/b\""]), None);
        assert_eq!(answers(&["2/a", "2/b\"", "2/c"]).as_deref(), Some(r#"{"a":1.50,"b\"":1.50}"#));
        assert_eq!((asks.rounds(), asks.state.as_deref(), asks.is_nothing()), (3, Some("\"s\""), false));
    }
}
