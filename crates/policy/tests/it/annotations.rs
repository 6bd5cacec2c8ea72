//! What annotations may say.

use expect_test::{Expect, expect};
use policy::Bundle;

use super::made::{catalog, sources};

fn check(text: &str, expected: &Expect) {
    let told = match Bundle::compile(&sources(text), &catalog()) {
        Ok(bundle) => format!(
            "{:?} {:?}",
            bundle.hold_groups().collect::<Vec<_>>(),
            bundle.mask_sets().collect::<Vec<_>>()
        ),
        Err(diagnostics) => diagnostics.to_string(),
    };
    expected.assert_eq(&told);
}

#[test]
fn groups_and_sets_are_listed_with_their_places() {
    check(
        "\n@hold(\"Platform Team 2, oncall\") @mask(\"pii,secrets\")\npermit (principal, action, resource);",
        &expect![[
            r#"[("Platform Team", "rules.cedar:3"), ("oncall", "rules.cedar:3")] [("pii", "rules.cedar:3"), ("secrets", "rules.cedar:3")]"#
        ]],
    );
}

#[test]
fn mistakes_in_annotations() {
    for (text, expected) in [
        (
            r#"@hodl("x") permit (principal, action, resource);"#,
            expect![[r#"
            error: there is no annotation `@hodl`
             --> rules.cedar:1:1
              |
            1 | @hodl("x") permit (principal, action, resource);
              | ^^^^^
              = help: did you mean `hold`?"#]],
        ),
        (
            r#"@owner("x") permit (principal, action, resource);"#,
            expect![[r#"
            error: there is no annotation `@owner`
             --> rules.cedar:1:1
              |
            1 | @owner("x") permit (principal, action, resource);
              | ^^^^^^
              = help: known are `@hold`, `@id`, `@limit`, `@mask`, `@reason`, `@record`"#]],
        ),
        (
            r#"@hold("2") permit (principal, action, resource);"#,
            expect![[r#"
            error: `2` names no group of approvers
             --> rules.cedar:1:7
              |
            1 | @hold("2") permit (principal, action, resource);
              |       ^^^
              = help: for example `@hold("oncall")` or `@hold("oncall 2, finance")`"#]],
        ),
        (
            r#"@hold("oncall 0") permit (principal, action, resource);"#,
            expect![[r#"
            error: `oncall 0` names no group of approvers
             --> rules.cedar:1:7
              |
            1 | @hold("oncall 0") permit (principal, action, resource);
              |       ^^^^^^^^^^
              = help: for example `@hold("oncall")` or `@hold("oncall 2, finance")`"#]],
        ),
        (
            r#"@hold permit (principal, action, resource);"#,
            expect![[r#"
            error: `@hold` needs a value
             --> rules.cedar:1:2
              |
            1 | @hold permit (principal, action, resource);
              |  ^^^^
              = help: for example `@hold("oncall")` or `@hold("oncall 2, finance")`"#]],
        ),
        (
            r#"@mask("a,,b") permit (principal, action, resource);"#,
            expect![[r#"
            error: a mask set without a name
             --> rules.cedar:1:7
              |
            1 | @mask("a,,b") permit (principal, action, resource);
              |       ^^^^^^
              = help: for example `@mask("pii")` or `@mask("pii, secrets")`"#]],
        ),
        (
            r#"@record("metdata") permit (principal, action, resource);"#,
            expect![[r#"
            error: `metdata` is no way to record
             --> rules.cedar:1:9
              |
            1 | @record("metdata") permit (principal, action, resource);
              |         ^^^^^^^^^
              = help: did you mean `metadata`?"#]],
        ),
        (
            r#"@limit("30 calls per minut") permit (principal, action, resource);"#,
            expect![[r#"
            error: `minut` is no time to count in
             --> rules.cedar:1:8
              |
            1 | @limit("30 calls per minut") permit (principal, action, resource);
              |        ^^^^^^^^^^^^^^^^^^^^
              = help: did you mean `minute`?"#]],
        ),
        (
            r#"@limit("10 MB per run") permit (principal, action, resource);"#,
            expect![[r#"
                error: `MB` is nothing to count
                 --> rules.cedar:1:8
                  |
                1 | @limit("10 MB per run") permit (principal, action, resource);
                  |        ^^^^^^^^^^^^^^^
                  = help: did you mean `MiB`?"#]],
        ),
        (
            r#"@limit("many") permit (principal, action, resource);"#,
            expect![[r#"
            error: `many` is no limit
             --> rules.cedar:1:8
              |
            1 | @limit("many") permit (principal, action, resource);
              |        ^^^^^^
              = help: for example `@limit("30 calls per minute")` or `@limit("10 MiB per run, 2 at once per tool")`"#]],
        ),
        (
            r#"@limit("0 at once") permit (principal, action, resource);"#,
            expect![[r#"
            error: `0 at once` allows nothing
             --> rules.cedar:1:8
              |
            1 | @limit("0 at once") permit (principal, action, resource);
              |        ^^^^^^^^^^^
              = help: write a `forbid` instead"#]],
        ),
        (
            r#"@limit("2 at once") forbid (principal, action, resource);"#,
            expect![[r#"
            error: `@limit` on a `forbid` has no meaning
             --> rules.cedar:1:1
              |
            1 | @limit("2 at once") forbid (principal, action, resource);
              | ^^^^^^
              = help: write it on the `permit` that allows the call"#]],
        ),
        (
            r#"@hold("x") @reason("no") forbid (principal, action, resource);"#,
            expect![[r#"
            error: `@hold` on a `forbid` has no meaning
             --> rules.cedar:1:1
              |
            1 | @hold("x") @reason("no") forbid (principal, action, resource);
              | ^^^^^
              = help: write it on the `permit` that allows the call"#]],
        ),
        (
            "@id(\"x\") permit (principal, action, resource);\n@id(\"x\") forbid (principal, action, resource);",
            expect![[r#"
                error: `x` names two policies
                 --> rules.cedar:2:5
                  |
                2 | @id("x") forbid (principal, action, resource);
                  |     ^^^
                  = help: the policy at rules.cedar:1 has it; use another"#]],
        ),
    ] {
        check(text, &expected);
    }
}
