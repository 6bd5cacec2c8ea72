//! Which tools a list shows.

use policy::{Caller, Listed, Principal};

use super::made::bundle;

fn visible(policies: &str, principal: Principal<'_>) -> Vec<&'static str> {
    let bundle = bundle(policies);
    let groups = ["dev".to_owned()];
    let caller = Caller { principal, groups: &groups, run: "run_1" };
    let all = ["files/read_file", "files/write_file", "bank/pay", "bank/gone", "new/any"];
    let seen = |id: &&str| {
        id.split_once('/').is_some_and(|(server, tool)| bundle.visible(&caller, server, Listed::Tool(tool)))
    };
    all.into_iter().filter(seen).collect()
}

#[test]
fn what_may_be_permitted_is_shown() {
    let ann = Principal::User("ann");
    for (policies, expected) in [
        ("", vec![]),
        ("permit (principal, action, resource);", vec!["files/read_file", "files/write_file", "bank/pay"]),
        // A condition on the call may hold, one on the tool or the caller is known.
        (
            r#"permit (principal, action == Action::"tools/call", resource in Server::"files") when { context.hour > 22 } when { resource.read_only };"#,
            vec!["files/read_file"],
        ),
        (
            r#"permit (principal, action == Action::"tools/call", resource == Tool::"bank/pay") unless { context.arguments has amount };"#,
            vec!["bank/pay"],
        ),
        (r#"permit (principal in Group::"ops", action, resource);"#, vec![]),
        (r#"permit (principal, action == Action::"resources/read", resource);"#, vec![]),
        // A forbid hides only if it surely applies.
        (
            r#"permit (principal, action, resource);
forbid (principal, action == Action::"tools/call", resource) unless { resource.read_only };"#,
            vec!["files/read_file"],
        ),
        (
            r#"permit (principal, action, resource);
forbid (principal, action == Action::"tools/call", resource) unless { resource.read_only || context.run.verified };"#,
            vec!["files/read_file", "files/write_file", "bank/pay"],
        ),
        (r#"permit (principal in Run::"run_1", action, resource in Server::"bank");"#, vec!["bank/pay"]),
    ] {
        assert_eq!(visible(policies, ann), expected, "{policies}");
    }
    assert_eq!(
        visible(r#"permit (principal is User, action, resource);"#, Principal::Service("ann")),
        Vec::<&str>::new()
    );
}

#[test]
fn prompts_and_resources_are_shown_that_may_be_asked_for() {
    let all = [
        Listed::Prompt("summary"),
        Listed::Prompt("other"),
        Listed::Resource("file:///a"),
        Listed::Resource("https://b"),
        Listed::Template,
    ];
    let groups = ["dev".to_owned()];
    let caller = Caller { principal: Principal::User("ann"), groups: &groups, run: "run_1" };
    for (policies, expected) in [
        ("", [false; 5]),
        ("permit (principal, action, resource);", [true; 5]),
        (r#"permit (principal, action == Action::"tools/call", resource);"#, [false; 5]),
        (
            r#"permit (principal, action == Action::"prompts/get", resource == Prompt::"files/summary") when { context.arguments has style };"#,
            [true, false, false, false, false],
        ),
        (
            r#"permit (principal in Group::"dev", action in [Action::"resources/read"], resource in Server::"files") when { resource.scheme == "file" };"#,
            [false, false, true, false, true],
        ),
        (
            r#"permit (principal, action == Action::"resources/read", resource == Resource::"files/file:///a");"#,
            [false, false, true, false, true],
        ),
        (
            r#"permit (principal, action == Action::"resources/read", resource == Resource::"bank/file:///a");
permit (principal == User::"bob", action, resource in Server::"files");
permit (principal, action, resource is Tool);"#,
            [false; 5],
        ),
        (
            r#"permit (principal, action, resource);
forbid (principal, action == Action::"resources/read", resource) when { resource.uri like "https:*" };"#,
            [true, true, true, false, true],
        ),
    ] {
        let bundle = bundle(policies);
        assert_eq!(all.map(|listed| bundle.visible(&caller, "files", listed)), expected, "{policies}");
    }
}
