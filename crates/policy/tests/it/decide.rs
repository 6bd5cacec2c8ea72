//! Verdicts, and what goes with them.

use expect_test::{Expect, expect};
use policy::{Ask, Principal, Question};

use super::made::{bundle, call, question, told};

fn check(policies: &str, asks: &[(&str, &str)], expected: &Expect) {
    let bundle = bundle(policies);
    let told: Vec<String> = asks
        .iter()
        .map(|(id, arguments)| format!("{id} {arguments} → {}\n", told(&call(&bundle, id, arguments))))
        .collect();
    expected.assert_eq(&told.concat());
}

#[test]
fn what_nothing_permits_is_denied() {
    let read = r#"permit (principal in Group::"dev", action == Action::"tools/call", resource == Tool::"files/read_file");"#;
    check(
        read,
        &[
            ("files/read_file", "{}"),
            ("files/write_file", "{}"),
            ("files/gone", "{}"),
            ("new/any", "{}"),
            ("gone/any", "{}"),
        ],
        &expect![[r#"
            files/read_file {} → allow by [rules.cedar:1]
            files/write_file {} → deny by []: no policy permits this
            files/gone {} → deny by []: the tool is not pinned
            new/any {} → deny by []: the tool is not pinned
            gone/any {} → deny by []: the tool is not pinned
        "#]],
    );
    check(
        "",
        &[("files/read_file", "{}")],
        &expect![[r#"
        files/read_file {} → deny by []: no policy permits this
    "#]],
    );
}

#[test]
fn arguments_decide() {
    check(
        r#"
@id("files")
permit (principal, action == Action::"tools/call", resource in Server::"files");
@reason("secrets are read by hand")
forbid (principal, action == Action::"tools/call", resource in Server::"files")
when { context.arguments has path && context.arguments.path like "*.env" };
@id("small")
permit (principal, action == Action::"tools/call", resource == Tool::"bank/pay")
when { context.arguments has amount && context.arguments.amount.lessThan(decimal("100.0")) };
@id("no surprises")
forbid (principal, action, resource) when { context has unlisted && !context.unlisted.isEmpty() };
"#,
        &[
            ("files/read_file", r#"{"path":"a.txt"}"#),
            ("files/read_file", r#"{"path":".env"}"#),
            ("files/read_file", r#"{"path":"a.txt","mode":"raw"}"#),
            ("files/read_file", r#"{"path":7}"#),
            ("files/read_file", r#"{"path":"a","path":"b"}"#),
            ("files/read_file", r#"["path"]"#),
            ("bank/pay", r#"{"amount":99.99}"#),
            ("bank/pay", r#"{"amount":100}"#),
            ("bank/pay", r#"{"amount":0.00001}"#),
            ("bank/pay", r#"{}"#),
        ],
        &expect![[r#"
            files/read_file {"path":"a.txt"} → allow by [files]
            files/read_file {"path":".env"} → deny by [rules.cedar:5]: secrets are read by hand
            files/read_file {"path":"a.txt","mode":"raw"} → deny by [no surprises]: a policy forbids this
            files/read_file {"path":7} → deny by []: argument `path` does not fit its declared type: expected a string
            files/read_file {"path":"a","path":"b"} → deny by []: the arguments are no JSON object whose members are named once
            files/read_file ["path"] → deny by []: the arguments are no JSON object whose members are named once
            bank/pay {"amount":99.99} → allow by [small]
            bank/pay {"amount":100} → deny by []: no policy permits this
            bank/pay {"amount":0.00001} → deny by []: argument `amount` does not fit its declared type: expected a number with at most 4 decimal places
            bank/pay {} → deny by []: no policy permits this
        "#]],
    );
}

#[test]
fn obligations_add_up() {
    check(
        r#"
@hold("oncall 2") @mask("pii") @record("metadata") @reason("writing needs approval")
permit (principal, action, resource in Server::"files") when { resource is Tool && resource.name == "write_file" };
@hold("oncall, finance") @mask("secrets") @record("none")
permit (principal, action, resource in Server::"files");
@record("none")
permit (principal, action, resource in Server::"bank");
permit (principal in Group::"other", action, resource in Server::"bank");
"#,
        &[("files/write_file", "{}"), ("files/read_file", "{}"), ("bank/pay", "{}")],
        &expect![[r#"
            files/write_file {} → hold for finance 1, oncall 2 by [rules.cedar:3, rules.cedar:5]: writing needs approval; masks {"pii", "secrets"}; records Metadata
            files/read_file {} → hold for finance 1, oncall 1 by [rules.cedar:5]; masks {"secrets"}; records None
            bank/pay {} → allow by [rules.cedar:7]; records None
        "#]],
    );
}

#[test]
fn a_policy_that_cannot_be_evaluated_denies() {
    check(
        r#"
permit (principal, action, resource);
@id("sum")
permit (principal, action == Action::"tools/call", resource == Tool::"bank/pay")
when { context.arguments has count && context.arguments.count * 2 > 10 };
"#,
        &[("bank/pay", r#"{"count":9223372036854775807}"#), ("bank/pay", r#"{"count":1}"#)],
        &expect![[r#"
            bank/pay {"count":9223372036854775807} → deny by []: a policy could not be evaluated; errors ["sum: a number overflows"]
            bank/pay {"count":1} → allow by [rules.cedar:2]
        "#]],
    );
}

#[test]
fn circumstances_decide() {
    let bundle = bundle(
        r#"
@id("weekend") permit (principal is User, action == Action::"resources/read", resource is Resource)
when { context.weekday > 5 && context.hour == 12 && context.time < datetime("2027-01-01") && resource.scheme == "file" };
@id("net") permit (principal, action == Action::"roots/list", resource == Server::"files")
when { context has network && context.network.isInRange(ip("10.0.0.0/8")) && context.client.name == "editor" };
@id("run") permit (principal in Run::"run_1", action == Action::"prompts/get", resource == Prompt::"files/summary")
when { context.arguments has style && context.arguments.style == "short" && context.run.calls < 10 };
@id("agent") permit (principal, action == Action::"sampling/createMessage", resource)
when { context.run has agent && context.run.agent == Agent::"fixer" && context.run.agents.contains(Agent::"boss") };
@id("purpose") permit (principal, action == Action::"elicitation/create", resource)
when { context.run has purpose && context.run.purpose like "tidy*" && context.run.scope.contains("files") && context.run.verified };
@id("method") permit (principal, action == Action::"other", resource in Server::"files") when { context.method like "vendor/*" };
@id("tasks") permit (principal is Service, action == Action::"tasks", resource) when { context.method == "tasks/get" && context.run.age < 100 };
@id("complete") permit (principal, action == Action::"completion/complete", resource == Prompt::"files/summary");
@id("subscribe") permit (principal, action == Action::"resources/subscribe", resource == Resource::"files/file:///a");
"#,
    );
    let groups = [];
    let agents = ["fixer".to_owned(), "boss".to_owned()];
    let scope = ["files".to_owned()];
    let ask = |ask| {
        let mut question: Question<'_> = question(&groups, "files", ask);
        question.run.agents = &agents;
        question.run.scope = &scope;
        if matches!(ask, Ask::Tasks { .. }) {
            question.caller.principal = Principal::Service("ann");
        }
        told(&bundle.decide(&question))
    };
    let told = [
        ask(Ask::ReadResource { uri: "FILE:///a" }),
        ask(Ask::ReadResource { uri: "https://a" }),
        ask(Ask::ListRoots),
        ask(Ask::GetPrompt { name: "summary", arguments: Some(r#"{"style":"short"}"#) }),
        ask(Ask::GetPrompt { name: "summary", arguments: Some(r#"{"style":true}"#) }),
        ask(Ask::GetPrompt { name: "unknown", arguments: Some(r#"{"style":"short"}"#) }),
        ask(Ask::CreateMessage),
        ask(Ask::Elicit),
        ask(Ask::Other { method: "vendor/x" }),
        ask(Ask::Tasks { method: "tasks/get" }),
        ask(Ask::CompletePrompt { name: "summary" }),
        ask(Ask::CompleteResource { uri: "file:///a" }),
        ask(Ask::SubscribeResource { uri: "file:///a" }),
    ];
    expect![[r#"
        allow by [weekend]
        deny by []: no policy permits this
        allow by [net]
        allow by [run]
        deny by []: argument `style` does not fit its declared type: expected a string
        deny by []: no policy permits this
        allow by [agent]
        allow by [purpose]
        allow by [method]
        allow by [tasks]
        allow by [complete]
        deny by []: no policy permits this
        allow by [subscribe]"#]]
    .assert_eq(&told.join("\n"));
}

#[test]
fn arguments_of_prompts_that_nobody_knows_are_read() {
    let bundle = bundle(
        r#"
permit (principal, action == Action::"prompts/get", resource in Server::"bank");
@id("salaries")
forbid (principal, action == Action::"prompts/get", resource == Prompt::"bank/summary")
when { context.arguments has topic && context.arguments.topic == "salaries" };
@id("none but these")
forbid (principal, action == Action::"prompts/get", resource == Prompt::"bank/fixed")
when { !context.unlisted.isEmpty() };
"#,
    );
    let ask = |name, arguments| {
        let ask = Ask::GetPrompt { name, arguments: Some(arguments) };
        told(&bundle.decide(&question(&[], "bank", ask)))
    };
    let told = [
        ask("summary", r#"{"topic":"salaries","\u0061":"b"}"#),
        ask("summary", r#"{"top\u0069c":"sal\u0061ries"}"#),
        ask("summary", r#"{"topic":"budget"}"#),
        ask("summary", r#"{"topic":null}"#),
        ask("summary", r#"{"topic":["salaries"]}"#),
        ask("summary", r#"{"other":7}"#),
        ask("summary", r#"{"topic":"salaries","topic":"budget"}"#),
        ask("fixed", r#"{"topic":"budget"}"#),
        ask("fixed", "{}"),
    ];
    expect![[r#"
        deny by [salaries]: a policy forbids this
        deny by [salaries]: a policy forbids this
        allow by [rules.cedar:2]
        allow by [rules.cedar:2]
        deny by []: argument `topic` does not fit its declared type: expected a string
        deny by []: argument `other` does not fit its declared type: expected a string
        deny by []: the arguments are no JSON object whose members are named once
        deny by [none but these]: a policy forbids this
        allow by [rules.cedar:2]"#]]
    .assert_eq(&told.join("\n"));
}
