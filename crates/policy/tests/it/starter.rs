//! The first bundle.

use expect_test::expect;
use policy::{Bundle, Catalog, Hints, Prompt, Server, Source, Tool, starter};
use proptest::prelude::*;

use super::made::tool;

#[test]
fn tools_are_grouped_by_name_and_claims_only_tighten() {
    let claims = |name: &str, read_only, destructive| Tool {
        hints: Hints { read_only, destructive, ..Hints::default() },
        ..tool(name, "")
    };
    let tools = vec![
        claims("list_files", None, None),
        claims("getIssue", Some(true), Some(true)),
        claims("search", Some(false), None),
        claims("query", None, Some(true)),
        claims("delete_file", Some(true), Some(false)),
        claims("weather", Some(true), None),
        claims("create-\"issue\"\n", None, None),
    ];
    let catalog = Catalog::of(vec![
        Server { name: "github".to_owned(), tools: Some(tools), prompts: Vec::new() },
        Server { name: "new".to_owned(), tools: None, prompts: Vec::new() },
    ]);
    let text = starter::bundle(&catalog.unwrap());
    expect![[r#"
        // A first bundle. Each tool stands in the group that its name and its server's claims suggest: a guess, to be
        // reviewed line by line. A claim can move a tool to a stricter group, never to a milder one.
        // What no policy permits is denied: tools that servers add later, sampling, elicitation, roots.

        // Server "github": 7 tools.

        // Guess, to be reviewed: looks at something.
        permit (principal, action == Action::"tools/call", resource in Server::"github")
        when {
            [
                Tool::"github/list_files"
            ].contains(resource)
        };

        // Guess, to be reviewed: changes something, or cannot be told.
        permit (principal, action == Action::"tools/call", resource in Server::"github")
        when {
            [
                Tool::"github/search",
                Tool::"github/weather",
                Tool::"github/create-\"issue\"\u{a}"
            ].contains(resource)
        };

        // Guess, to be reviewed: destroys, executes or pays.
        @hold("approvers")
        permit (principal, action == Action::"tools/call", resource in Server::"github")
        when {
            [
                Tool::"github/getIssue",
                Tool::"github/query",
                Tool::"github/delete_file"
            ].contains(resource)
        };

        permit (
            principal,
            action in [
                Action::"resources/read",
                Action::"resources/subscribe",
                Action::"prompts/get",
                Action::"completion/complete",
                Action::"tasks"
            ],
            resource in Server::"github"
        );

        // Server "new": its tools are not known yet.

        permit (
            principal,
            action in [
                Action::"resources/read",
                Action::"resources/subscribe",
                Action::"prompts/get",
                Action::"completion/complete",
                Action::"tasks"
            ],
            resource in Server::"new"
        );
    "#]].assert_eq(&text);
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let odd = prop_oneof![
        "[a-z_]{1,8}",
        "\\PC{1,6}",
        any::<String>(),
        Just("\"];}//".to_owned()),
        Just("\\".to_owned()),
        Just("a\nforbid (principal, action, resource);".to_owned()),
        Just("\u{202e}\u{0}\r\n".to_owned()),
    ];
    prop::collection::btree_set(odd, 0..6).prop_map(|names| names.into_iter().collect())
}

fn servers() -> impl Strategy<Value = Vec<Server>> {
    let hints = (any::<Option<bool>>(), any::<Option<bool>>()).prop_map(|(read_only, destructive)| Hints {
        read_only,
        destructive,
        ..Hints::default()
    });
    let one = (names(), names(), hints, any::<bool>());
    (names(), prop::collection::vec(one, 6)).prop_map(|(servers, mut content)| {
        let valid = servers.into_iter().filter(|name| !name.is_empty() && !name.contains('/'));
        let made = valid.map(|name| {
            let (tools, prompts, hints, known) = content.pop().unwrap();
            let tools = tools.into_iter().map(|name| Tool { hints, ..tool(&name, "") }).collect();
            let prompts = prompts.into_iter().map(|name| Prompt { name, arguments: Vec::new() }).collect();
            Server { name, tools: if known { Some(tools) } else { None }, prompts }
        });
        made.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn it_compiles_for_every_catalog(servers in servers()) {
        let catalog = Catalog::of(servers).unwrap();
        let text = starter::bundle(&catalog);
        let bundle = Bundle::compile(&[Source { name: "starter.cedar".to_owned(), text: text.clone() }], &catalog);
        prop_assert!(bundle.is_ok(), "{}\n{}", text, bundle.unwrap_err());
    }
}
