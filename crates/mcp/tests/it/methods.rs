//! `method::METHODS` against the schemas of the two eras (schema/2025-11-25 and schema/2026-07-28 of the specification).

use mcp::method::{Eras, METHODS, Method, Sender, Target};

/// `ClientRequest` and `ClientNotification` of 2025-11-25.
const SESSION_CLIENT: [&str; 22] = [
    "ping",
    "initialize",
    "completion/complete",
    "logging/setLevel",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "tools/call",
    "tools/list",
    "tasks/get",
    "tasks/result",
    "tasks/list",
    "tasks/cancel",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/initialized",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
];

/// `ServerRequest` and `ServerNotification` of 2025-11-25.
const SESSION_SERVER: [&str; 17] = [
    "ping",
    "sampling/createMessage",
    "roots/list",
    "elicitation/create",
    "tasks/get",
    "tasks/result",
    "tasks/list",
    "tasks/cancel",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/message",
    "notifications/resources/updated",
    "notifications/resources/list_changed",
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/elicitation/complete",
    "notifications/tasks/status",
];

/// `ClientRequest` and `ClientNotification` of 2026-07-28, and the requests of its tasks extension (SEP-2663).
const STATELESS_CLIENT: [&str; 14] = [
    "server/discover",
    "completion/complete",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "subscriptions/listen",
    "tools/call",
    "tools/list",
    "notifications/cancelled",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
];

/// `ServerNotification` of 2026-07-28, and the notification of its tasks extension.
const STATELESS_SERVER: [&str; 9] = [
    "notifications/cancelled",
    "notifications/progress",
    "notifications/message",
    "notifications/resources/updated",
    "notifications/resources/list_changed",
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/subscriptions/acknowledged",
    "notifications/tasks",
];

#[test]
fn the_list_is_sorted_and_has_each_name_once() {
    assert!(METHODS.is_sorted_by(|a, b| a.name < b.name));
    assert!(METHODS.iter().all(|method| Method::of(method.name) == Some(*method)));
    for unknown in ["", "Ping", "ping ", "tools/call/x", "notifications/"] {
        assert_eq!(Method::of(unknown), None, "{unknown}");
    }
}

#[test]
fn the_list_is_that_of_the_schemas() {
    let session = [&SESSION_CLIENT[..], &SESSION_SERVER].concat();
    let stateless = [&STATELESS_CLIENT[..], &STATELESS_SERVER].concat();
    let client = [&SESSION_CLIENT[..], &STATELESS_CLIENT].concat();
    let server = [&SESSION_SERVER[..], &STATELESS_SERVER].concat();
    for method in METHODS {
        let eras = match (session.contains(&method.name), stateless.contains(&method.name)) {
            (true, true) => Eras::Both,
            (true, false) => Eras::Session,
            (false, true) => Eras::Stateless,
            (false, false) => panic!("{} is in no schema", method.name),
        };
        assert_eq!(method.eras, eras, "{}", method.name);
        let sender = match (client.contains(&method.name), server.contains(&method.name)) {
            (true, true) => Sender::Both,
            (true, false) => Sender::Client,
            _ => Sender::Server,
        };
        assert_eq!(method.sender, sender, "{}", method.name);
    }
    for name in [session, stateless].concat() {
        assert!(Method::of(name).is_some(), "{name} is not in the list");
    }
}

/// MCP 2026-07-28, patterns/mrtr: `InputRequiredResult` on these three alone.
#[test]
fn what_a_method_names_and_may_ask() {
    let of = |target| METHODS.iter().filter(|m| m.target == target).map(|m| m.name).collect::<Vec<_>>();
    assert_eq!(of(Target::Tool), ["tools/call"]);
    assert_eq!(of(Target::Prompt), ["prompts/get"]);
    assert_eq!(
        of(Target::Resource),
        ["notifications/resources/updated", "resources/read", "resources/subscribe", "resources/unsubscribe"]
    );
    assert_eq!(
        of(Target::Task),
        [
            "notifications/tasks",
            "notifications/tasks/status",
            "tasks/cancel",
            "tasks/get",
            "tasks/result",
            "tasks/update"
        ]
    );
    let asking: Vec<_> = METHODS.iter().filter(|m| m.may_ask_back).map(|m| m.name).collect();
    assert_eq!(asking, ["prompts/get", "resources/read", "tools/call"]);
    let long_lived: Vec<_> = METHODS.iter().filter(|m| m.is_long_lived()).map(|m| m.name).collect();
    assert_eq!(long_lived, ["subscriptions/listen"]);
    let opening: Vec<_> = METHODS.iter().filter(|m| m.is_initialize()).map(|m| m.name).collect();
    assert_eq!(opening, ["initialize"]);
}
