//! A small world: two servers, a caller, questions.

use policy::{
    Ask, Bundle, Caller, Catalog, Client, Hints, Judgement, Principal, Prompt, Question, RunFacts, Server,
    Source, Tool, Verdict,
};

pub(crate) fn tool(name: &str, properties: &str) -> Tool {
    let schema = format!(r#"{{"type":"object","properties":{{{properties}}}}}"#);
    Tool { name: name.to_owned(), input_schema: Some(schema), ..Tool::default() }
}

/// `files` reads and writes, `bank` pays, `new` was never asked.
pub(crate) fn catalog() -> Catalog {
    let read = tool("read_file", r#""path":{"type":"string"},"encoding":{"type":"string"}"#);
    let read = Tool { hints: Hints { read_only: Some(true), ..Hints::default() }, ..read };
    let write = tool("write_file", r#""path":{"type":"string"},"content":{"type":"string"}"#);
    let pay =
        tool("pay", r#""amount":{"type":"number"},"currency":{"type":"string"},"count":{"type":"integer"}"#);
    let prompt = Prompt { name: "summary".to_owned(), arguments: vec!["style".to_owned()] };
    let servers = vec![
        Server { name: "files".to_owned(), tools: Some(vec![read, write]), prompts: vec![prompt] },
        Server { name: "bank".to_owned(), tools: Some(vec![pay]), prompts: Vec::new() },
        Server { name: "new".to_owned(), tools: None, prompts: Vec::new() },
    ];
    Catalog::of(servers).unwrap()
}

pub(crate) fn sources(text: &str) -> Vec<Source> {
    vec![Source { name: "rules.cedar".to_owned(), text: text.to_owned() }]
}

pub(crate) fn bundle(text: &str) -> Bundle {
    match Bundle::compile(&sources(text), &catalog()) {
        Ok(bundle) => bundle,
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

/// Ann of `dev`, on a Saturday noon, asks.
pub(crate) fn question<'a>(groups: &'a [String], server: &'a str, ask: Ask<'a>) -> Question<'a> {
    Question {
        caller: Caller { principal: Principal::User("ann"), groups, run: "run_1" },
        run: RunFacts {
            age_seconds: 60,
            calls: 3,
            purpose: Some("tidy up"),
            scope: &[],
            verified: true,
            depth: 0,
            agents: &[],
        },
        client: Client { name: "editor", version: "1.0" },
        network: Some([10, 0, 0, 7].into()),
        now_ms: 1_795_262_400_000,
        server,
        ask,
    }
}

pub(crate) fn call(bundle: &Bundle, id: &str, arguments: &str) -> Judgement {
    let groups = ["dev".to_owned()];
    let (server, name) = id.split_once('/').unwrap();
    bundle.decide(&question(&groups, server, Ask::CallTool { name, arguments: Some(arguments) }))
}

/// A judgement in a line.
pub(crate) fn told(judgement: &Judgement) -> String {
    let verdict = match &judgement.verdict {
        Verdict::Allow => "allow".to_owned(),
        Verdict::Deny => "deny".to_owned(),
        Verdict::Hold(approvals) => {
            let approvals: Vec<String> =
                approvals.iter().map(|one| format!("{} {}", one.group, one.count)).collect();
            format!("hold for {}", approvals.join(", "))
        }
    };
    let mut told = format!("{verdict} by [{}]", judgement.by.join(", "));
    told.extend(judgement.reason.iter().map(|reason| format!(": {reason}")));
    if !judgement.masks.is_empty() {
        told.push_str(&format!("; masks {:?}", judgement.masks));
    }
    if judgement.recording != policy::Recording::Full {
        told.push_str(&format!("; records {:?}", judgement.recording));
    }
    if !judgement.errors.is_empty() {
        told.push_str(&format!("; errors {:?}", judgement.errors));
    }
    told
}
