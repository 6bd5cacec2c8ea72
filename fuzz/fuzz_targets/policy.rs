//! A tool's schema, a call's arguments and a policy's condition, whatever they are: a bundle is made or every mistake is told,
//! and arguments that are no object are never let through.

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::{Ask, Bundle, Caller, Catalog, Client, Principal, Question, RunFacts, Server, Source, Tool, Verdict};
use serde_json::Value;

const ALL: &str = "permit (principal, action, resource);";

fuzz_target!(|input: (&str, &str, &str)| {
    let (schema, arguments, condition) = input;
    let tool = Tool { name: "tool".to_owned(), input_schema: Some(schema.to_owned()), ..Tool::default() };
    let server = Server { name: "server".to_owned(), tools: Some(vec![tool]), prompts: Vec::new() };
    let catalog = Catalog::of(vec![server]).expect("one server with one tool");
    let one = format!("permit (principal, action == Action::\"tools/call\", resource == Tool::\"server/tool\") when {{ {condition} }};");
    let is_object = matches!(serde_json::from_str(arguments), Ok(Value::Object(_)));
    for text in [ALL, one.as_str()] {
        match Bundle::compile(&[Source { name: "fuzz.cedar".to_owned(), text: text.to_owned() }], &catalog) {
            Ok(bundle) => {
                let judgement = bundle.decide(&question(arguments));
                assert!(is_object || judgement.verdict == Verdict::Deny, "what is no object is let through");
            }
            Err(mistakes) => assert!(text != ALL && !mistakes.to_string().is_empty()),
        }
    }
});

fn question(arguments: &str) -> Question<'_> {
    Question {
        caller: Caller { principal: Principal::User("ann"), groups: &[], run: "run_1" },
        run: RunFacts { age_seconds: 1, calls: 1, purpose: None, scope: &[], verified: true, depth: 0, agents: &[] },
        client: Client::default(),
        network: None,
        now_ms: 1_795_262_400_000,
        server: "server",
        ask: Ask::CallTool { name: "tool", arguments: Some(arguments) },
    }
}
