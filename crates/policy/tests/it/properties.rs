//! What holds for all bundles and all questions.

use policy::{Ask, Bundle, Caller, Hints, Listed, Principal, Question, Verdict};
use policy::{Catalog, Server, Tool};
use proptest::prelude::*;

use super::made::{question, sources, tool};

/// A policy that can be written with its scope in the scope or as a condition.
#[derive(Debug, Clone)]
struct Made {
    forbid: bool,
    principal: Option<String>,
    resource: Option<String>,
    conditions: Vec<String>,
}

impl Made {
    fn scoped(&self, number: usize) -> String {
        let scope = |name: &str, asked: &Option<String>| asked.clone().unwrap_or_else(|| name.to_owned());
        let conditions = self.conditions.join("\n");
        self.written(
            number,
            &scope("principal", &self.principal),
            &scope("resource", &self.resource),
            &conditions,
        )
    }

    /// With an empty scope the policy is under no key of the index: Cedar sees it for every question.
    fn unscoped(&self, number: usize) -> String {
        let asked = self.principal.iter().chain(&self.resource).map(|asked| format!("when {{ {asked} }}"));
        let conditions: Vec<String> = asked.chain(self.conditions.iter().cloned()).collect();
        self.written(number, "principal", "resource", &conditions.join("\n"))
    }

    fn written(&self, number: usize, principal: &str, resource: &str, conditions: &str) -> String {
        let effect = if self.forbid { "forbid" } else { "permit" };
        format!(
            "@id(\"p{number}\")\n{effect} ({principal}, action == Action::\"tools/call\", {resource})\n{conditions};\n"
        )
    }
}

fn one_of(choices: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(choices).prop_map(str::to_owned)
}

fn policies() -> impl Strategy<Value = Vec<Made>> {
    let principal = one_of(&[
        r#"principal == User::"u0""#,
        r#"principal == User::"u1""#,
        r#"principal == Service::"u0""#,
        r#"principal in Group::"g0""#,
        r#"principal in Group::"g1""#,
        r#"principal in Run::"run_1""#,
        r#"principal is User"#,
        r#"principal is Service in Group::"g1""#,
    ]);
    let resource = one_of(&[
        r#"resource == Tool::"s0/t0""#,
        r#"resource == Tool::"s1/t1""#,
        r#"resource in Server::"s0""#,
        r#"resource in Tool::"s0/t1""#,
        r#"resource is Tool"#,
        r#"resource is Tool in Server::"s1""#,
    ]);
    let condition = one_of(&[
        "when { context.arguments.n > 3 }",
        "unless { context.arguments.n > 5 }",
        // Fails for large numbers.
        "when { context.arguments.n * 2 > 4 }",
        "when { resource.read_only }",
        "unless { resource.read_only && context.run.verified }",
        r#"when { principal in Group::"g0" || context.hour == 12 }"#,
        r#"when { [Tool::"s0/t0", Tool::"s1/t0"].contains(resource) }"#,
        r#"when { context.client.name == "editor" && resource.name == "t0" }"#,
    ]);
    let made = (
        prop::bool::weighted(0.25),
        prop::option::of(principal),
        prop::option::of(resource),
        prop::collection::vec(condition, 0..3),
    );
    let made = made.prop_map(|(forbid, principal, resource, conditions)| Made {
        forbid,
        principal,
        resource,
        conditions,
    });
    prop::collection::vec(made, 0..12)
}

fn world() -> Catalog {
    let of = |name: &str, read_only| Tool {
        hints: Hints { read_only: Some(read_only), ..Hints::default() },
        input_schema: Some(
            r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#.to_owned(),
        ),
        ..tool(name, "")
    };
    let server = |name: &str| Server {
        name: name.to_owned(),
        tools: Some(vec![of("t0", true), of("t1", false)]),
        prompts: Vec::new(),
    };
    Catalog::of(vec![server("s0"), server("s1")]).unwrap()
}

fn compiled(text: &str) -> Bundle {
    match Bundle::compile(&sources(text), &world()) {
        Ok(bundle) => bundle,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// Asks everything that the small world can ask.
fn each_question(mut consider: impl FnMut(&Question<'_>, &str, &str)) {
    let sets: [Vec<String>; 3] = [vec![], vec!["g0".to_owned()], vec!["g1".to_owned(), "g2".to_owned()]];
    for (groups, principal) in sets.iter().flat_map(|set| {
        [Principal::User("u0"), Principal::User("u2"), Principal::Service("u0")].map(|who| (set, who))
    }) {
        for (server, name) in [("s0", "t0"), ("s0", "t1"), ("s1", "t0"), ("s1", "t1"), ("s1", "gone")] {
            for arguments in [r#"{"n":1}"#, r#"{"n":4}"#, r#"{"n":9223372036854775807}"#, r#"{"n":"x"}"#] {
                let mut asked = question(groups, server, Ask::CallTool { name, arguments: Some(arguments) });
                asked.caller = Caller { principal, ..asked.caller };
                consider(&asked, server, name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn the_index_changes_no_judgement(policies in policies()) {
        let text = |write: fn(&Made, usize) -> String| -> String {
            policies.iter().enumerate().map(|(number, made)| write(made, number)).collect()
        };
        let (scoped, unscoped) = (compiled(&text(Made::scoped)), compiled(&text(Made::unscoped)));
        each_question(|question, server, name| {
            assert_eq!(scoped.decide(question), unscoped.decide(question), "{server}/{name}");
        });
    }

    #[test]
    fn what_may_be_called_is_visible(policies in policies()) {
        let text: String = policies.iter().enumerate().map(|(number, made)| made.scoped(number)).collect();
        let bundle = compiled(&text);
        each_question(|question, server, name| {
            let denied = bundle.decide(question).verdict == Verdict::Deny;
            assert!(denied || bundle.visible(&question.caller, server, Listed::Tool(name)), "{server}/{name}");
        });
    }
}
