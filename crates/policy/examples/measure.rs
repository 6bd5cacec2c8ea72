//! How long a large bundle takes to load and to ask: `cargo run --release -p policy --example measure`.
//!
//! 1,000 tools on 20 servers; 10,000 policies, most of them for a group and a tool, half of them with conditions on arguments, some for
//! a server, some for everything.

use std::io::Write as _;
use std::time::{Duration, Instant};

use policy::what_if::Comparison;
use policy::{
    Ask, Bundle, Caller, Catalog, Client, Hints, Listed, Principal, Question, RunFacts, Server, Source, Tool,
};

const SERVERS: usize = 20;
const TOOLS: usize = 50;
const POLICIES: usize = 10_000;
const QUESTIONS: usize = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout();
    let catalog = catalog()?;
    let begun = Instant::now();
    let text = Source { name: "large.cedar".to_owned(), text: policies() };
    let made = begun.elapsed();
    let begun = Instant::now();
    let large = Bundle::compile(std::slice::from_ref(&text), &catalog)?;
    writeln!(
        out,
        "load: {} policies × {} tools in {:?} (text in {made:?})",
        large.policies(),
        SERVERS * TOOLS,
        begun.elapsed()
    )?;
    let first: Vec<&str> = text.text.split_inclusive(";\n").take(30).collect();
    let small =
        Bundle::compile(&[Source { name: "small.cedar".to_owned(), text: first.concat() }], &catalog)?;
    for (name, bundle) in [("10,000 policies", &large), ("30 policies", &small)] {
        let (mut times, allowed) = ask(bundle);
        report(&mut out, &format!("decide, {name}"), &mut times)?;
        writeln!(out, "    {allowed} of {QUESTIONS} not denied")?;
    }
    let begun = Instant::now();
    let mut comparison = Comparison::with(&large);
    each(|question| comparison.consider("call", std::slice::from_ref(question), ledger::Verdict::Deny));
    let difference = comparison.finish();
    let held = difference.held.count;
    writeln!(out, "what-if: {held} of {} calls newly held, in {:?}", difference.calls, begun.elapsed())?;
    let groups = ["group-3".to_owned(), "group-7".to_owned()];
    let caller = Caller { principal: Principal::User("user-3"), groups: &groups, run: "run_1" };
    let begun = Instant::now();
    let seen = names().filter(|(server, tool)| large.visible(&caller, server, Listed::Tool(tool))).count();
    writeln!(out, "visible: {seen} of {} tools in {:?}", SERVERS * TOOLS, begun.elapsed())?;
    Ok(())
}

/// Asks each question and gives it to a closure.
fn each(mut consider: impl FnMut(&Question<'_>)) {
    let names: Vec<(String, String)> = names().collect();
    for number in 0..QUESTIONS {
        let groups: Vec<String> =
            (0..5).map(|group| format!("group-{}", (number + group * 7) % 100)).collect();
        let user = format!("user-{}", number % 500);
        let arguments = format!(
            r#"{{"path":"/srv/{number}.txt","limit":{},"tags":["a","b"],"price":1.25}}"#,
            number % 200
        );
        let Some((server, name)) = names.get(number * 7 % names.len()) else { continue };
        let question = Question {
            caller: Caller {
                principal: Principal::User(&user),
                groups: &groups,
                run: "run_0123456789abcdef",
            },
            run: RunFacts {
                age_seconds: 60,
                calls: 3,
                purpose: Some("close the ticket"),
                scope: &[],
                verified: true,
                depth: 1,
                agents: &[],
            },
            client: Client { name: "editor", version: "1.0" },
            network: Some([10, 0, 0, 7].into()),
            now_ms: 1_795_262_400_000,
            server,
            ask: Ask::CallTool { name, arguments: Some(&arguments) },
        };
        consider(&question);
    }
}

/// The time of each decision, and how many calls were not denied.
fn ask(bundle: &Bundle) -> (Vec<Duration>, usize) {
    let mut times = Vec::with_capacity(QUESTIONS);
    let mut allowed = 0;
    each(|question| {
        let begun = Instant::now();
        let judgement = bundle.decide(question);
        times.push(begun.elapsed());
        allowed += usize::from(judgement.verdict != policy::Verdict::Deny);
    });
    (times, allowed)
}

fn report(out: &mut impl std::io::Write, name: &str, times: &mut [Duration]) -> std::io::Result<()> {
    times.sort_unstable();
    let at = |permille: usize| times.get((times.len() - 1) * permille / 1000).copied().unwrap_or_default();
    writeln!(out, "{name}: p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999))
}

fn names() -> impl Iterator<Item = (String, String)> {
    (0..SERVERS)
        .flat_map(|server| (0..TOOLS).map(move |tool| (format!("server-{server}"), format!("tool_{tool}"))))
}

fn catalog() -> Result<Catalog, policy::CatalogError> {
    let tool = |server: usize, tool: usize| Tool {
        name: format!("tool_{tool}"),
        // A member of its own name, so that no two tools have the same type.
        input_schema: Some(format!(
            r#"{{"type":"object","properties":{{"path":{{"type":"string"}},"limit":{{"type":"integer"}},
            "tags":{{"type":"array","items":{{"type":"string"}}}},"price":{{"type":"number"}},
            "own_{server}_{tool}":{{"type":"boolean"}}}},"required":["path"]}}"#
        )),
        hints: Hints { read_only: Some(tool.is_multiple_of(2)), ..Hints::default() },
        ..Tool::default()
    };
    let servers = (0..SERVERS).map(|server| Server {
        name: format!("server-{server}"),
        tools: Some((0..TOOLS).map(|each| tool(server, each)).collect()),
        prompts: Vec::new(),
    });
    Catalog::of(servers.collect())
}

fn policies() -> String {
    let policy = |number: usize| {
        // Group, server, tool and user vary independently of each other and of the kind of policy.
        let mixed = |salt: u64| {
            let mixed = (number as u64 + salt * 1_000_003).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            usize::try_from(mixed >> 33).unwrap_or_default()
        };
        let (server, tool, group, user) =
            (mixed(1) % SERVERS, mixed(2) % TOOLS, mixed(3) % 100, mixed(4) % 500);
        match number % 100 {
            0 => format!(
                "@id(\"guard {number}\") forbid (principal in Group::\"group-{group}\", action, resource in Server::\"server-{server}\")\n\
                 when {{ context.hour < {} }};\n",
                number % 6
            ),
            1..20 => format!(
                "permit (principal in Group::\"group-{group}\", action == Action::\"tools/call\", resource in Server::\"server-{server}\")\n\
                 when {{ resource.read_only && context.run.verified }};\n"
            ),
            20..40 => format!(
                "permit (principal == User::\"user-{user}\", action == Action::\"tools/call\", resource == Tool::\"server-{server}/tool_{tool}\");\n"
            ),
            _ => format!(
                "@hold(\"oncall\") @mask(\"pii\")\npermit (principal in Group::\"group-{group}\", action == Action::\"tools/call\",\n    \
                 resource == Tool::\"server-{server}/tool_{tool}\")\n\
                 when {{ context.arguments.path like \"/srv/*\" && context.arguments has limit && context.arguments.limit < {} }};\n",
                number % 150
            ),
        }
    };
    let unscoped = "forbid (principal, action == Action::\"tools/call\", resource) when { context.arguments has path && context.arguments.path like \"*.env\" };\n";
    (0..POLICIES - 1).map(policy).chain([unscoped.to_owned()]).collect()
}
