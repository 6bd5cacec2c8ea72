//! Mistakes are told with their places and what was probably meant.

use expect_test::{Expect, expect};
use policy::{Bundle, Source};

use super::made::{catalog, sources};

fn check(text: &str, expected: &Expect) {
    let told = match Bundle::compile(&sources(text), &catalog()) {
        Ok(_) => "no mistake".to_owned(),
        Err(diagnostics) => diagnostics.to_string(),
    };
    expected.assert_eq(&told);
}

#[test]
fn syntax() {
    check(
        "permit (principal, action, resource)\nwhen { context.hour > };",
        &expect![[r#"
        error: unexpected token `}`
         --> rules.cedar:2:23
          |
        2 | when { context.hour > };
          |                       ^"#]],
    );
    check(
        "permit (principal, action, resource == ?resource);",
        &expect![[r#"
        error: templates are not supported
         --> rules.cedar:1:1
          |
        1 | permit (principal, action, resource == ?resource);
          | ^^^^^^
          = help: write the principal or resource instead of `?principal` or `?resource`"#]],
    );
    check(
        "permit (principal, action, resource)",
        &expect![[r#"
        error: unexpected end of input
         --> rules.cedar:1:37
          |
        1 | permit (principal, action, resource)
          |                                     ^"#]],
    );
}

#[test]
fn unknown_names() {
    check(
        r#"permit (principal, action == Action::"tool/call", resource == Tool::"files/raed_file");
permit (principal, action, resource in Server::"flies");
permit (principal, action, resource == Tool::"pay");
permit (principal, action, resource == Tool::"flies/read_file");
permit (principal, action, resource == Prompt::"summary");
permit (principal, action, resource) when { resource == Tool::"bank/refund" };
permit (principal in Grop::"dev", action, resource);
permit (principal, action == Action::"delete", resource);"#,
        &expect![[r#"
            error: there is no action `tool/call`
             --> rules.cedar:1:38
              |
            1 | permit (principal, action == Action::"tool/call", resource == Tool::"files/raed_file");
              |                                      ^^^^^^^^^^^
              = help: did you mean `tools/call`?

            error: server `files` has no tool `raed_file`
             --> rules.cedar:1:69
              |
            1 | permit (principal, action == Action::"tool/call", resource == Tool::"files/raed_file");
              |                                                                     ^^^^^^^^^^^^^^^^^
              = help: did you mean `read_file`?

            error: there is no server `flies`
             --> rules.cedar:2:48
              |
            2 | permit (principal, action, resource in Server::"flies");
              |                                                ^^^^^^^
              = help: did you mean `files`?

            error: `pay` has no server
             --> rules.cedar:3:46
              |
            3 | permit (principal, action, resource == Tool::"pay");
              |                                              ^^^^^
              = help: did you mean `bank/pay`?

            error: there is no server `flies`
             --> rules.cedar:4:46
              |
            4 | permit (principal, action, resource == Tool::"flies/read_file");
              |                                              ^^^^^^^^^^^^^^^^^
              = help: did you mean `files`?

            error: `summary` has no server
             --> rules.cedar:5:48
              |
            5 | permit (principal, action, resource == Prompt::"summary");
              |                                                ^^^^^^^^^
              = help: write `Prompt::"server/name"`

            error: server `bank` has no tool `refund`
             --> rules.cedar:6:63
              |
            6 | permit (principal, action, resource) when { resource == Tool::"bank/refund" };
              |                                                               ^^^^^^^^^^^^^

            error: unrecognized entity type `Grop`
             --> rules.cedar:7:22
              |
            7 | permit (principal in Grop::"dev", action, resource);
              |                      ^^^^
              = help: did you mean `Group`?

            error: there is no action `delete`
             --> rules.cedar:8:38
              |
            8 | permit (principal, action == Action::"delete", resource);
              |                                      ^^^^^^^^
              = help: there are `tools/call`, `resources/read`, `resources/subscribe`, `prompts/get`, `completion/complete`, `sampling/createMessage`, `elicitation/create`, `roots/list`, `tasks`, `other`"#]],
    );
}

#[test]
fn tools_of_a_server_that_was_never_asked_are_not_mistaken() {
    check(
        r#"permit (principal, action == Action::"tools/call", resource == Tool::"new/any") when { context.arguments.x > 1 };"#,
        &expect!["no mistake"],
    );
}

#[test]
fn arguments() {
    check(
        r#"permit (principal, action == Action::"tools/call", resource == Tool::"files/read_file")
when { context.arguments.pathh like "*.txt" };"#,
        &expect![[r#"
            error: `pathh` is no argument of `files/read_file`
             --> rules.cedar:2:26
              |
            2 | when { context.arguments.pathh like "*.txt" };
              |                          ^^^^^
              = help: did you mean `path`?"#]],
    );
    check(
        r#"forbid (principal, action == Action::"tools/call", resource in Server::"files")
when { context.arguments has "pahts" };"#,
        &expect![[r#"
            error: `pahts` is no argument of any of the 2 tools and prompts that this policy can match
             --> rules.cedar:2:30
              |
            2 | when { context.arguments has "pahts" };
              |                              ^^^^^^^
              = help: did you mean `path`?"#]],
    );
    check(
        r#"permit (principal, action == Action::"tools/call", resource == Tool::"files/read_file")
when { context.arguments.path like "*.txt" };"#,
        &expect![[r#"
            error: `context.arguments.path` may be absent for `tools/call`
             --> rules.cedar:2:8
              |
            2 | when { context.arguments.path like "*.txt" };
              |        ^^^^^^^^^^^^^^^^^^^^^^
              = help: try testing for the attribute's presence with `context.arguments has path && ..`"#]],
    );
    check(
        r#"permit (principal, action == Action::"tools/call", resource)
when { context.arguments.content like "*.txt" };"#,
        &expect![[r#"
            error: `context.arguments.content` does not exist for `tools/call`, in calls of `bank/pay` and `files/read_file`
             --> rules.cedar:2:8
              |
            2 | when { context.arguments.content like "*.txt" };
              |        ^^^^^^^^^^^^^^^^^^^^^^^^^
              = help: name the tool in the scope, or ask first, as in `context.arguments has path`

            error: `context.arguments.content` may be absent for `tools/call`, in calls of `files/write_file`
             --> rules.cedar:2:8
              |
            2 | when { context.arguments.content like "*.txt" };
              |        ^^^^^^^^^^^^^^^^^^^^^^^^^
              = help: name the tool in the scope, or ask first, as in `context.arguments has path`"#]],
    );
    check(
        r#"permit (principal, action == Action::"tools/call", resource == Tool::"bank/pay")
when { context.arguments has amount && context.arguments.amount < 100 };"#,
        &expect![[r#"
            error: unexpected type: expected Long but saw decimal
             --> rules.cedar:2:40
              |
            2 | when { context.arguments has amount && context.arguments.amount < 100 };
              |                                        ^^^^^^^^^^^^^^^^^^^^^^^^
              = help: compare decimals as in `.lessThan(decimal("100.0"))`"#]],
    );
}

#[test]
fn types_and_attributes() {
    check(
        r#"permit (principal, action == Action::"tools/call", resource) when { resource.readonly };
permit (principal, action, resource) when { resource.read_only };
permit (principal, action, resource) when { context.hours > 3 };
permit (principal, action, resource) when { context.hour > "3" };
permit (principal, action, resource is Tool) when { context.run.purpose == "x" };
permit (principal, action == Action::"tools/call", resource is Prompt);
forbid (principal, action == Action::"roots/list", resource) when { context has method };"#,
        &expect![[r#"
            error: attribute `readonly` does not exist for `Tool`
             --> rules.cedar:1:69
              |
            1 | permit (principal, action == Action::"tools/call", resource) when { resource.readonly };
              |                                                                     ^^^^^^^^^^^^^^^^^
              = help: did you mean `read_only`?

            error: attribute `read_only` does not exist for `Prompt`, `Resource` and 1 more
             --> rules.cedar:2:45
              |
            2 | permit (principal, action, resource) when { resource.read_only };
              |                                             ^^^^^^^^^^^^^^^^^^
              = help: ask first, as in `resource is Tool && resource.read_only`

            error: `context.hours` does not exist for `completion/complete`, `elicitation/create` and 8 more
             --> rules.cedar:3:45
              |
            3 | permit (principal, action, resource) when { context.hours > 3 };
              |                                             ^^^^^^^^^^^^^
              = help: did you mean `hour`?

            error: unexpected type: expected Long but saw String
             --> rules.cedar:4:60
              |
            4 | permit (principal, action, resource) when { context.hour > "3" };
              |                                                            ^^^

            error: `context.run.purpose` may be absent for `tools/call`
             --> rules.cedar:5:53
              |
            5 | permit (principal, action, resource is Tool) when { context.run.purpose == "x" };
              |                                                     ^^^^^^^^^^^^^^^^^^^
              = help: try testing for the attribute's presence with `context.run has purpose && ..`

            error: this policy can never apply
             --> rules.cedar:6:1
              |
            6 | permit (principal, action == Action::"tools/call", resource is Prompt);
              | ^^^^^^
              = help: no call can satisfy its scope and all its conditions

            error: this policy can never apply
             --> rules.cedar:7:1
              |
            7 | forbid (principal, action == Action::"roots/list", resource) when { context has method };
              | ^^^^^^
              = help: no call can satisfy its scope and all its conditions"#]],
    );
}

#[test]
fn all_files_are_told_in_order() {
    let file = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
    let files = [
        file("a.cedar", "permit (principal, action, resource);\nforbid (;"),
        file("b.cedar", "permit (principal, action, resource in Server::\"bnak\");"),
    ];
    let diagnostics = Bundle::compile(&files, &catalog()).unwrap_err();
    let places: Vec<_> = diagnostics.iter().map(|one| (one.file.as_str(), one.line, one.column)).collect();
    assert_eq!(places, [("a.cedar", 2, 9), ("b.cedar", 1, 48)]);
}

#[test]
fn arguments_of_prompts_that_nobody_knows_are_optional_texts() {
    for fits in [
        r#"forbid (principal, action == Action::"prompts/get", resource == Prompt::"bank/summary")
when { context.arguments has topic && context.arguments.topic like "sal*" };"#,
        r#"forbid (principal, action == Action::"prompts/get", resource) when { context.arguments has "odd name" };"#,
        r#"forbid (principal, action in [Action::"prompts/get", Action::"tools/call"], resource in Server::"bank")
when { resource is Tool && context.arguments has amount && context.arguments.amount.lessThan(decimal("1.0")) };"#,
    ] {
        check(fits, &expect!["no mistake"]);
    }
    check(
        r#"forbid (principal, action == Action::"prompts/get", resource == Prompt::"bank/summary")
when { context.arguments.topic == "salaries" };
forbid (principal, action == Action::"prompts/get", resource in Server::"new")
when { context.arguments has depth && context.arguments.depth > 3 };
forbid (principal, action in [Action::"prompts/get", Action::"tools/call"], resource in Server::"bank")
when { context.arguments has amount && context.arguments.amount.lessThan(decimal("1.0")) };
forbid (principal, action in [Action::"prompts/get", Action::"tools/call"], resource in Server::"bank")
when { context.arguments has topic };"#,
        &expect![[r#"
            error: `context.arguments.topic` may be absent for `prompts/get`
             --> rules.cedar:2:8
              |
            2 | when { context.arguments.topic == "salaries" };
              |        ^^^^^^^^^^^^^^^^^^^^^^^
              = help: try testing for the attribute's presence with `context.arguments has topic && ..`

            error: unexpected type: expected Long but saw String
             --> rules.cedar:4:39
              |
            4 | when { context.arguments has depth && context.arguments.depth > 3 };
              |                                       ^^^^^^^^^^^^^^^^^^^^^^^

            error: unexpected type: expected decimal but saw String, in calls of prompts
             --> rules.cedar:6:40
              |
            6 | when { context.arguments has amount && context.arguments.amount.lessThan(decimal("1.0")) };
              |                                        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              = help: a prompt's arguments are optional texts: write `action == Action::"tools/call"` in the scope, or ask first, as in `resource is Tool && ..`

            error: `topic` is no argument of `bank/pay`
             --> rules.cedar:8:30
              |
            8 | when { context.arguments has topic };
              |                              ^^^^^
              = help: if a prompt has it, write a policy of its own: `action == Action::"prompts/get"`"#]],
    );
}
