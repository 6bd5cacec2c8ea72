//! A tool's schema, a call's arguments and a policy's condition, whatever they are: a bundle is made or every mistake is told,
//! and arguments that are no object are never let through.

#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::{
    Ask, Bundle, Caller, Catalog, Client, Principal, Question, RunFacts, Server, Source, Tool, Verdict,
};
use serde_json::Value;

/// What stands between a schema, a condition and any number of arguments.
const BETWEEN: char = '\0';

fuzz_target!(|input: &str| {
    let mut parts = input.split(BETWEEN);
    let schema = parts.next().unwrap_or_default().to_owned();
    let tool = Tool { name: "tool".to_owned(), input_schema: Some(schema), ..Tool::default() };
    let server = Server { name: "server".to_owned(), tools: Some(vec![tool]), prompts: Vec::new() };
    let catalog = Catalog::of(vec![server]).expect("one server with one tool");
    let condition = parts.next().unwrap_or_default();
    let text = match condition {
        "" => "permit (principal, action, resource);".to_owned(),
        _ => format!(
            "permit (principal, action == Action::\"tools/call\", resource == Tool::\"server/tool\") when {{ {condition} }};"
        ),
    };
    match Bundle::compile(&[Source { name: "fuzz.cedar".to_owned(), text }], &catalog) {
        Ok(bundle) => {
            for arguments in parts {
                let is_object = matches!(serde_json::from_str(arguments), Ok(Value::Object(_)));
                let judgement = bundle.decide(&question(arguments));
                assert!(is_object || judgement.verdict == Verdict::Deny, "what is no object is let through");
            }
        }
        Err(mistakes) => assert!(!condition.is_empty() && !mistakes.to_string().is_empty()),
    }
});

fn question(arguments: &str) -> Question<'_> {
    Question {
        caller: Caller { principal: Principal::User("ann"), groups: &[], run: "run_1" },
        run: RunFacts {
            age_seconds: 1,
            calls: 1,
            purpose: None,
            scope: &[],
            verified: true,
            depth: 0,
            agents: &[],
        },
        client: Client::default(),
        network: None,
        now_ms: 1_795_262_400_000,
        server: "server",
        ask: Ask::CallTool { name: "tool", arguments: Some(arguments) },
    }
}
