//! Which tools a list shows.

use policy::{Caller, Principal};

use super::made::bundle;

fn visible(policies: &str, principal: Principal<'_>) -> Vec<&'static str> {
    let bundle = bundle(policies);
    let groups = ["dev".to_owned()];
    let caller = Caller { principal, groups: &groups, run: "run_1" };
    let all = ["files/read_file", "files/write_file", "bank/pay", "bank/gone", "new/any"];
    let seen =
        |id: &&str| id.split_once('/').is_some_and(|(server, tool)| bundle.visible(&caller, server, tool));
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
