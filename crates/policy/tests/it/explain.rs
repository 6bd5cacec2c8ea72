//! Why a question got its judgement.

use expect_test::expect;
use policy::{Ask, explain::explain};

use super::made::{bundle, question};

const POLICIES: &str = r#"
@id("readers")
permit (principal in Group::"dev", action == Action::"tools/call", resource == Tool::"files/read_file")
when { resource.read_only }
when { context.arguments has path &&
       context.arguments.path like "*.txt" }
unless { context.hour < 6 };
@reason("not in the night")
forbid (principal, action, resource in Server::"files") when { context.hour < 6 };
permit (principal, action == Action::"resources/read", resource in Server::"files");
permit (principal, action, resource in Server::"bank");
@id("sum")
permit (principal, action == Action::"tools/call", resource == Tool::"bank/pay")
when { context.arguments has count && context.arguments.count * 2 > 10 };
"#;

#[test]
fn each_policy_that_may_speak_and_what_it_read() {
    let bundle = bundle(POLICIES);
    let groups = ["dev".to_owned()];
    let told = |server, name, arguments| {
        let ask = Ask::CallTool { name, arguments: Some(arguments) };
        format!("{name} {arguments}\n{}\n", explain(&bundle, &question(&groups, server, ask)).join("\n"))
    };
    let all = [
        told("files", "read_file", r#"{"path":"a.txt"}"#),
        told("files", "read_file", r#"{"path":"a.env"}"#),
        told("files", "read_file", r#"{"path":1}"#),
        told("bank", "pay", r#"{"count":9223372036854775807}"#),
    ];
    expect![[r#"
        read_file {"path":"a.txt"}
        allowed
        permit `readers` at rules.cedar:3 applies
          when { resource.read_only }: holds
            resource.read_only = true
          when { context.arguments has path && context.arguments.path like "*.txt" }: holds
            context.arguments.path = "a.txt"
          unless { context.hour < 6 }: holds
            context.hour = 12
        forbid at rules.cedar:9 does not apply
          when { context.hour < 6 }: does not hold
            context.hour = 12
        3 of 5 policies name another principal, action or resource

        read_file {"path":"a.env"}
        denied: no policy permits this
        permit `readers` at rules.cedar:3 does not apply
          when { resource.read_only }: holds
            resource.read_only = true
          when { context.arguments has path && context.arguments.path like "*.txt" }: does not hold
            context.arguments.path = "a.env"
          unless { context.hour < 6 }: holds
            context.hour = 12
        forbid at rules.cedar:9 does not apply
          when { context.hour < 6 }: does not hold
            context.hour = 12
        3 of 5 policies name another principal, action or resource

        read_file {"path":1}
        denied: argument `path` does not fit its declared type: expected a string
        no policy was asked

        pay {"count":9223372036854775807}
        denied: a policy could not be evaluated
        could not be evaluated: sum: a number overflows
        permit at rules.cedar:11 applies
        permit `sum` at rules.cedar:13 cannot be evaluated
          when { context.arguments has count && context.arguments.count * 2 > 10 }: cannot be evaluated: a number overflows
            context.arguments.count = 9223372036854775807
        3 of 5 policies name another principal, action or resource
    "#]].assert_eq(&all.join("\n"));
}
